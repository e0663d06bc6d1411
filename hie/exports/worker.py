"""Works the jobs off, one step at a time, in any worker process of a hub.

A job is taken by lease. What a step found and where the next begins are one transaction: a
worker that dies has lost the step it was at, and whoever takes the job over does that step
again; nothing is listed twice and nothing is left out.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from hie.db import Database, is_passing
from hie.exports.collect import Collector
from hie.exports.model import KEPT_SECONDS, SETTLE_SECONDS, Job, State, Tokens
from hie.exports.repository import ExportBook
from hie.kernel.clock import SECOND_US, Clock
from hie.kernel.context import RequestContext
from hie.kernel.errors import HieError

POLL_SECONDS: Final = 2.0
#: A shorter look while a job waits for what was being written when it was asked for.
SETTLING_SECONDS: Final = 0.25
_log = structlog.get_logger(__name__)


class ExportWorker:
    """Lists what jobs ask for, until cancelled."""

    def __init__(
        self,
        db: Database,
        book: ExportBook,
        collector: Collector,
        tokens: Tokens,
        clock: Clock,
    ) -> None:
        self._db = db
        self._book = book
        self._collector = collector
        self._tokens = tokens
        self._clock = clock
        self._name = secrets.token_hex(16)
        self._wake = asyncio.Event()
        #: Called with the number of resources that a step listed.
        self.on_listed: Callable[[int], None] = lambda _count: None

    def notify(self) -> None:
        """A job was begun in this process."""
        self._wake.set()

    async def run(self) -> None:
        """Work jobs off until cancelled."""
        hurried_until = 0.0
        while True:
            is_hurried = time.monotonic() < hurried_until
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLING_SECONDS if is_hurried else POLL_SECONDS):
                    await self._wake.wait()
            if self._wake.is_set():
                self._wake.clear()
                hurried_until = time.monotonic() + 2 * SETTLE_SECONDS
            try:
                while await self.work():
                    pass
            except Exception as error:  # noqa: BLE001 - the database is away: the jobs wait in it
                _log.warning("export.interrupted", error=type(error).__name__)

    async def work(self) -> bool:
        """Take one job and work on it to its end; False where none waits."""
        job = await self._book.claim(self._name, self._clock.now_us())
        if job is None:
            return False
        try:
            while job is not None and job.state is State.WORKING:
                job = await self._step(job)
        except Exception as error:
            if is_passing(error):
                raise
            _log.exception("export.failed", error=type(error).__name__)
            if job is not None:
                await self._end(job, State.FAILED)
        return True

    async def _step(self, job: Job) -> Job | None:
        """One step; the job after it, None where it is not this worker's any more."""
        caller = await self._tokens.standing(job.token_id)
        if caller is None:
            await self._end(job, State.CANCELLED)
            return None
        now_us = self._clock.now_us()
        ctx = RequestContext(caller=caller, request_id=f"export {job.job_id}", now_us=now_us)
        try:
            step = await self._collector.step(ctx, job)
        except HieError as error:
            _log.warning("export.refused", category=error.category.value)
            await self._end(job, State.FAILED)
            return None
        async with self._db.transaction() as conn:
            after = await self._book.advance(conn, job, self._name, step, now_us)
        if after is None:
            return None
        self.on_listed(after.listed - job.listed)
        if step.is_last:
            await self._end(after, State.COMPLETE)
            return None
        return after

    async def _end(self, job: Job, state: State) -> None:
        now_us = self._clock.now_us()
        kept = 0 if state is State.CANCELLED else KEPT_SECONDS
        async with self._db.transaction() as conn:
            await self._book.end(conn, job, state, now_us, now_us + kept * SECOND_US)
        _log.info("export.ended", state=state.value, count=job.listed)
