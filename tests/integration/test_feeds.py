"""Pharmacies, schedules, accounts, problems and referrals through a running hub: what a feed sends
is in the patient's record, is found by a search and obeys the order of events.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.port import Peer, Wire
from hie.kernel.fhir import FhirJson
from tests.support.running_hub import RunningHub, running_hub

GOLDEN = Path(__file__).parents[1] / "golden" / "hl7v2"
FEEDS = (
    *("omp_o09", "rde_o11", "rde_o25", "rds_o13", "ras_o17"),
    *("siu_s12", "siu_s13", "dft_p03", "bar_p01", "ppr_pc1", "ref_i12"),
)
KINDS = frozenset(
    {
        *("MedicationRequest", "MedicationDispense", "MedicationAdministration", "Appointment"),
        *("Account", "ChargeItem", "Coverage", "RelatedPerson", "Condition", "Goal", "CarePlan"),
        *("ServiceRequest", "Procedure", "Encounter", "AllergyIntolerance", "Observation"),
    }
)
ORGANIZATION = "GH"
SEARCHES = {
    "MedicationRequest?status=active&code=314076": 1,
    "MedicationRequest?intent=original-order": 3,
    "MedicationDispense?status=declined": 1,
    "MedicationAdministration?status=not-done": 1,
    "MedicationAdministration?effective-time=2026-02-22": 4,
    "Appointment?status=booked&date=2026-03-11": 1,
    "Appointment?identifier=SCH200": 1,
    "Account?status=active": 1,
    "ChargeItem?code=99213": 1,
    "Condition?category=problem-list-item&clinical-status=active": 1,
    "Goal?lifecycle-status=active": 1,
    "CarePlan?category=assess-plan": 1,
    "ServiceRequest?category=3457005&status=active": 1,
}


def message(name: str) -> bytes:
    return (GOLDEN / f"{name}.hl7").read_bytes()


def entries(bundle: FhirJson, kind: str) -> list[FhirJson]:
    return [e["resource"] for e in bundle.get("entry", ()) if e["resource"]["resourceType"] == kind]


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path) as running:
        yield running


async def sent(hub: RunningHub, *names: str) -> str:
    """The token of the sender, once messages are worked off and none is parked."""
    answers = await hub.send(*(message(name) for name in names))
    assert [b"MSA|AA" in answer or b"MSA|CA" in answer for answer in answers] == [True] * len(names)
    return await hub.token(ORGANIZATION)


async def person(hub: RunningHub, token: str) -> str:
    _, found = await hub.ask(token, "Patient")
    (patient,) = entries(found, "Patient")
    return str(patient["id"])


async def everything(hub: RunningHub, token: str, patient: str) -> FhirJson:
    status, found = await hub.ask(token, f"Patient/{patient}/$everything?_count=1000")
    assert status == 200, found
    return found


async def test_all_a_feed_sends_of_a_patient_is_in_the_whole_record(hub: RunningHub):
    token = await sent(hub, *FEEDS)
    patient = await person(hub, token)
    record = await everything(hub, token, patient)
    kinds = {e["resource"]["resourceType"] for e in record["entry"]}
    assert KINDS - kinds == set()


async def test_what_a_feed_sends_is_found(hub: RunningHub):
    token = await sent(hub, *FEEDS)
    patient = await person(hub, token)
    found = {}
    for search in SEARCHES:
        kind, _, rest = search.partition("?")
        status, bundle = await hub.ask(token, f"{kind}?patient={patient}&{rest}&_count=100")
        found[search] = len(entries(bundle, kind)) if status == 200 else status
    assert found == SEARCHES


async def test_the_appointment_moves_and_ends_and_an_old_event_does_not_revive_it(hub: RunningHub):
    token = await sent(hub, "siu_s12", "siu_s13", "siu_s15")
    _, found = await hub.ask(token, "Appointment")
    (appointment,) = entries(found, "Appointment")
    assert appointment["status"] == "cancelled"
    assert appointment["cancelationReason"]["text"] == "Patient is ill"
    assert appointment["start"] == "2026-03-11T14:00:00-05:00"
    assert len(appointment["participant"]) == 6
    late = message("siu_s12").replace(b"G-S12", b"G-S12B")
    await hub.send(late)
    _, found = await hub.ask(token, "Appointment")
    assert entries(found, "Appointment")[0]["status"] == "cancelled"


async def test_resources_are_added_and_taken_away_one_by_one(hub: RunningHub):
    token = await sent(hub, "siu_s12", "siu_s20")
    _, found = await hub.ask(token, "Appointment")
    (appointment,) = entries(found, "Appointment")
    by_name = {
        p["actor"].get("display"): p["status"] for p in appointment["participant"] if "actor" in p
    }
    assert by_name["R2, CARD, GH"] == "tentative"  # not spoken of by the second message
    assert by_name["ECG machine"] == "declined"  # taken away
    assert by_name["DR ALAN ATTEND"] == "accepted"
    assert len(appointment["participant"]) == 8


async def test_a_prescription_is_changed_stopped_and_not_reopened(hub: RunningHub):
    token = await sent(hub, "omp_o09")
    base = message("rde_o11").split(b"\r")
    stop = b"\r".join(
        [
            base[0].replace(b"G-O11", b"STOP").replace(b"20260220100000", b"20260225100000"),
            base[1],
            b"ORC|DC|RX10^GH|||||||20260225100000",
            b"RXE||723^Amoxicillin^RXN",
            b"",
        ]
    )
    again = message("omp_o09").replace(b"G-O09", b"AGAIN")
    await hub.send(stop, again)
    _, found = await hub.ask(token, "MedicationRequest?identifier=RX10")
    (order,) = entries(found, "MedicationRequest")
    assert order["status"] == "stopped"
    assert order["dosageInstruction"][0]["text"] == "Take with food"


async def test_a_deleted_problem_is_entered_in_error_and_stays_so(hub: RunningHub):
    token = await sent(hub, "ppr_pc1", "ppr_pc3")
    await hub.send(message("ppr_pc2").replace(b"G-PC2", b"LATE"))
    _, found = await hub.ask(token, "Condition?identifier=PRB1")
    (problem,) = entries(found, "Condition")
    assert problem["verificationStatus"]["coding"][0]["code"] == "entered-in-error"


async def test_slots_and_acknowledgments_of_nobody_are_kept_for_their_sender(hub: RunningHub):
    # A slot needs instants: the sender, whose zone nobody knows, names its offset.
    zoned = [message(name).replace(b"||SIU^", b"-0500||SIU^") for name in ("siu_s23", "siu_s24")]
    await hub.send(*zoned)
    # Nobody acknowledges an acknowledgment: to wait for an answer would be to wait for ever.
    assert await hub.hub.intake.take(message("ack"), Peer(address="lab:1", wire=Wire.MLLP)) is None
    await hub.hub.worker.idle()
    token = await hub.token(ORGANIZATION)
    _, found = await hub.ask(token, "Slot?status=free")
    assert len(entries(found, "Slot")) == 1
    _, found = await hub.ask(token, "Schedule")
    assert len(entries(found, "Schedule")) == 3
    _, found = await hub.ask(await hub.token("LABS"), "MessageHeader")
    assert entries(found, "MessageHeader")[0]["response"]["identifier"] == "OUT-17"
    other = await hub.token("SOMEBODY")
    for kind in ("Slot", "Schedule", "MessageHeader"):
        _, found = await hub.ask(other, kind)
        assert entries(found, kind) == []
