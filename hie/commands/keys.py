"""Commands about keys - status, rotate, retire - and the erasure of a person, which ends some."""

import argparse
import asyncio
import getpass
import json
import sys
import uuid

from hie.commands.parser import Group, command, settings_of
from hie.commands.progress import ProgressBar
from hie.flow.erasure import Outlook
from hie.kernel.clock import instant
from hie.kernel.context import Caller, RequestContext
from hie.key_care import KeyCare, KeyReport
from hie.services import Services
from hie.settings import Settings

#: What a command that has not come to its end exits with.
UNFINISHED = 3


def register(group: Group) -> None:
    """Add the commands about keys."""
    keys = group.add_parser("keys", help="Keys: what seals what, rotation, retirement.")
    actions = keys.add_subparsers(title="actions", required=True, metavar="ACTION")
    shown = command(
        actions,
        "status",
        "Show which wrapping key wraps how much; exit code 1 where one is missing.",
        lambda a: asyncio.run(status(settings_of(), a)),
    )
    shown.add_argument("--json", action="store_true", help="for programs")
    turned = command(
        actions,
        "rotate",
        "Make a new wrapping key current and wrap every data key by it, beside a working hub; "
        "stopped, it goes on where it was.",
        lambda a: asyncio.run(rotate(settings_of(), a)),
    )
    text = "stop after so long; exit code 3 where it was not through"
    turned.add_argument("--seconds", type=float, default=86_400.0, metavar="N", help=text)
    _who(turned)
    gone = command(
        actions,
        "retire",
        "Destroy a wrapping key that wraps nothing any more; older backups need it: keep a copy "
        "of the key file with them.",
        lambda a: asyncio.run(retire(settings_of(), a)),
    )
    gone.add_argument("key", help="as `hie keys status` calls it")
    _who(gone)
    erased = command(
        group,
        "erase",
        "Erase a person for good, by law: counts what would go, and with --yes destroys the keys "
        "and takes it out. Nothing takes it back.",
        lambda a: asyncio.run(erase(settings_of(), a)),
    )
    erased.add_argument("person", metavar="PERSON", help="id of the golden Patient")
    erased.add_argument("--reason", default="", help="on what ground; on the audit trail")
    text = "keep readable who saw the record, while accountings of disclosures are owed"
    erased.add_argument("--keep-trail", action="store_true", help=text)
    erased.add_argument("--yes", action="store_true", help="do it")
    _who(erased)


def _who(arguments: argparse.ArgumentParser) -> None:
    arguments.add_argument("--by", default="", metavar="NAME", help="for the audit trail")


async def status(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print where the keys are and what they wrap."""
    async with Services(settings) as hub:
        report = await KeyCare(hub).report()
    if arguments.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        _print(report)
    return 0 if report.is_whole else 1


async def rotate(settings: Settings, arguments: argparse.Namespace) -> int:
    """Rotate; 3 where time ran out before the end."""
    bar = ProgressBar({"wrap": "data keys"})
    async with Services(settings) as hub:
        care = KeyCare(hub)
        key_id = await care.begin(arguments.by)
        done = await care.work(arguments.seconds, lambda n, total: bar("wrap", n, total))
    print(f"key {key_id} is current; {done.done} of {done.total} data keys wrapped anew")
    if done.is_over:
        return 0
    print("not through yet: run it again to go on", file=sys.stderr)
    return UNFINISHED


async def retire(settings: Settings, arguments: argparse.Namespace) -> int:
    """Destroy a wrapping key."""
    async with Services(settings) as hub:
        await KeyCare(hub).retire(arguments.key, arguments.by)
    print(f"key {arguments.key} is destroyed")
    return 0


async def erase(settings: Settings, arguments: argparse.Namespace) -> int:
    """Count, or erase; 3 where it was only counted."""
    bar = ProgressBar({"questions": "questions looked at"})
    async with Services(settings) as hub:
        caller = Caller(token_id="", user=arguments.by or getpass.getuser(), purpose="HSYSADMIN")
        ctx = RequestContext(caller=caller, request_id=uuid.uuid4().hex, now_us=hub.clock.now_us())
        if not arguments.yes:
            found = await hub.erasure.outlook(ctx, arguments.person)
            print(_told(found, "would go"))
            print("nothing was erased: run it again with --yes", file=sys.stderr)
            return UNFINISHED
        found = await hub.erasure.erase(
            ctx,
            arguments.person,
            reason=arguments.reason,
            keeps_trail=arguments.keep_trail,
            progress=lambda seen: bar("questions", seen, seen + 1),
        )
    print(_told(found, "erased"))
    return 0


def _told(found: Outlook, what: str) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.resources.items())
    total = sum(found.resources.values())
    return f"{what}: {len(found.records)} source records, {total} resources ({kinds or 'none'})"


def _print(report: KeyReport) -> None:
    names = list(report.counts)
    print(f"provider     {report.provider}")
    print(f"blind index  {report.blind}")
    print(f"audit key    {report.audit}")
    for owner, rows in report.kinds.items():
        print(f"data keys    {rows} of kind {owner}")
    if report.destroyed:
        print(f"destroyed    {report.destroyed} data keys, the last {instant(report.last_us)}")
    print()
    print(f"{'key':<8}{'current since':<30}" + "".join(f"{name:>12}" for name in names))
    for key_id, since_us in report.since.items():
        mark = f"{key_id} *" if key_id == report.current else key_id
        each = "".join(f"{report.counts[name].get(key_id, 0):>12}" for name in names)
        print(f"{mark:<8}{instant(since_us) if since_us else '-':<30}{each}")
    print()
    for line in report.advice():
        print(line)
