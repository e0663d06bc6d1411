"""Which records of a file are compared: keys, hot keys, pairs.

The keys are those of the hub (`mpi.blocking`). A key held by more records than its bound gives
way, for all of them, to the same key with a second field; what is still too many is counted
and not compared under that key.
"""

import hashlib
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
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


class Keys:
    """The keys of records, by kind; a few bytes for each.

    Args:
        model: says kinds of keys and bounds.
    """

    def __init__(self, model: LinkageModel) -> None:
        self._model = model
        self._values: dict[str, Longs] = {}
        self._wider: dict[str, Longs] = {}
        self._holders: dict[str, Longs] = {}

    def add(self, place: int, demographics: Demographics) -> None:
        """The keys of the record at a place; places in rising order."""
        model = self._model
        for key in blocking_keys(demographics, model.keys, blind, model.keys_per_record):
            if key.spec not in self._values:
                self._values[key.spec] = array("Q")
                self._wider[key.spec] = array("Q")
                self._holders[key.spec] = array("L")
            self._values[key.spec].append(key.value)
            self._wider[key.spec].append(overflow_key(key, blind) or 0)
            self._holders[key.spec].append(place)

    def blocks(self) -> Blocks:
        """The pairs that share a key."""
        cap = self._model.key_cap
        blocks = Blocks()
        rows: dict[int, Longs] = {}
        for spec, values in self._values.items():
            entries = range(len(values))
            for group in _groups(values, entries):
                if len(group) <= cap:
                    _add_pairs([self._holders[spec][entry] for entry in group], rows)
                else:
                    self._narrow(spec, group, rows, blocks)
        blocks.batches = [rows[number] for number in sorted(rows)]
        return blocks

    def _narrow(
        self, spec: str, entries: list[int], rows: dict[int, Longs], blocks: Blocks
    ) -> None:
        """A key too full: those who agree on a second field too are compared."""
        wider = [entry for entry in entries if self._wider[spec][entry]]
        blocks.refused[spec] += len(entries) - len(wider)
        for group in _groups(self._wider[spec], wider):
            if len(group) <= self._model.key_cap:
                _add_pairs([self._holders[spec][entry] for entry in group], rows)
            else:
                blocks.refused[spec] += len(group)


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
