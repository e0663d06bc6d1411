"""Nothing acknowledged is lost, nothing is stored twice: kill -9 during a feed.

Spec: DESIGN D3, D13.
"""

import asyncio
import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.message import State
from hie.app import Hub
from hie.settings import load_settings
from tests.support.hub_process import HubProcess, exchange

ROUNDS = 100 if os.environ.get("HIE_TEST_LONG") else 20
PER_ROUND = 60


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path / "home")
    yield process
    process.kill()


def report(number: int) -> bytes:
    """A laboratory report that no other has the number of."""
    return "\r".join(
        (
            f"MSH|^~\\&|LIS|DURABLE|HIE|STATE|20260101120000||ORU^R01^ORU_R01|D{number}|P|2.5.1",
            f"PID|1||P{number % 40}^^^DURABLE^MR||Sturdy^Person{number % 40}||19700101|F",
            f"OBR|1||F{number}|718-7^Hemoglobin^LN|||20260101110000||||||||||||||||||F",
            f"OBX|1|NM|718-7^Hemoglobin^LN||13.{number % 10}|g/dL|12-16|N|||F|||20260101110000",
            "",
        )
    ).encode()


def end_after(end: Callable[[], object], answers: list[bytes], seconds: float) -> None:
    """End the hub, so long after the first answer."""
    deadline = time.monotonic() + 30
    while not answers and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(seconds)
    end()


def test_every_acknowledged_message_is_there_once_after_kills(hub: HubProcess) -> None:
    chance = random.Random(20260101)
    sent: list[bytes] = []
    acknowledged: set[bytes] = set()
    for round_ in range(ROUNDS):
        hub.start()
        batch = [report(round_ * PER_ROUND + n) for n in range(PER_ROUND)]
        sent += batch
        answers: list[bytes] = []
        # Every other round the blow falls among the answers, however slow the machine is today.
        after = answers if round_ % 2 else [b"at once"]
        pause = chance.uniform(0.01, 0.4)
        killer = threading.Thread(target=end_after, args=(hub.kill, after, pause))
        killer.start()
        with contextlib.suppress(ConnectionError):  # killed before anybody had connected
            asyncio.run(exchange(hub.mllp_port, batch, answers))
        killer.join()
        acknowledged |= {m for m, a in zip(batch, answers, strict=False) if b"MSA|AA|" in a}
    assert acknowledged, "no round got as far as an answer"
    hub.start()
    answers = []
    asyncio.run(exchange(hub.mllp_port, sent, answers))
    assert [a for a in answers if b"MSA|AA|" not in a] == []
    assert len(answers) == len(sent)
    assert hub.stop() == 0
    asyncio.run(_check(hub, len(sent)))
    assert "the audit trail is whole" in hub.run("audit", "verify").stdout


async def _check(process: HubProcess, count: int) -> None:
    async with Hub(load_settings(process.environment)) as hub:
        while await hub.worker.work_off_batch():
            pass
        messages = await hub.overview.messages()
        assert sum(m.count for m in messages if m.state == State.PROCESSED.value) == count
        assert sum(m.count for m in messages) == count
        by_type = await hub.overview.resources_by_type()
        assert by_type["Observation"] == count
        assert by_type["DiagnosticReport"] == count
        assert by_type["Patient"] == min(count, 40)
        lines = [line async for line in hub.audit.export()]
        assert sum(b'"receive"' in line for line in lines) == count


def test_a_hub_that_is_told_to_stop_finishes_what_it_acknowledged(hub: HubProcess) -> None:
    hub.start()
    answers: list[bytes] = []
    batch = [report(n) for n in range(200)]
    stopped: list[int] = []
    ending = threading.Thread(
        target=end_after, args=(lambda: stopped.append(hub.stop()), answers, 0.1)
    )
    ending.start()
    asyncio.run(exchange(hub.mllp_port, batch, answers))
    ending.join()
    assert stopped == [0]
    asyncio.run(_check(hub, len(answers)))
