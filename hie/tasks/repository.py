"""The SQL of tasks; what is sealed passes through as bytes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import MessageId
from hie.tasks.model import Outcome, TaskFilter, TaskState
from hie.tasks.tables import staff_task, staff_task_event, staff_task_message

_CHUNK = 500
_task, _ref, _event = staff_task.c, staff_task_message.c, staff_task_event.c


@dataclass(frozen=True, slots=True)
class Head:
    """The newest task of a question, locked by whoever asked for it."""

    id: int
    question: str
    state: str
    outcome: str


async def newest(conn: AsyncConnection, questions: Iterable[str]) -> dict[str, Head]:
    """The newest task of each question, its row locked until the transaction ends."""
    query = (
        select(_task.id, _task.question, _task.state, _task.outcome)
        .where(_task.question.in_(sorted(questions)))
        .order_by(_task.id)
        .with_for_update()
    )
    return {row.question: Head(*row) for row in await conn.execute(query)}


async def answered(conn: AsyncConnection, task_ids: Iterable[int]) -> set[int]:
    """Those of the tasks that stand answered, their rows locked until the transaction ends."""
    query = (
        select(_task.id, _task.outcome)
        .where(_task.id.in_(sorted(task_ids)))
        .order_by(_task.id)
        .with_for_update()
    )
    rows = (await conn.execute(query)).all()
    return {row.id for row in rows if row.outcome == Outcome.ANSWERED.value}


async def known_refs(
    conn: AsyncConnection, task_ids: Iterable[int], message_ids: Sequence[int]
) -> set[tuple[int, int]]:
    """Which of the messages the tasks remember already."""
    query = select(_ref.task_id, _ref.message_id).where(
        _ref.task_id.in_(sorted(task_ids)), _ref.message_id.in_(sorted(message_ids))
    )
    return {(row.task_id, row.message_id) for row in await conn.execute(query)}


async def count_refs(conn: AsyncConnection, task_ids: Sequence[int]) -> dict[int, int]:
    """How many messages each task remembers."""
    found: dict[int, int] = dict.fromkeys(task_ids, 0)
    for start in range(0, len(task_ids), _CHUNK):
        query = (
            select(_ref.task_id, func.count())
            .where(_ref.task_id.in_(task_ids[start : start + _CHUNK]))
            .group_by(_ref.task_id)
        )
        found.update({task: int(n) for task, n in await conn.execute(query)})
    return found


async def open_count(conn: AsyncConnection, source_id: str, kind: str) -> int:
    """Open tasks of a kind that a source has."""
    query = select(func.count()).where(
        _task.source_id == source_id,
        _task.kind == kind,
        _task.state == TaskState.OPEN.value,
    )
    return int((await conn.execute(query)).scalar_one())


async def add(conn: AsyncConnection, values: Sequence[Mapping[str, Any]]) -> None:
    """New tasks."""
    await conn.execute(insert(staff_task), list(values))


async def add_refs(conn: AsyncConnection, pairs: Iterable[tuple[int, int]]) -> None:
    """Remember messages of tasks."""
    rows = [{"task_id": task, "message_id": message} for task, message in sorted(pairs)]
    if rows:
        await conn.execute(insert(staff_task_message), rows)


async def count(conn: AsyncConnection, counts: Mapping[int, tuple[int, int]]) -> None:
    """Add to tasks: by id, how many occurrences more and when the last was."""
    statement = (
        update(staff_task)
        .where(_task.id == bindparam("b_id"))
        .values(
            count=_task.count + bindparam("b_more"),
            last_us=func.max(_task.last_us, bindparam("b_last"))
            if conn.dialect.name == "sqlite"
            else func.greatest(_task.last_us, bindparam("b_last")),
        )
    )
    rows = [{"b_id": task, "b_more": n, "b_last": at} for task, (n, at) in sorted(counts.items())]
    if rows:
        await conn.execute(statement, rows)


async def change(conn: AsyncConnection, task_id: int, **values: Any) -> None:
    """Set columns of one task."""
    await conn.execute(update(staff_task).where(_task.id == task_id).values(**values))


async def add_event(conn: AsyncConnection, values: Mapping[str, Any]) -> None:
    """Keep what somebody did."""
    await conn.execute(insert(staff_task_event), [dict(values)])


async def events(conn: AsyncConnection, task_id: int) -> Sequence[Any]:
    """What was done to a task, oldest first."""
    query = select(staff_task_event).where(_event.task_id == task_id).order_by(_event.id)
    return (await conn.execute(query)).all()


async def by_id(conn: AsyncConnection, task_id: int, *, is_locked: bool = False) -> Any:
    """One row, or None."""
    query = select(staff_task).where(_task.id == task_id)
    return (await conn.execute(query.with_for_update() if is_locked else query)).first()


async def listed(conn: AsyncConnection, wanted: TaskFilter) -> Sequence[Any]:
    """Rows, most urgent first, then oldest."""
    query = select(staff_task)
    if wanted.state is not None:
        query = query.where(_task.state == wanted.state.value)
    if wanted.kind is not None:
        query = query.where(_task.kind == wanted.kind.value)
    if wanted.source_id:
        query = query.where(_task.source_id == wanted.source_id)
    if wanted.topic:
        query = query.where(_task.topic == wanted.topic)
    query = query.order_by(_task.priority, _task.id).limit(wanted.limit)
    return (await conn.execute(query)).all()


async def counts(conn: AsyncConnection) -> dict[tuple[str, str, str], int]:
    """Open tasks by source, kind and topic."""
    by = (_task.source_id, _task.kind, _task.topic)
    query = select(*by, func.count()).where(_task.state == TaskState.OPEN.value).group_by(*by)
    return {(s, kind, topic): int(n) for s, kind, topic, n in await conn.execute(query)}


async def messages(conn: AsyncConnection, task_id: int) -> list[MessageId]:
    """The messages that wait for a task, oldest first."""
    query = select(_ref.message_id).where(_ref.task_id == task_id).order_by(_ref.message_id)
    return [MessageId(pk) for pk in (await conn.execute(query)).scalars()]
