"""Commands about identity: the group `hie mpi`; what sources merged and moved, taken back."""

import argparse
import asyncio
import getpass
import sys

from hie.commands import care, linking, stewards, training
from hie.commands.parser import Group, command, positive, settings_of
from hie.flow.decisions import Steward
from hie.kernel.clock import instant
from hie.services import Services
from hie.settings import Settings


def register(group: Group) -> None:
    """Add the commands about identity."""
    mpi = group.add_parser("mpi", help="The master patient index: link, train, review, undo.")
    actions = mpi.add_subparsers(title="actions", required=True, metavar="ACTION")
    for module in (linking, training, stewards, care):
        module.register(actions)
    arguments = command(
        actions,
        "moves",
        "List merges and moves of patients, accounts and visits, the newest first.",
        lambda a: asyncio.run(moves(settings_of(), a.source, a.limit)),
    )
    arguments.add_argument("--source", default="", metavar="ID", help="of this source only")
    arguments.add_argument("--limit", type=positive, default=50, metavar="N")
    arguments = command(
        actions,
        "undo",
        "Take a decision back: persons, and what a merge or move changed; audited.",
        lambda a: asyncio.run(undo(settings_of(), a)),
    )
    arguments.add_argument("decision", type=int, metavar="DECISION", help="its number")
    arguments.add_argument("--reason", required=True, metavar="TEXT", help="why; kept sealed")
    arguments.add_argument(
        "--by", default="", metavar="NAME", help="who acts; else who is logged in"
    )


async def moves(settings: Settings, source: str, limit: int) -> int:
    """Print merges and moves, one a line: decision, time, source, kind, message, state."""
    async with Services(settings) as hub, hub.db.reading() as conn:
        found = await hub.takeback.moves(conn, source, limit)
    for move in found:
        state = "undone" if move.is_undone else "done"
        print(
            f"{move.decision_id}\t{instant(move.at_us)}\t{move.source_id}\t{move.kind}"
            f"\t{move.message_id}\t{state}"
        )
    print(f"{len(found)} moves", file=sys.stderr)
    return 0


async def undo(settings: Settings, arguments: argparse.Namespace) -> int:
    """Take a decision back; 3 where something touched since had to be left."""
    async with Services(settings) as hub:
        steward = Steward(
            name=arguments.by or getpass.getuser(), reason="undo", words=arguments.reason
        )
        done = await hub.stewards.undo(steward, arguments.decision)
    left = len(done.left) + len(done.kept)
    print(f"decision {done.decision_id}: {len(done.persons)} persons put right, {left} left")
    if done.corrections:
        print(f"{done.corrections} disclosures misled: `hie mpi corrections {done.decision_id}`")
    for item in done.left:
        print(f"left, touched since: {item.type}/{item.id}", file=sys.stderr)
    for record in done.kept:
        print(f"left, moved since: Patient/{record}", file=sys.stderr)
    for record in done.arrived:
        print(f"asked about, came since: Patient/{record}", file=sys.stderr)
    return 3 if left else 0
