"""Persons that may be one human, and questions that no longer arise: the nightly search.

On arrival a record is compared with whom its keys lead to. What that cannot see is looked for
here, person against person: two that came to resemble each other by later messages, by a new
model, or by a better reading of what was stored; and records that fit the others of their own
person no more, because what held them has become everybody's. The search asks what an arrival
would be asked, and joins nobody.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import PersonId, SourceRecordId
from mpi.arrival import Intake
from mpi.decide import Matcher, PairScore, PersonScore, candidates, decide, judge_person, task_kind
from mpi.demographics import Demographics
from mpi.find import Finder, Opened
from mpi.ledger import Ledger
from mpi.model import Actor, DecisionKind, LinkState, Outcome, Question, TaskKind
from mpi.repository import candidates as members
from mpi.repository import duplicates, links, records, rescoring, tasks
from mpi.repository.duplicates import Asked, Pair
from mpi.rescore import RAISED_BY_DEMOGRAPHICS, Rescoring
from mpi.review import ReviewQueue
from mpi.settings import MpiSettings
from mpi.shared import without

#: Records of a person compared with those of another.
MOST_RECORDS = 10
#: Questions whose answer may have come by itself; the others are a source's or a human's.
CHECKED = frozenset(RAISED_BY_DEMOGRAPHICS | {TaskKind.DUPLICATE_PERSON})
#: What the search is called in decisions.
NAME = "mpi"

_Persons = Mapping[PersonId, Sequence[Opened]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What was found from the next persons.

    Attributes:
        pairs: of persons that may be one.
        doubtful: records that would not be linked to their person today.
    """

    persons: tuple[PersonId, ...]
    pairs: tuple[Pair, ...] = ()
    doubtful: tuple[SourceRecordId, ...] = ()

    @property
    def last(self) -> str:
        """The id to go on after; "" where there was nobody left."""
        return self.persons[-1] if self.persons else ""


class DuplicateSearch:
    """Looks for persons that may be one, and asks about them."""

    def __init__(
        self,
        settings: MpiSettings,
        intake: Intake,
        ledger: Ledger,
        review: ReviewQueue,
        finder: Finder,
        matcher: Matcher,
    ) -> None:
        self._thresholds = settings.model.thresholds
        self._limits = settings.defaults.shared
        self._intake = intake
        self._ledger = ledger
        self._review = review
        self._finder = finder
        self._matcher = matcher
        self._rescoring = Rescoring(settings.model, ledger, review)

    # Finding, on a reading connection

    async def scan(self, conn: AsyncConnection, after: str, limit: int) -> Stretch:
        """What the next persons, by id, may be besides themselves."""
        persons = await duplicates.persons_after(conn, after, limit)
        if not persons:
            return Stretch(persons=())
        near = await duplicates.neighbours(conn, persons, self._thresholds.persons)
        wanted = list(dict.fromkeys([*persons, *(other for of in near.values() for other in of)]))
        opened = await self._opened(conn, wanted)
        asked = await duplicates.asked_already(conn, persons)
        apart = await self._apart(conn, opened, persons)
        pairs = [
            pair
            for one in persons
            for other in near.get(one, ())
            if frozenset((one, other)) not in asked | apart
            and (pair := self._pair(opened, one, other))
        ]
        doubtful = [record for person in persons for record in self._doubtful(opened, person)]
        return Stretch(persons=tuple(persons), pairs=tuple(pairs), doubtful=tuple(doubtful))

    async def _opened(
        self, conn: AsyncConnection, persons: Sequence[PersonId]
    ) -> dict[PersonId, list[Opened]]:
        """The records of persons, without the values that too many hold."""
        found: list[Opened] = []
        for start in range(0, len(persons), self._thresholds.persons):
            chunk = persons[start : start + self._thresholds.persons]
            held = await members.members(conn, chunk, most=MOST_RECORDS)
            listed = [m for of in held.values() for m in of.members[:MOST_RECORDS]]
            found += await self._finder.open(conn, listed)
        shared = await self._shared(conn, [one.demographics for one in found])
        grouped: dict[PersonId, list[Opened]] = defaultdict(list)
        for one in found:
            seen = Opened(member=one.member, demographics=without(one.demographics, shared))
            grouped[one.member.person_id].append(seen)
        return grouped

    async def _shared(
        self, conn: AsyncConnection, seen: Sequence[Demographics]
    ) -> dict[str, set[str]]:
        single = {key.value: key for one in seen for key in self._finder.keys(one) if key.shared}
        holders = await duplicates.holders(conn, single)
        shared: dict[str, set[str]] = defaultdict(set)
        for value, key in single.items():
            if holders.get(value, 0) > self._limits[key.shared]:
                shared[key.shared].add(key.part)
        return shared

    async def _apart(
        self, conn: AsyncConnection, opened: _Persons, persons: Sequence[PersonId]
    ) -> set[frozenset[PersonId]]:
        """Pairs of persons that stewards hold apart by any record compared."""
        person_of = {o.member.record_id: p for p, of in opened.items() for o in of}
        own = [o.member.record_id for p in persons for o in opened.get(p, ())]
        pairs = await links.denied(conn, own) if own else set()
        return {
            frozenset(person_of[SourceRecordId(record)] for record in pair)
            for pair in pairs
            if all(record in person_of for record in pair)
        }

    def _pair(self, opened: _Persons, one: PersonId, other: PersonId) -> Pair | None:
        score = self.judge(opened, one, other)
        if score is None:
            return None
        decision = decide([score], self._thresholds)
        if decision.outcome is Outcome.NEW:
            return None
        kind = TaskKind.DUPLICATE_PERSON
        # About twins one asks by the record that may be the other child's: there must be one.
        is_alone = min(len(opened[one]), len(opened[other])) == 1
        if is_alone and decision.outcome is Outcome.REVIEW:
            kind = task_kind(decision) if task_kind(decision) is TaskKind.TWIN else kind
        return Pair(one=one, other=other, bits=round(score.best, 4), kind=kind)

    def judge(self, opened: _Persons, one: PersonId, other: PersonId) -> PersonScore | None:
        """The second person against the first; None where no record of either can be read."""
        pairs: list[PairScore] = [
            self._matcher.pair(there.member.record_id, here.demographics, there.demographics)
            for here in opened.get(one, ())
            for there in opened.get(other, ())
        ]
        return judge_person(other, pairs, self._thresholds) if pairs else None

    def _doubtful(self, opened: _Persons, person: PersonId) -> list[SourceRecordId]:
        """Records that would not be linked to their person today."""
        found = []
        of_person = opened.get(person, ())
        for one in of_person if len(of_person) > 1 else ():
            pairs = [
                self._matcher.pair(o.member.record_id, one.demographics, o.demographics)
                for o in of_person
                if o is not one
            ]
            own = judge_person(person, pairs, self._thresholds)
            if own.best < self._thresholds.auto or self._rescoring.has_drifted(own):
                found.append(one.member.record_id)
        return found

    # Keeping and asking, in short write transactions

    async def keep(self, conn: AsyncConnection, stretch: Stretch, *, now_us: int) -> None:
        """Let the pairs of a stretch wait to be asked about, in place of those found before."""
        await duplicates.replace(conn, stretch.persons, stretch.pairs, now_us=now_us)

    async def strongest(self, conn: AsyncConnection, limit: int) -> list[Pair]:
        """The pairs that wait, those with most bits first."""
        return await duplicates.strongest(conn, limit)

    async def waiting(self, conn: AsyncConnection) -> int:
        """How many pairs wait to be asked about."""
        return await duplicates.waiting(conn)

    async def ask(self, conn: AsyncConnection, pair: Pair, *, now_us: int) -> bool:
        """Ask about a pair, if it still is one; whether a task was opened."""
        await duplicates.drop(conn, pair)
        sides = [pair.one, pair.other]
        opened = await self._opened(conn, sides)
        asked = await duplicates.asked_already(conn, sides[:1])
        apart = await self._apart(conn, opened, sides)
        if (
            frozenset(sides) in asked | apart
            or (now := self._pair(opened, pair.one, pair.other)) is None
        ):
            return False
        alone = next((p for p in sides if len(opened[p]) == 1), sides[0])
        subject = alone if now.kind is TaskKind.TWIN else pair.one
        other = pair.other if subject == pair.one else pair.one
        score = self.judge(opened, subject, other)
        if score is None:
            return False
        record = opened[subject][0].member.record_id if now.kind is TaskKind.TWIN else None
        question = Question(
            kind=now.kind,
            record_id=record,
            person_id=subject,
            candidates=candidates(decide([score], self._thresholds), self._thresholds),
        )
        writes = self._ledger.writes()
        actor = Actor(name=NAME, now_us=now_us, reason="duplicates")
        recorded = await self._ledger.decision(conn, writes, DecisionKind.FLAG, actor)
        await self._review.open(conn, writes, question, recorded)
        await writes.send(conn)
        return True

    async def look_again(
        self, conn: AsyncConnection, record_id: SourceRecordId, *, now_us: int
    ) -> int | None:
        """Score a stored record anew, and ask, refresh or close what follows; the task."""
        known = await records.find_record(conn, record_id)
        if known is None or known.person_id is None or known.state is LinkState.CONFIRMED:
            return None
        if not await self._finder.data_keys(conn, {known.key_id or 0}):
            return None  # erased
        demographics = await self._intake.stored(conn, known)
        keys = self._finder.keys(demographics)
        found = await self._finder.find(conn, demographics, keys, known=known)
        writes = self._ledger.writes()
        actor = Actor(name=NAME, now_us=now_us, reason="duplicates")
        task_id = await self._rescoring.look_again(conn, writes, known, found, actor)
        await writes.send(conn)
        return task_id

    # Questions that no longer arise

    async def open_tasks(self, conn: AsyncConnection, after: int, limit: int) -> list[Asked]:
        """The next open tasks that may have been answered by themselves."""
        return await duplicates.open_tasks(conn, CHECKED, after=after, limit=limit)

    async def check(self, conn: AsyncConnection, asked: Asked, *, now_us: int) -> bool:
        """Close a task whose question no longer arises; whether it was closed."""
        is_gone = asked.record_id is not None and await self._is_gone(conn, asked.record_id)
        is_about_two = asked.kind is not TaskKind.DRIFT and not is_gone
        if is_about_two and await self._arises(conn, asked.person_id, asked.candidates):
            return False
        if asked.record_id is not None and not is_gone:
            record_id = SourceRecordId(asked.record_id)
            await self.look_again(conn, record_id, now_us=now_us)
            return asked.id not in await rescoring.asked_about(conn, record_id, CHECKED)
        writes = self._ledger.writes()
        actor = Actor(name=NAME, now_us=now_us, reason="moot")
        recorded = await self._ledger.decision(conn, writes, DecisionKind.RESCORE, actor)
        await writes.send(conn)
        await tasks.close(conn, [asked.id], decision_id=recorded.id, now_us=now_us)
        return True

    async def _is_gone(self, conn: AsyncConnection, record_id: str) -> bool:
        """Whether a record was merged away by its source."""
        known = await records.find_record(conn, record_id)
        return known is None or known.person_id is None or not known.is_active

    async def _arises(
        self, conn: AsyncConnection, person: PersonId, others: Collection[PersonId]
    ) -> bool:
        """Whether two persons of a question may still be one."""
        here = await self._ledger.resolve(conn, person)
        there = {await self._ledger.resolve(conn, other) for other in others} - {here}
        opened = await self._opened(conn, [here, *there])
        apart = await self._apart(conn, opened, [here])
        return any(
            frozenset((here, other)) not in apart
            and self._pair(opened, min(here, other), max(here, other)) is not None
            for other in there
        )
