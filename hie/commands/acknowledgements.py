"""The command about application acknowledgements: what waits, what was given up, try again."""

import argparse
import asyncio

from hie.commands.parser import Group, command, settings_of
from hie.kernel.clock import instant
from hie.kernel.ids import MessageId
from hie.services import Services
from hie.settings import Settings


def register(group: Group) -> None:
    """Add the command."""
    arguments = command(
        group,
        "acknowledgements",
        "List application acknowledgements that wait or were given up; try some again.",
        lambda a: asyncio.run(acknowledgements(settings_of(), a)),
    )
    arguments.add_argument("--limit", type=int, default=100)
    arguments.add_argument(
        "--again",
        nargs="+",
        type=int,
        default=[],
        metavar="ID",
        help="messages whose acknowledgement was given up: a running hub tries it again",
    )


async def acknowledgements(settings: Settings, arguments: argparse.Namespace) -> int:
    """Put some back in the queue, then list what is not delivered, newest first."""
    async with Services(settings) as services:
        outbox = services.journal.outbox
        if arguments.again:
            count = await outbox.again([MessageId(number) for number in arguments.again])
            print(f"{count} of {len(arguments.again)} are tried again")
        for row in await outbox.listed(arguments.limit):
            print(
                f"{row.message_id}  {instant(row.created_us)}  {row.source_id}  {row.code}  "
                f"{row.state.value}  attempts {row.attempts}  {row.reason}".rstrip()
            )
    return 0
