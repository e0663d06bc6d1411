"""What the HL7 v2 wires count for `/metrics`: sources, codes, rules; never a message's values."""

from adapters.hl7v2.sequence import Kind
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
