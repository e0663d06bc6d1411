"""Rows gathered for insertion, and the lock that keeps two writers off one human."""

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

import mpi.tables  # noqa: F401 - fills the MetaData
from hie.db import Database, metadata
from hie.inserts import insert


@cache
def _columns(table: str) -> tuple[str, ...]:
    return tuple(column.name for column in metadata.tables[table].columns)


class Writes:
    """Rows gathered for insertion, sent with one statement, on SQLite with one per table.

    Args:
        db: gives primary keys.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)

    def new_id(self) -> int:
        """A primary key, for rows whose contents depend on it."""
        return self._db.next_pk()

    def add(self, table: str, **values: Any) -> int:
        """Gather one row; gives its `id` where the hub assigns it, else 0."""
        columns = _columns(table)
        key = 0
        if "id" in columns and "id" not in values:
            key = values["id"] = self._db.next_pk()
        self._rows[table].append(tuple(map(values.get, columns)))
        return key

    async def send(self, conn: AsyncConnection) -> None:
        """Insert what was gathered."""
        await insert(conn, {metadata.tables[name]: rows for name, rows in self._rows.items()})
        self._rows.clear()


async def lock(conn: AsyncConnection, keys: Iterable[int]) -> bool:
    """Keep others from linking records that share one of these keys until the commit.

    SQLite has one writer and needs no lock. PostgreSQL's are taken in one order, so that
    two transactions that take them once cannot wait for each other.

    Returns:
        Whether others may have written since the transaction began, so that what was read
        must be read again.
    """
    if conn.dialect.name != "postgresql":
        return False
    await conn.execute(_LOCK, {"keys": sorted(set(keys))})
    return True


_LOCK = text("SELECT count(pg_advisory_xact_lock(k)) FROM unnest(CAST(:keys AS bigint[])) k")
