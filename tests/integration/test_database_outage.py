"""The database goes away beneath a running hub and comes back: what is told, and what is there.

Spec: DESIGN §1, nothing acknowledged is lost; every refusal says what to do.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import structlog
from sqlalchemy.engine import make_url

from tests.integration.test_acknowledgement import config_with, message
from tests.support.running_hub import RunningHub, running_hub

OTHER = "https://hie.example/organization|listening"
#: A hang limit: how long a hub may need to notice that its database is back.
SECONDS = 60


class Outage:
    """One database of a server that others use too, taken away and given back."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)

    async def begin(self) -> None:
        """End every connection, and take no new one."""
        await self._run(
            f'ALTER DATABASE "{self._url.database}" ALLOW_CONNECTIONS false',
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            f" WHERE datname = '{self._url.database}'",
        )

    async def end(self) -> None:
        """Take connections again."""
        await self._run(f'ALTER DATABASE "{self._url.database}" ALLOW_CONNECTIONS true')

    async def _run(self, *statements: str) -> None:
        url = self._url
        conn = await asyncpg.connect(
            host=url.host, port=url.port, user=url.username, database="postgres"
        )
        try:
            for statement in statements:
                await conn.execute(statement)
        finally:
            await conn.close()


@asynccontextmanager
async def outage(url: str) -> AsyncIterator[None]:
    """A block in which the database is away."""
    one = Outage(url)
    await one.begin()
    try:
        yield
    finally:
        await one.end()


async def exchanged(hub: RunningHub, number: int) -> bytes:
    """What the acknowledgement of a message says in MSA and ERR."""
    (answer,) = await asyncio.wait_for(hub.send(message(number, "", "")), SECONDS)
    return answer


async def told(hub: RunningHub, token: str, *asked: str) -> tuple[int, str, str]:
    """Status, `Retry-After` and body of one request by any of the APIs: method, address, body."""
    method, path, *rest = asked
    body = rest[0] if rest else None
    url = hub.base.removesuffix("/fhir") + path
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, data=body, headers=headers) as answer,
    ):
        return answer.status, answer.headers.get("Retry-After", ""), await answer.text()


async def names(hub: RunningHub, token: str) -> set[str]:
    """The numbers of every patient a token sees, once the hub has found its database again."""
    async with asyncio.timeout(SECONDS):
        while True:
            status, found = await hub.ask(token, "Patient?_count=100")
            if status == 200:
                break
            assert status == 503, "what is away is no fault"
            await asyncio.sleep(0.1)
    patients = [entry["resource"] for entry in found.get("entry", [])]
    return {each["value"] for one in patients for each in one.get("identifier", [])}


async def test_a_database_that_goes_away_and_comes_back_loses_nothing(
    tmp_path: Path, postgres_url: str
) -> None:
    settings = {"HIE_DATABASE_URL": postgres_url, "HIE_CONFIG": config_with(tmp_path, "")}
    with structlog.testing.capture_logs():
        async with running_hub(tmp_path / "home", **settings) as hub:
            token = await hub.token(OTHER)
            staff = await hub.token(scope="staff/identity.read", user="kim", purpose="HOPERAT")
            assert b"MSA|AA|M1" in await exchanged(hub, 1)
            for _ in range(2):  # connections of before the first are not all gone after it
                async with outage(postgres_url):
                    refused = await exchanged(hub, 2)
                    assert b"MSA|AR|M2" in refused
                    assert b"send it again" in refused
                    for bearer, *asked in (
                        (token, "GET", "/fhir/Patient"),
                        (token, "POST", "/fhir/Patient", '{"resourceType":"Patient"}'),
                        (staff, "GET", "/staff/v1/mpi/tasks"),
                    ):
                        status, after, text = await told(hub, bearer, *asked)
                        assert (status, after) == (503, "5"), asked
                        assert "the database cannot be reached; send it again" in text
                    ready = await told(hub, "", "GET", "/health/ready")
                    assert ready[0] == 503
                    assert (await told(hub, "", "GET", "/health/live"))[0] == 200
                assert await names(hub, token) == {"K1"}
            assert b"MSA|AA|M2" in await exchanged(hub, 2)
            assert await names(hub, token) == {"K1", "K2"}
            assert (await told(hub, staff, "GET", "/staff/v1/mpi/tasks"))[0] == 200
            assert (await hub.hub.verifier.verify()).is_whole
