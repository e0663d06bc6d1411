"""How much of a message the maps read: the antidote to silent loss."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from adapters.hl7v2.er7 import Message, Segment

#: By position of a segment: the fields each map that ran on it uses; False = only their first
#: repetition.
Used = dict[int, list[Mapping[int, bool]]]

#: What several maps read together, by their identities; maps live as long as the mapper.
Merged = dict[tuple[int, ...], Mapping[int, bool]]

_NONE: Final[frozenset[int]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The fields of one message that hold a value.

    Attributes:
        present: one place a field and segment that says something, `PID-3`; with repetitions no
            map reads as places of their own, `PID-8[2]`.
        unmapped: those of them no map reads, in message order.
    """

    present: tuple[str, ...]
    unmapped: tuple[str, ...]

    @property
    def mapped(self) -> tuple[str, ...]:
        """The places some map reads, in message order."""
        missing = Counter(self.unmapped)
        found = []
        for place in self.present:
            if missing[place]:
                missing[place] -= 1
            else:
                found.append(place)
        return tuple(found)

    @property
    def percent(self) -> int:
        """Share of the present places that are mapped, rounded down; 100 for an empty message."""
        total = len(self.present)
        return 100 * (total - len(self.unmapped)) // total if total else 100


def coverage(message: Message, unmapped: Sequence[str]) -> Coverage:
    """The coverage of a message, given the `unmapped` places of its submission."""
    marks = _blank(message)
    present = [
        f"{segment.name or '?'}-{n}"
        for segment in message.segments
        for n in _values(segment, marks)
    ]
    known = Counter(present)
    # A repetition no map reads is a place beside its field's, which was read.
    extra = [place for place in unmapped if not known[place]]
    return Coverage(present=(*present, *extra), unmapped=tuple(unmapped))


def unread(
    message: Message,
    used: Used,
    elsewhere: Mapping[str, frozenset[int]],
    merged: Merged,
    *,
    taken: int,
) -> tuple[str, ...]:
    """The places that hold a value no map reads, one a field and segment, in message order.

    Args:
        message: the message.
        used: what the maps that ran read of their own segments.
        elsewhere: by segment name, what rows of other segments and the hub use.
        taken: how many segments were mapped; of those behind nothing is read.
        merged: remembers what several maps read together, from message to message.
    """
    marks, repetition = _blank(message), message.delimiters.repetition
    places: list[str] = []
    for segment in message.segments:
        maps = used.get(segment.position, [])
        key = tuple(map(id, maps))
        read = merged.get(key)
        if read is None:
            read = merged[key] = _merged(maps)
        looked_at = elsewhere.get(segment.name, _NONE) if segment.position < taken else _NONE
        for n, raw in _filled(segment):
            is_all = read.get(n, False if n in looked_at else None)
            if is_all is None:
                if raw.strip(marks):
                    places.append(f"{segment.name or '?'}-{n}")
            elif not is_all and repetition and repetition in raw and _repeats(raw, repetition):
                places.append(f"{segment.name}-{n}[2]")
    return tuple(places)


def _merged(maps: Sequence[Mapping[int, bool]]) -> dict[int, bool]:
    """What several maps read of one segment."""
    read: dict[int, bool] = {}
    for found in maps:
        for n, is_all in found.items():
            read[n] = read.get(n, False) or is_all
    return read


def _blank(message: Message) -> str:
    """What a field may hold and still say nothing: blanks and marks."""
    marks = message.delimiters
    return f" {marks.component}{marks.repetition}{marks.subcomponent}"


def _values(segment: Segment, marks: str) -> list[int]:
    """Numbers of the fields that say something."""
    return [n for n, raw in _filled(segment) if raw.strip(marks)]


def _filled(segment: Segment) -> Iterator[tuple[int, str]]:
    """Number and raw text of the fields that are not empty, but for MSH-1 and MSH-2."""
    fields, shift = segment.fields, 1 if segment.name in ("MSH", "BHS", "FHS") else 0
    for place in range(1 + shift, len(fields)):
        if raw := fields[place]:
            yield place + shift, raw


def _repeats(raw: str, mark: str) -> bool:
    return sum(1 for part in raw.split(mark) if part.strip()) > 1
