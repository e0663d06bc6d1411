"""A laboratory report of 20 results, bytes in to searchable, beside inserting its rows alone."""

import asyncio
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.machine import percentile, print_table
from bench.messages import oru
from bench.mllp import send_all
from bench.process import Hub, cpu_seconds, memory_mb, running_hub
from bench.row_floor import PostgresRows, Rows, SqliteRows
from bench.work import database_file, wait_until_none_waits, wait_until_settled
from tests.support.postgres import running_server

WARM_UP = 50
CONNECTIONS = 4
TARGET_PER_SECOND = 300
TARGET_RATIO = 3
#: Reports a commit of the floor.
BATCHES = (1, 16)


def measure(folder: Path, *, count: int) -> None:
    """Print the tables of reports.

    Args:
        folder: for the data of this run.
        count: reports.
    """
    home = folder / "reports-sqlite"
    with running_hub(home) as hub:
        rows = SqliteRows(database_file(home), folder / "rows.db")
        _measure("SQLite", hub, rows, partial(wait_until_settled, home), count)
    with (
        running_server(is_durable=True) as server,
        running_hub(folder / "reports-postgresql", server.url("postgres")) as hub,
    ):
        kept = PostgresRows(server.dsn())
        _measure("PostgreSQL", hub, kept, partial(wait_until_none_waits, kept.states), count)


def _measure(
    title: str, hub: Hub, rows: Rows, settled: Callable[[], dict[str, int]], count: int
) -> None:
    asyncio.run(send_all(hub.mllp_port, [oru(n) for n in range(WARM_UP)], connections=1))
    settled()
    before, used = rows.counts(), cpu_seconds(hub.pid)
    messages = [oru(n) for n in range(WARM_UP, WARM_UP + count)]
    started = time.perf_counter()
    tally = asyncio.run(send_all(hub.mllp_port, messages, connections=CONNECTIONS))
    states = settled()
    seconds, used = time.perf_counter() - started, cpu_seconds(hub.pid) - used
    if states.get("processed", 0) < count:
        sys.exit(f"not every report was processed: {states}")
    floors: dict[int, float] = {}
    for batch in BATCHES:
        written, floors[batch] = rows.insert_again(before, commits=max(1, count // batch))
    print_table(
        f"{title}: ORU^R01 with 20 results, bytes in to searchable ({count} reports, "
        f"{written // count} rows a report, hub at {memory_mb(hub.pid):.0f} MB)",
        ("", "reports/s", "ms each", "hub CPU ms each", "of the floor", "target"),
        [
            *(
                (f"the same rows alone, {n} reports a commit (floor)", *_rate(count, s), "", "", "")
                for n, s in floors.items()
            ),
            ("acknowledged", *_rate(count, tally.seconds), "", "", ""),
            (
                "searchable",
                *_rate(count, seconds),
                f"{used / count * 1000:.1f}",
                f"{seconds / floors[1]:.1f} x",
                f">= {TARGET_PER_SECOND}, <= {TARGET_RATIO} x",
            ),
        ],
    )
    print(f"  wait for the ACK meanwhile: p99 {percentile(tally.waits, 0.99) * 1000:.1f} ms")


def _rate(count: int, seconds: float) -> tuple[str, str]:
    return f"{count / seconds:,.0f}", f"{seconds / count * 1000:.2f}"
