"""Work that goes through the whole index beside the matching: renewal, search, counts.

Both go in small steps: what takes long is read without holding anybody up, what is written is
written in short transactions, and how far it is stands in the database, so that what is broken
off goes on where it was. Of several processes one is at it: another that finds the place moved
on leaves it to that one.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.db import Database, is_passing
from hie.kernel.clock import Clock
from mpi.repository import jobs
from mpi.repository.jobs import Progress
from mpi.service import Mpi

#: A transaction holds SQLite's one writer; nothing further is begun in it after this.
TRANSACTION_SECONDS: Final = 0.02
#: Between two transactions, for those who wait to write.
PAUSE_SECONDS: Final = 0.005
#: How often a transaction is tried that the database refused for reasons of its own.
PATIENCE: Final = 5
#: Persons, or tasks, looked at before the place is noted.
PERSONS: Final = 20
TASKS: Final = 50

RENEWAL, SEARCH, QUESTIONS = "renewal", "duplicates", "questions"
T = TypeVar("T")


@dataclass(slots=True)
class Done:
    """What a run did.

    Attributes:
        is_over: the whole index has been gone through.
        seen: records, or persons, looked at.
        changed: records renewed.
        found: pairs of persons found; waiting: of all nights, not asked about yet.
        asked, closed: questions put, and those that no longer arose.
    """

    is_over: bool = False
    seen: int = 0
    changed: int = 0
    found: int = 0
    asked: int = 0
    closed: int = 0
    waiting: int = 0


@dataclass(slots=True)
class _Budget:
    """Time that a run may take."""

    seconds: float
    began: float = field(default_factory=time.monotonic)

    @property
    def is_spent(self) -> bool:
        return time.monotonic() - self.began > self.seconds


class IndexCare:
    """Keeps the whole index in order."""

    def __init__(self, db: Database, mpi: Mpi, clock: Clock) -> None:
        self._db = db
        self._mpi = mpi
        self._clock = clock

    # Records of an earlier version

    async def renew(self, seconds: float = 3_600.0) -> Done:
        """Bring stored records to this version's form and keys; goes on where it was left."""
        budget, done, mark = _Budget(seconds), Done(), self._mpi.renewal.mark
        async with self._db.reading() as conn:
            known = await jobs.progress(conn, RENEWAL)
        if known is not None and known.mark == mark and known.ended_us is not None:
            done.is_over = True
            return done
        at = await self._begin(RENEWAL, mark)
        while not budget.is_spent:
            async with self._db.reading() as conn:
                scanned = await self._mpi.renewal.scan(conn, at.place)
            if not scanned.seen:
                await self._end(at)
                done.is_over = True
                break
            changed = await self._renewed(scanned.stale)
            moved = await self._advance(at, scanned.last, seen=scanned.seen, done=changed)
            if moved is None:
                break
            at = moved
            done.seen, done.changed = done.seen + scanned.seen, done.changed + changed
        return done

    async def _renewed(self, stale: Sequence[str]) -> int:
        changed, left = 0, list(stale)

        async def renew(conn: AsyncConnection) -> tuple[int, int]:
            return await self._mpi.renewal.renew(
                conn, left, seconds=TRANSACTION_SECONDS, now_us=self._clock.now_us()
            )

        while left:
            dealt, fresh = await self._patiently(renew)
            left, changed = left[dealt:], changed + fresh
            await asyncio.sleep(PAUSE_SECONDS)
        return changed

    # How common names are

    async def learn(self) -> int:
        """Count how common names are and score by it; how many records were counted."""
        async with self._db.surveying() as conn:
            counted = await self._mpi.count_names(conn)
        async with self._db.reading() as conn:
            changes = await self._mpi.name_changes(conn, counted)
        for change in changes:
            async with self._db.transaction() as conn:
                await self._mpi.change_names(conn, change)
            await asyncio.sleep(PAUSE_SECONDS)
        async with self._db.reading() as conn:
            await self._mpi.take_up_names(conn)
        return counted.records

    # Persons that may be one

    async def duplicates(self, limit: int, seconds: float = 3_600.0) -> Done:
        """Close questions that no longer arise, look for new ones, and ask the strongest.

        Args:
            limit: tasks opened at most; the others wait for the next night.
            seconds: for the search; what is left of the round comes the next night.
        """
        done = Done()
        await self._check(done, _Budget(seconds / 4))
        await self._search(done, _Budget(seconds))
        await self._ask(done, limit)
        async with self._db.reading() as conn:
            done.waiting = await self._mpi.duplicates.waiting(conn)
        return done

    async def _check(self, done: Done, budget: _Budget) -> None:
        at = await self._begin(QUESTIONS, "")
        while not budget.is_spent:
            async with self._db.reading() as conn:
                asked = await self._mpi.duplicates.open_tasks(conn, int(at.place or 0), TASKS)
            if not asked:
                await self._end(at)
                return
            closed = await self._each(asked, self._mpi.duplicates.check)
            moved = await self._advance(at, str(asked[-1].id), seen=len(asked), done=closed)
            if moved is None:
                return
            at, done.closed = moved, done.closed + closed

    async def _search(self, done: Done, budget: _Budget) -> None:
        search, at = self._mpi.duplicates, await self._begin(SEARCH, "")
        while not budget.is_spent:
            async with self._db.reading() as conn:
                stretch = await search.scan(conn, at.place, PERSONS)
            if not stretch.persons:
                await self._end(at)
                done.is_over = True
                return
            await self._each(stretch.doubtful, search.look_again)
            async with self._db.transaction() as conn:
                now_us, found = self._clock.now_us(), len(stretch.pairs)
                moved = await jobs.advance(
                    conn, at, stretch.last, seen=len(stretch.persons), done=found, now_us=now_us
                )
                if not moved:
                    return
                await search.keep(conn, stretch, now_us=now_us)
            at = replace(at, place=stretch.last)
            done.seen, done.found = done.seen + len(stretch.persons), done.found + found
            await asyncio.sleep(PAUSE_SECONDS)

    async def _ask(self, done: Done, limit: int) -> None:
        while done.asked < limit:
            async with self._db.reading() as conn:
                pairs = await self._mpi.duplicates.strongest(conn, limit - done.asked)
            if not pairs:
                return
            done.asked += await self._each(pairs, self._mpi.duplicates.ask)

    # What both do

    async def _each(self, items: Sequence[T], work: Callable[..., Awaitable[object]]) -> int:
        """Do something with each, as many in a transaction as fit; how often it did change."""
        changed, left = 0, list(items)

        async def some(conn: AsyncConnection) -> tuple[int, int]:
            began, number, did = time.monotonic(), 0, 0
            while number < len(left) and time.monotonic() - began < TRANSACTION_SECONDS:
                did += bool(await work(conn, left[number], now_us=self._clock.now_us()))
                number += 1
            return number, did

        while left:
            number, did = await self._patiently(some)
            left, changed = left[number:], changed + did
            await asyncio.sleep(PAUSE_SECONDS)
        return changed

    async def _patiently(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """The result of a short transaction; one that lost against a writer is tried again."""
        for attempt in range(1, PATIENCE):
            try:
                async with self._db.transaction() as conn:
                    return await work(conn)
            except DBAPIError as error:
                if not is_passing(error):
                    raise
            await asyncio.sleep(random.SystemRandom().uniform(0, 0.05) * attempt)
        async with self._db.transaction() as conn:
            return await work(conn)

    async def _begin(self, name: str, mark: str) -> Progress:
        async with self._db.transaction() as conn:
            await self._db.serialize(conn, f"index-{name}")
            return await jobs.begin(conn, name, mark, now_us=self._clock.now_us())

    async def _advance(self, at: Progress, place: str, *, seen: int, done: int) -> Progress | None:
        async with self._db.transaction() as conn:
            now_us = self._clock.now_us()
            moved = await jobs.advance(conn, at, place, seen=seen, done=done, now_us=now_us)
        return replace(at, place=place) if moved else None

    async def _end(self, at: Progress) -> None:
        async with self._db.transaction() as conn:
            await jobs.end(conn, at, now_us=self._clock.now_us())
