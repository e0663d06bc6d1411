"""Orders and results: what becomes of ORC, OBR, OBX, SPM, SAC, PRT and NTE. HL7 v2.8.2 4, 7."""

import base64

import pytest

from hie.kernel.envelope import Submission, WriteMode
from hie.kernel.fhir import FhirJson
from tests.support.mapping import NOWHERE, PID, drafts_of, resource_of, rules_of, submission_of

ORC = "ORC|RE|O1^GH|F1^LAB"
SD = "http://hl7.org/fhir/StructureDefinition/"


def fields(name: str, **values: str) -> str:
    """A segment of these fields, `_5="x"`."""
    numbered = {int(key[1:]): value for key, value in values.items()}
    return "|".join([name, *(numbered.get(n, "") for n in range(1, max(numbered) + 1))])


def obr(**values: str) -> str:
    return fields("OBR", **{"_1": "1", "_2": "O1^GH", "_3": "F1^LAB", "_4": "X1^Panel^L", **values})


def obx(code: str = "1-1^A^LN", **values: str) -> str:
    given = {"_2": "NM", "_3": code, "_5": "5", "_11": "F", **values}
    return fields("OBX", **given)


def oru(*segments: str) -> Submission:
    return submission_of(PID, *segments, trigger="ORU^R01")


def oml(*segments: str) -> Submission:
    return submission_of(PID, *segments, trigger="OML^O21")


def only(submission: Submission, kind: str) -> FhirJson:
    return resource_of(submission, kind)


def codes(concept: FhirJson) -> list[str]:
    return [coding["code"] for coding in concept["coding"]]


# --- orders ---


def test_a_result_adds_to_its_order_and_an_order_replaces_what_was_known():
    (resulted,) = drafts_of(oru(ORC, obr(_25="F")), "ServiceRequest")
    (ordered,) = drafts_of(oml("ORC|NW|O1^GH", obr(_3="")), "ServiceRequest")
    assert resulted.mode is WriteMode.PATCH
    assert ordered.mode is WriteMode.UPSERT
    assert resulted.key == ordered.key
    assert (resulted.lifecycle, ordered.lifecycle) == ("order", "order")


@pytest.mark.parametrize(
    ("orc", "result", "status"),
    [
        ("ORC|NW|O1^GH", "", "active"),
        ("ORC|CA|O1^GH", "", "revoked"),
        ("ORC|HD|O1^GH", "", "on-hold"),
        ("ORC|SC|O1^GH|||CM", "", "completed"),
        ("ORC|CA|O1^GH|||IP", "", "active"),
        ("ORC|PR|O1^GH", "F", "completed"),
        ("ORC|SC|O1^GH", "", "unknown"),
    ],
)
def test_the_status_of_an_order_is_that_of_orc_5_then_orc_1_then_obr_25(orc, result, status):
    drafts = drafts_of(oml(orc, obr(_25=result)), "ServiceRequest")
    assert drafts[-1].resource.get("status", "unknown") == status


@pytest.mark.parametrize(
    ("action", "intent"), [("", "order"), ("G", "reflex-order"), ("A", "order")]
)
def test_a_reflex_order_says_so_and_an_added_one_is_an_order(action, intent):
    assert only(oml("ORC|NW|O1^GH", obr(_11=action)), "ServiceRequest")["intent"] == intent


@pytest.mark.parametrize(
    ("control", "authored"), [("NW", "2026-01-31T10:00:00-05:00"), ("SC", None), ("RE", None)]
)
def test_an_order_was_written_when_it_was_new(control, authored):
    found = only(oml(f"ORC|{control}|O1^GH|||||||20260131100000", obr()), "ServiceRequest")
    assert found.get("authoredOn") == authored


def test_why_it_changed_is_not_why_it_was_ordered():
    orc = fields("ORC", _1="CA", _2="O1^GH", _16="DUP^Duplicate^99GH")
    found = only(oml(orc, obr(_31="R51^Headache^I10C")), "ServiceRequest")
    assert [codes(reason) for reason in found["reasonCode"]] == [["R51"]]
    (reason,) = found["extension"]
    assert reason["url"] == SD + "request-statusReason"
    assert codes(reason["valueCodeableConcept"]) == ["DUP"]


@pytest.mark.parametrize(
    ("raw", "value"), [("GRP1^GH", "GRP1"), ("GRP1&GH^FGP1&LAB", "GRP1")], ids=["EI", "EIP"]
)
def test_a_group_number_is_the_placers(raw, value):
    found = only(oml(f"ORC|NW|O1^GH||{raw}", obr()), "ServiceRequest")["requisition"]
    assert (found["value"], codes(found["type"])) == (value, ["PGN"])


@pytest.mark.parametrize(("kind", "is_published"), [("O", True), ("", True), ("H", False)])
def test_only_an_office_of_whoever_orders_is_published(kind, is_published):
    orc = fields(
        "ORC", _1="NW", _2="O1^GH", _12="9^ASK^CLEO^^^^^^GH", _24=f"2 DOC ST^^BOSTON^MA^^^{kind}"
    )
    practitioner = only(oml(orc, obr(_3="")), "Practitioner")
    assert ("address" in practitioner) is is_published


def test_the_fillers_half_of_a_group_number_is_kept():
    both = only(oml("ORC|NW|O1^GH||GRP1&GH^FGP1&LAB", obr(_3="")), "ServiceRequest")
    assert [(i["value"], codes(i["type"])) for i in both["identifier"]] == [
        ("O1", ["PLAC"]),
        ("FGP1", ["FGN"]),
    ]
    plain = only(oml("ORC|NW|O1^GH||GRP1^GH", obr(_3="")), "ServiceRequest")
    assert [i["value"] for i in plain["identifier"]] == ["O1"]


@pytest.mark.parametrize(
    ("orc", "given", "value"),
    [
        (ORC, {"_29": "P9&GH^F9&LAB"}, "P9"),
        (ORC, {"_29": "^F9&LAB"}, "F9"),
        ("ORC|RE|O1^GH|F1^LAB|||||P8&GH^F8&LAB", {}, "P8"),
        ("ORC|RE|O1^GH|F1^LAB|||||^F8&LAB", {}, "F8"),
        (ORC, {"_54": "P7&GH^F7&LAB"}, "P7"),
    ],
)
def test_an_order_names_the_order_it_comes_from(orc, given, value):
    (parent,) = drafts_of(oru(orc, obr(**given)), "ServiceRequest")[-1].resource["basedOn"]
    assert parent["identifier"]["value"] == value


@pytest.mark.parametrize(
    ("timing", "given", "expected"),
    [
        ("TQ1|1||||||20260201080000|20260201090000", {}, "occurrencePeriod"),
        ("TQ1|1||ONCE||||20260201080000", {}, "occurrencePeriod"),
        ("TQ1|1||BID||||20260201080000", {}, "occurrenceTiming"),
        ("TQ1|1||BID||||20260201080000", {"_6": "20260201"}, "occurrenceDateTime"),
        ("NTE|1", {"_27": "1^^^20260201080000^^S"}, "occurrenceDateTime"),
        ("NTE|1", {"_36": "20260201080000"}, "occurrenceDateTime"),
    ],
)
def test_when_it_is_wanted_has_one_form(timing, given, expected):
    found = only(oml("ORC|NW|O1^GH", timing, obr(_3="", **given)), "ServiceRequest")
    assert [name for name in found if name.startswith("occurrence")] == [expected]


def test_a_repeated_order_has_its_span_as_bounds():
    tq1 = "TQ1|1||BID^^^^^^|0800~2000|||20260201080000|20260208080000|||||2^h|14"
    found = only(oml("ORC|NW|O1^GH", tq1, obr(_3="")), "ServiceRequest")
    repeat = found["occurrenceTiming"]["repeat"]
    assert repeat["boundsPeriod"]["start"] == "2026-02-01T08:00:00-05:00"
    assert repeat["timeOfDay"] == ["08:00:00", "20:00:00"]
    assert (repeat["count"], str(repeat["duration"]), repeat["durationUnit"]) == (14, "2", "h")


def test_a_control_without_its_order_changes_the_status_alone():
    created, changed = drafts_of(oml("ORC|HD|O1^GH"), "ServiceRequest")
    assert (created.mode, changed.mode) == (WriteMode.CREATE_IF_ABSENT, WriteMode.PATCH)
    assert changed.resource["status"] == "on-hold"
    assert "code" not in changed.resource


def test_who_is_to_have_a_copy_is_asked_to_be_told():
    found = only(oru(ORC, obr(_28="5^COPY^CARL~6^COPY^CORA", _49="CC")), "CommunicationRequest")
    assert [to["display"] for to in found["recipient"]] == ["CARL COPY", "CORA COPY"]
    assert found["basedOn"] == [{"reference": "urn:hie:order-1"}]
    assert codes(found["reasonCode"][0]) == ["X1"]


def test_what_is_asked_at_order_entry_supports_the_order_and_is_no_result():
    asked = obx("49541-6^Fasting^LN", _2="CWE", _5="Y^Yes^HL70136")
    submission = oml("ORC|NW|O1^GH", obr(_3=""), asked)
    answer = only(submission, "Observation")
    assert codes(answer["category"][0]) == ["survey"]
    assert only(submission, "ServiceRequest")["supportingInfo"] == [
        {"reference": "urn:hie:answer-1"}
    ]
    assert drafts_of(submission, "DiagnosticReport") == []
    result = oru(ORC, obr(), obx(), obx("49541-6^Fasting^LN", _29="QST"))
    assert only(result, "DiagnosticReport")["result"] == [{"reference": "urn:hie:observation-1"}]
    order = drafts_of(result, "ServiceRequest")[-1].resource
    assert order["supportingInfo"] == [{"reference": "urn:hie:answer-1"}]


def test_earlier_results_in_an_order_are_results():
    submission = oml(
        "ORC|NW|O1^GH",
        obr(_3=""),
        PID,
        "ORC|PR|O2^GH",
        obr(_2="O2^GH", _3="F2^LAB", _25="F"),
        obx(),
    )
    assert only(submission, "DiagnosticReport")["result"] == [
        {"reference": "urn:hie:observation-1"}
    ]
    assert rules_of(submission) == []


def test_another_patient_in_an_order_is_left_to_a_human():
    other = "PID|2||P2^^^GH^MR||ROE^RITA"
    submission = oml("ORC|NW|O1^GH", obr(_3=""), other, "ORC|PR|O2^GH", obr(_25="F"), obx())
    assert drafts_of(submission, "DiagnosticReport") == []
    assert ("PID", "several-patients") in [(p[:3], rule) for p, rule in rules_of(submission)]


def test_a_diagnosis_in_an_order_is_its_reason():
    submission = oml("ORC|NW|O1^GH", obr(), "DG1|1||R51^Headache^I10C|||W")
    assert only(submission, "ServiceRequest")["reasonReference"] == [
        {"reference": "urn:hie:reason-1"}
    ]


# --- results ---


@pytest.mark.parametrize(
    ("section", "found"),
    [
        ("CH", ["CH", "LAB"]),
        ("LAB", ["LAB"]),
        ("SP", ["SP", "LP7839-6"]),
        ("RAD", ["RAD", "LP29684-5"]),
        ("EC", ["EC", "LP29708-2"]),
        ("OTH", ["OTH"]),
        ("", ["LAB"]),
    ],
)
def test_a_report_has_its_section_and_the_class_us_core_knows(section, found):
    report = only(oru(ORC, obr(_24=section)), "DiagnosticReport")
    assert [code for category in report["category"] for code in codes(category)] == found


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("O", "registered"),
        ("P", "preliminary"),
        ("R", "preliminary"),
        ("A", "partial"),
        ("F", "final"),
        ("C", "corrected"),
        ("X", "cancelled"),
        ("D", "entered-in-error"),
        ("", "unknown"),
    ],
)
def test_obr_25_is_the_status_of_the_report(code, status):
    (draft,) = drafts_of(oru(ORC, obr(_25=code)), "DiagnosticReport")
    assert (draft.resource["status"], draft.lifecycle) == (status, "result")


@pytest.mark.parametrize(
    ("given", "value", "reason"),
    [
        ({"_5": ""}, False, "unknown"),
        ({"_5": '""'}, False, "unknown"),
        ({"_5": "", "_11": "X"}, False, "not-performed"),
        ({"_5": "", "_11": "D"}, False, None),
        ({"_5": "", "_32": "asked-declined^^L"}, False, "asked-declined"),
        ({"_5": "5", "_11": "X"}, True, None),
        ({"_5": "5", "_11": "W"}, True, None),
        ({"_5": "5", "_11": "D"}, False, None),
    ],
)
def test_a_result_has_a_value_or_says_why_not(given, value, reason):
    found = only(oru(ORC, obr(), obx(**given)), "Observation")
    assert any(name.startswith("value") for name in found) is value
    absent = found.get("dataAbsentReason")
    assert (codes(absent)[0] if absent else None) == reason


def test_older_and_newer_versions_are_told_by_the_report_time():
    def moments(*segments: str) -> list[int | None]:
        kinds = ("DiagnosticReport", "Observation")
        return [d.event_us for kind in kinds for d in drafts_of(oru(*segments), kind)]

    first = moments(ORC, obr(_22="20260131080000"), obx())
    later = moments(ORC, obr(_22="20260131090000"), obx())
    assert len(set(first)) == 1
    assert later[0] is not None
    assert first[0] is not None
    assert later[0] - first[0] == 3_600_000_000


def test_without_a_zone_no_offset_is_made_up():
    submission = submission_of(
        PID,
        ORC,
        obr(_7="20260131101500", _22="20260131110000"),
        obx(_14="20260131101500"),
        trigger="ORU^R01",
        source=NOWHERE,
    )
    observation = only(submission, "Observation")
    assert observation["effectiveDateTime"] == "2026-01-31"
    assert "issued" not in observation
    assert ("OBX-14", "no-time-zone") in rules_of(submission)


@pytest.mark.parametrize(
    ("code", "interpretation"),
    [("H", "H"), ("LL", "LL"), ("S", "S"), ("R", "R"), ("SDD", "SDD"), ("NS", "NS"), ("I", "I")],
)
def test_a_result_is_interpreted_susceptibilities_too(code, interpretation):
    found = only(oru(ORC, obr(), obx(_8=code)), "Observation")
    assert codes(found["interpretation"][0])[0] == interpretation


def test_a_director_stands_for_the_laboratory():
    lab = "Main Lab^^^^^GH^XX^^^L1"
    place = "1 LAB ST^^BOSTON^MA"
    submission = oru(ORC, obr(), obx(_23=lab, _24=place, _25="9^HEAD^HELEN^^^^^^GH"))
    found = only(submission, "Observation")
    assert [who["display"] for who in found["performer"]] == ["Main Lab", "HELEN HEAD"]
    role = only(submission, "PractitionerRole")
    assert codes(role["code"][0]) == ["MDIR"]
    assert role["organization"] == {"reference": "urn:hie:organization-1", "display": "Main Lab"}
    named = oru(ORC, obr(), obx(_25="^HEAD^HELEN"))
    assert only(named, "Observation")["performer"] == [{"display": "HELEN HEAD"}]
    assert drafts_of(named, "PractitionerRole") == []


def test_participations_tell_who_where_and_with_what():
    who = fields("PRT", _2="AD", _4="RO^Observer^HL70912", _5="8^NURSE^NORA^^^^^^GH", _9="WARD^12")
    what = fields("PRT", _2="AD", _4="EQUIP", _10="SN1^GH", _16="(01)1(21)SN1", _20="SN1")
    gone = fields("PRT", _2="D", _4="RO", _5="9^AWAY^ANN^^^^^^GH")
    submission = oru(ORC, obr(), obx(), who, what, gone)
    found = only(submission, "Observation")
    (performer,) = found["performer"]
    assert performer["display"] == "NORA NURSE"
    assert codes(performer["extension"][0]["valueCodeableConcept"]) == ["RO"]
    assert found["device"] == {"reference": "urn:hie:device-1"}
    assert [e["url"] for e in found["extension"]] == [SD + "event-location"]
    assert only(submission, "Device")["serialNumber"] == "SN1"


def test_a_device_of_one_result_is_not_another_s():
    what = fields("PRT", _2="AD", _4="EQUIP", _10="SN1^GH")
    submission = oru(ORC, obr(), obx("1-1^A^LN"), what, obx("2-2^B^LN"))
    first, second = drafts_of(submission, "Observation")
    assert first.resource["device"] == {"reference": "urn:hie:device-1"}
    assert "device" not in second.resource


# --- parents, panels ---


CULTURE = (
    "ORC|RE|O1^GH|F1^LAB",
    obr(_4="600-7^Culture^LN"),
    obx("600-7^Bacteria^LN", _2="CWE", _4="1", _5="112283007^E. coli^SCT"),
    obx("600-7^Bacteria^LN", _2="CWE", _4="2", _5="3092008^S. aureus^SCT"),
)


@pytest.mark.parametrize(
    ("orc", "given"),
    [
        ("ORC|RE|O1^GH|F2^LAB", {"_29": "O1&GH^F1&LAB"}),
        ("ORC|RE|O1^GH|F2^LAB", {"_29": "O1&GH"}),
        ("ORC|RE|O1^GH|F2^LAB|||||O1&GH^F1&LAB", {}),
        ("ORC|RE|O1^GH|F2^LAB", {}),
    ],
    ids=["filler", "placer", "ORC-8", "code alone"],
)
def test_a_susceptibility_comes_from_the_organism_it_names(orc, given):
    child = obr(_3="F2^LAB", _26="600-7&Bacteria&LN^2^S. aureus", **given)
    submission = oru(*CULTURE, orc, child, obx("28-1^Ampicillin^LN", _8="R"))
    coli, aureus, ampicillin = (d.resource for d in drafts_of(submission, "Observation"))
    assert ampicillin["derivedFrom"] == [{"reference": "urn:hie:observation-2"}]
    assert aureus["hasMember"] == [{"reference": "urn:hie:observation-3"}]
    assert "hasMember" not in coli


def test_a_parent_that_is_not_there_or_not_the_only_one_is_not_guessed():
    child = obr(_3="F2^LAB", _26="9-9&Other&LN^1")
    submission = oru(*CULTURE, ORC, child, obx("28-1^Ampicillin^LN"))
    assert "derivedFrom" not in drafts_of(submission, "Observation")[2].resource
    twice = obr(_3="F2^LAB", _26="600-7&Bacteria&LN^1")
    again = [segment.replace("F1^LAB", "F7^LAB") for segment in CULTURE]
    submission = oru(*CULTURE, *again, ORC, twice, obx("28-1^Ampicillin^LN"))
    assert "derivedFrom" not in drafts_of(submission, "Observation")[4].resource


def pressure(code: str, value: str, sub: str = "", at: str = "20260131101500") -> str:
    return obx(f"{code}^P^LN", _4=sub, _5=value, _6="mm[Hg]", _14=at)


def test_systolic_and_diastolic_pressure_are_one_observation():
    submission = oru(ORC, obr(), pressure("8480-6", "120"), pressure("8462-4", "80"), obx())
    both, other = (d.resource for d in drafts_of(submission, "Observation"))
    assert codes(both["code"]) == ["85354-9"]
    assert [codes(part["code"]) for part in both["component"]] == [["8480-6"], ["8462-4"]]
    assert [str(part["valueQuantity"]["value"]) for part in both["component"]] == ["120", "80"]
    assert codes(both["category"][0]) == ["vital-signs"]
    assert codes(other["code"]) == ["1-1"]
    assert only(submission, "DiagnosticReport")["result"] == [
        {"reference": "urn:hie:observation-1"},
        {"reference": "urn:hie:blood-pressure-1"},
    ]


@pytest.mark.parametrize(
    "other",
    [
        pressure("8462-4", "80", at="20260131111500"),
        pressure("8462-4", "80", sub="2"),
        pressure("8480-6", "121", at="20260131111500"),
    ],
    ids=["another time", "another sub-id", "systolic again"],
)
def test_pressures_of_different_moments_are_not_mixed(other):
    submission = oru(ORC, obr(), pressure("8480-6", "120"), other)
    found = [d.resource for d in drafts_of(submission, "Observation")]
    assert len(found) == 2
    assert all("component" not in resource for resource in found)


# --- documents among the results ---


def test_a_printed_report_is_a_document_with_its_content():
    data = base64.b64encode(b"%PDF-1.4").decode()
    printed = obx(
        "PDF^Printed^99GH", _2="ED", _5=f"LAB^application^pdf^Base64^{data}", _14="20260131"
    )
    submission = oru(ORC, obr(_22="20260131110000"), printed)
    document = only(submission, "DocumentReference")
    assert document["content"] == [
        {
            "attachment": {
                "contentType": "application/pdf",
                "title": "Printed",
                "creation": "2026-01-31",
                "url": "urn:hie:binary-1",
            }
        }
    ]
    assert codes(document["type"]) == ["PDF", "UNK"]
    assert codes(document["context"]["event"][0]) == ["X1"]
    assert document["context"]["related"] == [{"reference": "urn:hie:report-1"}]
    assert only(submission, "Binary") == {
        "resourceType": "Binary",
        "contentType": "application/pdf",
        "data": data,
        "securityContext": {"reference": "urn:hie:document-1"},
    }
    assert drafts_of(submission, "Observation") == []


@pytest.mark.parametrize("data", ["$$$", ""])
def test_a_document_that_cannot_be_read_is_never_shown_as_another(data):
    printed = [
        obx(f"{code}^{code}^99GH", _2="ED", _5=f"LAB^application^pdf^Base64^{content}")
        for code, content in (("GOOD", "SGk="), ("BAD", data))
    ]
    submission = oru(obr(), *printed)
    assert [f.place for f in submission.findings] == ["OBX-5.5"]
    shown = [d.resource["content"][0] for d in drafts_of(submission, "DocumentReference")]
    assert ["url" in entry["attachment"] for entry in shown] == [True, False]
    report = only(submission, "DiagnosticReport")
    assert ["url" in entry for entry in report["presentedForm"]] == [True, False]


def test_a_pointer_is_where_the_document_is():
    pointer = obx("IMG^Images^99GH", _2="RP", _5="https://pacs.example/1^PACS^image^jpeg")
    submission = oru(ORC, obr(), pointer)
    attachment = {
        "contentType": "image/jpeg",
        "url": "https://pacs.example/1",
        "title": "Images",
    }
    assert only(submission, "DocumentReference")["content"] == [{"attachment": attachment}]
    assert only(submission, "DiagnosticReport")["presentedForm"] == [attachment]
    assert drafts_of(submission, "Binary") == []


@pytest.mark.parametrize(
    ("code", "status", "completion"),
    [
        ("F", "current", "final"),
        ("P", "current", "preliminary"),
        ("C", "current", "amended"),
        ("W", "entered-in-error", "entered-in-error"),
    ],
)
def test_obx_11_is_the_status_of_the_document(code, status, completion):
    printed = obx("PDF^P^L", _2="ED", _5="LAB^application^pdf^Base64^SGk=", _11=code)
    (draft,) = drafts_of(oru(ORC, obr(), printed), "DocumentReference")
    assert (draft.resource["status"], draft.resource["docStatus"]) == (status, completion)
    assert draft.lifecycle == "document"


@pytest.mark.parametrize("code", ["19005-8^Impression^LN", "36643-5&IMP^X-ray^LN"])
def test_an_impression_is_the_conclusion_of_the_report(code):
    lines = (obx(code, _2="TX", _5="No acute disease."), obx(code, _2="TX", _5="Follow up."))
    body = obx("36643-5&GDT^X-ray^LN", _2="TX", _5="Lungs clear.")
    report = only(oru(ORC, obr(_24="RAD"), body, *lines), "DiagnosticReport")
    assert report["conclusion"] == "No acute disease.\nFollow up."


# --- specimens ---


def test_an_order_that_has_no_spm_tells_of_its_specimen_itself():
    given = {"_7": "20260131101500", "_9": "5^mL", "_10": "5^COLLECT^COLIN", "_39": "cold"}
    source = "BLD&Blood&HL70070^EDTA^short draw^LA"
    submission = oru(ORC, obr(_14="20260131110000", _15=source, **given), obx())
    found = only(submission, "Specimen")
    assert codes(found["type"])[-1] == "BLD"
    assert found["collection"]["collectedDateTime"] == "2026-01-31T10:15:00-05:00"
    assert found["collection"]["collector"] == {
        "reference": "urn:hie:practitioner-1",
        "display": "COLIN COLLECT",
    }
    assert [note["text"] for note in found["note"]] == ["short draw", "cold"]
    assert only(submission, "Observation")["specimen"] == {"reference": "urn:hie:specimen-source-1"}


def test_what_obr_adds_to_spm_is_kept_and_makes_no_second_specimen():
    spm = "SPM|1|S1&GH||119297000^Blood^SCT|||||||||||||20260131101500"
    submission = oru(ORC, obr(_10="5^COLLECT^COLIN", _15="BLD"), obx(), spm)
    found = only(submission, "Specimen")
    assert found["collection"]["collector"]["display"] == "COLIN COLLECT"
    assert codes(found["type"]) == ["119297000"]


def test_containers_belong_to_their_specimen():
    spm = fields("SPM", _1="1", _2="S1&GH", _4="119297000^Blood^SCT", _27="TUBE^Tube^99GH")
    sac = fields("SAC", _1="A1^LAB", _3="C1^LAB", _21="10", _22="8", _24="mL")
    submission = submission_of(
        PID, spm, sac, obr(_24="LAB"), "ORC|RE|O1^GH|F1^LAB", obx(), trigger="OUL^R22"
    )
    found = only(submission, "Specimen")
    (container,) = found["container"]
    assert container["identifier"][0]["value"] == "C1"
    assert codes(container["type"]) == ["TUBE"]
    assert str(container["specimenQuantity"]["value"]) == "8"
    assert found["accessionIdentifier"]["value"] == "A1"
    assert found["request"] == [{"reference": "urn:hie:order-1"}]
    assert only(submission, "DiagnosticReport")["specimen"] == [{"reference": "urn:hie:specimen-1"}]


def test_a_rejected_specimen_is_unsatisfactory_and_says_why():
    spm = fields("SPM", _1="1", _2="S1&GH", _4="119297000^Blood^SCT", _21="RB^Broken^HL70490")
    found = only(oru(ORC, obr(), obx(), spm), "Specimen")
    assert found["status"] == "unsatisfactory"
    assert codes(found["condition"][0]) == ["RB"]


def test_a_note_of_a_report_says_who_wrote_it_and_when():
    note = "NTE|1|L|Repeat in a week||5^AUTHOR^ANN^^^^^^GH|20260131110000"
    (extension,) = only(oru(ORC, obr(), note), "DiagnosticReport")["extension"]
    assert extension["valueAnnotation"] == {
        "text": "Repeat in a week",
        "authorReference": {"reference": "urn:hie:practitioner-1", "display": "ANN AUTHOR"},
        "time": "2026-01-31T11:00:00-05:00",
    }
