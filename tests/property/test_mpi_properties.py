"""Laws of the index that hold for any records."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from hie.db import Database
from hie.kernel.ids import PersonId, SourceRecordId
from mpi.blocking import blocking_keys
from mpi.compare import Comparer
from mpi.decide import Matcher, decide, judge_person
from mpi.demographics import Demographics
from mpi.levels import MatchGrade
from mpi.model import Outcome
from mpi.names import GivenNames
from mpi.normalize import Normalizer, pack, unpack
from mpi.score import Scorer, grade
from mpi.settings import Level
from tests.conftest import IS_LONG
from tests.support.memory_index import TODAY, MemoryIndex
from tests.support.mpi import MODEL, SETTINGS, SSN, THRESHOLDS, Index, patient, steward
from tests.support.people import ORDINARY, Desk, Sighting, Town, population

NORMALIZER = Normalizer(SETTINGS.forms, SETTINGS.defaults)
COMPARER = Comparer(GivenNames(SETTINGS.given_names), SETTINGS.forms.single_types)
MATCHER = Matcher(SETTINGS)
GRADES = [MatchGrade.CERTAINLY_NOT, MatchGrade.POSSIBLE, MatchGrade.PROBABLE, MatchGrade.CERTAIN]


def read(made: dict[str, Any]) -> Demographics:
    return NORMALIZER.demographics(made, TODAY)


@st.composite
def sightings(draw: st.DrawFn) -> Sighting:
    """One record of one of very few humans, mistyped somehow."""
    town = Town(draw(st.integers(0, 15)))
    humans = [town.human(), *town.twins(), *town.father_and_son()]
    return Desk(town).see(draw(st.sampled_from(humans)), "a", draw(st.sampled_from(ORDINARY)))


@given(one=sightings(), other=sightings())
def test_which_record_comes_first_makes_no_difference(one: Sighting, other: Sighting):
    a, b = read(one.patient), read(other.patient)
    there, back = (MATCHER.pair(SourceRecordId("r"), x, y) for x, y in ((a, b), (b, a)))
    assert (there.strength, there.vetoes, there.hit) == (back.strength, back.vetoes, back.hit)


@given(one=sightings())
def test_nothing_speaks_against_a_record_being_itself(one: Sighting):
    record = read(one.patient)
    comparison = COMPARER.compare(record, record)
    lacks = [v for v in MATCHER.pair(SourceRecordId("r"), record, record).vetoes if not v.is_lack]
    assert lacks == []
    assert all(e.bits > 0 for e in Scorer(MODEL).score(comparison).evidence)


DEFAULTS: list[dict[str, Any]] = [
    {"identifier": [{"system": SSN, "value": "999-99-9999"}]},
    {"telecom": [{"system": "phone", "value": "555-555-5555"}]},
    {"telecom": [{"system": "email", "value": "none@none.com"}]},
    {"address": [{"line": ["UNKNOWN"], "postalCode": "00000"}]},
    {"identifier": [{"system": "urn:a", "value": "UNKNOWN"}]},
    {"birthDate": "1900-01-01"},
    {"name": [{"family": "UNKNOWN", "given": ["BABY BOY"]}]},
]


@given(one=sightings(), other=sightings(), extra=st.lists(st.sampled_from(DEFAULTS), max_size=3))
def test_a_default_value_counts_nowhere(
    one: Sighting, other: Sighting, extra: list[dict[str, Any]]
):
    def with_defaults(made: dict[str, Any]) -> dict[str, Any]:
        changed = dict(made)
        for default in extra:
            for element, value in default.items():
                if isinstance(value, list):
                    changed[element] = [*changed.get(element, []), *value]
                elif element not in changed:
                    changed[element] = value
        return changed

    a, b = read(one.patient), read(other.patient)
    a_more, b_more = read(with_defaults(one.patient)), read(with_defaults(other.patient))
    assert COMPARER.compare(a_more, b_more) == COMPARER.compare(a, b)
    assert blocking_keys(a_more, MODEL.keys, _plain, 40) == blocking_keys(a, MODEL.keys, _plain, 40)


def _plain(*parts: str) -> int:
    return hash(parts)


@given(
    one=sightings(),
    other=sightings(),
    place=st.sampled_from([(c, name) for c, levels in MODEL.levels.items() for name in levels]),
    factor=st.floats(1.0, 1e6),
)
def test_a_grade_never_falls_when_a_weight_rises(
    one: Sighting, other: Sighting, place: tuple[str, str], factor: float
):
    comparison_name, level_name = place
    levels = {name: dict(of) for name, of in MODEL.levels.items()}
    old = levels[comparison_name][level_name]
    levels[comparison_name][level_name] = Level(m=old.m, u=old.u / factor)
    raised = replace(
        MODEL,
        levels=MappingProxyType({name: MappingProxyType(of) for name, of in levels.items()}),
    )
    comparison = COMPARER.compare(read(one.patient), read(other.patient))
    before, after = (Scorer(model).score(comparison).bits for model in (MODEL, raised))
    grades = [GRADES.index(grade(bits, THRESHOLDS, is_vetoed=False)) for bits in (before, after)]
    assert after >= before - 1e-9
    assert grades[0] <= grades[1]


@given(bits=st.lists(st.floats(-30, 60), min_size=1, max_size=6), denied=st.integers(0, 63))
def test_what_a_steward_holds_apart_is_never_linked(bits: list[float], denied: int):
    base = MATCHER.pair(SourceRecordId("r"), read(patient()), read(patient()))
    persons = [
        judge_person(
            PersonId(f"p{n}"),
            [replace(base, strength=strength)],
            THRESHOLDS,
            is_denied=bool(denied >> n & 1),
        )
        for n, strength in enumerate(bits)
    ]
    decision = decide(persons, THRESHOLDS)
    apart = {person.person_id for person in persons if person.is_denied}
    assert decision.person_id not in apart
    assert not apart & {p.person_id for p in decision.ranked}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["family", "given", "use", "system", "value", "line", "postalCode", "coding", "code",
             "type", "name", "relationship", "suffix", "text", "url", "valueString"]
        ),
        children,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
ELEMENTS = ["name", "identifier", "telecom", "address", "birthDate", "gender", "contact",
            "extension", "multipleBirthInteger"]  # fmt: skip


@given(odd=st.dictionaries(st.sampled_from(ELEMENTS), json_values))
def test_any_json_is_read_as_far_as_it_makes_sense(odd: dict[str, Any]):
    found = read(odd)
    assert unpack(pack(found)) == found
    assert len(blocking_keys(found, MODEL.keys, _plain, 40)) <= 40
    MATCHER.pair(SourceRecordId("r"), found, found)


@given(seed=st.integers(0, 200), order=st.randoms(use_true_random=False))
@settings(max_examples=100 if IS_LONG else 15)
def test_the_order_of_arrival_makes_no_difference_to_obvious_matches(seed: int, order: Any):
    town = Town(seed)
    desk = Desk(town)
    kinds = ("clean", "upper-case", "no-middle-name", "no-email", "new-phone")
    humans = [town.human() for _ in range(4)]
    arriving = [
        desk.see(human, "abcde"[n], kind) for human in humans for n, kind in enumerate(kinds)
    ]
    shuffled = list(arriving)
    order.shuffle(shuffled)
    partitions = []
    for sequence in (arriving, shuffled):
        index = MemoryIndex(SETTINGS)
        for sighting in sequence:
            assert index.add(sighting).outcome is not Outcome.REVIEW
        partitions.append({frozenset(members) for members in index.members.values()})
    assert partitions[0] == partitions[1]
    assert len(partitions[0]) == len(humans)


@given(pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=5))
@settings(max_examples=60 if IS_LONG else 6)
def test_merges_taken_back_in_turn_restore_links_and_persons(pairs: list[tuple[int, int]]):
    asyncio.run(_merge_and_take_back(pairs))


async def _merge_and_take_back(pairs: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite+aiosqlite:///{Path(folder) / 'hie.db'}")
        await database.create_schema()
        index = Index(database)
        town = Town(3)
        made = [Desk(town).see(town.human(), "a").patient for _ in range(6)]
        found = [await index.see(made[n], f"M{n}", f"s{n}") for n in range(6)]
        before = await _state(database)
        decisions = []
        for one, other in pairs:
            async with database.transaction() as conn:
                kept = await index.mpi.resolve(conn, found[one].person_id)
                gone = await index.mpi.resolve(conn, found[other].person_id)
                if kept == gone:
                    continue
                await index.mpi.steward.merge(conn, kept, gone, steward())
                decisions.append(await conn.scalar(text("SELECT max(id) FROM identity_decision")))
        for decision in reversed(decisions):
            async with database.transaction() as conn:
                undone = await index.mpi.steward.undo(conn, decision, steward())
            assert undone.kept == ()
        assert await _state(database) == before
        await database.close()


async def _state(database: Database) -> list[list[tuple[object, ...]]]:
    async with database.reading() as conn:
        return [
            sorted(tuple(row) for row in await conn.execute(text(statement)))
            for statement in (
                "SELECT record_id, person_id FROM identity_link WHERE valid_to_us IS NULL",
                "SELECT id, status, redirect_to FROM person",
            )
        ]


@pytest.mark.parametrize("seed", [21, 22])
async def test_the_index_on_a_database_links_as_the_one_in_memory(
    sqlite_database: Database, seed: int
):
    arriving = population(seed, humans=45)
    memory, index = MemoryIndex(SETTINGS), Index(sqlite_database)
    partition: dict[str, set[str]] = {}
    for sighting in arriving:
        expected = memory.add(sighting)
        found = await index.see(sighting.patient, sighting.mrn, sighting.source)
        assert found.outcome is expected.outcome
        name = f"{sighting.source}{sighting.mrn}"
        partition.setdefault(found.person_id, set()).add(name)
    assert {frozenset(names) for names in partition.values()} == {
        frozenset(members) for members in memory.members.values()
    }
