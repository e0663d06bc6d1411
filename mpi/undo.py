"""Decisions about identity taken back, also weeks later, and also a taking back itself.

Every record that a decision moved returns to where it was, unless a later decision moved it
again: that one is left alone, and named, for a steward to look at.
"""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId, SourceRecordId
from mpi.ledger import Ledger, Recorded
from mpi.model import Actor, Decided, DecisionKind, PersonMove
from mpi.repository import links, tasks
from mpi.repository.links import Link
from mpi.repository.writes import Writes

_MERGES = frozenset({DecisionKind.MERGE.value, DecisionKind.SOURCE_MERGE.value})


class Undoing:
    """Takes decisions back."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def undo(self, conn: AsyncConnection, decision_id: int, actor: Actor) -> Decided:
        """Take a decision back: every record it moved returns, unless it was moved again since.

        What a merge had joined is held apart from then on. A decision of which something was
        left alone can be taken back once more when that stands where the decision put it.

        Args:
            conn: open write transaction.
            decision_id: the decision to take back.
            actor: who takes it back, and why.

        Raises:
            HieError: NOT_FOUND for an unknown decision; CONFLICT when it is taken back
                already; BUSINESS_RULE when it is a record's first.
        """
        kind = await self._kind(conn, decision_id)
        ended = await links.closed_by(conn, decision_id)
        records = [link.record_id for link in ended]
        await self._ledger.hold_still(conn, records, [], besides={o.person_id for o in ended})
        past = await links.history(conn, records)
        standing = {old: _standing(past[old.record_id], old) for old in ended}
        back = {old: now for old, now in standing.items() if now is not None}
        if not back and await links.is_undone(conn, decision_id):
            raise HieError(Category.CONFLICT, "this decision is taken back already")
        undone = DecisionKind.UNMERGE if kind in _MERGES else DecisionKind.UNDO
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(conn, writes, undone, actor, inverse_of=decision_id)
        moved = await self._restore(conn, writes, back, recorded)
        await links.close_assertions(conn, decision_id, by=recorded.id, now_us=recorded.now_us)
        await tasks.reopen(conn, decision_id)
        await self._answer_joined(conn, moved, recorded)
        if undone is DecisionKind.UNMERGE:
            await self._hold_apart(conn, writes, moved, recorded)
        self._ledger.tell_moves(writes, recorded, moved)
        await writes.send(conn)
        return Decided(
            decision_id=recorded.id,
            kind=undone,
            moves=moved,
            persons=tuple(sorted({p for m in moved for p in (m.from_person, m.to_person)})),
            kept=tuple(sorted(old.record_id for old in ended if old not in back)),
            arrived=await self._arrived(conn, decision_id, moved),
        )

    async def _arrived(
        self, conn: AsyncConnection, decision_id: int, moved: Collection[PersonMove]
    ) -> tuple[SourceRecordId, ...]:
        """Records that were first heard of since the decision, and stay where others leave."""
        found: list[SourceRecordId] = []
        for person in sorted({move.from_person for move in moved}):
            staying = [link.record_id for link in await links.links_of_person(conn, person)]
            past = await links.history(conn, staying)
            found += [r for r in staying if past[r][0].decision_id > decision_id]
        return tuple(found)

    async def _restore(
        self,
        conn: AsyncConnection,
        writes: Writes,
        back: Mapping[Link, Link],
        recorded: Recorded,
    ) -> tuple[PersonMove, ...]:
        for old, now in back.items():
            self._ledger.restore_link(writes, old, now, recorded)
        moved = [
            PersonMove(
                source_record_id=old.record_id, from_person=now.person_id, to_person=old.person_id
            )
            for old, now in back.items()
        ]
        return await self._ledger.switch(conn, writes, back.values(), moved, recorded)

    async def _hold_apart(
        self,
        conn: AsyncConnection,
        writes: Writes,
        moved: Collection[PersonMove],
        recorded: Recorded,
    ) -> None:
        """Keep the records that came out of a merge apart from those they were with."""
        for person in sorted({PersonId(move.from_person) for move in moved}):
            here = [m.source_record_id for m in moved if m.from_person == person]
            left = [link.record_id for link in await links.links_of_person(conn, person)]
            await self._ledger.hold_apart(conn, writes, here, left, recorded)

    async def _answer_joined(
        self, conn: AsyncConnection, moved: Collection[PersonMove], recorded: Recorded
    ) -> None:
        """Close what asked whether two persons are one, where they are again."""
        for gone, kept in {(m.from_person, m.to_person) for m in moved}:
            if not await links.links_of_person(conn, gone):
                answered = await tasks.between(conn, [gone], [kept])
                await tasks.close(conn, answered, decision_id=recorded.id, now_us=recorded.now_us)

    async def _kind(self, conn: AsyncConnection, decision_id: int) -> str:
        kind = await links.decision_kind(conn, decision_id)
        if kind is None:
            raise HieError(Category.NOT_FOUND, "there is no such decision")
        if kind in (DecisionKind.NEW.value, DecisionKind.LINK.value):
            text = "a record's first decision cannot be taken back: move the record instead"
            raise HieError(Category.BUSINESS_RULE, text)
        if kind == DecisionKind.OVERLAY_HOLD.value:
            text = "that something was held back is not taken back: decide its task"
            raise HieError(Category.BUSINESS_RULE, text)
        return kind


def _standing(past: Sequence[Link], ended: Link) -> Link | None:
    """A record's open link, if it is the one opened in place of the link that a decision ended.

    It still is that one after later decisions were taken back: what an undo opens again is the
    link it was.
    """
    place = next(n for n, link in enumerate(past) if link.id == ended.id)
    opened, now = past[place + 1], past[-1]
    return now if now.closed_by is None and now.first_id == opened.first_id else None
