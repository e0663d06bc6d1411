"""A source says that two of its identifiers are one patient (ADT^A40).

In the source's own ledger its word is law: the retired identifier is retired, and later
messages that name it are about the survivor. Whether the two *persons* become one passes the
guard: a source that merges two humans by mistake must not take other sources' records along.
Spec: HL7 v2.5.1 §3.6.2; IHE ITI TF-2 §3.30.4.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import KeyRing
from hie.kernel.envelope import SourceIdentifier, SourceMerge
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId, SourceId, SourceRecordId
from mpi.decide import Matcher, PersonScore, judge_person, person_grade
from mpi.demographics import NORM_VERSION
from mpi.find import Finder, Opened
from mpi.ledger import MOVING, Explanation, Ledger, Recorded
from mpi.levels import Veto
from mpi.model import (
    Actor,
    Candidate,
    DecisionKind,
    PersonMove,
    Question,
    Record,
    SourceMerged,
    TaskKind,
)
from mpi.repository import links, records, tasks
from mpi.repository.writes import Writes, lock
from mpi.review import ReviewQueue
from mpi.settings import Thresholds


class SourceMerges:
    """Carries out the merges of sources."""

    def __init__(
        self,
        ring: KeyRing,
        thresholds: Thresholds,
        ledger: Ledger,
        review: ReviewQueue,
        finder: Finder,
        matcher: Matcher,
    ) -> None:
        self._ring = ring
        self._thresholds = thresholds
        self._ledger = ledger
        self._review = review
        self._finder = finder
        self._matcher = matcher

    def record_id(self, source_id: SourceId, identifier: SourceIdentifier) -> SourceRecordId:
        """The id of the record that a source files under an identifier."""
        return SourceRecordId(
            self._ring.blind("record", source_id, identifier.system, identifier.value)
        )

    async def named(
        self, conn: AsyncConnection, source_id: SourceId, identifier: SourceIdentifier
    ) -> SourceRecordId | None:
        """The record filed under an identifier, replaced or not; else the newest carrier."""
        record_id = self.record_id(source_id, identifier)
        if await records.find_record(conn, record_id) is not None:
            return record_id
        value_hash = self._ring.blind("id", identifier.system, identifier.value)
        return await records.record_with_identifier(conn, source_id, value_hash)

    async def find(
        self,
        conn: AsyncConnection,
        source_id: SourceId,
        identifier: SourceIdentifier,
        *,
        besides: str = "",
    ) -> Record | None:
        """The source's record that carries an identifier; the survivor of its merges.

        Of several that carry it beside their own the newest, never the one `besides`.
        """
        record = await records.find_record(conn, self.record_id(source_id, identifier))
        if record is None:
            value_hash = self._ring.blind("id", identifier.system, identifier.value)
            named = await records.record_with_identifier(
                conn, source_id, value_hash, besides=besides
            )
            record = await records.find_record(conn, named) if named else None
        return (await records.survivor_of(conn, record))[0] if record else None

    async def merge(
        self, conn: AsyncConnection, merge: SourceMerge, source_id: SourceId, actor: Actor
    ) -> SourceMerged:
        """Retire an identifier, and join the two persons if the guard agrees.

        A merge of an identifier with itself, of one retired into another one already, or
        against an earlier merge, changes nothing and opens a task: the feed goes on.

        Raises:
            HieError: NOT_FOUND when the surviving identifier is not known yet: identify the
                message's patient first, or park the message and replay it.
        """
        wanted, gone = (self.record_id(source_id, i) for i in (merge.survivor, merge.retired))
        await lock(conn, [self._ring.blind64("mpi-record", r) for r in (wanted, gone)])
        await lock(conn, [MOVING])  # before any row is touched that an undo may touch too
        named = await records.find_record(conn, wanted)
        survivor = await self.find(conn, source_id, merge.survivor)
        if survivor is None or survivor.person_id is None:
            text = "the surviving identifier of the merge is not known yet"
            raise HieError(Category.NOT_FOUND, text)
        passed = (await records.survivor_of(conn, named))[1] if named else frozenset()
        if gone in passed or gone == survivor.record_id:
            return await self._report_conflict(conn, survivor, survivor.person_id, actor)
        retired = await records.find_record(conn, gone)
        if retired is None:
            return await self._retire_unknown(conn, survivor, source_id, merge.retired, actor)
        return await self._merge_records(conn, survivor, survivor.person_id, retired, actor)

    async def _merge_records(
        self,
        conn: AsyncConnection,
        survivor: Record,
        person_id: PersonId,
        retired: Record,
        actor: Actor,
    ) -> SourceMerged:
        if retired.replaced_by is not None:
            standing, _ = await records.survivor_of(conn, retired)
            if standing.record_id != survivor.record_id:
                return await self._report_conflict(conn, survivor, person_id, actor)
            return SourceMerged()
        await self._retire(conn, retired.record_id, survivor.record_id, actor)
        if retired.person_id in (None, person_id):
            done = await self._record(conn, survivor, person_id, retired, actor)
        else:
            done = await self.unite(conn, survivor, PersonId(str(retired.person_id)), actor)
        return replace(done, survivor=survivor.record_id, retired=retired.record_id)

    async def unite(
        self, conn: AsyncConnection, survivor: Record, gone: PersonId, actor: Actor
    ) -> SourceMerged:
        """Join a person to that of a record, if the guard agrees; else ask a steward."""
        person_id, gone = await self._ledger.hold_still(
            conn, [], [PersonId(str(survivor.person_id)), gone]
        )
        if person_id == gone:  # a steward joined them meanwhile
            return await self._record(conn, survivor, person_id, survivor, actor)
        judged = await self.judge(conn, person_id, gone)
        is_stopped = bool(judged.vetoes) or judged.is_denied
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(
            conn,
            writes,
            DecisionKind.FLAG if is_stopped else DecisionKind.SOURCE_MERGE,
            actor,
            explained=_explained(survivor.record_id, judged),
        )
        if is_stopped:
            proposed = self.candidate(judged)
            await self.ask(conn, writes, (survivor.record_id, person_id), (proposed,), recorded)
            await writes.send(conn)
            return SourceMerged(decision_id=recorded.id, is_stopped=True)
        moves = await self._join(conn, writes, person_id, gone, recorded)
        return SourceMerged(decision_id=recorded.id, moves=moves)

    async def _record(
        self,
        conn: AsyncConnection,
        survivor: Record,
        person_id: PersonId,
        retired: Record,
        actor: Actor,
    ) -> SourceMerged:
        """Keep on record that a number was retired where no person had to change."""
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(conn, writes, DecisionKind.SOURCE_MERGE, actor)
        self._ledger.tell(writes, recorded, [survivor.record_id, retired.record_id], [person_id])
        await writes.send(conn)
        return SourceMerged(decision_id=recorded.id)

    async def _join(
        self,
        conn: AsyncConnection,
        writes: Writes,
        kept: PersonId,
        gone: PersonId,
        recorded: Recorded,
    ) -> tuple[PersonMove, ...]:
        answered = await tasks.between(conn, [kept], [gone])
        targets = dict.fromkeys(await links.links_of_person(conn, gone), kept)
        moved = await self._ledger.move(conn, writes, targets, recorded)
        await tasks.close(conn, answered, decision_id=recorded.id, now_us=recorded.now_us)
        self._ledger.tell_moves(writes, recorded, moved)
        await writes.send(conn)
        return moved

    async def judge(
        self,
        conn: AsyncConnection,
        kept: PersonId,
        gone: PersonId,
        only: SourceRecordId | None = None,
    ) -> PersonScore:
        """The retired person, or `only` one record of it, against the surviving one.

        That the source gave two numbers, and that a name was a placeholder, is what the merge
        is there to end: neither stops it.
        """
        opened = await self._finder.open(conn, await records.members(conn, [kept, gone]))
        here = [o for o in opened if o.member.person_id == kept]
        there = [
            o for o in opened if o.member.person_id == gone and only in (None, o.member.record_id)
        ]
        judged = [self._judge_record(gone, record, here) for record in there] if here else []
        apart = await links.denied(conn, [o.member.record_id for o in here])
        ids = {o.member.record_id for o in there}
        vetoes = {veto for score in judged for veto in score.vetoes}
        return PersonScore(
            person_id=gone,
            pairs=tuple(pair for score in judged for pair in score.pairs),
            best=max((score.best for score in judged), default=0.0),
            mean=min((score.mean for score in judged), default=0.0),
            vetoes=tuple(
                v for v in Veto if v in vetoes and not v.is_lack and v is not Veto.SAME_AUTHORITY
            ),
            is_denied=any(not pair.isdisjoint(ids) for pair in apart),
        )

    def _judge_record(
        self, person_id: PersonId, record: Opened, others: Sequence[Opened]
    ) -> PersonScore:
        pairs = [
            self._matcher.pair(o.member.record_id, record.demographics, o.demographics)
            for o in others
        ]
        return judge_person(person_id, pairs, self._thresholds)

    def candidate(self, judged: PersonScore) -> Candidate:
        """The person that was judged, as a task proposes it."""
        return Candidate(
            person_id=judged.person_id,
            bits=round(judged.best, 2),
            grade=person_grade(judged, self._thresholds),
            vetoes=judged.vetoes,
        )

    async def _report_conflict(
        self, conn: AsyncConnection, survivor: Record, person_id: PersonId, actor: Actor
    ) -> SourceMerged:
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(conn, writes, DecisionKind.FLAG, actor)
        await self.ask(conn, writes, (survivor.record_id, person_id), (), recorded)
        await writes.send(conn)
        return SourceMerged(decision_id=recorded.id, is_stopped=True)

    async def ask(
        self,
        conn: AsyncConnection,
        writes: Writes,
        subject: tuple[SourceRecordId, PersonId],
        proposed: tuple[Candidate, ...],
        recorded: Recorded,
    ) -> None:
        """Ask a steward about what a source said of a record."""
        question = Question(
            kind=TaskKind.SOURCE_CONFLICT,
            record_id=subject[0],
            person_id=subject[1],
            candidates=proposed,
        )
        await self._review.open(conn, writes, question, recorded)

    async def _retire(
        self, conn: AsyncConnection, retired: str, survivor: str, actor: Actor
    ) -> None:
        await records.retire(conn, retired, survivor=survivor, now_us=actor.now_us)

    async def _retire_unknown(
        self,
        conn: AsyncConnection,
        survivor: Record,
        source_id: SourceId,
        identifier: SourceIdentifier,
        actor: Actor,
    ) -> SourceMerged:
        """Remember an identifier never seen, for the messages that may still name it."""
        writes = self._ledger.writes()
        writes.add(
            "source_record",
            id=self.record_id(source_id, identifier),
            source_id=source_id,
            authority_hash=self._ring.blind("authority", identifier.system),
            local_hash=self._ring.blind("local", source_id, identifier.system, identifier.value),
            version=0,
            received_us=actor.now_us,
            message_id=actor.message_id,
            norm_version=NORM_VERSION,
            content_hash="",
            is_active=False,
            replaced_by=survivor.record_id,
        )
        recorded = await self._ledger.decision(conn, writes, DecisionKind.SOURCE_MERGE, actor)
        await writes.send(conn)
        return SourceMerged(
            decision_id=recorded.id,
            survivor=survivor.record_id,
            retired=self.record_id(source_id, identifier),
        )


def _explained(record_id: SourceRecordId, judged: PersonScore) -> Explanation:
    content = {
        "person": judged.person_id,
        "bits": round(judged.best, 4),
        "mean": round(judged.mean, 4),
        "vetoes": [veto.value for veto in judged.vetoes],
        "held_apart": judged.is_denied,
    }
    return Explanation(record_id=record_id, content=content)
