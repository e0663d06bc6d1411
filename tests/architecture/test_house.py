"""The house itself: what the fixtures promise."""

import socket

import pytest
from sqlalchemy import text

from hie.db import Database


async def test_a_fresh_database_has_every_table_and_no_row(database: Database):
    async with database.reading() as conn:
        assert (await conn.execute(text("SELECT count(*) FROM resource"))).scalar() == 0
        assert (await conn.execute(text("SELECT count(*) FROM data_key"))).scalar() == 0


def test_no_test_reaches_beyond_this_machine():
    with socket.socket() as outside, pytest.raises(RuntimeError):
        outside.connect(("192.0.2.1", 80))


def test_the_clock_moves_only_when_told(clock):
    before = clock.now_us()
    assert clock.now_us() == before
    assert clock.step(seconds=1.5) - before == 1_500_000
