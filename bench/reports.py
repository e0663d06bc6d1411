"""A laboratory report of 20 results, bytes in to searchable, beside inserting its rows alone."""

import asyncio
import sqlite3
import sys
import time
from pathlib import Path

from bench.machine import percentile, print_table
from bench.messages import oru
from bench.mllp import send_all
from bench.process import memory_mb, running_hub
from bench.work import database_file, wait_until_settled

WARM_UP = 50
CONNECTIONS = 4
TARGET_PER_SECOND = 300
TARGET_RATIO = 3
#: Tables a message fills on its way; the floor inserts exactly these rows again.
NOT_COUNTED = ("sqlite_", "alembic_", "consent_", "access_token")


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
        before = _row_counts(database_file(home))
        messages = [oru(n) for n in range(WARM_UP, WARM_UP + count)]
        started = time.perf_counter()
        tally = asyncio.run(send_all(hub.mllp_port, messages, connections=CONNECTIONS))
        states = wait_until_settled(home)
        seconds = time.perf_counter() - started
        memory = memory_mb(hub.pid)
    if states.get("processed", 0) < count:
        sys.exit(f"not every report was processed: {states}")
    rows, floors = _floors(database_file(home), folder, before, count)
    print_table(
        f"ORU^R01 with 20 results, bytes in to searchable ({count} reports, {rows} rows a report, "
        f"hub at {memory:.0f} MB)",
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


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return [name for (name,) in rows if not name.startswith(NOT_COUNTED)]


def _row_counts(path: Path) -> dict[str, int]:
    connection = sqlite3.connect(path)
    counts = {
        name: int(connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0])
        for name in _tables(connection)
    }
    connection.close()
    return counts


def _floors(
    full: Path, folder: Path, before: dict[str, int], count: int
) -> tuple[int, dict[int, float]]:
    """Rows a report, and the seconds that inserting all of them takes by reports a commit."""
    source = sqlite3.connect(full)
    schema = [
        sql
        for (sql,) in source.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' "
            "ORDER BY type DESC"
        )
    ]
    added: dict[str, list[tuple[object, ...]]] = {}
    for name in _tables(source):
        new = int(source.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]) - before[name]
        if new > 0:
            order = _key_of(source, name)
            rows = source.execute(f'SELECT * FROM "{name}" ORDER BY {order} DESC LIMIT {new}')
            added[name] = rows.fetchall()[::-1]
    source.close()
    total = sum(len(rows) for rows in added.values())
    return total // count, {
        batch: _insert(folder / f"rows-{batch}.db", schema, added, commits=max(1, count // batch))
        for batch in (1, 16)
    }


def _key_of(connection: sqlite3.Connection, table: str) -> str:
    """The first column of the primary key, which grows with time."""
    columns = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
    keyed = sorted((column[5], column[1]) for column in columns if column[5])
    return f'"{keyed[0][1]}"' if keyed else "rowid"


def _insert(
    path: Path, schema: list[str], added: dict[str, list[tuple[object, ...]]], *, commits: int
) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    for statement in schema:
        connection.execute(statement)
    statements = {
        name: f'INSERT INTO "{name}" VALUES ({",".join("?" * len(rows[0]))})'
        for name, rows in added.items()
    }
    started = time.perf_counter()
    for number in range(commits):
        connection.execute("BEGIN IMMEDIATE")
        for name, rows in added.items():
            share = slice(len(rows) * number // commits, len(rows) * (number + 1) // commits)
            connection.executemany(statements[name], rows[share])
        connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    connection.close()
    return seconds
