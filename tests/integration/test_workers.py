"""Workers of several processes on one queue: order within a patient, each message once.

Spec: DESIGN D14; docs/adr/0020.
"""

import asyncio
import itertools
import os
import random
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from adapters.message import State
from adapters.queue import Queue
from adapters.tables import inbound_message
from hie.app import Hub, Role
from hie.db import Database
from hie.kernel.errors import HieError
from hie.kernel.ids import MessageId
from hie.settings import load_settings
from hie.store.tables import resource, resource_version
from tests.integration.test_state_rules import adt, msh, pid
from tests.support.feeding import Feeding, feeding
from tests.support.hub_process import HubProcess, exchange

IS_LONG = os.environ.get("HIE_TEST_LONG") == "1"
PATIENTS, MESSAGES = (200, 4_000) if IS_LONG else (24, 360)
WORKERS = 3
#: Long: others may have the machine meanwhile.
SECONDS = 1800 if IS_LONG else 600


def clock(number: int) -> str:
    """The time of day of a message: later than that of all before it."""
    return f"{number // 3600:02}{number // 60 % 60:02}{number % 60:02}"


def update_of(patient: int, number: int) -> bytes:
    """An update that changes the patient, so that it makes a version."""
    name = f"Grebe{patient}^Ada{number}"
    return adt("A08", clock(number), who=pid(f"W{patient}", name), visit="")


def merge_of(survivor: int, retired: int, number: int) -> bytes:
    at = clock(number)
    who = pid(f"W{survivor}", f"Grebe{survivor}^Ada{number}")
    retires = f"MRG|W{retired}^^^BGH^MR"
    segments = (msh("ADT^A40", f"M-{number}", at), f"EVN||20250301{at}", who, retires, "")
    return "\r".join(segments).encode()


def traffic() -> list[tuple[set[int], bytes]]:
    """Messages in the order they come, each with the patients it is about; some are merges."""
    chance = random.Random(14)
    found: list[tuple[set[int], bytes]] = []
    for number in range(MESSAGES):
        first = chance.randrange(PATIENTS)
        if number % 30 == 29:
            second = (first + 1 + chance.randrange(PATIENTS - 1)) % PATIENTS
            found.append(({first, second}, merge_of(first, second, number)))
        else:
            found.append(({first}, update_of(first, number)))
    return found


@pytest.fixture
async def empty_url(postgres_url: str) -> str:
    """A database without any table: hubs make their own."""
    bare = Database(postgres_url)
    async with bare.transaction() as conn:
        await conn.exec_driver_sql("DROP SCHEMA public CASCADE")
        await conn.exec_driver_sql("CREATE SCHEMA public")
    await bare.close()
    return postgres_url


@pytest.fixture
async def hub(tmp_path: Path, empty_url: str) -> AsyncIterator[Feeding]:
    """The services of a hub on PostgreSQL, whose queue nobody works off yet."""
    async with feeding(tmp_path / "home", HIE_DATABASE_URL=empty_url) as fed:
        yield fed


async def backlog(hub: Feeding) -> int:
    async with hub.services.db.reading() as conn:
        return await hub.services.journal.backlog(conn)


async def until_worked_off(hub: Feeding, left: int = 0) -> None:
    """Wait until no more than `left` messages wait."""
    deadline = time.monotonic() + SECONDS
    while (waiting := await backlog(hub)) > left:
        assert time.monotonic() < deadline, waiting
        await asyncio.sleep(0.1)


async def test_order_holds_within_a_patient_and_each_message_is_worked_off_once(
    hub: Feeding, tmp_path: Path, empty_url: str
) -> None:
    sent = traffic()
    ids = await hub.take(*(payload for _, payload in sent))
    processes = [
        HubProcess(tmp_path / "home", "worker", HIE_DATABASE_URL=empty_url) for _ in range(WORKERS)
    ]
    try:
        await asyncio.gather(*(asyncio.to_thread(process.start) for process in processes))
        await until_worked_off(hub, MESSAGES // 2)
        processes[0].kill()
        await until_worked_off(hub)
    finally:
        for process in processes:
            process.kill()
    await check(hub, dict(zip(ids, (about for about, _ in sent), strict=True)))


async def check(hub: Feeding, about: dict[MessageId, set[int]]) -> None:
    """Every message is processed once, and each patient's versions are in the order they came."""
    patient = hub.services.config.index.type_id("Patient")
    async with hub.services.db.reading() as conn:
        t, v, r = inbound_message.c, resource_version.c, resource.c
        states = await conn.execute(
            select(t.state, t.attempts, t.reason, func.count()).group_by(
                t.state, t.attempts, t.reason
            )
        )
        assert [tuple(row) for row in states] == [("processed", 1, "", MESSAGES)]
        query = (
            select(r.id, v.message_id)
            .join_from(resource, resource_version, v.resource_pk == r.pk)
            .where(r.type_id == patient, v.body.is_not(None))
            .order_by(r.pk, v.version)
        )
        versions = defaultdict(list)
        for record, message_id in await conn.execute(query):
            versions[record].append(MessageId(message_id))
    assert versions
    for made in versions.values():
        updates = [one for one in made if len(about[one]) == 1]  # a merge makes two
        assert len(set(updates)) == len(updates)
        # After a merge a number that was retired is a key of its own still.
        for first, then in itertools.combinations(made, 2):
            assert first <= then or about[first].isdisjoint(about[then])


async def test_a_worker_takes_nothing_behind_a_patient_another_is_at(hub: Feeding) -> None:
    one, two, merged, after = await hub.take(
        update_of(1, 1), update_of(2, 2), merge_of(2, 1, 3), update_of(2, 4)
    )
    (other,) = await hub.take(update_of(3, 5))
    services = hub.services
    queue = Queue(services.db, services.journal)
    async with services.db.transaction() as first, services.db.transaction() as second:
        assert [m.id for m in (await queue.reserve(first, 1)).messages] == [one]
        # Neither the merge of a patient who is taken nor what is behind it.
        assert [m.id for m in (await queue.reserve(second, 9)).messages] == [two, other]
        async with services.db.transaction() as third:
            nothing = await queue.reserve(third, 9)
            assert (nothing.messages, nothing.is_blocked) == ((), True)
    async with services.db.transaction() as conn:
        taken = [m.id for m in (await queue.reserve(conn, 9)).messages]
    assert taken == [one, two, merged, after, other]


async def test_a_large_backlog_is_not_looked_through(hub: Feeding) -> None:
    """Taking the next messages costs the same however many are done."""
    ids = await hub.take(*(update_of(n, n) for n in range(40)))
    async with hub.services.db.transaction() as conn:
        await conn.execute(
            update(inbound_message)
            .where(inbound_message.c.pk.in_(ids[:-1]))
            .values(state=State.PROCESSED.value)
        )
        await conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = await conn.exec_driver_sql(
            "EXPLAIN SELECT pk, partition, partitions FROM inbound_message "
            "WHERE state = 'received' ORDER BY pk LIMIT 512"
        )
        text = "\n".join(row[0] for row in plan)
    assert "ix_inbound_message_queue" in text
    assert "Sort" not in text


async def test_several_hubs_begin_on_an_empty_database_at_once(
    tmp_path: Path, empty_url: str
) -> None:
    home = {"HIE_HOME": str(tmp_path / "home"), "HIE_DATABASE_URL": empty_url}
    Hub(load_settings(home))  # makes the key file all of them share
    async with AsyncExitStack() as stack:
        hubs = [Hub(load_settings(home)) for _ in range(3)]
        await asyncio.gather(*(stack.enter_async_context(hub) for hub in hubs))
        await asyncio.gather(*(hub.sequencer.chain(hub.clock.now_us()) for hub in hubs))
        assert (await hubs[0].verifier.verify()).tamper is None


def test_the_work_of_a_hub_on_sqlite_is_not_split(tmp_path: Path) -> None:
    settings = load_settings({"HIE_HOME": str(tmp_path)})
    with pytest.raises(HieError, match="PostgreSQL"):
        Hub(settings, roles=frozenset({Role.WORKER}))


async def test_a_message_goes_from_the_process_that_receives_to_the_one_that_serves(
    tmp_path: Path, empty_url: str
) -> None:
    home = tmp_path / "home"
    receive, worker, api = (
        HubProcess(home, role, HIE_DATABASE_URL=empty_url) for role in ("receive", "worker", "api")
    )
    try:
        receive.start()  # makes the key file and the tables
        await asyncio.gather(*(asyncio.to_thread(process.start) for process in (worker, api)))
        answers: list[bytes] = []
        payload = update_of(1, 1).replace(b"CLINWORKS|BAYSIDE", b"MEDIHOST|STAUR")
        await exchange(receive.mllp_port, [payload], answers)
        assert b"MSA|AA|" in answers[0]
        token = api.run("token", "--organization", "saint-aurelia").stdout.strip()

        def asked(process: HubProcess) -> tuple[int, bytes]:
            url = f"http://127.0.0.1:{process.http_port}/fhir/Patient"
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                return error.code, b""

        deadline = time.monotonic() + SECONDS
        while b"Grebe1" not in (await asyncio.to_thread(asked, api))[1]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
        assert (await asyncio.to_thread(asked, receive))[0] == 404
        assert (await asyncio.to_thread(asked, worker))[0] == 404
    finally:
        for process in (receive, worker, api):
            process.stop()
