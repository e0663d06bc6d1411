"""An export goes on where a killed hub left it, and two workers never list a thing twice."""

import asyncio
import json
import os
import re
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hie.crypto import KeyRing
from hie.db import Database
from hie.exports.model import Asked, Holding, Job, Level, State, Step
from hie.exports.repository import LEASE_SECONDS, ExportBook
from hie.kernel.clock import SECOND_US
from hie.keystore import KeyStore
from tests.support.hub_process import HubProcess

IS_LONG = os.environ.get("HIE_TEST_LONG") == "1"
#: Enough for several steps of the collector.
PATIENTS = 2000 if IS_LONG else 160
AT_ONCE = 80


class Client:
    """Asks a hub that is another process."""

    def __init__(self, hub: HubProcess) -> None:
        self._base = f"http://127.0.0.1:{hub.http_port}/fhir/"
        issued = hub.run("token", "--organization", "ALPHA", "--scope", "system/*.cruds")
        self._token = issued.stdout.strip()

    def ask(self, path: str, body: Any = None) -> tuple[int, dict[str, str], bytes]:
        url = path if path.startswith("http") else self._base + path
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/fhir+json",
            "Prefer": "respond-async",
        }
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as got:
                return got.status, dict(got.headers), got.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def load(self, first: int) -> None:
        """A batch of patients, nobody like another."""
        entries = [
            {
                "fullUrl": f"urn:uuid:00000000-0000-4000-8000-{n:012d}",
                "resource": {
                    "resourceType": "Patient",
                    "identifier": [{"system": "urn:alpha", "value": f"P{n}"}],
                    "name": [{"family": f"Family{n:05d}", "given": [f"Given{n:05d}"]}],
                    "birthDate": f"19{n % 80 + 10:02d}-{n % 12 + 1:02d}-{n % 27 + 1:02d}",
                },
                "request": {"method": "POST", "url": "Patient"},
            }
            for n in range(first, first + AT_ONCE)
        ]
        body = {"resourceType": "Bundle", "type": "batch", "entry": entries}
        status, _, told = self.ask("", body)
        assert status == 200, told


async def test_an_export_survives_a_kill_with_nothing_twice_and_nothing_lost(
    tmp_path: Path,
) -> None:
    hub = HubProcess(tmp_path / "home")
    hub.start()
    try:
        client = Client(hub)
        for first in range(0, PATIENTS, AT_ONCE):
            client.load(first)
        status, headers, told = client.ask("Patient/$export?_type=Patient")
        assert status == 202, told
        address = headers["Content-Location"]
        listed, body = 0, b""
        while not listed:  # or it is complete, where the machine looked elsewhere meanwhile
            status, headers, body = client.ask(address)
            listed = int(headers.get("X-Progress", "1").split()[0])
        hub.kill()
        hub.start()
        while status == 202:
            await asyncio.sleep(0.1)
            status, _, body = client.ask(address)
        manifest = json.loads(body)
        assert sum(entry["count"] for entry in manifest["output"]) == PATIENTS
        found = Counter[str]()
        for entry in manifest["output"]:
            status, _, lines = client.ask(entry["url"])
            assert status == 200
            found.update(json.loads(line)["name"][0]["family"] for line in lines.splitlines())
        assert found == Counter(f"Family{n:05d}" for n in range(PATIENTS))
        job = address.rpartition("/")[2]
        [listed_as] = hub.run("export", "list").stdout.splitlines()
        assert re.search(rf"^{job} .* patient +complete +listed {PATIENTS}$", listed_as)
        assert hub.run("export", "cancel", job).stdout == "taken away\n"
        assert client.ask(address)[0] == 404
    finally:
        hub.kill()


@pytest.mark.skipif(not IS_LONG, reason="waits for a lease to end; HIE_TEST_LONG=1")
async def test_another_worker_goes_on_with_the_export_of_one_that_was_killed(
    tmp_path: Path, postgres_url: str
) -> None:
    roles = (("api", "receive"), ("worker",), ("worker",))
    hubs = [HubProcess(tmp_path, *role, HIE_DATABASE_URL=postgres_url) for role in roles]
    api, *workers = hubs
    try:
        for hub in hubs:
            hub.start()
        client = Client(api)
        for first in range(0, 4 * AT_ONCE, AT_ONCE):
            client.load(first)
        _, headers, _ = client.ask("Patient/$export?_type=Patient")
        address = headers["Content-Location"]
        listed = 0
        while not listed:
            _, headers, _ = client.ask(address)
            listed = int(headers.get("X-Progress", "1").split()[0])
        workers[0].kill()
        status, body = 202, b""
        while status == 202:
            await asyncio.sleep(1)
            status, _, body = client.ask(address)
        assert [entry["count"] for entry in json.loads(body)["output"]] == [4 * AT_ONCE]
    finally:
        for hub in hubs:
            hub.kill()


def _job(db: Database, now_us: int) -> Job:
    asked = Asked(
        level=Level.PATIENT, request="http://hub/fhir/Patient/$export", types=("Patient",)
    )
    return Job(
        pk=db.next_pk(),
        job_id=f"{db.next_pk():032x}",
        owner="somebody",
        token_id="1",
        organization="",
        asked=asked,
        state=State.WORKING,
        created_us=now_us,
        as_of_us=now_us,
        place="start",
        batch=1,
        in_batch=0,
        rows=0,
        listed=0,
        ended_us=None,
        expires_us=now_us + SECOND_US,
    )


async def _advance(db: Database, book: ExportBook, job: Job, worker: str, step: Step) -> bool:
    async with db.transaction() as conn:
        return await book.advance(conn, job, worker, step, job.created_us) is not None


async def _holdings(db: Database, book: ExportBook, job: Job) -> list[Holding]:
    async with db.reading() as conn:
        return await book.holdings(conn, job, 1, after=-1, limit=100)


async def test_a_step_is_stored_once_by_the_worker_that_holds_the_lease(
    database: Database,
) -> None:
    book = ExportBook(database, KeyStore(database, KeyRing.ephemeral()))
    now_us = 1_000_000 * SECOND_US
    async with database.transaction() as conn:
        await book.add(conn, _job(database, now_us))
    assert await book.claim("one", now_us) is None, "what was being written may still come"
    later_us = now_us + 2 * SECOND_US
    job = await book.claim("one", later_us)
    assert job is not None
    if not database.is_sqlite:
        assert await book.claim("two", later_us) is None
    step = Step(
        place="next",
        holdings=(("ada", {1: (5, 6)}), ("", {2: (7,)})),
        others=frozenset({("", 9), ("bob", 8)}),
    )
    assert await _advance(database, book, job, "one", step)
    assert not await _advance(database, book, job, "one", step), "the same step again"
    over_us = later_us + (LEASE_SECONDS + 1) * SECOND_US
    taken = await book.claim("two", over_us)
    assert taken is not None
    assert (taken.place, taken.rows, taken.listed) == ("next", 2, 3)
    more = Step(place="last", holdings=(("bob", {1: (8,)}),), others=frozenset({("", 9)}))
    assert not await _advance(database, book, taken, "one", more), "its lease went to another"
    assert await _advance(database, book, taken, "two", more)
    async with database.reading() as conn:
        assert await book.others(conn, taken, ("", 0), 10) == [("", 9), ("bob", 8)]
        assert await book.others(conn, taken, ("", 9), 10) == [("bob", 8)]
        parts = {(part.type_id, part.count) for part in await book.parts(conn, taken)}
        assert parts == {(1, 3), (2, 1)}
        assert await book.persons_held(conn, taken, ["ada", "eve"]) == {"ada"}
    held = await _holdings(database, book, taken)
    assert [(h.seq, h.person_id, dict(h.content)) for h in held] == [
        (0, "ada", {1: (5, 6)}),
        (1, "", {2: (7,)}),
        (2, "bob", {1: (8,)}),
    ]
    assert await _told(database, book, taken) == [0, 2], "each by one of two readers"
    async with database.transaction() as conn:
        await book.narrow(conn, taken, {0: {1: (6,)}})
        assert await book.end(conn, taken, State.COMPLETE, over_us, over_us)
    assert dict((await _holdings(database, book, taken))[0].content) == {1: (6,)}
    assert await book.forget(over_us) == 1
    assert await book.listed(10) == []
    assert await _holdings(database, book, taken) == []


async def _told(database: Database, book: ExportBook, job: Job) -> list[int]:
    async def tell() -> set[int]:
        async with database.transaction() as conn:
            return await book.told(conn, job, [0, 2], 1)

    return sorted(seq for seqs in await asyncio.gather(tell(), tell()) for seq in seqs)
