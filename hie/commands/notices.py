"""The command about notices of identity changes: what waits, what is parked, try again."""

import argparse
import asyncio

from hie.commands.parser import Group, command, settings_of
from hie.kernel.clock import instant
from hie.notify.repository import NoticeBook, State
from hie.services import Services
from hie.settings import Settings


def register(group: Group) -> None:
    """Add the command."""
    arguments = command(
        group,
        "notices",
        "List notices of identity changes that wait or are parked; try parked ones again.",
        lambda a: asyncio.run(notices(settings_of(), a)),
    )
    arguments.add_argument("--source", default="", help="of this receiver alone")
    arguments.add_argument("--all", action="store_true", help="delivered ones too")
    arguments.add_argument("--limit", type=int, default=100)
    arguments.add_argument(
        "--again",
        nargs="*",
        type=int,
        default=None,
        metavar="ID",
        help="parked notices that a running hub tries again; none named: all of `--source`",
    )


async def notices(settings: Settings, arguments: argparse.Namespace) -> int:
    """Put some back in the queue, then list what is not delivered, newest first."""
    if arguments.again == [] and not arguments.source:
        print("--again: name notices, or a receiver with --source")
        return 2
    states = tuple(State) if arguments.all else (State.WAITING, State.PARKED)
    async with Services(settings) as services:
        book = NoticeBook(services.db, services.clock)
        if arguments.again is not None:
            count = await book.again(arguments.again, arguments.source)
            print(f"{count} tried again")
        for row in await book.listed(states, arguments.source, arguments.limit):
            print(
                f"{row.pk}  {instant(row.created_us)}  {row.source_id}  {row.channel}  "
                f"{row.state.value}  attempts {row.attempts}  {row.reason}".rstrip()
            )
    return 0
