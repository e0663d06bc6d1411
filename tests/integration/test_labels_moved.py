"""What was raised on a visit or a person holds wherever the visit goes, on both databases."""

from pathlib import Path

import pytest

from hie.flow.decisions import Steward
from tests.integration.test_state_rules import adt, oru, pid, value_of
from tests.support.feeding import Feeding, feeding

VIP = "PV1|1|I" + "|" * 14 + "VIP|||{visit}^^^BGH^VN"
PLAIN = "PV1|1|I" + "|" * 17 + "{visit}^^^BGH^VN"
PROTECTED = "PD1" + "|" * 12 + "Y"
PROBLEM = "DG1|1||I20.0^Angina^I10C||20250301|F"


@pytest.fixture(params=["sqlite", "postgresql"])
async def hub(request: pytest.FixtureRequest, tmp_path: Path):
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with feeding(tmp_path / "home", HIE_DATABASE_URL=url) as fed:
        yield fed


def result(at: str, value: str, pv1: str, *, status: str = "F", filler: str = "F1") -> bytes:
    """A result of the visit V1."""
    lines = oru(at, status, value, filler=filler).decode().split("\r")
    return "\r".join([*lines[:2], pv1.format(visit="V1"), *lines[2:]]).encode()


async def hidden(hub: Feeding, kind: str) -> dict[str, bool]:
    """Of each resource of a type whether it carries a label: by its id."""
    async with hub.services.db.reading() as conn:
        found = await hub.services.repository.load(conn, await hub.stored(kind))
    return {stored.id: stored.label_mask > 0 for stored in found.values()}


async def together(hub: Feeding, *payloads: bytes) -> None:
    """Work messages off in one transaction."""
    await hub.take(*payloads)
    worker = hub.services.worker
    async with hub.services.db.reading() as conn:
        waiting = await hub.services.journal.waiting(conn, 10)
    prepared = [hub.services.ingest.prepare(message) for message in waiting]
    async with hub.services.db.transaction() as conn:
        await hub.services.ingest.work_off(conn, prepared)
    assert await worker.work_off_batch() == 0


async def test_a_label_takes_back_nothing_of_the_messages_before_it(hub: Feeding):
    await hub.send(adt("A01", "080000"), result("100000", "1", PLAIN, status="P"))
    await together(
        hub,
        result("120000", "2", PLAIN),
        result("121000", "3", PLAIN, filler="F2"),
        result("125900", "4", VIP, filler="F3"),
    )
    found = [value_of(one) for one in (await hub.stored("Observation")).values()]
    assert sorted(found) == [("final", "2"), ("final", "3"), ("final", "4")]
    assert set((await hidden(hub, "Observation")).values()) == {True}


async def test_a_labelled_result_is_as_final_as_before(hub: Feeding):
    await hub.send(adt("A01", "080000"), result("120000", "1", PLAIN))
    await hub.send(result("125900", "4", VIP, filler="F2"))
    await hub.send(result("113000", "2", PLAIN, status="P"))
    found = [value_of(one) for one in (await hub.stored("Observation")).values()]
    assert sorted(found) == [("final", "1"), ("final", "4")]


async def test_a_moved_result_is_as_final_as_before(hub: Feeding):
    await hub.send(adt("A01", "080000"), result("120000", "1", PLAIN))
    await hub.send(adt("A28", "081000", who=pid("B2", "Heron^Bo"), visit=""))
    move = adt("A45", "130000", "MRG|B1^^^BGH^MR||||V1", who=pid("B2", "Heron^Bo"))
    await hub.send(move)
    late = result("113000", "2", PLAIN, status="P").replace(b"B1^", b"B2^")
    await hub.send(late.replace(b"Grebe^Ada", b"Heron^Bo"))
    assert value_of(await hub.one("Observation")) == ("final", "1")


async def test_a_move_taken_back_lowers_no_label(hub: Feeding):
    await hub.send(adt("A01", "080000", VIP.format(visit="V1"), PROBLEM, visit=""))
    await hub.send(adt("A28", "081000", who=pid("B2", "Heron^Bo"), visit=""))
    await hub.send(adt("A45", "130000", "MRG|B1^^^BGH^MR||||V1", who=pid("B2", "Heron^Bo")))
    assert set((await hidden(hub, "Condition")).values()) == {True}
    await undo(hub)
    assert set((await hidden(hub, "Condition")).values()) == {True}
    assert set((await hidden(hub, "Encounter")).values()) == {True}


async def test_what_comes_to_a_protected_person_is_protected(hub: Feeding):
    await hub.send(adt("A01", "080000", PROBLEM))
    await hub.send(adt("A28", "081000", PROTECTED, who=pid("B2", "Heron^Bo"), visit=""))
    assert set((await hidden(hub, "Condition")).values()) == {False}
    await hub.send(adt("A45", "130000", "MRG|B1^^^BGH^MR||||V1", who=pid("B2", "Heron^Bo")))
    assert set((await hidden(hub, "Condition")).values()) == {True}


async def test_a_visit_united_with_a_labelled_one_carries_its_label(hub: Feeding):
    await hub.send(adt("A01", "080000"))
    (kept,) = await hidden(hub, "Encounter")
    await hub.send(adt("A01", "090000", VIP.format(visit="V2"), visit=""))
    await hub.send(adt("A42", "130000", "MRG|B1^^^BGH^MR||||V2"))
    assert (await hidden(hub, "Encounter"))[kept]
    await hub.send(adt("A08", "140000", PROBLEM))
    assert set((await hidden(hub, "Condition")).values()) == {True}


async def undo(hub: Feeding) -> None:
    """Take the newest move back."""
    async with hub.services.db.reading() as conn:
        (move, *_) = await hub.services.takeback.moves(conn, "", 1)
    await hub.services.stewards.undo(Steward(name="kim"), move.decision_id)
