"""The loop that works off acknowledged messages, oldest first.

Several messages share a transaction; when it fails, each is tried alone, and the one that
fails is parked with its stage and reason while the others go on.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import structlog

from adapters.journal import Journal
from adapters.message import Message, Settlement, State
from hie.db import Database
from hie.flow.ingest import Ingest, Prepared, StageError
from hie.kernel.errors import HieError

BATCH: Final = 32
#: A transaction holds SQLite's one writer; other programs wait no longer than this.
TRANSACTION_SECONDS: Final = 0.04
#: How often the journal is looked at when nobody says that something came.
POLL_SECONDS: Final = 1.0
_log = structlog.get_logger(__name__)


class Worker:
    """Works off the journal until it is stopped."""

    def __init__(self, db: Database, journal: Journal, ingest: Ingest) -> None:
        self._db = db
        self._journal = journal
        self._ingest = ingest
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._is_idle = asyncio.Event()
        self._size = 4  # messages in one transaction, as many as fit in its time

    def notify(self) -> None:
        """Say that a message came."""
        self._is_idle.clear()
        self._wake.set()

    async def idle(self) -> None:
        """Wait until everything acknowledged so far is worked off."""
        await self._is_idle.wait()

    async def run(self) -> None:
        """Work until `stop`; a message that has begun is finished."""
        while not self._is_stopping:
            self._wake.clear()
            try:
                worked = await self.work_off_batch()
            except Exception:  # noqa: BLE001 - the database is away: nothing is lost, it waits
                _log.exception("worker.failed")
                await asyncio.sleep(POLL_SECONDS)
                continue
            if worked == 0:
                if not self._wake.is_set():
                    self._is_idle.set()
                try:
                    await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
                except TimeoutError:
                    continue

    def stop(self) -> None:
        """Ask `run` to return after the batch it is at."""
        self._is_stopping = True
        self._wake.set()

    async def work_off_batch(self) -> int:
        """Work off the next messages; how many."""
        async with self._db.reading() as conn:
            messages = await self._journal.waiting(conn, BATCH)
            if messages:
                await self._ingest.refresh(conn)
        prepared: list[Prepared] = []
        for message in messages:
            try:
                prepared.append(self._ingest.prepare(message))
            except HieError as error:
                await self._park(message, error)
            except Exception as error:  # noqa: BLE001 - a defect parks its message alone
                await self._park(message, error)
            await asyncio.sleep(0)  # receivers go on between two messages
        while prepared:
            size = self._size
            await self._transaction(prepared[:size])
            prepared = prepared[size:]
        return len(messages)

    async def _transaction(self, batch: Sequence[Prepared]) -> None:
        """Commit several messages at once; when that fails, each alone."""
        began = time.monotonic()
        try:
            async with self._db.transaction() as conn:
                await self._ingest.work_off(conn, batch)
        except Exception:  # noqa: BLE001 - found out below, message by message
            for one in batch:
                await self._alone(one)
        else:
            seconds = max(time.monotonic() - began, 0.001)
            fitting = int(len(batch) * TRANSACTION_SECONDS / seconds)
            self._size = max(1, min(fitting, 2 * self._size, BATCH))

    async def _alone(self, one: Prepared) -> None:
        try:
            prepared = self._ingest.prepare(one.message)  # the failed try changed the first one
            async with self._db.transaction() as conn:
                await self._ingest.work_off(conn, [prepared])
        except Exception as error:  # noqa: BLE001 - whatever it is, the message is kept and shown
            await self._park(one.message, error)

    async def _park(self, message: Message, error: Exception) -> None:
        stage = error.stage if isinstance(error, StageError) else "store"
        reason = error.text if isinstance(error, HieError) else type(error).__name__
        _log.warning("message.parked", message_id=message.id, stage=stage, reason=reason)
        async with self._db.transaction() as conn:
            parked = Settlement(message=message, state=State.PARKED, stage=stage, reason=reason)
            await self._journal.settle(conn, [parked])
