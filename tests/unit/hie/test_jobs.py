"""The schedule: rows that run, one at a time, within their limit."""

import asyncio
from datetime import UTC, datetime, time

import pytest
import structlog
from structlog.testing import capture_logs

from hie.jobs import Job, Jobs, _trigger
from hie.web import Metrics

CANARY = "Zzcanary"
OFTEN = 0.02  # seconds


class Work:
    """Counts its runs; waits at a gate or fails when told to."""

    def __init__(self):
        self.runs = 0
        self.at_once = 0
        self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error = None

    async def __call__(self):
        self.runs += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.gate.wait()
            if self.error:
                raise self.error
        finally:
            self.at_once -= 1


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def logs():
    structlog.reset_defaults()
    with capture_logs() as captured:
        yield captured


async def becomes(condition, *, seconds=60.0):
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the work knows nothing of events
            await asyncio.sleep(0.005)


async def running(jobs, until):
    """Run a schedule until something holds."""
    jobs.start()
    try:
        await becomes(until)
    finally:
        await jobs.stop()


async def test_a_job_runs_again_and_again_until_the_schedule_stops(work, metrics):
    jobs = Jobs([Job("tick", OFTEN, work, 1.0)], metrics)
    await running(jobs, lambda: work.runs >= 3)
    done = work.runs
    await asyncio.sleep(3 * OFTEN)
    assert work.runs == done
    assert f'hie_job_runs_total{{job="tick",outcome="done"}} {done}' in metrics.render()


async def test_a_job_never_runs_twice_at_a_time(work):
    jobs = Jobs([Job("slow", OFTEN, work, 60.0)])
    work.gate.clear()
    jobs.start()
    await becomes(lambda: work.runs)
    await asyncio.sleep(6 * OFTEN)
    await jobs.run_once(Job("slow", OFTEN, work, 60.0))  # by hand, while it runs: nothing
    assert (work.runs, work.most_at_once) == (1, 1)
    work.gate.set()
    await jobs.stop()


async def test_a_run_that_fails_is_told_by_type_and_place_and_the_next_one_comes(
    work, metrics, logs
):
    work.error = ValueError(CANARY)
    await running(Jobs([Job("bad", OFTEN, work, 1.0)], metrics), lambda: work.runs >= 2)
    told = [line for line in logs if line["event"] == "job.failed"]
    assert len(told) >= 2
    assert told[0]["job"] == "bad"
    assert 'outcome="failed"' in metrics.render()


async def test_a_run_over_its_limit_is_cancelled(work, metrics):
    work.gate.clear()
    jobs = Jobs([Job("long", OFTEN, work, 0.01)], metrics)
    await running(jobs, lambda: work.runs >= 2)
    assert work.at_once == 0
    assert 'hie_job_runs_total{job="long",outcome="failed"}' in metrics.render()


async def test_stopping_waits_for_the_run_under_way(work):
    jobs = Jobs([Job("slow", OFTEN, work, 60.0)])
    work.gate.clear()
    jobs.start()
    await becomes(lambda: work.runs)
    stopping = asyncio.create_task(jobs.stop())
    await asyncio.sleep(OFTEN)
    assert not stopping.done()
    work.gate.set()
    await stopping
    assert (work.runs, work.at_once) == (1, 0)


async def test_stopping_does_not_wait_for_ever(work, logs, monkeypatch):
    monkeypatch.setattr("hie.jobs.STOP_SECONDS", 0.02)
    jobs = Jobs([Job("stuck", OFTEN, work, 60.0)])
    work.gate.clear()
    jobs.start()
    await becomes(lambda: work.runs)
    await jobs.stop()
    assert [line["event"] for line in logs] == ["jobs.not_finished"]
    work.gate.set()
    await asyncio.sleep(0.01)


async def test_stopping_what_never_ran_or_has_stopped_is_nothing(work):
    jobs = Jobs([Job("never", 3600, work, 1.0)])
    await jobs.stop()
    jobs.start()
    await jobs.stop()
    await jobs.stop()
    assert work.runs == 0


def test_two_jobs_of_one_name_are_refused(work):
    with pytest.raises(ValueError, match="one name"):
        Jobs([Job("x", 1, work, 1), Job("x", 2, work, 1)])


@pytest.mark.parametrize(
    ("trigger", "first"),
    [
        (time(3, 30), datetime(2026, 2, 1, 3, 30, tzinfo=UTC)),
        (time(9, 31), datetime(2026, 1, 31, 9, 31, tzinfo=UTC)),
    ],
)
def test_a_daily_job_runs_at_its_time_in_utc(trigger, first):
    now = datetime(2026, 1, 31, 9, 30, 30, tzinfo=UTC)
    assert _trigger(trigger).get_next_fire_time(None, now) == first
