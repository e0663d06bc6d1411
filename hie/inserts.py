"""Rows of several tables inserted at once, as plain tuples in the order of their columns.

In the driver's own words: making a statement of gathered rows and looking at every value takes
longer than inserting them. On PostgreSQL all tables are one statement and one round trip.
"""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from sqlalchemy import Connection, Numeric, String, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

#: A row: a value for each column of its table, in their order.
Values = tuple[Any, ...]
_POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy types it not


async def insert(conn: AsyncConnection, rows: Mapping[Table, Collection[Values]]) -> None:
    """Insert rows in the open transaction; those of a table in their order.

    Args:
        conn: open write transaction.
        rows: by table; fractions as Decimal.

    Raises:
        SQLAlchemyError: a row is there already, or has what its column does not take.
    """
    filled = {table: [*found] for table, found in rows.items() if found}
    if not filled:
        return
    if conn.dialect.name == "postgresql":
        tables = tuple(sorted(filled, key=lambda table: table.name))
        arrays = [list(column) for table in tables for column in zip(*filled[table], strict=True)]
        await conn.exec_driver_sql(_insert_all(tables), tuple(arrays))
        return
    await conn.run_sync(_insert_each, filled)


def _insert_each(conn: Connection, rows: Mapping[Table, Sequence[Values]]) -> None:
    """On SQLite, table by table; in one piece, for every wait costs more than a small insertion."""
    for table, found in rows.items():
        given = _plain(table, found)
        conn.exec_driver_sql(_insert_one(table), given if len(given) > 1 else given[0])


@cache
def _insert_one(table: Table) -> str:
    """For SQLite: one row."""
    marks = ", ".join("?" * len(table.columns))
    return f"INSERT INTO {table.name} ({_names(table)}) VALUES ({marks})"  # noqa: S608 - schema's names


@cache
def _insert_all(tables: tuple[Table, ...]) -> str:
    """For PostgreSQL: any number of rows of several tables, one array a column.

    One text for whatever number of rows, so that it is planned once.
    """
    inserts, first = [], 1
    for table in tables:
        types = [_array(column.type) for column in table.columns]
        arrays = ", ".join(f"${number}::{kind}" for number, kind in enumerate(types, first))
        first += len(types)
        inserts.append(
            f"INSERT INTO {table.name} ({_names(table)}) SELECT * FROM unnest({arrays})"  # noqa: S608 - schema's names
        )
    *others, last = inserts
    parts = ", ".join(f"part{number} AS ({insert})" for number, insert in enumerate(others))
    return f"WITH {parts} {last}" if parts else last


def _names(table: Table) -> str:
    return ", ".join(f'"{column.name}"' for column in table.columns)


def _array(kind: TypeEngine[Any]) -> str:
    # An explicit cast to VARCHAR(n) would cut a text short in silence; an insertion refuses it.
    if isinstance(kind, String):
        return "text[]"
    return f"{kind.compile(dialect=_POSTGRESQL)}[]"


def _plain(table: Table, rows: Sequence[Values]) -> Sequence[Values]:
    """The rows as SQLite's driver takes them: it knows no Decimal."""
    if not _has_fractions(table):
        return rows
    return [tuple([float(v) if isinstance(v, Decimal) else v for v in row]) for row in rows]


@cache
def _has_fractions(table: Table) -> bool:
    kinds = [column.type for column in table.columns]
    return any(isinstance(kind, Numeric) and kind.asdecimal for kind in kinds)
