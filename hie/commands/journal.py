"""Commands about journaled messages: parked, replay."""

import asyncio
import sys
from collections.abc import Sequence

from adapters.message import State
from hie.app import Hub
from hie.commands.parser import Group, command, settings_of
from hie.kernel.ids import MessageId
from hie.settings import Settings


def register(group: Group) -> None:
    """Add the commands of the journal."""
    arguments = command(
        group,
        "parked",
        "List messages that were acknowledged and then failed.",
        lambda a: asyncio.run(parked(settings_of(), is_kept=a.kept, limit=a.limit)),
    )
    arguments.add_argument("--kept", action="store_true", help="those that no map reads, instead")
    arguments.add_argument("--limit", type=int, default=100)
    arguments = command(
        group,
        "replay",
        "Put parked or kept messages back in the queue, by id.",
        lambda a: asyncio.run(replay(settings_of(), a.ids)),
    )
    arguments.add_argument(
        "ids", nargs="+", type=_message_id, metavar="ID", help="as `hie parked` lists them"
    )


def _message_id(text: str) -> int:
    if not 0 < int(text) < 1 << 63:
        raise ValueError
    return int(text)


async def parked(settings: Settings, *, is_kept: bool, limit: int) -> int:
    """List messages that wait for a person, or those that no map reads."""
    async with Hub(settings) as hub, hub.db.reading() as conn:
        state = State.KEPT if is_kept else State.PARKED
        messages = await hub.journal.listed(conn, state, limit)
    for m in messages:
        print(f"{m.id}\t{m.source_id}\t{m.trigger}\t{m.stage}\t{m.reason}")
    print(f"{len(messages)} {state.value}", file=sys.stderr)
    return 0


async def replay(settings: Settings, ids: Sequence[int]) -> int:
    """Put messages back in the queue; a running hub works them off, else this command does."""
    wanted = [MessageId(i) for i in ids]
    async with Hub(settings) as hub:
        async with hub.db.transaction() as conn:
            count = await hub.journal.reopen(conn, wanted)
        while await hub.worker.work_off_batch():
            pass
        async with hub.db.reading() as conn:
            found = [m for i in wanted if (m := await hub.journal.get(conn, i))]
    for m in found:
        print(f"{m.id}\t{m.state.value}\t{m.stage}\t{m.reason}")
    told = f"{count} of {len(ids)} put back; the others are not parked or kept"
    print(told, file=sys.stderr)
    is_done = count == len(ids) and all(m.state is not State.PARKED for m in found)
    return 0 if is_done else 1
