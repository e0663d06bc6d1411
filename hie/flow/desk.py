"""What staff do to tasks, whatever kind: look, close, take back - audited, in one transaction."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import AuditRecord
from hie.audit.repository import AuditLog
from hie.flow.codes import CodeTasks, Reopens
from hie.kernel.clock import Clock
from hie.kernel.ids import SourceRecordId
from hie.tasks.model import Outcome, StaffTask, TaskKind
from hie.tasks.service import Tasks
from mpi.service import Mpi

ASKED_AGAIN: Final = "a code of it had no task of its own"


class Desk:
    """The tasks as staff handle them."""

    def __init__(
        self,
        tasks: Tasks,
        codes: CodeTasks,
        replay: Reopens,
        mpi: Mpi,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._tasks = tasks
        self._codes = codes
        self._replay = replay
        self._mpi = mpi
        self._audit = audit
        self._clock = clock

    async def shown(self, conn: AsyncConnection, task_id: int, *, actor: str) -> StaffTask:
        """One task, opened for somebody to read; recorded where it is about a person.

        Raises:
            HieError: NOT_FOUND.
        """
        task = await self._tasks.get(conn, task_id)
        if task.record_id is not None:
            await self._record(conn, task, actor, "R", "read")
        return task

    async def close(self, conn: AsyncConnection, task_id: int, *, actor: str, reason: str) -> int:
        """End a task without an answer.

        A task that counts what had no room for tasks of its own sends its messages back, so
        that their codes are asked about now; how many those are.

        Raises:
            HieError: NOT_FOUND; CONFLICT when it is closed.
        """
        task = await self._tasks.get(conn, task_id, is_locked=True)
        now_us = self._clock.now_us()
        await self._tasks.close(
            conn, task, Outcome.DISMISSED, actor=actor, note=reason, now_us=now_us
        )
        await self._record(conn, task, actor, "U", "update")
        if task.kind is not TaskKind.UNMAPPED_CODE or task.topic:
            return 0
        waiting = await self._tasks.messages(conn, task_id)
        return await self._replay.reopen(conn, waiting, ASKED_AGAIN, actor) if waiting else 0

    async def undo(self, conn: AsyncConnection, task_id: int, *, actor: str, reason: str) -> int:
        """Open a task again; how many messages are mapped again because an answer is gone.

        Raises:
            HieError: NOT_FOUND; CONFLICT when it is open, or asked again already.
        """
        task = await self._tasks.get(conn, task_id, is_locked=True)
        if task.kind is TaskKind.UNMAPPED_CODE and task.topic:
            return (await self._codes.take_back(conn, task_id, actor=actor, note=reason)).reopened
        now_us = self._clock.now_us()
        await self._tasks.reopen(conn, task, actor=actor, note=reason, now_us=now_us)
        await self._record(conn, task, actor, "U", "update")
        return 0

    async def _record(
        self, conn: AsyncConnection, task: StaffTask, actor: str, action: str, subtype: str
    ) -> None:
        person = None
        if task.record_id is not None:
            record = SourceRecordId(task.record_id)
            person = (await self._mpi.person_of(conn, {record})).get(record)
        audited = AuditRecord(
            recorded_us=self._clock.now_us(),
            action=action,
            subtype=subtype,
            person_id=person,
            user=actor,
            resource_type="Task",
            resource_id=str(task.id),
            detail={"kind": task.kind.value, "source": task.source_id},
        )
        await self._audit.append(conn, [audited])
