"""Audit events a second: sealed and committed, chained, verified, beside bare inserts."""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.machine import print_table
from hie import migrations
from hie.audit.repository import AuditLog
from hie.audit.sequencer import Sequencer
from hie.audit.verifier import Verifier
from hie.crypto import KeyRing
from hie.db import Database
from hie.disclosure import Disclosures
from hie.kernel.clock import SystemClock
from hie.kernel.context import Caller, RequestContext
from hie.kernel.ids import OrganizationId
from hie.keystore import KeyStore
from hie.store.query import Served

#: Readers at once; the rows of a moment share a commit.
READERS = (1, 16, 64)
PERSONS = 200
#: Between two looks of the sequencer, as in a hub.
CHAIN_SECONDS = 1.0


def measure(folder: Path, *, count: int) -> None:
    """Print the table of the audit trail.

    Args:
        folder: for the data of this run.
        count: events a row.
    """
    rows = asyncio.run(_measured(folder, count))
    floor = _bare(folder, count)
    rows.append(("one INSERT and commit each, nothing sealed or hashed (floor)", floor))
    print_table(
        f"audit events, one patient each, SQLite ({count} events a row)",
        ("", "events/s", "us each"),
        [(what, f"{rate:,.0f}", f"{1e6 / rate:.0f}") for what, rate in rows],
    )


async def _measured(folder: Path, count: int) -> list[tuple[str, float]]:
    clock = SystemClock()
    database = Database(f"sqlite+aiosqlite:///{folder / 'audit.db'}", clock)
    await migrations.upgrade(database)
    ring = KeyRing.ephemeral()
    log = AuditLog(database, KeyStore(database, ring))
    disclosures = Disclosures(database, log, clock)
    key = ring.audit_signing_key()
    sequencer = Sequencer(database, key, folder / "heads.jsonl")
    rows = []
    for readers in READERS:
        rate = await _rate(count, readers, _recorder(disclosures, clock))
        rows.append((f"sealed, hashed, committed before the answer: {readers} at once", rate))
    started = time.perf_counter()
    chained = await sequencer.chain(clock.now_us())
    rows.append(("chained and signed afterwards", chained / (time.perf_counter() - started)))
    chaining = asyncio.create_task(_chain(sequencer, clock))
    rate = await _rate(count, READERS[-1], _recorder(disclosures, clock))
    chaining.cancel()
    await asyncio.gather(chaining, return_exceptions=True)
    await sequencer.close(clock.now_us())
    rows.append((f"committed while the chain follows: {READERS[-1]} at once", rate))
    started = time.perf_counter()
    found = await Verifier(database, key.public_key(), folder / "heads.jsonl").verify()
    rows.append(("verified", found.size / (time.perf_counter() - started)))
    if not found.is_whole or found.unchained:
        raise SystemExit("the trail is not whole")
    await database.close()
    return rows


def _recorder(disclosures: Disclosures, clock: SystemClock) -> Callable[[int], Awaitable[None]]:
    caller = Caller(token_id="t", organization=OrganizationId("org"), user="Practitioner/d1")

    async def record(number: int) -> None:
        person = f"person-{number % PERSONS}"
        shown = Served(
            type="Observation",
            id=f"observation-{number}",
            version="1",
            last_updated_us=0,
            source_id="source",
            person_id=person,
            source_record_id=f"record-{number % PERSONS}",
        )
        ctx = RequestContext(caller=caller, request_id=f"{number:032x}", now_us=clock.now_us())
        await disclosures.record(ctx, "R", "read", {person}, "Observation", shown.id, shown=[shown])

    return record


async def _rate(count: int, readers: int, record: Callable[[int], Awaitable[None]]) -> float:
    """Events a second, so many at a time."""

    async def read(first: int) -> None:
        for number in range(first, count, readers):
            await record(number)

    started = time.perf_counter()
    await asyncio.gather(*(read(first) for first in range(readers)))
    return count / (time.perf_counter() - started)


async def _chain(sequencer: Sequencer, clock: SystemClock) -> None:
    while True:
        await sequencer.chain(clock.now_us())
        await asyncio.sleep(CHAIN_SECONDS)


def _bare(folder: Path, count: int) -> float:
    """Rows a second of a table as wide, each committed alone."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE event (pk INTEGER PRIMARY KEY, person TEXT, sealed BLOB)")
    started = time.perf_counter()
    for number in range(count):
        connection.execute("INSERT INTO event VALUES (?, 'person', ?)", (number, bytes(400)))
    seconds = time.perf_counter() - started
    connection.close()
    return count / seconds
