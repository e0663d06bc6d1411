"""A batch file taken apart, unit by unit, in bounded memory; without I/O.

Law of this file: how the bytes are cut into reads never changes the units, and no message of
a batch is held longer than until the next unit begins.
Spec: HL7 v2.8.2 chapter 2, sections 2.10.3 (batch protocol), 2.14.1 BHS, 2.14.2 BTS,
2.14.6 FHS, 2.14.7 FTS:

    [FHS] { [BHS] { MSH ... } [BTS] } [FTS]
"""

import re
from dataclasses import dataclass
from typing import Final

#: What begins a unit. MSH needs its separator; an envelope's segment may stand alone.
_BORDER: Final = re.compile(rb"(?<=[\r\n\x0b])(?:MSH(?=[^\w\s])|(?:FHS|BHS|BTS|FTS)(?=[\W]))")
_AHEAD: Final = 4  # bytes that tell a border, the line's end before it not counted
_BATCH: Final = re.compile(rb"(?:\xef\xbb\xbf)?[\s\x0b]{0,64}(?:FHS|BHS)(?!\w)")
_LINE_END: Final = re.compile(rb"[\r\n]")
_EDGES: Final = b"\r\n\x0b\x1c\x1a"  # line ends, marks of a frame, and the old end-of-file
_LONGEST_HEADER: Final = 8 * 1024


@dataclass(frozen=True, slots=True)
class Envelope:
    """A segment that encloses messages: `kind` is FHS, BHS, BTS or FTS."""

    kind: str
    line: bytes


@dataclass(frozen=True, slots=True)
class Enclosed:
    """One message, its last segment ended by CR."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Overlong:
    """A message grew past its limit: answer it from its head; its rest is dropped."""

    head: bytes


@dataclass(frozen=True, slots=True)
class Stray:
    """Bytes that belong to no message, dropped."""

    size: int


Unit = Envelope | Enclosed | Overlong | Stray


def is_batch(payload: bytes) -> bool:
    """Whether a payload begins with FHS or BHS."""
    return _BATCH.match(payload) is not None


class Splitter:
    """The units of one batch file."""

    def __init__(self, *, message_bytes: int, head_bytes: int = 64 * 1024) -> None:
        """Begin a file.

        Args:
            message_bytes: the longest message kept.
            head_bytes: how much of a longer one is kept for its answer.
        """
        self._message_bytes = message_bytes
        self._head_bytes = min(head_bytes, message_bytes)
        # The unit being read. A line end stands before the first, so that borders look alike.
        self._buffer = bytearray(b"\n")
        self._begin = 1  # where the unit begins in it
        self._seen = 1  # no border begins before this place, but for the unit's own
        self._is_dropping = False
        self._stray = 0
        self._is_first = True

    @property
    def held_bytes(self) -> int:
        """How much is kept until the next unit begins."""
        return len(self._buffer)

    def receive(self, data: bytes) -> list[Unit]:
        """The units that these bytes complete, in order."""
        units: list[Unit] = []
        self._buffer += data
        if self._is_first and not self._skip_mark():
            return units
        self._cut(units, len(self._buffer) - _AHEAD)
        self._bound(units)
        return units

    def close(self) -> list[Unit]:
        """The file has ended."""
        units: list[Unit] = []
        self._skip_mark(is_last=True)
        self._buffer += b"\n"  # a trailer of three letters may be the last of a file
        self._cut(units, len(self._buffer))
        self._finish(units, len(self._buffer) - 1)
        self._tell_stray(units)
        self._buffer.clear()
        return units

    def _skip_mark(self, *, is_last: bool = False) -> bool:
        """Drop a byte-order mark at the very beginning; false while it cannot be told."""
        if len(self._buffer) < 4 and not is_last:
            return False
        if self._is_first and self._buffer[1:4] == b"\xef\xbb\xbf":
            del self._buffer[1:4]
        self._is_first = False
        return True

    def _cut(self, units: list[Unit], end: int) -> None:
        """Emit every unit that ends before `end`, and keep what follows."""
        for found in _BORDER.finditer(self._buffer, self._seen - 1):
            if found.start() > end:
                break
            if found.start() > self._begin or self._is_dropping:
                self._finish(units, found.start())
            self._begin, self._is_dropping = found.start(), False
            self._seen = found.start() + _AHEAD
        self._seen = max(self._seen, end, 1)
        if self._begin > 1:
            cut = self._begin - 1  # the byte before stays: a border looks back at it
            del self._buffer[:cut]
            self._begin, self._seen = 1, self._seen - cut

    def _finish(self, units: list[Unit], end: int) -> None:
        """Emit the unit that ends at `end`."""
        if self._is_dropping:
            return
        kind = self._kind()
        content = bytes(self._buffer[self._begin : end])
        if kind == "MSH":
            self._tell_stray(units)
            units.append(self._message(content))
        elif kind:
            self._tell_stray(units)
            line, rest = _first_line(content)
            units.append(Envelope(kind, line))
            self._stray += _size(rest)
        else:
            self._stray += _size(content)

    def _message(self, content: bytes) -> Unit:
        # Blank lines behind it count: reads may end anywhere, and the unit is the same.
        if len(content) > self._message_bytes:
            return Overlong(content[: self._head_bytes])
        return Enclosed(content.rstrip(_EDGES) + b"\r")

    def _bound(self, units: list[Unit]) -> None:
        """Let go of a unit that grows too long, before it has ended."""
        most = self._message_bytes if self._kind() == "MSH" else _LONGEST_HEADER
        if len(self._buffer) - self._begin <= most + _AHEAD + 1:
            return
        if not self._is_dropping:
            self._finish(units, len(self._buffer))
            self._is_dropping = True
        # The last bytes may be the beginning of a border.
        keep = _AHEAD + 1
        gone = len(self._buffer) - keep
        del self._buffer[:gone]
        self._begin, self._seen = 1, max(1, self._seen - gone)

    def _kind(self) -> str:
        """FHS, BHS, MSH, BTS, FTS; empty for what stands before the first of them."""
        if self._is_dropping or not _BORDER.match(self._buffer, self._begin):
            return ""
        return self._buffer[self._begin : self._begin + 3].decode("ascii")

    def _tell_stray(self, units: list[Unit]) -> None:
        if self._stray:
            units.append(Stray(self._stray))
            self._stray = 0


def _first_line(content: bytes) -> tuple[bytes, bytes]:
    line, *rest = _LINE_END.split(content, maxsplit=1)
    return line[:_LONGEST_HEADER], rest[0] if rest else b""


def _size(content: bytes) -> int:
    """How many bytes are more than blank lines and marks of frames."""
    return len(content) - sum(content.count(bytes([edge])) for edge in _EDGES)
