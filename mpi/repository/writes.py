"""Rows gathered for insertion, and the lock that keeps two writers off one human."""

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlalchemy import LargeBinary, String, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

import mpi.tables  # noqa: F401 - fills the MetaData
from hie.db import Database, metadata


@cache
def _columns(table: str) -> tuple[str, ...]:
    return tuple(column.name for column in metadata.tables[table].columns)


@cache
def _insert(table: str) -> str:
    """For SQLite: one row.

    In the driver's own words: gathered rows are plain values, and making a statement of them
    and checking every value would cost more than the insertion.
    """
    marks = ", ".join("?" * len(_columns(table)))
    return f"INSERT INTO {table} ({_names(table)}) VALUES ({marks})"  # noqa: S608 - schema's names


@cache
def _insert_all(tables: tuple[str, ...]) -> str:
    """For PostgreSQL: any number of rows of several tables, one array a column.

    One round trip, and one text for whatever number of rows, so that it is planned once.
    """
    inserts, first = [], 1
    for table in tables:
        types = [_array(column.type) for column in metadata.tables[table].columns]
        arrays = ", ".join(f"${number}::{kind}" for number, kind in enumerate(types, first))
        first += len(types)
        inserts.append(
            f"INSERT INTO {table} ({_names(table)}) SELECT * FROM unnest({arrays})"  # noqa: S608 - schema's names
        )
    *others, last = inserts
    parts = ", ".join(f"part{number} AS ({insert})" for number, insert in enumerate(others))
    return f"WITH {parts} {last}" if parts else last


def _names(table: str) -> str:
    return ", ".join(f'"{name}"' for name in _columns(table))


def _array(kind: TypeEngine[Any]) -> str:
    # An explicit cast to VARCHAR(n) would cut a text short in silence; an insertion refuses it.
    if isinstance(kind, String):
        return "text[]"
    return "bytea[]" if isinstance(kind, LargeBinary) else f"{kind}[]"


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
        if conn.dialect.name == "postgresql" and self._rows:
            tables = tuple(sorted(self._rows))
            arrays = [
                list(column) for table in tables for column in zip(*self._rows[table], strict=True)
            ]
            await conn.exec_driver_sql(_insert_all(tables), tuple(arrays))
        else:
            for table, rows in self._rows.items():
                await conn.exec_driver_sql(_insert(table), rows if len(rows) > 1 else rows[0])
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
