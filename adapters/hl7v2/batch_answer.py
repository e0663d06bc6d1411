"""What a batch file is answered with, around the answers of its messages; pure.

The answer has the shape of what came: an FHS for each FHS, a BHS for each BHS, their trailers
with the number of answers between them, in the sender's own separators. What was wrong with
the envelopes stands in BTS-2 and FTS-2, for the messages were taken all the same.
Spec: HL7 v2.8.2 chapter 2, sections 2.10.3.3 (acknowledging batches), 2.14.1, 2.14.2, 2.14.6,
2.14.7.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from adapters.hl7v2.batch import Envelope, Stray
from adapters.hl7v2.rules import Place
from hie.kernel.clock import EPOCH, SECOND_US
from hie.kernel.envelope import Finding

#: Makes a remark: rule, place, detail.
Remark = Callable[[str, Place, str], Finding]

_DEEPEST: Final = 8
_STANDARD: Final = "|^~\\&"
_LONGEST_FIELD: Final = 250
_MOST_FINDINGS: Final = 100
_TRAILERS: Final = {"FHS": "FTS", "BHS": "BTS"}
_TRAILER_RULES: Final = {"FHS": "file-trailer", "BHS": "batch-trailer"}
_COUNT_RULES: Final = {"FHS": "file-count", "BHS": "batch-count"}
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass(slots=True)
class _Level:
    """A file or a batch while it is open.

    Attributes:
        messages: those right inside it; total: those of inner batches too.
        answers: what was answered of `messages`.
    """

    kind: str
    marks: str
    sequence: int
    messages: int = 0
    total: int = 0
    batches: int = 0
    answers: int = 0
    remarks: list[Finding] = field(default_factory=list)


class BatchLedger:
    """The levels of one batch file: what is open, what was counted, what is remarkable."""

    def __init__(self, remark: Remark, *, answer_id: Callable[[], str], now_us: int) -> None:
        """Begin a file.

        Args:
            remark: makes a finding with the weight it has for the sender.
            answer_id: a new control id for each envelope of the answer.
            now_us: FHS-7 and BHS-7 of the answer.
        """
        self._remark = remark
        self._answer_id = answer_id
        self._stamp = f"{EPOCH.fromtimestamp(now_us // SECOND_US, EPOCH.tzinfo):%Y%m%d%H%M%S}+0000"
        self._levels: list[_Level] = []
        self._sequences: dict[str, int] = {}
        self._outside = _Level("", _STANDARD, 0)  # messages without any envelope
        self.findings: list[Finding] = []
        self.messages = 0

    def enter(self, envelope: Envelope) -> bytes:
        """An envelope's segment came; what the answer has in its place."""
        match envelope.kind:
            case "FHS":
                closed = self._close_all()
                return closed + self._open(envelope)
            case "BHS":
                return self._nest() + self._open(envelope)
            case "BTS":
                return self._trailer(envelope, "BHS")
            case _:
                return self._trailer(envelope, "FHS")

    def message(self, *, is_answered: bool) -> None:
        """A message came, and got an answer or asked for none."""
        self.messages += 1
        level = self._levels[-1] if self._levels else self._outside
        level.messages += 1
        level.answers += is_answered
        for outer in self._levels:
            outer.total += 1

    def stray(self, unit: Stray) -> None:
        """Bytes came that belong to no message."""
        self._note("batch-stray", Place(), str(unit.size))

    def finish(self) -> bytes:
        """The file has ended; the trailers its sender left out."""
        if not self.messages:
            self._note("batch-empty", Place())
        return self._close_all()

    def _open(self, envelope: Envelope) -> bytes:
        text = envelope.line.decode("latin-1")
        marks = _marks(text)
        sequence = self._sequences[envelope.kind] = self._sequences.get(envelope.kind, 0) + 1
        if envelope.kind == "BHS" and self._levels:
            self._levels[-1].batches += 1
        self._levels.append(_Level(envelope.kind, marks, sequence))
        return self._header(envelope.kind, text.split(marks[0]), marks)

    def _header(self, kind: str, sent: list[str], marks: str) -> bytes:
        def of(n: int) -> str:
            # FHS-1 and BHS-1 are the separator itself.
            return _CONTROL.sub("", sent[n - 1][:_LONGEST_FIELD]) if n <= len(sent) else ""

        parties = (of(5), of(6), of(3), of(4))
        own = (self._stamp, "", of(9), "", self._answer_id(), of(11))
        return _line(marks[0].join((kind, marks[1:], *parties, *own)))

    def _nest(self) -> bytes:
        """A batch inside a batch: taken as one, unless they grow too deep."""
        if not self._levels or self._levels[-1].kind == "FHS":
            return b""
        place = Place("BHS", self._sequences.get("BHS", 0) + 1)
        self._note("batch-nested", place)
        return self._close(is_whole=False) if len(self._levels) >= _DEEPEST else b""

    def _trailer(self, envelope: Envelope, kind: str) -> bytes:
        name = envelope.kind
        sequence = self._sequences[name] = self._sequences.get(name, 0) + 1
        at = Place(name, sequence, 1)
        if not any(level.kind == kind for level in self._levels):
            self._note("batch-header", Place(name, sequence))
            return b""
        closed = b""
        while self._levels[-1].kind != kind:
            closed += self._close(is_whole=False)
        level = self._levels[-1]
        text = envelope.line.decode("latin-1")
        parts = text[:_LONGEST_FIELD].split(level.marks[0])
        said = parts[1].strip() if len(parts) > 1 else ""
        if said and (said.lstrip("0") or "0") not in _counts(level):
            self._note(_COUNT_RULES[kind], at, str(min(map(int, _counts(level)))))
        return closed + self._close(is_whole=True)

    def _close(self, *, is_whole: bool) -> bytes:
        level = self._levels[-1]
        if not is_whole:
            self._note(_TRAILER_RULES[level.kind], Place(level.kind, level.sequence))
        self._levels.pop()
        count = level.batches + bool(level.answers) if level.kind == "FHS" else level.answers
        fields = [_TRAILERS[level.kind], str(count)]
        if level.remarks:
            fields.append(_comment(level.remarks, level.marks))
        return _line(level.marks[0].join(fields))

    def _close_all(self) -> bytes:
        closed = b""
        while self._levels:
            closed += self._close(is_whole=False)
        return closed

    def _note(self, rule: str, place: Place, detail: str = "") -> None:
        found = self._remark(rule, place, detail)
        if len(self.findings) < _MOST_FINDINGS:
            self.findings.append(found)
        if self._levels and len(self._levels[-1].remarks) < _MOST_FINDINGS:
            self._levels[-1].remarks.append(found)


def _counts(level: _Level) -> set[str]:
    """What a trailer may say: files count batches, batches their messages, inner ones or not."""
    if level.kind == "FHS":
        return {str(level.batches + bool(level.messages))}
    return {str(level.messages), str(level.total)}


def _marks(text: str) -> str:
    """The separators of a header, if an answer can be written with them."""
    sent = text[3:8]
    is_usable = len(set(sent)) == 5 and all(c.isprintable() and not c.isalnum() for c in sent)
    if is_usable and text[8:9] in ("", sent[0]) and " " not in sent:
        return sent
    is_kept = len(text) > 3 and text[3].isprintable() and not text[3].isalnum()
    return text[3] + _STANDARD[1:] if is_kept and text[3] not in _STANDARD[1:] else _STANDARD


def _comment(remarks: list[Finding], marks: str) -> str:
    text = "; ".join(found.text for found in remarks)[:_LONGEST_FIELD]
    return text.translate({ord(mark): " " for mark in marks})


def _line(text: str) -> bytes:
    return text.encode("latin-1", "replace") + b"\r"
