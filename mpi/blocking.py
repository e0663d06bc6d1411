"""Blocking keys: what two records must share to be compared at all.

A key is a keyed 64-bit hash, so that a table of keys names nobody. Each kind of key holds a
bounded number of records; later ones go under the same parts with a second field added.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import jellyfish

from mpi.demographics import Address, Demographics
from mpi.settings import KeySpec

#: Hashes the parts of a key; the hub's is `KeyRing.blind64("mpi", ...)`.
Blind = Callable[..., int]

#: Alternatives of one field that keys are made of; more add work and find little.
MOST_ALTERNATIVES = 4


class BlockingKey(NamedTuple):
    """One key of a record; a tuple, because every record makes some fifteen.

    Attributes:
        wider: parts of the key with the second field added, used once `value` is full;
            empty for single values, which are then shared by too many to say anything.
        shared: kind of value, where the key is one value that may be shared; else empty.
        part: that value.
    """

    spec: str
    value: int
    wider: tuple[str, ...] = ()
    shared: str = ""
    part: str = ""


def blocking_keys(
    demographics: Demographics, specs: Sequence[KeySpec], blind: Blind, most: int
) -> tuple[BlockingKey, ...]:
    """The keys of a record, at most `most`, the most telling kinds first."""
    fields = _Fields(demographics)
    keys: dict[int, BlockingKey] = {}
    for spec in specs:
        for key in _keys_of(spec, fields, blind):
            keys.setdefault(key.value, key)
    return tuple(keys.values())[:most]


def overflow_key(key: BlockingKey, blind: Blind) -> int | None:
    """The key that takes what no longer fits under `key`; None where there is none."""
    return blind(key.spec, *key.wider) if key.wider else None


def _keys_of(spec: KeySpec, fields: "_Fields", blind: Blind) -> Iterator[BlockingKey]:
    alternatives = []
    for part in spec.parts:
        if not (values := fields.values(part)):
            return
        alternatives.append(values[:MOST_ALTERNATIVES])
    second = fields.values(spec.second) if spec.second else ()
    for parts in product(*alternatives):
        yield BlockingKey(
            spec=spec.name,
            value=blind(spec.name, *parts),
            wider=("+", *parts, second[0]) if second else (),
            shared=spec.shared,
            part=parts[0] if spec.shared else "",
        )


@lru_cache(maxsize=50_000)
def sound(name: str) -> str:
    """Soundex of a folded name; the name itself where it has letters Soundex does not know."""
    return jellyfish.soundex(name) if name.isascii() and name.isalpha() else name


class _Fields:
    """The values that key parts name, computed when asked for."""

    def __init__(self, demographics: Demographics) -> None:
        self._demographics = demographics
        self._known: dict[str, tuple[str, ...]] = {}

    def values(self, part: str) -> tuple[str, ...]:
        """Distinct values of a part, in a fixed order; () where the record has none."""
        values = self._known.get(part)
        if values is None:
            values = tuple(dict.fromkeys(_PARTS[part](self._demographics)))
            self._known[part] = values
        return values


def _sounds(d: Demographics) -> Iterator[str]:
    """Sounds of first and last name without their order, so that a swap finds its record."""
    for first, last in product(d.given[:2], _lasts(d)):
        yield "|".join(sorted((sound(first), sound(last))))


def _lasts(d: Demographics) -> tuple[str, ...]:
    return (*d.surnames, *d.surname_parts)[:MOST_ALTERNATIVES]


def _month_day(d: Demographics) -> Iterator[str]:
    """Month and day without their order."""
    if len(d.birth_date) == 10:
        yield "|".join(sorted((d.birth_date[5:7], d.birth_date[8:])))


def _full_birth_date(d: Demographics) -> tuple[str, ...]:
    return (d.birth_date,) if len(d.birth_date) == 10 else ()


def _last4(d: Demographics) -> tuple[str, ...]:
    return (*(s[-4:] for s in d.ssn), *d.ssn_last4)


def _present(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(v for v in values if v)


def _houses(addresses: Iterable[Address]) -> tuple[str, ...]:
    return _present(a.house for a in addresses)


_PARTS: dict[str, Callable[[Demographics], Iterable[str]]] = {
    "identifier": lambda d: (f"{i.system}|{i.value}" for i in d.identifiers),
    "ssn": lambda d: d.ssn,
    "last4": _last4,
    "phone": lambda d: d.phones,
    "email": lambda d: d.emails,
    "birth_date": _full_birth_date,
    "birth_year": lambda d: _present([d.birth_date[:4]]),
    "month_day": _month_day,
    "first1": lambda d: _present(g[:1] for g in d.given),
    "first2": lambda d: (g[:2] for g in d.given if len(g) > 1),
    "last3": lambda d: (s[:3] for s in _lasts(d)),
    "first_sound": lambda d: (sound(g) for g in d.given if len(g) > 1),
    "last_sound": lambda d: (sound(s) for s in _lasts(d)),
    "sounds": _sounds,
    "zip5": lambda d: _present(a.zip5 for a in d.addresses),
    "street": lambda d: _present(
        sound(a.street.split()[0]) if a.street else "" for a in d.addresses
    ),
    "house": lambda d: _houses(d.addresses),
    "address": lambda d: _present(a.door for a in d.addresses),
    "mother": lambda d: (*d.mothers, *(d.surnames if d.is_placeholder else ())),
}
KEY_PARTS = frozenset(_PARTS)
