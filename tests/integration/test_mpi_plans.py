"""How the databases carry out the statements that every arrival waits for."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.db import Database
from mpi.repository import figures, records
from tests.support.mpi import START_US, Index, patient
from tests.support.said import noted


async def plans(database: Database, name: str, work: Callable[..., Any]) -> list[str]:
    """The steps about a table or index, of every statement that some work runs."""
    async with database.transaction() as conn:
        with noted(conn) as said:
            await work(conn)
        for statement in ("enable_seqscan", "enable_bitmapscan"):
            if not database.is_sqlite:
                await conn.exec_driver_sql(f"SET LOCAL {statement} = off")
        prefix = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        steps = [
            str(row[-1])
            for statement, values in said
            for row in await conn.exec_driver_sql(f"{prefix} {statement}", values)
        ]
    return [step for step in steps if name in step]


@pytest.fixture(name="filled")
async def _filled(database: Database) -> Index:
    index = Index(database)
    for number in range(4):
        await index.see(patient(), f"M{number}", f"s{number}")
    if not database.is_sqlite:
        async with database.transaction() as conn:
            await conn.execute(text("ANALYZE"))
    return index


async def test_whose_the_records_under_a_key_are_is_read_from_indexes_alone(filled: Index):
    async def look(conn: AsyncConnection) -> None:
        await records.entries(conn, [1, 2, 3])

    (links,) = await plans(filled.db, "ix_identity_link_current", look)
    keys = await plans(filled.db, "pk_block_key" if not filled.db.is_sqlite else "block_key", look)
    if filled.db.is_sqlite:
        assert "COVERING INDEX" in links
        assert "PRIMARY KEY" in keys[0]  # the table is its primary key: it has no row elsewhere
    else:
        assert "Index Only Scan" in links
        assert "Index Only Scan" in keys[0]


async def test_what_became_of_a_days_records_is_counted_in_an_index_alone(filled: Index):
    async def count(conn: AsyncConnection) -> None:
        await figures.count_day(conn, START_US // figures.DAY_US)

    (step,) = await plans(filled.db, "ix_identity_decision_rate", count)
    assert ("COVERING INDEX" if filled.db.is_sqlite else "Index Only Scan") in step


WRITTEN = [
    "block_key",
    "data_key",
    "identifier_xref",
    "identity_decision",
    "identity_event",
    "identity_link",
    "source_record",
]


async def test_a_new_record_costs_a_bounded_number_of_statements(filled: Index):
    said: list[str] = []

    @event.listens_for(filled.db._writer.sync_engine, "before_cursor_execute")
    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(" ".join(statement.split()))

    await filled.see(patient(), "M9", "s9")
    read = [one for one in said if one.startswith("SELECT")]
    assert len(read) <= (4 if filled.db.is_sqlite else 7), read
    # One for each table, however many rows; PostgreSQL takes them all in one.
    written = [one for one in said if one not in read and "INSERT INTO" in one]
    assert len(written) == (len(WRITTEN) if filled.db.is_sqlite else 1)
    assert sorted(re.findall(r"INSERT INTO (\w+)", " ".join(written))) == WRITTEN
