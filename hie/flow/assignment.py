"""Who has which task: claim, release, hand over, put aside - audited, one steward at a time.

A task has a version, which changes whenever anything about it does. Who acts on a task names
the version they saw; where somebody else was faster, nothing happens.
"""

from dataclasses import dataclass
from typing import Final

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import record_of
from hie.audit.repository import AuditLog
from hie.db import Database
from hie.flow.dossier import version_of
from hie.kernel.clock import SECOND_US
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.keystore import KeyKind, KeyStore
from mpi.model import TaskState
from mpi.repository import queue
from mpi.repository.queue import QueuedTask
from mpi.repository.writes import Writes

#: A task is put aside for so long at most: a year.
LONGEST_US: Final = 366 * 86_400 * SECOND_US
LONGEST_NOTE: Final = 2_000
_SYSTEM: Final = "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """What is to become of a task.

    Attributes:
        action: `claim`, `release`, `assign` or `defer`; kept with the task.
        assignee: who has it then; None = the queue.
        due_us: when it comes back; None = its priority says.
    """

    action: str
    assignee: str | None
    due_us: int | None = None
    note: str = ""


class Assignments:
    """Hands tasks out."""

    def __init__(self, db: Database, keys: KeyStore, audit: AuditLog) -> None:
        self._db = db
        self._keys = keys
        self._audit = audit

    async def claim(self, ctx: RequestContext, task_id: int, version: str | None) -> QueuedTask:
        """Take a task on; who has it already keeps it.

        Raises:
            HieError: NOT_FOUND; STALE; CONFLICT when it is closed or another steward has it.
        """
        handover = Handover(action="claim", assignee=user_of(ctx))
        return await self._change(ctx, task_id, version, handover)

    async def release(self, ctx: RequestContext, task_id: int, version: str) -> QueuedTask:
        """Give a task back to the queue."""
        return await self._change(ctx, task_id, version, Handover(action="release", assignee=None))

    async def assign(
        self, ctx: RequestContext, task_id: int, version: str, assignee: str
    ) -> QueuedTask:
        """Give a task to somebody, whoever has it: for administrators."""
        handover = Handover(action="assign", assignee=assignee)
        return await self._change(ctx, task_id, version, handover, is_forced=True)

    async def defer(
        self, ctx: RequestContext, task_id: int, version: str, until_us: int, note: str
    ) -> QueuedTask:
        """Put a task aside until a day, with a note that says what it waits for.

        Raises:
            HieError: INVALID for a time that is past or too far off.
        """
        if not ctx.now_us < until_us <= ctx.now_us + LONGEST_US:
            text = "`until`: expected a time to come, at most a year ahead"
            raise HieError(Category.INVALID, text)
        handover = Handover(action="defer", assignee=user_of(ctx), due_us=until_us, note=note)
        return await self._change(ctx, task_id, version, handover)

    async def held(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        task_id: int,
        version: str | None,
        *,
        is_forced: bool = False,
    ) -> QueuedTask:
        """The task, locked until the transaction ends, if this user may act on it as they saw it.

        Raises:
            HieError: NOT_FOUND; CONFLICT when it is closed or another steward has it; STALE
                when it has changed since.
        """
        task = await queue.task(conn, task_id, is_locked=True)
        if task is None:
            raise HieError(Category.NOT_FOUND, "there is no such task")
        if task.state is TaskState.CLOSED:
            text = "the task is closed: see `decided_by` for what was decided"
            raise HieError(Category.CONFLICT, text)
        if task.assignee not in (None, user_of(ctx)) and not is_forced:
            text = "another steward has the task: ask them, or have it assigned to you"
            raise HieError(Category.CONFLICT, text)
        if version is not None and version != version_of(task):
            text = "the task has changed since you saw it: read it again, then decide"
            raise HieError(Category.STALE, text)
        return task

    async def _change(
        self,
        ctx: RequestContext,
        task_id: int,
        version: str | None,
        handover: Handover,
        *,
        is_forced: bool = False,
    ) -> QueuedTask:
        async with self._db.transaction() as conn:
            task = await self.held(conn, ctx, task_id, version, is_forced=is_forced)
            if handover.action == "claim" and task.assignee == handover.assignee:
                return task
            await queue.hand_over(conn, task_id, assignee=handover.assignee, due_us=handover.due_us)
            await self._note(conn, ctx, task, handover)
            changed = await queue.task(conn, task_id)
        if changed is None:
            raise HieError(Category.NOT_FOUND, "there is no such task")
        return changed

    async def _note(
        self, conn: AsyncConnection, ctx: RequestContext, task: QueuedTask, handover: Handover
    ) -> None:
        """Keep who did what; words are sealed, for they may name the patient."""
        writes = Writes(self._db)
        event_id = writes.new_id()
        key_id, note = None, None
        if handover.note:
            owner = (
                (KeyKind.RECORD, task.record_id) if task.record_id else (KeyKind.SYSTEM, _SYSTEM)
            )
            key = await self._keys.for_owner(conn, *owner)
            content = orjson.dumps({"note": handover.note[:LONGEST_NOTE]})
            key_id = key.id
            note = key.seal(content, table="review_event", column="note", row=str(event_id))
        writes.add(
            "review_event",
            id=event_id,
            task_id=task.id,
            at_us=ctx.now_us,
            action=handover.action,
            actor=f"steward:{user_of(ctx)}",
            key_id=key_id,
            note=note,
        )
        await writes.send(conn)
        audited = record_of(
            ctx,
            "U",
            "update",
            person_id=task.person_id,
            resource_type="Task",
            resource_id=str(task.id),
            detail={"reason": handover.action},
        )
        await self._audit.append(conn, [audited])


def user_of(ctx: RequestContext) -> str:
    """The human who asks.

    Raises:
        HieError: FORBIDDEN where the token names none.
    """
    user = (ctx.caller.user or "").strip()
    if not user or ctx.caller.patient is not None:
        raise HieError(Category.FORBIDDEN, "who decides is a person: the token names no user")
    return user
