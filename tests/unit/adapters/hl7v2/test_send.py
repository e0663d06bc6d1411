"""The MLLP sender: files into messages, messages out, answers in; and HL7 v2 over HTTP."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from adapters.hl7v2.frame import frame
from adapters.hl7v2.http import MEDIA_TYPES, hl7_handler
from adapters.hl7v2.receive import MllpReceiver, ReceiverSettings
from adapters.hl7v2.send import (
    Destination,
    MllpClient,
    Reply,
    as_batch,
    read_batch_reply,
    read_reply,
    send_all,
    split_messages,
)
from adapters.hl7v2.tls import TlsSettings
from adapters.port import Peer, Wire
from hie.kernel.errors import Category, HieError
from tests.support.certificates import Authority
from tests.support.hl7_shapes import SHAPES

ONE = b"MSH|^~\\&|A|B|||||ADT^A01|1|P|2.5\rPID|1\r"
TWO = b"MSH|^~\\&|A|B|||||ADT^A01|2|P|2.5\rPID|2\r"
BOM = b"\xef\xbb\xbf"

FILES = {
    "one": (ONE, [ONE]),
    "two": (ONE + TWO, [ONE, TWO]),
    "line feeds": ((ONE + TWO).replace(b"\r", b"\n"), [ONE, TWO]),
    "CRLF": ((ONE + TWO).replace(b"\r", b"\r\n"), [ONE, TWO]),
    "no last end": (ONE[:-1], [ONE]),
    "blank lines": (b"\n\n" + ONE.replace(b"\r", b"\n") + b"\n\n" + TWO + b"\n\n", None),
    "framed": (frame(ONE) + frame(TWO), [ONE, TWO]),
    "framed with noise": (b"\r\n" + frame(ONE) + b"\r\n\r\n" + frame(TWO), [ONE, TWO]),
    "a mark before each": (BOM + ONE + BOM + TWO, [BOM + ONE, BOM + TWO]),
    "a batch": (
        b"FHS|^~\\&|\rBHS|^~\\&|\r" + ONE + TWO + b"BTS|2\rFTS|1\r",
        [ONE, TWO],
    ),
    "text with line feeds": (
        b"MSH|^~\\&|A\rOBX|1|TX|||line\nMSHA not a header\nmore\r" + TWO,
        [b"MSH|^~\\&|A\rOBX|1|TX|||line\nMSHA not a header\nmore\r", TWO],
    ),
    "other separators": (b"MSH#*!?@#A\rPID#1\r" + ONE, [b"MSH#*!?@#A\rPID#1\r", ONE]),
    "no message": (b"PID|1\n", [b"PID|1\r"]),
    "nothing": (b" \r\n", []),
}


@pytest.mark.parametrize("row", FILES)
def test_a_file_holds_these_messages(row: str):
    content, expected = FILES[row]
    found = split_messages(content)
    if expected is None:
        assert len(found) == 2
        assert [message[:3] for message in found] == [b"MSH", b"MSH"]
    else:
        assert list(found) == expected


def test_every_known_shape_is_one_message_of_lines_that_end_with_cr():
    for shape in SHAPES:
        (message,) = split_messages(shape.payload())
        assert message.count(b"\r") == len(shape.segments.split()) + 1
        assert b"\n" not in message


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        (b"MSH|^~\\&|\rMSA|AA|1\r", "AA", ""),
        (b"MSH|^~\\&|\rMSA|AE|1|bad field\rERR|PID^1^3\r", "AE", "bad field"),
        (b"MSH|^~\\&|\rMSA|AR|1\rERR||PID|100|E||||wrong order\r", "AR", "wrong order"),
        (b"MSH|^~\\&|\rMSA|AA|\r", "AA", ""),
        (b"MSH|^~\\&|\rMSA|AA|999\r", "", "answers another message"),
        (b"MSH|^~\\&|\r", "", ""),
        (b"HTTP/1.1 400 Bad Request", "", "not an HL7 message"),
        (b"", "", "not an HL7 message"),
    ],
)
def test_an_answer_is_read(answer: bytes, code: str, text: str):
    assert read_reply(ONE, answer) == Reply(control_id="1", code=code, text=text, answer=answer)


class Sink:
    """Accepts; `late` is answered when told, `mute` never."""

    def __init__(self) -> None:
        self.late = asyncio.Event()
        self.taken: list[bytes] = []
        self.peers: list[Peer] = []

    async def take(self, payload: bytes, peer: Peer) -> bytes | None:
        self.taken.append(payload)
        self.peers.append(peer)
        control_id = payload.split(b"|")[9] if payload.count(b"|") > 9 else b""
        if control_id == b"mute":
            return None
        if control_id == b"late":
            await self.late.wait()
        return b"MSH|^~\\&|\rMSA|AA|" + control_id + b"\r"

    async def refuse_oversize(self, head: bytes, peer: Peer) -> bytes | None:
        return b"MSH|^~\\&|\rMSA|AR|\r"


def numbered(control_id: str) -> bytes:
    return ONE.replace(b"|1|P", f"|{control_id}|P".encode())


@pytest.fixture
def sink() -> Sink:
    return Sink()


@asynccontextmanager
async def running(sink: Sink, tls: TlsSettings | None = None) -> AsyncIterator[MllpReceiver]:
    receiver = MllpReceiver(sink, ReceiverSettings(port=0, tls=tls))
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop(1)


def towards(receiver: MllpReceiver, seconds: float = 60, **more) -> Destination:
    return Destination(host="127.0.0.1", port=receiver.port, timeout_seconds=seconds, **more)


async def test_messages_go_out_in_order_over_one_connection(sink: Sink):
    async with running(sink) as receiver:
        sent = [numbered(f"n{n}") for n in range(10)]
        replies = [reply async for reply in send_all(sent, towards(receiver))]
        assert [reply.control_id for reply in replies] == [f"n{n}" for n in range(10)]
        assert {reply.code for reply in replies} == {"AA"}
        assert receiver.counts.connections == 1
    assert sink.taken == sent


async def test_a_late_answer_is_never_taken_for_the_next_messages(sink: Sink):
    async with running(sink) as receiver, MllpClient(towards(receiver, 1)) as client:
        with pytest.raises(HieError, match="no answer from") as caught:
            await client.send(numbered("late"))
        assert caught.value.category is Category.BUSY
        sink.late.set()
        reply = await client.send(numbered("next"))  # over a new connection
        assert (reply.control_id, reply.code) == ("next", "AA")
        assert receiver.counts.connections == 2


async def test_a_message_is_sent_again_when_no_answer_comes(sink: Sink):
    async with running(sink) as receiver:
        with pytest.raises(HieError, match="no answer"):
            [_ async for _ in send_all([numbered("mute")], towards(receiver, 0.5), attempts=3)]
    assert sink.taken == [numbered("mute")] * 3


async def test_nobody_there_is_an_error_that_names_the_place():
    nobody = Destination(host="127.0.0.1", port=1, timeout_seconds=1)
    with pytest.raises(HieError, match=r"no connection to 127\.0\.0\.1:1") as caught:
        await MllpClient(nobody).connect()
    assert caught.value.category is Category.BUSY


async def serving(
    behave: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> asyncio.Server:
    return await asyncio.start_server(behave, "127.0.0.1", 0)


async def test_a_peer_that_closes_without_an_answer_is_an_error():
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\x1c\r")
        writer.write(b"\x0bMSH|half")
        writer.close()

    server = await serving(hang_up)
    port = server.sockets[0].getsockname()[1]
    async with MllpClient(Destination(host="127.0.0.1", port=port, timeout_seconds=60)) as client:
        with pytest.raises(HieError, match="EOFError"):
            await client.send(ONE)
    server.close()


async def test_an_answer_may_come_in_pieces_and_with_noise():
    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\x1c\r")
        for byte in b"noise" + frame(b"MSH|^~\\&|\rMSA|AA|1\r"):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    server = await serving(dribble)
    port = server.sockets[0].getsockname()[1]
    async with MllpClient(Destination(host="127.0.0.1", port=port, timeout_seconds=60)) as client:
        assert (await client.send(ONE)).code == "AA"
    server.close()


async def test_messages_go_out_over_mutual_tls(sink: Sink, tmp_path: Path):
    authority = Authority(tmp_path)
    hub, lab = authority.issue("hub.test"), authority.issue("lab.test")
    here = TlsSettings(
        certificate=hub.certificate,
        private_key=hub.private_key,
        authorities=authority.certificate,
    )
    there = TlsSettings(
        certificate=lab.certificate,
        private_key=lab.private_key,
        authorities=authority.certificate,
    )
    async with running(sink, here) as receiver:
        (reply,) = [reply async for reply in send_all([ONE], towards(receiver, tls=there))]
        assert reply.code == "AA"
        wrong = towards(receiver, tls=there, server_name="other.test")
        with pytest.raises(HieError, match="no connection"):
            await MllpClient(wrong).connect()
    assert sink.peers[0].subject == "lab.test"
    assert sink.peers[0].certificate == lab.fingerprint


async def test_closing_twice_or_unopened_is_nothing(sink: Sink):
    async with running(sink) as receiver:
        client = MllpClient(towards(receiver))
        await client.close()
        await client.connect()
        await client.connect()
        await client.close()
        await client.close()


# --- over HTTP ------------------------------------------------------------------------------------


@pytest.fixture
async def http(sink: Sink) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    application = web.Application()
    application.router.add_post("/hl7v2", hl7_handler(sink, message_bytes=100_000))
    async with TestClient(TestServer(application)) as client:
        yield client


@pytest.mark.parametrize("media_type", [*MEDIA_TYPES, "application/hl7-v2; charset=utf-8"])
async def test_a_message_comes_over_http(http, sink: Sink, media_type: str):
    response = await http.post("/hl7v2", data=ONE, headers={"Content-Type": media_type})
    assert response.status == 200
    assert response.content_type == "application/hl7-v2"
    assert await response.read() == b"MSH|^~\\&|\rMSA|AA|1\r"
    assert sink.taken == [ONE]
    assert sink.peers[0].wire is Wire.HTTP
    assert sink.peers[0].address == "127.0.0.1"


async def test_another_media_type_is_refused(http, sink: Sink):
    response = await http.post("/hl7v2", json={})
    assert response.status == 415
    assert sink.taken == []


async def test_half_of_a_compressed_message_is_not_acknowledged(http, sink: Sink):
    torn = gzip.compress(ONE * 500, mtime=0)[:-9]
    headers = {"Content-Type": "text/plain", "Content-Encoding": "gzip"}
    response = await http.post("/hl7v2", data=torn, headers=headers)
    assert (response.status, "not compressed" in await response.text()) == (415, True)
    assert sink.taken == []


async def test_a_request_without_a_body_is_refused(http, sink: Sink):
    response = await http.post("/hl7v2", headers={"Content-Type": "text/plain"})
    assert response.status == 400
    assert sink.taken == []


async def test_a_message_too_long_for_http_is_answered_from_its_head(http, sink: Sink):
    body = ONE + b"x" * 900_000
    response = await http.post("/hl7v2", data=body, headers={"Content-Type": "text/plain"})
    assert response.status == 200
    assert b"MSA|AR|" in await response.read()
    assert sink.taken == []


async def test_a_large_message_is_not_stopped_by_the_servers_own_limit(sink: Sink):
    application = web.Application()
    application.router.add_post("/hl7v2", hl7_handler(sink, message_bytes=5_000_000))
    async with TestClient(TestServer(application)) as client:
        body = ONE + b"x" * 3_000_000
        response = await client.post(
            "/hl7v2", data=BytesIO(body), headers={"Content-Type": "text/plain"}
        )
        assert response.status == 200
    assert sink.taken == [body]


# --- batches --------------------------------------------------------------------------------------


def test_a_file_becomes_a_batch_unless_it_is_one():
    message = b"MSH|^~\\&|A|B|||2026||ADT^A01|1|P|2.5\r"
    whole = b"\xef\xbb\xbfFHS|^~\\&\rBHS|\r" + message + b"BTS|1\rFTS|1\r"
    assert as_batch(whole) == whole[3:]
    assert as_batch(message * 2) == b"BHS|^~\\&\r" + message * 2 + b"BTS|2\r"
    assert as_batch(message.replace(b"\r", b"\r\n")) == b"BHS|^~\\&\r" + message + b"BTS|1\r"
    assert as_batch(b"\r\n") == b""


def test_a_batch_answer_is_one_reply_a_message():
    def ack(code: bytes, control_id: bytes) -> bytes:
        return b"MSH|^~\\&|A|B|||2026||ACK|1|P|2.5\rMSA|%s|%s|why\r" % (code, control_id)

    answer = b"BHS|^~\\&\r" + ack(b"AA", b"C-1") + ack(b"AE", b"C-2") + b"BTS|2\r"
    found = [(r.control_id, r.code, r.text) for r in read_batch_reply(answer)]
    assert found == [("C-1", "AA", "why"), ("C-2", "AE", "why")]
    assert [r.code for r in read_batch_reply(ack(b"AR", b"B-1"))] == ["AR"]
    assert [r.code for r in read_batch_reply(b"rubbish")] == [""]
