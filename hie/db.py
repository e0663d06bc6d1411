"""The database: engines, transactions, the one MetaData, and group commit.

SQLite (WAL, synchronous=FULL) has one writer at a time; a write transaction begins with
BEGIN IMMEDIATE, so that it never fails half-way for a lock. PostgreSQL runs the same code.
"""

import asyncio
import hashlib
import os
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import BigInteger, Integer, MetaData, event, exc, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from hie import sqlite
from hie.kernel.clock import Clock, SystemClock

T = TypeVar("T")
R = TypeVar("R")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: App-assigned keys are 64 bits wide; SQLite only aliases its rowid for INTEGER.
Key = BigInteger().with_variant(Integer(), "sqlite")

BUSY_TIMEOUT_MS = 10_000
READERS = 8
GROUP_LIMIT = 64
_SEQUENCE_BITS = 21  # per millisecond: 9 random bits per process, 12 bits of counter


class KeySource:
    """63-bit primary keys in order of time, without asking the database.

    Layout: milliseconds since 1970 (42 bits) | process tag (9) | counter (12). Two processes of
    one hub that drew one tag count from places of their own in each millisecond, so that they
    seldom meet; then it is a primary-key violation, never a lost row.

    Args:
        clock: source of the milliseconds.
        tag: of this process, below 512; None = drawn. With one tag, one clock and one key file
            two hubs give the same ids to the same messages.
    """

    def __init__(self, clock: Clock, tag: int | None = None) -> None:
        self._clock = clock
        chance = random.SystemRandom()
        self._tag = (chance.getrandbits(9) if tag is None else tag) << 12
        # In the lower half: the upper one alone holds more than a millisecond's rows.
        self._first = chance.getrandbits(11) if tag is None else 0
        self._last_ms = 0
        self._counter = 0

    def next(self) -> int:
        """A key larger than any this process gave before."""
        now_ms = max(self._clock.now_us() // 1000, self._last_ms)
        if now_ms > self._last_ms:
            self._last_ms, self._counter = now_ms, self._first
        elif self._counter == 4095:
            self._last_ms, self._counter = self._last_ms + 1, self._first
        else:
            self._counter += 1
        return (self._last_ms << _SEQUENCE_BITS) | self._tag | self._counter


def pk_span(seconds: int) -> int:
    """How far apart keys are that are drawn so many seconds apart."""
    return (seconds * 1000) << _SEQUENCE_BITS


class Database:
    """Connections to one database, and the rule of who may write when.

    Args:
        url: `sqlite+aiosqlite:///path` or `postgresql+asyncpg://...`.
        clock: source of the time in primary keys.
        tag: of this process in primary keys; None = drawn.
    """

    def __init__(self, url: str, clock: Clock | None = None, tag: int | None = None) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._keys = KeySource(clock or SystemClock(), tag)
        self._write_lock = asyncio.Lock()
        self._direct: sqlite.LoopConnection | None = None
        if self.is_sqlite:
            _create_private_file(self.url.database)
            self._writer = _sqlite_engine(self.url, size=1, begin="BEGIN IMMEDIATE")
            self._reader = _sqlite_engine(self.url, size=READERS, begin="BEGIN")
            self._surveyor = _sqlite_engine(self.url, size=2, begin="BEGIN", is_threaded=True)
            self._glancer = self._reader
        else:
            # The residual's predicate is short to run and long to compile: JIT took 1.2 s for
            # what takes 7 ms without. For the same reason a plan is made once for a statement
            # and a connection, and not for each of its first five runs: 35 to 55 ms each.
            settings = {
                "jit": "off",
                "plan_cache_mode": "force_generic_plan",
                "application_name": "hie",
            }
            # Plans are a connection's own: the last one used is used next, and none is closed.
            self._writer = create_async_engine(
                url,
                pool_size=2 * READERS,
                max_overflow=0,
                pool_use_lifo=True,
                connect_args={"server_settings": settings},
            )
            self._reader = self._writer.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            self._surveyor = self._reader
            self._glancer = self._writer.execution_options(isolation_level="AUTOCOMMIT")

    def next_pk(self) -> int:
        """A primary key: unique, in order of time, no round trip."""
        return self._keys.next()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction: commits on exit, rolls back when the block raises."""
        if not self.is_sqlite:
            async with self._writer.begin() as conn:
                yield conn
            return
        async with self._write_lock, self._writer.begin() as conn:
            yield conn

    @asynccontextmanager
    async def direct(self) -> AsyncIterator[sqlite.LoopCursor]:
        """A write transaction of SQLite's without SQLAlchemy, for the one hot path that needs it.

        Building a statement and its result there takes longer than SQLite takes to run it.
        """
        async with self._write_lock:
            if self._direct is None:
                connect = sqlite.opener(self.url.database or "", ("busy_timeout=0", *_PRAGMAS))
                self._direct = await connect()
            connection = self._direct
            async with connection.cursor() as cursor:
                await cursor.execute("BEGIN IMMEDIATE")
                try:
                    yield cursor
                    await connection.commit()
                except BaseException:
                    await connection.rollback()
                    raise

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A read-only connection; every query in the block sees the same state."""
        async with self._reader.begin() as conn:
            yield conn

    @asynccontextmanager
    async def glancing(self) -> AsyncIterator[AsyncConnection]:
        """A connection for one query that needs no other's state: PostgreSQL's own transaction.

        It saves the two round trips that begin and end one.
        """
        async with self._glancer.connect() as conn:
            yield conn

    @asynccontextmanager
    async def surveying(self) -> AsyncIterator[AsyncConnection]:
        """A read-only connection for queries over whole tables; others go on meanwhile."""
        async with self._surveyor.begin() as conn:
            yield conn

    async def serialize(self, conn: AsyncConnection, name: str) -> None:
        """Let no other transaction of this name run until this one ends.

        SQLite has one writer as it is; PostgreSQL takes an advisory lock.
        """
        if not self.is_sqlite:
            await conn.execute(_LOCK, {"key": _lock_key(name)})

    async def share(self, conn: AsyncConnection, name: str) -> None:
        """Run beside others that share the name; whoever would `serialize` by it waits for all."""
        if not self.is_sqlite:
            await conn.execute(_SHARED_LOCK, {"key": _lock_key(name)})

    async def try_hold(self, conn: AsyncConnection, names: Iterable[str]) -> set[str]:
        """Those of the names nobody else holds; held until the transaction ends.

        SQLite has one writer: it holds them all.
        """
        wanted = {_lock_key(name): name for name in names}
        if self.is_sqlite or not wanted:
            return set(wanted.values())
        rows = await conn.execute(_TRY_LOCKS, {"keys": sorted(wanted)})
        return {wanted[key] for key, is_held in rows if is_held}

    async def create_schema(self) -> None:
        """Create every table of the MetaData; tests only, `hie migrate` runs Alembic."""
        async with self.transaction() as conn:
            await conn.run_sync(metadata.create_all)

    async def run_sync(self, work: Callable[..., Any]) -> Any:
        """Run `work(sync_connection)` in one write transaction (Alembic)."""
        async with self.transaction() as conn:
            return await conn.run_sync(work)

    async def close(self) -> None:
        """Close all connections; SQLite checkpoints its log."""
        await self._writer.dispose()
        await self._reader.dispose()
        await self._surveyor.dispose()
        if self._direct is not None:
            await self._direct.close()
            self._direct = None


_LOCK: Final = text("SELECT pg_advisory_xact_lock(:key)")
_SHARED_LOCK: Final = text("SELECT pg_advisory_xact_lock_shared(:key)")
_TRY_LOCKS: Final = text(
    "SELECT k, pg_try_advisory_xact_lock(k) FROM unnest(CAST(:keys AS bigint[])) k"
)
#: SQLSTATE of a transaction that lost against another: deadlock, serialization, lock timeout.
_LOST: Final = frozenset({"40P01", "40001", "55P03"})
#: SQLSTATE of a server that stops, starts, takes nobody in, or has too many in already.
_AWAY: Final = frozenset({"53300", "55000", "57P01", "57P02", "57P03"})
#: What whoever asked in vain is told.
AWAY: Final = (
    "the database cannot be reached; send it again in some seconds. Whether a write was kept shows "
    "when it is read"
)
_SQLITE_HELD: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def is_passing(error: BaseException) -> bool:
    """Whether an error is the database's and not the data's: it was away, or lost a race."""
    if isinstance(error, exc.IntegrityError | exc.OperationalError):
        return True  # the same row written first by another, a lock, a lost connection
    return is_away(error) or (isinstance(error, exc.DBAPIError) and _state_of(error) in _LOST)


def is_away(error: BaseException) -> bool:
    """Whether the database could not be reached in time; what was just written may be there."""
    if isinstance(error, exc.DBAPIError):
        is_held = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE_HELD
        state = _state_of(error)
        is_lost = error.connection_invalidated or state in _AWAY or state.startswith("08")
        return bool(is_held or is_lost)
    return isinstance(error, ConnectionError | TimeoutError | exc.TimeoutError)


def _state_of(error: exc.DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""


def _lock_key(name: str) -> int:
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _create_private_file(path: str | None) -> None:
    """Make a new database readable by its owner only; WAL and SHM inherit the mode."""
    if path and path != ":memory:" and not Path(path).exists():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",  # a deleted row leaves no bytes behind
    "temp_store=MEMORY",  # no temporary file with patient data
    "cache_size=-65536",
    # 16 MB of log before it is copied into the file; a commit is on the disk either way.
    "wal_autocheckpoint=4000",
    "mmap_size=268435456",
)


def _sqlite_engine(url: URL, *, size: int, begin: str, is_threaded: bool = False) -> AsyncEngine:
    """An engine of connections that run on the event loop, or each in a thread of its own."""
    options: dict[str, Any] = {"poolclass": AsyncAdaptedQueuePool, "pool_size": size}
    options |= {"max_overflow": 0, "pool_timeout": 30}
    # The loop must not sleep in SQLite: other processes' locks are waited for in hie.sqlite.
    busy = f"busy_timeout={BUSY_TIMEOUT_MS if is_threaded else 0}"
    if not is_threaded:
        options["async_creator"] = sqlite.opener(url.database or "", (busy, *_PRAGMAS))
    # By name: the predicate says the same few values some hundred times.
    engine = create_async_engine(url, paramstyle="named", **options)

    if is_threaded:

        @event.listens_for(engine.sync_engine, "connect")
        def _configure(connection: Any, _record: Any) -> None:
            # The driver would otherwise begin transactions of its own.
            connection.isolation_level = None
            cursor = connection.cursor()
            for pragma in (busy, *_PRAGMAS):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


class GroupWriter(Generic[T, R]):
    """Group commit without a timer.

    A lone item is committed at once; what arrives during a commit is the next batch. When a
    batch fails, its items are tried one by one, so that one bad item fails alone.

    Args:
        apply: writes a batch in an open transaction; one result per item, in order.
        limit: largest batch.
        direct: does the same on SQLite without SQLAlchemy, for batches of items that suit it.
        suits: whether an item does.
    """

    def __init__(
        self,
        db: Database,
        apply: Callable[[AsyncConnection, Sequence[T]], Awaitable[Sequence[R]]],
        limit: int = GROUP_LIMIT,
        direct: Callable[[sqlite.LoopCursor, Sequence[T]], Awaitable[Sequence[R]]] | None = None,
        suits: Callable[[T], bool] = lambda _item: True,
    ) -> None:
        self._db = db
        self._apply = apply
        self._limit = limit
        self._direct = direct if db.is_sqlite else None
        self._suits = suits
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """The item's result, once it is committed.

        Raises:
            Exception: what `apply` or the commit raised; nothing of the item is stored.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        # A caller that goes away cancels its own future, never the batch its neighbours are in.
        return await future

    async def close(self) -> None:
        """Wait until everything submitted is committed."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            if not await self._commit(batch) and len(batch) > 1:
                for single in batch:
                    await self._commit([single])

    async def _commit(self, batch: list[tuple[T, asyncio.Future[R]]]) -> bool:
        try:
            results = await self._written([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - handed to whoever submitted
            if len(batch) == 1:
                _settle(batch[0][1], error=error)
            return False
        for (_, future), result in zip(batch, results, strict=True):
            _settle(future, result=result)
        return True

    async def _written(self, items: Sequence[T]) -> Sequence[R]:
        if self._direct and all(map(self._suits, items)):
            async with self._db.direct() as cursor:
                return await self._direct(cursor, items)
        async with self._db.transaction() as conn:
            return await self._apply(conn, items)


def _settle(
    future: asyncio.Future[Any], *, result: Any = None, error: Exception | None = None
) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
