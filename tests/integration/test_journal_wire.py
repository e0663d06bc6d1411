"""Sequence numbers and the queue of application acknowledgements, on both databases."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text

from adapters.journal import Journal
from adapters.message import Outcome, Settlement, State
from adapters.outbox import CLAIM_SECONDS, Acknowledgement, Delivery
from adapters.port import SequenceStep
from hie.crypto import KeyRing
from hie.db import Database
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import SourceId
from hie.keystore import KeyKind, KeyStore
from tests.integration.test_journal import BODY, entry

GHH = SourceId("ghh")


@pytest.fixture
def keys(database: Database, keyring: KeyRing) -> KeyStore:
    return KeyStore(database, keyring)


@pytest.fixture
def journal(database: Database, keyring: KeyRing, keys: KeyStore, clock) -> Journal:
    made = Journal(database, keyring, keys, clock)
    made.outbox.make = _told
    return made


def _told(outcome: Outcome) -> Acknowledgement | None:
    code = "AE" if outcome.state in {State.PARKED, State.REFUSED} else "AA"
    return Acknowledgement(code=code, payload=b"told " + outcome.payload)


def numbered(before: int | None, after: int | None, **more):
    body = BODY + f"{before}{after}".encode()
    step = SequenceStep(before=before, after=after)
    return replace(entry(body, control_id=f"{before}-{after}"), step=step, **more)


# --- sequence numbers -------------------------------------------------------------------------


async def test_a_number_moves_with_its_message(journal) -> None:
    assert await journal.last_sequence(GHH) is None
    await journal.write(numbered(None, 5))
    await journal.write(numbered(5, 6))
    assert await journal.last_sequence(GHH) == 6
    assert await journal.last_sequence(SourceId("other")) is None


async def test_a_number_that_moved_meanwhile_stores_nothing(database, journal) -> None:
    await journal.write(numbered(None, 5))
    for stale in (numbered(4, 5), numbered(None, 9)):
        with pytest.raises(HieError) as caught:
            await journal.write(stale)
        assert caught.value.category is Category.STALE
    assert await journal.last_sequence(GHH) == 5
    async with database.reading() as conn:
        assert len(await journal.listed(conn, State.RECEIVED, 10)) == 1


async def test_one_stale_number_fails_alone_among_many(journal) -> None:
    await journal.write(numbered(None, 1))
    plain = [entry(BODY + b"%d" % n, control_id=f"p{n}") for n in range(5)]
    found = await asyncio.gather(
        *(journal.write(e) for e in [*plain, numbered(7, 8), numbered(1, 2)]),
        return_exceptions=True,
    )
    assert [isinstance(one, HieError) for one in found] == [False] * 5 + [True, False]
    assert await journal.last_sequence(GHH) == 2


async def test_a_resynchronised_link_begins_with_any_number(journal) -> None:
    await journal.write(numbered(None, 5))
    await journal.write(numbered(5, None))
    assert await journal.last_sequence(GHH) is None
    await journal.write(numbered(None, 90))
    assert await journal.last_sequence(GHH) == 90


async def test_a_repeat_moves_the_number_too(journal) -> None:
    first = await journal.write(entry())
    again = await journal.write(replace(entry(), step=SequenceStep(before=None, after=3)))
    assert again.is_repeat
    assert again.message_id == first.message_id
    assert await journal.last_sequence(GHH) == 3


async def test_a_question_about_the_link_is_never_a_repeat_and_never_worked_off(
    database, journal
) -> None:
    for answer in (b"one", b"two"):
        asked = await journal.write(replace(entry(answer=answer), is_momentary=True))
        assert (asked.answer, asked.is_repeat, asked.is_control_id_reused) == (
            answer,
            False,
            False,
        )
    async with database.reading() as conn:
        assert await journal.backlog(conn) == 0
        assert len(await journal.listed(conn, State.PROCESSED, 10)) == 2


async def test_the_first_answer_of_a_message_can_be_asked_for(journal) -> None:
    assert await journal.first_answer(entry()) is None
    await journal.write(entry(answer=b"given"))
    assert await journal.first_answer(entry()) == b"given"


# --- application acknowledgements -------------------------------------------------------------


async def settled(database: Database, journal: Journal, state: State, number: str = "1"):
    """A message that asks to be told, settled; its id."""
    body = BODY + number.encode()
    written = await journal.write(replace(entry(body, control_id=number), application="AL"))
    async with database.transaction() as conn:
        message = await journal.get(conn, written.message_id)
        assert message is not None
        await journal.settle(conn, [Settlement(message=message, state=state, reason="why")])
    return written.message_id


async def test_what_became_of_a_message_waits_to_be_told_once(database, journal) -> None:
    message_id = await settled(database, journal, State.PARKED)
    async with database.transaction() as conn:
        message = await journal.get(conn, message_id)
        await journal.settle(conn, [Settlement(message=message, state=State.PROCESSED)])
    (queued,) = await journal.outbox.due(GHH, 10)
    assert (queued.code, queued.payload, queued.message_id) == (
        "AE",
        b"told " + BODY + b"1",
        message_id,
    )
    assert [source for source, _ in await journal.outbox.sources()] == [GHH]


async def test_a_message_that_does_not_ask_is_not_told(database, journal) -> None:
    written = await journal.write(entry())
    async with database.transaction() as conn:
        message = await journal.get(conn, written.message_id)
        await journal.settle(conn, [Settlement(message=message, state=State.PROCESSED)])
    assert await journal.outbox.due(GHH, 10) == []


async def test_a_refused_message_that_asks_is_told_as_soon_as_it_is_stored(journal) -> None:
    await journal.write(replace(entry(is_accepted=False), application="ER"))
    (queued,) = await journal.outbox.due(GHH, 10)
    assert queued.code == "AE"


async def test_nothing_is_told_of_what_was_rolled_back(database, journal) -> None:
    written = await journal.write(replace(entry(), application="AL"))
    with pytest.raises(RuntimeError):  # noqa: PT012 - the transaction ends inside
        async with database.transaction() as conn:
            message = await journal.get(conn, written.message_id)
            await journal.settle(conn, [Settlement(message=message, state=State.PROCESSED)])
            raise RuntimeError
    assert await journal.outbox.due(GHH, 10) == []


async def test_what_could_not_be_sent_waits_with_all_behind_it(database, journal, clock) -> None:
    await settled(database, journal, State.PROCESSED, "1")
    await settled(database, journal, State.PROCESSED, "2")
    first, second = await journal.outbox.due(GHH, 10)
    await journal.outbox.postpone(first, "nobody there", 60)
    assert await journal.outbox.due(GHH, 10) == []
    clock.step(seconds=61)
    assert [q.attempts for q in await journal.outbox.due(GHH, 10)] == [1, 0]
    await journal.outbox.settle(first.pk, Delivery.DELIVERED)
    await journal.outbox.settle(second.pk, Delivery.GIVEN_UP, "refused")
    assert await journal.outbox.due(GHH, 10) == []
    assert await journal.outbox.counts() == {("ghh", "given-up"): 1}
    async with database.reading() as conn:
        kept = await conn.execute(text("SELECT payload FROM outbound_acknowledgement ORDER BY pk"))
        assert [len(row.payload) > 0 for row in kept] == [False, True]


async def test_only_one_of_several_processes_sends_it(database, journal, clock) -> None:
    await settled(database, journal, State.PROCESSED)
    (queued,) = await journal.outbox.due(GHH, 10)
    assert await journal.outbox.claim(queued)
    assert await journal.outbox.claim(queued) == database.is_sqlite  # which has one process
    clock.step(seconds=CLAIM_SECONDS + 1)
    assert await journal.outbox.claim(queued)
    await journal.outbox.postpone(queued, "nobody there", 5)
    clock.step(seconds=6)
    assert len(await journal.outbox.due(GHH, 10)) == 1


async def test_it_is_sealed_and_goes_with_its_record(database, journal, keys) -> None:
    message_id = await settled(database, journal, State.PROCESSED)
    async with database.transaction() as conn:
        sealed = (await conn.execute(text("SELECT payload FROM outbound_acknowledgement"))).scalar()
        assert BODY not in bytes(sealed)
        owner = await keys.for_owner(conn, KeyKind.RECORD, "record-1")
        message = await journal.get(conn, message_id)
        await journal.settle(
            conn, [Settlement(message=message, state=State.PROCESSED, owner_key=owner)]
        )
    (queued,) = await journal.outbox.due(GHH, 10)
    assert queued.payload.startswith(b"told ")
    async with database.transaction() as conn:
        await conn.execute(text("DELETE FROM data_key"))
    keys._by_id.clear()
    (queued,) = await journal.outbox.due(GHH, 10)
    assert queued.payload == b""
