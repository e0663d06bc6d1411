"""Commands that run the hub: serve, demo, migrate, check-config."""

import asyncio
import dataclasses
import signal
from collections.abc import Sequence

from consent.settings import load_consent_settings, regimes
from hie.app import Hub, Role
from hie.commands.parser import Group, command, settings_of
from hie.config import Config
from hie.db import Database
from hie.demo.handle import DemoHandle
from hie.demo.run import prepare_tls, run_demo
from hie.log import configure_logging, load_fields
from hie.migrations import upgrade
from hie.settings import Settings, Tls
from mpi.training.plan import load_plan
from mpi.training.suite import load_suite


def register(group: Group) -> None:
    """Add the commands that run the hub."""
    arguments = command(
        group,
        "serve",
        "Run the hub: FHIR and HL7 v2 over HTTP, MLLP, MLLP over TLS.",
        lambda a: asyncio.run(serve(settings_of(), a.role)),
    )
    arguments.add_argument(
        "--role",
        action="append",
        choices=[role.value for role in Role],
        help="only this part of the work, beside other processes on PostgreSQL; may be repeated",
    )
    arguments = command(
        group,
        "demo",
        "Run the hub on a synthetic state: five sources feed it, then it shows what came out.",
        lambda a: asyncio.run(demo(settings_of(), is_once=a.once)),
    )
    arguments.add_argument("--once", action="store_true", help="check the outcome and exit")
    command(
        group,
        "migrate",
        "Bring the database to this version's schema.",
        lambda _: asyncio.run(migrate(settings_of())),
    )
    command(
        group,
        "check-config",
        "Read every file of config/ and the HIE_* variables; say what is wrong.",
        lambda _: check_config(settings_of()),
    )


async def serve(settings: Settings, roles: Sequence[str] | None = None) -> int:
    """Run the hub until SIGTERM or Ctrl-C; in-flight messages finish first."""
    configure_logging(fields=load_fields(settings.config / "log.toml"))
    stopping = _signals()
    chosen = frozenset(Role(name) for name in roles) if roles else frozenset(Role)
    async with Hub(settings, roles=chosen) as hub:
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
    for regime in regimes(settings.config):
        load_consent_settings(settings.config, regime)
    load_fields(settings.config / "log.toml")
    load_plan(settings.config / "mpi")
    load_suite(settings.config / "mpi" / "gold.csv", config.mpi)
    print(f"profile {settings.profile}, regime {settings.regime}")
    print(f"{len(config.sources.all())} sources, {len(config.mapper.triggers)} mapped triggers")
    print("the configuration can be used")
    return 0


def _signals() -> asyncio.Event:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping
