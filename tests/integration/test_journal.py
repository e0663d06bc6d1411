"""The journal on both databases. Spec: DESIGN D3."""

import asyncio
import hashlib

import pytest

from adapters.journal import Journal
from adapters.message import Settlement, State
from adapters.port import JournalEntry, Wire
from adapters.replays import Deed
from hie.crypto import KeyRing
from hie.db import Database
from hie.kernel.ids import SourceId
from hie.keystore import KeyKind, KeyStore

BODY = b"MSH|^~\\&|A|B|||20260101||ADT^A01|1|P|2.5\r"


@pytest.fixture
def keys(database: Database, keyring: KeyRing) -> KeyStore:
    return KeyStore(database, keyring)


@pytest.fixture
def journal(database: Database, keyring: KeyRing, keys: KeyStore, clock) -> Journal:
    return Journal(database, keyring, keys, clock)


def entry(
    body: bytes = BODY,
    control_id: str = "1",
    answer: bytes = b"AA",
    wire: Wire = Wire.MLLP,
    *,
    is_accepted: bool = True,
) -> JournalEntry:
    return JournalEntry(
        source_id=SourceId("ghh"),
        wire=wire,
        control_id=control_id,
        payload=body,
        content_hash=hashlib.sha256(body).digest(),
        is_accepted=is_accepted,
        trigger="ADT^A01",
        partition="ghh|100",
        findings=(),
        answer=answer,
    )


async def _listed(database: Database, journal: Journal, state: State) -> list[bytes]:
    async with database.reading() as conn:
        return [m.payload for m in await journal.listed(conn, state, 100)]


async def test_what_was_written_is_there_byte_for_byte(database, journal) -> None:
    written = await journal.write(entry())
    async with database.reading() as conn:
        message = await journal.get(conn, written.message_id)
    assert message.payload == BODY
    assert message.answer == b"AA"
    assert message.state is State.RECEIVED


async def test_a_repeat_stores_nothing_and_gets_the_first_answer(database, journal) -> None:
    first = await journal.write(entry(answer=b"first"))
    again = await journal.write(entry(answer=b"second"))
    assert (again.message_id, again.answer, again.is_repeat) == (
        first.message_id,
        b"first",
        True,
    )
    assert len(await _listed(database, journal, State.RECEIVED)) == 1


async def test_repeats_that_arrive_together_are_stored_once(database, journal) -> None:
    results = await asyncio.gather(*(journal.write(entry()) for _ in range(10)))
    assert len({r.message_id for r in results}) == 1
    assert [r.is_repeat for r in results].count(False) == 1


async def test_a_control_id_with_other_content_is_processed_with_a_finding(
    database, journal
) -> None:
    await journal.write(entry())
    other = await journal.write(entry(BODY + b"PID|1\r"))
    assert other.is_control_id_reused
    assert not other.is_repeat
    async with database.reading() as conn:
        message = await journal.get(conn, other.message_id)
    assert [f.rule for f in message.findings] == ["control-id-reused"]
    assert message.findings[0].place == "MSH-10"


async def test_a_refused_message_is_kept_and_its_repeat_judged_afresh(database, journal) -> None:
    refused = await journal.write(entry(answer=b"AE", is_accepted=False))
    again = await journal.write(entry(answer=b"AA"))
    assert again.message_id != refused.message_id
    assert again.answer == b"AA"
    assert len(await _listed(database, journal, State.REFUSED)) == 1
    assert len(await _listed(database, journal, State.RECEIVED)) == 1


async def test_messages_wait_in_the_order_they_came(database, journal) -> None:
    for n in range(5):
        await journal.write(entry(BODY + str(n).encode(), control_id=str(n)))
    async with database.reading() as conn:
        waiting = await journal.waiting(conn, 3)
    assert [m.payload[-1:] for m in waiting] == [b"0", b"1", b"2"]


async def test_a_settled_message_is_read_under_its_records_key(database, journal, keys) -> None:
    written = await journal.write(entry())
    async with database.transaction() as conn:
        owner = await keys.for_owner(conn, KeyKind.RECORD, "r1")
        message = await journal.get(conn, written.message_id)
        settled = Settlement(message=message, state=State.PROCESSED, owner_key=owner)
        await journal.settle(conn, [settled])
    async with database.reading() as conn:
        message = await journal.get(conn, written.message_id)
    assert message.payload == BODY
    assert (await journal.write(entry(answer=b"later"))).answer == b"AA"


async def test_a_fhir_write_is_open_until_its_answer_is_stored(database, journal) -> None:
    written = await journal.write(entry(wire=Wire.FHIR, answer=b""))
    async with database.transaction() as conn:
        assert await journal.waiting(conn, 10) == []
        await journal.answer(conn, written.message_id, b"201", State.PROCESSED)
    assert (await journal.write(entry(wire=Wire.FHIR, answer=b""))).answer == b"201"


async def test_a_refused_fhir_write_may_be_tried_again(database, journal) -> None:
    written = await journal.write(entry(wire=Wire.FHIR, answer=b""))
    async with database.transaction() as conn:
        await journal.refuse(conn, written.message_id, "no", 422)
    again = await journal.write(entry(wire=Wire.FHIR, answer=b""))
    assert not again.is_repeat


async def test_parked_messages_go_back_in_the_queue_and_processed_ones_do_not(
    database, journal
) -> None:
    parked = await journal.write(entry(control_id="1"))
    done = await journal.write(entry(BODY + b"2", control_id="2"))
    async with database.transaction() as conn:
        one = await journal.get(conn, parked.message_id)
        two = await journal.get(conn, done.message_id)
        await journal.settle(
            conn,
            [
                Settlement(message=one, state=State.PARKED, stage="map", reason="no"),
                Settlement(message=two, state=State.PROCESSED),
            ],
        )
    async with database.transaction() as conn:
        deed = Deed(run=1, action="replay", to=State.RECEIVED, actor="a", why="b", at_us=1)
        both, states = [parked.message_id, done.message_id], [State.PARKED, State.KEPT]
        assert await journal.replays.apply(conn, both, states, deed) == [parked.message_id]
        assert [m.id for m in await journal.waiting(conn, 10)] == [parked.message_id]
