"""Commands about tasks: list, show, answer, close, undo."""

import argparse
import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable

from adapters.terminology import Concept
from hie.commands.parser import Group, command, settings_of
from hie.kernel.clock import instant
from hie.kernel.errors import Category, HieError
from hie.services import Services
from hie.settings import Settings
from hie.tasks.model import StaffTask, TaskFilter, TaskKind, TaskState


def register(group: Group) -> None:
    """Add the commands about tasks."""
    tasks = group.add_parser("task", help="List, show, answer, close tasks; take it back.")
    actions = tasks.add_subparsers(title="actions", required=True, metavar="ACTION")
    _add_list(actions)
    arguments = command(
        actions,
        "show",
        "Print one task: what was sent, which messages wait, who did what.",
        lambda a: asyncio.run(show(settings_of(), a.id)),
    )
    arguments.add_argument("id", type=int, metavar="ID")
    _add_answer(actions)
    arguments = _acting(
        actions,
        "close",
        "End a task without an answer; nothing changes.",
        lambda a: asyncio.run(close(settings_of(), a.id, _actor(a), a.reason)),
    )
    arguments.add_argument("--reason", required=True, metavar="TEXT", help="kept with the task")
    arguments = _acting(
        actions,
        "undo",
        "Open a task again; an answered code is unmapped again and its messages mapped anew.",
        lambda a: asyncio.run(undo(settings_of(), a.id, _actor(a), a.reason)),
    )
    arguments.add_argument("--reason", default="", metavar="TEXT", help="kept with the task")


def _add_list(actions: Group) -> None:
    arguments = command(
        actions,
        "list",
        "List open tasks, most urgent first: id, kind, source, map, occurrences, last.",
        lambda a: asyncio.run(listed(settings_of(), _filter(a))),
    )
    arguments.add_argument("--kind", choices=[kind.value for kind in TaskKind])
    arguments.add_argument("--source", default="", metavar="ID")
    arguments.add_argument("--map", default="", metavar="NAME", help="a concept map")
    arguments.add_argument("--closed", action="store_true", help="closed tasks instead")
    arguments.add_argument("--limit", type=int, default=100)


def _add_answer(actions: Group) -> None:
    arguments = _acting(
        actions,
        "answer",
        "Say what an unmapped code means at its source; what waited is mapped again.",
        lambda a: asyncio.run(answer(settings_of(), a.id, _concept(a), _actor(a), a.note)),
    )
    meaning = arguments.add_mutually_exclusive_group(required=True)
    meaning.add_argument("--target", default="", metavar="CODE", help="the code it becomes")
    meaning.add_argument("--none", action="store_true", help="it has no counterpart: keep its text")
    arguments.add_argument("--system", default="", metavar="URI", help="of a target not in the map")
    arguments.add_argument("--display", default="", metavar="TEXT", help="words of the target")
    arguments.add_argument("--note", default="", metavar="TEXT", help="kept with the task")


def _acting(
    actions: Group, name: str, text: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    arguments = command(actions, name, text, run)
    arguments.add_argument("id", type=int, metavar="ID")
    arguments.add_argument(
        "--by", default="", metavar="NAME", help="who acts; else who is logged in"
    )
    return arguments


def _actor(arguments: argparse.Namespace) -> str:
    return arguments.by or getpass.getuser()


def _filter(arguments: argparse.Namespace) -> TaskFilter:
    return TaskFilter(
        state=TaskState.CLOSED if arguments.closed else TaskState.OPEN,
        kind=TaskKind(arguments.kind) if arguments.kind else None,
        source_id=arguments.source,
        topic=arguments.map,
        limit=arguments.limit,
    )


def _concept(arguments: argparse.Namespace) -> Concept:
    if not arguments.none and not arguments.target:
        raise HieError(Category.INVALID, "`--target`: expected a code, or `--none` instead")
    return Concept(target=arguments.target, system=arguments.system, display=arguments.display)


async def listed(settings: Settings, wanted: TaskFilter) -> int:
    """Print tasks, one a line."""
    async with Services(settings) as hub, hub.db.reading() as conn:
        tasks = await hub.tasks.listed(conn, wanted)
    for task in tasks:
        last = instant(task.last_us)
        print(
            f"{task.id}\t{task.kind.value}\t{task.source_id}\t{task.topic}\t{task.count}\t{last}"
            f"\t{task.outcome.value}"
        )
    print(f"{len(tasks)} tasks", file=sys.stderr)
    return 0


async def show(settings: Settings, task_id: int) -> int:
    """Print one task; to see one about somebody's record is audited."""
    async with Services(settings) as hub, hub.db.transaction() as conn:
        task = await hub.desk.shown(conn, task_id, actor=getpass.getuser())
        waiting = await hub.tasks.messages(conn, task_id)
    for line in _lines(task):
        print(line)
    for message_id in waiting[:20]:
        print(f"message\t{message_id}")
    if len(waiting) > 20:
        print(f"message\t... {len(waiting) - 20} more")
    return 0


def _lines(task: StaffTask) -> list[str]:
    lines = [
        f"kind\t{task.kind.value}",
        f"state\t{task.state.value} {task.outcome.value}".rstrip(),
        f"source\t{task.source_id}",
        f"map\t{task.topic}",
        f"occurrences\t{task.count}",
        f"first\t{instant(task.first_us)}",
        f"last\t{instant(task.last_us)}",
    ]
    if task.record_id:
        lines.append(f"record\tPatient/{task.record_id}")
    lines += [f"{name}\t{_printable(text)}" for name, text in task.detail.items()]
    for event in task.events:
        told = f"{event.action}\t{instant(event.at_us)}\t{event.actor}\t{_printable(event.note)}"
        lines.append(told.rstrip())
    return lines


def _printable(text: str) -> str:
    """A sender's text without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)


async def answer(settings: Settings, task_id: int, concept: Concept, actor: str, note: str) -> int:
    """Answer a task; a running hub maps again what waited, else this command does."""

    async def act(hub: Services) -> str:
        async with hub.db.transaction() as conn:
            done = await hub.codes.answer(conn, task_id, concept, actor=actor, note=note)
        return f"answered; {done.reopened} messages are mapped again"

    return await _act(settings, act)


async def close(settings: Settings, task_id: int, actor: str, reason: str) -> int:
    """Close a task with a reason."""

    async def act(hub: Services) -> str:
        async with hub.db.transaction() as conn:
            done = await hub.desk.close(conn, task_id, actor=actor, reason=reason)
        return f"closed; {done} messages are mapped again" if done else "closed"

    return await _act(settings, act)


async def undo(settings: Settings, task_id: int, actor: str, reason: str) -> int:
    """Open a task again, its answer taken back."""

    async def act(hub: Services) -> str:
        async with hub.db.transaction() as conn:
            done = await hub.desk.undo(conn, task_id, actor=actor, reason=reason)
        return f"open again; {done} messages are mapped again" if done else "open again"

    return await _act(settings, act)


async def _act(settings: Settings, act: Callable[[Services], Awaitable[str]]) -> int:
    async with Services(settings) as hub:
        told = await act(hub)
        while await hub.worker.work_off_batch():
            pass
    print(told, file=sys.stderr)
    return 0
