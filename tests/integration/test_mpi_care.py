"""Work through the whole index: the nightly search for duplicates, and the renewal of records."""

import argparse
import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from hie.commands import care as commands
from hie.db import Database
from hie.flow import care
from hie.flow.care import IndexCare
from hie.kernel.clock import SystemClock
from hie.settings import load_settings
from mpi.demographics import NORM_VERSION
from mpi.model import DecisionKind, Outcome, TaskKind
from mpi.service import Mpi
from tests.support.mpi import MODEL, SETTINGS, Index, patient, steward

MOVED = {"line": "3 Quarry Road", "zip5": "02138", "phone": "781-234-0000"}
STRENGTH = """SELECT record_id, bits FROM identity_link
WHERE valid_to_us IS NULL AND bits IS NOT NULL AND record_id IN (
    SELECT record_id FROM identity_link WHERE state = 'auto' AND bits IS NOT NULL)"""


@pytest.fixture
def index(sqlite_database: Database) -> Index:
    return Index(sqlite_database)


@pytest.fixture(name="each")
def _each(database: Database) -> Index:
    return Index(database)


def keeper(index: Index) -> IndexCare:
    return IndexCare(index.db, index.mpi, SystemClock())


async def rows(index: Index, statement: str) -> list[tuple[object, ...]]:
    async with index.db.reading() as conn:
        return [tuple(row) for row in await conn.execute(text(statement))]


async def two_of_one_hospital(index: Index) -> tuple[str, str]:
    """Two persons that are one human, and nobody was asked: the question was taken away."""
    one = await index.see(patient(), "M1")
    other = await index.see(patient(), "M2")
    async with index.db.transaction() as conn:
        for table in ("review_candidate", "review_task"):
            await conn.execute(text(f"DELETE FROM {table}"))
    return one.person_id, other.person_id


async def test_two_persons_that_may_be_one_are_asked_about_once(each: Index):
    index = each
    pair = await two_of_one_hospital(index)
    await index.see(patient(given=["Ottoline"], family="Okafor", born="1950-01-01"), "M3")
    first = await keeper(index).duplicates(10)
    assert (first.is_over, first.seen, first.found, first.asked) == (True, 3, 1, 1)
    [task] = await index.tasks()
    assert (task.kind, task.record_id) == (TaskKind.DUPLICATE_PERSON, None)
    assert {task.person_id, *(c.person_id for c in task.candidates)} == set(pair)
    again = await keeper(index).duplicates(10)
    assert (again.found, again.asked, again.closed, again.waiting) == (0, 0, 0, 0)
    assert await rows(index, "SELECT count(*) FROM review_task") == [(1,)]
    # The search joins nobody.
    assert len(set(pair)) == 2
    assert await rows(index, "SELECT count(*) FROM person WHERE status = 'active'") == [(3,)]


async def test_the_search_is_a_decision_with_a_reason(index: Index):
    await two_of_one_hospital(index)
    await keeper(index).duplicates(10)
    found = await rows(
        index, "SELECT d.kind, d.actor, d.reason FROM identity_decision d "
        "JOIN review_task t ON t.opened_by = d.id"
    )  # fmt: skip
    assert found == [(DecisionKind.FLAG.value, "mpi", "duplicates")]


async def test_what_a_steward_rejected_is_not_asked_again(each: Index):
    index = each
    one, other = await two_of_one_hospital(index)
    async with index.db.transaction() as conn:
        await index.mpi.steward.reject(conn, one, other, steward())  # type: ignore[arg-type]  # ids
    done = await keeper(index).duplicates(10)
    assert (done.found, done.asked, await index.tasks()) == (0, 0, [])


async def test_twins_are_asked_about_as_twins(index: Index):
    child = {"born": "2015-05-06", "gender": "male"}
    await index.see(patient(given=["Jayden"], **child), "M1")
    other = await index.see(patient(given=["Kayden"], **child), "A1", "aurelia")
    await index.see(patient(given=["Kayden"], **child), "B1", "bayside")
    async with index.db.transaction() as conn:
        for table in ("review_candidate", "review_task"):
            await conn.execute(text(f"DELETE FROM {table}"))
    await keeper(index).duplicates(10)
    [task] = await index.tasks()
    assert task.kind is TaskKind.TWIN
    # About the child that is known once, because a record must be named that may be the other's.
    assert task.person_id != other.person_id
    assert task.record_id is not None
    assert [c.person_id for c in task.candidates] == [other.person_id]


async def test_the_strongest_pairs_are_asked_first_and_the_others_wait(index: Index):
    for number, name in enumerate(("Quinlan", "Okafor", "Bruyere")):
        shown = {"family": name, "line": f"{number + 2} Elm Street", "zip5": f"0{number + 1}742",
                 "phone": None, "born": f"19{number + 4}1-03-08"}  # fmt: skip
        await index.see(patient(**shown), f"M{number}")
        # The second one lives there too, and at Okafor's the number is the same.
        ssn = "412-55-7781" if name == "Okafor" else None
        if ssn:
            await index.see(patient(**shown, ssn=ssn), f"M{number}")
        await index.see(patient(**shown, ssn=ssn), f"N{number}")
    async with index.db.transaction() as conn:
        for table in ("review_candidate", "review_task"):
            await conn.execute(text(f"DELETE FROM {table}"))
    done = await keeper(index).duplicates(1)
    assert (done.found, done.asked, done.waiting) == (3, 1, 2)
    [task] = await index.tasks()
    bits = await rows(index, "SELECT max(bits) FROM duplicate_pair")
    assert task.candidates[0].bits > float(str(bits[0][0]))
    done = await keeper(index).duplicates(10)
    assert (done.asked, done.waiting) == (2, 0)


async def test_a_search_that_is_broken_off_goes_on_where_it_was(
    index: Index, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(care, "PERSONS", 1)
    await two_of_one_hospital(index)
    await index.see(patient(given=["Ottoline"], family="Okafor", born="1950-01-01"), "M3")
    broken = await keeper(index).duplicates(0, seconds=0.0)
    assert (broken.is_over, broken.seen) == (False, 0)
    seen = 0
    for _ in range(4):
        step = await keeper(index).duplicates(0, seconds=0.000_001)
        seen += step.seen
    whole = await keeper(index).duplicates(10)
    assert (whole.is_over, seen + whole.seen) == (True, 3)
    [progress] = await rows(
        index, "SELECT round, seen, done, ended_us IS NOT NULL FROM index_job "
        "WHERE name = 'duplicates'"
    )  # fmt: skip
    assert progress == (1, 3, 1, 1)


async def test_a_question_answered_by_later_messages_is_closed(each: Index):
    index = each
    await two_of_one_hospital(index)
    await keeper(index).duplicates(10)
    assert len(await index.tasks()) == 1
    # The second number turns out to be somebody else's, in two steps that are no overlay.
    await index.see(patient(given=["Ottoline"], **MOVED), "M2")
    await index.see(patient(given=["Ottoline"], family="Okafor", **MOVED), "M2")
    await index.see(
        patient(given=["Ottoline"], family="Okafor", **MOVED | {"born": "1950-07-01"}), "M2"
    )
    done = await keeper(index).duplicates(10)
    assert (done.closed, await index.tasks()) == (1, [])
    reasons = await rows(
        index, "SELECT d.kind, d.reason FROM identity_decision d "
        "JOIN review_task t ON t.closed_by = d.id"
    )  # fmt: skip
    assert reasons == [("rescore", "moot")]


async def test_questions_about_records_that_were_merged_away_are_closed(index: Index):
    await index.see(patient(ssn="412-55-7781"), "M1")
    await index.see(patient(ssn="518-33-0042", **MOVED), "M4")
    await index.merge("M1", "M4")
    kinds = [TaskKind.SOURCE_CONFLICT, TaskKind.POSSIBLE]
    assert [task.kind for task in await index.tasks()] == kinds
    done = await keeper(index).duplicates(10)
    assert (done.closed, [task.kind for task in await index.tasks()]) == (1, kinds[:1])


async def test_a_value_that_has_become_everybodys_ends_what_it_had_joined(index: Index):
    thin = {"line": None, "zip5": None, "gender": None, "phone": "617-234-8871"}
    first = await index.see(patient(**thin, given=["Nora"]), "M1")
    second = await index.see(
        patient(**thin | {"born": "1971-03-18"}, given=["Nora"]), "A1", "aurelia"
    )
    assert second.outcome is Outcome.LINK
    (before,) = await rows(index, STRENGTH)
    limit = int(SETTINGS.defaults.shared["phone"])
    for number in range(limit + 2):
        guest = {"given": [f"G{chr(97 + number)}ustav"], "family": f"{chr(98 + number)}orski",
                 "born": f"19{40 + number}-11-1{number % 9}"}  # fmt: skip
        away = {"line": f"{number + 3} Quarry Road", "zip5": f"0{number + 10}38"}
        await index.see(patient(**thin | guest | away), f"G{number}", "shelter")
    await keeper(index).duplicates(100)
    assert await index.persons(second.source_record_id) == [first.person_id]
    (after,) = [row for row in await rows(index, STRENGTH) if row[0] == before[0]]
    assert float(str(before[1])) >= MODEL.thresholds.auto > float(str(after[1]))
    # Once it is put right, a night changes nothing.
    decided = await rows(index, "SELECT count(*) FROM identity_decision")
    await keeper(index).duplicates(100)
    assert await rows(index, "SELECT count(*) FROM identity_decision") == decided


async def test_names_are_counted_beside_the_matching_in_short_transactions(
    each: Index, monkeypatch: pytest.MonkeyPatch
):
    index = each
    monkeypatch.setattr("mpi.learn.FEWEST_RECORDS", 8)
    monkeypatch.setattr("mpi.repository.learning.PART", 1)
    for n in range(9):
        away = {"line": f"{n + 1} Quarry Road", "zip5": f"021{n:02d}", "phone": None}
        given = ["Nora" if n < 6 else f"Wanda{n}"]
        await index.see(patient(given=given, born=f"195{n}-01-1{n}", **away), f"M{n}")
    assert await keeper(index).learn() == 9
    shares = "SELECT field, round(CAST(share AS NUMERIC), 2) FROM term_frequency ORDER BY field"
    found = await rows(index, shares)
    assert [(field, float(str(share))) for field, share in found] == [("first", 0.67), ("last", 1)]
    # Counted again there is nothing to change; a name that is rare by now is dropped.
    assert await keeper(index).learn() == 9
    assert await rows(index, shares) == found
    monkeypatch.setattr("mpi.learn.FEWEST_HOLDERS", 7)
    await keeper(index).learn()
    assert [field for field, _ in await rows(index, shares)] == ["last"]


async def test_a_step_that_lost_against_a_writer_is_tried_again(each: Index):
    """On PostgreSQL a renewal and an arrival can wait for each other; one of them must yield."""
    index = each
    numbers = range(12)
    for number in numbers:
        await index.see(patient(given=[f"Nora{'abcdefghijkl'[number]}"]), f"M{number}", "s")
    await make_old(index)
    moved = [patient(given=[f"Nora{'abcdefghijkl'[n]}"], **MOVED) for n in numbers]
    arrivals = [index.see(moved[n], f"M{n}", "s") for n in reversed(numbers)]
    await asyncio.gather(keeper(index).renew(), *arrivals)
    await keeper(index).renew()
    assert await rows(
        index, "SELECT DISTINCT norm_version, keys_as IS NULL FROM source_record"
    ) == [(NORM_VERSION, 0)]
    unfiled = "SELECT count(*) FROM source_record WHERE id NOT IN (SELECT record_id FROM block_key)"
    assert await rows(index, unfiled) == [(0,)]


# Records of an earlier version


async def make_old(index: Index) -> None:
    """As if every record had been stored by an earlier version: other form, other keys."""
    async with index.db.transaction() as conn:
        await conn.execute(text("UPDATE source_record SET norm_version = 1, keys_as = NULL"))
        await conn.execute(text("DELETE FROM block_key"))


async def test_records_of_an_earlier_version_are_renewed(each: Index):
    index = each
    for number in range(7):
        await index.see(patient(given=[f"Nora{'abcdefg'[number]}"]), f"M{number}", f"s{number}")
    statement = "SELECT key, record_id FROM block_key ORDER BY key, record_id"
    before = await rows(index, statement)
    await make_old(index)
    done = await keeper(index).renew()
    assert (done.is_over, done.seen, done.changed) == (True, 7, 7)
    assert await rows(index, statement) == before
    assert await rows(
        index, "SELECT DISTINCT norm_version, keys_as IS NULL FROM source_record"
    ) == [(NORM_VERSION, 0)]
    # It is on record, so that the next look costs one row.
    again = await keeper(index).renew()
    assert (again.is_over, again.seen) == (True, 0)


async def test_matching_goes_on_while_records_are_renewed(index: Index):
    found = await index.see(patient(), "M1")
    async with index.db.transaction() as conn:
        await conn.execute(text("UPDATE source_record SET norm_version = 1, keys_as = NULL"))
    linked = await index.see(patient(), "A1", "aurelia")
    assert linked.person_id == found.person_id
    # What its source sends anew meanwhile is new already.
    await index.see(patient(**MOVED), "M1")
    done = await keeper(index).renew()
    assert (done.seen, done.changed) == (2, 0)


async def test_a_renewal_that_is_broken_off_goes_on_where_it_was(
    index: Index, monkeypatch: pytest.MonkeyPatch
):
    for number in range(5):
        await index.see(patient(), f"M{number}", f"s{number}")
    await make_old(index)
    monkeypatch.setattr("mpi.renew.STRETCH", 2)
    first = await keeper(index).renew(seconds=0.000_001)
    assert (first.is_over, first.seen, first.changed) == (False, 0, 0) or first.seen == 2
    rest = await keeper(index).renew()
    assert (rest.is_over, first.changed + rest.changed) == (True, 5)


async def test_a_new_kind_of_key_is_a_reason_to_renew(index: Index):
    await index.see(patient(), "M1")
    await keeper(index).renew()
    model = replace(SETTINGS.model, keys=SETTINGS.model.keys[1:])
    other = Mpi(index.db, index.ring, index.keys, replace(SETTINGS, model=model))
    done = await IndexCare(index.db, other, SystemClock()).renew()
    assert (done.seen, done.changed) == (1, 1)


async def test_an_erased_record_does_not_stop_the_renewal(index: Index):
    first = await index.see(patient(), "M1")
    await index.see(patient(given=["Ottoline"]), "A1", "aurelia")
    await make_old(index)
    async with index.db.transaction() as conn:
        await conn.execute(
            text("DELETE FROM data_key WHERE owner = :record"), {"record": first.source_record_id}
        )
    restarted = index.restarted()
    done = await keeper(restarted).renew()
    assert (done.is_over, done.seen, done.changed) == (True, 2, 1)


async def test_the_commands_say_what_they_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    settings = load_settings({"HIE_HOME": str(tmp_path)})
    arguments = argparse.Namespace(limit=None, seconds=60.0)
    assert await commands.renew(settings, arguments) == 0
    assert await commands.duplicates(settings, arguments) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "0 records looked at, 0 renewed"
    assert said[-1] == "0 persons looked at, 0 pairs found, 0 tasks opened, 0 closed, 0 pairs wait"
