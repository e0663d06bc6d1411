"""A laboratory report of 20 results, bytes in to searchable, beside inserting its rows alone."""

import asyncio
import sys
import time
from pathlib import Path

from bench.machine import percentile, print_table
from bench.messages import oru
from bench.mllp import send_all
from bench.process import memory_mb, running_hub
from bench.row_floor import SqliteRows
from bench.work import database_file, wait_until_settled

WARM_UP = 50
CONNECTIONS = 4
TARGET_PER_SECOND = 300
TARGET_RATIO = 3
#: Reports a commit of the floor.
BATCHES = (1, 16)


def measure(folder: Path, *, count: int) -> None:
    """Print the table of reports.

    Args:
        folder: for the data of this run.
        count: reports.
    """
    home = folder / "reports"
    with running_hub(home) as hub:
        asyncio.run(send_all(hub.mllp_port, [oru(n) for n in range(WARM_UP)], connections=1))
        wait_until_settled(home)
        rows = SqliteRows(database_file(home), folder / "rows.db")
        before = rows.counts()
        messages = [oru(n) for n in range(WARM_UP, WARM_UP + count)]
        started = time.perf_counter()
        tally = asyncio.run(send_all(hub.mllp_port, messages, connections=CONNECTIONS))
        states = wait_until_settled(home)
        seconds = time.perf_counter() - started
        memory = memory_mb(hub.pid)
    if states.get("processed", 0) < count:
        sys.exit(f"not every report was processed: {states}")
    floors: dict[int, float] = {}
    for batch in BATCHES:
        written, floors[batch] = rows.insert_again(before, commits=max(1, count // batch))
    print_table(
        f"ORU^R01 with 20 results, bytes in to searchable ({count} reports, "
        f"{written // count} rows a report, hub at {memory:.0f} MB)",
        ("", "reports/s", "ms each", "of the floor", "target"),
        [
            *(
                (f"the same rows alone, {batch} reports a commit (floor)", *_rate(count, s), "", "")
                for batch, s in floors.items()
            ),
            ("acknowledged", *_rate(count, tally.seconds), "", ""),
            (
                "searchable",
                *_rate(count, seconds),
                f"{seconds / floors[1]:.1f} x",
                f">= {TARGET_PER_SECOND}, <= {TARGET_RATIO} x",
            ),
        ],
    )
    print(f"  wait for the ACK meanwhile: p99 {percentile(tally.waits, 0.99) * 1000:.1f} ms")


def _rate(count: int, seconds: float) -> tuple[str, str]:
    return f"{count / seconds:,.0f}", f"{seconds / count * 1000:.2f}"
