"""Which records of a file are compared: keys, hot keys, pairs.

The keys are those of the hub (`mpi.blocking`). A key held by more records than its bound gives
way, for all of them, to the same key with a second field; what is still too many is counted
and not compared under that key.
"""

import hashlib
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TypeAlias, overload

from mpi.blocking import blocking_keys, overflow_key
from mpi.demographics import Demographics
from mpi.settings import LinkageModel

#: Records whose pairs are sorted out and scored together.
RECORDS_PER_BATCH = 4_096
_PLACES = 32
Longs: TypeAlias = "array[int]"
_LOWER = (1 << _PLACES) - 1


@dataclass(slots=True, kw_only=True)
class Blocks:
    """The pairs to compare.

    Attributes:
        batches: pairs of places in the table, `first << 32 | second`, first < second. A pair
            may stand there several times, but in one batch only.
        refused: by kind of key, records not compared under a key that stayed too full.
    """

    batches: list[Longs] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)


def distinct(batch: Longs) -> list[tuple[int, int]]:
    """The pairs of a batch, each once, in order."""
    return [(pair >> _PLACES, pair & _LOWER) for pair in sorted(set(batch))]


class PairList(Sequence[tuple[int, int]]):
    """The distinct pairs of all batches, eight bytes each."""

    def __init__(self, batches: Iterable[Longs]) -> None:
        self._parts = [array("Q", sorted(set(batch))) for batch in batches]
        self._ends = list(accumulate(map(len, self._parts)))

    def __len__(self) -> int:
        """How many there are."""
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, place: int) -> tuple[int, int]: ...

    @overload
    def __getitem__(self, place: slice) -> list[tuple[int, int]]: ...

    def __getitem__(self, place: int | slice) -> tuple[int, int] | list[tuple[int, int]]:
        """The pair at a place, or those of a slice."""
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        if not 0 <= place < len(self):
            raise IndexError(place)
        part = bisect_right(self._ends, place)
        pair = self._parts[part][place - (self._ends[part - 1] if part else 0)]
        return pair >> _PLACES, pair & _LOWER


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """Keys of one kind, side by side: value, value with the second field or 0, place."""

    values: Longs
    wider: Longs
    holders: Longs


class Keys:
    """The keys of records, by kind; a few bytes for each.

    Args:
        records: in the order of their places.
        model: says kinds of keys and bounds.
    """

    def __init__(self, records: Sequence[Demographics], model: LinkageModel) -> None:
        self._records = records
        self._model = model
        self._entries: dict[str, Entries] = {}

    def of(self, places: range) -> dict[str, Entries]:
        """The keys of the records at these places."""
        model = self._model
        found: dict[str, Entries] = {}
        for place in places:
            keys = blocking_keys(self._records[place], model.keys, blind, model.keys_per_record)
            for key in keys:
                entries = found.get(key.spec) or found.setdefault(key.spec, _no_entries())
                entries.values.append(key.value)
                entries.wider.append(overflow_key(key, blind) or 0)
                entries.holders.append(place)
        return found

    def add(self, found: Mapping[str, Entries]) -> None:
        """Take keys in; places rise from one call to the next."""
        for spec, entries in found.items():
            own = self._entries.setdefault(spec, _no_entries())
            own.values.extend(entries.values)
            own.wider.extend(entries.wider)
            own.holders.extend(entries.holders)

    def blocks(self) -> Blocks:
        """The pairs that share a key."""
        cap = self._model.key_cap
        blocks = Blocks()
        rows: dict[int, Longs] = {}
        for spec, entries in self._entries.items():
            for group in _groups(entries.values, range(len(entries.values))):
                if len(group) <= cap:
                    _add_pairs([entries.holders[entry] for entry in group], rows)
                else:
                    blocks.refused[spec] += self._narrow(entries, group, rows)
        blocks.batches = [rows[number] for number in sorted(rows)]
        return blocks

    def _narrow(self, entries: Entries, full: list[int], rows: dict[int, Longs]) -> int:
        """A key too full: those who agree on a second field too are compared; how many are not."""
        wider = [entry for entry in full if entries.wider[entry]]
        refused = len(full) - len(wider)
        for group in _groups(entries.wider, wider):
            if len(group) <= self._model.key_cap:
                _add_pairs([entries.holders[entry] for entry in group], rows)
            else:
                refused += len(group)
        return refused


def _no_entries() -> Entries:
    return Entries(values=array("Q"), wider=array("Q"), holders=array("Q"))


def _groups(values: Longs, entries: Iterable[int]) -> list[list[int]]:
    """The entries that hold one value, where there are two or more."""
    found: dict[int, list[int]] = {}
    for entry in entries:
        found.setdefault(values[entry], []).append(entry)
    return [group for group in found.values() if len(group) > 1]


def _add_pairs(places: list[int], rows: dict[int, Longs]) -> None:
    """Every pair of the places, which rise."""
    for number, first in enumerate(places[:-1]):
        batch = rows.setdefault(first // RECORDS_PER_BATCH, array("Q"))
        start = first << _PLACES
        batch.extend([start | second for second in places[number + 1 :]])


def blind(*parts: str) -> int:
    """A key's hash: 64 bits, the same in every process."""
    digest = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") or 1
