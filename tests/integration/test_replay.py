"""Park and replay: what failed after its answer waits for a person, and is worked off once.

Spec: DESIGN D3, section 6; docs/adr/0020.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from adapters.message import State
from adapters.replays import MessageFilter
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import MessageId
from hie.keystore import data_key
from tests.integration.test_state_rules import adt, known_as, oru, pid, value_of
from tests.support.feeding import SOURCE, Feeding, feeding, rules


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Feeding]:
    async with feeding(tmp_path / "home") as fed:
        yield fed


async def parked(hub: Feeding, monkeypatch: pytest.MonkeyPatch, *payloads: bytes) -> list[Any]:
    """Messages that failed while the store was out of order."""
    with monkeypatch.context() as broken:

        async def fail(*_: object, **__: object) -> None:
            raise HieError(Category.CONFLICT, "the index is being rebuilt")

        broken.setattr(hub.services.placer, "identify", fail)
        found = await hub.send(*payloads)
    assert {(m.state, m.stage, m.reason) for m in found} == {
        (State.PARKED, "store", "the index is being rebuilt")
    }
    return found


async def replayed(hub: Feeding, **wanted: Any) -> dict[str, int]:
    """What came of replaying what a filter means."""
    services = hub.services
    run = await services.replay.run(
        MessageFilter(**wanted), "replay", reason="the index is back", actor="cli:ada"
    )
    while await services.worker.work_off_batch():
        pass
    async with services.db.reading() as conn:
        return await services.journal.replays.outcomes(conn, run)


async def test_later_messages_of_its_key_go_on_and_its_replay_obeys_their_time(
    hub: Feeding, monkeypatch: pytest.MonkeyPatch
) -> None:
    await parked(hub, monkeypatch, adt("A08", "100000", who=pid(name="Grebe^Old")))
    await hub.send(adt("A08", "120000", who=pid(name="Grebe^New")))
    assert await replayed(hub, source_id=SOURCE) == {"processed": 1}
    assert known_as(await hub.one("Patient")) == "New"


async def test_a_message_is_replayed_once_and_the_deed_stands_with_it(
    hub: Feeding, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = await parked(hub, monkeypatch, oru("100000", "F", "13"))
    assert await replayed(hub, ids=(one.id,)) == {"processed": 1}
    assert await replayed(hub, ids=(one.id,)) == {}
    async with hub.services.db.reading() as conn:
        (deed,) = await hub.services.journal.replays.history(conn, one.id)
    assert (deed.action, deed.actor, deed.why) == ("replay", "cli:ada", "the index is back")
    assert (deed.from_state, deed.from_stage) == ("parked", "store")
    assert deed.outcome == "processed"


async def test_a_filter_means_what_it_says(hub: Feeding, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await parked(hub, monkeypatch, oru("100000", "F", "13"), adt("A01", "110000"))
    services = hub.services

    async def meant(**wanted: Any) -> list[MessageId]:
        async with services.db.reading() as conn:
            listed = await services.journal.replays.listed(conn, MessageFilter(**wanted), limit=9)
        return [one.id for one in listed]

    both = [first.id, second.id]
    assert await meant(source_id=SOURCE) == both
    assert await meant(source_id="somebody") == []
    assert await meant(reason="being rebuilt") == both
    assert await meant(reason="%") == []
    assert await meant(stage="map") == []
    assert await meant(since_us=second.received_us) == [second.id]
    assert await meant(until_us=second.received_us) == [first.id]
    assert await meant(source_id=SOURCE, states=(State.PROCESSED,)) == []


async def test_an_empty_filter_is_refused(hub: Feeding) -> None:
    with pytest.raises(HieError) as caught:
        await replayed(hub, states=(State.PROCESSED,))
    assert caught.value.category is Category.INVALID


async def test_what_was_processed_can_be_mapped_again_and_changes_nothing(hub: Feeding) -> None:
    sent = await hub.send(adt("A01", "090000"), oru("100000", "P", "12"), oru("110000", "F", "13"))
    kinds = ("Patient", "Encounter", "Observation", "DiagnosticReport", "ServiceRequest")
    before = await hub.stored(*kinds)
    assert await replayed(hub, ids=(sent[1].id,)) == {}
    wanted = {"source_id": SOURCE, "states": (State.PROCESSED,)}
    assert await replayed(hub, **wanted) == {"processed": 3}
    assert await replayed(hub, **wanted) == {"processed": 3}
    assert await hub.stored(*kinds) == before
    assert value_of(await hub.one("Observation")) == ("final", "13")
    assert rules(await hub.message(sent[2].id)) == rules(sent[2])


async def test_a_discarded_message_is_closed_until_that_is_taken_back(
    hub: Feeding, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = await parked(hub, monkeypatch, oru("100000", "F", "13"))
    replay, ids = hub.services.replay, MessageFilter(ids=(one.id,))
    await replay.run(ids, "discard", reason="a test message", actor="cli:ada")
    assert (await hub.message(one.id)).state is State.DISCARDED
    assert await replayed(hub, ids=(one.id,)) == {}
    closed = MessageFilter(ids=(one.id,), states=(State.DISCARDED,))
    await replay.run(closed, "restore", reason="it was none", actor="cli:bo")
    assert (await hub.message(one.id)).reason == "the index is being rebuilt"
    assert await replayed(hub, ids=(one.id,)) == {"processed": 1}
    async with hub.services.db.reading() as conn:
        deeds = await hub.services.journal.replays.history(conn, one.id)
    assert [deed.action for deed in deeds] == ["discard", "restore", "replay"]


async def test_every_deed_is_audited(hub: Feeding, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = await parked(hub, monkeypatch, oru("100000", "F", "13"))
    await replayed(hub, ids=(one.id,))
    events = b"".join([line async for line in hub.services.audit.export()]).decode()
    assert "cli:ada" in events


async def test_messages_of_an_erased_record_hold_up_nobody(hub: Feeding) -> None:
    (erased,) = await hub.send(adt("A08", "100000"))
    keys = hub.services.keys
    async with hub.services.db.transaction() as conn:
        await conn.execute(delete(data_key).where(data_key.c.id == erased.wrapped_by))
    keys._by_id.clear()
    keys._ids.clear()
    assert await replayed(hub, ids=(erased.id,), states=(State.PROCESSED,)) == {"parked": 1}
    async with hub.services.db.reading() as conn:
        (left,) = await hub.services.journal.replays.listed(
            conn, MessageFilter(source_id=SOURCE), limit=10
        )
    assert left.reason == "the record it speaks of was erased, and its content with it"
    (other,) = await hub.send(adt("A08", "110000", who=pid("B2"), visit="V2"))
    assert other.state is State.PROCESSED
    # Its sender repeats it: it was accepted once, and is neither refused nor stored again.
    assert await hub.take(adt("A08", "100000")) == [erased.id]
