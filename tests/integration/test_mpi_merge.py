"""A40: HL7 v2.5.1 §3.6.2; the four cases of trouble, and the guard."""

import pytest
from sqlalchemy import text

from hie.db import Database
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import SourceId
from mpi.levels import Veto
from mpi.model import Outcome, TaskKind
from tests.support.mpi import Index, mrn, patient, steward


@pytest.fixture
def index(sqlite_database: Database) -> Index:
    return Index(sqlite_database)


@pytest.fixture(name="each")
def _each(database: Database) -> Index:
    """The index on SQLite and on PostgreSQL: for what the statements have to get right."""
    return Index(database)


async def test_a_duplicate_in_one_hospital_is_joined_when_the_hospital_says_so(each: Index):
    index = each
    first = await index.see(patient(), "M1")
    second = await index.see(patient(), "M2")
    assert (second.outcome, len(await index.tasks())) == (Outcome.REVIEW, 1)
    [move] = await index.merge("M1", "M2")
    assert (move.source_record_id, move.from_person, move.to_person) == (
        second.source_record_id, second.person_id, first.person_id
    )  # fmt: skip
    # The question is answered, and the old person's id leads to the new one.
    assert await index.tasks() == []
    async with index.db.reading() as conn:
        assert await index.mpi.resolve(conn, second.person_id) == first.person_id
        counts = await index.mpi.counts(conn)
    assert (counts.records, counts.persons, counts.links) == (1, 1, 2)


async def test_a_message_for_a_merged_away_number_is_about_the_survivor(index: Index):
    first = await index.see(patient(), "M1")
    second = await index.see(patient(), "M2")
    await index.merge("M1", "M2")
    late = await index.see(patient(family="Castellano"), "M2")
    assert (late.outcome, late.source_record_id, late.person_id) == (
        Outcome.KNOWN, first.source_record_id, first.person_id
    )  # fmt: skip
    assert late.redirected_from == second.source_record_id
    async with index.db.reading() as conn:
        found = await index.mpi.find_record(conn, SourceId("mercy"), mrn("M2"))
    assert found == first.source_record_id


async def test_a_retired_number_never_seen_is_remembered(each: Index):
    index = each
    first = await index.see(patient(), "M1")
    assert await index.merge("M1", "M9") == ()
    late = await index.see(patient(), "M9")
    assert (late.source_record_id, late.outcome) == (first.source_record_id, Outcome.KNOWN)


async def test_a_merge_takes_the_other_sources_records_along(index: Index):
    first = await index.see(patient(), "M1")
    old = patient(line="3 Quarry Road", zip5="02138", phone="781-234-0000", family="Castellano")
    second = await index.see(old, "M2")
    third = await index.see(old, "A1", "aurelia")
    assert third.person_id == second.person_id != first.person_id
    moves = await index.merge("M1", "M2")
    assert {m.source_record_id for m in moves} == {second.source_record_id, third.source_record_id}
    assert {m.to_person for m in moves} == {first.person_id}


async def test_a_merge_of_two_humans_is_kept_to_the_sources_own_ledger(index: Index):
    nora = await index.see(patient(), "M1")
    peter = await index.see(
        patient(given=["Peter"], family="Doyle", gender="male", born="1950-02-02"), "M2"
    )
    assert await index.merge("M1", "M2") == ()
    assert await index.persons(nora.source_record_id, peter.source_record_id) == [
        nora.person_id,
        peter.person_id,
    ]
    [task] = await index.tasks()
    assert (task.kind, task.record_id) == (TaskKind.SOURCE_CONFLICT, nora.source_record_id)
    assert task.candidates[0].person_id == peter.person_id
    assert Veto.FIRST_NAME in task.candidates[0].vetoes
    # The number is retired all the same.
    late = await index.see(patient(), "M2")
    assert late.source_record_id == nora.source_record_id


async def test_a_newborns_two_records_are_joined_in_spite_of_the_placeholder(index: Index):
    born = {"born": "2026-01-20", "gender": "male"}
    named = await index.see(patient(given=["Ivo"], **born), "M1")
    baby = await index.see(patient(given=["BABY BOY"], **born), "M2")
    [move] = await index.merge("M1", "M2")
    assert (move.from_person, move.to_person) == (baby.person_id, named.person_id)


async def test_what_a_steward_holds_apart_no_source_joins(index: Index):
    first = await index.see(patient(), "M1")
    second = await index.see(patient(), "M2")
    async with index.db.transaction() as conn:
        await index.mpi.steward.reject(conn, first.person_id, second.person_id, steward())
    assert await index.merge("M1", "M2") == ()
    assert [task.kind for task in await index.tasks()] == [TaskKind.SOURCE_CONFLICT]


async def test_a_merge_of_a_number_with_itself_changes_nothing_and_is_reported(index: Index):
    first = await index.see(patient(), "M1")
    assert await index.merge("M1", "M1") == ()
    [task] = await index.tasks()
    assert (task.kind, task.record_id) == (TaskKind.SOURCE_CONFLICT, first.source_record_id)
    assert (await index.see(patient(), "M1")).redirected_from is None


async def test_the_same_merge_again_changes_nothing(index: Index):
    await index.see(patient(), "M1")
    await index.see(patient(), "M2")
    assert len(await index.merge("M1", "M2")) == 1
    assert await index.merge("M1", "M2") == ()
    assert await index.tasks() == []


async def test_the_inverse_of_a_merge_changes_nothing_and_is_reported(index: Index):
    first = await index.see(patient(), "M1")
    await index.see(patient(), "M2")
    await index.merge("M1", "M2")
    assert await index.merge("M2", "M1") == ()
    [task] = await index.tasks()
    assert (task.kind, task.record_id) == (TaskKind.SOURCE_CONFLICT, first.source_record_id)


async def test_a_circle_of_merges_is_not_closed(index: Index):
    for number in ("M1", "M2", "M3"):
        await index.see(patient(), number)
    await index.merge("M2", "M1")
    await index.merge("M3", "M2")
    assert await index.merge("M1", "M3") == ()
    async with index.db.reading() as conn:
        ids = [
            await index.mpi.find_record(conn, SourceId("mercy"), mrn(n)) for n in ("M1", "M2", "M3")
        ]
    assert len(set(ids)) == 1
    assert [task.kind for task in await index.tasks()] == [TaskKind.SOURCE_CONFLICT]


async def test_a_number_is_not_retired_into_two_others(index: Index):
    records = {n: await index.see(patient(), n) for n in ("M1", "M2", "M3")}
    await index.merge("M1", "M2")
    assert await index.merge("M3", "M2") == ()
    assert TaskKind.SOURCE_CONFLICT in [task.kind for task in await index.tasks()]
    late = await index.see(patient(), "M2")
    assert late.source_record_id == records["M1"].source_record_id


async def test_two_numbers_of_one_person_are_merged_without_a_move(index: Index):
    first = await index.see(patient(), "M1")
    second = await index.see(patient(), "M2")
    async with index.db.transaction() as conn:
        await index.mpi.steward.link(conn, second.source_record_id, first.person_id, steward())
    assert await index.merge("M1", "M2") == ()
    late = await index.see(patient(), "M2")
    assert (late.source_record_id, late.person_id) == (first.source_record_id, first.person_id)


async def test_a_chain_of_merges_leads_to_the_last_survivor(each: Index):
    index = each
    records = {n: await index.see(patient(), n) for n in ("M1", "M2", "M3")}
    await index.merge("M2", "M1")
    await index.merge("M3", "M2")
    late = await index.see(patient(), "M1")
    assert late.source_record_id == records["M3"].source_record_id
    persons = await index.persons(*(r.source_record_id for r in records.values()))
    assert set(persons) == {records["M3"].person_id}


async def test_a_merge_into_an_unknown_number_waits(index: Index):
    await index.see(patient(), "M2")
    with pytest.raises(HieError) as raised:
        await index.merge("M1", "M2")
    assert raised.value.category is Category.NOT_FOUND


async def test_numbers_of_other_sources_are_other_numbers(index: Index):
    await index.see(patient(), "M1")
    await index.see(patient(), "M1", "aurelia")
    await index.see(patient(), "M2", "aurelia")
    await index.merge("M2", "M1", "aurelia")
    async with index.db.reading() as conn:
        rows = list(
            await conn.execute(text("SELECT source_id FROM source_record WHERE NOT is_active"))
        )
    assert [row.source_id for row in rows] == ["aurelia"]
