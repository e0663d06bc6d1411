"""The MLLP listener: frames in, answers out, in order, over connections that stay open.

A connection's messages are handed to the sink in the order of their frames, several at a
time, so that a pipelining sender shares commits with itself; answers leave in that order.
When too many wait, or the peer does not read its answers, reading stops and TCP slows the
sender. Only this file of the adapter has sockets on the server side.
"""

import asyncio
import ssl
from collections import Counter, deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from adapters.hl7v2.frame import (
    FrameLimits,
    Framer,
    Hopeless,
    Noise,
    Oversize,
    Payload,
    Stranger,
    Truncated,
    frame,
)
from adapters.hl7v2.tls import TlsSettings, identity, server_context
from adapters.port import FrameSink, Peer, Wire

_log = structlog.get_logger(__name__)

_ENDING_SECONDS: Final = 0.2  # how long the CR behind FS may take
_HANDSHAKE_SECONDS: Final = 10.0
_SHUTDOWN_SECONDS: Final = 2.0
_SWEEP_SECONDS: Final = 1.0
_SORRY_TEXT: Final = b"this port speaks HL7 v2 over MLLP, it has no pages\r\n"
_SORRY: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n" % len(_SORRY_TEXT) + _SORRY_TEXT
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSettings:
    """One listener.

    Attributes:
        port: 0 = one that is free.
        tls: None = plain TCP.
        connections: how many may be open at a time.
        idle_seconds: silence after which a connection is closed.
        frame_seconds: how long one frame may take to come in.
        pipelined: messages of one connection that are worked on at a time; twice as many
            may wait.
    """

    host: str = "127.0.0.1"
    port: int = 2575
    tls: TlsSettings | None = None
    limits: FrameLimits = field(default_factory=FrameLimits)
    connections: int = 256
    idle_seconds: float = 300.0
    frame_seconds: float = 300.0
    pipelined: int = 16


@dataclass(slots=True)
class ReceiverCounts:
    """What a listener has seen since it started."""

    connections: int = 0
    connections_refused: int = 0
    connections_idle: int = 0
    messages: int = 0
    oversize: int = 0
    truncated: int = 0
    noise_bytes: int = 0
    failures: int = 0
    strangers: Counter[Stranger] = field(default_factory=Counter)


class MllpReceiver:
    """One listener and its connections."""

    def __init__(self, sink: FrameSink, settings: ReceiverSettings) -> None:
        self.settings = settings
        self.counts = ReceiverCounts()
        self.sink = sink
        self._open: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._server is None:
            return self.settings.port
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def open_connections(self) -> int:
        """How many peers are connected."""
        return len(self._open)

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address is taken or a certificate cannot be read.
        """
        tls = self.settings.tls
        context = await asyncio.to_thread(server_context, tls) if tls else None
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self),
            self.settings.host,
            self.settings.port,
            ssl=context,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS if context else None,
            ssl_shutdown_timeout=_SHUTDOWN_SECONDS if context else None,
        )
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self, grace_seconds: float = 10.0) -> None:
        """Accept and read no more, answer what came whole, then close."""
        if self._server is None or self._sweeper is None:
            return
        self._server.close()
        self._sweeper.cancel()
        endings = [asyncio.create_task(connection.finish()) for connection in self._open]
        if endings:
            await asyncio.wait(endings, timeout=grace_seconds)
        for connection in tuple(self._open):
            connection.abort()
        for ending in endings:
            ending.cancel()
        await asyncio.gather(self._sweeper, *endings, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def admit(self, connection: "_Connection") -> bool:
        """Whether there is room for one more connection; it then counts as open."""
        if len(self._open) >= self.settings.connections or self._server is None:
            self.counts.connections_refused += 1
            return False
        self.counts.connections += 1
        self._open.add(connection)
        return True

    def forget(self, connection: "_Connection") -> None:
        """A connection is closed and has nothing left to do."""
        self._open.discard(connection)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, self.settings.idle_seconds / 4))
            now = asyncio.get_running_loop().time()
            for connection in tuple(self._open):
                if connection.is_overdue(now):
                    self.counts.connections_idle += 1
                    connection.abort()


class _Connection(asyncio.Protocol):
    """One peer."""

    def __init__(self, receiver: MllpReceiver) -> None:
        self._receiver = receiver
        self._settings = receiver.settings
        self._framer = Framer(receiver.settings.limits)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._peer = Peer(address="", wire=Wire.MLLP)
        self._waiting: deque[Payload | Oversize] = deque()
        self._working: deque[tuple[asyncio.Task[bytes | None], int]] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._pause: asyncio.TimerHandle | None = None
        self._held_bytes = 0
        self._is_ending = False
        self._is_closed = asyncio.Event()
        self._active_at = self._frame_at = self._loop.time()

    # --- what asyncio calls -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer has connected."""
        if not isinstance(transport, asyncio.Transport) or not self._receiver.admit(self):
            transport.close()
            return
        self._transport = transport
        host, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        secure: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        fingerprint, subject = identity(secure)
        self._peer = Peer(
            address=f"{host}:{port}", wire=Wire.MLLP, certificate=fingerprint, subject=subject
        )

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._transport is None or self._is_ending:
            return
        self._active_at = self._loop.time()
        if self._pause:
            self._pause.cancel()
            self._pause = None
        was_inside = self._framer.is_inside
        events = self._framer.receive(data)
        if events or not was_inside:
            self._frame_at = self._active_at
        self._handle(events)
        if self._framer.is_ending:
            self._pause = self._loop.call_later(_ENDING_SECONDS, self._paused)

    def eof_received(self) -> bool:
        """The peer has sent all it will; over plain TCP it may still read its answers."""
        self._handle(self._framer.close())
        self._is_ending = True
        self._close_when_done()
        return self._transport is not None and self._settings.tls is None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; what has been begun is finished, answers have nowhere to go."""
        if self._pause:
            self._pause.cancel()
        self._transport = None
        self._waiting.clear()
        self._may_write.set()
        self._is_closed.set()
        if self._writer is None:
            self._receiver.forget(self)

    def pause_writing(self) -> None:
        """The peer does not read its answers."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._may_write.set()

    # --- what the receiver calls --------------------------------------------------------------

    def is_overdue(self, now: float) -> bool:
        """Whether the peer has been silent, or busy with one frame, for too long."""
        if self._framer.is_inside and now - self._frame_at > self._settings.frame_seconds:
            return True
        is_waiting_for_peer = self._writer is None or not self._may_write.is_set()
        return is_waiting_for_peer and now - self._active_at > self._settings.idle_seconds

    async def finish(self) -> None:
        """Read no more, answer what came whole, close."""
        self._is_ending = True
        if self._transport:
            self._transport.pause_reading()
        self._handle(self._framer.pause())
        while self._writer is not None:
            await asyncio.wait([self._writer])
        self._close_when_done()
        if self._transport:
            await self._is_closed.wait()

    def abort(self) -> None:
        """Close at once."""
        if self._transport:
            self._transport.abort()

    # --- inside -------------------------------------------------------------------------------

    def _paused(self) -> None:
        self._pause = None
        self._handle(self._framer.pause())

    def _handle(self, events: list[Any]) -> None:
        counts = self._receiver.counts
        for event in events:
            match event:
                case Payload(data):
                    counts.messages += 1
                    self._held_bytes += len(data)
                    self._waiting.append(event)
                case Oversize():
                    counts.oversize += 1
                    self._waiting.append(event)
                case Noise(size):
                    counts.noise_bytes += size
                case Truncated():
                    counts.truncated += 1
                case Hopeless(stranger):
                    self._dismiss(stranger)
        self._work()

    def _dismiss(self, stranger: Stranger) -> None:
        self._receiver.counts.strangers[stranger] += 1
        _log.warning("not_mllp", peer=self._peer.address, speaks=stranger.value)
        self._is_ending = True
        if self._transport and stranger is Stranger.HTTP:
            self._transport.write(_SORRY)
        self._close_when_done()

    def _work(self) -> None:
        """Start what may start; stop reading while too much waits."""
        while self._waiting and len(self._working) < self._settings.pipelined:
            event = self._waiting.popleft()
            size = len(event.data) if isinstance(event, Payload) else 0
            self._working.append((asyncio.create_task(self._take(event)), size))
        if self._working and self._writer is None:
            self._writer = asyncio.create_task(self._write_answers())
        if self._transport and not self._is_ending:
            limit = self._settings.limits.payload_bytes
            if len(self._waiting) >= self._settings.pipelined or self._held_bytes >= limit:
                self._transport.pause_reading()
            elif not self._waiting:
                self._transport.resume_reading()

    def _take(self, event: Payload | Oversize) -> Coroutine[Any, Any, bytes | None]:
        sink = self._receiver.sink
        if isinstance(event, Oversize):
            return sink.refuse_oversize(event.head, self._peer)
        return sink.take(event.data, self._peer)

    async def _write_answers(self) -> None:
        while self._working:
            task, size = self._working[0]
            await asyncio.wait([task])
            await self._may_write.wait()
            self._working.popleft()
            self._held_bytes -= size
            self._active_at = self._loop.time()
            if task.cancelled() or task.exception():
                # A sink that fails has answered nothing: the sender must not wait for more.
                self._receiver.counts.failures += 1
                _log.error("sink_failed", peer=self._peer.address)
                self.abort()
            elif self._transport and (answer := task.result()) is not None:
                self._transport.write(frame(answer))
            self._work()
        self._writer = None
        if self._transport is None:
            self._receiver.forget(self)
        elif self._is_ending:
            self._close_when_done()

    def _close_when_done(self) -> None:
        if self._writer is None and not self._waiting and self._transport:
            self._transport.close()
