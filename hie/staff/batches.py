"""Many tasks decided at once: chosen and shown first, then carried out, item by item.

A preview chooses tasks by kind, bits and vetoes and tells what deciding each would do. What is
carried out is what the preview listed: each item names its task in the version seen.
"""

from collections.abc import Sequence
from typing import Any, Final

from hie.flow.assignment import user_of
from hie.flow.decisions import BatchItem, Request, Steward
from hie.flow.dossier import QueueEntry, version_of
from hie.kernel.errors import Category, HieError
from hie.staff import choices, render
from hie.staff.edge import Edge, number_of
from hie.staff.model import FLAG, NUMBER, OBJECTS, REAL, Answer, Call, Field, number_in
from hie.staff.runs import Run
from mpi.model import TaskKind, TaskState
from mpi.repository.queue import TaskFilter

#: Items of one batch; a preview of more would keep other writers waiting.
MOST: Final = 200
#: Tasks looked through for a preview.
MOST_SEEN: Final = 5_000
_PAGE: Final = 200
DECISION: Final = Field(
    name="decision", text="for each of them", is_required=True, choices=("merge", "link", "reject")
)
PREVIEW_BODY: Final = (
    Field(
        name="kind",
        text="tasks of this kind",
        is_required=True,
        choices=tuple(kind.value for kind in TaskKind),
    ),
    DECISION,
    Field(
        name="min_bits",
        text="whose best candidate has so many bits",
        kind=REAL,
        least=-100,
        most=200,
        default=0.0,
    ),
    Field(
        name="with_vetoes",
        text="tasks that the guard stopped, too",
        kind=FLAG,
        default=False,
    ),
    Field(name="limit", text="at most so many", kind=NUMBER, least=1, most=MOST, default=50),
)
RUN_BODY: Final = (
    DECISION,
    Field(
        name="items",
        text="the tasks, as the preview listed them",
        kind=OBJECTS,
        is_required=True,
        most=MOST,
        fields=(
            Field(name="task", text="number of the task", is_required=True, most=19),
            Field(name="version", text="the version seen", is_required=True, most=20),
        ),
    ),
    choices.REASON,
)


async def preview(edge: Edge, call: Call) -> Answer:
    """The tasks that match, and what deciding each of them would do."""
    entries = await _chosen(edge, call)
    if not entries:
        return Answer(content={"items": [], "done": 0, "refused": 0})
    items = [await _item(edge, call, entry.task.id) for entry in entries]
    persons = {person for item in items if item.done for person in item.done.persons}
    await edge.disclosures.record(call.ctx, "E", "search-type", set(persons), "Task")
    lines = [
        render.item(item, str(entry.task.id), is_preview=True)
        | {"task": str(entry.task.id), "version": version_of(entry.task)}
        | {"bits": entry.candidates[0].bits}
        for item, entry in zip(items, entries, strict=True)
    ]
    done = sum(1 for item in items if item.done)
    return Answer(content={"items": lines, "done": done, "refused": len(items) - done})


async def start(edge: Edge, call: Call) -> Answer:
    """Begin to carry a batch out; `Location` tells how far it is."""
    items = call.args["items"]
    user = user_of(call.ctx)
    steward = Steward.of(call.ctx, reason="staff-batch", words=call.args["reason"])

    async def work(run: Run) -> dict[str, Any]:
        return await _carry_out(edge, call, steward, run)

    run = edge.runs.start(user, len(items), work)
    address = f"/staff/v1/mpi/batches/{run.id}"
    return Answer(content=_state(run), status=202, headers={"Location": address})


async def watched(edge: Edge, call: Call) -> Answer:
    """How far a batch is, and what came of it."""
    run = edge.runs.of(call.ids["id"], user_of(call.ctx))
    if run is None:
        text = "no batch of yours is known by this id: see the decisions for what was done"
        raise HieError(Category.NOT_FOUND, text)
    return Answer(content=_state(run))


async def undo(edge: Edge, call: Call) -> Answer:
    """Every decision of a batch taken back, the last one first."""
    steward = Steward.of(call.ctx, reason="staff-batch", words=call.args["reason"])
    batch = await edge.stewards.undo_batch(steward, number_of(call))
    return Answer(content=render.batch(batch, [str(n) for n, _ in enumerate(batch.items)]))


async def _chosen(edge: Edge, call: Call) -> list[QueueEntry]:
    """Open tasks that match the choice, strongest first."""
    args = call.args
    wanted = TaskFilter(states=(TaskState.OPEN,), kinds=(TaskKind(args["kind"]),))
    found: list[QueueEntry] = []
    after: tuple[int, int, int] | None = None
    for _ in range(MOST_SEEN // _PAGE):
        page = await edge.casework.queue(call.ctx, wanted, after=after, limit=_PAGE)
        found += [entry for entry in page if _matches(entry, args)]
        if len(page) < _PAGE:
            break
        last = page[-1].task
        after = (last.priority, last.opened_us, last.id)
    found.sort(key=lambda entry: (-entry.candidates[0].bits, entry.task.id))
    return found[: args["limit"]]


def _matches(entry: QueueEntry, args: Any) -> bool:
    if not entry.candidates:
        return False
    is_clear = args["with_vetoes"] or not any(c.vetoes for c in entry.candidates)
    # Several persons proposed are a question of its own, which no rule answers.
    is_single = len(entry.candidates) == 1
    return is_single and is_clear and entry.candidates[0].bits >= args["min_bits"]


async def _item(edge: Edge, call: Call, task_id: int) -> BatchItem:
    """What deciding one task would do, by itself: nobody who writes waits for the others."""
    request = await _request(edge, call, task_id)
    steward = Steward.of(call.ctx, reason="staff-batch")
    return (await edge.stewards.preview_batch(steward, [request])).items[0]


async def _request(edge: Edge, call: Call, task_id: int) -> Request:
    entry, since = await edge.casework.question(call.ctx, task_id)
    args = {"decision": call.args["decision"], "person": None, "kept": None, "record": None}
    older = choices.older_of(entry, args, since)
    return choices.of_task(entry.task, entry.candidates, args, older)[0]


async def _carry_out(edge: Edge, call: Call, steward: Steward, run: Run) -> dict[str, Any]:
    """Claim each task in the version seen, decide those that are still so, and tell of all."""
    requests: list[Request] = []
    keys: list[str] = []
    refused: list[dict[str, Any]] = []
    for item in call.args["items"]:
        try:
            requests.append(await _claimed(edge, call, item))
            keys.append(item["task"])
        except HieError as error:
            refused.append({"item": item["task"], "refused": error.text})
            run.count(is_done=False)
    return await _decided(edge, steward, run, (requests, keys), refused)


async def _decided(
    edge: Edge,
    steward: Steward,
    run: Run,
    asked: tuple[Sequence[Request], Sequence[str]],
    refused: list[dict[str, Any]],
) -> dict[str, Any]:
    requests, keys = asked
    if not requests:
        return {"batch": None, "is_done": False, "items": refused}

    def on_item(item: BatchItem) -> None:
        run.count(is_done=item.done is not None)

    batch = await edge.stewards.batch(steward, requests, on_item=on_item)
    told = render.batch(batch, keys)
    return told | {"items": [*told["items"], *refused], "refused": told["refused"] + len(refused)}


async def _claimed(edge: Edge, call: Call, item: dict[str, str]) -> Request:
    number = number_in(item["task"]) or 0  # nobody's task
    request = await _request(edge, call, number)
    await edge.assignments.claim(call.ctx, number, item["version"])
    return request


def _state(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "state": run.state,
        "total": run.total,
        "done": run.done,
        "refused": run.refused,
        "error": run.error or None,
        "result": run.result,
    }
