"""The review queue as stewards look at it: filtered, counted, aged; what was done with a task."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.clock import SECOND_US
from hie.kernel.ids import PersonId, SourceRecordId
from mpi import tables
from mpi.model import TaskKind, TaskState

_task, _event = tables.review_task, tables.review_event
_IS_OPEN = _task.c.state != TaskState.CLOSED.value
_DAY_US = 86_400 * SECOND_US
#: Days within which a task of each priority is to be answered.
DUE_DAYS = {1: 1, 2: 3, 3: 7, 4: 14, 5: 30}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks are wanted.

    Attributes:
        states: none = open and claimed ones.
        kinds: none = all.
        assignee: of this steward only; "" = of nobody; None = whoever has them.
        priority: of this or a more urgent one; 0 = any.
        person_ids, record_id: about one of these.
        opened_before_us: at least so old.
        is_overdue: not answered in time.
        is_deferred: put aside until a day to come: without them unless asked for.
    """

    states: tuple[TaskState, ...] = ()
    kinds: tuple[TaskKind, ...] = ()
    assignee: str | None = None
    priority: int = 0
    person_ids: tuple[str, ...] = ()
    record_id: str = ""
    opened_before_us: int | None = None
    is_overdue: bool = False
    is_deferred: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedTask:
    """A task without what it shows; `detail` stays sealed under the key `key_id`.

    Attributes:
        due_us: when it is to be answered: the day it was put aside until, else by its priority.
        opened_by, closed_by: the decisions that asked and that answered.
    """

    id: int
    kind: TaskKind
    state: TaskState
    record_id: SourceRecordId | None
    person_id: PersonId
    priority: int
    assignee: str | None
    opened_us: int
    due_us: int
    deferred_us: int | None
    closed_us: int | None
    opened_by: int | None
    closed_by: int | None
    key_id: int
    detail: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """One thing done with a task; `note` is sealed under the key `key_id`."""

    id: int
    at_us: int
    action: str
    actor: str
    key_id: int | None
    note: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFigures:
    """The open tasks of one kind and priority."""

    kind: str
    priority: int
    open: int
    claimed: int
    overdue: int
    deferred: int
    oldest_us: int


def due_us() -> ColumnElement[int]:
    """When a task is to be answered, as SQL."""
    waits = {priority: _wait_us(days) for priority, days in DUE_DAYS.items()}
    wait_us = case(waits, value=_task.c.priority, else_=_wait_us(max(DUE_DAYS.values())))
    return func.coalesce(_task.c.due_us, _task.c.opened_us + wait_us)


def _wait_us(days: int) -> ColumnElement[int]:
    return literal(days * _DAY_US, BigInteger)


_COLUMNS = (
    _task.c.id,
    _task.c.kind,
    _task.c.state,
    _task.c.record_id,
    _task.c.person_id,
    _task.c.priority,
    _task.c.assignee,
    _task.c.opened_us,
    due_us().label("due_us"),
    _task.c.due_us.label("deferred_us"),
    _task.c.closed_us,
    _task.c.opened_by,
    _task.c.closed_by,
    _task.c.key_id,
    _task.c.detail,
)


async def page(
    conn: AsyncConnection,
    wanted: TaskFilter,
    *,
    now_us: int,
    after: tuple[int, int, int] | None,
    limit: int,
) -> list[QueuedTask]:
    """Tasks, most urgent first, then oldest.

    Args:
        conn: open connection.
        wanted: which ones.
        now_us: what is overdue or put aside depends on it.
        after: priority, time and id of the last one seen.
        limit: at most so many.
    """
    query = select(*_COLUMNS).where(*_conditions(wanted, now_us))
    if after is not None:
        priority, opened_us, task_id = after
        same = _task.c.priority == priority
        query = query.where(
            or_(
                _task.c.priority > priority,
                and_(same, _task.c.opened_us > opened_us),
                and_(same, _task.c.opened_us == opened_us, _task.c.id > task_id),
            )
        )
    rows = await conn.execute(
        query.order_by(_task.c.priority, _task.c.opened_us, _task.c.id).limit(limit)
    )
    return [_queued(row) for row in rows.mappings()]


async def count(conn: AsyncConnection, wanted: TaskFilter, *, now_us: int) -> int:
    """How many tasks there are."""
    query = select(func.count()).select_from(_task).where(*_conditions(wanted, now_us))
    return int(await conn.scalar(query) or 0)


async def task(
    conn: AsyncConnection, task_id: int, *, is_locked: bool = False
) -> QueuedTask | None:
    """One task, open or not; locked, nobody else changes it until the transaction ends."""
    query = select(*_COLUMNS).where(_task.c.id == task_id)
    row = (await conn.execute(query.with_for_update() if is_locked else query)).mappings().first()
    return _queued(row) if row else None


async def hand_over(
    conn: AsyncConnection, task_id: int, *, assignee: str | None, due_us: int | None
) -> None:
    """Give an open task to somebody or back to the queue, and set the day it is put aside to."""
    state = TaskState.CLAIMED if assignee else TaskState.OPEN
    await conn.execute(
        update(_task)
        .where(_task.c.id == task_id, _IS_OPEN)
        .values(state=state.value, assignee=assignee, due_us=due_us)
    )


async def events(conn: AsyncConnection, task_id: int) -> list[TaskEvent]:
    """What was done with a task, oldest first."""
    rows = await conn.execute(
        select(
            _event.c.id,
            _event.c.at_us,
            _event.c.action,
            _event.c.actor,
            _event.c.key_id,
            _event.c.note,
        )
        .where(_event.c.task_id == task_id)
        .order_by(_event.c.id)
    )
    return [TaskEvent(**row) for row in rows.mappings()]


async def figures(conn: AsyncConnection, *, now_us: int) -> list[QueueFigures]:
    """The open tasks by kind and priority."""
    rows = await conn.execute(
        select(
            _task.c.kind,
            _task.c.priority,
            func.count().label("open"),
            func.count(case((_task.c.state == TaskState.CLAIMED.value, 1))).label("claimed"),
            func.count(case((due_us() < now_us, 1))).label("overdue"),
            func.count(case((_task.c.due_us >= now_us, 1))).label("deferred"),
            func.min(_task.c.opened_us).label("oldest_us"),
        )
        .where(_IS_OPEN)
        .group_by(_task.c.kind, _task.c.priority)
        .order_by(_task.c.priority, _task.c.kind)
    )
    return [QueueFigures(**row) for row in rows.mappings()]


def _queued(row: object) -> QueuedTask:
    values = dict(row)  # type: ignore[call-overload]  # a RowMapping
    values["kind"], values["state"] = TaskKind(values["kind"]), TaskState(values["state"])
    return QueuedTask(**values)


def _conditions(wanted: TaskFilter, now_us: int) -> list[ColumnElement[bool]]:
    states = [s.value for s in wanted.states] or [TaskState.OPEN.value, TaskState.CLAIMED.value]
    found: list[ColumnElement[bool]] = [_task.c.state.in_(states)]
    if wanted.kinds:
        found.append(_task.c.kind.in_([kind.value for kind in wanted.kinds]))
    if wanted.assignee is not None:
        is_nobodys = _task.c.assignee.is_(None)
        found.append(_task.c.assignee == wanted.assignee if wanted.assignee else is_nobodys)
    if wanted.priority:
        found.append(_task.c.priority <= wanted.priority)
    if wanted.record_id:
        found.append(_task.c.record_id == wanted.record_id)
    if wanted.opened_before_us is not None:
        found.append(_task.c.opened_us <= wanted.opened_before_us)
    if wanted.person_ids:
        found.append(_is_about(wanted.person_ids))
    return [*found, *_timely(wanted, now_us)]


def _timely(wanted: TaskFilter, now_us: int) -> list[ColumnElement[bool]]:
    if wanted.is_overdue:
        return [due_us() < now_us]
    if wanted.is_deferred:
        return [_task.c.due_us >= now_us]
    if TaskState.CLOSED in wanted.states or wanted.person_ids or wanted.record_id:
        return []
    return [or_(_task.c.due_us.is_(None), _task.c.due_us < now_us)]


def _is_about(persons: Collection[str]) -> ColumnElement[bool]:
    candidate = tables.review_candidate
    proposed = select(candidate.c.task_id).where(candidate.c.person_id.in_(list(persons)))
    return or_(_task.c.person_id.in_(list(persons)), _task.c.id.in_(proposed))
