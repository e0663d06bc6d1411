"""What a record is outside the hub: one column per comparison, holding just what it reads.

A column is compact JSON of the fields that its comparison reads, null where the record has
none of them. Whoever compares two columns needs nothing else, so that the same functions give
the levels here, in DuckDB and on every worker of a Spark cluster.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from mpi.compare import Comparer, Comparison
from mpi.demographics import Address, Demographics, Identifier
from mpi.levels import COMPARISONS
from mpi.names import GivenNames
from mpi.settings import LinkageModel, MpiSettings

#: Distinct columns that a process keeps parsed.
PARSED = 200_000
#: Pairs whose level is kept: a level is asked for once per candidate outcome.
PAIRS = 20_000
#: What a level function gives where the comparison says nothing.
NOTHING = -1

#: The fields of Demographics that each comparison reads.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "name": ("given", "surnames", "surname_parts"),
    "middle": ("middle",),
    "birth": ("birth_date",),
    "sex": ("sex",),
    "suffix": ("suffix",),
    "birth_order": ("birth_order",),
    "household": ("phones", "addresses"),
    "email": ("emails",),
    "ssn": ("ssn", "ssn_last4"),
    "identifier": ("identifiers",),
    "mother": ("mothers",),
}
#: Values whose frequency counts, and the field that holds them, the first one each.
TERMS: Mapping[str, str] = {"first": "given", "last": "surnames"}
COLUMNS: tuple[str, ...] = (*FIELDS, *TERMS)

Row = dict[str, str | None]


def columns(demographics: Demographics) -> Row:
    """The columns of a record, by name."""
    row: Row = {name: _packed(demographics, fields) for name, fields in FIELDS.items()}
    for name, holder in TERMS.items():
        values = getattr(demographics, holder)
        row[name] = values[0] if values else None
    return row


def _packed(demographics: Demographics, fields: Collection[str]) -> str | None:
    values = [getattr(demographics, name) for name in fields]
    if not any(values):
        return None
    return orjson.dumps([_plain(value) for value in values]).decode()


def _plain(value: Any) -> Any:
    """A field without types: addresses and identifiers as lists of strings."""
    if isinstance(value, tuple) and value and isinstance(value[0], Address):
        return [(a.house, a.street, a.unit, a.city, a.zip5) for a in value]
    if isinstance(value, tuple) and value and isinstance(value[0], Identifier):
        return [(i.system, i.value, i.type) for i in value]
    return value


@lru_cache(maxsize=PARSED)
def parse(comparison: str, column: str) -> Demographics:
    """The fields of one column, all others empty."""
    values = dict(zip(FIELDS[comparison], orjson.loads(column), strict=True))
    return Demographics(**{name: _typed(name, value) for name, value in values.items()})


def _typed(field: str, value: Any) -> Any:
    if field == "addresses":
        return tuple(Address(house=h, street=s, unit=u, city=c, zip5=z) for h, s, u, c, z in value)
    if field == "identifiers":
        return tuple(Identifier(system=s, value=n, type=t) for s, n, t in value)
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What comparing needs besides two columns; travels to other processes as it stands.

    Attributes:
        digest: of the others, which it stands for: on a worker of Spark every function brings its
            own copy, and thousands of names are not compared for each pair.
    """

    given_names: frozenset[str] = field(compare=False)
    single_types: frozenset[str] = field(compare=False)
    record_systems: frozenset[str] = field(compare=False)
    digest: str

    @classmethod
    def of(cls, settings: MpiSettings) -> "Knowledge":
        """That of a folder of settings."""
        names, types = settings.given_names, settings.forms.single_types
        systems = settings.record_systems
        text = "\n".join((*sorted(names), "", *sorted(types), "", *sorted(systems)))
        return cls(
            names, types, systems, hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        )


@lru_cache(maxsize=4)
def comparer(knowledge: Knowledge) -> Comparer:
    """The comparer of a process; made once in each."""
    return Comparer(
        GivenNames(knowledge.given_names), knowledge.single_types, knowledge.record_systems
    )


@lru_cache(maxsize=PAIRS)
def _compared(knowledge: Knowledge, comparison: str, one: str, other: str) -> Comparison:
    return comparer(knowledge).compare(parse(comparison, one), parse(comparison, other))


@dataclass(frozen=True, slots=True)
class LevelFunction:
    """Two columns of a comparison to the number of their level.

    Attributes:
        levels: the levels that the model weighs; a level's number is its place among them.
    """

    knowledge: Knowledge
    comparison: str
    levels: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the function is called in SQL."""
        return f"hie_{self.comparison}"

    def __call__(self, one: str | None, other: str | None) -> int:
        """The number of the level; NOTHING where it is none that weighs."""
        if one is None or other is None:
            return NOTHING
        level = _compared(self.knowledge, self.comparison, one, other).level(self.comparison)
        return self.levels.index(level.value) if level in self.levels else NOTHING


@dataclass(frozen=True, slots=True)
class TermFunction:
    """Two names to the value they agree on whose frequency counts; empty where there is none."""

    knowledge: Knowledge
    term: str
    levels: frozenset[str]

    @property
    def name(self) -> str:
        """What the function is called in SQL."""
        return f"hie_agreed_{self.term}"

    def __call__(self, one: str | None, other: str | None) -> str:
        """The agreed value."""
        if one is None or other is None:
            return ""
        comparison = _compared(self.knowledge, "name", one, other)
        if comparison.name not in self.levels:
            return ""
        return comparison.agreed_first if self.term == "first" else comparison.agreed_last


def level_functions(model: LinkageModel, knowledge: Knowledge) -> tuple[LevelFunction, ...]:
    """A function for each comparison, in the order of the model."""
    return tuple(LevelFunction(knowledge, name, tuple(model.levels[name])) for name in COMPARISONS)


def term_functions(model: LinkageModel, knowledge: Knowledge) -> tuple[TermFunction, ...]:
    """A function for each value whose frequency counts."""
    return tuple(
        TermFunction(knowledge, term, rule.levels) for term, rule in model.frequencies.items()
    )
