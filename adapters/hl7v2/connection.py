"""One peer of the MLLP listener: its frames in, its answers out, in order.

A connection's messages are handed to the sink in the order of their frames, several at a
time, so that a pipelining sender shares commits with itself; answers leave in that order.
When too many wait, the peer does not read its answers, or the hub says that it has enough,
reading stops and TCP slows the sender.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final, Protocol

import structlog

from adapters.hl7v2.doorkeeper import Doorkeeper
from adapters.hl7v2.frame import (
    Event,
    Framer,
    Hopeless,
    Noise,
    Oversize,
    Payload,
    Stranger,
    Truncated,
    frame,
)
from adapters.hl7v2.receiver_settings import ReceiverCounts, ReceiverSettings
from adapters.hl7v2.tls import expires_at, identity
from adapters.port import FrameSink, Peer, Wire

_log = structlog.get_logger(__name__)

_ENDING_SECONDS: Final = 0.2  # how long the CR behind FS may take
_EMPTY_BYTES: Final = 64  # how long a frame of nothing but blanks may be and be called empty
_PROBE_SECONDS: Final = 10  # between two keep-alive probes that are not answered
_PROBES: Final = 3
_SORRY_TEXT: Final = b"this port speaks HL7 v2 over MLLP, it has no pages\r\n"
_SORRY: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n" % len(_SORRY_TEXT) + _SORRY_TEXT
)


class Host(Protocol):
    """The listener, as its connections know it."""

    settings: ReceiverSettings
    counts: ReceiverCounts
    sink: FrameSink
    door: Doorkeeper

    @property
    def may_read(self) -> bool:
        """Whether the hub takes more messages now."""
        ...

    def admit(self, connection: "Connection", certificate: str | None) -> bool:
        """Whether there is room for one more connection; it then counts as open."""
        ...

    def forget(self, connection: "Connection") -> None:
        """A connection is closed and has nothing left to do."""
        ...

    def hold(self, size: int) -> None:
        """So many more bytes of messages are held in memory; less than 0 = fewer."""
        ...

    def saw_certificate(self, subject: str, expires: float, peer: str) -> None:
        """A peer has shown a certificate that ends then, in seconds since 1970."""
        ...


class Connection(asyncio.Protocol):
    """One peer."""

    def __init__(self, receiver: Host) -> None:
        self._receiver = receiver
        self._settings = receiver.settings
        self._framer = Framer(receiver.settings.limits)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._peer = Peer(address="", wire=Wire.MLLP)
        # Over TLS bytes, and the end, may come before the handshake is said to be done.
        self._early = b""
        self._is_early_end = False
        self._waiting: deque[Payload | Oversize] = deque()
        self._working: deque[tuple[asyncio.Task[bytes | None], int]] = deque()
        self._may_write = True
        self._idle: asyncio.Event | None = None  # set when the last answer is out
        self._pause: asyncio.TimerHandle | None = None
        self._held_bytes = 0
        self._is_ending = False
        self._is_closed = asyncio.Event()
        self._active_at = self._frame_at = self._loop.time()
        #: What the doorkeeper counts it under: its address, then its certificate.
        self.keys: tuple[str, ...] = ()

    # --- what asyncio calls -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer has connected, and over TLS has shaken hands."""
        if not isinstance(transport, asyncio.Transport) or self._is_closed.is_set():
            transport.close()
            return
        self._peer = _peer(transport)
        if not self._receiver.admit(self, self._peer.certificate):
            transport.close()
            return
        self._transport = transport
        _keep_alive(transport, self._settings.keepalive_seconds)
        expires = expires_at(transport.get_extra_info("ssl_object"))
        if expires is not None:
            self._receiver.saw_certificate(self._peer.subject or "", expires, self._peer.address)
        self.regulate()
        if self._early:
            early, self._early = self._early, b""
            self.data_received(early)
        if self._is_early_end:
            self.eof_received()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._transport is None:
            self._early += data
            return
        if self._is_ending:
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
        if self._transport is None:
            self._is_early_end = True
            return False
        self._handle(self._framer.close())
        self._is_ending = True
        self._close_when_done()
        return self._transport is not None and self._settings.tls is None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; what has been begun is finished, answers have nowhere to go."""
        if self._pause:
            self._pause.cancel()
        self._transport = None
        self._receiver.hold(-sum(_size(event) for event in self._waiting))
        self._waiting.clear()
        self._may_write = True
        self._is_closed.set()
        self._answer_finished()

    def pause_writing(self) -> None:
        """The peer does not read its answers."""
        self._may_write = False

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._may_write = True
        self._answer_finished()

    # --- what the receiver calls --------------------------------------------------------------

    @property
    def host(self) -> str:
        """The peer's address without its port."""
        return self._peer.address.rpartition(":")[0]

    def is_overdue(self, now: float) -> bool:
        """Whether the peer has been silent, or busy with one frame, for too long."""
        is_silent = now - self._active_at > self._settings.idle_seconds
        if not self._may_write and is_silent:
            return True  # what it sent stays in memory until it reads, and may stop everybody
        if not self._receiver.may_read:
            return False  # it is the hub that does not listen
        if self._framer.is_inside and now - self._frame_at > self._settings.frame_seconds:
            return True
        return is_silent and not self._working

    def regulate(self) -> None:
        """Read, or stop reading, by how much waits here and in the hub."""
        if self._transport is None or self._is_ending:
            return
        too_many = len(self._waiting) >= self._settings.pipelined
        too_much = self._held_bytes >= self._settings.limits.payload_bytes
        if too_many or too_much or not self._receiver.may_read:
            self._transport.pause_reading()
        elif not self._waiting and not self._transport.is_reading():
            self._active_at = self._frame_at = self._loop.time()
            self._transport.resume_reading()

    async def finish(self) -> None:
        """Read no more, answer what came whole, close."""
        self._is_ending = True
        if self._transport:
            self._transport.pause_reading()
        self._handle(self._framer.pause())
        if self._working:
            self._idle = asyncio.Event()
            await self._idle.wait()
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

    def _handle(self, events: list[Event]) -> None:
        counts = self._receiver.counts
        for event in events:
            match event:
                case Payload(data) if len(data) <= _EMPTY_BYTES and not data.strip():
                    counts.empty += 1  # a health probe: nothing to judge, keep or answer
                case Payload(data):
                    counts.messages += 1
                    self._held_bytes += len(data)
                    self._receiver.hold(len(data))
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
        """Send away who speaks something else; a browser or an HTTP probe is nothing to log."""
        self._receiver.counts.strangers[stranger] += 1
        if stranger is not Stranger.HTTP:
            self._receiver.door.tell(
                "not_mllp",
                self.host,
                self._loop.time(),
                peer=self._peer.address,
                speaks=stranger.value,
            )
        self._is_ending = True
        if self._transport and stranger is Stranger.HTTP:
            self._transport.write(_SORRY)
        self._close_when_done()

    def _work(self) -> None:
        """Start what may start; stop reading while too much waits."""
        while self._waiting and len(self._working) < self._settings.pipelined:
            event = self._waiting.popleft()
            task = asyncio.create_task(self._take(event))
            task.add_done_callback(self._answer_finished)
            self._working.append((task, _size(event)))
        self.regulate()

    def _take(self, event: Payload | Oversize) -> Coroutine[Any, Any, bytes | None]:
        sink = self._receiver.sink
        if isinstance(event, Oversize):
            return sink.refuse_oversize(event.head, self._peer)
        peer = replace(self._peer, quirks=event.quirks) if event.quirks else self._peer
        return sink.take(event.data, peer)

    def _answer_finished(self, _task: asyncio.Task[bytes | None] | None = None) -> None:
        """Send the answers that are next in turn, while the peer reads them."""
        while self._working and self._working[0][0].done() and self._may_write:
            task, size = self._working.popleft()
            self._held_bytes -= size
            self._receiver.hold(-size)
            self._active_at = self._loop.time()
            if task.cancelled() or task.exception():
                # A sink that fails has answered nothing: the sender must not wait for more.
                self._receiver.counts.failures += 1
                _log.error("sink_failed", peer=self._peer.address)
                self.abort()
            elif self._transport and (answer := task.result()) is not None:
                self._transport.write(frame(answer))
        if self._waiting or not self._is_ending:
            self._work()
        if not self._working:
            self._finished()

    def _finished(self) -> None:
        """Nothing is in work."""
        if self._idle:
            self._idle.set()
        if self._transport is None:
            self._receiver.forget(self)
        elif self._is_ending:
            self._close_when_done()

    def _close_when_done(self) -> None:
        if not self._working and not self._waiting and self._transport:
            self._transport.close()


def _size(event: Payload | Oversize) -> int:
    return len(event.data) if isinstance(event, Payload) else 0


def _peer(transport: asyncio.Transport) -> Peer:
    host, port = (transport.get_extra_info("peername") or ("", 0))[:2]
    secure: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    fingerprint, subject = identity(secure)
    return Peer(address=f"{host}:{port}", wire=Wire.MLLP, certificate=fingerprint, subject=subject)


def _keep_alive(transport: asyncio.Transport, seconds: int) -> None:
    """Let TCP find out about peers that are gone without a word (not where it cannot)."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", seconds),
        ("TCP_KEEPINTVL", _PROBE_SECONDS),
        ("TCP_KEEPCNT", _PROBES),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
