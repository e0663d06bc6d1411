"""The MLLP listener: who connects, over TLS with what certificate, and how many.

Only this file and `adapters.hl7v2.connection` of the adapter have sockets on the server side.
The listener shakes hands over TLS itself, so that whom it refuses is refused with a reason in
the log; it reads its certificate again when the files change.
"""

import asyncio
import ssl
import time
from pathlib import Path
from typing import Final

import structlog

from adapters.hl7v2.connection import Connection
from adapters.hl7v2.doorkeeper import Doorkeeper
from adapters.hl7v2.receiver_settings import ReceiverCounts, ReceiverSettings
from adapters.hl7v2.tls import TlsSettings, ends_at, refusal_of, server_context
from adapters.port import FrameSink
from adapters.pressure import Gate

__all__ = ["MllpReceiver", "ReceiverCounts", "ReceiverSettings"]

_HANDSHAKE_SECONDS: Final = 10.0
_SHUTDOWN_SECONDS: Final = 2.0
_SWEEP_SECONDS: Final = 1.0
_DAY_SECONDS: Final = 86_400.0
_EXPIRY_DAYS: Final = 30
_MOST_CERTIFICATES: Final = 1_000
_log = structlog.get_logger(__name__)


class MllpReceiver:
    """One listener and its connections."""

    def __init__(
        self, sink: FrameSink, settings: ReceiverSettings, gate: Gate | None = None
    ) -> None:
        """Join the parts.

        Args:
            sink: takes the messages.
            settings: of this listener.
            gate: closed while the hub has enough; nothing is read then.
        """
        self.settings = settings
        self.counts = ReceiverCounts()
        self.sink = sink
        self.door = Doorkeeper(settings.connections, settings.connections_each)
        self._gate = gate or Gate()
        self._gate.watch(self._regulate)
        self._held_bytes = 0
        self._is_flooded = False
        self._open: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._tls: _Tls | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._handshakes: set[asyncio.Task[None]] = set()

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

    @property
    def held_bytes(self) -> int:
        """How much of messages is held in memory."""
        return self._held_bytes

    @property
    def certificate_ends(self) -> float | None:
        """When its own certificate ends, in seconds since 1970; None without TLS."""
        return self._tls.ends if self._tls else None

    @property
    def may_read(self) -> bool:
        """Whether the hub takes more messages now."""
        return self._gate.is_open and not self._is_flooded

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address is taken or a certificate cannot be read.
        """
        if self.settings.tls:
            self._tls = _Tls(self.settings.tls)
            await asyncio.to_thread(self._tls.load)
            self.warn_of_expiry()
        self._server = await asyncio.get_running_loop().create_server(
            (lambda: _Handshake(self)) if self._tls else (lambda: Connection(self)),
            self.settings.host,
            self.settings.port,
        )
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self, grace_seconds: float = 10.0) -> None:
        """Accept and read no more, answer what came whole, then close."""
        if self._server is None or self._sweeper is None:
            return
        self._server.close()
        self._sweeper.cancel()
        for handshake in tuple(self._handshakes):
            handshake.cancel()
        endings = [asyncio.create_task(connection.finish()) for connection in self._open]
        if endings:
            await asyncio.wait(endings, timeout=grace_seconds)
        for connection in tuple(self._open):
            connection.abort()
        for ending in endings:
            ending.cancel()
        await asyncio.gather(self._sweeper, *endings, *self._handshakes, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def warn_of_expiry(self) -> None:
        """Log certificates that end soon: the listener's own, and those that peers have shown."""
        if self._tls:
            _warn_of(self._tls.ends, "own", self.settings.name)
        for subject, ends in self.counts.certificates.items():
            _warn_of(ends, subject, self.settings.name)

    # --- what connections call ----------------------------------------------------------------

    def admit(self, connection: Connection, certificate: str | None) -> bool:
        """Whether there is room for one more connection; it then counts as open."""
        host = connection.host
        if self._server is None or not (self.settings.tls or self.enter(host)):
            return False
        if certificate and not self.door.join(certificate):
            self._full(host)
            return False
        connection.keys = (host, certificate) if certificate else (host,)
        self.counts.connections += 1
        self._open.add(connection)
        return True

    def enter(self, host: str) -> bool:
        """Take a place for a connection from there."""
        if self.door.enter(host):
            return True
        self._full(host)
        return False

    def forget(self, connection: Connection) -> None:
        """A connection is closed and has nothing left to do."""
        if connection in self._open:
            self._open.discard(connection)
            self.door.leave(*connection.keys)

    def hold(self, size: int) -> None:
        """So many more bytes of messages are held in memory; less than 0 = fewer."""
        self._held_bytes += size
        limit = self.settings.held_bytes
        is_flooded = self._held_bytes >= (limit // 2 if self._is_flooded else limit)
        if is_flooded != self._is_flooded:
            self._is_flooded = is_flooded
            asyncio.get_running_loop().call_soon(self._regulate)

    def saw_certificate(self, subject: str, expires: float, peer: str) -> None:
        """A peer has shown a certificate that ends then, in seconds since 1970."""
        known = self.counts.certificates
        if subject not in known and len(known) >= _MOST_CERTIFICATES:
            known.clear()
        if known.get(subject) != expires:
            known[subject] = expires
            _warn_of(expires, subject, self.settings.name, peer)

    async def secure(self, transport: asyncio.Transport, host: str) -> None:
        """Shake hands with a peer that has a place, and let it in."""
        connection, tls = Connection(self), self._tls
        secured: asyncio.Transport | None = None
        try:
            if tls is not None:
                secured = await asyncio.get_running_loop().start_tls(
                    transport,
                    connection,
                    tls.context,
                    server_side=True,
                    ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                    ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
                )
        except ssl.SSLError as error:
            self.counts.handshakes_refused += 1
            now = asyncio.get_running_loop().time()
            self.door.tell("tls.refused", host, now, peer=host, reason=refusal_of(error))
        except OSError:
            self.counts.handshakes_lost += 1
        finally:
            if secured is None:
                transport.abort()
                self.door.leave(host)
        if secured is not None:
            connection.connection_made(secured)
            if connection not in self._open:
                self.door.leave(host)

    def begin(self, transport: asyncio.Transport) -> None:
        """A peer has connected that has to shake hands first."""
        host = str((transport.get_extra_info("peername") or ("",))[0])
        if self._server is None or not self.enter(host):
            transport.abort()
            return
        transport.pause_reading()
        handshake = asyncio.create_task(self.secure(transport, host))
        self._handshakes.add(handshake)
        handshake.add_done_callback(self._handshakes.discard)

    # --- inside -------------------------------------------------------------------------------

    def _full(self, host: str) -> None:
        self.counts.connections_refused += 1
        now = asyncio.get_running_loop().time()
        self.door.tell("connection.refused", host, now, peer=host, count=self.door.inside)

    def _regulate(self) -> None:
        for connection in tuple(self._open):
            connection.regulate()

    async def _sweep(self) -> None:
        warned = time.monotonic()
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, self.settings.idle_seconds / 4))
            now = asyncio.get_running_loop().time()
            for connection in tuple(self._open):
                if connection.is_overdue(now):
                    self.counts.connections_idle += 1
                    connection.abort()
            if self._tls and self._tls.is_renewed():
                await self._renew(self._tls)
            if time.monotonic() - warned > _DAY_SECONDS:
                warned = time.monotonic()
                self.warn_of_expiry()

    async def _renew(self, tls: "_Tls") -> None:
        try:
            await asyncio.to_thread(tls.load)
        except (OSError, ValueError) as error:
            # Half-written files: the old certificate stays in use, the next sweep looks again.
            _log.warning("certificate.not_read", error=type(error).__name__)
        else:
            _log.info("certificate.renewed", source=self.settings.name)
            self.warn_of_expiry()


class _Handshake(asyncio.Protocol):
    """A peer that has connected and not yet said who it is."""

    def __init__(self, receiver: MllpReceiver) -> None:
        self._receiver = receiver

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read nothing before TLS does."""
        if isinstance(transport, asyncio.Transport):
            self._receiver.begin(transport)


class _Tls:
    """A listener's TLS context, loaded again when its files change."""

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self._stamp: tuple[int, ...] = ()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ends = 0.0

    def load(self) -> None:
        """Read the files.

        Raises:
            OSError, ValueError: they are not what they should be; the old ones stay in use.
        """
        stamp = self._now()
        context = server_context(self._settings)
        self.ends = ends_at(self._settings.certificate) if self._settings.certificate else 0.0
        self.context, self._stamp = context, stamp

    def is_renewed(self) -> bool:
        """Whether a file has changed since it was read."""
        return self._now() != self._stamp

    def _now(self) -> tuple[int, ...]:
        return tuple(_changed_at(path) for path in self._settings.files())


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _warn_of(ends: float, subject: str, listener: str, peer: str = "") -> None:
    days = int((ends - time.time()) // _DAY_SECONDS)
    if days < _EXPIRY_DAYS:
        _log.warning(
            "certificate.expiring", certificate=subject, count=days, source=listener, peer=peer
        )
