"""What the privacy officer does about emergency accesses: look, end, judge, take back.

Every look is a disclosure of the person concerned; what is shown of what was seen are types and
numbers, never content. A verdict can be taken back; an end and a revoked token cannot.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import AuditRecord, record_of
from hie.audit.repository import AuditLog
from hie.audit.search import AuditSearch
from hie.crypto import DataKey
from hie.db import Database
from hie.disclosure import Disclosures
from hie.emergencies import repository
from hie.emergencies.model import (
    Emergency,
    EmergencyEvent,
    EmergencyState,
    Suspension,
    Verdict,
)
from hie.emergencies.policy import EmergencyPolicy
from hie.flow.emergencies import STOPPED
from hie.flow.emergency_seen import Seen, seen_by
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.keystore import KeyStore
from hie.tasks.model import Outcome, TaskState
from hie.tasks.service import Tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyShown:
    """An access as the privacy officer sees it.

    Attributes:
        reason: the code of the reason, for staff.
        suspended: the suspension that this access led to, if it holds.
    """

    access: Emergency
    reason: str
    events: tuple[EmergencyEvent, ...]
    seen: Seen
    suspended: Suspension | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the officer decides.

    Attributes:
        ends: the access ends now.
        revokes: so does the token it was made with.
        suspends: its user may break no glass until somebody lifts it; ends all of that user's.
    """

    verdict: Verdict
    note: str
    ends: bool = False
    revokes: bool = False
    suspends: bool = False


class EmergencyReviews:
    """The review queue of emergency accesses."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once, in hie.breaking
        self,
        db: Database,
        policy: EmergencyPolicy,
        tasks: Tasks,
        keys: KeyStore,
        audit: AuditLog,
        disclosures: Disclosures,
        revoke: Callable[[AsyncConnection, str], Awaitable[bool]],
        name_of: Callable[[str], str],
    ) -> None:
        self._db = db
        self.name_of = name_of
        self._policy = policy
        self._tasks = tasks
        self._keys = keys
        self._audit = audit
        self._search = AuditSearch(audit)
        self._disclosures = disclosures
        self._revoke = revoke

    def reason_of(self, access: Emergency) -> str:
        """The reason that was stated, in words for staff."""
        cause = self._policy.causes.get(access.code)
        return cause.display if cause else access.code

    async def listed(
        self,
        ctx: RequestContext,
        *,
        states: Sequence[EmergencyState],
        is_reviewed: bool | None,
        before: int | None,
        limit: int,
    ) -> list[Emergency]:
        """A page of accesses, the newest first."""
        async with self._db.reading() as conn:
            found = await repository.listed(
                conn,
                states=states or (EmergencyState.OPEN, EmergencyState.ENDED),
                is_reviewed=is_reviewed,
                now_us=ctx.now_us,
                before=before,
                limit=limit,
            )
        persons = {one.person_id for one in found}
        await self._disclosures.record(ctx, "E", "search-type", persons, "Task")
        return found

    async def shown(self, ctx: RequestContext, number: int) -> EmergencyShown:
        """One access: who, when, why, what was seen of what kind, what was done about it.

        Raises:
            HieError: NOT_FOUND.
        """
        async with self._db.reading() as conn:
            access, _ = await self._one(conn, number)
            shown = await self._shown(conn, access, ctx.now_us)
        await self._disclosures.record(
            ctx, "R", "read", {access.person_id}, "Task", str(access.task_id or number)
        )
        return shown

    async def judge(self, ctx: RequestContext, number: int, judgement: Judgement) -> EmergencyShown:
        """Say whether an access was justified, and what follows.

        Raises:
            HieError: NOT_FOUND; CONFLICT when it was reviewed before.
        """
        officer = _officer(ctx)
        async with self._db.transaction() as conn:
            access, key = await self._one(conn, number, is_locked=True)
            if access.verdict is not Verdict.NONE:
                raise HieError(Category.CONFLICT, "it is reviewed already; reopen it first")
            verdict = judgement.verdict
            values: dict[str, Any] = {"reviewed_us": ctx.now_us, "reviewed_by": officer}
            access = replace(access, verdict=verdict, **values)
            await repository.change(conn, number, verdict=verdict.value, **values)
            await self._note(conn, ctx, access, key, verdict.value, judgement.note)
            access = await self._follow(conn, ctx, access, key, judgement)
            await self._close_task(conn, ctx, access, verdict)
            return await self._shown(conn, access, ctx.now_us)

    async def reopen(self, ctx: RequestContext, number: int, note: str) -> EmergencyShown:
        """Take a verdict back, and with it the suspension that it led to.

        Raises:
            HieError: NOT_FOUND; CONFLICT where there is no verdict.
        """
        async with self._db.transaction() as conn:
            access, key = await self._one(conn, number, is_locked=True)
            if access.verdict is Verdict.NONE:
                raise HieError(Category.CONFLICT, "it is not reviewed: there is nothing to undo")
            none: dict[str, Any] = {"reviewed_us": None, "reviewed_by": ""}
            access = replace(access, verdict=Verdict.NONE, **none)
            await repository.change(conn, number, verdict="", **none)
            await repository.lift(conn, ctx.now_us, _officer(ctx), emergency_id=number)
            await self._note(conn, ctx, access, key, "reopened", note)
            if access.task_id is not None:
                task = await self._tasks.get(conn, access.task_id, is_locked=True)
                if task.state is TaskState.CLOSED:
                    await self._tasks.reopen(
                        conn, task, actor=_officer(ctx), note=note, now_us=ctx.now_us
                    )
            return await self._shown(conn, access, ctx.now_us)

    async def end(self, ctx: RequestContext, number: int, note: str) -> EmergencyShown:
        """End an access now.

        Raises:
            HieError: NOT_FOUND; CONFLICT where it is not open.
        """
        async with self._db.transaction() as conn:
            access, key = await self._one(conn, number, is_locked=True)
            if access.state_at(ctx.now_us) is not EmergencyState.OPEN:
                raise HieError(Category.CONFLICT, "it is not open")
            access = await self._end(conn, ctx, access)
            await self._note(conn, ctx, access, key, "ended", note)
            return await self._shown(conn, access, ctx.now_us)

    async def suspensions(self, ctx: RequestContext, *, is_all: bool) -> list[Suspension]:
        """Whose privilege is suspended, or ever was; nobody's patient is named."""
        async with self._db.reading() as conn:
            found = await repository.suspensions(conn, is_all=is_all)
        await self._disclosures.record(ctx, "E", "search-type", set(), "Task")
        return found

    async def lift(self, ctx: RequestContext, number: int, note: str) -> Suspension:
        """Give a user the privilege back.

        Raises:
            HieError: NOT_FOUND where no such suspension holds.
        """
        async with self._db.transaction() as conn:
            held = await repository.suspensions(conn, is_all=False)
            found = next((one for one in held if one.id == number), None)
            if found is None:
                raise HieError(Category.NOT_FOUND, "there is no such suspension, or it is lifted")
            officer = _officer(ctx)
            await repository.lift(conn, ctx.now_us, officer, number=number)
            access, key = await self._one(conn, found.emergency_id)
            await self._note(conn, ctx, access, key, "lifted", note)
        return replace(found, lifted_us=ctx.now_us, lifted_by=officer)

    async def _follow(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        access: Emergency,
        key: DataKey | None,
        judgement: Judgement,
    ) -> Emergency:
        """Carry out what follows from a verdict."""
        is_open = access.state_at(ctx.now_us) is EmergencyState.OPEN
        if is_open and (judgement.ends or judgement.revokes or judgement.suspends):
            access = await self._end(conn, ctx, access)
        if judgement.revokes and await self._revoke(conn, access.token_id):
            await self._note(conn, ctx, access, key, "token-revoked", "")
        if judgement.suspends:
            suspension = Suspension(
                id=self._db.next_pk(),
                organization=access.organization,
                user=access.user,
                since_us=ctx.now_us,
                by=_officer(ctx),
                emergency_id=access.id,
            )
            await repository.suspend(conn, suspension)
            await self._note(conn, ctx, access, key, "suspended", "")
            others = await repository.end_of(conn, access.organization, access.user, ctx.now_us)
            await self._audit.append(conn, [_stopped(ctx, other) for other in others])
        return access

    async def _end(
        self, conn: AsyncConnection, ctx: RequestContext, access: Emergency
    ) -> Emergency:
        await repository.change(conn, access.id, ended_us=ctx.now_us, ended_by="staff")
        await self._audit.append(conn, [_stopped(ctx, access)])
        return replace(access, ended_us=ctx.now_us, ended_by="staff")

    async def _close_task(
        self, conn: AsyncConnection, ctx: RequestContext, access: Emergency, verdict: Verdict
    ) -> None:
        if access.task_id is None:
            return
        task = await self._tasks.get(conn, access.task_id, is_locked=True)
        if task.state is TaskState.OPEN:
            officer, note = _officer(ctx), verdict.value
            await self._tasks.close(
                conn, task, Outcome.ANSWERED, actor=officer, note=note, now_us=ctx.now_us
            )

    # Reading back

    async def _one(
        self, conn: AsyncConnection, number: int, *, is_locked: bool = False
    ) -> tuple[Emergency, DataKey | None]:
        """An access with its words, and the key of its notes; without, once that is destroyed."""
        kept = await repository.by_id(conn, number, is_locked=is_locked)
        if kept is None:
            raise HieError(Category.NOT_FOUND, "there is no such emergency access")
        access, key_id, sealed = kept
        key = await self._key(conn, key_id)
        if key is None:
            return access, None
        words = key.open(sealed, table="emergency_access", column="words", row=str(number))
        return replace(access, words=words.decode()), key

    async def _key(self, conn: AsyncConnection, key_id: int) -> DataKey | None:
        return (await self._keys.kept(conn, [key_id])).get(key_id)

    async def _shown(self, conn: AsyncConnection, access: Emergency, now_us: int) -> EmergencyShown:
        rows = await repository.events(conn, access.id)
        events = []
        for row in rows:
            key = await self._key(conn, row.key_id)
            place = {"table": "emergency_event", "column": "note", "row": str(row.id)}
            note = key.open(row.note, **place).decode() if key else ""
            events.append(
                EmergencyEvent(at_us=row.at_us, action=row.action, actor=row.actor, note=note)
            )
        held = await repository.suspensions(conn, is_all=False, emergency_id=access.id)
        return EmergencyShown(
            access=access,
            reason=self.reason_of(access),
            events=tuple(events),
            seen=await seen_by(conn, self._search, access, now_us),
            suspended=held[0] if held else None,
        )

    async def _note(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        access: Emergency,
        key: DataKey | None,
        action: str,
        note: str,
    ) -> None:
        """Keep what somebody did, and put it on record."""
        if key is not None:
            number = self._db.next_pk()
            sealed = key.seal(
                note.encode(), table="emergency_event", column="note", row=str(number)
            )
            values = {
                "id": number,
                "emergency_id": access.id,
                "at_us": ctx.now_us,
                "action": action,
                "actor": _officer(ctx),
                "key_id": key.id,
                "note": sealed,
            }
            await repository.add_event(conn, values)
        record = record_of(
            ctx,
            "U",
            "update",
            person_id=access.person_id,
            resource_type="Task",
            resource_id=str(access.task_id or access.id),
            detail={"reason": f"emergency access: {action}", "emergency": str(access.id)},
        )
        await self._audit.append(conn, [record])


def _stopped(ctx: RequestContext, access: Emergency) -> AuditRecord:
    return record_of(
        ctx,
        "E",
        STOPPED,
        person_id=access.person_id,
        resource_type="Patient",
        resource_id=access.person_id,
        detail={"reason": "ended by the privacy officer", "emergency": str(access.id)},
    )


def _officer(ctx: RequestContext) -> str:
    return ctx.caller.user or ctx.caller.token_id
