"""The schedule: which work runs when, how long it may take, and what came of it.

A job is a row: name, trigger, function, time limit. It never runs twice at a time; a run that
was missed is not made up for; a run that fails is logged and counted, and the next one comes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from datetime import time as TimeOfDay  # noqa: N812 - the module `time` is used as well
from typing import Any, Final

import structlog
from apscheduler.events import EVENT_JOB_ERROR
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from hie.web import Metrics

STOP_SECONDS: Final = 20.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the schedule.

    Attributes:
        name: in logs and metrics, `audit-chain`.
        trigger: seconds from one run to the next, or the UTC time of a daily run.
        run: does the work; must bear being cancelled at its limit.
        limit_seconds: a run that takes longer is cancelled and counts as failed.
    """

    name: str
    trigger: float | TimeOfDay
    run: Callable[[], Awaitable[object]]
    limit_seconds: float


class Jobs:
    """Runs a schedule between `start` and `stop`.

    Args:
        schedule: rows with different names.
        metrics: gains the counts of runs.
    """

    def __init__(self, schedule: Sequence[Job], metrics: Metrics | None = None) -> None:
        if len({job.name for job in schedule}) != len(schedule):
            raise ValueError("two jobs have one name")
        self._schedule = tuple(schedule)
        self._scheduler: Any = None
        self._running: set[str] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        kept = metrics or Metrics()
        self._runs = kept.counter("hie_job_runs_total", "Scheduled runs.", "job", "outcome")
        self._seconds = kept.histogram("hie_job_seconds", "Time of scheduled runs.", "job")

    def start(self) -> None:
        """Begin; the first run of a job comes after its interval."""
        scheduler = AsyncIOScheduler(timezone=UTC)
        # The scheduler catches what a run raises; here it is told, by type and place.
        scheduler.add_listener(self._note_failure, EVENT_JOB_ERROR)
        for job in self._schedule:
            scheduler.add_job(
                self.run_once,
                trigger=_trigger(job.trigger),
                args=[job],
                id=job.name,
                max_instances=1,
                coalesce=True,
                misfire_grace_time=None,
            )
        scheduler.start()
        self._scheduler = scheduler

    async def stop(self) -> None:
        """Start no more runs and wait for those under way; may be called twice."""
        if self._scheduler is None:
            return
        scheduler, self._scheduler = self._scheduler, None
        scheduler.pause()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("jobs.not_finished", count=len(self._running))
        scheduler.shutdown(wait=False)

    async def run_once(self, job: Job) -> None:
        """One run of a job, timed and counted; also for whoever cannot wait for its hour.

        Raises:
            Exception: what the job raised; TimeoutError at its limit.
        """
        if job.name in self._running:
            return
        self._running.add(job.name)
        self._idle.clear()
        began, outcome = time.perf_counter(), "failed"
        try:
            async with asyncio.timeout(job.limit_seconds):
                await job.run()
            outcome = "done"
        finally:
            self._runs.inc(job.name, outcome)
            self._seconds.observe(time.perf_counter() - began, job.name)
            self._running.discard(job.name)
            if not self._running:
                self._idle.set()

    def _note_failure(self, event: Any) -> None:
        _log.error("job.failed", job=event.job_id, exc_info=event.exception)


def _trigger(trigger: float | TimeOfDay) -> Any:
    if isinstance(trigger, TimeOfDay):
        return CronTrigger(hour=trigger.hour, minute=trigger.minute, timezone=UTC)
    return IntervalTrigger(seconds=trigger, timezone=UTC)
