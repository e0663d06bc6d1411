"""What orders for medicines become: status, dose, timing, compounds, who asked."""

from typing import Any

import pytest

from hie.kernel.envelope import WriteMode
from tests.support.fhir_r4 import faults_of
from tests.support.mapping import (
    NOWHERE,
    PID,
    drafts_of,
    resource_of,
    rules_of,
    segment,
    submission_of,
)


def order(*segments: str, trigger: str = "RDE^O11", **options: Any) -> dict[str, Any]:
    """The one MedicationRequest of a message."""
    submission = submission_of(PID, *segments, trigger=trigger, **options)
    found = drafts_of(submission, "MedicationRequest")[0].resource
    assert faults_of(found) == []
    return found


def dosage(*segments: str, trigger: str = "RDE^O11", **options: Any) -> dict[str, Any]:
    """The first instruction of that order."""
    instruction: dict[str, Any] = order(*segments, trigger=trigger, **options)["dosageInstruction"][
        0
    ]
    return instruction


@pytest.mark.parametrize(
    ("control", "given", "status"),
    [
        ("NW", "", "active"),
        ("CA", "", "cancelled"),
        ("OC", "", "cancelled"),
        ("DC", "", "stopped"),
        ("OD", "", "stopped"),
        ("HD", "", "on-hold"),
        ("RL", "", "active"),
        ("RF", "", "active"),
        ("XO", "", "active"),
        ("RP", "", "stopped"),
        ("RO", "", "active"),
        ("SC", "CM", "completed"),
        ("SC", "ER", "entered-in-error"),
        ("NW", "HD", "on-hold"),
    ],
)
def test_a_prescription_has_the_status_of_its_order(control, given, status):
    assert order(f"ORC|{control}|RX1^GH|||{given}", "RXE||1^Pill^L")["status"] == status


def test_a_control_that_says_nothing_of_the_status_leaves_the_stored_one():
    submission = submission_of(PID, "ORC|RE|RX1^GH", "RXE||1^Pill^L", trigger="RDE^O11")
    whole, stated = drafts_of(submission, "MedicationRequest")
    assert (whole.mode, whole.resource["status"]) == (WriteMode.CREATE_IF_ABSENT, "unknown")
    assert stated.mode is WriteMode.PATCH
    assert "status" not in stated.resource


def test_an_order_and_what_the_pharmacy_makes_of_it_are_one_resource():
    asked = submission_of(PID, "ORC|NW|RX1^GH", "RXO|1^Pill^L|5||mg", trigger="OMP^O09")
    encoded = submission_of(PID, "ORC|NW|RX1^GH", "RXE||1^Pill^L|5||mg", trigger="RDE^O11")
    keys = {d.key for s in (asked, encoded) for d in drafts_of(s, "MedicationRequest")}
    assert len(keys) == 1
    assert resource_of(asked, "MedicationRequest")["intent"] == "original-order"
    assert resource_of(encoded, "MedicationRequest")["intent"] == "order"


def test_a_control_without_detail_changes_the_order_sent_before():
    reason = segment("ORC", _1="DC", _2="RX1^GH", _16="^Rash")
    submission = submission_of(PID, reason, trigger="OMP^O09")
    whole, stated = drafts_of(submission, "MedicationRequest")
    assert stated.resource["status"] == "stopped"
    assert stated.resource["statusReason"] == {"text": "Rash"}
    assert "medicationCodeableConcept" not in stated.resource
    assert faults_of(whole.resource) == []


def test_a_later_order_of_another_kind_of_medicine_takes_the_first_away():
    single = order("ORC|NW|RX1^GH", "RXE||1^Cream^L")
    compound = order("ORC|XO|RX1^GH", "RXE||1^Cream^L", "RXC|B|2^Base^L|5|g")
    assert single["medicationReference"] is None
    assert compound["medicationCodeableConcept"] is None
    assert compound["medicationReference"]["reference"] == "#medication"


def test_a_compound_is_a_medication_inside_the_order():
    found = order("ORC|NW|RX1^GH", "RXE||1^Cream^L", "RXC|B|2^Base^L|5|g", "RXC|A|3^Acid^L|1|g")
    (medication,) = found["contained"]
    assert [i["isActive"] for i in medication["ingredient"]] == [False, True]
    assert medication["ingredient"][0]["strength"]["numerator"]["value"] == 5


def test_form_and_strength_are_a_product_beside_the_code():
    rxe = segment("RXE", _2="1^Pill^L", _6="TAB^Tablet", _25="10", _26="mg", _33="5", _34="mL")
    found = order("ORC|NW|RX1^GH", rxe)
    assert found["supportingInformation"] == [{"reference": "#medication"}]
    (product,) = found["contained"]
    strength = product["ingredient"][0]["strength"]
    assert (strength["numerator"]["value"], strength["denominator"]["unit"]) == (10, "mL")
    assert found["medicationCodeableConcept"]["coding"][0]["code"] == "1"


def test_a_second_code_of_the_medicine_stands_beside_the_first():
    rxe = segment("RXE", _2="314076^Lisinopril^RXN", _31="00093-1026-01^Lisinopril^NDC")
    systems = [c["system"] for c in order("ORC|NW|R1", rxe)["medicationCodeableConcept"]["coding"]]
    assert systems == [
        "http://www.nlm.nih.gov/research/umls/rxnorm",
        "http://hl7.org/fhir/sid/ndc",
    ]


def test_a_dose_is_an_amount_or_a_range():
    low_only = dosage("ORC|NW|R1", "RXE||1^Pill^L|5||mg")["doseAndRate"][0]
    both = dosage("ORC|NW|R1", "RXE||1^Pill^L|5|10|mg")["doseAndRate"][0]
    assert low_only["doseQuantity"]["value"] == 5
    assert (both["doseRange"]["low"]["value"], both["doseRange"]["high"]["value"]) == (5, 10)


def test_an_amount_per_time_is_a_rate():
    rate = dosage("ORC|NW|R1", segment("RXE", _2="1^Drip^L", _3="1000", _5="mL", _22="H8"))
    ratio = rate["doseAndRate"][0]["rateRatio"]
    assert (ratio["numerator"]["value"], ratio["denominator"]["value"]) == (1000, 8)
    assert ratio["denominator"]["code"] == "h"


def test_the_timing_before_an_order_holds_where_it_has_none_of_its_own():
    before = dosage("ORC|NW|RX1", "TQ1|1||BID", "RXE||1^Pill^L")
    after = dosage("ORC|NW|RX1", "TQ1|1||BID", "RXE||1^Pill^L", "TQ1|1||TID")
    assert [d["timing"]["repeat"]["frequency"] for d in (before, after)] == [2, 3]


def test_a_tapering_dose_is_one_instruction_each():
    found = order(
        "ORC|NW|RX1",
        "RXE||1^Pill^L|4||TAB",
        "TQ1|1|4^TAB|QD|||2^d||||||S",
        "TQ1|2|2^TAB|QD|||3^d",
        "RXR|PO",
    )
    steps = found["dosageInstruction"]
    assert [s["sequence"] for s in steps] == [1, 2]
    assert [s["doseAndRate"][0]["doseQuantity"]["value"] for s in steps] == [4, 2]
    assert [len(s["doseAndRate"]) for s in steps] == [1, 1]
    assert all("route" in s for s in steps)


@pytest.mark.parametrize(
    ("tq1", "bounds"),
    [
        ({"_6": "7^d"}, {"boundsDuration": {"value": 7, "code": "d"}}),
        (
            {"_7": "20260101", "_6": "7^d"},
            {"boundsPeriod": {"start": "2026-01-01", "end": "2026-01-08"}},
        ),
        (
            {"_8": "20260108", "_6": "1^W"},
            {"boundsPeriod": {"start": "2026-01-01", "end": "2026-01-08"}},
        ),
        (
            {"_7": "202601010800", "_8": "20260108"},
            {"boundsPeriod": {"start": "2026-01-01T08:00:00-05:00", "end": "2026-01-08"}},
        ),
    ],
)
def test_how_long_is_a_period_or_a_duration(tq1, bounds):
    repeat = dosage("ORC|NW|R1", "RXE||1^Pill^L", segment("TQ1", _1="1", _3="QD", **tq1))["timing"][
        "repeat"
    ]
    found = {name: repeat[name] for name in bounds}
    if "boundsDuration" in found:
        found["boundsDuration"] = {k: found["boundsDuration"][k] for k in ("value", "code")}
    assert found == bounds


def test_without_a_time_zone_an_order_has_dates_and_says_so():
    submission = submission_of(
        PID,
        segment("ORC", _1="NW", _2="R1", _9="202601010800"),
        "RXE||1^Pill^L",
        "TQ1|1||QD||||202601010800",
        trigger="RDE^O11",
        source=NOWHERE,
    )
    found = resource_of(submission, "MedicationRequest")
    assert found["authoredOn"] == "2026-01-01"
    assert (
        found["dosageInstruction"][0]["timing"]["repeat"]["boundsPeriod"]["start"] == "2026-01-01"
    )
    assert ("ORC-9", "no-time-zone") in rules_of(submission)


def test_as_needed_is_said_by_pattern_or_priority():
    by_pattern = dosage("ORC|NW|R1", "RXE||1^P^L", "TQ1|1||Q6H PRN")
    by_priority = dosage("ORC|NW|R1", "RXE||1^P^L", "TQ1|1||Q6H||||||PRN")
    for found in (by_pattern, by_priority):
        assert found["asNeededBoolean"] is True
        assert found["timing"]["repeat"]["period"] == 6


@pytest.mark.parametrize(
    ("segments", "trigger"),
    [
        (["ORC|NW|R1", "RXE|2&TAB^Q8H&0600,1400^D10^^^S|1^Pill^L"], "RDE^O11"),
        (["ORC|NW|R1|||||2&TAB^Q8H&0600,1400^D10^^^S", "RXO|1^Pill^L"], "OMP^O09"),
        (["ORC|NW|R1|||||2&TAB^Q8H&0600,1400^D10^^^S", "RXE||1^Pill^L"], "RDE^O11"),
    ],
)
def test_the_timing_of_old_versions_stands_in_the_order_itself(segments, trigger):
    found = dosage(*segments, trigger=trigger)
    repeat = found["timing"]["repeat"]
    assert repeat["timeOfDay"] == ["06:00:00", "14:00:00"]
    assert repeat["boundsDuration"]["value"] == 10
    if "RXE|2" in segments[1] or "RXO" in segments[1]:
        assert found["doseAndRate"][0]["doseQuantity"]["value"] == 2


def test_repetitions_of_the_old_timing_are_steps_of_a_taper():
    found = order("ORC|NW|R1", "RXE|4&TAB^QD^D2~2&TAB^QD^D3|1^Pill^L")["dosageInstruction"]
    assert [d["sequence"] for d in found] == [1, 2]
    assert [d["doseAndRate"][0]["doseQuantity"]["value"] for d in found] == [4, 2]


def test_every_instruction_has_a_text():
    composed = dosage("ORC|NW|R1", "RXE||1^Pill^L|1|2|TAB", "TQ1|1||BID|||7^d", "RXR|PO^Oral")
    assert composed["text"] == "1 TAB to 2 TAB, Oral, BID, for 7 d"
    given = dosage("ORC|NW|R1", "RXE||1^Pill^L|1||TAB||^One at night", "TQ1|1||QHS")
    assert given["text"] == given["patientInstruction"] == "One at night"
    spoken = dosage("ORC|NW|R1", "RXE||1^P^L|1||TAB||^x", segment("TQ1", _3="QD", _11="As told"))
    assert spoken["text"] == "As told"


def test_who_asks_is_the_prescriber_else_the_sender_of_a_new_order():
    named = order(segment("ORC", _1="NW", _2="R1", _12="7^DOC^DAN^^^^^^GH"), "RXE||1^P^L")
    new = order("ORC|NW|R1^GH", "RXE||1^P^L")
    assert named["requester"]["display"] == "DAN DOC"
    assert new["requester"]["display"] == "General Hospital"
    assert "requester" not in order("ORC|XO|R1^GH", "RXE||1^P^L")


def test_the_time_of_a_later_event_is_not_when_the_order_was_written():
    assert "authoredOn" in order(segment("ORC", _1="NW", _2="R1", _9="20260101"), "RXE||1^P^L")
    assert "authoredOn" not in order(segment("ORC", _1="DC", _2="R1", _9="20260105"), "RXE||1^P^L")


def test_what_the_prescriber_wrote_beside_the_encoded_order_fills_it_up():
    rxo = segment("RXO", _1="1^Pill^L", _2="5", _4="mg", _13="2", _20="I10^Hypertension^I10")
    found = order("ORC|NW|R1", rxo, "RXR|IV", "RXE||1^Pill^L|1||TAB", "ORC|NW|R2", "RXE||2^X^L")
    assert found["dispenseRequest"]["numberOfRepeatsAllowed"] == 2
    assert found["reasonCode"][0]["text"] == "Hypertension"
    assert found["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"]["unit"] == "TAB"
    assert found["dosageInstruction"][0]["route"]["coding"][0]["code"] == "IVINJ"


def test_one_order_never_takes_the_timing_of_another():
    submission = submission_of(
        PID, "ORC|NW|R1", "TQ1|1||BID", "RXO|1^A^L", "ORC|NW|R2", "RXO|2^B^L", trigger="OMP^O09"
    )
    second = drafts_of(submission, "MedicationRequest")[1].resource
    assert "dosageInstruction" not in second


@pytest.mark.parametrize(
    ("patient_class", "order_type", "category"),
    [("I", "", "inpatient"), ("O", "", "outpatient"), ("I", "O", "outpatient"), ("E", "", None)],
)
def test_the_setting_is_that_of_the_order_else_of_the_visit(patient_class, order_type, category):
    found = order(
        f"PV1|1|{patient_class}", segment("ORC", _1="NW", _2="R1", _29=order_type), "RXE||1^P^L"
    )
    codes = [c["coding"][0]["code"] for c in found.get("category", [])]
    assert codes == ([category] if category else [])


@pytest.mark.parametrize("place", ["order", "encoded"])
def test_who_asks_may_stand_in_a_participation(place):
    prt = segment("PRT", _2="AD", _4="OP^Ordering Provider^HL70443", _5="7^DOC^DAN^^^^^^GH")
    rxe = "RXE||1^P^L"
    found = order("ORC|NW|R1^GH", *((prt, rxe) if place == "order" else (rxe, prt)))
    assert found["requester"]["display"] == "DAN DOC"


@pytest.mark.parametrize(
    ("fields", "gone"),
    [
        ({"_19": "much^mg"}, "maxDosePerPeriod"),
        ({"_3": "5", "_5": "mL", "_22": "each moon"}, "rateRatio"),
    ],
)
def test_half_a_ratio_is_none(fields, gone):
    found = order("ORC|NW|R1", segment("RXE", _2="1^P^L", _7="^As told", **fields))
    assert gone not in str(found["dosageInstruction"])


def test_an_instruction_that_says_nothing_is_left_out():
    rxe = segment("RXE", _1="~^BID", _2="1^P^L", _5="mg", _22="H8")
    found = order("ORC|NW|R1", rxe)
    assert [d["text"] for d in found["dosageInstruction"]] == ["BID"]


def test_a_limit_is_no_dose():
    found = dosage("ORC|NW|R1", segment("RXE", _2="1^P^L", _3="<5", _5="mg"))
    assert found == {"text": "<5 mg"}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"_1": "~^BID"}, "1-2 tab, BID"),
        ({"_7": "^with food"}, "1-2 tab, with food"),
        ({}, "1-2 tab"),
    ],
)
def test_an_amount_that_is_no_number_is_said_in_the_text(fields, text):
    found = dosage("ORC|NW|R1", segment("RXE", _2="1^P^L", _3="1-2", _5="tab", **fields))
    assert found["text"] == text
    assert found.keys().isdisjoint({"amount", "doseAndRate"})


def test_a_range_leaves_no_place_for_a_single_dose():
    rxe = segment("RXE", _1="1&TAB^QD", _2="1^P^L", _4="10", _5="mg")
    amount = dosage("ORC|NW|R1", rxe)["doseAndRate"][0]
    assert "doseQuantity" not in amount
    assert amount["doseRange"]["high"]["value"] == 10


def test_hours_of_the_day_rule_out_events_of_the_day():
    tq1 = segment("TQ1", _1="1", _3="QD^^^^^^^AC^30^min", _4="0800")
    repeat = dosage("ORC|NW|R1", "RXE||1^P^L", tq1)["timing"]["repeat"]
    assert repeat["timeOfDay"] == ["08:00:00"]
    assert not {"when", "offset"} & repeat.keys()
