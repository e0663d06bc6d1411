"""What identity stewards decide: each one decision, each undoable."""

from collections.abc import Collection, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId, SourceRecordId
from mpi.ledger import Ledger, Recorded
from mpi.levels import MatchGrade
from mpi.model import Actor, Candidate, Decided, DecisionKind, PersonMove, Question, TaskKind
from mpi.repository import links, tasks
from mpi.repository.links import Link
from mpi.repository.writes import Writes
from mpi.review import ReviewQueue
from mpi.undo import Undoing


class Stewardship:
    """Carries out the decisions of stewards.

    Every function takes the open connection of a write transaction, and an `Actor` whose name
    is the steward's; clinical rows must follow the moves that it returns.
    """

    def __init__(self, ledger: Ledger, review: ReviewQueue) -> None:
        self._ledger = ledger
        self._review = review
        self._undoing = Undoing(ledger)

    async def link(
        self, conn: AsyncConnection, record_id: SourceRecordId, person_id: PersonId, actor: Actor
    ) -> Decided:
        """Move a record to a person; a person left without records redirects there.

        Raises:
            HieError: NOT_FOUND for an unknown record or person; CONFLICT when it is there.
        """
        (target,) = await self._ledger.hold_still(conn, [record_id], [person_id])
        link = await self._link_of(conn, record_id)
        if link.person_id == target:
            raise HieError(Category.CONFLICT, "the record belongs to this person already")
        return await self._join(conn, DecisionKind.RELINK, [link], target, actor)

    async def merge(
        self, conn: AsyncConnection, kept: PersonId, gone: PersonId, actor: Actor
    ) -> Decided:
        """Make two persons one; the id of the second redirects to the first.

        Raises:
            HieError: NOT_FOUND for an unknown person; CONFLICT when they are one already.
        """
        kept, gone = await self._ledger.hold_still(conn, [], [kept, gone])
        if kept == gone:
            raise HieError(Category.CONFLICT, "the two ids are one person already")
        moved = await links.links_of_person(conn, gone)
        return await self._join(conn, DecisionKind.MERGE, moved, kept, actor)

    async def unlink(
        self, conn: AsyncConnection, record_id: SourceRecordId, actor: Actor
    ) -> Decided:
        """Give a record a person of its own, and keep it apart from the records it was with.

        It keeps the person's id where the others came to it by a merge.

        Raises:
            HieError: NOT_FOUND for an unknown record; CONFLICT when it is alone already.
        """
        await self._ledger.hold_still(conn, [record_id], [])
        link = await self._link_of(conn, record_id)
        others = [o for o in await links.links_of_person(conn, link.person_id) if o != link]
        if not others:
            raise HieError(Category.CONFLICT, "the record is its person's only one")
        return await self._part(conn, DecisionKind.UNLINK, [link], others, actor)

    async def split(
        self,
        conn: AsyncConnection,
        person_id: PersonId,
        records: Collection[SourceRecordId],
        actor: Actor,
    ) -> Decided:
        """Give some records of a person a new person together, apart from those that stay.

        They keep the person's id where those that stay came by a merge.

        Raises:
            HieError: NOT_FOUND for an unknown person; CONFLICT when a record is another's, or
                no record or none but these would stay.
        """
        (person,) = await self._ledger.hold_still(conn, records, [person_id])
        there = await links.links_of_person(conn, person)
        leaving = [link for link in there if link.record_id in records]
        staying = [link for link in there if link.record_id not in records]
        if not leaving or len(leaving) != len(set(records)):
            raise HieError(Category.CONFLICT, "a record to split off is not this person's")
        if not staying:
            raise HieError(Category.CONFLICT, "a split leaves at least one record behind")
        return await self._part(conn, DecisionKind.SPLIT, leaving, staying, actor)

    async def reject(
        self, conn: AsyncConnection, one: PersonId, other: PersonId, actor: Actor
    ) -> Decided:
        """Two persons are two humans: close the questions about them for good.

        Raises:
            HieError: NOT_FOUND for an unknown person; CONFLICT when the two are one.
        """
        sides = await self._ledger.hold_still(conn, [], [one, other])
        if sides[0] == sides[1]:
            raise HieError(Category.CONFLICT, "the two ids are one person: unmerge them first")
        here, there = [await links.links_of_person(conn, person) for person in sides]
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(conn, writes, DecisionKind.REJECT, actor)
        await self._ledger.hold_apart(
            conn, writes, [o.record_id for o in here], [o.record_id for o in there], recorded
        )
        await self._close_between(conn, sides[:1], sides[1:], recorded)
        await writes.send(conn)
        return _decided(recorded, persons=sides)

    async def confirm(
        self, conn: AsyncConnection, record_id: SourceRecordId, actor: Actor
    ) -> Decided:
        """The record belongs where it is: close its questions, and ask none of the kind again.

        Raises:
            HieError: NOT_FOUND for an unknown record.
        """
        await self._ledger.hold_still(conn, [record_id], [])
        link = await self._link_of(conn, record_id)
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(conn, writes, DecisionKind.CONFIRM, actor)
        await self._ledger.move(conn, writes, {link: link.person_id}, recorded)
        answered = await tasks.about(conn, record_id)
        await tasks.close(conn, answered, decision_id=recorded.id, now_us=recorded.now_us)
        return _decided(recorded, persons=[link.person_id])

    async def undo(self, conn: AsyncConnection, decision_id: int, actor: Actor) -> Decided:
        """Take a decision back; what a merge had joined is held apart from then on.

        A record that came while two persons were one stays with the one that kept the id, and
        is asked about: it may be the other's.

        Raises:
            HieError: NOT_FOUND, CONFLICT when it is taken back already, BUSINESS_RULE for a
                decision that cannot be.
        """
        done = await self._undoing.undo(conn, decision_id, actor)
        if done.arrived:
            await self._ask_about(conn, done, actor)
        return done

    async def _ask_about(self, conn: AsyncConnection, done: Decided, actor: Actor) -> None:
        """Ask whose the records are that arrived while those that parted were one person's."""
        writes = self._ledger.writes()
        recorded = Recorded(id=done.decision_id, kind=done.kind, now_us=actor.now_us)
        owners = await links.links_of_records(conn, done.arrived)
        for link in owners:
            others = {m.to_person for m in done.moves if m.from_person == link.person_id}
            question = Question(
                kind=TaskKind.DRIFT,
                record_id=link.record_id,
                person_id=link.person_id,
                candidates=tuple(
                    Candidate(person_id=other, bits=0.0, grade=MatchGrade.POSSIBLE)
                    for other in sorted(others)
                ),
            )
            await self._review.open(conn, writes, question, recorded)
        await writes.send(conn)

    async def _join(
        self,
        conn: AsyncConnection,
        kind: DecisionKind,
        moving: Collection[Link],
        target: PersonId,
        actor: Actor,
    ) -> Decided:
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(conn, writes, kind, actor)
        left = {link.person_id for link in moving}
        await self._close_between(conn, left, [target], recorded)
        there = [link.record_id for link in await links.links_of_person(conn, target)]
        await links.end_assertions_between(
            conn, [link.record_id for link in moving], there, by=recorded.id, now_us=recorded.now_us
        )
        moved = await self._ledger.move(conn, writes, dict.fromkeys(moving, target), recorded)
        return await self._finish(conn, writes, recorded, moved)

    async def _part(
        self,
        conn: AsyncConnection,
        kind: DecisionKind,
        leaving: Sequence[Link],
        staying: Sequence[Link],
        actor: Actor,
    ) -> Decided:
        """Give records a new person, and hold them apart from those they were with.

        Where only records that came by a merge would stay, these get the new person instead:
        an id never comes to mean another human.
        """
        if await self._are_newcomers(conn, staying) and not await self._are_newcomers(
            conn, leaving
        ):
            leaving, staying = staying, leaving
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(conn, writes, kind, actor)
        target = self._ledger.new_person(writes, actor.now_us)
        moved = await self._ledger.move(conn, writes, dict.fromkeys(leaving, target), recorded)
        here, there = [link.record_id for link in leaving], [link.record_id for link in staying]
        await self._ledger.hold_apart(conn, writes, here, there, recorded)
        return await self._finish(conn, writes, recorded, moved)

    async def _are_newcomers(self, conn: AsyncConnection, found: Sequence[Link]) -> bool:
        """Whether all these records had another person before."""
        past = await links.history(conn, [link.record_id for link in found])
        return all(past[link.record_id][0].person_id != link.person_id for link in found)

    async def _finish(
        self,
        conn: AsyncConnection,
        writes: Writes,
        recorded: Recorded,
        moved: Sequence[PersonMove],
    ) -> Decided:
        self._ledger.tell_moves(writes, recorded, moved)
        await writes.send(conn)
        return _decided(recorded, moves=moved)

    async def _close_between(
        self,
        conn: AsyncConnection,
        here: Collection[PersonId],
        there: Collection[PersonId],
        recorded: Recorded,
    ) -> None:
        answered = await tasks.between(conn, here, there)
        await tasks.close(conn, answered, decision_id=recorded.id, now_us=recorded.now_us)

    async def _link_of(self, conn: AsyncConnection, record_id: SourceRecordId) -> Link:
        found = await links.links_of_records(conn, [record_id])
        if not found:
            raise HieError(Category.NOT_FOUND, "there is no such record")
        return found[0]


def _decided(
    recorded: Recorded,
    *,
    moves: Sequence[PersonMove] = (),
    persons: Sequence[PersonId] = (),
) -> Decided:
    touched = {p for move in moves for p in (move.from_person, move.to_person)}
    return Decided(
        decision_id=recorded.id,
        kind=recorded.kind,
        moves=tuple(moves),
        persons=tuple(sorted({*touched, *persons})),
    )
