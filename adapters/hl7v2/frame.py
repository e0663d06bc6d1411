"""MLLP framing without I/O: bytes in, events out.

Law of this file: how the bytes are cut into reads never changes the events, and a payload is
given only when its frame came whole. Nothing here knows sockets, time or HL7.
Spec: HL7 Transport Specification: MLLP, Release 1 (block = VT payload FS CR).

    outside --VT--> inside --FS--> ending --CR, LF, VT, pause, end of stream--> Payload
       |             |  ^ ^           |
     Noise          VT  | +--anything-+  (that FS was content)
                     |  |
                     v  +--anything--+  (that VT was content)
                  restarting --------+
                     +--MSH, FHS, BHS--> Truncated, inside again

What a frame had that the specification does not know is told with its payload, as quirks: the
framer takes it, and who knows the sender decides whether that may be.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final

VT: Final = b"\x0b"
FS: Final = b"\x1c"
CR: Final = b"\x0d"

_VT: Final = 0x0B
_FS: Final = 0x1C
_ENDS: Final = frozenset(b"\r\n\x0b")  # what may stand behind the FS that ends a frame
_METHODS: Final = (
    b"GET /",
    b"PUT /",
    b"HEAD /",
    b"POST /",
    b"PATCH /",
    b"DELETE /",
    b"OPTIONS ",
    b"CONNECT ",
    b"PRI * HT",
)
_OPENING_BYTES: Final = 8  # the longest of those
_TLS_HANDSHAKE: Final = b"\x16\x03"


#: What a message begins with: a VT before it begins a frame, whatever went before.
_HEADS: Final = (b"MSH", b"FHS", b"BHS")
_BEFORE_HEAD: Final = b" \t\r\n\xef\xbb\xbf"
_BEFORE_HEAD_BYTES: Final = 16


class Quirk(StrEnum):
    """What a frame had that the specification does not know; the rule that weighs it."""

    NOISE = "framing-noise"  # bytes before its VT
    NO_CR = "framing-no-cr"  # nothing, or something else, behind its FS
    LINE_FEED = "framing-line-feed"  # LF behind its FS, or before its VT
    RESTART = "framing-restart"  # the frame before it broke off
    FS = "framing-fs"  # FS among its characters
    VT = "framing-vt"  # VT among its characters


class Stranger(Enum):
    """What a peer speaks that is not MLLP."""

    HTTP = "http"
    TLS = "tls"
    NOISE = "noise"
    ENDLESS = "endless"  # a frame that goes on long after it was refused


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLimits:
    """Bounds that keep a connection's memory and patience small.

    Attributes:
        payload_bytes: the longest payload kept.
        head_bytes: how much of a longer one is kept for its answer.
        noise_bytes: garbage between frames after which the peer is given up.
        refused_bytes: how long a refused frame may go on, counted from its beginning.
    """

    payload_bytes: int = 32 * 1024 * 1024
    head_bytes: int = 64 * 1024
    noise_bytes: int = 1024 * 1024
    refused_bytes: int = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Payload:
    """What stood in a whole frame."""

    data: bytes
    quirks: frozenset[Quirk] = frozenset()


@dataclass(frozen=True, slots=True)
class Noise:
    """Bytes outside any frame, dropped."""

    size: int


@dataclass(frozen=True, slots=True)
class Truncated:
    """A frame that broke off, at a second VT or at the end of the stream; dropped unanswered."""

    size: int


@dataclass(frozen=True, slots=True)
class Oversize:
    """A frame grew past its limit: answer it from its head; its rest is dropped silently."""

    head: bytes


@dataclass(frozen=True, slots=True)
class Hopeless:
    """The peer does not speak MLLP; close. No further event follows."""

    stranger: Stranger


Event = Payload | Noise | Truncated | Oversize | Hopeless


class _State(Enum):
    OUTSIDE = 1
    INSIDE = 2
    ENDING = 3  # an FS was read; whether it ends the frame, the next byte tells
    REFUSED = 4  # inside a frame that grew too long
    REFUSED_ENDING = 5
    RESTARTING = 6  # a VT was read inside a frame; what follows tells whether one begins
    CLOSED = 7


#: What each byte behind FS says.
_ENDINGS: Final = MappingProxyType(
    {0x0D: frozenset(), 0x0A: {Quirk.NO_CR, Quirk.LINE_FEED}, _VT: {Quirk.NO_CR}}
)


class _Chunk:
    """One read, with the next VT and FS remembered: a run of either stays linear."""

    __slots__ = ("_fs", "_vt", "data", "size")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self._vt = self._fs = -1

    def vt(self, place: int) -> int:
        """Where the next VT stands; the chunk's size when there is none."""
        if self._vt < place:
            found = self.data.find(VT, place)
            self._vt = self.size if found < 0 else found
        return self._vt

    def mark(self, place: int) -> tuple[int, int | None]:
        """Where the next VT or FS stands, and which; size and None without one."""
        if self._fs < place:
            found = self.data.find(FS, place)
            self._fs = self.size if found < 0 else found
        again = self.vt(place)
        if again < self._fs:
            return again, _VT
        return self._fs, _FS if self._fs < self.size else None


class Framer:
    """The frames of one connection, in one direction."""

    def __init__(self, limits: FrameLimits | None = None) -> None:
        self._limits = limits or FrameLimits()
        self._state = _State.OUTSIDE
        self._body = bytearray()
        self._noise = 0
        self._refused = 0
        self._quirks: set[Quirk] = set()
        self._held = bytearray()  # while restarting: what stands behind the VT
        self._before = _State.INSIDE  # while restarting: the state to go back to
        # First bytes of the connection, until they rule out HTTP and TLS; then None.
        self._opening: bytearray | None = bytearray()
        self._steps = {
            _State.OUTSIDE: self._outside,
            _State.INSIDE: self._inside,
            _State.ENDING: self._ending,
            _State.REFUSED: self._drop,
            _State.REFUSED_ENDING: self._drop_ending,
            _State.RESTARTING: self._restarting,
        }

    @property
    def is_ending(self) -> bool:
        """Whether only the CR behind FS is missing: call `pause()` when it does not come."""
        return self._state in (_State.ENDING, _State.REFUSED_ENDING)

    @property
    def is_inside(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._state in (_State.INSIDE, _State.REFUSED, _State.RESTARTING)

    def receive(self, data: bytes) -> list[Event]:
        """The events that these bytes complete, in order."""
        events: list[Event] = []
        if self._opening is not None:
            self._look_for_strangers(self._opening, data, events)
        self._walk(data, events)
        return events

    def pause(self) -> list[Event]:
        """The peer has stopped sending: an FS that was last ends its frame without CR."""
        events: list[Event] = []
        if self._state is _State.ENDING:
            self._quirks.add(Quirk.NO_CR)
            self._complete(events)
        elif self._state is _State.REFUSED_ENDING:
            self._state = _State.OUTSIDE
        return events

    def close(self) -> list[Event]:
        """The stream has ended; what was begun and not finished is truncated."""
        events = self.pause()
        if self._state is _State.RESTARTING and self._before is _State.INSIDE:
            self._body += VT + self._held
            self._state = _State.INSIDE
        if self._state is _State.INSIDE:
            events.append(Truncated(len(self._body)))
        self._tell_noise(events)
        self._body.clear()
        self._state = _State.CLOSED
        return events

    def _walk(self, data: bytes, events: list[Event]) -> None:
        chunk, place = _Chunk(data), 0
        while place < chunk.size and self._state is not _State.CLOSED:
            place = self._steps[self._state](chunk, place, events)

    def _outside(self, chunk: _Chunk, place: int, events: list[Event]) -> int:
        end = chunk.vt(place)
        # Blank lines between frames are a habit of many senders, not noise.
        feeds = chunk.data.count(b"\n", place, end)
        blanks = feeds + chunk.data.count(b"\r", place, end)
        self._noise += end - place - blanks
        if feeds:
            self._quirks.add(Quirk.LINE_FEED)
        if self._noise > self._limits.noise_bytes:
            self._give_up(Stranger.NOISE, events)
        elif end < chunk.size:
            if self._noise:
                self._quirks.add(Quirk.NOISE)
            self._tell_noise(events)
            self._state = _State.INSIDE
        return end + 1

    def _inside(self, chunk: _Chunk, place: int, events: list[Event]) -> int:
        end, found = chunk.mark(place)
        if len(self._body) + end - place > self._limits.payload_bytes:
            self._refuse(chunk.data[place : min(end, place + self._limits.head_bytes)], events)
            return place
        self._body += chunk.data[place:end]
        if found == _FS:
            self._state = _State.ENDING
        elif found == _VT and self._body:
            self._suspect(_State.INSIDE)
        return end + 1

    def _ending(self, chunk: _Chunk, place: int, events: list[Event]) -> int:
        behind = chunk.data[place]
        if behind in _ENDS:
            self._quirks |= _ENDINGS[behind]
            self._complete(events)
            return place if behind == _VT else place + 1
        self._body += FS  # it was content: a partial payload must never pass for a whole one
        self._quirks.add(Quirk.FS)
        self._state = _State.INSIDE
        return place

    def _drop(self, chunk: _Chunk, place: int, events: list[Event]) -> int:
        end, found = chunk.mark(place)
        self._refused += end - place
        if self._refused > self._limits.refused_bytes:
            self._give_up(Stranger.ENDLESS, events)
        elif found == _FS:
            self._state = _State.REFUSED_ENDING
        elif found == _VT:
            self._suspect(_State.REFUSED)
        return end + 1

    def _drop_ending(self, chunk: _Chunk, place: int, events: list[Event]) -> int:
        self._state = _State.OUTSIDE if chunk.data[place] in _ENDS else _State.REFUSED
        return place

    def _suspect(self, before: _State) -> None:
        """A VT inside a frame: text, or the next frame where this one broke off."""
        self._before = before
        self._held.clear()
        self._state = _State.RESTARTING

    def _restarting(self, chunk: _Chunk, place: int, events: list[Event]) -> int:
        self._held.append(chunk.data[place])
        if (is_head := _begins_message(self._held)) is None:
            return place + 1
        held, self._state = bytes(self._held), self._before
        self._held.clear()
        if is_head:
            self._restart(events)
        elif self._before is _State.INSIDE:
            self._body += VT
            self._quirks.add(Quirk.VT)
        else:
            self._refused += 1
        self._walk(held, events)
        return place + 1

    def _restart(self, events: list[Event]) -> None:
        """A frame begins inside another: what stood before it can never be a whole message."""
        if self._body:
            events.append(Truncated(len(self._body)))
        self._body = bytearray()
        self._quirks = {Quirk.RESTART}
        self._state = _State.INSIDE

    def _refuse(self, more: bytes, events: list[Event]) -> None:
        most = min(self._limits.head_bytes, self._limits.payload_bytes)
        events.append(Oversize((bytes(self._body[:most]) + more)[:most]))
        self._refused = len(self._body)
        self._body = bytearray()
        self._quirks.clear()
        self._state = _State.REFUSED

    def _complete(self, events: list[Event]) -> None:
        events.append(Payload(bytes(self._body), frozenset(self._quirks)))
        self._body = bytearray()
        self._quirks.clear()
        self._state = _State.OUTSIDE

    def _tell_noise(self, events: list[Event]) -> None:
        if self._noise:
            events.append(Noise(self._noise))
            self._noise = 0

    def _give_up(self, stranger: Stranger, events: list[Event]) -> None:
        self._tell_noise(events)
        events.append(Hopeless(stranger))
        self._body = bytearray()
        self._state = _State.CLOSED

    def _look_for_strangers(self, opening: bytearray, data: bytes, events: list[Event]) -> None:
        """Judge the connection by its first bytes; a TLS hello may well contain a VT."""
        opening += data[: _OPENING_BYTES - len(opening)]
        if opening.startswith((_TLS_HANDSHAKE, *_METHODS)):
            self._noise = 0  # its bytes are not noise between frames
            is_tls = opening.startswith(_TLS_HANDSHAKE)
            self._give_up(Stranger.TLS if is_tls else Stranger.HTTP, events)
        elif any(method.startswith(opening) for method in (*_METHODS, _TLS_HANDSHAKE)):
            return
        self._opening = None


def _begins_message(behind: bytes | bytearray) -> bool | None:
    """Whether what stands behind a VT is the beginning of a message; None = not to be told yet."""
    head = bytes(behind.lstrip(_BEFORE_HEAD)[:3])
    if len(head) == 3:
        return head in _HEADS
    is_possible = any(known.startswith(head) for known in _HEADS)
    return None if is_possible and len(behind) < _BEFORE_HEAD_BYTES else False


def frame(payload: bytes) -> bytes:
    """`payload` as an MLLP block; it must not contain VT or FS."""
    return b"".join((VT, payload, FS, CR))
