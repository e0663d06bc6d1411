"""What one MLLP listener is told, and what it counts."""

from collections import Counter
from dataclasses import dataclass, field

from adapters.hl7v2.frame import FrameLimits, Stranger
from adapters.hl7v2.tls import TlsSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSettings:
    """One listener.

    Attributes:
        name: in logs and metrics.
        port: 0 = one that is free.
        tls: None = plain TCP.
        connections: how many may be open at a time.
        connections_each: how many of them from one address or with one certificate.
        idle_seconds: silence after which a connection is closed.
        keepalive_seconds: silence after which TCP asks whether the peer is still there.
        frame_seconds: how long one frame may take to come in.
        pipelined: messages of one connection that are worked on at a time; twice as many
            may wait.
        held_bytes: messages of all connections held in memory; above it nobody is read.
    """

    name: str = "mllp"
    host: str = "127.0.0.1"
    port: int = 2575
    tls: TlsSettings | None = None
    limits: FrameLimits = field(default_factory=FrameLimits)
    connections: int = 256
    connections_each: int = 128
    idle_seconds: float = 300.0
    keepalive_seconds: int = 60
    frame_seconds: float = 300.0
    pipelined: int = 16
    held_bytes: int = 256 * 1024 * 1024


@dataclass(slots=True)
class ReceiverCounts:
    """What a listener has seen since it started.

    Attributes:
        connections_refused: for want of a place.
        handshakes_refused: TLS: no certificate, a wrong one, an old version; or no TLS at all.
        handshakes_lost: TLS: gone before the handshake was done, as health probes are.
        empty: frames with nothing in them, as health probes send.
        certificates: by common name, when the certificate a peer showed ends (s since 1970).
    """

    connections: int = 0
    connections_refused: int = 0
    connections_idle: int = 0
    handshakes_refused: int = 0
    handshakes_lost: int = 0
    messages: int = 0
    empty: int = 0
    oversize: int = 0
    truncated: int = 0
    noise_bytes: int = 0
    failures: int = 0
    strangers: Counter[Stranger] = field(default_factory=Counter)
    certificates: dict[str, float] = field(default_factory=dict)
