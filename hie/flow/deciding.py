"""One decision of a steward carried out, inside a transaction of the caller's."""

from collections.abc import Iterable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import AuditRecord
from hie.audit.repository import AuditLog
from hie.flow.corrections import Corrections
from hie.flow.decisions import (
    Confirm,
    Done,
    Link,
    Merge,
    Overlay,
    Reject,
    Request,
    ReviewConsents,
    Split,
    Steward,
    Undo,
    Unlink,
)
from hie.flow.overlays import OverlayDecisions
from hie.flow.place import Placer
from hie.flow.placement import Origin
from hie.flow.takeback import TakeBack
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import MessageId, PersonId, SourceId
from hie.store.repository import ResourceRepository
from mpi.model import Actor, Decided, DecisionKind
from mpi.service import Mpi

#: Lifecycle code of the audit event, by what was decided.
_SUBTYPES = {
    DecisionKind.MERGE: "merge",
    DecisionKind.RELINK: "link",
    DecisionKind.UNLINK: "unlink",
    DecisionKind.SPLIT: "unlink",
    DecisionKind.UNMERGE: "unmerge",
    DecisionKind.UNDO: "restore",
    DecisionKind.OVERLAY_ACCEPT: "amend",
    DecisionKind.REJECT: "attest",
    DecisionKind.OVERLAY_REFUSE: "attest",
    DecisionKind.CONSENT_REVIEW: "verify",
    DecisionKind.CONFIRM: "verify",
}


class Deciding:
    """Carries out requests of stewards: the ledger first, then all that follows from it."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once, in services.py
        self,
        mpi: Mpi,
        placer: Placer,
        takeback: TakeBack,
        overlays: OverlayDecisions,
        repository: ResourceRepository,
        corrections: Corrections,
        audit: AuditLog,
    ) -> None:
        self._mpi = mpi
        self._placer = placer
        self._takeback = takeback
        self._repository = repository
        self._overlays = overlays
        self._corrections = corrections
        self._audit = audit

    async def carry_out(
        self,
        conn: AsyncConnection,
        steward: Steward,
        request: Request,
        now_us: int,
        batch_id: int | None = None,
    ) -> Done:
        """Do what a steward asks for; nothing of it is stored unless the caller commits.

        Raises:
            HieError: NOT_FOUND for what is unknown; CONFLICT where the decision makes no
                sense any more; BUSINESS_RULE where it may not be taken back.
        """
        actor = steward.actor(now_us, batch_id)
        if request.task is not None:
            await self._mpi.review.require_open(conn, request.task, steward.name)
        if isinstance(request, Undo):
            done = await self._undo(conn, request, actor)
        else:
            done = await self._decide(conn, request, actor)
        if request.task is not None:
            await self._mpi.review.close(conn, request.task, done.decision_id, now_us)
        await self._audit.append(conn, list(_records(steward, request, done, now_us)))
        return done

    async def _decide(self, conn: AsyncConnection, request: Request, actor: Actor) -> Done:
        decided = await self._decided(conn, request, actor)
        origin = Origin(source_id=SourceId(""), message_id=MessageId(0), now_us=actor.now_us)
        resources = await self._resources(conn, decided)
        await self._placer.move(conn, origin, decided.moves, decided.decision_id)
        if isinstance(request, ReviewConsents):
            await self._placer.recompile(conn, decided.persons)
        return Done(
            decision_id=decided.decision_id,
            kind=decided.kind,
            persons=decided.persons,
            moves=decided.moves,
            resources=resources,
            corrections=await self._corrections.find(conn, decided.decision_id, decided.moves),
        )

    async def _decided(self, conn: AsyncConnection, request: Request, actor: Actor) -> Decided:
        do = self._mpi.steward
        match request:
            case Merge():
                return await do.merge(conn, request.kept, request.gone, actor)
            case Link():
                return await do.link(conn, request.record, request.person, actor)
            case Unlink():
                return await do.unlink(conn, request.record, actor)
            case Split():
                return await do.split(conn, request.person, request.records, actor)
        return await self._answered(conn, request, actor)

    async def _answered(self, conn: AsyncConnection, request: Request, actor: Actor) -> Decided:
        """What moves no record."""
        do = self._mpi.steward
        match request:
            case Reject():
                return await do.reject(conn, request.one, request.other, actor)
            case Confirm():
                return await do.confirm(conn, request.record, actor)
            case Overlay():
                return await self._overlays.decide(
                    conn, request.task, actor, is_accepted=request.is_accepted
                )
            case ReviewConsents():
                return await self._mpi.sides.review(conn, request.decision, actor)
        raise HieError(Category.INVALID, "no such kind of decision")

    async def _undo(self, conn: AsyncConnection, request: Undo, actor: Actor) -> Done:
        taken = await self._takeback.take_back(conn, request.decision, actor)
        return Done(
            decision_id=taken.decided.decision_id,
            kind=taken.decided.kind,
            persons=tuple(sorted(taken.persons)),
            moves=taken.decided.moves,
            resources=await self._resources(conn, taken.decided),
            kept=taken.decided.kept,
            arrived=taken.decided.arrived,
            left=taken.kept,
            corrections=taken.corrections,
        )

    async def _resources(self, conn: AsyncConnection, decided: Decided) -> dict[str, int]:
        moved = [move.source_record_id for move in decided.moves]
        return await self._repository.count_of_records(conn, moved)


def _records(steward: Steward, request: Request, done: Done, now_us: int) -> Iterable[AuditRecord]:
    """One audit event for each person the decision touched."""
    detail: dict[str, object] = {
        "decision": done.decision_id,
        "kind": done.kind.value,
        "reason": steward.words or steward.reason or done.kind.value,
        "records": _moved(done),
    }
    if isinstance(request, Undo):
        detail["undone"] = request.decision
    persons: Sequence[PersonId | None] = done.persons or (None,)
    for person in persons:
        yield AuditRecord(
            recorded_us=now_us,
            action="U",
            subtype=_SUBTYPES[done.kind],
            person_id=person,
            organization=steward.organization,
            user=steward.name,
            purpose=steward.purpose,
            request_id=steward.request_id,
            token_id=steward.token_id,
            detail=detail,
        )


def _moved(done: Done) -> list[list[str]]:
    """Which record went from whom to whom."""
    return [[m.source_record_id, m.from_person, m.to_person] for m in done.moves]
