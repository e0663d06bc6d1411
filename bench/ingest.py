"""Transactions of US Core charts over HTTP, beside inserting their rows alone.

Every chart is posted whole: validated, identified, labelled, sealed, indexed, audited, committed.
The floor inserts the rows that this wrote, in the same order, a chart a commit, and nothing else.
"""

import asyncio
import http
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from bench.asking import NotAnsweredError
from bench.machine import percentile, print_table
from bench.process import Hub, cpu_seconds, memory_mb, running_hub
from bench.row_floor import PostgresRows, Rows, SqliteRows
from bench.work import database_file
from tests.support.postgres import running_server
from tests.us_core.people import charts

CLIENTS = (1, 4)
WARM_UP = 3
ORGANIZATION = "urn:hie:bench|chart-clinic"
FHIR_JSON = {"Content-Type": "application/fhir+json"}
HEADER = (
    *("", "clients", "resources/s", "rows/s", "p50 ms", "p99 ms", "hub CPU ms a resource"),
    *("floor, rows/s", "of the floor"),
)


def measure(folder: Path, *, count: int) -> None:
    """Print the tables of ingest.

    Args:
        folder: for the data of this run.
        count: charts a row.
    """
    home = folder / "ingest-sqlite"
    with running_hub(home) as hub:
        _measure("SQLite", hub, SqliteRows(database_file(home), folder / "rows.db"), count)
    with (
        running_server(is_durable=True) as server,
        running_hub(folder / "ingest-postgresql", server.url("postgres")) as hub,
    ):
        _measure("PostgreSQL", hub, PostgresRows(server.dsn()), count)


def _measure(title: str, hub: Hub, rows: Rows, count: int) -> None:
    token = hub.command("token", "--scope", "system/*.cruds", "--organization", ORGANIZATION)
    headers = {"Authorization": f"Bearer {token}"} | FHIR_JSON
    made = [chart.bundle() for chart in charts(WARM_UP + len(CLIENTS) * count)]
    bundles = [json.dumps(bundle).encode() for bundle in made]
    asyncio.run(_send(hub, headers, bundles[:WARM_UP], clients=1))
    table = []
    for number, clients in enumerate(CLIENTS):
        part = slice(WARM_UP + number * count, WARM_UP + (number + 1) * count)
        resources = sum(len(bundle["entry"]) for bundle in made[part])
        before, used = rows.counts(), cpu_seconds(hub.pid)
        times, seconds = asyncio.run(_send(hub, headers, bundles[part], clients=clients))
        used = cpu_seconds(hub.pid) - used
        written, floor = rows.insert_again(before, commits=count)
        table.append(
            (
                f"{count} charts of {resources // count} resources, {written // count} rows",
                f"{clients}",
                f"{resources / seconds:.0f}",
                f"{written / seconds:.0f}",
                *(f"{percentile(times, share) * 1000:.0f}" for share in (0.5, 0.99)),
                f"{used / resources * 1000:.2f}",
                f"{written / floor:.0f}",
                f"{seconds / floor:.1f} x",
            )
        )
    print_table(f"{title}: transactions of US Core charts", HEADER, table)
    print(f"  hub {memory_mb(hub.pid):.0f} MB after; load {os.getloadavg()[0]:.1f}", flush=True)


async def _send(
    hub: Hub, headers: dict[str, str], bundles: Sequence[bytes], *, clients: int
) -> tuple[list[float], float]:
    """Seconds of each transaction, and of all of them."""
    times: list[float] = []
    waiting = iter(bundles)

    async def work(session: aiohttp.ClientSession) -> None:
        for bundle in waiting:
            started = time.perf_counter()
            async with session.post(hub.fhir, data=bundle) as response:
                await response.read()
                if response.status != http.HTTPStatus.OK:
                    raise NotAnsweredError(f"transaction: status {response.status}")
            times.append(time.perf_counter() - started)

    async with aiohttp.ClientSession(headers=headers) as session:
        started = time.perf_counter()
        await asyncio.gather(*(work(session) for _ in range(clients)))
        return times, time.perf_counter() - started
