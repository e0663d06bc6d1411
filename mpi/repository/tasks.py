"""Review tasks and what they propose."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import PersonId, SourceRecordId
from mpi import tables
from mpi.model import TaskState

_task, _candidate = tables.review_task, tables.review_candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """A task as stored; `detail` is sealed under the data key `key_id`."""

    id: int
    kind: str
    state: str
    record_id: SourceRecordId | None
    person_id: PersonId
    priority: int
    assignee: str | None
    opened_us: int
    key_id: int
    detail: bytes


async def open_task(conn: AsyncConnection, question: str) -> int | None:
    """The task that asks this question now."""
    found: int | None = await conn.scalar(_ASKING, {"question": question})
    return found


_ASKING = select(_task.c.id).where(_task.c.open_key == bindparam("question"))


async def listed(
    conn: AsyncConnection, *, after: tuple[int, int, int] | None, limit: int
) -> list[TaskRow]:
    """Open and claimed tasks, most urgent first, then oldest.

    Args:
        conn: open connection.
        after: priority, time and id of the last one seen.
        limit: at most so many.
    """
    query = _TASK.where(_task.c.state != TaskState.CLOSED.value)
    if after is not None:
        priority, opened_us, task_id = after
        query = query.where(
            or_(
                _task.c.priority > priority,
                and_(_task.c.priority == priority, _task.c.opened_us > opened_us),
                and_(
                    _task.c.priority == priority,
                    _task.c.opened_us == opened_us,
                    _task.c.id > task_id,
                ),
            )
        )
    rows = await conn.execute(
        query.order_by(_task.c.priority, _task.c.opened_us, _task.c.id).limit(limit)
    )
    return [TaskRow(**row) for row in rows.mappings()]


async def by_id(conn: AsyncConnection, task_id: int) -> TaskRow | None:
    """One task, open or not."""
    row = (await conn.execute(_TASK.where(_task.c.id == task_id))).mappings().first()
    return TaskRow(**row) if row else None


_TASK = select(
    _task.c.id,
    _task.c.kind,
    _task.c.state,
    _task.c.record_id,
    _task.c.person_id,
    _task.c.priority,
    _task.c.assignee,
    _task.c.opened_us,
    _task.c.key_id,
    _task.c.detail,
)


async def message_of(conn: AsyncConnection, task_id: int) -> int:
    """The message that a task was opened for; 0 where it was none."""
    decision = tables.identity_decision
    found: int | None = await conn.scalar(
        select(decision.c.message_id)
        .join(_task, _task.c.opened_by == decision.c.id)
        .where(_task.c.id == task_id)
    )
    return found or 0


async def set_detail(conn: AsyncConnection, task_id: int, *, key_id: int, detail: bytes) -> None:
    """Replace what a task shows."""
    await conn.execute(
        update(_task).where(_task.c.id == task_id).values(key_id=key_id, detail=detail)
    )


async def claim(conn: AsyncConnection, task_id: int, assignee: str) -> bool:
    """Give an open task to a steward; False when somebody has it or it is closed."""
    done = await conn.execute(
        update(_task)
        .where(_task.c.id == task_id, _task.c.state == TaskState.OPEN.value)
        .values(state=TaskState.CLAIMED.value, assignee=assignee)
    )
    return done.rowcount == 1


async def between(conn: AsyncConnection, one: Collection[str], other: Collection[str]) -> list[int]:
    """Open tasks that ask whether a person of one side is a person of the other."""
    here, there = list(one), list(other)
    rows = await conn.execute(
        select(_task.c.id)
        .join(_candidate, _candidate.c.task_id == _task.c.id)
        .where(
            _task.c.state != TaskState.CLOSED.value,
            or_(
                and_(_task.c.person_id.in_(here), _candidate.c.person_id.in_(there)),
                and_(_task.c.person_id.in_(there), _candidate.c.person_id.in_(here)),
            ),
        )
        .distinct()
    )
    return [row.id for row in rows]


async def about(conn: AsyncConnection, record_id: str) -> list[int]:
    """Open tasks about a record."""
    rows = await conn.execute(
        select(_task.c.id).where(
            _task.c.record_id == record_id, _task.c.state != TaskState.CLOSED.value
        )
    )
    return [row.id for row in rows]


async def close(
    conn: AsyncConnection, task_ids: Collection[int], *, decision_id: int, now_us: int
) -> None:
    """End tasks by a decision."""
    if task_ids:
        await conn.execute(
            update(_task)
            .where(_task.c.id.in_(list(task_ids)))
            .values(
                state=TaskState.CLOSED.value,
                open_key=None,
                closed_us=now_us,
                closed_by=decision_id,
            )
        )


async def reopen(conn: AsyncConnection, decision_id: int) -> None:
    """Ask again what a decision had answered, unless the question is open already."""
    asked = select(_task.c.open_key).where(_task.c.open_key.is_not(None))
    await conn.execute(
        update(_task)
        .where(_task.c.closed_by == decision_id, _task.c.question.not_in(asked))
        .values(
            state=TaskState.OPEN.value,
            open_key=_task.c.question,
            assignee=None,
            closed_us=None,
            closed_by=None,
        )
    )
