"""The command that renews the search index: `hie reindex`."""

import argparse
import asyncio
import sys

from hie.commands.parser import Group, command, settings_of
from hie.commands.progress import ProgressBar
from hie.services import Services
from hie.settings import Settings


def register(group: Group) -> None:
    """Add it."""
    arguments = command(
        group,
        "reindex",
        "Bring the search index to this version's table of search parameters.",
        lambda a: asyncio.run(reindex(settings_of(), a)),
    )
    text = "every resource, also where the table is the one that the index was written by"
    arguments.add_argument("--all", action="store_true", help=text)
    text = "stop after so long; the next run, or the hub itself, goes on from there"
    arguments.add_argument("--seconds", type=float, default=86_400.0, metavar="N", help=text)


async def reindex(settings: Settings, arguments: argparse.Namespace) -> int:
    """Renew the index, beside a running hub or without one; 3 where time ran out before the end."""
    bar = ProgressBar({"index": "resources"})
    async with Services(settings) as hub:
        if arguments.all:
            await hub.rebuild.again()
        done = await hub.rebuild.work(
            arguments.seconds, lambda count, total: bar("index", count, total)
        )
    if done.is_over:
        print(
            f"{done.total} resources indexed again"
            if done.total
            else "the index is as it should be"
        )
        return 0
    print(f"{done.done} of {done.total} resources indexed again")
    print("not through yet: run it again to go on", file=sys.stderr)
    return 3
