"""SQLite on the event loop: a statement runs where it is asked for, a commit in a thread.

A thread per connection costs two switches a call, which is more than most statements take:
a message needs some forty, and they cost 5 ms. So statements run on the loop; every
transaction is bounded (`hie.worker`), and what may take long is read through
`Database.surveying`, which has threads. A commit waits for the disk, so it gets a thread;
a lock held by another process is waited for by sleeping.

The objects here have the methods of `aiosqlite` that SQLAlchemy's dialect calls.
"""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Self

BUSY_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.002


class LoopCursor:
    """A cursor whose statements run at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._cursor = connection.cursor()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._cursor.close()

    @property
    def description(self) -> Any:
        """Columns of the last statement."""
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        """Rows changed by the last statement."""
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        """Key of the last row inserted."""
        return self._cursor.lastrowid

    @property
    def arraysize(self) -> int:
        """Rows `fetchmany` gives by default."""
        return self._cursor.arraysize

    @arraysize.setter
    def arraysize(self, value: int) -> None:
        self._cursor.arraysize = value

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Self:
        """Run a statement; BEGIN IMMEDIATE waits for other processes without blocking."""
        if statement == "BEGIN IMMEDIATE":
            await _when_free(lambda: self._cursor.execute(statement))
        else:
            self._cursor.execute(statement, parameters)
        return self

    async def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> Self:
        """Run a statement for each row."""
        self._cursor.executemany(statement, rows)
        return self

    async def fetchall(self) -> list[Any]:
        """All rows."""
        return self._cursor.fetchall()

    async def fetchone(self) -> Any:
        """The next row."""
        return self._cursor.fetchone()

    async def fetchmany(self, size: int) -> list[Any]:
        """The next rows."""
        return self._cursor.fetchmany(size)

    async def close(self) -> None:
        """Close the cursor."""
        self._cursor.close()


class LoopConnection:
    """A connection whose statements run on the event loop."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._conn = connection
        self._connection: sqlite3.Connection | None = connection
        #: Rows changed by whatever has ended.
        self._settled = connection.total_changes

    def cursor(self) -> LoopCursor:
        """A new cursor."""
        return LoopCursor(self._conn)

    async def create_function(self, *arguments: Any, **options: Any) -> None:
        """Make a Python function known to SQL."""
        self._conn.create_function(*arguments, **options)

    async def commit(self) -> None:
        """Commit and wait for the disk, in a thread; nothing to do outside a transaction.

        One that changed no row has nothing to bring to the disk: it ends here, without the two
        switches that a thread costs.
        """
        if self._conn.in_transaction:
            if self._conn.total_changes == self._settled:
                self._conn.commit()
            else:
                await asyncio.to_thread(self._conn.commit)
                self._settled = self._conn.total_changes

    async def rollback(self) -> None:
        """Roll back."""
        if self._conn.in_transaction:
            self._conn.rollback()
        self._settled = self._conn.total_changes

    async def close(self) -> None:
        """Close; the last connection to close copies the log into the file."""
        self._connection = None
        self._conn.close()

    def stop(self) -> None:
        """Close from outside the event loop."""
        self._connection = None
        self._conn.close()


def opener(path: str, pragmas: Sequence[str]) -> Callable[..., Awaitable[LoopConnection]]:
    """What SQLAlchemy calls for a new connection.

    Args:
        path: of the database file.
        pragmas: run on each connection, `journal_mode=WAL`.
    """

    async def connect(*_: Any, **__: Any) -> LoopConnection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
        return LoopConnection(connection)

    return connect


async def _when_free(attempt: Callable[[], Any]) -> None:
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            attempt()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            await asyncio.sleep(_POLL_SECONDS)
        else:
            return
