"""The loop that works off acknowledged messages, oldest first.

Several messages share a transaction; when it fails, each is tried alone, and the one that
fails is parked with its stage and reason while the others go on. On PostgreSQL the workers of
several processes share the queue: each holds the patients it is at until its transaction ends.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.journal import Journal
from adapters.message import Message, Settlement, State
from adapters.queue import Queue
from hie.db import Database, is_passing
from hie.flow.ingest import Ingest, Prepared, StageError
from hie.kernel.errors import HieError
from hie.kernel.ids import MessageId

BATCH: Final = 32
#: A transaction holds SQLite's one writer; other programs wait no longer than this.
TRANSACTION_SECONDS: Final = 0.04
#: How often the journal is looked at when nobody says that something came.
POLL_SECONDS: Final = 1.0
#: The same where other processes write it and cannot say so.
SHARED_POLL_SECONDS: Final = 0.1
#: How long a worker waits whose next patients are all with others.
_BLOCKED_SECONDS: Final = 0.02
#: How often a message is tried that the database refused for reasons of its own.
PATIENCE: Final = 8
_log = structlog.get_logger(__name__)


class Worker:
    """Works off the journal until it is stopped."""

    def __init__(self, db: Database, journal: Journal, queue: Queue, ingest: Ingest) -> None:
        self._db = db
        self._journal = journal
        self._queue = queue
        self._ingest = ingest
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._is_idle = asyncio.Event()
        self._is_blocked = False
        self._size = 4  # messages in one transaction, as many as fit in its time
        self._singles = 0  # how many are tried alone, because a batch failed
        self._tries: dict[MessageId, int] = {}

    def notify(self) -> None:
        """Say that a message came."""
        self._is_idle.clear()
        self._wake.set()

    async def idle(self) -> None:
        """Wait until everything acknowledged so far is worked off."""
        await self._is_idle.wait()

    async def run(self) -> None:
        """Work until `stop`; a message that has begun is finished."""
        poll = POLL_SECONDS if self._db.is_sqlite else SHARED_POLL_SECONDS
        while not self._is_stopping:
            self._wake.clear()
            try:
                worked = await self.work_off_batch()
            except Exception:  # noqa: BLE001 - the database is away: nothing is lost, it waits
                _log.exception("worker.failed")
                await asyncio.sleep(POLL_SECONDS)
                continue
            if worked == 0:
                if self._is_blocked:
                    await asyncio.sleep(_BLOCKED_SECONDS)
                    continue
                if not self._wake.is_set():
                    self._is_idle.set()
                try:
                    await asyncio.wait_for(self._wake.wait(), poll)
                except TimeoutError:
                    continue

    def stop(self) -> None:
        """Ask `run` to return after the batch it is at."""
        self._is_stopping = True
        self._wake.set()

    async def work_off_batch(self) -> int:
        """Work off the next messages; how many."""
        return await (self._work_alone() if self._db.is_sqlite else self._work_shared())

    # One writer: what is slow and touches nothing is done before it

    async def _work_alone(self) -> int:
        async with self._db.reading() as conn:
            messages = await self._journal.waiting(conn, BATCH)
            if messages:
                await self._ingest.refresh(conn)
        prepared: list[Prepared] = []
        for message in messages:
            try:
                prepared.append(self._ingest.prepare(message))
            except Exception as error:  # noqa: BLE001 - a defect parks its message alone
                await self._park(message, error)
            await asyncio.sleep(0)  # receivers go on between two messages
        while prepared:
            size = self._size
            if not await self._transaction(prepared[:size]):
                break  # what is behind a message that waits does not pass it
            prepared = prepared[size:]
        return len(messages)

    async def _transaction(self, batch: Sequence[Prepared]) -> bool:
        """Commit several messages at once; when that fails, each alone. False = one waits."""
        began = time.monotonic()
        try:
            async with self._db.transaction() as conn:
                await self._ingest.work_off(conn, batch)
        except Exception:  # noqa: BLE001 - found out below, message by message
            for one in batch:
                if not await self._alone(one):
                    return False
        else:
            self._resize(len(batch), began)
        return True

    async def _alone(self, one: Prepared) -> bool:
        try:
            prepared = self._ingest.prepare(one.message)  # the failed try changed the first one
            async with self._db.transaction() as conn:
                await self._ingest.work_off(conn, [prepared])
        except Exception as error:  # noqa: BLE001 - whatever it is, the message is kept and shown
            return await self._give_up(one.message, error)
        return True

    # Many workers: all in the transaction that holds the patients

    async def _work_shared(self) -> int:
        messages: tuple[Message, ...] = ()
        began = time.monotonic()
        try:
            async with self._db.transaction() as conn:
                reserved = await self._queue.reserve(conn, 1 if self._singles else self._size)
                messages, self._is_blocked = reserved.messages, reserved.is_blocked
                if messages:
                    await self._work_off(conn, messages)
        except Exception as error:
            if not messages:
                raise
            if len(messages) > 1:
                self._singles = len(messages)
            else:
                await self._give_up(messages[0], error)
            return len(messages)
        if self._singles:
            self._singles -= 1
        elif messages:
            self._resize(len(messages), began)
        return len(messages)

    async def _work_off(self, conn: AsyncConnection, messages: Sequence[Message]) -> None:
        await self._ingest.refresh(conn)
        prepared: list[Prepared] = []
        for message in messages:
            try:
                prepared.append(self._ingest.prepare(message))
            except Exception as error:  # noqa: BLE001 - a defect parks its message alone
                await self._journal.settle(conn, [_parked(message, error)])
            await asyncio.sleep(0)
        await self._ingest.work_off(conn, prepared)

    # What both do

    def _resize(self, count: int, began: float) -> None:
        seconds = max(time.monotonic() - began, 0.001)
        fitting = int(count * TRANSACTION_SECONDS / seconds)
        self._size = max(1, min(fitting, 2 * self._size, BATCH))

    async def _give_up(self, message: Message, error: Exception) -> bool:
        """Park a message; False = it waits, for the database had a reason that may pass."""
        tries = self._tries.get(message.id, 0) + 1
        if is_passing(error) and tries < PATIENCE:
            _log.warning("message.waits", message_id=message.id, reason=type(error).__name__)
            self._tries = {message.id: tries}  # the next one of this worker is the same
            # Two that lost against each other must not meet again.
            await asyncio.sleep(random.SystemRandom().uniform(0, 0.05 * tries))
            return False
        await self._park(message, error)
        return True

    async def _park(self, message: Message, error: Exception) -> None:
        parked = _parked(message, error)
        async with self._db.transaction() as conn:
            if await self._journal.claim(conn, [message.id]):
                await self._journal.settle(conn, [parked])


def _parked(message: Message, error: Exception) -> Settlement:
    stage = error.stage if isinstance(error, StageError) else "store"
    reason = error.text if isinstance(error, HieError) else type(error).__name__
    _log.warning("message.parked", message_id=message.id, stage=stage, reason=reason)
    return Settlement(message=message, state=State.PARKED, stage=stage, reason=reason)
