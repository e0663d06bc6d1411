"""What the commands of `hie` do; each prints for a person or a pipe and gives an exit code."""

import argparse
import asyncio
import dataclasses
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from adapters.hl7v2.convert import Report, SourceFinder, convert_files, lint_files
from adapters.hl7v2.er7 import Message
from adapters.hl7v2.send import Destination, send_all, split_messages
from adapters.hl7v2.tls import TlsSettings
from adapters.message import State
from adapters.sources import Source, adhoc_source
from hie.app import Config, Hub
from hie.db import Database
from hie.demo.handle import DemoHandle
from hie.demo.run import prepare_tls, run_demo
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import MessageId
from hie.log import configure_logging, load_fields
from hie.migrations import upgrade
from hie.settings import Settings, Tls

__all__ = ["Settings"]


async def serve(settings: Settings) -> int:
    """Run the hub until SIGTERM or Ctrl-C; in-flight messages finish first."""
    configure_logging(fields=load_fields(settings.config / "log.toml"))
    stopping = _signals()
    async with Hub(settings) as hub:
        await hub.start()
        await stopping.wait()
    return 0


async def demo(settings: Settings, *, is_once: bool) -> int:
    """Run the hub on the synthetic state; 1 when its own checks fail with --once."""
    fields = load_fields(settings.config / "log.toml")
    configure_logging(settings.home / "logs" / "demo.jsonl", fields=fields)
    certificates = prepare_tls(settings.home, settings.config)
    tls = Tls(
        certificate=certificates.server.certificate,
        private_key=certificates.server.private_key,
        client_authorities=certificates.authority,
    )
    stopping = _signals()
    async with Hub(dataclasses.replace(settings, tls=tls)) as hub:
        await hub.start()
        run = asyncio.create_task(run_demo(DemoHandle(hub), is_once))
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({run, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not run.done():
            run.cancel()
            return 130
        outcome = await run
        if not is_once:
            print("The hub stays up; Ctrl-C ends it.", flush=True)
            await stop
    return outcome


async def migrate(settings: Settings) -> int:
    """Bring the database to this version's schema."""
    db = Database(settings.database_url)
    try:
        await upgrade(db)
    finally:
        await db.close()
    print("the database has this version's schema")
    return 0


def check_config(settings: Settings) -> int:
    """Read everything in config/; what is wrong is raised."""
    config = Config(settings)
    load_fields(settings.config / "log.toml")
    print(f"profile {settings.profile}, regime {settings.regime}")
    print(f"{len(config.sources.all())} sources, {len(config.mapper.triggers)} mapped triggers")
    print("the configuration can be used")
    return 0


async def send(arguments: argparse.Namespace) -> int:
    """Send files over MLLP; 1 when any message was not accepted."""
    host, _, port = arguments.to.rpartition(":")
    if not port.isdigit():
        raise HieError(Category.INVALID, "`--to`: expected HOST:PORT")
    payloads = [m for file in arguments.files for m in split_messages(file.read_bytes())]
    if not payloads:
        raise HieError(Category.INVALID, "the files hold no message")
    destination = Destination(host=host, port=int(port), tls=_client_tls(arguments))
    refused = 0
    async for reply in send_all(payloads, destination):
        print(f"{reply.control_id}\t{reply.code}\t{reply.text}", flush=True)
        refused += reply.code not in ("AA", "CA")
    return 1 if refused else 0


def convert(settings: Settings, files: Sequence[str], source: str) -> int:
    """Print one Bundle per message; findings and coverage on standard error."""
    config = Config(settings)
    return _told(convert_files(_contents(files), config.mapper, _source_finder(config, source)))


def lint(settings: Settings, files: Sequence[str], source: str, *, is_deep: bool) -> int:
    """Print the findings of each message."""
    config = Config(settings)
    finder = _source_finder(config, source)
    return _told(
        lint_files(_contents(files), config.mapper, config.conformer, finder, is_deep=is_deep)
    )


def _told(report: Report) -> int:
    for line in report.output:
        print(line)
    for line in report.remarks:
        print(line, file=sys.stderr)
    return report.exit_code


def _source_finder(config: Config, named: str) -> SourceFinder:
    """Whose a message is: the named source, else the one its MSH says, else an ad-hoc one."""
    if named:
        source = config.sources.by_id(named)
        if source is None:
            known = ", ".join(s.id for s in config.sources.all())
            raise HieError(Category.NOT_FOUND, f"`--source`: expected one of {known}")
        return lambda _: source

    def found(message: Message) -> Source:
        sender = (message.application, message.facility)
        return config.sources.for_message(*sender) or adhoc_source(*sender)

    return found


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


async def token(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print a bearer token and nothing else."""
    if not settings.auth_cli_tokens:
        text = "`auth_cli_tokens` is false: tokens come from sign-in in this profile"
        raise HieError(Category.FORBIDDEN, text)
    async with Hub(settings) as hub:
        print(
            await hub.issue_token(
                scope=arguments.scope,
                organization=arguments.organization,
                purpose=arguments.purpose,
                patient=arguments.patient,
                user=arguments.user,
                ttl_seconds=arguments.ttl,
            )
        )
    return 0


async def audit_verify(settings: Settings) -> int:
    """Follow the audit chain; 1 when it is not whole."""
    async with Hub(settings) as hub:
        found = await hub.verifier.verify()
    print(f"{found.size} rows whole, {found.unchained} unchained, {found.heads} heads compared")
    if found.tamper is None:
        print("the audit trail is whole")
        return 0
    print(f"FAULT at row {found.tamper.seq}: {found.tamper.kind.value}")
    return 1


async def audit_export(settings: Settings) -> int:
    """Print every AuditEvent."""
    async with Hub(settings) as hub:
        async for line in hub.audit.export():
            sys.stdout.write(line.decode())
    return 0


def _signals() -> asyncio.Event:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


def _client_tls(arguments: argparse.Namespace) -> TlsSettings | None:
    if arguments.ca is None:
        return None
    return TlsSettings(
        certificate=arguments.certificate,
        private_key=arguments.key,
        authorities=arguments.ca,
    )


def _contents(files: Sequence[str]) -> list[tuple[str, bytes]]:
    return [
        (name, sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes())
        for name in files
    ]
