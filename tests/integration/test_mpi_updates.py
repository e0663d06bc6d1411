"""A record sent again with other demographics: its link, and what stewards are asked about it."""

from typing import Any

import pytest
from sqlalchemy import text

from hie.db import Database
from hie.kernel.ids import SourceId
from mpi.model import Identified, LinkState, Outcome, TaskKind, TaskState
from tests.support.mpi import Index, Patient, mrn, patient, steward

MOVED = {"line": "3 Quarry Road", "zip5": "02138", "phone": "781-234-0000"}
PETER = {"given": ["Peter"], "family": "Castellano", "gender": "male", "born": "1999-12-24"}
#: Names nobody, so that the record is alone until it is named.
NAMELESS = {"given": ["UNKNOWN"], "family": "UNKNOWN", "born": "1900-01-01"}


@pytest.fixture
def index(sqlite_database: Database) -> Index:
    return Index(sqlite_database)


@pytest.fixture(name="each")
def _each(database: Database) -> Index:
    return Index(database)


async def link(index: Index, found: Identified) -> tuple[str, float | None, str | None]:
    """State, bits and grade of a record's link."""
    statement = (
        "SELECT state, bits, grade FROM identity_link "
        "WHERE record_id = :record AND valid_to_us IS NULL"
    )
    async with index.db.reading() as conn:
        rows = await conn.execute(text(statement), {"record": found.source_record_id})
        (row,) = rows
    return row.state, row.bits, row.grade


async def decisions(index: Index, kind: str) -> int:
    async with index.db.reading() as conn:
        statement = "SELECT count(*) FROM identity_decision WHERE kind = :kind"
        return int(await conn.scalar(text(statement), {"kind": kind}) or 0)


async def kinds(index: Index) -> list[TaskKind]:
    return [task.kind for task in await index.tasks()]


async def test_how_well_a_record_fits_follows_its_demographics(each: Index):
    index = each
    await index.see(patient(ssn="412-55-7781"), "M1")
    linked = await index.see(patient(ssn="412-55-7781"), "A1", "aurelia")
    before = await link(index, linked)
    await index.see(patient(**MOVED), "A1", "aurelia")
    after = await link(index, linked)
    assert before[0] == after[0] == LinkState.AUTO
    assert before[1] is not None
    assert after[1] is not None
    assert after[1] < before[1] - 10
    assert await decisions(index, "rescore") == 1
    # The same again is no news: nothing is decided, nothing changes.
    await index.see(patient(**MOVED), "A1", "aurelia")
    assert await link(index, linked) == after
    assert await decisions(index, "rescore") == 1


async def test_how_well_it_fitted_before_stays_on_record(index: Index):
    await index.see(patient(ssn="412-55-7781"), "M1")
    linked = await index.see(patient(ssn="412-55-7781"), "A1", "aurelia")
    _, bits, grade = await link(index, linked)
    await index.see(patient(**MOVED), "A1", "aurelia")
    async with index.db.reading() as conn:
        statement = "SELECT id FROM identity_decision WHERE kind = 'rescore'"
        decision = await conn.scalar(text(statement))
        explained = await index.explanation(conn, decision)
    assert explained["before"] == {"state": "auto", "bits": bits, "grade": grade}
    assert explained["own"]["bits"] < explained["before"]["bits"]
    assert explained["own"]["person"] == linked.person_id


async def drift(index: Index) -> Identified:
    """A record that has come to contradict its person by a number and a middle name."""
    own = patient(ssn="412-55-7781", given=["Nora", "Maeve"])
    await index.see(own, "M1")
    await index.see(own, "A1", "aurelia")
    other = patient(ssn="518-33-0042", given=["Nora", "Xenia"], **MOVED)
    return await index.see(other, "A1", "aurelia")


async def test_a_record_that_drifts_from_its_person_is_asked_about(each: Index):
    drifted = await drift(each)
    assert (drifted.outcome, drifted.is_held) == (Outcome.KNOWN, False)
    [task] = await each.tasks()
    assert (task.kind, task.record_id) == (TaskKind.DRIFT, drifted.source_record_id)
    assert task.id == drifted.task_id


async def test_a_contradiction_taken_back_closes_the_question(each: Index):
    index = each
    drifted = await drift(index)
    own = patient(ssn="412-55-7781", given=["Nora", "Maeve"], **MOVED)
    again = await index.see(own, "A1", "aurelia")
    assert (again.task_id, await index.tasks()) == (None, [])
    async with index.db.reading() as conn:
        task = await index.mpi.review.task(conn, drifted.task_id or 0)
        closed_by = await conn.scalar(
            text("SELECT d.kind FROM review_task t JOIN identity_decision d ON d.id = t.closed_by")
        )
    assert (task.state, closed_by) == (TaskState.CLOSED, "rescore")


async def test_a_record_whose_keys_lead_nowhere_is_still_compared_with_its_person(index: Index):
    await index.see(patient(), "M1")
    await index.see(patient(), "A1", "aurelia")
    elsewhere = patient(family="Okafor", born="1983-11-30", **MOVED)
    await index.see(elsewhere, "A1", "aurelia")
    assert await kinds(index) == [TaskKind.DRIFT]


async def test_a_confirmed_record_may_drift(index: Index):
    drifted = await drift(index)
    async with index.db.transaction() as conn:
        await index.mpi.steward.confirm(conn, drifted.source_record_id, steward())
    other = patient(ssn="518-33-0043", given=["Nora", "Xenia"], **MOVED)
    await index.see(other, "A1", "aurelia")
    assert await index.tasks() == []


async def doubtful(index: Index) -> tuple[Identified, Identified]:
    """Nora, and a record of hers that says too little to be linked."""
    first = await index.see(patient(), "M1")
    second = await index.see(patient(family="Castellano", **MOVED), "A1", "aurelia")
    assert second.outcome is Outcome.REVIEW
    return first, second


async def test_a_question_is_brought_up_to_date_and_stays_with_who_has_it(each: Index):
    index = each
    first, second = await doubtful(index)
    [asked] = await index.tasks()
    async with index.db.transaction() as conn:
        await index.mpi.review.claim(conn, asked.id, "kim")
    known = await index.see(patient(), "A1", "aurelia")
    assert (known.task_id, known.person_id) == (asked.id, second.person_id)
    [task] = await index.tasks()
    assert (task.id, task.assignee, task.kind) == (asked.id, "kim", TaskKind.POSSIBLE)
    assert [c.person_id for c in task.candidates] == [first.person_id]
    assert task.candidates[0].bits > asked.candidates[0].bits + 10
    assert (await link(index, second))[0] == LinkState.PROVISIONAL


async def test_a_task_that_proposes_the_same_is_not_touched(index: Index):
    _, second = await doubtful(index)
    statement = "SELECT detail FROM review_task"
    async with index.db.reading() as conn:
        before = await conn.scalar(text(statement))
    more = patient(family="Castellano", **MOVED | {"email": "nora@castellano.example"})
    again = await index.see(more, "A1", "aurelia")
    assert again.task_id == second.task_id
    async with index.db.reading() as conn:
        assert await conn.scalar(text(statement)) == before


async def test_a_question_that_no_longer_arises_is_closed(each: Index):
    index = each
    _, second = await doubtful(index)
    stranger = {"given": ["Ottoline"], "family": "Okafor", "born": "1971-03-09"}
    again = await index.see(patient(**MOVED, **stranger), "A1", "aurelia")
    assert (again.task_id, await index.tasks()) == (None, [])
    assert (await link(index, second))[0] == LinkState.AUTO


async def test_a_lonely_record_that_comes_to_resemble_somebody_is_asked_about(index: Index):
    first = await index.see(patient(), "M1")
    await index.see(patient(**NAMELESS | MOVED), "A1", "aurelia")
    named = await index.see(patient(**MOVED | {"family": "Castellano"}), "A1", "aurelia")
    [task] = await index.tasks()
    assert (task.kind, task.id) == (TaskKind.POSSIBLE, named.task_id)
    assert [c.person_id for c in task.candidates] == [first.person_id]
    assert (await link(index, named))[0] == LinkState.PROVISIONAL


async def test_a_late_number_that_makes_two_persons_one_is_asked_about(each: Index):
    index = each
    first = await index.see(patient(ssn="412-55-7781"), "M1")
    poor = {"given": ["Nora"], "family": "Quinlan", "born": "1971-03-08",
            "gender": None, "phone": None, "line": None, "zip5": None}  # fmt: skip
    other = await index.see(patient(**NAMELESS | MOVED), "A1", "aurelia")
    await index.see(patient(**NAMELESS | MOVED), "B1", "bayside")
    again = await index.see(patient(**poor, ssn="412-55-7781"), "A1", "aurelia")
    assert again.person_id == other.person_id != first.person_id
    task = next(t for t in await index.tasks() if t.id == again.task_id)
    assert task.kind is TaskKind.DUPLICATE_PERSON
    assert [c.person_id for c in task.candidates] == [first.person_id]
    # Sent once more with a new telephone number, it is the same question.
    more = await index.see(patient(**poor | {"phone": "978-234-1111"}, ssn="412-55-7781"),
                           "A1", "aurelia")  # fmt: skip
    assert more.task_id == again.task_id


async def test_what_a_steward_holds_apart_is_not_asked_about_again(index: Index):
    first, second = await doubtful(index)
    async with index.db.transaction() as conn:
        await index.mpi.steward.reject(conn, first.person_id, second.person_id, steward())
    again = await index.see(patient(), "A1", "aurelia")
    assert (again.task_id, again.person_id, await index.tasks()) == (None, second.person_id, [])


# Overlays


async def test_the_same_overlay_again_is_neither_decided_nor_asked_anew(each: Index):
    index = each
    await index.see(patient(), "M1")
    held = await index.see(patient(**PETER), "M1")
    for _ in range(3):
        again = await index.see(patient(**PETER), "M1")
        assert (again.is_held, again.task_id) == (True, held.task_id)
    assert await decisions(index, "overlay-hold") == 1


async def test_while_a_change_is_held_results_are_filed_and_the_newest_change_waits(index: Index):
    first = await index.see(patient(), "M1")
    await index.see(patient(**PETER), "M1")
    result = await index.see(patient(**PETER), "M1", may_update=False)
    assert (result.person_id, result.is_held) == (first.person_id, False)
    newest = await index.see(patient(**PETER | {"born": "1999-12-25"}), "M1")
    assert newest.is_held
    [task] = await index.tasks()
    assert task.held is not None
    assert task.held["birthDate"] == "1999-12-25"


async def test_a_change_that_fits_what_is_stored_is_taken_while_another_is_held(index: Index):
    await index.see(patient(), "M1")
    await index.see(patient(**PETER), "M1")
    moved = await index.see(patient(**MOVED), "M1")
    assert not moved.is_held
    # The question stays: results may have come for either of the two.
    assert await kinds(index) == [TaskKind.OVERLAY]
    assert (await index.see(patient(**MOVED), "A1", "aurelia")).person_id == moved.person_id


async def accept(index: Index, found: Identified, held: Patient) -> Identified:
    async with index.db.transaction() as conn:
        return await index.mpi.take_held(
            conn, found.source_record_id, held, steward("He says that he is Peter")
        )


async def test_an_accepted_change_becomes_the_record(each: Index):
    index = each
    first = await index.see(patient(), "M1")
    held = await index.see(patient(**PETER), "M1")
    [task] = await index.tasks()
    taken = await accept(index, held, task.held or {})
    assert (taken.person_id, taken.source_record_id) == (first.person_id, first.source_record_id)
    assert (await index.see(patient(**PETER), "A1", "aurelia")).person_id == first.person_id
    # Said again by the source, it is what is stored.
    again = await index.see(patient(**PETER), "M1")
    assert (again.outcome, again.is_held) == (Outcome.KNOWN, False)
    async with index.db.reading() as conn:
        assert (
            await index.mpi.find_record(conn, SourceId("mercy"), mrn("M1"))
            == first.source_record_id
        )


async def test_an_accepted_change_that_fits_its_person_no_more_is_asked_about(index: Index):
    await index.see(patient(), "M1")
    await index.see(patient(), "A1", "aurelia")
    held = await index.see(patient(**PETER | MOVED), "A1", "aurelia")
    [task] = await index.tasks()
    taken = await accept(index, held, task.held or {})
    assert TaskKind.DRIFT in await kinds(index)
    assert taken.task_id is not None


async def test_a_refused_change_is_held_back_without_another_question(index: Index):
    await index.see(patient(), "M1")
    held = await index.see(patient(**PETER), "M1")
    async with index.db.transaction() as conn:
        await index.mpi.steward.confirm(conn, held.source_record_id, steward())
    again = await index.see(patient(**PETER), "M1")
    assert (again.is_held, again.task_id, await index.tasks()) == (True, None, [])
    other: Any = PETER | {"given": ["Paul"]}
    assert (await index.see(patient(**other), "M1")).task_id is not None
