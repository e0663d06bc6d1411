"""Vaccinations: RXA, RXR and what CDC puts into OBX. CDC Immunization IG 2.5.1 r1.5."""

import pytest

from hie.kernel.envelope import Submission
from hie.kernel.fhir import FhirJson
from tests.support.mapping import PID, drafts_of, resource_of, submission_of

ORC = "ORC|RE||I1^GH"


def segment(name: str, **values: str) -> str:
    numbered = {int(key[1:]): value for key, value in values.items()}
    return "|".join([name, *(numbered.get(n, "") for n in range(1, max(numbered) + 1))])


def rxa(**values: str) -> str:
    given = {"_1": "0", "_2": "1", "_3": "20260131", "_5": "08^Hep B^CVX", "_6": "999", **values}
    return segment("RXA", **given)


def vxu(*segments: str) -> Submission:
    return submission_of(PID, *segments, trigger="VXU^V04")


def given(*segments: str, **values: str) -> FhirJson:
    return resource_of(vxu(ORC, rxa(**values), *segments), "Immunization")


def codes(concept: FhirJson) -> list[str]:
    return [coding["code"] for coding in concept["coding"]]


@pytest.mark.parametrize(
    ("completion", "action", "refusal", "status"),
    [
        ("CP", "A", "", "completed"),
        ("PA", "A", "", "completed"),
        ("RE", "A", "00^Parental refusal^NIP002", "not-done"),
        ("NA", "A", "", "not-done"),
        ("", "A", "", "completed"),
        ("", "", "00^Parental refusal^NIP002", "not-done"),
        ("CP", "U", "", "completed"),
        ("CP", "D", "", "entered-in-error"),
        ("RE", "D", "", "entered-in-error"),
    ],
)
def test_the_status_is_that_of_rxa_21_then_rxa_20_then_a_refusal(
    completion, action, refusal, status
):
    (draft,) = drafts_of(vxu(ORC, rxa(_18=refusal, _20=completion, _21=action)), "Immunization")
    assert (draft.resource["status"], draft.lifecycle) == (status, "vaccination")


def test_a_refusal_says_why():
    found = given(_18="00^Parental refusal^NIP002", _20="RE")
    assert codes(found["statusReason"]) == ["00"]
    assert "doseQuantity" not in found


def test_a_partial_dose_is_subpotent():
    found = given(_6="0.25", _7="mL^^UCUM", _20="PA")
    assert found["isSubpotent"] is True
    assert codes(found["subpotentReason"][0]) == ["partial"]
    assert "isSubpotent" not in given(_20="CP")


@pytest.mark.parametrize(("amount", "value"), [("999", None), ("0", None), ("0.5", "0.5")])
def test_an_amount_nobody_knows_is_none(amount, value):
    dose = given(_6=amount, _7="mL^^UCUM").get("doseQuantity")
    assert (str(dose["value"]) if dose else None) == value


@pytest.mark.parametrize(
    ("source", "is_primary", "origin"),
    [
        ("00", True, None),
        ("01", False, "record"),
        ("04", False, "recall"),
        ("08", False, "jurisdiction"),
    ],
)
def test_who_gave_it_is_the_primary_source(source, is_primary, origin):
    found = given(_9=f"{source}^Source^NIP001")
    assert found["primarySource"] is is_primary
    report = found.get("reportOrigin")
    assert (codes(report)[0] if report else None) == origin


def obx(code: str, kind: str, value: str, sub: str = "1") -> str:
    return segment("OBX", _2=kind, _3=f"{code}^Q^LN", _4=sub, _5=value, _11="F", _14="20260131")


def test_facts_of_the_vaccination_are_elements_of_it():
    submission = vxu(
        ORC,
        rxa(),
        obx("64994-7", "CE", "V02^Medicaid^HL70064"),
        obx("30963-3", "CE", "VXC51^Public^CDCPHINVS"),
        obx("30973-2", "NM", "2"),
        obx("69764-9", "CE", "253^HepB VIS^cdcgs1vis", "2"),
        obx("29769-7", "DT", "20260131", "2"),
        obx("30956-7", "CE", "107^DTaP^CVX", "3"),
        obx("29768-9", "DT", "20250101", "3"),
        obx("29769-7", "DT", "20260131", "3"),
    )
    found = resource_of(submission, "Immunization")
    assert codes(found["programEligibility"][0]) == ["V02"]
    assert codes(found["fundingSource"]) == ["VXC51"]
    assert found["protocolApplied"] == [{"doseNumberPositiveInt": 2}]
    assert found["education"] == [
        {"documentType": "HepB VIS", "presentationDate": "2026-01-31"},
        {
            "documentType": "DTaP",
            "publicationDate": "2025-01-01",
            "presentationDate": "2026-01-31",
        },
    ]
    assert drafts_of(submission, "Observation") == []


def test_a_reaction_is_an_observation_the_vaccination_points_to():
    submission = vxu(ORC, rxa(), obx("31044-1", "CE", "VXC9^Fever^CDCPHINVS"))
    assert resource_of(submission, "Immunization")["reaction"] == [
        {"date": "2026-01-31", "detail": {"reference": "urn:hie:immunity-1"}}
    ]
    observation = resource_of(submission, "Observation")
    assert observation["partOf"] == [{"reference": "urn:hie:immunization-1"}]


def test_notes_stay_with_what_they_follow():
    submission = vxu(
        ORC,
        rxa(),
        "NTE|1||about the dose",
        obx("64994-7", "CE", "V02^Medicaid^HL70064"),
        "NTE|1||about eligibility",
        obx("31044-1", "CE", "VXC9^Fever^CDCPHINVS"),
        "NTE|1||about the reaction",
    )
    notes = [note["text"] for note in resource_of(submission, "Immunization")["note"]]
    assert notes == ["about the dose", "about eligibility"]
    assert resource_of(submission, "Observation")["note"] == [{"text": "about the reaction"}]


def test_where_nothing_was_given_the_observations_are_the_patients():
    nothing = ("ORC|RE||9999^GH", rxa(_5="998^No vaccine^CVX", _20="NA"))
    submission = vxu(*nothing, obx("59784-9", "CE", "38907003^Varicella^SCT"))
    assert drafts_of(submission, "Immunization") == []
    (draft,) = drafts_of(submission, "Observation")
    assert "9999" not in draft.key
    assert "P1" in draft.key
    assert submission.unmapped == ()


def test_who_ordered_and_gave_it_may_stand_in_participations():
    prt = segment("PRT", _2="AD", _4="AP^Administering^HL70443", _5="8^NURSE^NORA^^^^^^GH")
    (performer,) = given(prt)["performer"]
    assert codes(performer["function"]) == ["AP"]
    assert performer["actor"]["display"] == "NORA NURSE"


def test_the_address_of_the_clinic_is_its_own():
    submission = vxu(ORC, rxa(_11="^^^CLINIC", _28="1 CLINIC WAY^^BOSTON^MA"))
    assert resource_of(submission, "Location")["address"]["city"] == "BOSTON"


def test_a_vaccine_without_an_order_is_known_by_patient_vaccine_and_day():
    (draft,) = drafts_of(vxu(rxa()), "Immunization")
    assert draft.key[-3:] == ("08", "CVX", "20260131")
