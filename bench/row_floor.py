"""The floor of a write: the rows that the hub wrote, inserted again into empty tables alone.

The tables have the same columns, keys and indexes; the same number of commits reach the disk.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import asyncpg

#: Tables that no message fills on its way.
NOT_COUNTED = ("sqlite_", "alembic_", "consent_", "access_token")
T = TypeVar("T")
Added = Mapping[str, Sequence[Sequence[object]]]


class Rows(Protocol):
    """The rows of a hub's database."""

    def counts(self) -> dict[str, int]:
        """Rows of each table now."""
        ...

    def insert_again(self, before: Mapping[str, int], *, commits: int) -> tuple[int, float]:
        """How many rows came since, and the seconds that inserting them takes."""
        ...


class SqliteRows:
    """Rows of a SQLite file.

    Args:
        full: the hub's database.
        empty: a file for the floor, made anew each time.
    """

    def __init__(self, full: Path, empty: Path) -> None:
        self._full = full
        self._empty = empty

    def counts(self) -> dict[str, int]:
        """Rows of each table now."""
        connection = sqlite3.connect(self._full)
        found = {name: _count(connection, name) for name in _tables(connection)}
        connection.close()
        return found

    def insert_again(self, before: Mapping[str, int], *, commits: int) -> tuple[int, float]:
        """How many rows came since, and the seconds that inserting them takes."""
        source = sqlite3.connect(self._full)
        statements = source.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' "
            "ORDER BY type DESC"
        )
        schema = [str(sql) for (sql,) in statements]
        added = {name: self._added(source, name, before[name]) for name in _tables(source)}
        source.close()
        added = {name: rows for name, rows in added.items() if rows}
        seconds = self._insert(schema, added, commits)
        return sum(map(len, added.values())), seconds

    def _added(self, source: sqlite3.Connection, name: str, before: int) -> list[Any]:
        new = max(0, _count(source, name) - before)
        order = _key_of(source, name)
        rows = source.execute(f'SELECT * FROM "{name}" ORDER BY {order} DESC LIMIT {new}')
        return rows.fetchall()[::-1]

    def _insert(self, schema: Sequence[str], added: Added, commits: int) -> float:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._empty}{suffix}").unlink(missing_ok=True)
        connection = sqlite3.connect(self._empty, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        for statement in schema:
            connection.execute(statement)
        inserts = {
            name: f'INSERT INTO "{name}" VALUES ({",".join("?" * len(rows[0]))})'
            for name, rows in added.items()
        }
        started = time.perf_counter()
        for number in range(commits):
            connection.execute("BEGIN IMMEDIATE")
            for name, rows in added.items():
                connection.executemany(inserts[name], _share(rows, number, commits))
            connection.execute("COMMIT")
        seconds = time.perf_counter() - started
        connection.close()
        return seconds


class PostgresRows:
    """Rows of a PostgreSQL database, inserted again in a schema beside them."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def counts(self) -> dict[str, int]:
        """Rows of each table now."""
        return asyncio.run(self._with(_counts))

    def states(self) -> dict[str, int]:
        """Messages of the journal by state."""

        async def asked(connection: Any) -> dict[str, int]:
            query = "SELECT state, count(*) FROM inbound_message GROUP BY state"
            return {str(state): int(count) for state, count in await connection.fetch(query)}

        return asyncio.run(self._with(asked))

    def insert_again(self, before: Mapping[str, int], *, commits: int) -> tuple[int, float]:
        """How many rows came since, and the seconds that inserting them takes."""

        async def again(connection: Any) -> tuple[int, float]:
            now = await _counts(connection)
            added = {
                name: await _added(connection, name, now[name] - before[name])
                for name in now
                if now[name] > before[name]
            }
            seconds = await _insert(connection, added, commits)
            return sum(map(len, added.values())), seconds

        return asyncio.run(self._with(again))

    async def _with(self, work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        connection = await asyncpg.connect(self._dsn)
        try:
            return await work(connection)
        finally:
            await connection.close()


async def _counts(connection: Any) -> dict[str, int]:
    names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {
        name: int(await connection.fetchval(f'SELECT count(*) FROM "{name}"'))
        for (name,) in names
        if not name.startswith(NOT_COUNTED)
    }


async def _added(connection: Any, name: str, new: int) -> list[tuple[object, ...]]:
    """The rows that came last: by the first column of the primary key, which grows with time."""
    first = await connection.fetchval(
        "SELECT a.attname FROM pg_index i JOIN pg_attribute a "
        "ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] "
        "WHERE i.indrelid = $1::regclass AND i.indisprimary",
        name,
    )
    order = f'"{first}"' if first else "ctid"
    rows = await connection.fetch(f'SELECT * FROM "{name}" ORDER BY {order} DESC LIMIT {new}')
    return [tuple(row) for row in reversed(rows)]


async def _insert(connection: Any, added: Added, commits: int) -> float:
    await connection.execute("DROP SCHEMA IF EXISTS bench_floor CASCADE")
    await connection.execute("CREATE SCHEMA bench_floor")
    inserts = {}
    for name, rows in added.items():
        await connection.execute(
            f'CREATE TABLE bench_floor."{name}" (LIKE public."{name}" INCLUDING ALL)'
        )
        marks = ", ".join(f"${number + 1}" for number in range(len(rows[0])))
        inserts[name] = f'INSERT INTO bench_floor."{name}" VALUES ({marks})'
    started = time.perf_counter()
    for number in range(commits):
        async with connection.transaction():
            for name, rows in added.items():
                await connection.executemany(inserts[name], _share(rows, number, commits))
    return time.perf_counter() - started


def _share(rows: Sequence[Any], number: int, commits: int) -> Sequence[Any]:
    return rows[len(rows) * number // commits : len(rows) * (number + 1) // commits]


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return [name for (name,) in rows if not name.startswith(NOT_COUNTED)]


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0])


def _key_of(connection: sqlite3.Connection, table: str) -> str:
    """The first column of the primary key, which grows with time."""
    columns = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
    keyed = sorted((column[5], column[1]) for column in columns if column[5])
    return f'"{keyed[0][1]}"' if keyed else "rowid"
