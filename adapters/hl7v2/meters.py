"""What the HL7 v2 wires count for `/metrics`: sources, codes, rules; never a message's values."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from adapters.hl7v2.receive import MllpReceiver
from adapters.hl7v2.sequence import Kind
from adapters.outbox import Delivery
from adapters.pressure import Backlog, Gate
from hie.kernel.envelope import AckCode
from hie.web import Metrics

#: Further labels of a listener's number, and the number.
_Counted = Sequence[tuple[tuple[str, ...], float]]
_CONNECTIONS: Final = (
    "connections",
    "connections_refused",
    "connections_idle",
    "handshakes_refused",
    "handshakes_lost",
    "failures",
)
_FRAMES: Final = ("messages", "empty", "oversize", "truncated", "noise_bytes")


class IntakeMeters:
    """Counters of what was answered, to whom."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        """Make the counters.

        Args:
            metrics: where they are shown; None = nowhere.
        """
        made = metrics or Metrics()
        self._answers = made.counter(
            "hie_acknowledgements_total",
            "Answers on the sender's own connection, by MSA-1; `none` where it wanted none.",
            "source",
            "code",
        )
        self._repeats = made.counter(
            "hie_repeats_total", "Messages that repeat an accepted one.", "source"
        )
        self._quirks = made.counter(
            "hie_framing_quirks_total",
            "Messages whose frame had what MLLP does not know.",
            "source",
            "rule",
        )
        self._waits = made.counter(
            "hie_rate_waits_total", "Messages held back by their source's rate limit.", "source"
        )
        self._wait_seconds = made.counter(
            "hie_rate_wait_seconds_total", "How long they were held back, in all.", "source"
        )
        self._sequence = made.counter(
            "hie_sequence_numbers_total", "MSH-13 of numbered sources.", "source", "kind"
        )

    def answered(self, source: str, code: AckCode | None, *, is_repeat: bool) -> None:
        """A message got its answer."""
        self._answers.inc(source, code.value if code else "none")
        if is_repeat:
            self._repeats.inc(source)

    def quirk(self, source: str, rule: str) -> None:
        """A frame was odd."""
        self._quirks.inc(source, rule)

    def waited(self, source: str, seconds: float) -> None:
        """A message was held back."""
        self._waits.inc(source)
        self._wait_seconds.inc(source, by=seconds)

    def numbered(self, source: str, kind: Kind) -> None:
        """A sequence number was read."""
        self._sequence.inc(source, kind.value)


class DeliveryMeters:
    """Counters of application acknowledgements, and how many wait or were given up."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        """Make the counters.

        Args:
            metrics: where they are shown; None = nowhere.
        """
        made = metrics or Metrics()
        self.waiting: dict[tuple[str, ...], int] = {}
        self._settled = made.counter(
            "hie_application_acknowledgements_total",
            "Application acknowledgements sent to senders' listeners, or not.",
            "source",
            "outcome",
        )
        made.family(
            "hie_application_acknowledgements",
            "Application acknowledgements that wait or were given up.",
            ("source", "state"),
            lambda: self.waiting,
        )

    def settled(self, source: str, delivery: Delivery) -> None:
        """One was delivered or given up."""
        self._settled.inc(source, delivery.value)

    def postponed(self, source: str) -> None:
        """One could not be delivered yet."""
        self._settled.inc(source, "postponed")


def measure_receivers(
    metrics: Metrics, receivers: Sequence[MllpReceiver], gate: Gate, backlog: Backlog
) -> None:
    """Show what the listeners count."""
    families: dict[str, tuple[str, tuple[str, ...], Callable[[MllpReceiver], _Counted]]] = {
        "hie_mllp_connections": (
            "MLLP connections that are open.",
            (),
            lambda one: [((), one.open_connections)],
        ),
        "hie_mllp_connections_total": (
            "MLLP connections by what became of them.",
            ("kind",),
            lambda one: _of(one, _CONNECTIONS),
        ),
        "hie_mllp_frames_total": (
            "Frames, and what was none, by kind.",
            ("kind",),
            lambda one: _of(one, _FRAMES),
        ),
        "hie_mllp_strangers_total": (
            "Peers that spoke something else than MLLP.",
            ("speaks",),
            lambda one: [((who.value,), n) for who, n in one.counts.strangers.items()],
        ),
        "hie_mllp_held_bytes": (
            "Messages held in memory until they are answered.",
            (),
            lambda one: [((), one.held_bytes)],
        ),
        "hie_tls_certificate_end_seconds": (
            "When certificates end, in seconds since 1970: the hub's own, and partners'.",
            ("certificate",),
            _certificates,
        ),
    }
    for name, (text, labels, read) in families.items():
        kind = "counter" if name.endswith("_total") else "gauge"
        metrics.family(name, text, ("listener", *labels), _by_listener(receivers, read), kind=kind)
    text = "1 while nothing is read, 0 otherwise."
    metrics.gauge("hie_receive_paused", text, lambda: float(not gate.is_open))
    text = "Messages that wait to be worked off, counted up to the high mark."
    metrics.gauge("hie_backlog", text, lambda: float(backlog.waiting))


def _by_listener(
    receivers: Sequence[MllpReceiver], read: Callable[[MllpReceiver], _Counted]
) -> Callable[[], Mapping[tuple[str, ...], float]]:
    return lambda: {
        (one.settings.name, *labels): float(value)
        for one in receivers
        for labels, value in read(one)
    }


def _of(receiver: MllpReceiver, names: Sequence[str]) -> _Counted:
    return [((name,), getattr(receiver.counts, name)) for name in names]


def _certificates(receiver: MllpReceiver) -> _Counted:
    shown = [((name,), ends) for name, ends in sorted(receiver.counts.certificates.items())]
    own = receiver.certificate_ends
    return shown if own is None else [(("own",), own), *shown]
