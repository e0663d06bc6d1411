"""Commands that go through the whole index: `hie mpi renew`, `hie mpi duplicates`."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable

from hie.commands.parser import Group, command, positive, settings_of
from hie.flow.care import Done
from hie.services import Services
from hie.settings import Settings


def register(actions: Group) -> None:
    """Add them to `hie mpi`."""
    arguments = command(
        actions,
        "renew",
        "Bring stored records to this version's comparable form and blocking keys.",
        lambda a: asyncio.run(renew(settings_of(), a)),
    )
    _add_seconds(arguments)
    arguments = command(
        actions,
        "duplicates",
        "Look for persons that may be one, and open tasks; what the hub does every night.",
        lambda a: asyncio.run(duplicates(settings_of(), a)),
    )
    arguments.add_argument(
        "--limit", type=positive, metavar="N", help="tasks at most; else limits.duplicates_a_night"
    )
    _add_seconds(arguments)


def _add_seconds(arguments: argparse.ArgumentParser) -> None:
    text = "stop after so long; the next run goes on from there"
    arguments.add_argument("--seconds", type=float, default=3_600.0, metavar="N", help=text)


async def renew(settings: Settings, arguments: argparse.Namespace) -> int:
    """Renew; 3 where time ran out before the end."""
    done = await _run(settings, lambda hub: hub.care.renew(arguments.seconds))
    print(f"{done.seen} records looked at, {done.changed} renewed")
    return _code(done)


async def duplicates(settings: Settings, arguments: argparse.Namespace) -> int:
    """Search and ask; 3 where time ran out before the end."""
    limit = arguments.limit
    if limit is None:
        limit = settings.limits.duplicates_a_night
    done = await _run(settings, lambda hub: hub.care.duplicates(limit, arguments.seconds))
    print(
        f"{done.seen} persons looked at, {done.found} pairs found, {done.asked} tasks opened, "
        f"{done.closed} closed, {done.waiting} pairs wait"
    )
    return _code(done)


async def _run(settings: Settings, work: Callable[[Services], Awaitable[Done]]) -> Done:
    async with Services(settings) as hub:
        return await work(hub)


def _code(done: Done) -> int:
    if not done.is_over:
        print("not through yet: run it again to go on", file=sys.stderr)
    return 0 if done.is_over else 3
