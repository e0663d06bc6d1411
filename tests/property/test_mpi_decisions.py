"""Laws of what the index decides: order of arrival, what stewards hold apart, explanations."""

import asyncio
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from hie.db import Database
from hie.kernel.ids import PersonId, SourceRecordId
from mpi.decide import Matcher, PersonScore, decide, explain, judge_person
from mpi.model import Outcome
from mpi.normalize import Normalizer
from tests.conftest import IS_LONG
from tests.support.memory_index import TODAY, MemoryIndex
from tests.support.mpi import MODEL, SETTINGS, THRESHOLDS, Index, steward
from tests.support.people import ORDINARY, Desk, Sighting, Town

NORMALIZER = Normalizer(SETTINGS.forms, SETTINGS.defaults)
MATCHER = Matcher(SETTINGS)
SOURCES = "abcdefgh"


def crowd(seed: int, records: int = 24) -> list[Sighting]:
    """Records of seven humans, among them twins and a father and son, each badly written."""
    town, dice = Town(seed), random.Random(seed)
    desk = Desk(town)
    humans = [*(town.human() for _ in range(3)), *town.twins(), *town.father_and_son()]
    places = [(human, source) for human in humans for source in SOURCES]
    return [desk.see(h, s, dice.choice(ORDINARY)) for h, s in dice.sample(places, records)]


@dataclass
class Played:
    """An index after all have arrived, and which persons somebody is asked about together."""

    index: MemoryIndex = field(default_factory=lambda: MemoryIndex(SETTINGS))
    top: dict[str, str] = field(default_factory=dict)

    def add(self, sighting: Sighting) -> None:
        """One more arrival."""
        decision = self.index.add(sighting)
        own = self.index.person_of[f"{sighting.source}{sighting.mrn}"]
        asked = [p.person_id for p in decision.ranked] if decision.outcome is Outcome.REVIEW else []
        for other in [*asked, *decision.duplicates]:
            self.top[self.group(own)] = self.group(other)

    def group(self, person: str) -> str:
        """One of the persons that questions connect this one with."""
        while self.top.setdefault(person, person) != person:
            person = self.top[person]
        return person

    def joined(self) -> Iterator[tuple[str, str]]:
        """Every two records of one person."""
        for members in self.index.members.values():
            yield from ((a, b) for n, a in enumerate(members) for b in members[n + 1 :])


def played(arriving: Sequence[Sighting]) -> Played:
    """All arrivals, in order."""
    found = Played()
    for sighting in arriving:
        found.add(sighting)
    return found


@given(seed=st.integers(0, 10_000), order=st.randoms(use_true_random=False))
@settings(max_examples=400 if IS_LONG else 12)
def test_what_one_order_of_arrival_joins_another_joins_or_asks_about(seed: int, order: Any):
    """The stated exception to order independence: a difference is never silent.

    Which of two doubtful records came first decides whether a third was clear or a margin. So
    the partition may differ - but whoever is apart in one order and together in another, a
    steward is asked about.
    """
    arriving = crowd(seed)
    shuffled = list(arriving)
    order.shuffle(shuffled)
    one, other = played(arriving), played(shuffled)
    for here, there in ((one, other), (other, one)):
        for a, b in here.joined():
            persons = there.index.person_of[a], there.index.person_of[b]
            assert there.group(persons[0]) == there.group(persons[1])


def judged(seed: int, bits: Sequence[float]) -> list[PersonScore]:
    """Persons of one record each, that score so many bits."""
    (sighting,) = crowd(seed, 1)
    record = NORMALIZER.demographics(sighting.patient, TODAY)
    base = MATCHER.pair(SourceRecordId("r"), record, record)
    return [
        judge_person(PersonId(f"p{n}"), [replace(base, strength=strength)], THRESHOLDS)
        for n, strength in enumerate(bits)
    ]


@given(
    bits=st.lists(st.floats(-30, 60), min_size=1, max_size=6),
    before=st.integers(0, 63),
    added=st.integers(0, 5),
)
def test_to_hold_two_apart_never_links(bits: list[float], before: int, added: int):
    def decided(denied: int) -> Any:
        persons = [
            replace(person, is_denied=bool(denied >> n & 1))
            for n, person in enumerate(judged(1, bits))
        ]
        return decide(persons, THRESHOLDS)

    without, held = decided(before), decided(before | 1 << added)
    assert held.person_id in (None, without.person_id)
    assert held.person_id != f"p{added}"


@given(seed=st.integers(0, 10_000))
def test_an_explanation_adds_up_to_its_bits_and_names_no_value(seed: int):
    one, other = crowd(seed, 2)
    a, b = (NORMALIZER.demographics(s.patient, TODAY) for s in (one, other))
    pair = MATCHER.pair(SourceRecordId("other"), a, b)
    person = judge_person(PersonId("person"), [pair], THRESHOLDS)
    decision = decide([person], replace(THRESHOLDS, review=-1_000.0, family=-1_000.0))
    told = explain(decision, MODEL.version, MODEL.prior_bits)
    ((record,),) = [shown["records"] for shown in told["persons"]]
    total = told["prior_bits"] + sum(bits + term for _, _, bits, term in record["evidence"])
    if record["rule"] is None:
        assert abs(total - record["bits"]) < 0.01
    else:
        assert record["bits"] >= total - 0.01
    said = json.dumps(told).casefold()
    values = [*a.given, *a.surnames, *b.given, *b.surnames, *a.ssn, *b.ssn, *a.phones, *b.phones]
    values += [a.birth_date, b.birth_date, *a.emails, *b.emails]
    values += [address.street for d in (a, b) for address in d.addresses]
    assert [value for value in values if len(value) > 3 and value in said] == []


@given(seed=st.integers(0, 10_000), repeats=st.lists(st.integers(0, 9), min_size=1, max_size=6))
@settings(max_examples=100 if IS_LONG else 5)
def test_what_is_sent_again_changes_nothing(seed: int, repeats: list[int]):
    asyncio.run(_send_again(seed, repeats))


async def _send_again(seed: int, repeats: list[int]) -> None:
    arriving = crowd(seed, 10)
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite+aiosqlite:///{Path(folder) / 'hie.db'}")
        await database.create_schema()
        index = Index(database)
        for sighting in arriving:
            await index.see(sighting.patient, sighting.mrn, sighting.source)
        before = await _rows(database)
        for number in repeats:
            sighting = arriving[number]
            again = await index.see(sighting.patient, sighting.mrn, sighting.source)
            assert again.outcome is Outcome.KNOWN
        assert await _rows(database) == before
        await database.close()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=60 if IS_LONG else 4)
def test_whom_a_steward_holds_apart_no_later_message_joins(seed: int):
    asyncio.run(_hold_apart(seed))


async def _hold_apart(seed: int) -> None:
    first, *arriving = crowd(seed, 12)
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite+aiosqlite:///{Path(folder) / 'hie.db'}")
        await database.create_schema()
        index = Index(database)
        kept = await index.see(first.patient, first.mrn, first.source)
        found = [await index.see(s.patient, s.mrn, s.source) for s in arriving[:5]]
        other = next((one for one in found if one.person_id != kept.person_id), None)
        assume(other is not None)
        assert other is not None
        async with database.transaction() as conn:
            await index.mpi.steward.reject(conn, kept.person_id, other.person_id, steward())
        for sighting in arriving[5:]:
            await index.see(sighting.patient, sighting.mrn, sighting.source)
            one, two = await index.persons(kept.source_record_id, other.source_record_id)
            assert one != two
        await database.close()


async def _rows(database: Database) -> list[list[str]]:
    """Everything the index has stored."""
    tables = ("source_record", "person", "identity_link", "identity_decision", "block_key",
              "block_stat", "identifier_xref", "review_task", "negative_assertion")  # fmt: skip
    async with database.reading() as conn:
        return [
            sorted(repr(row) for row in await conn.execute(text(f"SELECT * FROM {table}")))
            for table in tables
        ]
