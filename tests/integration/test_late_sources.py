"""A source that falls silent: told once, shown, over with its next message; by a stepped clock."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.port import JournalEntry, Wire
from hie.app import Hub
from hie.kernel.ids import SourceId
from hie.settings import load_settings
from hie.tasks.model import Outcome, StaffTask, TaskFilter, TaskKind, TaskState
from tests.support.ports import free_port
from tests.support.tree import ROOT

PACE = '\n[expected]\ninterval = "15m"\nquiet_hours = ["22:00-06:00"]\n'
MINUTES = 60
SOURCE = SourceId("saint-aurelia")


@pytest.fixture(params=["sqlite", "postgresql"])
async def hub(request: pytest.FixtureRequest, tmp_path: Path, clock) -> AsyncIterator[Hub]:
    """A hub that does nothing by itself; one of its sources stated its pace."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with Hub(settings_of(tmp_path, url), clock) as hub:
        await hub.watch.start()
        await hub.watch.look()
        yield hub


def settings_of(folder: Path, url: str):
    config = folder / "config"
    if not config.exists():
        shutil.copytree(ROOT / "config", config)
        with (config / "sources" / f"{SOURCE}.toml").open("a") as file:
            file.write(PACE)
    return load_settings(
        {
            "HIE_CONFIG": str(config),
            "HIE_HOME": str(folder / "home"),
            "HIE_DATABASE_URL": url,
            "HIE_HTTP_PORT": str(free_port()),
        }
    )


async def speak(hub: Hub, control_id: str, source_id: SourceId = SOURCE) -> None:
    await hub.journal.write(
        JournalEntry(
            source_id=source_id,
            wire=Wire.MLLP,
            trigger="ADT^A08",
            control_id=control_id,
            partition="p",
            content_hash=control_id.encode(),
            payload=b"MSH|",
            answer=b"MSH|\rMSA|AR|1",
            is_accepted=False,
            findings=(),
        )
    )


async def tasks(hub: Hub, state: TaskState = TaskState.OPEN) -> list[StaffTask]:
    async with hub.db.reading() as conn:
        return await hub.tasks.listed(conn, TaskFilter(kind=TaskKind.LATE_SOURCE, state=state))


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    """What is logged meanwhile, wherever a test before has sent the log."""
    with capture_logs() as lines:
        yield lines


async def test_silence_is_told_once_and_over_with_the_next_message(hub, clock, logged):
    clock.step(seconds=3 * 60 * MINUTES)
    await speak(hub, "C1")
    clock.step(seconds=14 * MINUTES)
    await hub.watch.look()
    assert (dict(hub.watch.late()), await tasks(hub)) == ({}, [])
    clock.step(seconds=2 * MINUTES)
    since = clock.now_us() - 60_000_000
    for _ in range(3):
        await hub.watch.look()
        clock.step(seconds=1)
    assert dict(hub.watch.late()) == {SOURCE: since}
    (task,) = await tasks(hub)
    assert (task.source_id, task.count, task.first_us) == (SOURCE, 1, since)
    told = hub.metrics.render()
    assert 'hie_source_late_total{source="saint-aurelia"} 1' in told
    assert "hie_late_sources 1" in told
    assert [line["event"] for line in logged].count("source.late") == 1
    async with hub.db.reading() as conn:
        feed = next(f for f in await hub.watch.feeds(conn) if f.source.id == SOURCE)
    assert (feed.late_us, feed.tasks) == (since, {("late-source", ""): 1})

    await speak(hub, "C2")
    await hub.watch.look()
    assert dict(hub.watch.late()) == {}
    assert await tasks(hub) == []
    (closed,) = await tasks(hub, TaskState.CLOSED)
    assert closed.outcome is Outcome.RESOLVED
    clock.step(seconds=16 * MINUTES)
    await hub.watch.look()
    (again,) = await tasks(hub)
    assert again.id != closed.id, "the next silence is another"


async def test_a_night_it_stated_is_no_silence(hub, clock):
    # 2026-01-31T09:30Z is 04:30 in Boston: quiet until six.
    await speak(hub, "C1")
    clock.step(seconds=100 * MINUTES)
    await hub.watch.look()
    assert dict(hub.watch.late()) == {}
    clock.step(seconds=6 * MINUTES)
    await hub.watch.look()
    assert list(hub.watch.late()) == [SOURCE]


async def test_the_hubs_own_absence_is_nobodys_silence(hub, clock):
    clock.step(seconds=7 * 60 * MINUTES)
    await hub.watch.start()
    await hub.watch.look()
    assert dict(hub.watch.late()) == {}
    clock.step(seconds=20 * MINUTES)
    await hub.watch.look()
    assert list(hub.watch.late()) == [SOURCE]
    await hub.watch.start()
    await hub.watch.look()
    assert list(hub.watch.late()) == [SOURCE], "but who was late before, still is"


async def test_a_source_without_a_stated_pace_is_never_late(hub, clock):
    clock.step(seconds=40 * 24 * 60 * MINUTES)
    await hub.watch.look()
    assert list(hub.watch.late()) == [SOURCE]


async def test_a_sender_without_a_file_is_shown_once_it_has_sent(hub: Hub):
    sender = SourceId("adhoc:LAB|NORTH")
    async with hub.db.reading() as conn:
        before = [feed.source.id for feed in await hub.watch.feeds(conn)]
    await speak(hub, "A1", sender)
    await speak(hub, "A2", SourceId("unknown"))
    async with hub.db.reading() as conn:
        feeds = {feed.source.id: feed for feed in await hub.watch.feeds(conn)}
    assert list(feeds) == [*before, sender]
    assert feeds[sender].figures.day == 1
