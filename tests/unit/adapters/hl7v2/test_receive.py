"""The MLLP listener on real sockets: order, bounds, TLS, strangers, a clean stop."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.hl7v2.frame import FrameLimits, Stranger, frame
from adapters.hl7v2.receive import MllpReceiver, ReceiverSettings
from adapters.hl7v2.tls import TlsSettings, server_context
from adapters.port import Peer, Wire
from tests.support.certificates import Authority, Certificate

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class EchoSink:
    """Answers a payload with itself, as slowly as told; remembers what it saw."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.heads: list[bytes] = []
        self.peers: list[Peer] = []
        self.at_once = 0
        self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def take(self, payload: bytes, peer: Peer) -> bytes | None:
        self.taken.append(payload)
        self.peers.append(peer)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.gate.wait()
        # The first of several must not overtake because it is quicker.
        await asyncio.sleep(0.02 if payload.endswith(b"slow") else 0)
        self.at_once -= 1
        if payload == b"fail":
            raise RuntimeError("sink")
        return None if payload == b"silent" else b"re:" + payload

    async def refuse_oversize(self, head: bytes, peer: Peer) -> bytes | None:
        self.heads.append(head)
        return b"too long"


SETTINGS = ReceiverSettings(port=0)
#: Messages that are not all answered before the listener hears that nobody is there any more.
MANY = 4_000


@pytest.fixture
def sink() -> EchoSink:
    return EchoSink()


@asynccontextmanager
async def running(
    sink: EchoSink, settings: ReceiverSettings = SETTINGS
) -> AsyncIterator[MllpReceiver]:
    receiver = MllpReceiver(sink, settings)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop(2)


@asynccontextmanager
async def connected(
    receiver: MllpReceiver, context: ssl.SSLContext | None = None
) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1",
        receiver.port,
        limit=1 << 26,
        ssl=context,
        server_hostname="hub.test" if context else None,
    )
    try:
        yield reader, writer
    except BaseException:
        writer.transport.abort()  # a failed test must not wait for its buffers
        raise
    writer.close()
    (error,) = await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    assert error is None or isinstance(error, OSError)


async def answers(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    async with asyncio.timeout(60):
        found = [await reader.readuntil(b"\x1c\r") for _ in range(count)]
    assert all(answer[:1] == b"\x0b" for answer in found)
    return [answer[1:-2] for answer in found]


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other end closes."""
    async with asyncio.timeout(60):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)


async def test_a_connection_stays_open_for_many_messages(sink: EchoSink):
    async with running(sink) as receiver, connected(receiver) as (reader, writer):
        for number in range(20):
            writer.write(frame(b"m%d" % number))
            assert await answers(reader, 1) == [b"re:m%d" % number]
    assert receiver.counts.connections == 1
    assert receiver.counts.messages == 20


async def test_a_frame_split_over_reads_is_one_message(sink: EchoSink):
    async with running(sink) as receiver, connected(receiver) as (reader, writer):
        for byte in frame(b"MSH|split"):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.001)
        assert await answers(reader, 1) == [b"re:MSH|split"]
    assert sink.taken == [b"MSH|split"]


async def test_pipelined_messages_are_answered_in_order(sink: EchoSink):
    sent = [b"m%d%s" % (n, b"slow" if n % 3 == 0 else b"") for n in range(60)]
    async with running(sink) as receiver, connected(receiver) as (reader, writer):
        writer.write(b"".join(map(frame, sent)))
        assert await answers(reader, 60) == [b"re:" + payload for payload in sent]
    assert sink.taken == sent  # handed on in the order of their frames
    assert 1 < sink.most_at_once <= SETTINGS.pipelined


async def test_one_slow_connection_does_not_hold_up_another(sink: EchoSink):
    async with running(sink) as receiver, connected(receiver) as (_, slow):
        sink.gate.clear()
        slow.write(frame(b"waits"))
        await until(lambda: sink.taken == [b"waits"])
        first_gate, sink.gate = sink.gate, asyncio.Event()
        sink.gate.set()
        async with connected(receiver) as (reader, writer):
            writer.write(frame(b"quick"))
            assert await answers(reader, 1) == [b"re:quick"]
            assert receiver.open_connections == 2
        first_gate.set()


async def test_nothing_is_sent_where_the_sink_says_nothing(sink: EchoSink):
    async with running(sink) as receiver, connected(receiver) as (reader, writer):
        writer.write(frame(b"silent") + frame(b"heard"))
        assert await answers(reader, 1) == [b"re:heard"]


async def test_reading_stops_while_too_much_waits(sink: EchoSink):
    settings = replace(SETTINGS, pipelined=4)
    sink.gate.clear()
    payload = b"x" * 10_000
    async with running(sink, settings) as receiver, connected(receiver) as (reader, writer):
        for _ in range(3_000):  # 30 MB, more than all buffers hold
            writer.write(frame(payload))
        await until(lambda: len(sink.taken) == 4)
        await asyncio.sleep(0.3)
        assert len(sink.taken) == 4
        assert receiver.counts.messages < 400
        assert writer.transport.get_write_buffer_size() > 10_000_000
        sink.gate.set()
        assert len(await answers(reader, 3_000)) == 3_000


async def test_large_messages_are_held_one_limit_at_a_time(sink: EchoSink):
    settings = replace(SETTINGS, limits=FrameLimits(payload_bytes=300_000))
    sink.gate.clear()
    async with running(sink, settings) as receiver, connected(receiver) as (reader, writer):
        for _ in range(100):
            writer.write(frame(b"x" * 200_000))
        await until(lambda: bool(sink.taken))
        await asyncio.sleep(0.3)
        assert receiver.counts.messages <= 5
        sink.gate.set()
        assert len(await answers(reader, 100)) == 100


async def test_a_peer_that_does_not_read_its_answers_is_not_read_either(sink: EchoSink):
    settings = replace(SETTINGS, idle_seconds=0.4)
    async with running(sink, settings) as receiver, connected(receiver) as (_, writer):
        assert isinstance(writer.transport, asyncio.Transport)
        writer.transport.pause_reading()
        for _ in range(4_000):
            writer.write(frame(b"x" * 10_000))  # 40 MB each way, never read
        await until(lambda: receiver.counts.connections_idle == 1)
        assert receiver.counts.messages < 4_000


async def test_a_message_past_the_limit_is_answered_and_the_next_is_taken(sink: EchoSink):
    limits = FrameLimits(payload_bytes=1_000, head_bytes=20)
    async with (
        running(sink, replace(SETTINGS, limits=limits)) as receiver,
        connected(receiver) as (reader, writer),
    ):
        writer.write(frame(b"MSH|" + b"x" * 5_000) + frame(b"next"))
        assert await answers(reader, 2) == [b"too long", b"re:next"]
    assert sink.heads == [b"MSH|" + b"x" * 16]
    assert receiver.counts.oversize == 1


async def test_twenty_megabytes_are_one_message(sink: EchoSink):
    payload = b"MSH|" + b"QmFzZTY0" * (20 * 131_072)
    async with running(sink) as receiver, connected(receiver) as (reader, writer):
        writer.write(frame(payload))
        await writer.drain()
        async with asyncio.timeout(60):
            answer = await reader.readexactly(len(payload) + 6)
    assert answer == frame(b"re:" + payload)


async def test_noise_is_dropped_and_counted(sink: EchoSink):
    async with running(sink) as receiver, connected(receiver) as (reader, writer):
        writer.write(b"\x00\x01junk" + frame(b"MSH|a") + b"??" + b"\x0bhalf" + frame(b"MSH|b"))
        assert await answers(reader, 2) == [b"re:MSH|a", b"re:MSH|b"]
    assert receiver.counts.noise_bytes == 8
    assert receiver.counts.truncated == 1


async def test_a_half_frame_is_never_taken(sink: EchoSink):
    async with running(sink) as receiver:
        async with connected(receiver) as (reader, writer):
            writer.write(b"\x0bMSH|half")
            writer.write_eof()
            assert await rest(reader) == b""
        assert receiver.counts.truncated == 1
    assert sink.taken == []


async def test_a_frame_without_its_last_byte_is_taken_after_a_moment(sink: EchoSink):
    async with running(sink) as receiver, connected(receiver) as (reader, writer):
        writer.write(b"\x0bMSH|a\x1c")
        assert await answers(reader, 1) == [b"re:MSH|a"]
        writer.write(b"\x0bMSH|b\x1c")
        await asyncio.sleep(0.05)
        writer.write(b"\r" + frame(b"MSH|c"))
        assert await answers(reader, 2) == [b"re:MSH|b", b"re:MSH|c"]


async def test_a_peer_that_has_sent_all_still_gets_its_answers(sink: EchoSink):
    async with running(sink) as receiver, connected(receiver) as (reader, writer):
        writer.write(frame(b"one slow") + frame(b"two"))
        writer.write_eof()
        assert await answers(reader, 2) == [b"re:one slow", b"re:two"]
        assert await rest(reader) == b""


async def test_a_peer_that_vanishes_takes_nobody_with_it(sink: EchoSink):
    async with running(sink) as receiver:
        sink.gate.clear()
        async with connected(receiver) as (_, writer):
            writer.write(frame(b"gone") * MANY)
            await until(lambda: len(sink.taken) == SETTINGS.pipelined)
            writer.transport.abort()
        sink.gate.set()
        await until(lambda: receiver.open_connections == 0)
        async with connected(receiver) as (reader, writer):
            writer.write(frame(b"here"))
            assert await answers(reader, 1) == [b"re:here"]
    # What was begun is finished; of the rest no more than it takes to notice.
    assert SETTINGS.pipelined <= sink.taken.count(b"gone") < MANY


async def test_a_browser_is_told_and_sent_away(sink: EchoSink):
    async with running(sink) as receiver, connected(receiver) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
        told = await rest(reader)
    assert told.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    head, _, body = told.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert receiver.counts.strangers == {Stranger.HTTP: 1}
    assert sink.taken == []


async def test_tls_on_the_plain_port_is_sent_away(sink: EchoSink):
    async with running(sink) as receiver:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(
                "127.0.0.1", receiver.port, ssl=ssl.create_default_context()
            )
        assert receiver.counts.strangers == {Stranger.TLS: 1}


async def test_endless_noise_is_cut_off(sink: EchoSink):
    limits = FrameLimits(noise_bytes=1_000)
    async with running(sink, replace(SETTINGS, limits=limits)) as receiver:
        async with connected(receiver) as (reader, writer):
            writer.write(b"z" * 5_000)
            assert await rest(reader) == b""
        assert receiver.counts.strangers == {Stranger.NOISE: 1}


async def test_no_more_connections_than_allowed(sink: EchoSink):
    async with running(sink, replace(SETTINGS, connections=2)) as receiver:
        async with connected(receiver) as (reader, writer), connected(receiver):
            await until(lambda: receiver.open_connections == 2)
            async with connected(receiver) as (third, _):
                assert await rest(third) == b""
            assert receiver.counts.connections_refused == 1
            writer.write(frame(b"first"))
            assert await answers(reader, 1) == [b"re:first"]
        await until(lambda: receiver.open_connections == 0)
        async with connected(receiver) as (reader, writer):
            writer.write(frame(b"fourth"))
            assert await answers(reader, 1) == [b"re:fourth"]


async def only_the_silent_is_closed(sink: EchoSink, patience: float) -> bool:
    """Whether of two connections the silent one alone was closed."""
    async with (
        running(sink, replace(SETTINGS, idle_seconds=patience)) as receiver,
        connected(receiver) as (idle, _),
        connected(receiver) as (reader, writer),
    ):
        until_closed = asyncio.create_task(rest(idle))
        while not until_closed.done() and not reader.at_eof():
            await asyncio.sleep(patience / 5)
            writer.write(frame(b"alive"))
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                assert await answers(reader, 1) == [b"re:alive"]
        assert await until_closed == b""
        return (receiver.counts.connections_idle, receiver.open_connections) == (1, 1)


async def test_a_silent_connection_is_closed_a_busy_one_is_not(sink: EchoSink):
    # On a machine that stands still for as long as the listener waits everybody is silent.
    is_so = [await only_the_silent_is_closed(sink, 0.5)]
    while not is_so[-1] and len(is_so) < 3:
        is_so.append(await only_the_silent_is_closed(sink, 0.5 * 6 ** len(is_so)))
    assert is_so[-1]


async def test_a_frame_that_never_ends_is_cut_off_though_bytes_keep_coming(sink: EchoSink):
    settings = replace(SETTINGS, idle_seconds=0.4, frame_seconds=0.5)
    async with running(sink, settings) as receiver, connected(receiver) as (reader, writer):
        writer.write(b"\x0b")
        for _ in range(100):
            if reader.at_eof() or receiver.counts.connections_idle:
                break
            writer.write(b"x")
            await asyncio.sleep(0.05)
        assert receiver.counts.connections_idle == 1


async def test_a_sink_that_fails_closes_the_connection_without_an_answer(sink: EchoSink):
    async with running(sink) as receiver:
        async with connected(receiver) as (reader, writer):
            writer.write(frame(b"good") + frame(b"fail"))
            assert await answers(reader, 1) == [b"re:good"]
            assert await rest(reader) == b""
        assert receiver.counts.failures == 1


async def test_stopping_answers_what_came_whole_and_reads_no_more(sink: EchoSink):
    receiver = MllpReceiver(sink, SETTINGS)
    await receiver.start()
    port = receiver.port
    sink.gate.clear()
    async with connected(receiver) as (reader, writer):
        writer.write(b"".join(frame(b"m%d" % n) for n in range(30)) + b"\x0bhalf")
        await until(lambda: receiver.counts.messages == 30)
        stopping = asyncio.create_task(receiver.stop(60))
        await asyncio.sleep(0.05)
        writer.write(b" more\x1c\r" + frame(b"too late"))
        assert not stopping.done()
        sink.gate.set()
        assert await answers(reader, 30) == [b"re:m%d" % n for n in range(30)]
        assert await rest(reader) == b""
        await stopping
    assert len(sink.taken) == 30
    assert receiver.open_connections == 0
    with pytest.raises(OSError, match=r"refused|Connect"):
        await asyncio.open_connection("127.0.0.1", port)


async def test_stopping_waits_no_longer_than_its_grace(sink: EchoSink):
    sink.gate.clear()
    receiver = MllpReceiver(sink, SETTINGS)
    await receiver.start()
    async with connected(receiver) as (reader, writer):
        writer.write(frame(b"hangs"))
        await until(lambda: sink.taken == [b"hangs"])
        async with asyncio.timeout(60):
            await receiver.stop(0.1)
        assert await rest(reader) == b""
    sink.gate.set()
    await until(lambda: receiver.open_connections == 0)


async def test_stopping_twice_or_before_starting_is_nothing(sink: EchoSink):
    receiver = MllpReceiver(sink, SETTINGS)
    assert receiver.port == 0
    await receiver.stop()
    await receiver.start()
    await receiver.stop()
    await receiver.stop()


async def test_a_taken_port_is_an_error_at_the_start(sink: EchoSink):
    async with running(sink) as receiver:
        second = MllpReceiver(sink, replace(SETTINGS, port=receiver.port))
        with pytest.raises(OSError, match=r"address already in use|in use"):
            await second.start()


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def hub(authority: Authority) -> Certificate:
    return authority.issue("hub.test")


def client_of(authority: Authority, own: Certificate | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.certificate)
    if own:
        context.load_cert_chain(own.certificate, own.private_key)
    return context


def listening(hub: Certificate, trusted: Path | None, *, required: bool = True) -> ReceiverSettings:
    return replace(
        SETTINGS,
        tls=TlsSettings(
            certificate=hub.certificate,
            private_key=hub.private_key,
            authorities=trusted,
            is_client_required=required,
        ),
    )


async def test_messages_come_over_tls(sink: EchoSink, authority: Authority, hub: Certificate):
    async with (
        running(sink, listening(hub, None)) as receiver,
        connected(receiver, client_of(authority)) as (reader, writer),
    ):
        writer.write(frame(b"secret"))
        assert await answers(reader, 1) == [b"re:secret"]
    assert sink.peers[0].certificate is None
    assert sink.peers[0].wire is Wire.MLLP
    assert sink.peers[0].address.startswith("127.0.0.1:")


async def test_a_clients_certificate_says_who_it_is(
    sink: EchoSink, authority: Authority, hub: Certificate
):
    lab = authority.issue("lab.test")
    async with (
        running(sink, listening(hub, authority.certificate)) as receiver,
        connected(receiver, client_of(authority, lab)) as (reader, writer),
    ):
        writer.write(frame(b"hello"))
        assert await answers(reader, 1) == [b"re:hello"]
    assert sink.peers[0].certificate == lab.fingerprint
    assert sink.peers[0].subject == "lab.test"


async def refused(receiver: MllpReceiver, context: ssl.SSLContext) -> bool:
    """Whether a client is turned away, in the handshake or (TLS 1.3) right behind it."""
    try:
        async with connected(receiver, context) as (reader, writer):
            writer.write(frame(b"let me in"))
            async with asyncio.timeout(60):
                return await reader.read() == b""
    except (ssl.SSLError, ConnectionError):
        return True


async def test_a_client_without_or_with_a_strange_certificate_is_turned_away(
    sink: EchoSink, authority: Authority, hub: Certificate, tmp_path: Path
):
    stranger = Authority(tmp_path, "Strange authority").issue("lab.test")
    async with running(sink, listening(hub, authority.certificate)) as receiver:
        assert await refused(receiver, client_of(authority))
        assert await refused(receiver, client_of(authority, stranger))
        assert receiver.open_connections == 0
    assert sink.taken == []


async def test_a_client_may_come_without_certificate_where_none_is_required(
    sink: EchoSink, authority: Authority, hub: Certificate
):
    settings = listening(hub, authority.certificate, required=False)
    async with (
        running(sink, settings) as receiver,
        connected(receiver, client_of(authority)) as (reader, writer),
    ):
        writer.write(frame(b"hello"))
        assert await answers(reader, 1) == [b"re:hello"]
    assert sink.peers[0].certificate is None


async def test_an_old_tls_version_is_refused(
    sink: EchoSink, authority: Authority, hub: Certificate
):
    assert server_context(listening(hub, None).tls or TlsSettings()).minimum_version is (
        ssl.TLSVersion.TLSv1_2
    )


async def test_plain_bytes_on_the_tls_port_are_no_connection(
    sink: EchoSink, authority: Authority, hub: Certificate
):
    async with running(sink, listening(hub, None)) as receiver:
        async with connected(receiver) as (reader, writer):
            writer.write(frame(b"MSH|plain"))
            told = await rest(reader)
        assert b"re:" not in told
        assert receiver.counts.connections == 0
    assert sink.taken == []


async def test_stopping_over_tls_answers_what_came_whole(
    sink: EchoSink, authority: Authority, hub: Certificate
):
    receiver = MllpReceiver(sink, listening(hub, None))
    await receiver.start()
    sink.gate.clear()
    async with connected(receiver, client_of(authority)) as (reader, writer):
        writer.write(frame(b"one") + frame(b"two"))
        await until(lambda: len(sink.taken) == 2)
        stopping = asyncio.create_task(receiver.stop(60))
        await asyncio.sleep(0.01)
        sink.gate.set()
        assert await answers(reader, 2) == [b"re:one", b"re:two"]
        assert await rest(reader) == b""
        await stopping


def test_a_tls_listener_needs_a_certificate():
    with pytest.raises(ValueError, match="needs a certificate"):
        server_context(TlsSettings())


async def test_a_certificate_file_that_is_none_stops_the_start(sink: EchoSink, tmp_path: Path):
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    settings = replace(SETTINGS, tls=TlsSettings(certificate=junk, private_key=junk))
    with pytest.raises(OSError, match=r"PEM|NO_START_LINE|SSL"):
        await MllpReceiver(sink, settings).start()
