"""Rows inserted as they are, alike on both databases; the columns are those of the tables."""

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Table, select
from sqlalchemy.exc import IntegrityError

from hie.db import Database, is_passing
from hie.inserts import insert
from hie.store.rows import clear_rows
from hie.store.tables import resource_log, sp_composite, sp_place, sp_quantity

_LARGE = 2**62


async def test_rows_of_several_tables_come_back_as_they_went(database: Database) -> None:
    rows: dict[Table, list[tuple[Any, ...]]] = {
        resource_log: [(1, "a", _LARGE, b"\x00\xff"), (1, "b", 2, b"")],
        sp_quantity: [(7, 3, "", "mg", Decimal("1.05"), Decimal("1.15"), 1)],
        sp_composite: [(7, 3, 0, 1, "s", "é", "", "", None, None, -5, _LARGE, None, None)],
        sp_place: [],
    }
    async with database.transaction() as conn:
        await insert(conn, rows)
    async with database.reading() as conn:
        for table, given in rows.items():
            assert [tuple(row) for row in await conn.execute(select(table))] == given


async def test_a_row_that_is_there_already_is_told_as_a_race_and_nothing_is_kept(
    database: Database,
) -> None:
    row = (1, "a", 1, b"x")
    with pytest.raises(IntegrityError) as raised:
        async with database.transaction() as conn:
            await insert(conn, {sp_place: [(7, 3, 1, 0.5, 0.25, 0.125)], resource_log: [row, row]})
    assert is_passing(raised.value)
    async with database.reading() as conn:
        assert not (await conn.execute(select(sp_place))).all()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite's have no width
async def test_a_text_too_long_for_its_column_is_refused_and_not_cut(database: Database) -> None:
    with pytest.raises(Exception, match="too long"):
        async with database.transaction() as conn:
            await insert(conn, {resource_log: [(1, "a" * 65, 1, b"x")]})


async def test_rows_of_more_resources_than_a_statement_takes_values_are_cleared(
    database: Database,
) -> None:
    many = range(17_000)
    async with database.transaction() as conn:
        await insert(conn, {sp_place: [(many[-1], 3, 1, 0.5, 0.25, 0.125)]})
        await clear_rows(conn, many)
        assert not (await conn.execute(select(sp_place))).all()
