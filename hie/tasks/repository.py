"""The SQL of tasks; what is sealed passes through as bytes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, String, bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.inserts import insert as insert_rows
from hie.kernel.ids import MessageId
from hie.tasks.model import Outcome, TaskFilter, TaskState
from hie.tasks.tables import staff_task, staff_task_event, staff_task_message

_CHUNK = 500
_task, _ref, _event = staff_task.c, staff_task_message.c, staff_task_event.c


def _ids(name: str) -> Any:
    return bindparam(name, type_=BigInteger, expanding=True)


# Built once: every message with an unmapped code runs them.
_NEWEST = (
    select(_task.id, _task.question, _task.state, _task.outcome)
    .where(_task.question.in_(bindparam("questions", type_=String, expanding=True)))
    .order_by(_task.id)
    .with_for_update()
)
_KNOWN = select(_ref.task_id, _ref.message_id).where(
    _ref.task_id.in_(_ids("tasks")), _ref.message_id.in_(_ids("messages"))
)
_COUNTED = (
    select(_ref.task_id, func.count()).where(_ref.task_id.in_(_ids("tasks"))).group_by(_ref.task_id)
)
#: By the name of the database, which of two numbers is the larger one.
_COUNT = {
    name: update(staff_task)
    .where(_task.id == bindparam("b_id"))
    .values(
        count=_task.count + bindparam("b_more"), last_us=larger(_task.last_us, bindparam("b_last"))
    )
    for name, larger in (("sqlite", func.max), ("postgresql", func.greatest))
}


@dataclass(frozen=True, slots=True)
class Head:
    """The newest task of a question, locked by whoever asked for it."""

    id: int
    question: str
    state: str
    outcome: str


async def newest(conn: AsyncConnection, questions: Iterable[str]) -> dict[str, Head]:
    """The newest task of each question, its row locked until the transaction ends."""
    rows = await conn.execute(_NEWEST, {"questions": sorted(questions)})
    return {row.question: Head(*row) for row in rows}


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
    asked = {"tasks": sorted(task_ids), "messages": sorted(message_ids)}
    return {(row.task_id, row.message_id) for row in await conn.execute(_KNOWN, asked)}


async def count_refs(conn: AsyncConnection, task_ids: Sequence[int]) -> dict[int, int]:
    """How many messages each task remembers."""
    found: dict[int, int] = dict.fromkeys(task_ids, 0)
    for start in range(0, len(task_ids), _CHUNK):
        rows = await conn.execute(_COUNTED, {"tasks": task_ids[start : start + _CHUNK]})
        found.update({task: int(n) for task, n in rows})
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
    await insert_rows(conn, {staff_task_message: sorted(pairs)})


async def count(conn: AsyncConnection, counts: Mapping[int, tuple[int, int]]) -> None:
    """Add to tasks: by id, how many occurrences more and when the last was."""
    rows = [{"b_id": task, "b_more": n, "b_last": at} for task, (n, at) in sorted(counts.items())]
    if rows:
        await conn.execute(_COUNT[conn.dialect.name], rows)


async def change(conn: AsyncConnection, task_id: int, **values: Any) -> None:
    """Set columns of one task."""
    await conn.execute(update(staff_task).where(_task.id == task_id).values(**values))


async def forget(conn: AsyncConnection, records: Sequence[str], key_id: int, now_us: int) -> None:
    """End what is asked about erased records, and take out what staff wrote about it.

    `key_id` is a key that was destroyed: what is put under it reads as erased.
    """
    for start in range(0, len(records), _CHUNK):
        about = _task.record_id.in_(records[start : start + _CHUNK])
        ended = {"state": TaskState.CLOSED.value, "outcome": Outcome.RESOLVED.value}
        await conn.execute(
            update(staff_task)
            .where(about, _task.open_key.is_not(None))
            .values(**ended, open_key=None, closed_us=now_us)
        )
        tasks = select(_task.id).where(about)
        await conn.execute(
            update(staff_task_event)
            .where(_event.task_id.in_(tasks))
            .values(key_id=key_id, note=b"")
        )


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
