"""Stewards: every decision is one, and each can be taken back."""

import pytest
from sqlalchemy import text

from hie.db import Database
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId, SourceRecordId
from mpi.model import Identified, Outcome, TaskKind
from tests.support.mpi import Index, patient, steward

MOVED = {"line": "3 Quarry Road", "zip5": "02138", "phone": "781-234-0000"}


@pytest.fixture
def index(sqlite_database: Database) -> Index:
    return Index(sqlite_database)


@pytest.fixture(name="each")
def _each(database: Database) -> Index:
    """The index on SQLite and on PostgreSQL: for what the statements have to get right."""
    return Index(database)


async def decisions(index: Index) -> list[int]:
    """Ids of the decisions, oldest first."""
    async with index.db.reading() as conn:
        rows = await conn.execute(text("SELECT id FROM identity_decision ORDER BY id"))
    return [row.id for row in rows]


async def ledger(index: Index) -> dict[str, list[tuple[object, ...]]]:
    """What holds now: links, persons, assertions and open questions."""
    statements = {
        "links": "SELECT record_id, person_id FROM identity_link WHERE valid_to_us IS NULL",
        "persons": "SELECT id, status, redirect_to FROM person",
        "apart": "SELECT record_a, record_b FROM negative_assertion WHERE valid_to_us IS NULL",
        "tasks": "SELECT question FROM review_task WHERE open_key IS NOT NULL",
    }
    async with index.db.reading() as conn:
        return {
            name: sorted(tuple(row) for row in await conn.execute(text(statement)))
            for name, statement in statements.items()
        }


async def two_persons(index: Index) -> tuple[Identified, Identified]:
    first = await index.see(patient(), "M1")
    second = await index.see(patient(family="Castellano", **MOVED), "A1", "aurelia")
    assert second.outcome is Outcome.REVIEW
    return first, second


async def merge(index: Index, kept: PersonId, gone: PersonId) -> int:
    async with index.db.transaction() as conn:
        await index.mpi.steward.merge(conn, kept, gone, steward())
    return (await decisions(index))[-1]


async def undo(index: Index, decision_id: int) -> int:
    async with index.db.transaction() as conn:
        undone = await index.mpi.steward.undo(conn, decision_id, steward("was wrong"))
    return undone.decision_id


async def test_merge_then_unmerge_restores_links_and_persons(each: Index):
    index = each
    first, second = await two_persons(index)
    before = await ledger(index)
    decision = await merge(index, first.person_id, second.person_id)
    async with index.db.reading() as conn:
        assert await index.mpi.resolve(conn, second.person_id) == first.person_id
        assert len(await index.mpi.records_of(conn, first.person_id)) == 2
    assert await index.tasks() == []
    await undo(index, decision)
    after = await ledger(index)
    assert (after["links"], after["persons"]) == (before["links"], before["persons"])
    assert after["tasks"] == before["tasks"]
    # And what was joined by mistake is held apart from now on.
    assert after["apart"] == [tuple(sorted((first.source_record_id, second.source_record_id)))]


async def test_an_unmerge_taken_back_is_the_merge_again(index: Index):
    first, second = await two_persons(index)
    decision = await merge(index, first.person_id, second.person_id)
    merged = await ledger(index)
    unmerge = await undo(index, decision)
    await undo(index, unmerge)
    assert await ledger(index) == merged


async def test_weeks_later_only_what_was_not_touched_since_goes_back(each: Index):
    index = each
    first, second = await two_persons(index)
    third = await index.see(patient(family="Castellano", **MOVED), "B1", "bayside")
    assert third.person_id == second.person_id
    decision = await merge(index, first.person_id, second.person_id)
    stranger = await index.see(
        patient(given=["Otto"], family="Wild", born="1944-04-04", gender="male"), "C1", "cove"
    )
    async with index.db.transaction() as conn:
        await index.mpi.steward.link(conn, third.source_record_id, stranger.person_id, steward())
        undone = await index.mpi.steward.undo(conn, decision, steward())
    assert [m.source_record_id for m in undone.moves] == [second.source_record_id]
    assert undone.kept == (third.source_record_id,)
    assert await index.persons(second.source_record_id, third.source_record_id) == [
        second.person_id,
        stranger.person_id,
    ]


async def test_a_decision_is_taken_back_once(index: Index):
    first, second = await two_persons(index)
    decision = await merge(index, first.person_id, second.person_id)
    await undo(index, decision)
    with pytest.raises(HieError) as raised:
        await undo(index, decision)
    assert raised.value.category is Category.CONFLICT


async def test_a_records_first_decision_cannot_be_taken_back(index: Index):
    await two_persons(index)
    with pytest.raises(HieError) as raised:
        await undo(index, (await decisions(index))[0])
    assert raised.value.category is Category.BUSINESS_RULE
    with pytest.raises(HieError) as raised:
        await undo(index, 1)
    assert raised.value.category is Category.NOT_FOUND


async def test_a_link_answers_the_question_and_leaves_a_redirect(index: Index):
    first, second = await two_persons(index)
    before = await ledger(index)
    async with index.db.transaction() as conn:
        done = await index.mpi.steward.link(
            conn, second.source_record_id, first.person_id, steward()
        )
    (move,) = done.moves
    assert (move.from_person, move.to_person) == (second.person_id, first.person_id)
    assert await index.tasks() == []
    async with index.db.reading() as conn:
        assert await index.mpi.resolve(conn, second.person_id) == first.person_id
    await undo(index, (await decisions(index))[-1])
    assert await ledger(index) == before


async def test_an_unlinked_record_is_never_linked_there_again(each: Index):
    index = each
    first = await index.see(patient(), "M1")
    second = await index.see(patient(), "A1", "aurelia")
    assert second.person_id == first.person_id
    before = await ledger(index)
    async with index.db.transaction() as conn:
        done = await index.mpi.steward.unlink(conn, second.source_record_id, steward())
    (move,) = done.moves
    assert move.to_person not in (first.person_id, None)
    # The same demographics again, and changed ones: no task, no link.
    for line in ("14 Orchard Street", "15 Orchard Street"):
        again = await index.see(patient(line=line, email="n@b.org"), "A1", "aurelia")
        assert (again.person_id, again.task_id) == (move.to_person, None)
    await undo(index, (await decisions(index))[-1])
    after = await ledger(index)
    assert (after["links"], after["apart"]) == (before["links"], before["apart"])


async def test_an_id_stays_with_the_record_that_had_it_when_the_merged_are_parted(each: Index):
    index = each
    first, second = await two_persons(index)
    await merge(index, first.person_id, second.person_id)
    before = await ledger(index)
    async with index.db.transaction() as conn:
        done = await index.mpi.steward.unlink(conn, first.source_record_id, steward())
    (move,) = done.moves
    assert (move.source_record_id, move.from_person) == (second.source_record_id, first.person_id)
    assert await index.persons(first.source_record_id, second.source_record_id) == [
        first.person_id,
        move.to_person,
    ]
    async with index.db.reading() as conn:
        assert await index.mpi.resolve(conn, second.person_id) == move.to_person
    await undo(index, done.decision_id)
    after = await ledger(index)
    assert (after["links"], after["apart"]) == (before["links"], before["apart"])


async def test_a_rejected_question_is_not_asked_again(each: Index):
    index = each
    first, second = await two_persons(index)
    async with index.db.transaction() as conn:
        decision = await index.mpi.steward.reject(
            conn, first.person_id, second.person_id, steward()
        )
    assert await index.tasks() == []
    again = await index.see(patient(**MOVED), "A1", "aurelia")  # her old name again
    assert (again.person_id, again.task_id) == (second.person_id, None)
    await undo(index, decision.decision_id)
    assert [task.kind for task in await index.tasks()] == [TaskKind.POSSIBLE]


async def test_a_confirmed_record_is_not_asked_about_again(index: Index):
    await index.see(patient(ssn="412-55-7781"), "M1")
    linked = await index.see(patient(ssn="412-55-7781"), "A1", "aurelia")
    await index.see(patient(ssn="518-33-0042", **MOVED), "A1", "aurelia")
    assert [task.kind for task in await index.tasks()] == [TaskKind.DRIFT]
    async with index.db.transaction() as conn:
        await index.mpi.steward.confirm(conn, linked.source_record_id, steward())
    assert await index.tasks() == []
    await index.see(patient(ssn="518-33-0042", **MOVED | {"phone": None}), "A1", "aurelia")
    assert await index.tasks() == []


async def test_a_link_by_a_steward_ends_what_was_held_apart(index: Index):
    first, second = await two_persons(index)
    async with index.db.transaction() as conn:
        await index.mpi.steward.reject(conn, first.person_id, second.person_id, steward())
        await index.mpi.steward.link(conn, second.source_record_id, first.person_id, steward())
    assert (await ledger(index))["apart"] == []
    await undo(index, (await decisions(index))[-1])
    assert len((await ledger(index))["apart"]) == 1


@pytest.mark.parametrize(
    ("what", "category"),
    [
        ("link to where it is", Category.CONFLICT),
        ("link of nothing", Category.NOT_FOUND),
        ("link to nobody", Category.NOT_FOUND),
        ("merge with itself", Category.CONFLICT),
        ("reject itself", Category.CONFLICT),
        ("unlink the only one", Category.CONFLICT),
    ],
)
async def test_a_decision_that_makes_no_sense_is_refused(
    index: Index, what: str, category: Category
):
    first = await index.see(patient(), "M1")
    nobody, nothing = PersonId("nobody"), SourceRecordId("nothing")
    record, person = first.source_record_id, first.person_id
    async with index.db.transaction() as conn:
        do = index.mpi.steward
        calls = {
            "link to where it is": lambda: do.link(conn, record, person, steward()),
            "link of nothing": lambda: do.link(conn, nothing, person, steward()),
            "link to nobody": lambda: do.link(conn, record, nobody, steward()),
            "merge with itself": lambda: do.merge(conn, person, person, steward()),
            "reject itself": lambda: do.reject(conn, person, person, steward()),
            "unlink the only one": lambda: do.unlink(conn, record, steward()),
        }
        with pytest.raises(HieError) as raised:
            await calls[what]()
    assert raised.value.category is category


async def test_who_a_record_was_on_a_day_stays_on_record(index: Index):
    first, second = await two_persons(index)
    decision = await merge(index, first.person_id, second.person_id)
    await undo(index, decision)
    async with index.db.reading() as conn:
        rows = await conn.execute(
            text("SELECT person_id, closed_by FROM identity_link WHERE record_id = :r ORDER BY id"),
            {"r": second.source_record_id},
        )
        events = await conn.execute(text("SELECT kind FROM identity_event ORDER BY id"))
    history = [tuple(row) for row in rows]
    assert [person for person, _ in history] == [
        second.person_id,
        first.person_id,
        second.person_id,
    ]
    assert history[0][1] == decision
    assert history[2][1] is None
    assert [row.kind for row in events] == ["new", "new", "merge", "unmerge"]


async def test_a_merge_is_taken_back_though_its_records_were_held_apart_again_since(each: Index):
    """What the merge had ended was asserted anew by a later decision: it is not said twice."""
    index = each
    first, second = await two_persons(index)
    do = index.mpi.steward
    async with index.db.transaction() as conn:
        await do.reject(conn, first.person_id, second.person_id, steward())
        merged = await do.merge(conn, first.person_id, second.person_id, steward())
        await do.unlink(conn, second.source_record_id, steward())
    held = (await ledger(index))["apart"]
    assert len(held) == 1
    async with index.db.transaction() as conn:
        undone = await do.undo(conn, merged.decision_id, steward())
    assert undone.kept == (second.source_record_id,)
    assert (await ledger(index))["apart"] == held
    # The one merge undone in part can be taken back in full when its record is where it was.
    async with index.db.transaction() as conn:
        later = await do.undo(conn, (await decisions(index))[-2], steward())
        again = await do.undo(conn, merged.decision_id, steward())
    assert len(later.moves) == len(again.moves) == 1
    assert await index.persons(second.source_record_id) == [second.person_id]
    with pytest.raises(HieError) as raised:
        async with index.db.transaction() as conn:
            await do.undo(conn, merged.decision_id, steward())
    assert raised.value.category is Category.CONFLICT


async def test_a_record_that_came_while_two_were_one_is_asked_about_when_they_part(each: Index):
    index = each
    first, second = await two_persons(index)
    merged = await merge(index, first.person_id, second.person_id)
    third = await index.see(patient(family="Castellano", **MOVED), "B1", "bayside")
    assert third.person_id == first.person_id
    async with index.db.transaction() as conn:
        undone = await index.mpi.steward.undo(conn, merged, steward())
    assert (undone.kept, undone.arrived) == ((), (third.source_record_id,))
    # It is not moved silently: a steward is asked, with the other person at hand.
    assert await index.persons(third.source_record_id) == [first.person_id]
    (task,) = [t for t in await index.tasks() if t.record_id == third.source_record_id]
    assert task.kind is TaskKind.DRIFT
    assert [c.person_id for c in task.candidates] == [second.person_id]
    # Joined again, there is nothing to ask.
    await undo(index, undone.decision_id)
    assert [t for t in await index.tasks() if t.record_id == third.source_record_id] == []
