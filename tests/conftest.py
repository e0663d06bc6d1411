"""What every test may ask for: fresh databases of each kind, keys, a clock that stands still.

`HIE_TEST_LONG=1` turns the properties from few and fixed to many and random. No test reaches
beyond this machine.
"""

import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import time as TimeOfDay  # noqa: N812 - as in hie.jobs
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web_app
from hypothesis import HealthCheck, settings

from hie import jobs, migrations
from hie.crypto import KeyRing
from hie.db import Database
from hie.kernel.clock import SECOND_US
from tests.support.draws import repeat_draws
from tests.support.emptied import Emptied, apart
from tests.support.made_once import with_tables
from tests.support.postgres import NoPostgresError, Server, running_server

ROOT = Path(__file__).resolve().parents[1]
IS_LONG = os.environ.get("HIE_TEST_LONG") == "1"
#: 2026-01-31T09:30:00Z
START_US = 1_769_851_800 * SECOND_US
TEMPLATE = "hie_template"
DAY_SECONDS = 86_400.0

settings.register_profile(
    "short",
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "long",
    max_examples=1_000,
    # A build server repeats what it found; fresh seeds are for people, who read what they find.
    derandomize=os.environ.get("CI") == "true",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("long" if IS_LONG else "short")
if settings().derandomize:
    repeat_draws()


class SteppedClock:
    """A clock that moves only when told to."""

    def __init__(self, now_us: int = START_US) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return self._now_us

    def step(self, *, seconds: float = 0, us: int = 0) -> int:
        """Move on; the new time."""
        self._now_us += round(seconds * SECOND_US) + us
        return self._now_us


def _stay_on_this_machine(event: str, args: tuple[Any, ...]) -> None:
    """Refuse a connection to anywhere but loopback and Unix sockets."""
    if event == "socket.connect":
        address = args[1]
        if isinstance(address, tuple) and not _is_loopback(str(address[0])):
            raise RuntimeError(f"a test tried to reach {address[0]}")


def _is_loopback(host: str) -> bool:
    return host in ("::1", "localhost") or host.startswith("127.")


def pytest_configure() -> None:
    """Close the network before the first test module is read."""
    sys.addaudithook(_stay_on_this_machine)


def pytest_report_header() -> list[str]:
    """Which form of the properties runs."""
    return ["properties: long, random" if IS_LONG else "properties: short, fixed seed"]


@pytest.fixture(scope="session", autouse=True)
def _no_nights() -> Iterator[None]:
    """What a hub does at an hour of the night happens to no test that is under way just then."""
    trigger_of = jobs._trigger

    def by_interval(trigger: float | TimeOfDay) -> Any:
        return trigger_of(DAY_SECONDS if isinstance(trigger, TimeOfDay) else trigger)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "_trigger", by_interval)
        yield


@pytest.fixture(scope="module", autouse=True)
def _no_hubs_of_before() -> Iterator[None]:
    """A hub that stopped is let go: aiohttp remembers the applications of many requests."""
    yield
    web_app._cached_build_middleware.cache_clear()


@pytest.fixture
def clock() -> SteppedClock:
    """A clock standing at 2026-01-31T09:30:00Z; `clock.step(seconds=1)` moves it."""
    return SteppedClock()


@pytest.fixture
def keyring() -> KeyRing:
    """Fresh keys, in memory."""
    return KeyRing.ephemeral()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """One PostgreSQL server for the session; skips where there is none, but fails in CI."""
    try:
        with running_server() as server:
            yield server
    except NoPostgresError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def postgres_databases(postgres_server: Server) -> Emptied:
    """Databases that have every table and no row."""
    databases = Emptied(postgres_server, TEMPLATE)
    apart(_create_schema(postgres_server.url(TEMPLATE)))
    return databases


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file that has every table and no row."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    apart(with_tables(path))
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The address of a fresh SQLite database."""
    path = tmp_path / "hie.db"
    shutil.copyfile(sqlite_template, path)
    path.chmod(0o600)
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture
def postgres_url(postgres_databases: Emptied) -> Iterator[str]:
    """The address of a PostgreSQL database without a row."""
    with postgres_databases.one() as url:
        yield url


@pytest.fixture(scope="module")
def module_postgres_url(postgres_databases: Emptied) -> Iterator[str]:
    """The address of a PostgreSQL database for all tests of a module."""
    with postgres_databases.one() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of a fresh database of each kind in turn."""
    fixture = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(fixture))


@pytest.fixture
async def database(database_url: str, clock: SteppedClock) -> AsyncIterator[Database]:
    """A fresh database of each kind in turn, every table made."""
    database = Database(database_url, clock)
    yield database
    await database.close()


@pytest.fixture
async def sqlite_database(sqlite_url: str, clock: SteppedClock) -> AsyncIterator[Database]:
    """A fresh SQLite database, for what does not depend on the kind."""
    database = Database(sqlite_url, clock)
    yield database
    await database.close()


async def _create_schema(url: str) -> None:
    database = Database(url)
    await migrations.upgrade(database)
    await database.close()
