"""What the hub has done with what it received, read from its database beside it."""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PATIENCE_SECONDS = 300
POLL_SECONDS = 0.02


def database_file(home: Path) -> Path:
    """The hub's SQLite file.

    Raises:
        FileNotFoundError: it has none.
    """
    found = sorted(home.glob("*.db"))
    if not found:
        raise FileNotFoundError(f"no database in {home}")
    return found[0]


@contextlib.contextmanager
def reading(home: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection beside the running hub."""
    connection = sqlite3.connect(f"file:{database_file(home)}?mode=ro", uri=True, timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def wait_until_none_waits(states: Callable[[], dict[str, int]]) -> dict[str, int]:
    """The same as `wait_until_settled` of any database, by how many messages are in each state."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = states()
        if not found.keys() & {"received", "open"}:
            return found
        time.sleep(10 * POLL_SECONDS)
    raise TimeoutError("messages are still waiting")


def wait_until_settled(home: Path) -> dict[str, int]:
    """Messages by state, once none is waiting to be worked off."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with reading(home) as connection:
            waiting = connection.execute(
                "SELECT 1 FROM inbound_message WHERE state IN ('received', 'open') LIMIT 1"
            ).fetchone()
            if waiting is None:
                rows = connection.execute(
                    "SELECT state, count(*) FROM inbound_message GROUP BY state"
                )
                return {str(state): int(count) for state, count in rows}
        time.sleep(POLL_SECONDS)
    raise TimeoutError("messages are still waiting")
