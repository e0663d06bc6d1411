"""The ledger against a model of it: random decisions, taken back in any order.

The model is a partition of records into persons and the list of what it was before. Whatever
was decided and taken back in between, a record has one open link; taking everything back, the
last first, is the first partition again; and "who was this record then" is what the model noted
then. `HIE_TEST_LONG=1` tries more and longer histories.
"""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from sqlalchemy import text

from hie.db import Database
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId, SourceRecordId
from mpi.model import Actor, Decided
from tests.support.mpi import START_US, Index
from tests.support.people import Desk, Town

IS_LONG = os.environ.get("HIE_TEST_LONG") == "1"
RECORDS = 6
SECOND = 1_000_000
REFUSED = (Category.CONFLICT, Category.BUSINESS_RULE, Category.NOT_FOUND)
which = st.integers(0, RECORDS - 1)


class LedgerMachine(RuleBasedStateMachine):
    """Stewards at work on six records."""

    decisions = Bundle("decisions")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database(f"sqlite+aiosqlite:///{Path(self.folder.name) / 'hie.db'}")
        self.index = Index(self.database)
        self.now_us = START_US + 3600 * SECOND
        #: Record to person, now.
        self.persons: dict[SourceRecordId, PersonId] = {}
        #: The same at each time it was noted.
        self.noted: list[tuple[int, dict[SourceRecordId, PersonId]]] = []
        #: What stands, the last last.
        self.standing: list[int] = []

    @initialize()
    def arrive(self) -> None:
        self.loop.run_until_complete(self._arrive())

    async def _arrive(self) -> None:
        await self.database.create_schema()
        town = Town(5)
        for number in range(RECORDS):
            human = Desk(town).see(town.human(), "a").patient
            seen = await self.index.see(human, f"M{number}", f"s{number}")
            self.persons[seen.source_record_id] = seen.person_id
        self.first = dict(self.persons)
        self.note()

    def note(self) -> None:
        self.noted.append((self.now_us, dict(self.persons)))
        self.now_us += SECOND

    def record(self, number: int) -> SourceRecordId:
        return list(self.first)[number]

    def person(self, number: int) -> PersonId:
        return self.persons[self.record(number)]

    def decide(self, name: str, *args: Any) -> int:
        """Carry a decision out and follow it in the model; 0 where it is refused."""
        done = self.loop.run_until_complete(self._decide(name, args))
        if done is None:
            return 0
        for move in done.moves:
            assert self.persons[move.source_record_id] == move.from_person
            self.persons[move.source_record_id] = move.to_person
        self.standing.append(done.decision_id)
        self.note()
        return done.decision_id

    async def _decide(self, name: str, args: tuple[Any, ...]) -> Decided | None:
        actor = Actor(name="steward:kim", now_us=self.now_us, words="because")
        try:
            async with self.database.transaction() as conn:
                done: Decided = await getattr(self.index.mpi.steward, name)(conn, *args, actor)
        except HieError as error:
            if error.category not in REFUSED:
                raise
            return None
        return done

    @rule(target=decisions, one=which, other=which)
    def merge(self, one: int, other: int) -> int:
        kept, gone = self.person(one), self.person(other)
        expected = {r: kept if p == gone else p for r, p in self.persons.items()}
        decision = self.decide("merge", kept, gone)
        assert bool(decision) == (kept != gone)
        assert self.persons == expected
        return decision

    @rule(target=decisions, one=which, other=which)
    def link(self, one: int, other: int) -> int:
        record, person = self.record(one), self.person(other)
        expected = self.persons | {record: person}
        decision = self.decide("link", record, person)
        assert self.persons == expected
        return decision

    @rule(target=decisions, one=which)
    def unlink(self, one: int) -> int:
        record, person = self.record(one), self.person(one)
        mates = {r for r, p in self.persons.items() if p == person} - {record}
        decision = self.decide("unlink", record)
        assert bool(decision) == bool(mates)
        if mates:
            alone, (together,) = self.persons[record], {self.persons[r] for r in mates}
            assert alone != together
            (new,) = {alone, together} - {person}
            assert new not in self.first.values()
            # The id stays with who had it first, where that is one side alone.
            first = {r for r in (record, *mates) if self.first[r] == person}
            if first and (first == {record} or record not in first):
                assert {self.persons[r] for r in first} == {person}
        return decision

    @rule(target=decisions, numbers=st.sets(which, min_size=1, max_size=3), of=which)
    def split(self, numbers: set[int], of: int) -> int:
        return self.decide("split", self.person(of), {self.record(n) for n in numbers})

    @rule(target=decisions, one=which, other=which)
    def reject(self, one: int, other: int) -> int:
        return self.decide("reject", self.person(one), self.person(other))

    @rule(target=decisions, one=which)
    def confirm(self, one: int) -> int:
        return self.decide("confirm", self.record(one))

    @rule(target=decisions, decision=decisions)
    def undo(self, decision: int) -> int:
        """Any decision, whatever came after it: what was moved since stays where it is."""
        before, now_us = dict(self.persons), self.now_us
        done = self.decide("undo", decision) if decision else 0
        if not done:
            assert self.persons == before
            return 0
        then = self.at(decision)
        for record, person in self.persons.items():
            assert person in (before[record], then[record]), now_us
        return done

    @precondition(lambda self: len(self.standing) > 3)
    @rule()
    def undo_everything(self) -> None:
        """The last first: each gives back exactly what was before it."""
        while self.standing:
            decision = self.standing.pop()
            before = self.before(decision)
            assert self.decide("undo", decision)
            self.standing.pop()
            assert self.persons == before
        assert self.persons == self.first

    def at(self, decision: int) -> dict[SourceRecordId, PersonId]:
        return self.before(decision)

    def before(self, decision: int) -> dict[SourceRecordId, PersonId]:
        """The partition when a decision was taken."""
        at_us = self.loop.run_until_complete(self._time_of(decision))
        return max((n for n in self.noted if n[0] < at_us), key=lambda n: n[0])[1]

    async def _time_of(self, decision: int) -> int:
        async with self.database.reading() as conn:
            found = await conn.execute(
                text("SELECT at_us FROM identity_decision WHERE id = :id"), {"id": decision}
            )
            return int(found.scalar_one())

    @invariant()
    def every_record_has_one_person(self) -> None:
        if self.persons:
            assert self.loop.run_until_complete(self._open_links()) == sorted(self.persons.items())

    async def _open_links(self) -> list[tuple[str, str]]:
        async with self.database.reading() as conn:
            rows = await conn.execute(
                text("SELECT record_id, person_id FROM identity_link WHERE valid_to_us IS NULL")
            )
            return sorted((row.record_id, row.person_id) for row in rows)

    @invariant()
    def every_id_leads_to_a_person_with_records(self) -> None:
        for person in self.first.values():
            held = self.loop.run_until_complete(self._resolve(person))
            assert held in self.persons.values()

    async def _resolve(self, person: PersonId) -> PersonId:
        async with self.database.reading() as conn:
            return await self.index.mpi.resolve(conn, person)

    def teardown(self) -> None:
        self.loop.run_until_complete(self._compare_history())
        self.loop.run_until_complete(self.database.close())
        self.loop.close()
        self.folder.cleanup()

    async def _compare_history(self) -> None:
        """Who was whom, at each time and between two times, is what was noted."""
        async with self.database.reading() as conn:
            for at_us, persons in self.noted[-12:]:
                for record, person in persons.items():
                    found = await self.index.mpi.person_at(conn, record, at_us + SECOND // 2)
                    assert found == person
                for person in set(persons.values()):
                    records = await self.index.mpi.records_at(conn, person, at_us + SECOND // 2)
                    assert set(records) == {r for r, p in persons.items() if p == person}


LedgerMachine.TestCase.settings = settings(
    max_examples=200 if IS_LONG else 12,
    stateful_step_count=40 if IS_LONG else 18,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestLedger = LedgerMachine.TestCase
