"""Decisions: previewed, made, taken back - by one steward at a time, each once."""

from collections.abc import Sequence
from typing import Any, Final

from hie.flow.assignment import user_of
from hie.flow.decisions import Batch, Request, Steward, Undo
from hie.flow.dossier import QueueEntry
from hie.kernel.errors import Category, HieError
from hie.staff import choices, render
from hie.staff.edge import Edge, number_of
from hie.staff.model import Answer, Call
from hie.staff.problem import at
from mpi.model import TaskState

_EXPECTED_OPEN: Final = "the task is closed: see `decided_by` for what was decided"


async def preview_task(edge: Edge, call: Call) -> Answer:
    """What a decision about a task would do; nothing of it is done."""
    entry, requests = await _asked(edge, call)
    _require_open(entry)
    steward = _steward(call)
    if len(requests) == 1:
        shown = await edge.stewards.preview(steward, requests[0])
        return Answer(content=render.preview(shown))
    batch = await edge.stewards.preview_batch(steward, requests)
    return Answer(content=render.batch(batch, _keys(requests)))


async def decide_task(edge: Edge, call: Call) -> Answer:
    """A decision about a task, which it closes; the task is the user's from then on."""
    entry, requests = await _asked(edge, call)
    # Whoever claims the version they saw decides: nobody else can from here on.
    await edge.assignments.claim(call.ctx, entry.task.id, call.version)
    steward = _steward(call)
    if len(requests) == 1:
        done = await edge.stewards.decide(steward, requests[0])
        return Answer(content=render.done(done))
    batch = await edge.stewards.batch(steward, requests, is_whole=True)
    return Answer(content=_whole(batch, requests))


async def preview(edge: Edge, call: Call) -> Answer:
    """What a decision without a task would do."""
    shown = await edge.stewards.preview(_steward(call), choices.direct(call.args))
    return Answer(content=render.preview(shown))


async def decide(edge: Edge, call: Call) -> Answer:
    """A decision without a task."""
    done = await edge.stewards.decide(_steward(call), choices.direct(call.args))
    return Answer(content=render.done(done))


async def preview_undo(edge: Edge, call: Call) -> Answer:
    """What taking a decision back would do."""
    shown = await edge.stewards.preview(_steward(call), Undo(decision=number_of(call)))
    return Answer(content=render.preview(shown))


async def undo(edge: Edge, call: Call) -> Answer:
    """A decision taken back; what was touched since is left, and named."""
    done = await edge.stewards.undo(_steward(call), number_of(call))
    return Answer(content=render.done(done))


def _steward(call: Call) -> Steward:
    user_of(call.ctx)
    return Steward.of(call.ctx, reason="staff-api", words=call.args.get("reason") or "")


async def _asked(edge: Edge, call: Call) -> tuple[QueueEntry, list[Request]]:
    entry, since = await edge.casework.question(call.ctx, number_of(call))
    return entry, choices.of_task(
        entry.task, entry.candidates, call.args, choices.older_of(entry, call.args, since)
    )


def _require_open(entry: QueueEntry) -> None:
    if entry.task.state is TaskState.CLOSED:
        raise HieError(Category.CONFLICT, _EXPECTED_OPEN)


def _whole(batch: Batch, requests: Sequence[Request]) -> dict[str, Any]:
    """What several rejections did together.

    Raises:
        HieError: CONFLICT where one could not be done, so that none was.
    """
    if not batch.is_done:
        refused = next(item.error for item in batch.items if not item.done)
        raise HieError(Category.CONFLICT, refused, [at("#/body/decision", refused)])
    return render.batch(batch, _keys(requests))


def _keys(requests: Sequence[Request]) -> list[str]:
    return [str(number) for number, _ in enumerate(requests)]
