"""The records a model is trained on: columns side by side, in memory."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from mpi.demographics import Demographics
from mpi.training.fields import COLUMNS, columns

Rule = tuple[str, ...]


@dataclass(slots=True)
class Records:
    """Records as columns: what is handed to Splink, and where their persons are known.

    Attributes:
        ids: one a record.
        persons: whose record it is by today's links; empty strings where nobody has said.
        values: column of `fields.COLUMNS`, then one value a record.
    """

    ids: list[str] = field(default_factory=list)
    persons: list[str] = field(default_factory=list)
    values: dict[str, list[str | None]] = field(
        default_factory=lambda: {name: [] for name in COLUMNS}
    )

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, record_id: str, demographics: Demographics, person: str = "") -> None:
        """One more record."""
        self.append(record_id, columns(demographics), person)

    def append(self, record_id: str, row: dict[str, str | None], person: str = "") -> None:
        """One more record, in columns."""
        self.ids.append(record_id)
        self.persons.append(person)
        for name, values in self.values.items():
            values.append(row[name])

    def only(self, places: Sequence[int]) -> "Records":
        """Some of the records, in this order."""
        return Records(
            ids=[self.ids[n] for n in places],
            persons=[self.persons[n] for n in places],
            values={name: [v[n] for n in places] for name, v in self.values.items()},
        )

    def key(self, place: int, rule: Rule) -> Rule | None:
        """The values of a record that a rule compares; None where one is missing."""
        found = [self.values[name][place] for name in rule]
        return None if None in found else tuple(value for value in found if value is not None)


def in_seeded_order(records: Records, seed: int) -> list[int]:
    """The places of all records in an order that only their ids and the seed decide."""

    def drawn(place: int) -> bytes:
        text = f"{seed}|{records.ids[place]}".encode()
        return hashlib.blake2b(text, digest_size=8).digest()

    return sorted(range(len(records)), key=drawn)


def strangers(records: Records, rules: Sequence[Rule], pairs: int, seed: int) -> Records:
    """A sample that makes so many pairs, of records that are hardly one person's.

    Of each person, where persons are known, and of records alike by a rule that only one
    person's records are, the first is taken. What pairs of one person remain, the caller
    takes off.
    """
    wanted = int(0.5 * ((8 * pairs + 1) ** 0.5 + 1)) + 1
    seen: set[tuple[Rule, Rule]] = set()
    taken: list[int] = []
    for place in in_seeded_order(records, seed):
        marks = {(rule, key) for rule in rules if (key := records.key(place, rule))}
        if records.persons[place]:
            marks.add((("person",), (records.persons[place],)))
        if not seen.isdisjoint(marks):
            continue
        seen |= marks
        taken.append(place)
        if len(taken) == wanted:
            break
    return records.only(taken)


def pairs_by(records: Records, rule: Rule, most: int) -> Iterator[tuple[int, int]]:
    """The first pairs that agree on every column of a rule."""
    groups: dict[Rule, list[int]] = defaultdict(list)
    for place in range(len(records)):
        if key := records.key(place, rule):
            groups[key].append(place)
    left = most
    for group in groups.values():
        for pair in combinations(group, 2):
            if left == 0:
                return
            left -= 1
            yield pair


def count_pairs(records: Records, rule: Rule) -> int:
    """How many pairs agree on every column of a rule."""
    sizes: dict[Rule, int] = defaultdict(int)
    for place in range(len(records)):
        if key := records.key(place, rule):
            sizes[key] += 1
    return sum(n * (n - 1) // 2 for n in sizes.values())
