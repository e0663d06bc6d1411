"""Transactions and group commit on both databases. Spec: DESIGN D3, D14."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from hie.crypto import KeyRing
from hie.db import Database, GroupWriter, KeySource
from hie.kernel.errors import HieError
from hie.keystore import KeyKind, KeyStore, data_key


def test_keys_rise_even_when_the_clock_stands_still_or_goes_back() -> None:
    class Clock:
        now = 1_000_000_000_000

        def now_us(self) -> int:
            return self.now

    clock = Clock()
    keys = KeySource(clock)
    made = [keys.next() for _ in range(5_000)]  # more than one millisecond has room for
    clock.now -= 10_000_000
    made += [keys.next() for _ in range(10)]
    assert made == sorted(set(made))
    assert max(made) < 2**63


async def _count(db: Database) -> int:
    async with db.reading() as conn:
        return len((await conn.execute(select(data_key.c.id))).all())


def _row(db: Database, owner: str) -> dict[str, object]:
    return {"id": db.next_pk(), "kind": "record", "owner": owner, "wrapped": b"x"}


async def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    async def fail() -> None:
        async with database.transaction() as conn:
            await conn.execute(data_key.insert(), [_row(database, "a")])
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        await fail()
    assert await _count(database) == 0


async def test_a_reader_sees_one_state_while_others_write(database: Database) -> None:
    async with database.reading() as conn:
        before = len((await conn.execute(select(data_key.c.id))).all())
        async with database.transaction() as writer:
            await writer.execute(data_key.insert(), [_row(database, "a")])
        assert len((await conn.execute(select(data_key.c.id))).all()) == before
    assert await _count(database) == before + 1


class _CountedThreads(ThreadPoolExecutor):
    """The threads of a loop, counting what they are given."""

    given = 0

    def submit(self, *arguments: Any, **options: Any) -> Future[Any]:
        self.given += 1
        return super().submit(*arguments, **options)


async def test_only_what_changed_a_row_waits_for_the_disk_in_a_thread(
    sqlite_database: Database,
) -> None:
    threads = _CountedThreads(max_workers=2)
    asyncio.get_running_loop().set_default_executor(threads)
    await _count(sqlite_database)
    async with sqlite_database.transaction() as conn:
        await conn.execute(data_key.delete().where(data_key.c.owner == "nobody"))
    assert threads.given == 0
    for owner in ("a", "b"):
        async with sqlite_database.transaction() as conn:
            await conn.execute(data_key.insert(), [_row(sqlite_database, owner)])
    assert threads.given == 2
    with pytest.raises(IntegrityError):
        await _add_twice(sqlite_database, "c")
    async with sqlite_database.transaction():
        pass
    assert threads.given == 2
    assert await _count(sqlite_database) == 2


async def _add_twice(db: Database, owner: str) -> None:
    async with db.transaction() as conn:
        for _ in range(2):
            await conn.execute(data_key.insert(), [_row(db, owner)])


async def test_a_glance_sees_what_is_committed_and_leaves_no_transaction_open(
    database: Database,
) -> None:
    counted = select(func.count()).select_from(data_key)
    async with database.glancing() as conn:
        assert await conn.scalar(counted) == 0
    async with database.transaction() as conn:
        await conn.execute(data_key.insert(), [_row(database, "a")])
    async with database.glancing() as conn:
        assert await conn.scalar(counted) == 1
        if not database.is_sqlite:
            asked = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
            async with database.reading() as other:
                assert await other.scalar(text(asked)) == 0
    async with database.transaction() as conn:
        await conn.execute(data_key.delete())
    assert await _count(database) == 0


async def test_what_arrives_during_a_commit_is_the_next_batch(database: Database) -> None:
    batches: list[int] = []

    async def apply(conn, items: Sequence[str]) -> Sequence[str]:
        batches.append(len(items))
        await conn.execute(data_key.insert(), [_row(database, item) for item in items])
        return [item.upper() for item in items]

    writer = GroupWriter(database, apply, limit=8)
    results = await asyncio.gather(*(writer.submit(f"o{n}") for n in range(20)))
    assert results == [f"O{n}" for n in range(20)]
    assert sum(batches) == 20
    assert max(batches) <= 8
    await writer.close()


async def test_one_item_that_fails_does_not_fail_its_neighbours(database: Database) -> None:
    async def apply(conn, items: Sequence[str]) -> Sequence[str]:
        await conn.execute(data_key.insert(), [_row(database, item) for item in items])
        return items

    writer = GroupWriter(database, apply)
    results = await asyncio.gather(
        *(writer.submit(owner) for owner in ("a", "b", "a", "c")), return_exceptions=True
    )
    assert [isinstance(r, IntegrityError) for r in results].count(True) == 1
    assert await _count(database) == 3


async def test_a_caller_that_goes_away_does_not_take_the_batch_with_it(
    database: Database,
) -> None:
    async def apply(conn, items: Sequence[str]) -> Sequence[str]:
        await conn.execute(data_key.insert(), [_row(database, item) for item in items])
        return items

    writer = GroupWriter(database, apply)
    first = asyncio.create_task(writer.submit("a"))
    second = asyncio.create_task(writer.submit("b"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "b"
    await writer.close()
    assert await _count(database) == 2


async def test_a_data_key_is_one_per_owner(database: Database, keyring: KeyRing) -> None:
    store = KeyStore(database, keyring)
    async with database.transaction() as conn:
        first = await store.for_owner(conn, KeyKind.RECORD, "r1")
    async with database.transaction() as conn:
        again = await KeyStore(database, keyring).for_owner(conn, KeyKind.RECORD, "r1")
        other = await store.for_owner(conn, KeyKind.PERSON, "r1")
    assert again.secret == first.secret
    assert again.id == first.id
    assert other.secret != first.secret


async def test_a_key_of_a_transaction_that_failed_is_not_used_again(
    database: Database, keyring: KeyRing
) -> None:
    store = KeyStore(database, keyring)
    lost: list[bytes] = []

    async def fail() -> None:
        async with database.transaction() as conn:
            lost.append((await store.for_owner(conn, KeyKind.RECORD, "r1")).secret)
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        await fail()
    async with database.transaction() as conn:
        key = await store.for_owner(conn, KeyKind.RECORD, "r1")
        same = await store.by_id(conn, key.id)
    assert key.secret not in lost
    assert same.secret == key.secret
    async with database.reading() as conn:
        assert (await store.by_id(conn, key.id)).secret == key.secret


async def test_a_destroyed_key_is_gone_for_good(database: Database, keyring: KeyRing) -> None:
    store = KeyStore(database, keyring)
    async with database.transaction() as conn:
        key = await store.for_owner(conn, KeyKind.RECORD, "r1")
    async with database.transaction() as conn:
        await conn.execute(data_key.delete().where(data_key.c.id == key.id))
    async with database.reading() as conn:
        with pytest.raises(HieError, match="destroyed"):
            await KeyStore(database, keyring).by_id(conn, key.id)
