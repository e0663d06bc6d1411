"""Commands of identity stewards: the review queue and their decisions."""

import argparse
import asyncio
import getpass
import sys
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

from hie.commands import steward_text
from hie.commands.parser import Group, command, positive, settings_of
from hie.flow.corrections import as_csv
from hie.flow.decisions import Done, Link, Merge, Request, Split, Steward, Unlink
from hie.flow.dossier import CHOICES
from hie.kernel.context import Caller, RequestContext
from hie.kernel.ids import PersonId, SourceRecordId
from hie.services import Services
from hie.settings import Settings
from hie.staff import choices, render, reports
from hie.staff.model import number_in
from mpi.model import TaskKind
from mpi.repository.queue import TaskFilter

LIMIT: Final = 50
_CHOICES: Final = sorted({choice for kind in CHOICES.values() for choice in kind})
Act = Callable[[Services, RequestContext, argparse.Namespace], Awaitable[int]]


def register(actions: Group) -> None:
    """Add them to `hie mpi`."""
    _add_looks(actions)
    arguments = _command(actions, "claim", "Take a task on.", claim)
    arguments.add_argument("task", type=_number, metavar="TASK")
    arguments = _command(
        actions, "decide", "Decide a task; --preview shows what it would do.", decide
    )
    arguments.add_argument("task", type=_number, metavar="TASK")
    arguments.add_argument(
        "decision", choices=_CHOICES, metavar="DECISION", help=", ".join(_CHOICES)
    )
    arguments.add_argument("--person", metavar="ID", help="the person meant, of several proposed")
    arguments.add_argument("--kept", metavar="ID", help="of a merge, the id that stays")
    arguments.add_argument("--record", metavar="ID", help="where the task is about a person")
    arguments.add_argument(
        "--records", nargs="*", metavar="ID", help="of a split, those that leave"
    )
    _deciding(arguments)
    arguments = _command(actions, "merge", "Make two persons one.", merge)
    arguments.add_argument("kept", metavar="KEPT", help="the id that stays")
    arguments.add_argument("gone", metavar="GONE", help="the id that redirects from then on")
    _deciding(arguments)
    arguments = _command(actions, "relink", "Move a record to another person.", relink)
    arguments.add_argument("record", metavar="RECORD")
    arguments.add_argument("person", metavar="PERSON")
    _deciding(arguments)
    arguments = _command(actions, "unlink", "Give a record a person of its own.", unlink)
    arguments.add_argument("record", metavar="RECORD")
    _deciding(arguments)
    arguments = _command(actions, "split", "Give records of a person a new person together.", split)
    arguments.add_argument("person", metavar="PERSON")
    arguments.add_argument("records", nargs="+", metavar="RECORD")
    _deciding(arguments)


def _add_looks(actions: Group) -> None:
    arguments = _command(
        actions,
        "review",
        "List open tasks, most urgent first: number, priority, kind, who has it, age, bits, guard.",
        review,
    )
    arguments.add_argument("--kind", choices=[kind.value for kind in TaskKind])
    arguments.add_argument("--limit", type=positive, default=LIMIT, metavar="N")
    arguments.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = _command(actions, "show", "Show both sides of a task; audited.", show)
    arguments.add_argument("task", type=_number, metavar="TASK")
    arguments.add_argument("--json", action="store_true", help="everything, as JSON")
    arguments = _command(
        actions,
        "history",
        "List decisions, the newest first: stewards', or those about one.",
        history,
    )
    about = arguments.add_mutually_exclusive_group()
    about.add_argument("--person", default="", metavar="ID", help="this person's records")
    about.add_argument("--record", default="", metavar="ID", help="this record")
    arguments.add_argument("--limit", type=positive, default=LIMIT, metavar="N")
    arguments = _command(
        actions,
        "corrections",
        "Print who was shown two humans as one, as CSV, for notices after an unmerge.",
        corrections,
    )
    arguments.add_argument("decision", type=_number, nargs="?", metavar="DECISION", help="or all")
    arguments.add_argument(
        "--told", type=_number, nargs="*", metavar="ID", help="note that these recipients were told"
    )
    arguments = _command(
        actions, "metrics", "Duplicate rate, queue, outcomes and decisions in figures.", metrics
    )
    arguments.add_argument("--json", action="store_true", help="everything, as JSON")


async def review(hub: Services, ctx: RequestContext, arguments: argparse.Namespace) -> int:
    """Print the queue, one task a line."""
    kinds = (TaskKind(arguments.kind),) if arguments.kind else ()
    wanted = TaskFilter(kinds=kinds)
    entries = await hub.casework.queue(ctx, wanted, after=None, limit=arguments.limit)
    for entry in entries:
        if arguments.json:
            _print_json(render.task_line(entry, ctx.now_us, hub.config.words))
        else:
            print(steward_text.line(entry, ctx.now_us))
    more = "; there may be more, see `--limit`" if len(entries) == arguments.limit else ""
    print(f"{len(entries)} tasks{more}", file=sys.stderr)
    return 0


async def show(hub: Services, ctx: RequestContext, arguments: argparse.Namespace) -> int:
    """Print both sides of a task."""
    told = render.task(await hub.casework.task(ctx, arguments.task), ctx.now_us, hub.config.words)
    if arguments.json:
        _print_json(told)
        return 0
    for line in steward_text.task(told):
        print(line)
    return 0


async def history(hub: Services, ctx: RequestContext, arguments: argparse.Namespace) -> int:
    """Print decisions, one a line."""
    found = await hub.casework.decided(
        ctx, person_id=arguments.person, record_id=arguments.record, limit=arguments.limit
    )
    for row in found:
        print(steward_text.decision(render.past(row, hub.config.words)))
    print(f"{len(found)} decisions", file=sys.stderr)
    return 0


async def corrections(hub: Services, ctx: RequestContext, arguments: argparse.Namespace) -> int:
    """Print who was shown two humans as one, as CSV; or the decisions with such a list."""
    steward = Steward.of(ctx, reason="command")
    if arguments.decision is None:
        return await _waiting(hub)
    if arguments.told is not None:
        told = await hub.stewards.mark_corrected(steward, arguments.decision, arguments.told)
        print(f"{told} recipients told", file=sys.stderr)
        return 0
    found = await hub.stewards.corrections(steward, arguments.decision)
    sys.stdout.write(as_csv(found))
    print(f"{len(found)} disclosures", file=sys.stderr)
    if not found:
        text = (
            "a list stands under what parted the records: the undo (not the merge), unlink, split"
        )
        print(text, file=sys.stderr)
    return 0


async def _waiting(hub: Services) -> int:
    """Print what is still to be done after decisions: who is to be told, what to be reviewed."""
    uncorrected, unreviewed = await hub.stewards.uncorrected(), await hub.stewards.unreviewed()
    for number, waiting in sorted(uncorrected.items()):
        print(f"{number}\t{waiting} to be told")
    for number in unreviewed:
        print(f"{number}\tconsents to be reviewed")
    told = f"{len(uncorrected)} decisions to be told of, {len(unreviewed)} to be reviewed"
    print(told, file=sys.stderr)
    return 0


async def metrics(hub: Services, _: RequestContext, arguments: argparse.Namespace) -> int:
    """Print the index in figures."""
    told = reports.of(await hub.figures.current())
    if arguments.json:
        _print_json(told)
        return 0
    for line in steward_text.figures(told):
        print(line)
    return 0


async def claim(hub: Services, ctx: RequestContext, arguments: argparse.Namespace) -> int:
    """Take a task on."""
    task = await hub.assignments.claim(ctx, arguments.task, None)
    print(f"task {task.id} is {task.assignee}'s", file=sys.stderr)
    return 0


async def decide(hub: Services, ctx: RequestContext, arguments: argparse.Namespace) -> int:
    """Decide a task, or show what deciding it would do."""
    entry, since = await hub.casework.question(ctx, arguments.task)
    args = vars(arguments)
    older = choices.older_of(entry, args, since)
    requests = choices.of_task(entry.task, entry.candidates, args, older)
    if not arguments.preview:
        await hub.assignments.claim(ctx, arguments.task, None)
    return await _carry_out(hub, ctx, arguments, requests)


async def merge(hub: Services, ctx: RequestContext, arguments: argparse.Namespace) -> int:
    """Make two persons one."""
    request = Merge(kept=PersonId(arguments.kept), gone=PersonId(arguments.gone))
    return await _carry_out(hub, ctx, arguments, [request])


async def relink(hub: Services, ctx: RequestContext, arguments: argparse.Namespace) -> int:
    """Move a record to another person."""
    request = Link(record=SourceRecordId(arguments.record), person=PersonId(arguments.person))
    return await _carry_out(hub, ctx, arguments, [request])


async def unlink(hub: Services, ctx: RequestContext, arguments: argparse.Namespace) -> int:
    """Give a record a person of its own."""
    return await _carry_out(hub, ctx, arguments, [Unlink(record=SourceRecordId(arguments.record))])


async def split(hub: Services, ctx: RequestContext, arguments: argparse.Namespace) -> int:
    """Give records of a person a new person together."""
    records = frozenset(SourceRecordId(each) for each in arguments.records)
    request = Split(person=PersonId(arguments.person), records=records)
    return await _carry_out(hub, ctx, arguments, [request])


async def _carry_out(
    hub: Services, ctx: RequestContext, arguments: argparse.Namespace, requests: list[Request]
) -> int:
    """Do what is asked, or show it; several requests all or not at all."""
    steward = Steward.of(ctx, reason="command", words=arguments.reason)
    if arguments.preview and len(requests) == 1:
        preview = await hub.stewards.preview(steward, requests[0])
        print("\n".join(steward_text.preview(render.preview(preview))))
        return 0
    if arguments.preview:
        batch = await hub.stewards.preview_batch(steward, requests)
    elif len(requests) == 1:
        _tell(await hub.stewards.decide(steward, requests[0]), is_done=True)
        return 0
    else:
        batch = await hub.stewards.batch(steward, requests, is_whole=True)
    for item in batch.items:
        if item.done is None:
            print(f"hie: {item.error}", file=sys.stderr)
        else:
            _tell(item.done, is_done=batch.is_done)
    return 0 if all(item.done for item in batch.items) else 2


def _tell(done: Done, *, is_done: bool) -> None:
    for line in steward_text.done(render.done(done, is_preview=not is_done)):
        print(line)


def _command(actions: Group, name: str, text: str, act: Act) -> argparse.ArgumentParser:
    arguments = command(actions, name, text, lambda a: asyncio.run(run(settings_of(), act, a)))
    arguments.add_argument(
        "--by", default="", metavar="NAME", help="who acts; else who is logged in"
    )
    return arguments


def _number(text: str) -> int:
    number = number_in(text)
    if number is None:
        raise argparse.ArgumentTypeError("expected a number of the hub")
    return number


def _deciding(arguments: argparse.ArgumentParser) -> None:
    arguments.add_argument("--reason", default="", metavar="TEXT", help="why; kept sealed")
    arguments.add_argument("--preview", action="store_true", help="show it, and do nothing")


async def run(settings: Settings, act: Act, arguments: argparse.Namespace) -> int:
    """Act as a steward at the command line."""
    async with Services(settings) as hub:
        return await as_steward(hub, act, arguments)


async def as_steward(hub: Services, act: Act, arguments: argparse.Namespace) -> int:
    """Act over open services, audited by the name given or that of who is logged in.

    Raises:
        HieError: INVALID for a decision without a reason.
    """
    steward_text.require_reason(arguments)
    caller = Caller(
        token_id="command",  # noqa: S106 - no secret: what stands where a token's id would
        user=arguments.by or getpass.getuser(),
        purpose="HOPERAT",
        is_steward=True,
    )
    ctx = RequestContext(caller=caller, request_id=uuid.uuid4().hex, now_us=hub.clock.now_us())
    return await act(hub, ctx, arguments)


def _print_json(told: dict[str, Any]) -> None:
    print(render.dump(told).decode())
