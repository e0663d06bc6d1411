"""Decisions about identity taken back: persons, and what a source's merge or move had changed.

The ledger puts the persons right; here their resources follow, and what was moved between
records goes back: the content it had before, written as a new version under the record it was
filed under then. What a later message has touched since is left for a steward to look at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import AuditRecord
from hie.audit.repository import AuditLog
from hie.flow.corrections import Corrections
from hie.flow.overlays import KIND
from hie.flow.place import Placer
from hie.flow.placement import Origin, Placement
from hie.kernel.envelope import WriteMode
from hie.kernel.errors import Category, HieError
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
        root = await self._mpi.root_of(conn, decision_id)
        move = await self._log.move_of(conn, root)
        if move is not None and move.is_undone and root == decision_id:
            move = None  # what was left of it the last time; the rest is back
        is_again = move is not None and move.is_undone
        if move is not None and is_again and not await self._is_repeatable(conn, move):
            text = "a move of accounts or visits is not done again here: its source says it again"
            raise HieError(Category.BUSINESS_RULE, text)
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
            kept, touched = await self._put_back(conn, move, origin, actor, is_again=is_again)
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

    async def _is_repeatable(self, conn: AsyncConnection, move: Move) -> bool:
        """Whether a move that was undone can be done again: it changed Patients alone."""
        return all(item.type == "Patient" for item in await self._log.items(conn, move.decision_id))

    async def _put_back(
        self, conn: AsyncConnection, move: Move, origin: Origin, actor: Actor, *, is_again: bool
    ) -> tuple[tuple[Item, ...], frozenset[PersonId]]:
        """Put resources where they were, once the persons are; what stayed, and whose it was.

        Args:
            conn: open write transaction.
            move: what is undone, or done again.
            origin: the message that moved them.
            actor: who takes it back.
            is_again: the undo is undone: to what they were after the move.
        """
        await self._records_back(conn, move, actor, is_again=is_again)
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
            back.append(await self._as_it_was(conn, item, stored, is_again=is_again))
            left |= {PersonId(head.person_id)} if head.person_id else set()
        placed = await self._placer.place(conn, origin, [one for one in back if one])
        if is_again:
            await self._log.done_again(conn, move.decision_id)
        else:
            await self._log.undone(conn, move.decision_id, origin.now_us)
            kept += await self._redirected(conn, move)
        return tuple(kept), placed.persons | left

    async def _redirected(self, conn: AsyncConnection, move: Move) -> list[Item]:
        """What messages that named the retired number have filed under the survivor since."""
        if not (move.retired and move.survivor):
            return []
        retired, survivor = SourceRecordId(move.retired), SourceRecordId(move.survivor)
        messages = await self._mpi.redirected(conn, retired, survivor)
        return [
            Item(type=name, id=key, before=0, after=version, record=survivor)
            for name, key, version in await self._repository.written_by(conn, survivor, messages)
            if name != "Provenance"
        ]

    async def _records_back(
        self, conn: AsyncConnection, move: Move, actor: Actor, *, is_again: bool
    ) -> None:
        """Put the index's own rows of the records back."""
        if move.kind == KIND:
            said = replace(actor, message_id=MessageId(move.message_id))
            await self._mpi.overlays.restore(conn, move.decision_id, said, is_again=is_again)
        if not (move.retired and move.survivor):
            return
        retired, survivor = SourceRecordId(move.retired), SourceRecordId(move.survivor)
        if is_again:
            await self._mpi.retire(conn, retired, survivor, actor.now_us)
        else:
            await self._mpi.revive(conn, retired, survivor)

    async def _as_it_was(
        self,
        conn: AsyncConnection,
        item: Item,
        stored: Mapping[tuple[str, str], Stored],
        *,
        is_again: bool,
    ) -> Placement | None:
        """A resource as it was before a move, or after it, as hidden as it is now.

        None where that is gone.
        """
        version = item.after if is_again else item.before
        if not version:
            made = {"resourceType": item.type}
            return Placement(type=item.type, id=item.id, resource=made, mode=WriteMode.DELETE)
        was = await self._repository.as_it_was(conn, item.type, item.id, version, item.record)
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
