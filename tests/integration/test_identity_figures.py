"""The figures of the index: what they count, and that they are cheap to ask for."""

import pytest

from hie.db import Database
from hie.flow.figures import IdentityFigures
from mpi.repository import figures, queue
from mpi.repository.figures import DAY_US
from tests.support.mpi import START_US, Index, patient, steward

OTHER = {"given": ["Otto"], "family": "Wild", "born": "1944-04-04", "gender": "male"}


@pytest.fixture(name="each")
def _each(database: Database) -> Index:
    return Index(database)


async def test_new_records_are_counted_by_day_source_and_outcome(each: Index, clock):
    await each.see(patient(), "1")
    await each.see(patient(), "2")  # one authority, two numbers: a steward is asked
    await each.see(patient(), "1", "aurelia")
    await each.see(patient(**OTHER), "2", "aurelia")
    clock.step(seconds=3_600)
    counted = IdentityFigures(each.db, each.mpi, clock)
    found = await counted.current()
    (day, week, month) = found.windows
    assert [window.days for window in (day, week, month)] == [1, 7, 30]
    assert dict(day.outcomes["mercy"]) == {"new": 1, "review": 1}
    assert sum(day.outcomes["aurelia"].values()) == 2
    assert day.rate("review", "mercy") == 0.5
    # Asked again within a minute nothing is counted; another process finds the days stored.
    assert await counted.current() is found
    async with each.db.reading() as conn:
        stored = await figures.days(conn, START_US // DAY_US)
    assert sum(one.number for one in stored) == 4


async def test_the_duplicate_rate_is_that_of_records_in_open_pairs(each: Index, clock):
    await each.see(patient(), "1")
    await each.see(patient(), "2")
    await each.see(patient(**OTHER), "3")
    (task,) = await each.tasks()
    clock.step(seconds=60)
    before = await IdentityFigures(each.db, each.mpi, clock).current()
    doubts = before.doubts
    assert (doubts.records, doubts.persons, doubts.pairs) == (3, 3, 1)
    assert (doubts.doubted_records, doubts.doubted_persons) == (2, 2)
    assert before.duplicate_rate == pytest.approx(2 / 3)
    assert before.ages["all"].number == 1
    assert 0 < before.ages[task.kind.value].oldest < 120

    clock.step(seconds=10)
    async with each.db.transaction() as conn:
        decided = await each.mpi.steward.reject(
            conn, task.person_id, task.candidates[0].person_id, steward()
        )
    after = await IdentityFigures(each.db, each.mpi, clock).current()
    assert (after.duplicate_rate, after.queue, after.ages) == (0.0, (), {})
    assert after.windows[0].decided == {"reject": 1}
    assert (after.windows[0].answered, after.windows[0].undo_rate) == (1, 0.0)
    async with each.db.transaction() as conn:
        await each.mpi.steward.undo(conn, decided.decision_id, steward("was one human after all"))
    taken_back = await IdentityFigures(each.db, each.mpi, clock).current()
    assert taken_back.windows[0].undo_rate == 1.0
    assert taken_back.duplicate_rate == pytest.approx(2 / 3)


async def test_a_task_is_overdue_by_its_priority_unless_it_was_put_aside(each: Index):
    await each.see(patient(), "1")
    await each.see(patient(), "2")
    (task,) = await each.tasks()
    due_us = task.opened_us + queue.DUE_DAYS[task.priority] * DAY_US

    async def overdue(now_us: int) -> int:
        async with each.db.reading() as conn:
            (row,) = await queue.figures(conn, now_us=now_us)
        return row.overdue

    assert [await overdue(due_us), await overdue(due_us + 1)] == [0, 1]
    async with each.db.transaction() as conn:
        await queue.hand_over(conn, task.id, assignee="kim", due_us=due_us + DAY_US)
    assert [await overdue(due_us + 1), await overdue(due_us + DAY_US + 1)] == [0, 1]
    async with each.db.reading() as conn:
        seen = [
            await queue.count(conn, queue.TaskFilter(), now_us=now_us)
            for now_us in (due_us, due_us + DAY_US + 1)
        ]
    assert seen == [0, 1]  # out of sight until its day


async def test_decisions_of_stewards_are_found_by_their_own_index(sqlite_database: Database):
    """Nobody goes through what the index decided by itself to find what stewards did."""
    query = (
        "EXPLAIN QUERY PLAN SELECT kind, count(*) FROM identity_decision "
        "WHERE identity_decision.actor LIKE 'steward:%' AND identity_decision.id >= 1 GROUP BY kind"
    )
    async with sqlite_database.reading() as conn:
        plan = " ".join(str(row) for row in await conn.exec_driver_sql(query))
    assert "ix_identity_decision_steward" in plan
