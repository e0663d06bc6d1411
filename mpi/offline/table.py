"""The records of a file, in the order of their ids: nothing after this sees the order of rows."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mpi.blocking import sound
from mpi.demographics import Demographics
from mpi.normalize import pack
from mpi.shared import single_values, without

#: With fewer records a share says more about chance than about the name, as in the hub.
FEWEST_RECORDS = 1_000
FEWEST_HOLDERS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Records that differ in what may be compared.

    Attributes:
        demographics: one per unit.
        record_ids: of the records of each unit, sorted; records alike in every field are one
            unit where that is enough to link them.
        shared: by kind of value, how many values too many persons hold.
    """

    demographics: Sequence[Demographics]
    record_ids: Sequence[tuple[str, ...]]
    shared: Mapping[str, int] = field(default_factory=dict)


def make_table(
    records: Mapping[str, Demographics],
    limits: Mapping[str, float],
    is_one: Callable[[Demographics], bool],
) -> Table:
    """The table of a file's records.

    Args:
        records: by record id.
        limits: by kind of value, how many persons may hold one.
        is_one: whether two records with these demographics are linked.
    """
    shared = shared_values(records.values(), limits)
    alike: dict[bytes, list[str]] = defaultdict(list)
    kept: dict[str, Demographics] = {}
    for record_id in sorted(records):
        demographics = without(records[record_id], shared)
        kept[record_id] = demographics
        alike[pack(demographics)].append(record_id)
    units = [unit for ids in alike.values() for unit in _units(ids, kept, is_one)]
    units.sort()
    return Table(
        demographics=[kept[unit[0]] for unit in units],
        record_ids=units,
        shared={kind: len(values) for kind, values in shared.items() if values},
    )


def _units(
    ids: list[str], kept: Mapping[str, Demographics], is_one: Callable[[Demographics], bool]
) -> list[tuple[str, ...]]:
    if len(ids) > 1 and is_one(kept[ids[0]]):
        return [tuple(ids)]
    return [(record_id,) for record_id in ids]


def shared_values(
    records: Iterable[Demographics], limits: Mapping[str, float]
) -> dict[str, frozenset[str]]:
    """Values that more persons hold than one person's could be.

    Persons are not known yet: of the holders of a value, those with the sound of a first name
    or a birth date in common count as one, so that a person's own misspellings do not count.
    """
    holders: dict[str, dict[str, list[Demographics]]] = {kind: defaultdict(list) for kind in limits}
    for demographics in records:
        for kind, value in single_values(demographics):
            if kind in holders:
                holders[kind][value].append(demographics)
    return {
        kind: frozenset(
            value
            for value, found in values.items()
            if len(found) > limits[kind] and _persons(found) > limits[kind]
        )
        for kind, values in holders.items()
    }


def _persons(holders: Sequence[Demographics]) -> int:
    """How many groups the holders fall into that share neither first name nor birth date."""
    group: dict[str, str] = {}

    def top(name: str) -> str:
        while group.setdefault(name, name) != name:
            group[name] = name = group[group[name]]
        return name

    for number, d in enumerate(holders):
        values = [f"name {sound(g)}" for g in d.given]
        values += [f"born {d.birth_date}"] * bool(d.birth_date)
        own = top(f"holder {number}")
        for value in values:
            group[top(value)] = own
    return len({top(f"holder {number}") for number in range(len(holders))})


def name_shares(table: Table) -> Callable[[str, str], float | None] | None:
    """How common each first name and surname is; None where there are too few records."""
    total = sum(map(len, table.record_ids))
    if total < FEWEST_RECORDS:
        return None
    counted: dict[str, Counter[str]] = {"first": Counter(), "last": Counter()}
    for d, ids in zip(table.demographics, table.record_ids, strict=True):
        for name in d.given[:1]:
            counted["first"][name] += len(ids)
        for name in d.surnames[:1]:
            counted["last"][name] += len(ids)

    def share(field: str, value: str) -> float | None:
        number = counted[field][value]
        return number / total if number >= FEWEST_HOLDERS else None

    return share
