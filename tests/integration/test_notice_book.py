"""The queue of notices on both databases: events published once, receivers kept in order."""

from pathlib import Path

import pytest
from sqlalchemy import text

from adapters.source_files import load_sources
from hie.db import Database
from hie.kernel.ids import PersonId, SourceId, SourceRecordId
from hie.notify.publish import Publisher
from hie.notify.repository import CLAIM_SECONDS, Notice, NoticeBook, State, Told
from tests.unit.adapters.test_sources import LEAST

ALPHA = SourceId("alpha")
ADDRESS = (ALPHA, "identifiers")


@pytest.fixture
def book(database: Database, clock) -> NoticeBook:
    return NoticeBook(database, clock)


@pytest.fixture
def publisher(database: Database, book: NoticeBook, clock, tmp_path: Path) -> Publisher:
    told = LEAST + '[notify.adt]\nto = "127.0.0.1:6662"\nmerges = true\n'
    (tmp_path / "alpha.toml").write_text(told)
    return Publisher(database, book, load_sources(tmp_path, allow_adhoc=False), clock)


async def linked(database: Database, record: str, source: str, person: str) -> None:
    """A record of a source's that belongs to a person."""
    async with database.transaction() as conn:
        await conn.execute(
            text(
                "INSERT INTO source_record (id, source_id, version, received_us, norm_version,"
                " content_hash, is_active) VALUES (:r, :s, 1, 0, 1, '', :yes)"
            ),
            {"r": record, "s": source, "yes": True},
        )
        await conn.execute(
            text(
                "INSERT INTO identity_link (id, record_id, person_id, valid_from_us, decision_id,"
                " state) VALUES (:i, :r, :p, 0, 1, 'auto')"
            ),
            {"i": database.next_pk(), "r": record, "p": person},
        )


async def happened(database: Database, kind: str, records: str, persons: str) -> int:
    """An event of the index."""
    event = database.next_pk()
    async with database.transaction() as conn:
        await conn.execute(
            text(
                "INSERT INTO identity_event (id, at_us, kind, decision_id, record_ids, person_ids)"
                " VALUES (:i, 5, :k, :i, :r, :p)"
            ),
            {"i": event, "k": kind, "r": records, "p": persons},
        )
    return event


async def waiting(book: NoticeBook) -> list[Notice]:
    return sorted(await book.listed([State.WAITING], "", 100), key=lambda one: one.pk)


async def test_an_event_is_queued_once_for_each_receivers_own_record(
    database: Database, book: NoticeBook, publisher: Publisher
) -> None:
    await linked(database, "ra", "alpha", "p1")
    await linked(database, "rb", "beta", "p1")
    await linked(database, "rc", "alpha", "p2")
    await happened(database, "new", "ra", "p1")
    event = await happened(database, "link", "rb", "p1")
    assert await publisher.publish() == 2
    assert await publisher.publish() == 0
    found = await waiting(book)
    assert {(one.event_id, one.source_id, one.channel, one.record_id) for one in found} == {
        (event, "alpha", "identifiers", "ra"),
        (event, "alpha", "merges", "ra"),
    }
    assert {one.happened_us for one in found} == {5}


async def test_who_was_told_of_a_record_hears_of_it_without_a_subscription(
    database: Database, book: NoticeBook, publisher: Publisher
) -> None:
    await linked(database, "rb", "beta", "p1")
    await happened(database, "link", "rb", "p1")
    assert await publisher.publish() == 0, "nobody asked"
    one = Notice(
        pk=1,
        event_id=1,
        source_id=SourceId("beta"),
        channel="identifiers",
        record_id=SourceRecordId("rb"),
        happened_us=0,
        state=State.WAITING,
        reason="",
        attempts=0,
        created_us=0,
        due_us=0,
    )
    told = Told(person_id=PersonId("p1"), digest="")
    async with database.transaction() as conn:
        await book.knows(conn, one, told)
    await happened(database, "merge", "rb", "p1")
    assert await publisher.publish() == 0, "it was told nothing yet"
    await book.sending(one, told, PersonId("p1"), "x")
    await happened(database, "unmerge", "rb", "p1")
    assert await publisher.publish() == 1, "it may have been told"
    await book.delivered(one, PersonId("p1"), "x")
    async with database.reading() as conn:
        assert await book.told(conn, one) == Told(person_id=PersonId("p1"), digest="x")
    await happened(database, "undo", "rb", "p1")
    assert await publisher.publish() == 1, "it was told"


async def test_what_waits_behind_a_notice_waits_with_it(
    database: Database, book: NoticeBook, publisher: Publisher, clock
) -> None:
    await linked(database, "ra", "alpha", "p1")
    for _ in range(3):
        await happened(database, "link", "ra", "p1")
    await publisher.publish()
    first, second, third = [n for n in await waiting(book) if n.channel == "identifiers"]
    assert [head.pk for head in await book.heads() if head.address == ADDRESS] == [first.pk]
    await book.postpone(first, "no connection", 30)
    (head,) = [head for head in await book.heads() if head.address == ADDRESS]
    assert (head.pk, head.attempts, head.reason) == (first.pk, 1, "no connection")
    assert head.due_us > clock.now_us(), "the second is not sent before the first"
    clock.step(seconds=31)
    assert await book.claim(head)
    if not database.is_sqlite:
        assert not await book.claim(head), "another process must not send it meanwhile"
        clock.step(seconds=CLAIM_SECONDS)
        assert await book.claim(head), "the one that claimed it may have died"
    async with database.transaction() as conn:
        await book.settle(conn, head, State.PARKED, "the listener answered AE")
        await book.settle(conn, second, State.NO_NEWS)
    counts = await book.counts()
    assert {labels[1:]: count for labels, (count, _) in counts.items()} == {
        ("identifiers", "waiting"): 1,
        ("identifiers", "parked"): 1,
        ("merges", "waiting"): 3,
    }
    assert await book.again(source_id="alpha") == 1
    found = await book.head(ADDRESS)
    assert found is not None
    assert (found.pk, found.attempts, found.reason) == (first.pk, 0, "")
    clock.step(seconds=10)
    assert await book.forget(clock.now_us()) == 1, "what is done, and nothing else"
    assert third.pk in {one.pk for one in await waiting(book)}
