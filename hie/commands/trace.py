"""Commands from a resource back to its message: message show, message of."""

import argparse
import asyncio
import getpass
import sys
from collections.abc import Sequence

from adapters.hl7v2 import er7
from adapters.hl7v2.convert import convert
from adapters.hl7v2.tally import places_of, tally_of
from adapters.message import Message
from adapters.port import Wire
from hie.audit.event import AuditRecord, Description
from hie.commands.parser import Group, command, settings_of
from hie.kernel.clock import instant
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import MessageId, PersonId, SourceRecordId
from hie.services import Services
from hie.settings import Settings
from hie.store.origins import VersionOrigin


def register(group: Group) -> None:
    """Add the commands that trace."""
    message = group.add_parser("message", help="Show a journaled message, or find a resource's.")
    actions = message.add_subparsers(title="actions", required=True, metavar="ACTION")
    arguments = command(
        actions,
        "show",
        "Print a stored message, its findings and the fields no map reads; audited.",
        lambda a: asyncio.run(show(settings_of(), a)),
    )
    arguments.add_argument("id", type=int, metavar="ID", help="as `hie message of` lists it")
    _say_who(arguments)
    arguments = command(
        actions,
        "of",
        "List the messages the versions of a resource came from; audited.",
        lambda a: asyncio.run(of(settings_of(), a)),
    )
    arguments.add_argument("resource", metavar="TYPE/ID", help="such as Observation/4f0c")
    _say_who(arguments)


def _say_who(arguments: argparse.ArgumentParser) -> None:
    arguments.add_argument("--user", default=getpass.getuser(), help="who asks; the login name")
    arguments.add_argument("--reason", default="", help="why; kept in the audit trail")


async def show(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print one journaled message, after its disclosure is on record."""
    async with Services(settings) as hub:
        async with hub.db.reading() as conn:
            message = await hub.journal.get(conn, MessageId(arguments.id))
            person = await _person_of(hub, message) if message else None
        if message is None:
            raise HieError(Category.NOT_FOUND, "`ID`: expected the id of a journaled message")
        query = f"message/{arguments.id}"
        await _record(hub, arguments, query, [person] if person else [])
        lines = _shown(hub, message)
    for line in lines:
        print(line)
    return 0


async def of(settings: Settings, arguments: argparse.Namespace) -> int:
    """List version, time, source and message of each version of a resource, newest first."""
    kind, _, resource_id = arguments.resource.partition("/")
    async with Services(settings) as hub:
        index = hub.config.index
        if kind not in index.types or not resource_id:
            raise HieError(Category.INVALID, "`TYPE/ID`: expected a stored type and an id")
        async with hub.db.reading() as conn:
            found = await hub.repository.origins(conn, kind, resource_id)
        await _record(hub, arguments, arguments.resource, _persons(found))
    for one in found:
        when = instant(one.last_updated_us)
        print(f"{one.version}\t{when}\t{one.source_id}\t{one.message_id}")
    print(f"{len(found)} versions", file=sys.stderr)
    return 0 if found else 1


def _persons(found: Sequence[VersionOrigin]) -> list[PersonId]:
    return [found[0].person_id] if found and found[0].person_id else []


async def _person_of(hub: Services, message: Message) -> PersonId | None:
    """Whom a message is about: the person of the record whose key wraps it."""
    if message.wrapped_by is None:
        return None
    async with hub.db.reading() as conn:
        record = SourceRecordId(await hub.keys.owner_of(conn, message.wrapped_by))
        return (await hub.mpi.person_of(conn, [record])).get(record)


async def _record(
    hub: Services, arguments: argparse.Namespace, query: str, persons: Sequence[PersonId]
) -> None:
    """Put the disclosure on record; nothing is printed that is not."""
    now_us = hub.clock.now_us()
    touched: Sequence[PersonId | None] = persons or (None,)
    records = [
        AuditRecord(
            recorded_us=now_us,
            action="R",
            subtype="disclose",
            person_id=person,
            user=arguments.user,
            detail={
                "query": Description(f"hie message {query}"),
                "reason": arguments.reason,
            },
        )
        for person in touched
    ]
    async with hub.db.transaction() as conn:
        await hub.audit.append(conn, records)


def _shown(hub: Services, message: Message) -> list[str]:
    """The message as staff read it: what became of it, findings, what no map reads, content."""
    lines = [
        f"message   {message.id}",
        f"source    {message.source_id}",
        f"received  {instant(message.received_us)}",
        f"trigger   {message.trigger}",
        f"state     {message.state.value}",
    ]
    if message.reason:
        lines.append(f"reason    {message.stage}: {message.reason}")
    lines += [f"finding   {f.place or 'message'} {f.severity} {f.text}" for f in message.findings]
    if message.wire is Wire.FHIR:
        return [*lines, "", message.payload.decode(errors="replace")]
    source = hub.config.sources.by_id(message.source_id)
    if source is not None:
        found = convert(message.payload, hub.mapper, lambda _: source)
        told = tally_of(found.coverage)
        lines.append(f"fields    {told.present} present, {told.mapped} mapped")
        lines += [f"kept      {place}" for place in places_of(told.kept)]
    text = _readable(message.payload, source.charset if source else "")
    return [*lines, "", *(line for line in text.splitlines() if line)]


def _readable(payload: bytes, charset: str) -> str:
    """A message's text in its own character set, without what a terminal would obey."""
    try:
        codec = er7.parse(payload, charset or None).charset
    except HieError:
        codec = "utf-8"
    text = payload.decode(codec, errors="replace")
    return "".join(c if c.isprintable() or c in "\r\n" else " " for c in text)
