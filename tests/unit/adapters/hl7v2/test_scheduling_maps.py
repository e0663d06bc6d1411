"""What schedules become: appointments, who takes part, and slots."""

from typing import Any

import pytest

from hie.kernel.envelope import Submission, WriteMode
from tests.support.fhir_r4 import faults_of
from tests.support.mapping import (
    GENERAL,
    NOWHERE,
    PID,
    drafts_of,
    resource_of,
    rules_of,
    segment,
    submission_of,
)

TIMES = "^^^20260310090000^20260310093000"


def told(event: str = "S12", *segments: str, source: Any = GENERAL, **sch: str) -> Submission:
    header = segment("SCH", **{"_1": "AP1^GH", "_2": "S1^GH", "_11": TIMES, **sch})
    return submission_of(header, PID, *segments, trigger=f"SIU^{event}", source=source)


def appointment(event: str = "S12", *segments: str, **options: Any) -> dict[str, Any]:
    found = drafts_of(told(event, *segments, **options), "Appointment")[0].resource
    assert faults_of(found) == []
    return found


@pytest.mark.parametrize(
    ("event", "filler", "status"),
    [
        ("S12", "", "booked"),
        ("S12", "Pending", "pending"),
        ("S12", "Complete", "fulfilled"),
        ("S13", "Booked", "booked"),
        ("S14", "Started", "checked-in"),
        ("S14", "Noshow", "noshow"),
        ("S15", "Booked", "cancelled"),
        ("S16", "", "cancelled"),
        ("S17", "Booked", "entered-in-error"),
        ("S18", "Waitlist", "waitlist"),
        ("S26", "Booked", "noshow"),
        ("S14", "Checked In", "checked-in"),
    ],
)
def test_what_ends_an_appointment_counts_before_its_own_status(event, filler, status):
    assert appointment(event, _25=filler)["status"] == status


@pytest.mark.parametrize("event", ["S14", "S18", "S19", "S20", "S21", "S22"])
def test_a_change_without_a_status_leaves_the_stored_one(event):
    whole, stated = drafts_of(told(event), "Appointment")
    assert (whole.mode, whole.resource["status"]) == (WriteMode.CREATE_IF_ABSENT, "booked")
    assert "status" not in stated.resource


def test_a_service_gives_the_status_where_the_appointment_has_none():
    ais = segment("AIS", _1="1", _3="X^Visit^L", _10="Waitlist")
    assert appointment("S12", ais)["status"] == "waitlist"
    assert appointment("S12", ais, _25="Booked")["status"] == "booked"


@pytest.mark.parametrize(
    ("fields", "start", "end"),
    [
        ({"_11": TIMES}, "09:00", "09:30"),
        ({"_11": "^^^20260310090000", "_9": "45", "_10": "min"}, "09:00", "09:45"),
        ({"_11": "^^^20260310090000", "_9": "45"}, "09:00", "09:45"),
        ({"_11": "^^^^20260310100000", "_9": "1", "_10": "h"}, "09:00", "10:00"),
    ],
)
def test_start_and_end_complete_each_other(fields, start, end):
    found = appointment(**fields)
    assert found["start"] == f"2026-03-10T{start}:00-04:00"
    assert found["end"] == f"2026-03-10T{end}:00-04:00"


def test_the_newer_timing_counts_before_the_older():
    tq1 = segment("TQ1", _7="20260311080000", _8="20260311083000")
    assert appointment("S12", tq1)["start"] == "2026-03-11T08:00:00-04:00"


def test_a_service_gives_the_time_where_the_appointment_has_none():
    ais = segment("AIS", _1="1", _3="X^Visit^L", _4="20260310140000", _7="20", _8="min")
    found = appointment("S12", ais, _11="")
    assert found["start"] == "2026-03-10T14:00:00-04:00"
    assert found["end"] == "2026-03-10T14:20:00-04:00"


def test_an_unknown_end_is_said_to_be_unknown():
    found = appointment(_11="^^^20260310090000")
    assert "end" not in found
    assert found["_end"]["extension"][0]["valueCode"] == "unknown"


def test_an_end_before_the_start_is_left_out_and_reported():
    submission = told("S12", _11="^^^20260310090000^20260310080000")
    found = drafts_of(submission, "Appointment")[0].resource
    assert "end" not in found
    assert ("SCH-11", "period") in rules_of(submission)


def test_without_a_time_zone_the_date_is_asked_for_and_no_instant_made_up():
    submission = told("S12", source=NOWHERE)
    whole, stated = drafts_of(submission, "Appointment")
    assert "start" not in whole.resource
    assert whole.resource["requestedPeriod"] == [{"start": "2026-03-10"}]
    assert whole.resource["_start"]["extension"][0]["valueCode"] == "unknown"
    assert (stated.resource["start"], stated.resource["end"]) == (None, None)
    assert ("SCH-11", "no-time-zone") in rules_of(submission)
    assert faults_of(whole.resource) == []


def test_a_date_without_a_time_of_day_is_not_blamed_on_the_time_zone():
    submission = told("S12", _11="^^30^20260310")
    found = drafts_of(submission, "Appointment")[0].resource
    assert found["requestedPeriod"] == [{"start": "2026-03-10"}]
    assert rules_of(submission) == [("SCH-11", "datatype")]


def test_a_time_that_becomes_known_takes_its_being_unknown_away():
    _, stated = drafts_of(told("S13"), "Appointment")
    assert stated.resource["_start"] is stated.resource["requestedPeriod"] is None


def test_everybody_and_everything_that_takes_part_has_a_period_and_a_status():
    found = appointment(
        "S12",
        segment(
            "AIG", _1="1", _3="ECG^Machine^L", _4="DEV^Device^L", _8="20260310090000", _11="30"
        ),
        segment("AIL", _1="1", _3="CARD^R2", _7="10", _8="min", _9="20", _12="Pending"),
        segment("AIP", _1="1", _3="7^DOC^DAN^^^^^^GH", _6="20260310090000", _9="0.5", _10="h"),
    )
    patient, machine, room, doctor = found["participant"]
    assert patient == {"actor": {"reference": "urn:hie:patient"}, "status": "accepted"}
    assert machine["actor"] == {"identifier": {"value": "ECG"}, "display": "Machine"}
    assert room["period"]["start"] == "2026-03-10T09:10:00-04:00"
    assert room["period"]["end"] == "2026-03-10T09:30:00-04:00"
    assert room["status"] == "tentative"
    assert doctor["actor"]["reference"].startswith("urn:hie:practitioner")
    assert doctor["period"]["end"] == "2026-03-10T09:30:00-04:00"


def test_a_room_among_the_general_resources_is_a_location():
    aig = segment("AIG", _1="1", _3="R7^Room 7^L", _4="ROOM^Room^L")
    assert appointment("S12", aig)["participant"][1]["actor"]["type"] == "Location"


def test_what_is_taken_away_takes_no_part():
    kept = segment("AIP", _1="1", _2="X", _3="7^DOC^DAN^^^^^^GH")
    gone = segment("AIP", _1="2", _2="D", _3="8^DOC^DOT^^^^^^GH", _12="Booked")
    submission = told("S20", kept, gone)
    _, stated = drafts_of(submission, "Appointment")
    _, dan, dot = stated.resource["participant"]
    assert (dan["status"], dot["status"]) == ("accepted", "declined")
    assert [place for place in submission.unmapped if place.startswith("AIP")] == []


@pytest.mark.parametrize(
    ("event", "adds"), [("S12", False), ("S14", False), ("S18", True), ("S22", True)]
)
def test_a_change_of_resources_adds_to_those_told_before(event, adds):
    _, stated = drafts_of(told(event), "Appointment")
    assert ("participant" in stated.adds) is adds


@pytest.mark.parametrize("event", ["S15", "S16", "S17", "S26"])
def test_an_end_leaves_who_was_to_take_part(event):
    whole, stated = drafts_of(told(event, _6="^Ill"), "Appointment")
    assert whole.resource["participant"]
    assert "participant" not in stated.resource
    # R4 has a reason of cancellation for what is cancelled only.
    if event in ("S15", "S16"):
        assert stated.resource["cancelationReason"] == {"text": "Ill"}
    else:
        assert stated.resource["cancelationReason"] is None
        assert stated.resource["comment"] == "Ill"


def test_every_event_finds_the_same_appointment():
    keys = {d.key for e in ("S12", "S15", "S26") for d in drafts_of(told(e), "Appointment")}
    assert keys == {("appointment", "urn:oid:2.16.840.1.113883.19.1", "S1", "")}


@pytest.mark.parametrize(
    ("reason", "coded", "text"),
    [
        ("FOLLOWUP^Come again^HL70276", "185389009", "Come again"),
        ("ROUTINE", "3780001", None),
        ("KNEE^Knee pain^L", "KNEE", "Knee pain"),
    ],
)
def test_a_reason_is_coded_where_the_table_has_it(reason, coded, text):
    found = appointment(_7=reason)["reasonCode"][0]
    assert found["coding"][0]["code"] == coded
    assert found.get("text") == text


def test_a_type_in_the_place_of_the_reason_is_the_type():
    found = appointment(_7="Tentative^^HL70277")
    assert found["appointmentType"]["coding"][0]["code"] == "Tentative"
    assert "reasonCode" not in found


def test_notes_keep_their_author_and_time():
    note = segment("NTE", _1="1", _3="Fasting~No coffee", _5="7^KEY^KIM^^^^^^GH", _6="20260301")
    extension = appointment("S12", note)["extension"][-1]
    assert extension["url"].endswith("extension-Appointment.note")
    assert extension["valueAnnotation"]["text"] == "Fasting\nNo coffee"
    assert extension["valueAnnotation"]["time"] == "2026-03-01"


def test_an_appointment_is_based_on_the_order_it_names():
    ais = segment("AIS", _1="1", _3="93000^ECG^C4")
    submission = told("S12", ais, _26="O1^GH")
    (order,) = drafts_of(submission, "ServiceRequest")
    assert order.mode is WriteMode.CREATE_IF_ABSENT
    assert order.key == ("order", "urn:oid:2.16.840.1.113883.19.1", "O1", "93000")
    found = drafts_of(submission, "Appointment")[0].resource
    assert found["basedOn"] == [{"reference": "urn:hie:appointment-order"}]


def test_a_visit_that_is_booked_is_planned_and_points_to_its_appointment():
    pv1 = segment("PV1", _1="1", _2="O", _19="V1^^^GH^VN")
    found = resource_of(told("S12", pv1), "Encounter")
    assert found["status"] == "planned"
    assert found["appointment"] == [{"reference": "urn:hie:appointment"}]


@pytest.mark.parametrize(("event", "status"), [("S23", "busy-unavailable"), ("S24", "free")])
def test_blocked_and_opened_time_is_a_slot_of_somebodys_schedule(event, status):
    submission = submission_of(
        segment("SCH", _2="B1^GH", _6="^Meeting", _11="^^^20260312080000^20260312100000"),
        "RGS|1",
        segment("AIP", _1="1", _3="7^DOC^DAN^^^^^^GH"),
        segment("AIL", _1="1", _3="CARD^R2", _6="20260312090000", _9="30", _10="min"),
        trigger=f"SIU^{event}",
    )
    first, second = (draft.resource for draft in drafts_of(submission, "Slot"))
    assert (first["status"], first["start"]) == (status, "2026-03-12T08:00:00-04:00")
    assert second["end"] == "2026-03-12T09:30:00-04:00"
    schedules = {draft.name for draft in drafts_of(submission, "Schedule")}
    assert {
        s["schedule"]["reference"].removeprefix("urn:hie:") for s in (first, second)
    } == schedules
    assert [f for d in submission.drafts for f in faults_of(d.resource)] == []


def test_a_slot_without_times_is_left_unmapped():
    aip = segment("AIP", _1="1", _3="7^DOC^DAN^^^^^^GH")
    submission = submission_of(segment("SCH", _2="B1^GH"), aip, trigger="SIU^S23")
    assert drafts_of(submission, "Slot") == []
