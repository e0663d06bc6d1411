"""What messages become: status, keys, modes, references, and what is never lost or invented."""

from dataclasses import replace
from decimal import Decimal

import pytest

from adapters.hl7v2 import er7
from hie.kernel.envelope import Severity, SourceIdentifier, WriteMode
from hie.kernel.errors import HieError
from hie.kernel.ids import MessageId, SourceId
from tests.support.fhir_r4 import faults_of
from tests.support.mapping import (
    GENERAL,
    NOWHERE,
    PID,
    RECEIVED_US,
    drafts_of,
    mapper,
    message_of,
    resource_of,
    rules_of,
    submission_of,
)

OWN = "urn:oid:2.16.840.1.113883.19.1"
VISIT = "PV1|1|{kind}|||||||||||||||||{number}^^^GH^VN"
ORDER = (
    "ORC|RE|O1^GH|F1^LAB",
    "OBR|1|O1^GH|F1^LAB|58410-2^CBC^LN|||20260131080000|||||||||||||||20260131090000||HM|F",
)


def result(obx: str, *more: str):
    """The one Observation of an ORU with this OBX."""
    return resource_of(submission_of(PID, *ORDER, obx, *more, trigger="ORU^R01"), "Observation")


# Patient


def test_an_adt_patches_the_patient_and_is_the_subject():
    submission = submission_of(PID)
    (patient,) = drafts_of(submission, "Patient")
    assert submission.subject == patient.name == "patient"
    assert patient.mode is WriteMode.PATCH
    assert patient.key == ("patient", OWN, "P1")
    assert patient.resource["birthDate"] == "1980-01-02"


@pytest.mark.parametrize("trigger", ["ORU^R01", "VXU^V04", "RDE^O11", "RDS^O13", "MDM^T02"])
def test_other_messages_never_overwrite_demographics(trigger):
    (patient,) = drafts_of(submission_of(PID, trigger=trigger), "Patient")
    assert patient.mode is WriteMode.CREATE_IF_ABSENT


def test_two_quotes_clear_an_element_and_an_empty_field_leaves_it():
    resource = resource_of(submission_of(f'{PID}|||||""'), "Patient")
    assert resource["telecom"] is None
    assert "address" not in resource


def test_a_null_beside_a_value_of_the_same_element_clears_nothing():
    resource = resource_of(submission_of(f'{PID}|||||""|555-0100'), "Patient")
    assert [t["value"] for t in resource["telecom"]] == ["555-0100"]


def test_a_null_is_no_element_of_a_resource_that_is_written_whole():
    submission = submission_of(PID, *ORDER, 'OBX|1|ST|1-1^A^LN||""|||||F', trigger="ORU^R01")
    assert None not in resource_of(submission, "Observation").values()


def test_the_sources_own_number_makes_the_key_whatever_stands_before_it():
    pid = "PID|1||77^^^OTHER^MR~P1^^^GH^MR~900^^^USSSA^SS||DOE^JANE"
    (patient,) = drafts_of(submission_of(pid), "Patient")
    assert patient.key == ("patient", OWN, "P1")


def test_the_same_identifier_twice_is_listed_once():
    resource = resource_of(submission_of("PID|1|P1^^^GH^MR|P1^^^GH^MR||DOE^JANE"), "Patient")
    assert len(resource["identifier"]) == 1


def test_race_and_ethnicity_are_us_core_extensions_with_a_text():
    pid = "PID|1||P1||DOE^JANE|||F||2106-3^White^CDCREC~1006-6^Abenaki^CDCREC~X^Own^L||||||||||||H"
    urls = {
        e["url"].rsplit("/", 1)[1]: e
        for e in resource_of(submission_of(pid), "Patient")["extension"]
    }
    race = urls["us-core-race"]["extension"]
    assert [e["url"] for e in race] == ["ombCategory", "detailed", "text"]
    assert race[2]["valueString"] == "White, Abenaki, Own"
    assert urls["us-core-ethnicity"]["extension"][0]["valueCoding"]["code"] == "2135-2"


def test_birth_sex_comes_from_its_observation_not_from_administrative_sex():
    obx = "OBX|1|CWE|76689-9^Sex assigned at birth^LN||LA2-8^Male^LN||||||F"
    submission = submission_of(PID, obx)
    (extension,) = resource_of(submission, "Patient")["extension"]
    assert (extension["url"].rsplit("/", 1)[1], extension["valueCode"]) == ("us-core-birthsex", "M")
    assert drafts_of(submission, "Observation") == []
    assert "extension" not in resource_of(submission_of(PID), "Patient")


def test_a_time_of_birth_needs_an_offset():
    pid = PID.replace("19800102", "198001021530")
    assert "_birthDate" in resource_of(submission_of(pid), "Patient")
    without = resource_of(submission_of(pid, source=NOWHERE), "Patient")
    assert without["birthDate"] == "1980-01-02"
    assert "_birthDate" not in without


def test_an_unmapped_sex_is_kept_beside_the_element():
    submission = submission_of(PID.replace("|F", "|Q9"))
    resource = resource_of(submission, "Patient")
    assert "gender" not in resource
    assert resource["_gender"]["extension"][0]["valueCodeableConcept"] == {"text": "Q9"}
    assert ("PID-8.1", "unmapped-code") in rules_of(submission)


def test_next_of_kin_is_a_contact_and_a_related_person_found_again():
    nk1 = "NK1|1|DOE^JOHN|SPO^Spouse^HL70063||555-0102"
    submission = submission_of(PID, nk1)
    (related,) = drafts_of(submission, "RelatedPerson")
    (again,) = drafts_of(submission_of(PID, "NK1|9|DOE^JOHN|SPO"), "RelatedPerson")
    assert related.key == again.key
    assert related.resource["patient"] == {"reference": "urn:hie:patient"}
    (contact,) = resource_of(submission, "Patient")["contact"]
    assert contact["relationship"][0]["coding"][0]["code"] == "SPS"


def test_a_second_patient_is_left_to_a_human():
    second = "PID|2||P2^^^GH^MR||ROE^SAM||19991231|M"
    submission = submission_of(
        PID,
        *ORDER,
        "OBX|1|ST|1-1^A^LN||x||||||F",
        second,
        *ORDER,
        "OBX|1|ST|1-1^A^LN||y||||||F",
        trigger="ORU^R01",
    )
    assert len(drafts_of(submission, "Patient")) == 1
    assert [d.resource["valueString"] for d in drafts_of(submission, "Observation")] == ["x"]
    (finding,) = [f for f in submission.findings if f.rule == "several-patients"]
    assert (finding.severity, finding.segment, finding.sequence) == (Severity.ERROR, "PID", 2)
    assert submission.unmapped.count("OBX-5") == 1


def test_a_message_without_a_patient_makes_nothing_of_his():
    submission = submission_of("PV1|1|I", "AL1|1|DA|1^A^L")
    assert submission.subject == ""
    assert drafts_of(submission, "AllergyIntolerance") == []


# Encounter


@pytest.mark.parametrize(
    ("trigger", "visit", "status"),
    [
        ("ADT^A01", "PV1|1|I", "in-progress"),
        ("ADT^A03", "PV1|1|I", "finished"),
        ("ADT^A04", "PV1|1|O", "in-progress"),
        ("ADT^A11", "PV1|1|I" + "|" * 43 + "20260101", "cancelled"),
        ("ADT^A08", "PV1|1|I" + "|" * 43 + "20260101", "finished"),
        ("ORU^R01", VISIT.format(kind="P", number="V1"), "planned"),
        ("ORU^R01", VISIT.format(kind="I", number="V1"), "unknown"),
    ],
)
def test_the_event_says_where_a_visit_stands(trigger, visit, status):
    assert resource_of(submission_of(PID, visit, trigger=trigger), "Encounter")["status"] == status


def test_an_update_leaves_the_status_and_names_one_only_for_a_new_visit():
    drafts = drafts_of(
        submission_of(PID, VISIT.format(kind="I", number="V1"), trigger="ADT^A08"), "Encounter"
    )
    assert [(d.mode, d.resource.get("status")) for d in drafts] == [
        (WriteMode.CREATE_IF_ABSENT, "unknown"),
        (WriteMode.PATCH, None),
    ]
    assert drafts[0].key == drafts[1].key == ("visit", OWN, "V1")
    spoil(drafts[0].resource)
    assert "spoilt" not in str(drafts[1].resource)


@pytest.mark.parametrize(
    ("pid", "visit", "key"),
    [
        (PID, VISIT.format(kind="I", number="V1"), ("visit", OWN, "V1")),
        (PID + "|" * 10 + "A5^^^GH^AN", "PV1|1|I", ("visit", OWN, "A5")),
        (PID, "PV1|1|I" + "|" * 42 + "20260131", ("visit", "patient", OWN, "P1", "20260131")),
        (PID, "PV1|1|I", ()),
    ],
)
def test_a_visit_is_found_again_by_its_number_else_by_when_it_began(pid, visit, key):
    (encounter,) = drafts_of(submission_of(pid, visit), "Encounter")
    assert encounter.key == key


@pytest.mark.parametrize("trigger", ["ADT^A28", "ADT^A31"])
def test_a_message_about_the_person_makes_no_visit(trigger):
    submission = submission_of(PID, "PV1|1|I|W^1^1", trigger=trigger)
    assert drafts_of(submission, "Encounter") == []
    assert "PV1-3" in submission.unmapped


def test_a_visit_a_result_mentions_without_number_is_not_made():
    assert drafts_of(submission_of(PID, "PV1|1|I", *ORDER, trigger="ORU^R01"), "Encounter") == []


def test_a_transfer_keeps_where_the_patient_was():
    visit = "PV1|1|I|W2^201^B^GH|||W1^101^A^GH"
    places = resource_of(submission_of(PID, visit), "Encounter")["location"]
    assert [(p["status"], p["location"]["display"]) for p in places] == [
        ("active", "B, 201, W2, GH"),
        ("completed", "A, 101, W1, GH"),
    ]


# Diagnoses, allergies, procedures, coverage


def test_a_diagnosis_in_words_only_is_a_condition_and_the_visit_points_to_it():
    submission = submission_of(PID, VISIT.format(kind="I", number="V1"), "DG1|1|||Broken heart||A")
    assert resource_of(submission, "Condition")["code"] == {"text": "Broken heart"}
    (diagnosis,) = resource_of(submission, "Encounter")["diagnosis"]
    assert diagnosis["condition"] == {
        "display": "Broken heart",
        "reference": "urn:hie:condition-1",
    }


@pytest.mark.parametrize(
    ("action", "expected"), [("A", None), ("U", None), ("D", "entered-in-error")]
)
def test_only_a_deletion_puts_a_diagnosis_in_error(action, expected):
    dg1 = f"DG1|1||I10^Hypertension^I10C{'|' * 18}{action}"
    submission = submission_of(PID, VISIT.format(kind="I", number="V1"), dg1)
    status = resource_of(submission, "Condition").get("verificationStatus")
    assert (status["coding"][0]["code"] if status else None) == expected
    assert ("diagnosis" in resource_of(submission, "Encounter")) is (action != "D")


def test_severity_grades_the_reaction_where_one_is_named_else_the_risk():
    with_reaction = resource_of(submission_of(PID, "AL1|1|DA|1^A^L|SV|Hives"), "AllergyIntolerance")
    without = resource_of(submission_of(PID, "AL1|1|DA|1^A^L|SV"), "AllergyIntolerance")
    assert with_reaction["reaction"][0]["severity"] == "severe"
    assert "criticality" not in with_reaction
    assert without["criticality"] == "high"
    assert "reaction" not in without


def test_what_comes_twice_with_one_key_is_kept_twice():
    drafts = drafts_of(
        submission_of(PID, "AL1|1|DA|1^A^L", "AL1|2|DA|1^A^L|MI"), "AllergyIntolerance"
    )
    assert len({d.key for d in drafts}) == 2
    assert drafts[1].key[-1] == "#2"


def test_an_insurance_has_its_payor_plan_group_and_holder():
    in1 = "IN1|1|GOLD^Gold|PAY1|Insurer||||G7||||20260101||||DOE^JOHN|SPO" + "|" * 19 + "POL1"
    coverage = resource_of(submission_of(PID, in1), "Coverage")
    assert coverage["payor"] == [{"identifier": {"value": "PAY1"}, "display": "Insurer"}]
    assert [(c["value"], c.get("name")) for c in coverage["class"]] == [
        ("GOLD", "Gold"),
        ("G7", None),
    ]
    assert coverage["subscriberId"] == "POL1"
    assert coverage["subscriber"] == {
        "reference": "urn:hie:subscriber-1",
        "display": "JOHN DOE",
    }
    assert faults_of(coverage) == []


# Results


def test_a_number_is_a_quantity_of_the_digits_sent():
    found = result("OBX|1|NM|718-7^Hb^LN||72.50|g/dL^^UCUM|13-18|L|||F")
    assert found["valueQuantity"]["value"] == Decimal("72.50")
    assert str(found["valueQuantity"]["value"]) == "72.50"
    assert found["interpretation"][0]["coding"][0]["code"] == "L"


ALPHA = {
    "coding": [{"system": "http://snomed.info/sct", "code": "A", "display": "Alpha"}],
    "text": "Alpha",
}
ONE, TWO, FIVE = ({"value": Decimal(n)} for n in (1, 2, 5))


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        ("NM", "<5", {"valueQuantity": {**FIVE, "comparator": "<"}}),
        ("NM", "clotted", {"valueString": "clotted"}),
        ("SN", "^1^:^2", {"valueRatio": {"numerator": ONE, "denominator": TWO}}),
        ("CWE", "A^Alpha^SCT", {"valueCodeableConcept": ALPHA}),
        ("ST", "plain ^ text & more", {"valueString": "plain ^ text & more"}),
        ("TX", "one~two", {"valueString": "one\ntwo"}),
        ("FT", "a\\.br\\b", {"valueString": "a\nb"}),
        ("DT", "20260131", {"valueDateTime": "2026-01-31"}),
        ("TS", "202601310930", {"valueDateTime": "2026-01-31T09:30:00-05:00"}),
        ("TM", "0930", {"valueTime": "09:30:00"}),
        ("NR", "1^2", {"valueRange": {"low": ONE, "high": TWO}}),
        ("XPN", "DOE^JANE", {"valueString": "JANE DOE"}),
        ("ZZ", "own^type", {"valueString": "own^type"}),
        ("", "loose", {"valueString": "loose"}),
        ("TS", "soon", {"valueString": "soon"}),
    ],
)
def test_a_value_has_the_type_obx_2_names(kind, raw, expected):
    found = result(f"OBX|1|{kind}|1-1^A^LN||{raw}||||||F")
    assert {k: v for k, v in found.items() if k.startswith("value")} == expected


def test_a_value_that_is_not_of_its_type_is_reported_and_kept():
    submission = submission_of(PID, *ORDER, "OBX|1|NM|1-1^A^LN||clotted||||||F", trigger="ORU^R01")
    assert ("OBX-5", "datatype") in rules_of(submission)


def test_a_repeated_value_is_one_component_each():
    found = result("OBX|1|NM|8480-6^BP^LN||120~80|mm[Hg]||||||F")
    assert [c["valueQuantity"]["value"] for c in found["component"]] == [120, 80]
    assert not [name for name in found if name.startswith("value")]
    assert faults_of(found) == []


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("F", "final", "unknown"),
        ("P", "preliminary", "unknown"),
        ("C", "corrected", "unknown"),
        ("X", "cancelled", "not-performed"),
        ("W", "entered-in-error", None),
        ("D", "entered-in-error", None),
        ("I", "registered", "temp-unknown"),
        ("N", "final", "not-asked"),
        ("Q", "unknown", None),
        ("", "unknown", None),
    ],
)
def test_obx_11_is_the_status(code, status, reason):
    found = result(f"OBX|1|NM|1-1^A^LN||||||||{code}")
    assert found["status"] == status
    absent = found.get("dataAbsentReason")
    assert (absent["coding"][0]["code"] if absent else None) == reason
    assert faults_of(found) == []


def test_a_cancelled_result_keeps_the_words_it_came_with():
    found = result("OBX|1|ST|1-1^A^LN||hemolyzed||||||X")
    assert found["valueString"] == "hemolyzed"
    assert "dataAbsentReason" not in found


def test_lines_of_one_text_are_one_result():
    submission = submission_of(
        PID,
        *ORDER,
        "OBX|1|TX|8^R^LN||one||||||F",
        "OBX|2|TX|8^R^LN||two||||||F",
        "OBX|3|TX|8^R^LN|2|other part||||||F",
        "OBX|4|ST|9^S^LN||a||||||F",
        "OBX|5|ST|9^S^LN||b||||||F",
        trigger="ORU^R01",
    )
    values = [d.resource["valueString"] for d in drafts_of(submission, "Observation")]
    assert values == ["one\ntwo", "other part", "a", "b"]
    assert [place for place in submission.unmapped if place.startswith("OBX")] == []


def test_results_after_the_specimen_are_not_lost():
    submission = submission_of(
        PID,
        *ORDER,
        "OBX|1|ST|1-1^A^LN||x||||||F",
        "SPM|1|S1^S2||119297000^Blood^SCT",
        "OBX|2|ST|2-2^B^LN||y||||||F",
        trigger="ORU^R01",
    )
    results = [d.name for d in drafts_of(submission, "Observation")]
    report = resource_of(submission, "DiagnosticReport")
    assert [r["reference"] for r in report["result"]] == [f"urn:hie:{name}" for name in results]
    assert len(results) == 2
    for draft in drafts_of(submission, "Observation"):
        assert draft.resource["specimen"] == {"reference": "urn:hie:specimen-1"}


def test_a_result_belongs_to_its_own_order_and_specimen():
    submission = submission_of(
        PID,
        "OBR|1|O1|F1|1^A^LN",
        "OBX|1|ST|1-1^A^LN||x||||||F",
        "SPM|1|S1",
        "OBR|2|O2|F2|2^B^LN",
        "OBX|1|ST|1-1^A^LN||y||||||F",
        trigger="ORU^R01",
    )
    first, second = drafts_of(submission, "Observation")
    assert first.resource["basedOn"] == [{"reference": "urn:hie:order-1"}]
    assert second.resource["basedOn"] == [{"reference": "urn:hie:order-2"}]
    assert "specimen" not in second.resource
    assert first.key != second.key


def test_notes_belong_to_what_they_follow():
    submission = submission_of(
        PID,
        "NTE|1||about the patient",
        *ORDER,
        "NTE|1||about the order",
        "OBX|1|ST|1-1^A^LN||x||||||F",
        "NTE|1||about the result",
        "OBX|2|ST|2-2^B^LN||y||||||F",
        trigger="ORU^R01",
    )
    first, second = drafts_of(submission, "Observation")
    assert first.resource["note"] == [{"text": "about the result"}]
    assert "note" not in second.resource
    report = resource_of(submission, "DiagnosticReport")
    assert [e["valueAnnotation"]["text"] for e in report["extension"]] == ["about the order"]
    assert "NTE-3" in submission.unmapped


def test_a_printed_report_is_part_of_the_report_unless_it_was_wrong():
    def forms(status):
        obx = f"OBX|1|ED|PDF^Report^L||A^application^pdf^Base64^SGk=||||||{status}"
        submission = submission_of(PID, *ORDER, obx, trigger="ORU^R01")
        assert drafts_of(submission, "Observation") == []
        return resource_of(submission, "DiagnosticReport").get("presentedForm", [])

    printed = {"contentType": "application/pdf", "title": "Report", "url": "urn:hie:binary-1"}
    assert forms("F") == [printed]
    assert forms("W") == []


def test_a_result_without_an_order_is_still_a_result():
    submission = submission_of(
        PID, "OBX|1|NM|8867-4^HR^LN||60|/min|||||F|||20260131", trigger="ORU^R01"
    )
    found = resource_of(submission, "Observation")
    assert found["category"][0]["coding"][0]["code"] == "vital-signs"
    assert drafts_of(submission, "DiagnosticReport") == []


def test_v21_leaves_the_event_out_of_its_results():
    assert drafts_of(submission_of(PID, *ORDER, trigger="ORU"), "DiagnosticReport")


def test_the_keys_of_a_corrected_result_are_those_of_the_first():
    def keys(status):
        submission = submission_of(
            PID, *ORDER, f"OBX|1|NM|1-1^A^LN||5||||||{status}", trigger="ORU^R01"
        )
        return {d.name: d.key for d in submission.drafts if d.name != "provenance"}

    assert keys("P") == keys("C")
    assert keys("P")["observation-1"] == (
        *("observation", "https://lab.example/order", "F1", "58410-2"),
        *("1-1", "LN", ""),
    )


# Vaccinations, medicines, documents


def vaccine(rxa: str, *more: str):
    return submission_of(PID, "ORC|RE||I1^GH", rxa, *more, trigger="VXU^V04")


@pytest.mark.parametrize(
    ("completion", "action", "status"),
    [
        ("CP", "A", "completed"),
        ("PA", "A", "completed"),
        ("RE", "A", "not-done"),
        ("NA", "", "not-done"),
        ("", "", "completed"),
        ("CP", "D", "entered-in-error"),
    ],
)
def test_a_vaccination_has_the_status_of_rxa_20_and_21(completion, action, status):
    rxa = f"RXA|0|1|20260301||140^Flu^CVX|999{'|' * 14}{completion}|{action}"
    found = resource_of(vaccine(rxa), "Immunization")
    assert found["status"] == status
    assert "doseQuantity" not in found
    assert faults_of(found) == []


def test_facts_about_one_information_sheet_stand_together():
    found = resource_of(
        vaccine(
            "RXA|0|1|20260301||140^Flu^CVX|0.5|mL",
            "OBX|1|CE|69764-9^Type^LN|1|S1^Sheet one^X||||||F",
            "OBX|2|CE|69764-9^Type^LN|2|S2^Sheet two^X||||||F",
            "OBX|3|DT|29769-7^Presented^LN|1|20260301||||||F",
        ),
        "Immunization",
    )
    assert found["education"] == [
        {"documentType": "Sheet one", "presentationDate": "2026-03-01"},
        {"documentType": "Sheet two"},
    ]


def test_no_vaccine_makes_no_vaccination_and_its_facts_belong_to_no_other():
    submission = submission_of(
        PID,
        "ORC|RE||I1^GH",
        "RXA|0|1|20260301||140^Flu^CVX|0.5",
        "ORC|RE||I2^GH",
        "RXA|0|1|20260301||998^None^CVX|999",
        "OBX|1|CE|59784-9^Immune^LN|1|38907003^Varicella^SCT||||||F",
        trigger="VXU^V04",
    )
    assert len(drafts_of(submission, "Immunization")) == 1
    assert "partOf" not in resource_of(submission, "Observation")


def test_a_patient_who_asks_for_protection_is_labelled():
    submission = submission_of(PID, "PD1" + "|" * 12 + "Y", trigger="VXU^V04")
    (label,) = resource_of(submission, "Patient")["meta"]["security"]
    assert label["code"] == "R"
    assert "meta" not in resource_of(submission_of(PID, "PD1" + "|" * 12 + "N"), "Patient")


TXA = "TXA|1|DS|TX|20260203||20260203||||||D1^GH|||||AU||AV"


def test_the_lines_of_a_document_are_one_binary_it_points_to():
    submission = submission_of(
        PID, TXA, "OBX|1|TX|A^A^L||one||||||F", "OBX|2|TX|B^B^L||two||||||F", trigger="MDM^T02"
    )
    binary = resource_of(submission, "Binary")
    document = resource_of(submission, "DocumentReference")
    assert binary["data"] == "b25lCnR3bw=="  # one, line end, two
    assert document["content"][0]["attachment"]["url"] == "urn:hie:binary-1"
    assert binary["securityContext"] == {"reference": "urn:hie:document"}
    assert len(document["content"]) == 1


@pytest.mark.parametrize(
    "obx",
    [(), ("OBX|1|ED|A^A^L||A^application^pdf^Base64^||||||F",), ("OBX|1|HD|A^A^L||1.2.3",)],
    ids=["none", "empty", "another type"],
)
def test_a_document_without_content_is_still_valid(obx):
    submission = submission_of(PID, TXA, *obx, trigger="MDM^T02")
    assert drafts_of(submission, "Binary") == []
    assert faults_of(resource_of(submission, "DocumentReference")) == []


@pytest.mark.parametrize(
    ("availability", "status"),
    [("AV", "current"), ("CA", "entered-in-error"), ("OB", "superseded"), ("", "current")],
)
def test_a_document_has_the_status_of_its_availability(availability, status):
    txa = TXA.replace("|AU||AV", f"|AU||{availability}")
    found = resource_of(submission_of(PID, txa, trigger="MDM^T02"), "DocumentReference")
    assert found["status"] == status


# Merges, provenance, sources


def test_a_merge_names_the_surviving_and_the_retired_number():
    submission = submission_of(PID, "MRG|900^^^USSSA^SS~P9^^^GH^MR", trigger="ADT^A40")
    (merge,) = submission.merges
    assert merge.survivor == SourceIdentifier(system=OWN, value="P1", type="MR")
    assert merge.retired == SourceIdentifier(system=OWN, value="P9", type="MR")
    assert submission.subject == "patient"


def test_a_merge_that_names_several_numbers_says_that_one_is_merged():
    several = "MRG|P8^^^GH^MR~P7^^^GH^MR~900^^^USSSA^SS"
    submission = submission_of(PID, several, trigger="ADT^A40")
    assert [m.retired.value for m in submission.merges] == ["P8"]
    assert [(f.place, f.rule) for f in submission.findings] == [("MRG-1", "merge-several")]


def test_each_pair_of_a_merge_counts_and_one_without_a_retired_number_does_not():
    second = "PID|2||P2^^^GH^MR||ROE^SAM"
    submission = submission_of(PID, "MRG|P8^^^GH^MR", second, "MRG|P7^^^GH^MR", trigger="ADT^A40")
    assert [m.retired.value for m in submission.merges] == ["P8", "P7"]
    assert [d.name for d in drafts_of(submission, "Patient")] == ["patient", "p2-patient"]
    assert submission_of(PID, trigger="ADT^A40").merges == ()
    # Whoever carries out a merge of a number with itself opens a task.
    assert len(submission_of(PID, "MRG|P1^^^GH^MR", trigger="ADT^A40").merges) == 1


def test_provenance_points_to_what_was_made_and_to_the_message():
    submission = submission_of("EVN|A01|20260131|||5^CLERK^ANN", PID, "AL1|1|DA|1^A^L")
    found = resource_of(submission, "Provenance")
    names = {d.name for d in submission.drafts} - {"provenance"}
    assert {t["reference"] for t in found["target"]} == {f"urn:hie:{name}" for name in names}
    assert found["recorded"] == "2026-01-31T09:30:00.000Z"
    sources = [e["what"]["identifier"]["value"] for e in found["entity"]]
    assert sources == ["M1", "urn:hie:authority:general:ADT1", "7"]
    assert [a["type"]["coding"][0]["code"] for a in found["agent"]] == [
        "author",
        "transmitter",
        "enterer",
    ]
    assert found["agent"][0]["who"]["identifier"]["value"] == "1234567893"
    assert faults_of(found) == []


def test_provenance_says_of_each_resource_which_segments_it_was_made_of():
    submission = submission_of(
        PID,
        "OBR|1||F1^LAB|CBC^Count^L",
        "OBX|1|NM|1^A^L||5||||||F",
        "OBX|2|TX|2^B^L||first||||||F",
        "OBX|3|TX|2^B^L||second||||||F",
        "NTE|1||well",
        "OBX|4|NM|3^C^L||5||||||F|||||9^TECH^TOM",
        trigger="ORU^R01",
    )
    found = resource_of(submission, "Provenance")
    origins = {t["reference"][8:]: t["extension"][0]["valueString"] for t in found["target"]}
    assert origins["patient"] == "PID[1]"
    assert origins["observation-1"] == "OBX[1]"
    assert origins["observation-2"] == "OBX[2] OBX[3] NTE[1]"
    assert origins["observation-3"] == "OBX[4]"
    assert origins["practitioner-1"] == "OBX[4]"
    assert {t["extension"][0]["url"] for t in found["target"]} == {"urn:hie:extension:segments"}


def test_an_order_that_names_who_entered_it_has_a_provenance_of_its_own():
    orc = "ORC|NW|P1^GH|F1^LAB||||||20260131090000-0500|1^IN^ANN|2^CHECK^BOB|3^ASK^CLEO"
    obr = "OBR|1|P1^GH|F1^LAB|CBC^Count^L"
    submission = submission_of(PID, orc, obr, trigger="ORU^R01")
    message, order = sorted(
        (d for d in drafts_of(submission, "Provenance")), key=lambda d: d.name != "provenance"
    )
    agents = [
        (a["type"]["coding"][0]["code"], a["who"]["display"]) for a in order.resource["agent"]
    ]
    assert agents == [("enterer", "ANN IN"), ("verifier", "BOB CHECK"), ("author", "CLEO ASK")]
    assert order.resource["target"] == [{"reference": "urn:hie:order-1"}]
    assert order.resource["activity"]["coding"][0]["code"] == "CREATE"
    assert order.resource["occurredDateTime"] == "2026-01-31T09:00:00-05:00"
    assert "urn:hie:order-provenance-1" not in str(message.resource)
    assert faults_of(order.resource) == []
    asked = submission_of(PID, "ORC|NW|P1^GH||||||||||3^ASK^CLEO", obr, trigger="ORU^R01")
    assert len(drafts_of(asked, "Provenance")) == 1


def test_a_patient_record_that_names_who_changed_it_says_so():
    pid = PID + "|" * 25 + "20260130120000-0500|CLINIC7"
    found = [d.resource for d in drafts_of(submission_of(pid), "Provenance")]
    changed = next(
        p for p in found if p.get("activity", {}).get("coding", [{}])[0]["code"] != "A01"
    )
    assert changed["target"] == [{"reference": "urn:hie:patient"}]
    assert changed["agent"][0]["who"]["display"] == "CLINIC7"
    assert changed["occurredDateTime"] == "2026-01-30T12:00:00-05:00"
    assert faults_of(changed) == []


def test_the_program_that_wrote_a_message_is_said():
    submission = submission_of("SFT|Acme^L|2.1|Feeder|B77|made up|20250101", PID)
    found = resource_of(submission, "Provenance")
    assert found["contained"][0]["deviceName"] == [{"name": "Feeder", "type": "manufacturer-name"}]
    assert {"role": "derivation", "what": {"reference": "#software"}} in found["entity"]
    assert faults_of(found) == []
    assert not [place for place in submission.unmapped if place.startswith("SFT")]


def test_what_is_wrong_with_a_neighbours_field_is_told_where_it_stands():
    submission = submission_of("EVN|A01|notadate", PID)
    assert ("EVN-2", "datatype") in rules_of(submission)


def test_a_source_has_the_last_word_on_codes_and_rows():
    source = replace(
        GENERAL,
        id=SourceId("local"),
        overrides={
            "codes": {"administrative-sex": {"2": "female"}},
            "rows": {
                "PID[Patient]": [
                    {
                        "from": 27,
                        "to": "extension[]",
                        "as": "text",
                        "shape": {"url": "urn:x:veteran", "valueString": "$"},
                    }
                ]
            },
        },
    )
    pid = "PID|1||P1||DOE^JANE|||2" + "|" * 19 + "yes"
    mine, others = (submission_of(pid, source=s) for s in (source, GENERAL))
    assert resource_of(mine, "Patient")["gender"] == "female"
    assert resource_of(mine, "Patient")["extension"][0]["valueString"] == "yes"
    assert "PID-27" in others.unmapped
    assert "gender" not in resource_of(others, "Patient")


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"colour": {}}, "colour"),
        ({"codes": {"no-such": {}}}, "no-such"),
        ({"rows": {"PID[Nobody]": []}}, "PID[Nobody]"),
        ({"rows": {"PID[Patient]": [{"from": 1}]}}, "to"),
        ({"rows": {"PID[Patient]": [{"from": 1, "to": "x", "as": "odd"}]}}, "odd"),
    ],
)
def test_overrides_that_cannot_be_used_fail_at_start_up(overrides, named):
    with pytest.raises(HieError) as caught:
        mapper().check(replace(GENERAL, id=SourceId("bad"), overrides=overrides))
    assert named in caught.value.text


def test_a_trigger_without_a_map_is_kept_whole():
    submission = submission_of(PID, trigger="ADT^Q99")
    assert submission.drafts == ()
    assert [f.rule for f in submission.findings] == ["unmapped-message"]
    assert {"MSH-9", "PID-3", "PID-5"} <= set(submission.unmapped)
    assert not mapper().supports("ADT^Q99")
    assert mapper().supports("ADT^A01")


def test_an_adt_without_event_in_its_header_has_it_in_evn():
    assert drafts_of(submission_of("EVN|A28", PID, trigger="ADT"), "Patient")
    assert submission_of(PID, trigger="ADT").drafts == ()


def test_delimiters_are_the_messages_own():
    message = er7.parse(
        b"MSH*:+!%*ADT1*GH***20260131**ADT:A31*M1*P*2.5\rPID*1**P1:::GH:MR**O!T!H:JANE+ROE:J\r"
    )
    submission = mapper().map(message, GENERAL, message_id=MessageId(7), received_us=RECEIVED_US)
    patient = resource_of(submission, "Patient")
    assert patient["identifier"][0]["value"] == "P1"
    assert [name["family"] for name in patient["name"]] == ["O%H", "ROE"]


def test_a_delimiter_the_sender_left_out_cuts_nothing():
    message = er7.parse(b"MSH|^|ADT1|GH|||2026||ADT^A31|M1|P|2.5\rPID|1||P1||DOE~&^JANE\r")
    submission = mapper().map(message, GENERAL, message_id=MessageId(7), received_us=RECEIVED_US)
    assert resource_of(submission, "Patient")["name"][0]["family"] == "DOE~&"


def test_control_characters_never_reach_a_resource():
    resource = resource_of(submission_of("PID|1||P1||D\x00O\x1bE^J\x07ANE"), "Patient")
    assert resource["name"] == [{"family": "DOE", "given": ["JANE"]}]


def test_findings_of_one_message_have_a_bound():
    obx = [f"OBX|{n}|NM|{n}-1^A^LN||x||QQQ|||F" for n in range(300)]
    submission = submission_of(PID, *ORDER, *obx, trigger="ORU^R01")
    assert len(submission.findings) == 200
    assert len(drafts_of(submission, "Observation")) == 300


def test_no_finding_quotes_a_value():
    secret = "ZANZIBAR"
    pid = f"PID|1||{secret}^^^{secret}^{secret}||{secret}||{secret}|{secret}||{secret}"
    submission = submission_of(pid, f"PV1|1|{secret}")
    assert submission.findings
    assert not [f for f in submission.findings if secret in f.text]


def test_what_one_message_changes_in_its_resources_the_next_does_not_see():
    first = submission_of(PID, *ORDER, "OBX|1|CWE|1-1^A^LN||A^B^SCT||||||F", trigger="ORU^R01")
    for draft in first.drafts:
        spoil(draft.resource)
    again = submission_of(PID, *ORDER, "OBX|1|CWE|1-1^A^LN||A^B^SCT||||||F", trigger="ORU^R01")
    assert "spoilt" not in str(again)


def spoil(node: object) -> None:
    """Change every object and list below `node` in place."""
    for child in list(
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        spoil(child)
    if isinstance(node, dict):
        node["spoilt"] = True
    if isinstance(node, list):
        node.append("spoilt")


def test_a_message_of_every_trigger_maps_the_same_twice():
    for trigger in sorted(mapper().triggers):
        message = message_of(PID, trigger=trigger)
        assert message.trigger == trigger
        assert submission_of(PID, trigger=trigger) == submission_of(PID, trigger=trigger)


def test_senders_without_number_do_not_fill_the_memory():
    obx = "OBX|1|CWE|1-1^A^LN||A^B^SCT||||||F"
    for n in range(300):
        source = replace(GENERAL, id=SourceId(f"adhoc:{n}"), is_adhoc=True)
        submission = submission_of(PID, *ORDER, obx, trigger="ORU^R01", source=source)
        assert drafts_of(submission, "Observation")
    assert len(mapper()._shared) <= 256
