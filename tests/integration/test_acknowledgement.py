"""Enhanced mode end to end: commit answers on the connection, application answers afterwards."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.hl7v2 import er7
from adapters.hl7v2.frame import frame
from adapters.hl7v2.tls import TlsSettings, server_context
from adapters.message import Message, State
from adapters.outbox import Delivery
from hie.flow.ingest import Prepared
from tests.support.certificates import Authority
from tests.support.hub_process import HubProcess, exchange
from tests.support.launcher import ROOT
from tests.support.mllp_listener import MllpListener
from tests.support.ports import free_port
from tests.support.running_hub import RunningHub, running_hub

SOURCE = """
name = "Listening hospital"
time_zone = "America/New_York"
own_authority = "urn:oid:1.2.840.95"

[match]
application = "LISTENING"

[organization]
system = "https://hie.example/organization"
value = "listening"
name = "Listening hospital"

[authorities]
LISTENING = "urn:oid:1.2.840.95"
"""


def config_with(folder: Path, more: str) -> str:
    """A copy of config/ with one more source; its path."""
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / "config" / "sources" / "listening.toml").write_text(SOURCE + more)
    return str(folder / "config")


@asynccontextmanager
async def listening() -> AsyncIterator[MllpListener]:
    listener = MllpListener()
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop()


def message(number: int, accept: str = "AL", application: str = "AL", kind: str = "A04") -> bytes:
    header = (
        f"MSH|^~\\&|LISTENING|HOSP|HUB|STATE|20260131093000||ADT^{kind}^ADT_A01|M{number}|P|2.5.1"
        f"|||{accept}|{application}||UNICODE UTF-8\r"
    )
    return (
        header + f"EVN||20260131093000\rPID|1||K{number}^^^LISTENING^MR||Marsh^Ida||19700101|F\r"
        "PV1|1|O\r"
    ).encode()


def told(hub: RunningHub) -> dict[tuple[str, ...], int]:
    """What waits or was given up, by source and state."""
    return hub.hub.wires.acknowledger._meters.waiting


async def state_of(hub: RunningHub, state: Delivery) -> list[str]:
    return [
        f"{row.code} {row.reason}"
        for row in await hub.hub.journal.outbox.listed(10)
        if row.state is state
    ]


async def test_what_became_of_a_message_is_told_to_its_senders_listener(tmp_path: Path):
    async with listening() as listener:
        to = f'[acknowledgement]\napplication_to = "127.0.0.1:{listener.port}"\n'
        config = config_with(tmp_path, to)
        async with running_hub(tmp_path / "hub", HIE_CONFIG=config) as hub:
            answers = await hub.send(message(1), message(2, application="ER"), message(3, "SU"))
            assert [er7.parse(answer).get("MSA-1") for answer in answers] == ["CA", "CA", "CA"]
            await listener.until(2)
            await asyncio.sleep(0.2)
    assert sorted(m.get("MSA-2") for m in listener.taken) == ["M1", "M3"]
    first = next(m for m in listener.taken if m.get("MSA-2") == "M1")
    assert first.get("MSA-1") == "AA"
    assert first.get("MSH-5") == "LISTENING"
    assert first.get("MSH-12") == "2.5.1"
    assert first.get("MSH-18") == "UNICODE UTF-8"
    assert (first.get("MSH-15"), first.get("MSH-16")) == ("AL", "NE")
    assert first.get("MSH-9.3") == "ACK"
    assert first.control_id != "M1"


async def test_a_parked_message_is_told_once_as_an_error(tmp_path: Path):
    async with listening() as listener:
        to = f'[acknowledgement]\napplication_to = "127.0.0.1:{listener.port}"\n'
        config = config_with(tmp_path, to)
        async with running_hub(tmp_path / "hub", HIE_CONFIG=config) as hub:
            ingest = hub.hub.worker._ingest
            prepare = ingest.prepare

            def fail(_message: Message) -> Prepared:
                raise RuntimeError("a defect")

            ingest.prepare = fail  # type: ignore[method-assign,assignment]  # a map that fails
            await hub.send(message(1, application="AL"))
            await listener.until(1)
            ingest.prepare = prepare  # type: ignore[method-assign]  # put right
            async with asyncio.timeout(60):  # what was delivered long ago has no row any more
                while not await hub.hub.journal.outbox.forget(1 << 60):  # noqa: ASYNC110 - rows come by the clock
                    await asyncio.sleep(0.05)
            async with hub.hub.db.transaction() as conn:
                parked = await hub.hub.journal.listed(conn, State.PARKED, 10)
                again = [m.id for m in parked]
                assert await hub.hub.replay.reopen(conn, again, "mended", "test") == 1
            hub.hub.worker.notify()
            await hub.hub.worker.idle()
            await asyncio.sleep(0.3)
    (only,) = listener.taken
    assert (only.get("MSA-1"), only.get("MSA-2")) == ("AE", "M1")
    assert only.get("ERR-7") == "parked"


async def test_a_refused_message_of_a_sender_without_accept_acknowledgements_is_told_there(
    tmp_path: Path,
):
    async with listening() as listener:
        to = f'[acknowledgement]\napplication_to = "127.0.0.1:{listener.port}"\n'
        config = config_with(tmp_path, to + '[severity]\nsegment-required = "error"\n')
        async with running_hub(tmp_path / "hub", HIE_CONFIG=config) as hub:
            bad = message(1, "NE", "ER").replace(b"PV1|1|O\r", b"").replace(b"PID|", b"ZPD|")
            reader, writer = await asyncio.open_connection("127.0.0.1", hub.hub.receivers[0].port)
            writer.write(frame(bad) + frame(message(2)))
            answer = er7.parse((await reader.readuntil(b"\x1c\r"))[1:-2])
            assert answer.get("MSA-2") == "M2"  # the first had no answer here
            writer.close()
            await listener.until(2)
    refused = next(m for m in listener.taken if m.get("MSA-2") == "M1")
    assert refused.get("MSA-1") == "AE"
    assert refused.get("ERR-7") == "segment-required"


async def test_what_could_not_be_delivered_survives_a_kill_and_is_delivered_later(tmp_path: Path):
    listener = MllpListener()
    to = f'[acknowledgement]\napplication_to = "127.0.0.1:{listener.port}"\n'
    hub = HubProcess(tmp_path / "hub", HIE_CONFIG=config_with(tmp_path, to))
    answers: list[bytes] = []

    async def listed() -> int:
        told = await asyncio.to_thread(hub.run, "acknowledgements")
        return told.stdout.count("listening  AA  waiting")

    try:
        await asyncio.to_thread(hub.start)
        await exchange(hub.mllp_port, [message(n) for n in range(3)], answers)
        assert [er7.parse(answer).get("MSA-1") for answer in answers] == ["CA", "CA", "CA"]
        async with asyncio.timeout(60):
            while await listed() < 3:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        hub.kill()
        assert await listed() == 3
        await listener.start()
        await asyncio.to_thread(hub.start)
        await listener.until(3)
        await asyncio.sleep(0.3)
    finally:
        hub.kill()
        await listener.stop()
    assert sorted(m.get("MSA-2") for m in listener.taken) == ["M0", "M1", "M2"]
    assert {m.get("MSA-1") for m in listener.taken} == {"AA"}
    log = hub.log.read_text()
    assert "Marsh" not in log


@pytest.mark.parametrize(
    ("code", "state", "reason"),
    [
        ("CE", Delivery.GIVEN_UP, "AA the listener answered CE"),
        ("CR", Delivery.WAITING, "AA the listener answered CR"),
    ],
)
async def test_a_listener_that_refuses_is_heard(
    tmp_path: Path, code: str, state: Delivery, reason: str
):
    async with listening() as listener:
        listener.answer = lambda _message: code
        to = f'[acknowledgement]\napplication_to = "127.0.0.1:{listener.port}"\n'
        config = config_with(tmp_path, to)
        async with running_hub(tmp_path / "hub", HIE_CONFIG=config) as hub:
            await hub.send(message(1))
            await listener.until(1)
            async with asyncio.timeout(60):
                while await state_of(hub, state) != [reason]:  # noqa: ASYNC110 - settled by the hub
                    await asyncio.sleep(0.02)


async def test_what_is_given_up_can_be_tried_again(tmp_path: Path):
    async with listening() as listener:
        listener.answer = lambda _message: "AE"
        to = f'[acknowledgement]\napplication_to = "127.0.0.1:{listener.port}"\n'
        config = config_with(tmp_path, to)
        async with running_hub(tmp_path / "hub", HIE_CONFIG=config) as hub:
            await hub.send(message(1))
            async with asyncio.timeout(60):
                while not await state_of(hub, Delivery.GIVEN_UP):  # noqa: ASYNC110 - settled by the hub
                    await asyncio.sleep(0.02)
            listener.answer = lambda _message: "AA"
            (row,) = await hub.hub.journal.outbox.listed(10)
            assert await hub.hub.journal.outbox.again([row.message_id]) == 1
            await listener.until(2)
            async with asyncio.timeout(60):
                while await hub.hub.journal.outbox.listed(10):  # noqa: ASYNC110 - settled by the hub
                    await asyncio.sleep(0.02)
            assert await hub.hub.journal.outbox.forget(hub.hub.clock.now_us() + 1) == 1


async def test_an_address_that_is_too_old_is_given_up(tmp_path: Path):
    to = f'[acknowledgement]\napplication_to = "127.0.0.1:{free_port()}"\ngive_up_hours = 0.00001\n'
    config = config_with(tmp_path, to)
    async with running_hub(tmp_path / "hub", HIE_CONFIG=config) as hub:
        hub.hub.wires.acknowledger._first_seconds = 0.1
        await hub.send(message(1))
        async with asyncio.timeout(60):
            while not await state_of(hub, Delivery.GIVEN_UP):  # noqa: ASYNC110 - settled by the hub
                await asyncio.sleep(0.02)
        (told_reason,) = await state_of(hub, Delivery.GIVEN_UP)
        assert told_reason.startswith("AA no connection to 127.0.0.1:")


async def test_a_listener_may_speak_tls(tmp_path: Path):
    authority = Authority(tmp_path)
    own, hubs = authority.issue("adt.test"), authority.issue("hub.test")
    server = server_context(
        TlsSettings(
            certificate=own.certificate,
            private_key=own.private_key,
            authorities=authority.certificate,
        )
    )
    listener = MllpListener()
    await listener.start(server)
    to = (
        f'[acknowledgement]\napplication_to = "127.0.0.1:{listener.port}"\ntls = true\n'
        f'authorities = "{authority.certificate}"\nserver_name = "adt.test"\n'
    )
    settings = {
        "HIE_CONFIG": config_with(tmp_path, to),
        "HIE_CERTIFICATE": str(hubs.certificate),
        "HIE_PRIVATE_KEY": str(hubs.private_key),
        "HIE_MLLPS_PORT": str(free_port()),
    }
    try:
        async with running_hub(tmp_path / "hub", **settings) as hub:
            await hub.send(message(1))
            await listener.until(1)
    finally:
        await listener.stop()
    assert listener.taken[0].get("MSA-1") == "AA"


async def test_sequence_numbers_survive_a_kill(tmp_path: Path):
    config = config_with(tmp_path, "[sequence]\nprotocol = true\n")
    hub = HubProcess(tmp_path / "hub", HIE_CONFIG=config)

    def numbered(number: int) -> bytes:
        return message(number + 100, "", "").replace(b"|2.5.1||", b"|2.5.1|%d|" % number)

    answers: list[bytes] = []
    try:
        await asyncio.to_thread(hub.start)
        await exchange(hub.mllp_port, [numbered(n) for n in (1, 2, 4)], answers)
        hub.kill()
        await asyncio.to_thread(hub.start)
        start = numbered(0).split(b"\r")[0] + b"\r"
        await exchange(hub.mllp_port, [start, numbered(2), numbered(3), numbered(4)], answers)
    finally:
        hub.kill()
    read = [er7.parse(answer) for answer in answers]
    assert [(a.get("MSA-1"), a.get("MSA-4")) for a in read] == [
        ("AA", "1"),
        ("AA", "2"),
        ("AR", "3"),
        ("AA", "3"),
        ("AA", "2"),
        ("AA", "3"),
        ("AA", "4"),
    ]


async def test_a_backlog_stops_all_reading_until_it_is_worked_off(tmp_path: Path):
    settings = {"HIE_BACKLOG_HIGH": "5", "HIE_BACKLOG_LOW": "1"}
    async with running_hub(tmp_path / "hub", **settings) as hub:
        worker, gate = hub.hub.worker, hub.hub.wires.gate
        held = asyncio.Event()
        work_off = worker.work_off_batch

        async def slow() -> int:
            await held.wait()
            return await work_off()

        worker.work_off_batch = slow  # type: ignore[method-assign]  # a worker that has much to do
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.hub.receivers[0].port)
        answered = 0
        for number in range(40):
            writer.write(frame(message(number, "", "")))
        async with asyncio.timeout(60):
            while gate.is_open:  # noqa: ASYNC110 - the gate has no event
                await asyncio.sleep(0.01)
        async with hub._session.post(
            f"http://127.0.0.1:{hub.hub.site.port}/hl7v2",
            data=message(99, "", ""),
            headers={"Content-Type": "application/hl7-v2"},
        ) as response:
            assert response.status == 503
            assert response.headers["Retry-After"]
        async with hub._session.get(f"http://127.0.0.1:{hub.hub.site.port}/metrics") as response:
            metrics = await response.text()
        assert "hie_receive_paused 1" in metrics
        assert 'hie_mllp_connections{listener="mllp"} 1' in metrics
        held.set()
        async with asyncio.timeout(60):
            for number in range(40):
                answer = er7.parse((await reader.readuntil(b"\x1c\r"))[1:-2])
                assert (answer.get("MSA-1"), answer.get("MSA-2")) == ("AA", f"M{number}")
                answered += 1
        writer.close()
        assert answered == 40
        assert gate.times_closed >= 1
