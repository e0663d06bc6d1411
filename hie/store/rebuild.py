"""Bringing stored index rows up to a new table of search parameters, beside a working hub.

What the rows that stand were written by is kept (`search_table`). Where the table of this
version makes other rows, the parameters concerned are held back (asked for, they are refused
as BUSY) while every resource of their types that was stored until then is read again, in
portions of a transaction each; new writes have the new rows at once. Stopped, it goes on where
it was.
"""

import asyncio
import json
import time
import zlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.db import Database
from hie.inserts import insert as insert_rows
from hie.kernel.clock import SECOND_US
from hie.store.index import SearchIndex
from hie.store.loader import ResourceLoader
from hie.store.rows import IndexRows, Rows, clear_rows
from hie.store.tables import resource, search_rebuild, search_table

#: Resources of one transaction: on SQLite others wait for it, some 30 ms.
PORTION: Final = 50
_LOCK: Final = "search-rebuild"
#: Resources a second, until it shows how many it is.
_RATE: Final = 600
#: Bounds of when a question that is held back is worth asking again, in seconds.
_SOONEST, _LATEST = 5, 600
#: Before a portion is tried again that another transaction stood in the way of, in seconds.
_PAUSE: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a rebuild is.

    Attributes:
        done: resources read again.
        total: resources there were at its start.
        is_over: nothing is left to do.
    """

    done: int
    total: int
    is_over: bool


class IndexRebuild:
    """Keeps the index rows and the table of search parameters in step.

    Args:
        db: the database.
        index: gains and loses what is held back.
        loader: reads resources as the write path does.
        rows: makes their rows.
        now_us: the time.
    """

    def __init__(
        self,
        db: Database,
        index: SearchIndex,
        loader: ResourceLoader,
        rows: IndexRows,
        now_us: Callable[[], int],
    ) -> None:
        self._db = db
        self._index = index
        self._loader = loader
        self._rows = rows
        self._now_us = now_us
        self._digest = index.table_digest
        self._is_behind = False

    async def start(self, conn: AsyncConnection) -> None:
        """Compare the rows with the table, in a transaction; begin a rebuild where they differ.

        A hub without resources takes the table as it is.
        """
        row = await self._stored(conn)
        if row is not None and row.digest == self._digest:
            return
        is_new = row is None and not await self._any(conn)
        if is_new or (row is not None and self._same(row)):
            await self._keep(conn)
            return
        behind = self._index.behind(_definitions(row))
        await self._begin(conn, {kind for kind, _ in behind}, is_anew=False)
        await self._hold_back(conn, row)

    async def again(self) -> None:
        """Begin to read every resource again, whatever the rows were written by."""
        types = {self._index.type_id(name) for name in self._index.types}
        async with self._db.transaction() as conn:
            await self._begin(conn, types, is_anew=True)

    async def follow(self, conn: AsyncConnection) -> None:
        """Ask anew what is held back: another process may have come to the end."""
        if self._is_behind:
            await self._hold_back(conn, await self._stored(conn))

    async def progress(self) -> Progress:
        """How far it is."""
        async with self._db.reading() as conn:
            row = (await conn.execute(select(search_rebuild))).first()
        if row is None:
            return Progress(done=0, total=0, is_over=True)
        return Progress(done=row.done, total=row.total, is_over=False)

    async def work(
        self, seconds: float, tell: Callable[[int, int], None] = lambda done, total: None
    ) -> Progress:
        """Read resources again for some time, or to the end; how far that came.

        Another process at it is left alone; one that stands in the way of a portion makes it
        come again.

        Args:
            seconds: after so long no new portion is begun.
            tell: called after every portion with resources done and total.
        """
        found = last = await self.progress()
        until = time.monotonic() + seconds
        while not found.is_over and time.monotonic() < until:
            try:
                async with self._db.transaction() as conn:
                    is_over = await self._portion(conn)
            except DBAPIError as error:
                if not _is_lock(error):
                    raise
                is_over = False
                await asyncio.sleep(_PAUSE)
            found = await self.progress()
            if is_over:
                break
            last = last if found.is_over else found
            tell(found.done, found.total)
        async with self._db.reading() as conn:
            await self.follow(conn)
        return replace(last, done=last.total, is_over=True) if found.is_over else found

    async def _portion(self, conn: AsyncConnection) -> bool:
        """One portion; whether there is nothing left for this process to do."""
        if not await self._db.try_hold(conn, [_LOCK]):
            return True
        row = (await conn.execute(select(search_rebuild))).first()
        if row is None:
            return True
        types, done = json.loads(row.types), row.done_pk
        found = await self._loader.again(conn, types, after=done, last=row.last_pk, limit=PORTION)
        if not found:
            await self._keep(conn)
            return True
        pks = [one.pk for one in found]
        await clear_rows(conn, pks)
        made: Rows = defaultdict(dict)
        texts: dict[str, str] = {}
        for one in found:
            self._rows.add(made, one.pk, one.type, one.resource, one.persons, texts)
        await self._rows.keep_texts(conn, texts)
        await insert_rows(conn, made)
        await conn.execute(
            update(search_rebuild).values(done_pk=pks[-1], done=search_rebuild.c.done + len(pks))
        )
        return False

    async def _begin(self, conn: AsyncConnection, types: set[int], *, is_anew: bool) -> None:
        row = (await conn.execute(select(search_rebuild))).first()
        if row is not None and row.digest == self._digest and not is_anew:
            return
        counted = select(func.count(), func.max(resource.c.pk)).where(
            resource.c.type_id.in_(types), resource.c.deleted.is_(False)
        )
        total, last = (await conn.execute(counted)).one()
        await conn.execute(delete(search_rebuild))
        await conn.execute(
            insert(search_rebuild).values(
                id=1,
                digest=self._digest,
                types=json.dumps(sorted(types)),
                done_pk=0,
                last_pk=last or 0,
                done=0,
                total=total,
                started_us=self._now_us(),
            )
        )

    async def _keep(self, conn: AsyncConnection) -> None:
        """The rows are of this version's table."""
        made = json.dumps(dict(self._index.definitions)).encode()
        await conn.execute(delete(search_rebuild))
        await conn.execute(delete(search_table))
        await conn.execute(
            insert(search_table).values(
                id=1, digest=self._digest, definitions=zlib.compress(made, 1)
            )
        )
        self._is_behind = False
        self._index.hold_back(None)

    async def _hold_back(self, conn: AsyncConnection, row: Any) -> None:
        self._is_behind = row is None or row.digest != self._digest
        if not self._is_behind:
            self._index.hold_back(None)
            return
        job = (await conn.execute(select(search_rebuild))).first()
        how_far = f" ({job.done} of {job.total} resources done)" if job else ""
        seconds = _left_seconds(job, self._now_us()) if job else _SOONEST
        self._index.hold_back(_definitions(row), how_far, seconds)

    def _same(self, row: Any) -> bool:
        """Whether a table that differs makes the same rows; of what it no longer has, none."""
        return self._index.definitions.items() <= _definitions(row).items()

    async def _stored(self, conn: AsyncConnection) -> Any:
        return (await conn.execute(select(search_table))).first()

    async def _any(self, conn: AsyncConnection) -> bool:
        return (await conn.execute(select(resource.c.pk).limit(1))).first() is not None


def _definitions(row: Any) -> dict[str, str]:
    found: dict[str, str] = json.loads(zlib.decompress(row.definitions)) if row else {}
    return found


def _left_seconds(job: Any, now_us: int) -> int:
    """How long a rebuild goes on, by how long it took so far; within bounds."""
    elapsed = (now_us - job.started_us) / SECOND_US
    rate = job.done / elapsed if job.done and elapsed > 0 else _RATE
    seconds: float = (job.total - job.done) / rate
    return round(min(max(seconds, _SOONEST), _LATEST))


def _is_lock(error: DBAPIError) -> bool:
    """Whether another transaction was in the way: PostgreSQL's lock, deadlock, serialization."""
    return getattr(error.orig, "sqlstate", "") in ("55P03", "40P01", "40001")
