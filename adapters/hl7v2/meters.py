"""What the HL7 v2 wires count for `/metrics`: sources, codes, rules; never a message's values."""

from collections.abc import Sequence
from typing import Final

from adapters.hl7v2.receive import MllpReceiver
from adapters.hl7v2.sequence import Kind
from adapters.outbox import Delivery
from adapters.pressure import Backlog, Gate
from hie.kernel.envelope import AckCode
from hie.web import Metrics


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

    def of(names: Sequence[str]) -> dict[tuple[str, ...], float]:
        """Those of their counts, by listener and name."""
        return {
            (one.settings.name, name): float(getattr(one.counts, name))
            for one in receivers
            for name in names
        }

    listener = ("listener",)
    metrics.family(
        "hie_mllp_connections",
        "MLLP connections that are open.",
        listener,
        lambda: {(one.settings.name,): one.open_connections for one in receivers},
    )
    metrics.family(
        "hie_mllp_connections_total",
        "MLLP connections by what became of them.",
        ("listener", "kind"),
        lambda: of(_CONNECTIONS),
        kind="counter",
    )
    metrics.family(
        "hie_mllp_frames_total",
        "Frames, and what was none, by kind.",
        ("listener", "kind"),
        lambda: of(_FRAMES),
        kind="counter",
    )
    metrics.family(
        "hie_mllp_strangers_total",
        "Peers that spoke something else than MLLP.",
        ("listener", "speaks"),
        lambda: {
            (one.settings.name, stranger.value): float(n)
            for one in receivers
            for stranger, n in one.counts.strangers.items()
        },
        kind="counter",
    )
    metrics.family(
        "hie_mllp_held_bytes",
        "Messages held in memory until they are answered.",
        listener,
        lambda: {(one.settings.name,): float(one.held_bytes) for one in receivers},
    )
    metrics.family(
        "hie_tls_certificate_end_seconds",
        "When certificates end, in seconds since 1970: the hub's own, and those of partners.",
        ("listener", "certificate"),
        lambda: {
            (one.settings.name, name): ends
            for one in receivers
            for name, ends in _certificates(one)
        },
    )
    metrics.gauge("hie_receive_paused", "1 while nothing is read.", lambda: float(not gate.is_open))
    metrics.gauge(
        "hie_backlog",
        "Messages that wait to be worked off, counted up to the high mark.",
        lambda: float(backlog.waiting),
    )


_CONNECTIONS: Final = (
    "connections",
    "connections_refused",
    "connections_idle",
    "handshakes_refused",
    "handshakes_lost",
    "failures",
)
_FRAMES: Final = ("messages", "empty", "oversize", "truncated", "noise_bytes")


def _certificates(receiver: MllpReceiver) -> list[tuple[str, float]]:
    own = receiver.certificate_ends
    shown = sorted(receiver.counts.certificates.items())
    return shown if own is None else [("own", own), *shown]
