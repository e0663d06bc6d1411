"""Batch files over MLLP and HTTP: every message journaled and answered by itself."""

import asyncio
import io
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import select

from adapters.tables import inbound_batch, inbound_message
from tests.support.hl7_shapes import Shape
from tests.support.running_hub import RunningHub, running_hub

ADT = Shape("ADT^A01", "EVN PID PV1", "2.5.1", end=b"\r")
CODES = re.compile(rb"\rMSA\|([A-Z]{2})\|([^\r|]*)")


def batch(*payloads: bytes, count: int | None = None) -> bytes:
    number = len(payloads) if count is None else count
    inside = b"".join(payloads)
    return (
        b"FHS|^~\\&|FEED|HOSP|HUB|STATE|2026||F||F-1\rBHS|^~\\&|FEED|HOSP|HUB|STATE|2026||B||B-1\r%sBTS|%d\rFTS|1\r"
        % (
            inside,
            number,
        )
    )


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path) as running:
        yield running


async def post(hub: RunningHub, body: object) -> tuple[int, bytes]:
    address = hub.base.replace("/fhir", "/hl7v2")
    headers = {"Content-Type": "application/hl7-v2"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(address, data=body, headers=headers) as response,
    ):
        return response.status, await response.read()


async def rows(hub: RunningHub) -> tuple[list[tuple[int | None, str]], list[tuple[int, int]]]:
    """(batch number, answer) of each message, (messages, refused) of each batch."""
    m, b = inbound_message.c, inbound_batch.c
    async with hub.hub.db.reading() as conn:
        messages = await conn.execute(select(m.batch_number, m.answer_code).order_by(m.pk))
        batches = await conn.execute(select(b.messages, b.refused).order_by(b.pk))
        return [tuple(r) for r in messages], [tuple(r) for r in batches]


async def test_a_batch_in_a_frame_is_answered_by_a_batch(hub: RunningHub):
    sent = batch(*[ADT.payload(f"C-{n}") for n in range(1, 4)])
    (answer,) = await hub.send(sent)
    assert answer.startswith(b"FHS|^~\\&|HUB|STATE|FEED|HOSP|")
    assert CODES.findall(answer) == [(b"AA", b"C-1"), (b"AA", b"C-2"), (b"AA", b"C-3")]
    assert answer.endswith(b"BTS|3\rFTS|1\r")
    assert await rows(hub) == ([(n, "AA") for n in (1, 2, 3)], [(3, 0)])


async def test_a_batch_sent_again_stores_no_message_twice(hub: RunningHub):
    sent = batch(ADT.payload("C-1"), ADT.payload("C-2"))
    first, second = await hub.send(sent, sent)
    assert CODES.findall(first) == CODES.findall(second)
    messages, batches = await rows(hub)
    assert (len(messages), batches) == (2, [(2, 0), (2, 0)])


async def test_a_bad_message_is_refused_alone(hub: RunningHub):
    bad = ADT.payload("C-2").replace(b"|C-2|", b"||")
    (answer,) = await hub.send(batch(ADT.payload("C-1"), bad, ADT.payload("C-3"), count=7))
    assert CODES.findall(answer) == [(b"AA", b"C-1"), (b"AE", b""), (b"AA", b"C-3")]
    assert b"\rERR|||" not in answer.partition(b"MSA|AE")[0]
    assert re.search(rb"BTS\|3\|`BTS-1`[^\r]*7?", answer)
    messages, batches = await rows(hub)
    assert [code for _, code in messages] == ["AA", "AE", "AA"]
    assert batches == [(3, 1)]


async def test_a_batch_over_http_is_answered_in_the_response(hub: RunningHub):
    status, answer = await post(hub, batch(ADT.payload("C-1"), ADT.payload("C-2")))
    assert status == 200
    assert CODES.findall(answer) == [(b"AA", b"C-1"), (b"AA", b"C-2")]


async def test_a_batch_longer_than_a_message_comes_over_http_in_pieces(hub: RunningHub):
    limit = hub.hub.settings.limits.message_bytes
    note = b"NTE|1||" + b"x" * 60_000 + b"\r"
    number = limit // len(note) + 5

    async def body() -> AsyncIterator[bytes]:
        yield b"BHS|^~\\&|FEED|HOSP\r"
        for n in range(number):
            yield ADT.payload(f"C-{n}") + note
            await asyncio.sleep(0)
        yield b"BTS|%d\r" % number

    status, answer = await post(hub, body())
    assert status == 200
    assert [code for code, _ in CODES.findall(answer)] == [b"AA"] * number
    assert answer.endswith(b"\rBTS|%d\r" % number)


async def test_a_message_too_long_is_refused_inside_its_batch(hub: RunningHub):
    limit = hub.hub.settings.limits.message_bytes
    long = ADT.payload("C-2") + b"NTE|1||" + b"x" * limit + b"\r"
    status, answer = await post(
        hub, io.BytesIO(batch(ADT.payload("C-1"), long, ADT.payload("C-3")))
    )
    assert status == 200
    assert CODES.findall(answer) == [(b"AA", b"C-1"), (b"AR", b"C-2"), (b"AA", b"C-3")]


async def test_a_batch_too_long_for_a_frame_is_refused_as_a_whole(hub: RunningHub):
    limit = hub.hub.settings.limits.message_bytes
    (answer,) = await hub.send(batch(ADT.payload() + b"NTE|1||" + b"x" * limit + b"\r"))
    assert CODES.findall(answer) == [(b"AR", b"F-1")]
    assert (await rows(hub))[0] == []
