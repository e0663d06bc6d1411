"""Commands about the audit trail: verify, prove, export, account for disclosures."""

import argparse
import asyncio
import getpass
import json
import os
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hie.accounting import Medium, Wanted, written
from hie.audit.event import AuditRecord
from hie.audit.heads import HeadsFile
from hie.audit.proofs import Prover
from hie.audit.repository import pk_of
from hie.auditing import Auditing
from hie.commands.parser import Group, command, settings_of
from hie.kernel.clock import micros
from hie.kernel.context import Caller, RequestContext, Scope
from hie.kernel.errors import Category, HieError
from hie.services import Services
from hie.settings import Settings

_MEDIA: Final = {".pdf": Medium.PDF, ".csv": Medium.CSV}


def register(group: Group) -> None:
    """Add the commands."""
    audit = group.add_parser("audit", help="Check, prove, export the audit trail; account for it.")
    actions = audit.add_subparsers(title="actions", required=True, metavar="ACTION")
    verified = command(
        actions,
        "verify",
        "Follow the audit chain from its first row; name the first fault.",
        lambda a: asyncio.run(verify(settings_of(), a)),
    )
    verified.add_argument(
        "--heads",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="heads kept elsewhere: a copy of heads.jsonl, or a syslog that holds them",
    )
    verified.add_argument(
        "--clock-from",
        type=int,
        default=0,
        metavar="ROW",
        help="look at the clock from this row on: one that once went back stays in the trail",
    )
    proved = command(
        actions,
        "prove",
        "Print the proof that an event is in the tree that was signed last.",
        lambda a: asyncio.run(prove(settings_of(), a)),
    )
    proved.add_argument("event", help="id of the AuditEvent")
    proved.add_argument(
        "--from", dest="earlier", type=int, default=0, metavar="SIZE", help="of an older head"
    )
    exported = command(
        actions,
        "export",
        "Print AuditEvents, one JSON object a line; audited.",
        lambda a: asyncio.run(export(settings_of(), a)),
    )
    exported.add_argument("--since", type=_moment, default=0, metavar="TIME")
    exported.add_argument("--until", type=_moment, default=None, metavar="TIME")
    _register_accounting(actions)


def _register_accounting(actions: Group) -> None:
    made = command(
        actions,
        "accounting",
        "Write who was given what of a person's record, as PDF or CSV; audited.",
        lambda a: asyncio.run(accounting(settings_of(), a)),
    )
    made.add_argument("--person", required=True, metavar="ID", help="id of the Patient")
    made.add_argument("--form", default="patient", help="of config/audit/forms.toml: hipaa, part2")
    made.add_argument("--since", type=_moment, default=None, metavar="TIME")
    made.add_argument("--until", type=_moment, default=None, metavar="TIME")
    made.add_argument("--all", action="store_true", help="leave nothing out")
    made.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="new file: .pdf or .csv"
    )


def _moment(text: str) -> int:
    """Microseconds of `2026-01-31` or `2026-01-31T09:30:00Z`; UTC unless it says otherwise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        told = "expected a day or a time, `2026-01-31` or `2026-01-31T09:30:00Z`"
        raise argparse.ArgumentTypeError(told) from error
    return micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


async def verify(settings: Settings, arguments: argparse.Namespace) -> int:
    """Follow the audit chain; 1 when it is not whole."""
    for file in arguments.heads:
        if not file.is_file():
            raise HieError(Category.INVALID, "`--heads`: expected a file that is there")
        if not HeadsFile(file).read()[0]:
            # Compared with nothing the trail would be called whole.
            raise HieError(Category.INVALID, "`--heads`: expected a file with a signed head in it")
    async with Services(settings) as hub:
        found = await hub.verifier.verify(arguments.heads, arguments.clock_from)
    print(f"{found.size} rows whole, {found.unchained} unchained, {found.heads} heads compared")
    if found.missing:
        print(f"REMARK: the database lacks {found.missing} signed heads that a file has")
    if found.tamper is None:
        print("the audit trail is whole")
        return 0
    print(f"FAULT at row {found.tamper.seq}: {found.tamper.kind.value}")
    return 1


async def prove(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the proof of one event."""
    pk = pk_of(arguments.event)
    async with Services(settings) as hub:
        async with hub.db.reading() as conn:
            rows = await hub.audit.rows(conn, [pk] if pk is not None else [])
        if pk is None or pk not in rows:
            raise HieError(Category.NOT_FOUND, "there is no such event")
        proof = await Prover(hub.db).prove(rows[pk].seq, arguments.earlier)
        print(json.dumps(proof.told(hub.ring.audit_signing_key().public_key()), indent=2))
    return 0


async def export(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print every AuditEvent; that it was done is on record before the first is printed."""
    async with Services(settings) as hub:
        record = AuditRecord(
            recorded_us=hub.clock.now_us(),
            action="R",
            subtype="disclose",
            user=_user(),
            purpose="HSYSADMIN",
            resource_type="AuditEvent",
            detail={"query": "hie audit export"},
        )
        async with hub.db.transaction() as conn:
            await hub.audit.append(conn, [record])
        async for line in hub.audit.export(since_us=arguments.since, until_us=arguments.until):
            sys.stdout.write(line.decode())
    return 0


async def accounting(settings: Settings, arguments: argparse.Namespace) -> int:
    """Write an accounting into a new file for its owner alone."""
    medium = _MEDIA.get(arguments.out.suffix.lower())
    if medium is None:
        raise HieError(Category.INVALID, "`--out`: expected a file that ends in .pdf or .csv")
    async with Services(settings) as hub:
        ctx = RequestContext(
            caller=Caller(
                token_id="",
                user=_user(),
                purpose="HOPERAT",
                scopes=(Scope("staff", "privacy", "officer"),),
            ),
            request_id=uuid.uuid4().hex,
            now_us=hub.clock.now_us(),
        )
        wanted = Wanted(
            person_id=arguments.person,
            form=arguments.form,
            since_us=arguments.since,
            until_us=arguments.until,
            is_whole=arguments.all,
        )
        account = await Auditing(hub).accountings.make(ctx, wanted)
    content = await written(account, medium)
    try:
        handle = os.open(arguments.out, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError as error:
        raise HieError(Category.INVALID, "`--out`: expected a file that is not there") from error
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    print(f"{len(account.lines)} lines")
    return 0


def _user() -> str:
    return getpass.getuser()
