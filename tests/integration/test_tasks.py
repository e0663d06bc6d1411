"""Tasks on both databases: asked once, counted, bounded, closed, taken back."""

import pytest
from sqlalchemy import text

from hie.crypto import KeyRing
from hie.db import Database
from hie.kernel.errors import HieError
from hie.kernel.ids import MessageId
from hie.keystore import KeyStore
from hie.tasks.model import Occurrence, Outcome, TaskFilter, TaskKind, TaskState
from hie.tasks.service import Tasks
from tests.conftest import START_US

CODE = {"code": "ZZ-9", "text": "left handed"}


@pytest.fixture
def tasks(database: Database, keyring: KeyRing) -> Tasks:
    return Tasks(database, keyring, KeyStore(database, keyring), limit=3)


def seen(code: str = "ZZ-9", message: int | None = 1, at_us: int = START_US) -> Occurrence:
    return Occurrence(
        kind=TaskKind.UNMAPPED_CODE,
        key=("lab", "unit", code),
        at_us=at_us,
        source_id="lab",
        topic="unit",
        detail={"code": code, "text": "left handed"},
        message_id=None if message is None else MessageId(message),
    )


async def test_the_same_question_is_asked_once_and_counted(database: Database, tasks: Tasks):
    async with database.transaction() as conn:
        first, second = await tasks.note(conn, [seen(), seen(message=2, at_us=START_US + 5)])
    assert (first.is_opened, first.task_id) == (True, second.task_id)
    async with database.transaction() as conn:
        await tasks.note(conn, [seen(message=2), seen(message=3, at_us=START_US + 9)])
    async with database.reading() as conn:
        (task,) = await tasks.listed(conn, TaskFilter())
        waiting = await tasks.messages(conn, task.id)
    assert (task.count, task.first_us, task.last_us) == (3, START_US, START_US + 9)
    assert (dict(task.detail), waiting) == (CODE, [1, 2, 3])


async def test_what_a_sender_wrote_is_nowhere_in_clear(database: Database, tasks: Tasks):
    async with database.transaction() as conn:
        task_id = await tasks.open(
            conn,
            TaskKind.CONSENT,
            ("stmt", "Jo Canary"),
            now_us=START_US,
            detail={"statement": "Jo Canary says no"},
        )
        task = await tasks.get(conn, task_id)
        await tasks.close(
            conn, task, Outcome.DISMISSED, actor="mira", note="Jo Canary called", now_us=START_US
        )
    async with database.reading() as conn:
        for table in ("staff_task", "staff_task_event"):
            rows = (await conn.execute(text(f"SELECT * FROM {table}"))).all()
            assert rows
            assert "Canary" not in repr(rows)
        found = await tasks.get(conn, task_id)
    assert [(e.action, e.actor, e.note) for e in found.events] == [
        ("dismissed", "mira", "Jo Canary called")
    ]


async def test_a_closed_code_is_counted_and_not_asked_again(database: Database, tasks: Tasks):
    async with database.transaction() as conn:
        (noted,) = await tasks.note(conn, [seen()])
        task = await tasks.get(conn, noted.task_id)
        await tasks.close(conn, task, Outcome.DISMISSED, actor="a", note="", now_us=START_US)
        (again,) = await tasks.note(conn, [seen(message=2)])
        assert again.task_id == noted.task_id
        assert (again.state, again.is_opened) == (TaskState.CLOSED, False)
        assert await tasks.listed(conn, TaskFilter()) == []
        closed = await tasks.get(conn, noted.task_id)
        assert closed.count == 2
        await tasks.reopen(conn, closed, actor="a", note="after all", now_us=START_US)
        assert [t.id for t in await tasks.listed(conn, TaskFilter())] == [noted.task_id]
        with pytest.raises(HieError):
            await tasks.reopen(conn, closed, actor="a", note="", now_us=START_US)


async def test_a_late_source_is_asked_about_again_after_it_spoke(database: Database, tasks: Tasks):
    async def late() -> int:
        return await tasks.open(
            conn, TaskKind.LATE_SOURCE, ("lab",), now_us=START_US, source_id="lab"
        )

    async with database.transaction() as conn:
        first = await late()
        assert await late() == first
        task = await tasks.get(conn, first)
        await tasks.close(conn, task, Outcome.RESOLVED, actor="hub", note="", now_us=START_US)
        assert await late() != first


async def test_a_flood_of_codes_ends_in_one_task_for_the_rest(database: Database, tasks: Tasks):
    async with database.transaction() as conn:
        noted = await tasks.note(conn, [seen(f"C{n}", message=n) for n in range(1, 7)])
        more = await tasks.note(conn, [seen("C99", message=99), seen("C1", message=100)])
        listed = await tasks.listed(conn, TaskFilter())
    assert [n.is_overflow for n in noted] == [False, False, False, True, True, True]
    assert [n.is_overflow for n in more] == [True, False]
    assert len(listed) == 4
    assert next(t for t in listed if not t.detail).count == 4


async def test_a_list_can_be_narrowed(database: Database, tasks: Tasks):
    async with database.transaction() as conn:
        await tasks.note(conn, [seen()])
        await tasks.open(conn, TaskKind.LINK, ("x",), now_us=START_US, source_id="adt")
        assert len(await tasks.listed(conn, TaskFilter())) == 2
        assert len(await tasks.listed(conn, TaskFilter(source_id="lab"))) == 1
        assert len(await tasks.listed(conn, TaskFilter(kind=TaskKind.LINK))) == 1
        assert len(await tasks.listed(conn, TaskFilter(topic="unit"))) == 1
        assert await tasks.listed(conn, TaskFilter(state=TaskState.CLOSED)) == []
        assert await tasks.counts(conn) == {
            ("lab", "unmapped-code", "unit"): 1,
            ("adt", "link", ""): 1,
        }


async def test_an_unknown_task_is_not_found(database: Database, tasks: Tasks):
    async with database.reading() as conn:
        with pytest.raises(HieError, match="no such task"):
            await tasks.get(conn, 5)
