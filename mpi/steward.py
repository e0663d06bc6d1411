"""What identity stewards decide: each one decision, each undoable."""

from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId, SourceRecordId
from mpi.ledger import Ledger, Recorded
from mpi.model import Actor, DecisionKind, LinkState, PersonMove, Undone
from mpi.repository import links, tasks
from mpi.repository.links import Link
from mpi.repository.writes import Writes


class Stewardship:
    """Carries out the decisions of stewards.

    Every function takes the open connection of a write transaction, and an `Actor` whose name
    is the steward's; clinical rows must follow the moves that it returns.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def link(
        self, conn: AsyncConnection, record_id: SourceRecordId, person_id: PersonId, actor: Actor
    ) -> tuple[PersonMove, ...]:
        """Move a record to a person; a person left without records redirects there.

        Raises:
            HieError: NOT_FOUND for an unknown record or person; CONFLICT when it is there.
        """
        target = await self._ledger.resolve(conn, person_id)
        link = await self._link_of(conn, record_id)
        if link.person_id == target:
            raise HieError(Category.CONFLICT, "the record belongs to this person already")
        return await self._join(conn, DecisionKind.RELINK, [link], target, actor)

    async def merge(
        self, conn: AsyncConnection, kept: PersonId, gone: PersonId, actor: Actor
    ) -> tuple[PersonMove, ...]:
        """Make two persons one; the id of the second redirects to the first.

        Raises:
            HieError: NOT_FOUND for an unknown person; CONFLICT when they are one already.
        """
        kept, gone = await self._ledger.resolve(conn, kept), await self._ledger.resolve(conn, gone)
        if kept == gone:
            raise HieError(Category.CONFLICT, "the two ids are one person already")
        moved = await links.links_of_person(conn, gone)
        return await self._join(conn, DecisionKind.MERGE, moved, kept, actor)

    async def unlink(
        self, conn: AsyncConnection, record_id: SourceRecordId, actor: Actor
    ) -> tuple[PersonMove, ...]:
        """Give a record a person of its own, and keep it apart from the records it was with.

        Raises:
            HieError: NOT_FOUND for an unknown record; CONFLICT when it is alone already.
        """
        link = await self._link_of(conn, record_id)
        others = [o for o in await links.links_of_person(conn, link.person_id) if o != link]
        if not others:
            raise HieError(Category.CONFLICT, "the record is its person's only one")
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(conn, writes, DecisionKind.UNLINK, actor)
        target = self._ledger.new_person(writes, actor.now_us)
        moved = await self._ledger.move(conn, writes, {link: target}, recorded)
        apart = [other.record_id for other in others]
        await self._ledger.hold_apart(conn, writes, [record_id], apart, recorded)
        await self._finish(conn, writes, recorded, moved)
        return moved

    async def reject(
        self, conn: AsyncConnection, one: PersonId, other: PersonId, actor: Actor
    ) -> int:
        """Two persons are two humans: close the questions about them for good.

        Returns:
            The decision, for undoing it.
        """
        sides = [await self._ledger.resolve(conn, person) for person in (one, other)]
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
        return recorded.id

    async def confirm(self, conn: AsyncConnection, record_id: SourceRecordId, actor: Actor) -> int:
        """The record belongs where it is: close its questions; the decision's id."""
        link = await self._link_of(conn, record_id)
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(conn, writes, DecisionKind.CONFIRM, actor)
        await links.set_state(conn, link, LinkState.CONFIRMED)
        answered = await tasks.about(conn, record_id)
        await tasks.close(conn, answered, decision_id=recorded.id, now_us=recorded.now_us)
        await writes.send(conn)
        return recorded.id

    async def undo(self, conn: AsyncConnection, decision_id: int, actor: Actor) -> Undone:
        """Take a decision back; what a merge had joined is held apart from then on.

        Raises:
            HieError: NOT_FOUND, CONFLICT when it is taken back already, BUSINESS_RULE for a
                decision that cannot be.
        """
        return await self._ledger.undo(conn, decision_id, actor)

    async def _join(
        self,
        conn: AsyncConnection,
        kind: DecisionKind,
        moving: Collection[Link],
        target: PersonId,
        actor: Actor,
    ) -> tuple[PersonMove, ...]:
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(conn, writes, kind, actor)
        left = {link.person_id for link in moving}
        await self._close_between(conn, left, [target], recorded)
        there = [link.record_id for link in await links.links_of_person(conn, target)]
        await links.end_assertions_between(
            conn, [link.record_id for link in moving], there, by=recorded.id, now_us=recorded.now_us
        )
        moved = await self._ledger.move(conn, writes, dict.fromkeys(moving, target), recorded)
        await self._finish(conn, writes, recorded, moved)
        return moved

    async def _finish(
        self,
        conn: AsyncConnection,
        writes: Writes,
        recorded: Recorded,
        moved: Collection[PersonMove],
    ) -> None:
        self._ledger.tell_moves(writes, recorded, moved)
        await writes.send(conn)

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
