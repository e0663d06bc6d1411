"""What else a source says of two numbers: one human, another human's, perhaps one (not).

A merge of persons (A30, A39, A46, A48) and a move of a record (A43) pass the same guard as a
merge of records. A link and its withdrawal (A24, A37) change nothing: they ask a steward.
Spec: HL7 v2.8.2 chapter 3, sections 3.3.24, 3.3.30, 3.3.37, 3.3.39, 3.3.43, 3.3.46
"""

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.envelope import MergeKind, SourceMerge
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId, SourceId, SourceRecordId
from mpi.decide import PersonScore
from mpi.ledger import Ledger
from mpi.levels import MatchGrade
from mpi.merge import SourceMerges
from mpi.model import Actor, Candidate, DecisionKind, Question, Record, SourceMerged, TaskKind
from mpi.repository import links, records, tasks
from mpi.review import ReviewQueue


class SourceStatements:
    """Carries out what sources say of two numbers."""

    def __init__(self, ledger: Ledger, review: ReviewQueue, merges: SourceMerges) -> None:
        self._ledger = ledger
        self._review = review
        self._merges = merges

    async def carry_out(
        self, conn: AsyncConnection, said: SourceMerge, source_id: SourceId, actor: Actor
    ) -> SourceMerged:
        """What a statement about patients does; those about visits are not the index's.

        Raises:
            HieError: NOT_FOUND when the surviving identifier of a merge is not known yet.
        """
        if said.kind is MergeKind.PERSON:
            return await self._persons(conn, said, source_id, actor)
        if said.kind is MergeKind.MOVE_PATIENT:
            return await self._move(conn, said, source_id, actor)
        if said.kind in (MergeKind.LINK, MergeKind.UNLINK):
            return await self._link(conn, said, source_id, actor)
        return await self._merges.merge(conn, said, source_id, actor)

    async def revive(
        self, conn: AsyncConnection, retired: SourceRecordId, survivor: SourceRecordId
    ) -> None:
        """Let a record that was merged away stand for itself again; part of an undo."""
        record = await records.find_record(conn, retired)
        if record is None or record.replaced_by != survivor:
            return  # merged elsewhere since
        if record.person_id is None:  # known by its number alone: as if never heard of
            await records.forget_record(conn, retired)
            return
        await records.update_record(conn, retired, is_active=True, replaced_by=None)
        await records.reopen_xrefs(conn, retired, replaced_by=survivor)

    async def _persons(
        self, conn: AsyncConnection, said: SourceMerge, source_id: SourceId, actor: Actor
    ) -> SourceMerged:
        """Join the persons of two records that both stay; retire a record of that number."""
        gone_id = self._merges.record_id(source_id, said.retired)
        if await records.find_record(conn, gone_id) is not None:
            return await self._merges.merge(conn, said, source_id, actor)
        kept = await self._merges.find(conn, source_id, said.survivor)
        if kept is None or kept.person_id is None:
            return SourceMerged()
        gone = await self._merges.find(conn, source_id, said.retired, besides=kept.record_id)
        if gone is None or gone.person_id in (None, kept.person_id):
            return SourceMerged()
        return await self._merges.unite(conn, kept, PersonId(str(gone.person_id)), actor)

    async def _move(
        self, conn: AsyncConnection, said: SourceMerge, source_id: SourceId, actor: Actor
    ) -> SourceMerged:
        """Give a record to the person that another number of the source names.

        A number nobody has sent yet names nobody: then the record leaves its person all the
        same, because the source says that it is another's, and gets one of its own.
        """
        record = await self._merges.find(conn, source_id, said.retired)
        if record is None or record.person_id is None:
            text = "the record that is to move is not known yet"
            raise HieError(Category.NOT_FOUND, text)
        target = await self._merges.find(conn, source_id, said.survivor, besides=record.record_id)
        if target is None or target.record_id == record.record_id or target.person_id is None:
            return await self._set_free(conn, record, record.person_id, actor)
        if target.person_id == record.person_id:
            return SourceMerged()
        judged = await self._merges.judge(
            conn, target.person_id, record.person_id, only=record.record_id
        )
        if judged.vetoes or judged.is_denied:
            return await self._ask_about(conn, target, judged, actor)
        return await self._relink(conn, record, target.person_id, actor)

    async def _set_free(
        self, conn: AsyncConnection, record: Record, person_id: PersonId, actor: Actor
    ) -> SourceMerged:
        others = [
            link
            for link in await links.links_of_person(conn, person_id)
            if link.record_id != record.record_id
        ]
        return await self._relink(conn, record, None, actor) if others else SourceMerged()

    async def _relink(
        self, conn: AsyncConnection, record: Record, target: PersonId | None, actor: Actor
    ) -> SourceMerged:
        """Close the record's link and open it elsewhere, apart from those it was with."""
        await self._ledger.hold_still(conn, [record.record_id], [target] if target else [])
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(conn, writes, DecisionKind.RELINK, actor)
        goal = target or self._ledger.new_person(writes, actor.now_us)
        (link,) = await links.links_of_records(conn, [record.record_id])
        before = await links.links_of_person(conn, link.person_id)
        moved = await self._ledger.move(conn, writes, {link: goal}, recorded)
        left = [other.record_id for other in before if other.record_id != record.record_id]
        await self._ledger.hold_apart(conn, writes, [record.record_id], left, recorded)
        self._ledger.tell_moves(writes, recorded, moved)
        await writes.send(conn)
        return SourceMerged(decision_id=recorded.id, moves=moved)

    async def _ask_about(
        self, conn: AsyncConnection, target: Record, judged: PersonScore, actor: Actor
    ) -> SourceMerged:
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(conn, writes, DecisionKind.FLAG, actor)
        subject = (target.record_id, PersonId(str(target.person_id)))
        await self._merges.ask(conn, writes, subject, (self._merges.candidate(judged),), recorded)
        await writes.send(conn)
        return SourceMerged(decision_id=recorded.id, is_stopped=True)

    async def _link(
        self, conn: AsyncConnection, said: SourceMerge, source_id: SourceId, actor: Actor
    ) -> SourceMerged:
        """Ask whether two persons are one, or one is two; nothing changes by itself."""
        one = await self._merges.find(conn, source_id, said.survivor)
        other = await self._merges.find(conn, source_id, said.retired)
        if one is None or other is None or one.person_id is None or other.person_id is None:
            raise HieError(Category.NOT_FOUND, "a patient of the link is not known yet")
        is_one = one.person_id == other.person_id
        if said.kind is MergeKind.LINK and not is_one:
            question = _question(TaskKind.SOURCE_LINK, None, one.person_id, other.person_id)
        elif said.kind is MergeKind.UNLINK and is_one and one.record_id != other.record_id:
            question = _question(
                TaskKind.SOURCE_UNLINK, other.record_id, one.person_id, one.person_id
            )
        else:
            return await self._withdraw(conn, said, one.person_id, other.person_id, actor)
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(conn, writes, DecisionKind.FLAG, actor)
        await self._review.open(conn, writes, question, recorded)
        await writes.send(conn)
        return SourceMerged(decision_id=recorded.id)

    async def _withdraw(
        self,
        conn: AsyncConnection,
        said: SourceMerge,
        one: PersonId,
        other: PersonId,
        actor: Actor,
    ) -> SourceMerged:
        """Take the question back that an A24 asked; a link that holds is none to ask about."""
        if said.kind is MergeKind.LINK:
            return SourceMerged()
        text = f"{TaskKind.SOURCE_LINK.value}:{':'.join(sorted((one, other)))}"
        asked = await tasks.open_task(conn, text)
        if asked is None:
            return SourceMerged()
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(conn, writes, DecisionKind.FLAG, actor)
        await tasks.close(conn, [asked], decision_id=recorded.id, now_us=recorded.now_us)
        await writes.send(conn)
        return SourceMerged(decision_id=recorded.id)


def _question(
    kind: TaskKind, record_id: SourceRecordId | None, person_id: PersonId, proposed: PersonId
) -> Question:
    candidate = Candidate(person_id=proposed, bits=0.0, grade=MatchGrade.POSSIBLE)
    return Question(kind=kind, record_id=record_id, person_id=person_id, candidates=(candidate,))
