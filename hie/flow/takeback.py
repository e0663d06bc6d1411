"""Decisions about identity taken back: persons, and what a source's merge or move had changed.

The ledger puts the persons right; here their resources follow, and what was moved between
records goes back: the content it had before, written as a new version under the record it was
filed under then. What a later message has touched since is left for a steward to look at.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import AuditRecord
from hie.audit.repository import AuditLog
from hie.flow.corrections import Corrections
from hie.flow.place import Placer
from hie.flow.placement import Origin, Placement
from hie.kernel.envelope import WriteMode
from hie.kernel.ids import MessageId, PersonId, SourceId, SourceRecordId
from hie.store.loader import Stored
from hie.store.moved import Item, Move, MoveLog
from hie.store.repository import ResourceRepository
from mpi.model import Actor, Decided
from mpi.service import Mpi


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """What taking a decision back did.

    Attributes:
        decided: the new decision, inverse of the one taken back.
        persons: whose records changed.
        kept: resources a later message has touched since: left as they are.
        corrections: disclosures made while what parted now was one person's.
    """

    decided: Decided
    persons: frozenset[PersonId]
    kept: tuple[Item, ...] = ()
    corrections: int = 0


class TakeBack:
    """Takes decisions about identity back."""

    def __init__(
        self,
        mpi: Mpi,
        placer: Placer,
        repository: ResourceRepository,
        log: MoveLog,
        corrections: Corrections,
        audit: AuditLog,
    ) -> None:
        self._mpi = mpi
        self._placer = placer
        self._repository = repository
        self._log = log
        self._corrections = corrections
        self._audit = audit

    async def take_back(self, conn: AsyncConnection, decision_id: int, actor: Actor) -> TakenBack:
        """Take a decision back, in the caller's transaction; the caller audits it.

        Args:
            conn: open write transaction.
            decision_id: what is taken back.
            actor: who takes it back, and why.

        Raises:
            HieError: NOT_FOUND, CONFLICT when it is taken back already, BUSINESS_RULE for a
                decision that cannot be.
        """
        move = await self._log.move_of(conn, decision_id)
        decided = await self._mpi.steward.undo(conn, decision_id, actor)
        origin = Origin(
            source_id=SourceId(move.source_id if move else ""),
            message_id=MessageId(move.message_id if move else 0),
            now_us=actor.now_us,
        )
        if decided.kept:
            await self._mpi.sides.carry_on(conn, decision_id, decided.decision_id)
        await self._placer.move(conn, origin, decided.moves, decided.decision_id, is_undo=True)
        reviewed = await self._mpi.sides.persons(conn, decision_id)
        await self._placer.recompile(conn, reviewed)
        persons = {*decided.persons, *reviewed}
        kept: tuple[Item, ...] = ()
        if move is not None:
            kept, touched = await self._put_back(conn, move, origin)
            persons |= touched
        found = await self._corrections.find(conn, decided.decision_id, decided.moves)
        return TakenBack(decided=decided, persons=frozenset(persons), kept=kept, corrections=found)

    async def by_source(self, conn: AsyncConnection, decision_id: int, actor: Actor) -> TakenBack:
        """The same where a source takes its own word back; audited for each person."""
        taken = await self.take_back(conn, decision_id, actor)
        records = [
            AuditRecord(
                recorded_us=actor.now_us,
                action="U",
                subtype="unmerge",
                person_id=person,
                user=actor.name,
                request_id=str(actor.message_id or ""),
                detail={"decision": taken.decided.decision_id, "reason": actor.reason},
            )
            for person in sorted(taken.persons)
        ]
        await self._audit.append(conn, records)
        return taken

    async def moves(self, conn: AsyncConnection, source_id: str, limit: int) -> list[Move]:
        """What sources merged and moved, the newest first; of one source where one is named."""
        return await self._log.moves(conn, source_id, limit)

    async def _put_back(
        self, conn: AsyncConnection, move: Move, origin: Origin
    ) -> tuple[tuple[Item, ...], frozenset[PersonId]]:
        """Put resources back, once the persons are as they were; what stayed, whose it was."""
        if move.retired and move.survivor:
            retired, survivor = SourceRecordId(move.retired), SourceRecordId(move.survivor)
            await self._mpi.revive(conn, retired, survivor)
        items = await self._log.items(conn, move.decision_id)
        heads = await self._repository.versions_of(conn, [(i.type, i.id) for i in items])
        stored = await self._repository.load(conn, heads)
        kept, back, left = [], [], set()
        for item in items:
            head = heads.get((item.type, item.id))
            # The message itself may have changed it after the move; another one may not.
            if head is None or head.message_id != move.message_id:
                kept.append(item)
                continue
            back.append(await self._before(conn, item, stored))
            left |= {PersonId(head.person_id)} if head.person_id else set()
        placed = await self._placer.place(conn, origin, [one for one in back if one])
        await self._log.undone(conn, move.decision_id, origin.now_us)
        return tuple(kept), placed.persons | left

    async def _before(
        self, conn: AsyncConnection, item: Item, stored: Mapping[tuple[str, str], Stored]
    ) -> Placement | None:
        """A resource as it was before a move, as hidden as it is; None where that is gone."""
        if not item.before:
            made = {"resourceType": item.type}
            return Placement(type=item.type, id=item.id, resource=made, mode=WriteMode.DELETE)
        was = await self._repository.as_it_was(conn, item.type, item.id, item.before, item.record)
        if not was:
            return None
        now = stored.get((item.type, item.id))
        return Placement(
            type=item.type,
            id=item.id,
            resource=was,
            owner=SourceRecordId(item.record),
            label_mask=now.label_mask if now else 0,
            is_rewritten=True,
        )
