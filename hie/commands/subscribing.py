"""Commands about subscriptions and panels: list, try again, turn off; load, take back."""

import argparse
import asyncio
import csv
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

from hie.commands.parser import Group, command, settings_of
from hie.kernel.clock import instant
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.services import Services
from hie.settings import Settings
from hie.subscribing import panels_of
from hie.subscriptions.model import Status
from hie.subscriptions.panels import REASONS, Loaded, Row
from mpi.config_table import ConfigTable
from mpi.normalize import Normalizer
from mpi.offline.columns import column_map
from mpi.offline.file import CsvFile
from mpi.offline.rows import RowReader
from mpi.settings import MpiSettings

#: Columns of a panel beside those of the map: when the patient is the subscriber's.
START, END = "attribution_start", "attribution_end"
OFF: Final = "turned off by staff"
_RESULT: Final = ("row", "outcome", "patient", "reason")


def register(group: Group) -> None:
    """Add `hie subscriptions` and `hie panel`."""
    text = "Subscriptions: who is told of what, and how it goes."
    actions = group.add_parser("subscriptions", help=text, description=text).add_subparsers(
        title="actions", required=True, metavar="ACTION"
    )
    command(
        actions,
        "list",
        "List subscriptions, with how many events each was told and what waits.",
        lambda _: asyncio.run(listed(settings_of())),
    )
    for name, help_text, status in (
        ("retry", "Ask an endpoint again, by a handshake; events go on after it.", "requested"),
        ("off", "Turn a subscription off; its subscriber may ask for it again.", "off"),
    ):
        arguments = command(
            actions, name, help_text, lambda a: asyncio.run(set_status(settings_of(), a))
        )
        arguments.add_argument("id", metavar="SUBSCRIPTION")
        arguments.set_defaults(status=status)
    _register_panels(group)


def _register_panels(group: Group) -> None:
    text = "Panels: whose events a subscriber is told of."
    actions = group.add_parser("panel", help=text, description=text).add_subparsers(
        title="actions", required=True, metavar="ACTION"
    )
    load = command(
        actions,
        "load",
        "Make the rows of a CSV file the members of a Group; say what became of each.",
        lambda a: asyncio.run(load_panel(settings_of(), a)),
    )
    load.add_argument("file", type=Path, metavar="FILE.csv")
    load.add_argument(
        "--map", type=Path, required=True, metavar="columns.toml", help="as of `hie mpi link`"
    )
    load.add_argument(
        "--group", default="", help="a Group of this organisation; default: a new one"
    )
    load.add_argument("--name", default="", help="the Group's name")
    load.add_argument("--out", type=Path, metavar="FILE", help="results; default: standard output")
    undo = command(
        actions,
        "undo",
        "Take the last load of a Group back.",
        lambda a: asyncio.run(undo_load(settings_of(), a)),
    )
    undo.add_argument("group", metavar="GROUP")
    for arguments in (load, undo):
        arguments.add_argument("--organization", required=True, help="whose panel it is")
        arguments.add_argument("--purpose", default="TREAT", help="v3-ActReason code")


async def listed(settings: Settings) -> int:
    """One line each, oldest first; what they ask for is told to their owners alone."""
    async with Services(settings) as services:
        async with services.db.reading() as conn:
            found = await services.subscriptions.everyone(conn)
            counts = await services.subscriptions.counts(conn)
        for one in found:
            waiting = sum(n for (name, _), (n, _) in counts.items() if name == one.id)
            topic = one.terms.topic.rpartition(":")[2]
            print(
                f"{one.id}  {instant(one.created_us)}  {one.owner}  {topic}  "
                f"{one.terms.channel.type.value}  {one.status.value}  told {one.told}  "
                f"delivered {one.delivered}  waiting {waiting}  {one.error}".rstrip()
            )
    return 0


async def set_status(settings: Settings, arguments: argparse.Namespace) -> int:
    """Turn one off, or have a running hub try it again."""
    status = Status(arguments.status)
    async with Services(settings) as services:
        now_us = services.clock.now_us()
        async with services.db.transaction() as conn:
            one = await services.subscriptions.get(conn, arguments.id)
            if one is None:
                raise HieError(Category.NOT_FOUND, "there is no subscription of this id")
            error = OFF if status is Status.OFF else ""
            fresh = replace(
                one,
                status=status,
                error=error,
                version=one.version + 1,
                updated_us=now_us,
                attempts=0,
                due_us=now_us,
                failing_us=None,
            )
            await services.subscriptions.save(conn, fresh)
        print(f"{one.id} {status.value}")
    return 0


async def load_panel(settings: Settings, arguments: argparse.Namespace) -> int:
    """Load a file; exit code 3 where some rows mean nobody."""
    async with Services(settings) as services:
        rows = list(_rows(services.config.mpi, arguments))
        ctx = await _context(services, arguments)
        loaded = await panels_of(services).load(
            ctx, rows, title=arguments.name, group_id=arguments.group
        )
    with ExitStack() as open_files:
        out: TextIO = sys.stdout
        if arguments.out:
            out = open_files.enter_context(arguments.out.open("w", newline="", encoding="utf-8"))
        return _told(loaded, out)


async def undo_load(settings: Settings, arguments: argparse.Namespace) -> int:
    """Take a load back."""
    async with Services(settings) as services:
        ctx = await _context(services, arguments)
        count = await panels_of(services).undo(ctx, arguments.group)
    print(f"Group/{arguments.group} has {count} members again")
    return 0


async def _context(services: Services, arguments: argparse.Namespace) -> RequestContext:
    """The organisation asking for itself, by a token that is on record."""
    bearer = await services.issue_token(
        scope="system/Group.cru system/Patient.rs",
        organization=arguments.organization,
        purpose=arguments.purpose,
        ttl_seconds=24 * 3600,
    )
    return RequestContext(
        caller=await services.tokens.check(bearer),
        request_id="hie panel",
        now_us=services.clock.now_us(),
    )


def _rows(mpi: MpiSettings, arguments: argparse.Namespace) -> Iterator[Row]:
    today = datetime.now(UTC).date()
    columns = column_map(ConfigTable.read(arguments.map), today)
    lines = CsvFile(arguments.file, columns).rows()
    _, header = next(lines)
    reader = RowReader(
        header, columns, arguments.file.name, Normalizer(mpi.forms, mpi.defaults), today
    )
    places = {name: header.index(name) for name in (START, END) if name in header}
    for _, cells in lines:
        dated = {name: cells[place].strip() for name, place in places.items()}
        yield Row(
            name=reader.record_id(cells),
            patient=reader.patient(cells),
            start=dated.get(START, ""),
            end=dated.get(END, ""),
        )


def _told(loaded: Loaded, out: TextIO) -> int:
    writer = csv.writer(out)
    writer.writerow(_RESULT)
    for row in loaded.rows:
        patient = f"Patient/{row.person}" if row.person else ""
        writer.writerow((row.name, row.outcome.value, patient, REASONS[row.outcome]))
    matched = sum(1 for row in loaded.rows if row.person)
    print(
        f"Group/{loaded.group_id} version {loaded.version}: "
        f"{matched} of {len(loaded.rows)} rows matched",
        file=sys.stderr,
    )
    return 0 if matched == len(loaded.rows) else 3
