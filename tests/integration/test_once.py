"""Answers of the staff API that are kept for a repeat: who reads the database reads nothing."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select, update

from hie.crypto import KeyRing
from hie.db import Database
from hie.kernel.clock import SystemClock
from hie.kernel.errors import HieError
from hie.staff.model import Answer
from hie.staff.once import Once
from hie.staff.tables import staff_request

NAMED = {"name": "Nora Quinlan", "telecom": ["617-234-8871"]}


def call(user: str = "clara") -> Any:
    caller = SimpleNamespace(organization="org", user=user)
    route = SimpleNamespace(name="recordProxy")
    return SimpleNamespace(ctx=SimpleNamespace(caller=caller), route=route, ids={"id": "p1"})


class Desk:
    """A desk that counts what it did."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.once = Once(db, SystemClock(), KeyRing.ephemeral())
        self.done = 0

    async def ask(self, key: str = "key-1", content: bytes = b"Nora Quinlan") -> Answer:
        async def do() -> Answer:
            self.done += 1
            return Answer(content=NAMED, status=201, headers={"Location": "/proxies/1"})

        return await self.once.answer(call(), key, content, do)

    async def row(self) -> Any:
        async with self.db.reading() as conn:
            return (await conn.execute(select(staff_request))).one()

    async def write(self, **values: Any) -> None:
        async with self.db.transaction() as conn:
            await conn.execute(update(staff_request).values(**values))


@pytest.fixture
async def desk(database: Database) -> Desk:
    return Desk(database)


async def test_a_kept_answer_names_nobody_in_the_database(desk):
    first = await desk.ask()
    assert first.content == NAMED
    row = await desk.row()
    # With a blank or a dash, which no hash and no base64 has.
    for word in ("Nora Quinlan", "617-234-8871"):
        assert word not in str(tuple(row))
    again = await desk.ask()
    assert (again.content, again.status, desk.done) == (NAMED, 201, 1)
    assert again.headers == {"Location": "/proxies/1", "Idempotency-Replayed": "true"}
    with pytest.raises(HieError):
        await desk.ask(content=b"another request")


async def test_a_kept_answer_opens_for_its_own_request_alone(desk):
    await desk.ask()
    stolen = (await desk.row()).answer
    await desk.write(key_hash="f" * 64)
    await desk.ask("key-2")
    async with desk.db.transaction() as conn:
        mine = staff_request.c.key_hash != "f" * 64
        await conn.execute(update(staff_request).where(mine).values(answer=stolen))
    with pytest.raises(HieError):
        await desk.ask("key-2")


async def test_an_answer_kept_by_an_earlier_release_is_repeated(desk):
    await desk.ask()
    await desk.write(answer=json.dumps([json.dumps(NAMED), {}]))
    assert (await desk.ask()).content == NAMED
    assert desk.done == 1
