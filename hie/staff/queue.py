"""The review queue: list, count, look, claim, release, hand over, put aside."""

from typing import Any, Final

from hie.flow.assignment import user_of
from hie.staff import render
from hie.staff.cursor import next_link, position_of
from hie.staff.edge import LONGEST_ID, Edge, number_of
from hie.staff.model import FLAG, LIST, NUMBER, TIME, Answer, Call, Field
from mpi.model import TaskKind, TaskState
from mpi.repository.queue import QueuedTask, TaskFilter

ADDRESS: Final = "/staff/v1/mpi/tasks"
FILTER: Final = (
    Field(
        name="kind",
        text="kinds of task",
        kind=LIST,
        most=len(TaskKind),
        choices=tuple(kind.value for kind in TaskKind),
    ),
    Field(
        name="state",
        text="states; open and claimed ones unless said",
        kind=LIST,
        most=3,
        choices=tuple(state.value for state in TaskState),
    ),
    Field(name="assignee", text="of this steward; `me`, or `nobody`"),
    Field(name="priority", text="this urgent or more, 1 is the most", kind=NUMBER, least=1, most=5),
    Field(name="person", text="about this person, as subject or proposed", most=LONGEST_ID),
    Field(name="record", text="about this record", most=LONGEST_ID),
    Field(name="opened_before", text="at least so old", kind=TIME),
    Field(name="overdue", text="not answered in time", kind=FLAG, default=False),
    Field(name="deferred", text="put aside to a day to come", kind=FLAG, default=False),
)


async def listed(edge: Edge, call: Call) -> Answer:
    """A page of the queue."""
    limit = call.args["count"]
    position = position_of(edge.sealer, call)
    after = tuple(position) if position else None
    found = await edge.casework.queue(
        call.ctx,
        wanted(call),
        after=after,
        limit=limit + 1,
    )
    page = found[:limit]
    following = None
    if len(found) > limit:
        last = page[-1].task
        place = (last.priority, last.opened_us, last.id)
        following = next_link(edge.sealer, call, ADDRESS, place)
    lines = [render.task_line(entry, call.ctx.now_us, edge.words) for entry in page]
    return Answer(content={"tasks": lines, "next": following})


async def counted(edge: Edge, call: Call) -> Answer:
    """The open tasks by kind and priority, as they are now."""
    rows = await edge.casework.counts(call.ctx)
    groups = [
        {
            "kind": row.kind,
            "priority": row.priority,
            "open": row.open,
            "claimed": row.claimed,
            "overdue": row.overdue,
            "deferred": row.deferred,
            "oldest_at": render.moment(row.oldest_us),
        }
        for row in rows
    ]
    return Answer(content={"open": sum(row.open for row in rows), "groups": groups})


async def shown(edge: Edge, call: Call) -> Answer:
    """A task with both sides of its question."""
    task = await edge.casework.task(call.ctx, number_of(call))
    content = render.task(task, call.ctx.now_us, edge.words)
    return Answer(content=content, headers={"ETag": f'"{content["version"]}"'})


async def claimed(edge: Edge, call: Call) -> Answer:
    """The task, taken on by the user."""
    return _changed(
        edge, call, await edge.assignments.claim(call.ctx, number_of(call), call.version)
    )


async def released(edge: Edge, call: Call) -> Answer:
    """The task, given back to the queue."""
    return _changed(
        edge, call, await edge.assignments.release(call.ctx, number_of(call), call.version or "")
    )


async def assigned(edge: Edge, call: Call) -> Answer:
    """The task, given to another steward."""
    task = await edge.assignments.assign(
        call.ctx, number_of(call), call.version or "", call.args["assignee"].strip()
    )
    return _changed(edge, call, task)


async def deferred(edge: Edge, call: Call) -> Answer:
    """The task, put aside."""
    task = await edge.assignments.defer(
        call.ctx, number_of(call), call.version or "", call.args["until"], call.args["note"]
    )
    return _changed(edge, call, task)


def wanted(call: Call) -> TaskFilter:
    """The filter that a request's parameters say.

    Raises:
        HieError: FORBIDDEN for `me` where the token names no user.
    """
    args = call.args
    return TaskFilter(
        states=tuple(TaskState(each) for each in args["state"] or ()),
        kinds=tuple(TaskKind(each) for each in args["kind"] or ()),
        assignee=_assignee(call, args["assignee"]),
        priority=args["priority"] or 0,
        person_ids=(args["person"],) if args["person"] else (),
        record_id=args["record"] or "",
        opened_before_us=args["opened_before"],
        is_overdue=args["overdue"],
        is_deferred=args["deferred"],
    )


def _assignee(call: Call, named: str | None) -> str | None:
    if named == "nobody":
        return ""
    return user_of(call.ctx) if named == "me" else named


def _changed(edge: Edge, call: Call, task: QueuedTask) -> Answer:
    content: dict[str, Any] = render.task_row(task, call.ctx.now_us, edge.words)
    return Answer(content=content, headers={"ETag": f'"{content["version"]}"'})
