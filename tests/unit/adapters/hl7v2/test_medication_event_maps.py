"""What was dispensed and what was given: status, part fills, lots, and what is not made up."""

from decimal import Decimal
from typing import Any

import pytest

from hie.kernel.envelope import Submission, WriteMode
from tests.support.fhir_r4 import faults_of
from tests.support.mapping import PID, drafts_of, resource_of, segment, submission_of

# Dispenses


def dispensed(*segments: str) -> Submission:
    return submission_of(PID, *segments, trigger="RDS^O13")


def test_a_dispense_names_its_prescription_and_its_lot():
    rxd = segment(
        "RXD",
        _1="1",
        _2="1^Pill^L",
        _3="20260221",
        _4="30",
        _5="TAB",
        _7="RX9",
        _18="LOT1",
        _19="20280101",
        _20="TEV^Teva^MVX",
    )
    found = resource_of(dispensed("ORC|RE||D1^GH", rxd), "MedicationDispense")
    (prescription,) = found["authorizingPrescription"]
    assert prescription["identifier"] == {"type": {"text": "prescription number"}, "value": "RX9"}
    product = found["contained"][0]
    assert product["batch"] == {"lotNumber": "LOT1", "expirationDate": "2028-01-01"}
    assert product["manufacturer"]["display"] == "Teva"
    assert faults_of(found) == []


def test_a_dispense_that_repeats_its_order_points_to_it_and_never_changes_it():
    submission = dispensed("ORC|RE|R1^GH|D1^GH", "RXE||1^P^L|1||TAB", "RXD|1|1^P^L|20260221|30")
    (prescription,) = drafts_of(submission, "MedicationRequest")
    (dispense,) = drafts_of(submission, "MedicationDispense")
    assert prescription.mode is WriteMode.CREATE_IF_ABSENT
    assert dispense.resource["authorizingPrescription"] == [
        {
            "type": "MedicationRequest",
            "identifier": {"system": "urn:oid:2.16.840.1.113883.19.1", "value": "R1"},
            "reference": "urn:hie:prescription-1",
        }
    ]
    assert dispense.resource["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"]["value"] == 1


@pytest.mark.parametrize(
    ("control", "status"),
    [
        ("RE", "completed"),
        ("OF", "completed"),
        ("CA", "cancelled"),
        ("DC", "stopped"),
        ("HD", "on-hold"),
        ("UF", "declined"),
        ("UA", "declined"),
    ],
)
def test_a_dispense_has_the_status_of_its_order_control(control, status):
    orc = segment("ORC", _1=control, _3="D1^GH", _16="^Why")
    found = resource_of(dispensed(orc, "RXD|1|1^P^L|20260221"), "MedicationDispense")
    assert found["status"] == status
    assert ("statusReasonCodeableConcept" in found) is (status != "completed")


@pytest.mark.parametrize(
    ("kind", "code"), [("N", "FFC"), ("P", "FFP"), ("Q", "RFP"), ("R", "RFC"), ("S", "MS")]
)
def test_part_and_full_fills_are_told_apart(kind, code):
    rxd = segment("RXD", _1="1", _2="1^P^L", _3="20260221", _8="2", _33=kind)
    found = resource_of(dispensed("ORC|RE||D1^GH", rxd), "MedicationDispense")
    assert found["type"]["coding"][0]["code"] == code
    assert found["extension"][0]["valueInteger"] == 2


@pytest.mark.parametrize(("done", "was"), [("G", True), ("T", True), ("N", False), ("4", False)])
def test_a_substitution_is_said_only_where_one_was_made(done, was):
    rxd = segment("RXD", _1="1", _2="1^P^L", _3="20260221", _11=done)
    found = resource_of(dispensed("ORC|RE||D1^GH", rxd), "MedicationDispense")
    assert found["substitution"]["wasSubstituted"] is was


# Administrations


def given(rxa: str, *more: str) -> dict[str, Any]:
    submission = submission_of(PID, "ORC|RE|R1^GH|A1^GH", rxa, *more, trigger="RAS^O17")
    found = resource_of(submission, "MedicationAdministration")
    assert faults_of(found) == []
    return found


@pytest.mark.parametrize(
    ("completion", "action", "status"),
    [
        ("CP", "A", "completed"),
        ("", "", "completed"),
        ("PA", "A", "stopped"),
        ("RE", "A", "not-done"),
        ("NA", "A", "not-done"),
        ("CP", "D", "entered-in-error"),
    ],
)
def test_an_administration_has_the_status_of_its_completion(completion, action, status):
    rxa = segment("RXA", _1="0", _2="1", _3="20260222", _5="1^P^L", _20=completion, _21=action)
    assert given(rxa)["status"] == status


def test_a_refusal_keeps_its_reason():
    rxa = segment("RXA", _1="0", _2="1", _3="20260222", _5="1^P^L", _18="^Refused", _20="RE")
    assert given(rxa)["statusReason"] == [{"text": "Refused"}]


def test_an_administration_has_dose_route_and_the_order_it_carries_out():
    rxa = segment("RXA", _1="0", _2="1", _3="202602220800", _5="1^P^L", _6="5", _7="mg")
    found = given(rxa, "RXR|IM^Intramuscular^HL70162|LA^Left arm^HL70163")
    assert found["dosage"]["dose"]["value"] == Decimal(5)
    assert found["dosage"]["route"]["coding"][0]["code"] == "IM"
    assert found["request"]["identifier"]["value"] == "R1"
    assert found["effectiveDateTime"] == "2026-02-22T08:00:00-05:00"


def test_an_unknown_amount_or_time_is_not_made_up():
    rxa = segment("RXA", _1="0", _2="1", _5="1^P^L", _6="999")
    found = given(rxa)
    assert "dosage" not in found
    routed = given(rxa, "RXR|IM")
    assert routed["dosage"]["dose"]["extension"][0]["valueCode"] == "unknown"
    assert "effectiveDateTime" not in found
    assert found["effectivePeriod"]["extension"][0]["valueCode"] == "unknown"


def test_a_lot_that_was_given_is_the_products():
    rxa = segment("RXA", _1="0", _2="1", _3="20260222", _5="1^P^L", _15="L1", _16="20270301")
    found = given(rxa)
    assert found["contained"][0]["batch"] == {"lotNumber": "L1", "expirationDate": "2027-03-01"}
    assert found["medicationReference"]["reference"] == "#medication"


def test_nothing_given_makes_no_administration():
    rxa = segment("RXA", _1="0", _2="1", _3="20260222", _5="998^None^CVX")
    submission = submission_of(PID, "ORC|RE|R1", rxa, trigger="RAS^O17")
    assert drafts_of(submission, "MedicationAdministration") == []


def test_who_dispensed_or_gave_may_stand_in_a_participation():
    prt = segment("PRT", _2="AD", _4="DP^Dispensing^HL70443", _5="7^DOC^DAN^^^^^^GH", _9="PH^1")
    dispense = resource_of(
        dispensed("ORC|RE||D1^GH", "RXD|1|1^P^L|20260221", prt), "MedicationDispense"
    )
    assert dispense["performer"][-1]["actor"]["display"] == "DAN DOC"
    assert dispense["location"]["display"] == "1, PH"
    rxa = segment("RXA", _1="0", _2="1", _3="20260222", _5="1^P^L")
    nurse = segment("PRT", _2="AD", _4="AP^Administering^HL70443", _5="8^NURSE^NAN^^^^^^GH")
    assert given(rxa, nurse)["performer"][0]["actor"]["display"] == "NAN NURSE"


@pytest.mark.parametrize(
    ("trigger", "line"),
    [
        ("RDE^O11", "RXE||1^P^L"),
        ("OMP^O09", "RXO|1^P^L"),
        ("RDS^O13", "RXD|1|1^P^L|20260221"),
        ("RAS^O17", "RXA|0|1|20260222||1^P^L"),
    ],
)
def test_what_is_measured_along_the_way_is_an_observation(trigger, line):
    obx = "OBX|1|NM|8480-6^Systolic^LN||128|mm[Hg]|||||F"
    submission = submission_of(PID, "ORC|RE|R1^GH|F1^GH", line, obx, trigger=trigger)
    assert resource_of(submission, "Observation")["valueQuantity"]["value"] == Decimal(128)
