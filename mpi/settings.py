"""What `config/mpi/` says, read once into frozen values.

Every fault names the file, the key and the kind of value expected.
"""

import csv
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from hie.kernel.errors import Category, HieError
from mpi.config_table import ConfigTable
from mpi.levels import COMBINED, COMPARISONS, FUZZY


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRule:
    """Which values of one field are defaults: patterns for the whole value, and a list."""

    patterns: tuple[re.Pattern[str], ...] = ()
    values: frozenset[str] = frozenset()

    def matches(self, value: str) -> bool:
        """Whether the value stands for "not known"."""
        return value in self.values or any(p.fullmatch(value) for p in self.patterns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """Values that count neither for nor against a match (`defaults.toml`).

    Attributes:
        oldest_years, latest_days: the span of credible birth dates around today.
        shared: by kind of value, how many persons may hold it before it is nobody's evidence.
    """

    ssn: ValueRule
    ssn_last4: frozenset[str]
    phone: ValueRule
    email: ValueRule
    email_local: ValueRule
    birth_date: ValueRule
    oldest_years: int
    latest_days: int
    given: ValueRule
    surname: ValueRule
    pairs: frozenset[str]
    address: ValueRule
    zips: frozenset[str]
    identifier: ValueRule
    shared: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forms:
    """How names, addresses and identifiers are brought to one form (`normalize.toml`)."""

    particles: frozenset[str]
    titles: frozenset[str]
    suffixes: Mapping[str, str]
    address_words: Mapping[str, str]
    units: frozenset[str]
    person_types: frozenset[str]
    single_types: frozenset[str]
    ssn_systems: frozenset[str]
    itin_types: frozenset[str]
    mbi_systems: frozenset[str]
    legal_types: frozenset[str]
    member_types: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One outcome of a comparison: m = P(level | one person), u = P(level | two).

    Attributes:
        f: P(level | two of one household), where the model tells them from strangers; else 0.
    """

    m: float
    u: float
    f: float = 0.0

    @property
    def bits(self) -> float:
        """The level's match weight, log2(m / u)."""
        return math.log2(self.m / self.u)


@dataclass(frozen=True, slots=True, kw_only=True)
class TermFrequency:
    """How agreement on a rare value weighs more than on a common one.

    Attributes:
        average: share of the value that two persons typically agree on.
        most: largest adjustment either way, in bits.
        levels: levels of the name comparison that agree exactly on this field.
        shares: shares known beforehand, by folded value.
        rarest: share of a value that is not among them; 0 where that says nothing.
    """

    average: float
    most: float
    levels: frozenset[str]
    shares: Mapping[str, float]
    rarest: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where decisions change, in bits; and how many candidates are looked at.

    Attributes:
        auto: at which the best record of a person links, if nothing speaks against.
        probable, certain: from which match-grades begin; a grade is no decision.
        review, family: from which a human is asked; `family` where the guard sees one.
        margin: between the best person and the next.
        mean, unscored: least mean over a person's records; what one not compared adds to it.
        persons, members: how many candidates, and how many records of each, are compared.
    """

    auto: float
    probable: float
    certain: float
    review: float
    family: float
    margin: float
    mean: float
    unscored: float
    persons: int
    members: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySpec:
    """A kind of blocking key.

    Attributes:
        parts: fields whose values, all present, make the key.
        second: the field added once the key is full; empty for values that are then shared.
        shared: key of `Defaults.shared` for single values; empty for the others.
    """

    name: str
    parts: tuple[str, ...]
    second: str = ""
    shared: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """Fields that identify a person on their own, and the chance that two persons share them.

    Attributes:
        fuzzy_fields: of `fields`, those of which one may agree but for one edit or one day.
        exact, fuzzy: probability of collision; `fuzzy` is 0 where nothing may be fuzzy.
    """

    id: str
    fields: frozenset[str]
    fuzzy_fields: frozenset[str]
    exact: float
    fuzzy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkageModel:
    """Everything that decides whether two records are one person (`linkage.toml`).

    Attributes:
        levels: by comparison, then by level.
        family_bits: log2 odds that two records are of two people of one household rather than
            of strangers; None where u is of both, and nothing tells them apart.
        text: the file as read: what is kept as this version of the model.
    """

    version: str
    prior_bits: float
    thresholds: Thresholds
    levels: Mapping[str, Mapping[str, Level]]
    frequencies: Mapping[str, TermFrequency]
    keys: tuple[KeySpec, ...]
    key_cap: int
    keys_per_record: int
    combinations: tuple[Combination, ...]
    family_bits: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivorshipRules:
    """Which value of several records survives, per element of Patient.

    Attributes:
        elements: element of Patient, then the rule.
        trusted: `meta.source` of the records that come first.
        defaults: values that stand for "not known": they yield to any other.
    """

    elements: Mapping[str, str]
    trusted: tuple[str, ...]
    defaults: Defaults


@dataclass(frozen=True, slots=True, kw_only=True)
class MpiSettings:
    """All of `config/mpi/`; and the systems that sources number their patients by."""

    model: LinkageModel
    defaults: Defaults
    forms: Forms
    given_names: frozenset[str]
    survivorship: SurvivorshipRules
    record_systems: frozenset[str] = frozenset()


def load_mpi_settings(folder: Path, record_systems: frozenset[str] = frozenset()) -> MpiSettings:
    """The settings of a `config/mpi` folder; `record_systems` are said by the sources' files.

    Raises:
        HieError: INVALID; the text names file, key and kind of value.
    """
    defaults = _defaults(ConfigTable.read(folder / "defaults.toml"))
    return MpiSettings(
        model=load_model(folder / "linkage.toml"),
        defaults=defaults,
        forms=_forms(ConfigTable.read(folder / "normalize.toml")),
        given_names=_names(folder / "given_names.csv"),
        survivorship=_survivorship(ConfigTable.read(folder / "survivorship.toml"), defaults),
        record_systems=record_systems,
    )


def load_model(path: Path) -> LinkageModel:
    """The linkage model of one file."""
    return _model(ConfigTable.read(path), path.read_text(encoding="utf-8"))


def read_model(text: str, name: str) -> LinkageModel:
    """The linkage model of a text; faults call it by the name."""
    return _model(ConfigTable(tomllib.loads(text), Path(name)), text)


def _model(table: ConfigTable, text: str) -> LinkageModel:
    blocking, named = table.sub("blocking"), table.keys()
    return LinkageModel(
        version=table.text("version"),
        prior_bits=table.number("prior_bits"),
        family_bits=table.number("family_bits") if "family_bits" in named else None,
        thresholds=_thresholds(table.sub("thresholds")),
        levels=MappingProxyType(
            {name: _levels(table.sub("comparison").sub(name), name) for name in COMPARISONS}
        ),
        frequencies=MappingProxyType(
            {name: _frequency(sub) for name, sub in table.sub("frequency").subs()}
        ),
        keys=tuple(_key(sub) for sub in blocking.tables("key")),
        key_cap=int(blocking.number("cap")),
        keys_per_record=int(blocking.number("most_per_record")),
        combinations=tuple(_combination(sub) for sub in table.tables("combination")),
        text=text,
    )


def _thresholds(table: ConfigTable) -> Thresholds:
    return Thresholds(
        auto=table.number("auto"),
        probable=table.number("probable"),
        certain=table.number("certain"),
        review=table.number("review"),
        family=table.number("family"),
        margin=table.number("margin"),
        mean=table.number("mean"),
        unscored=table.number("unscored"),
        persons=int(table.number("persons")),
        members=int(table.number("members")),
    )


def _levels(table: ConfigTable, comparison: str) -> Mapping[str, Level]:
    known = {level.value for level in COMPARISONS[comparison]}
    if unknown := sorted(set(table.keys()) - known):
        raise table.fault(unknown[0], f"a level of `{comparison}`: {', '.join(sorted(known))}")
    levels = {}
    for name, sub in table.subs():
        m, u, f = sub.number("m"), sub.number("u"), sub.number("f", 0.0)
        if not (0 < m < 1 and 0 < u < 1 and 0 <= f < 1):
            raise table.fault(name, "m and u, and f where there is one, between 0 and 1")
        levels[name] = Level(m=m, u=u, f=f)
    return MappingProxyType(levels)


def _frequency(table: ConfigTable) -> TermFrequency:
    return TermFrequency(
        average=table.number("average"),
        most=table.number("most"),
        levels=frozenset(table.texts("levels")),
        shares=table.sub("shares").numbers(),
        rarest=table.number("rarest", 0.0),
    )


def _key(table: ConfigTable) -> KeySpec:
    return KeySpec(
        name=table.text("name"),
        parts=table.texts("parts"),
        second=table.text("second", ""),
        shared=table.text("shared", ""),
    )


def _combination(table: ConfigTable) -> Combination:
    written = table.texts("fields")
    fields = frozenset(field.rstrip("*") for field in written)
    fuzzy_fields = frozenset(field[:-1] for field in written if field.endswith("*"))
    exact, fuzzy = table.number("exact"), table.number("fuzzy", 0.0)
    if len(fields) < 2 or not fields <= COMBINED:
        raise table.fault("fields", f"two or more of {', '.join(sorted(COMBINED))}")
    if fields <= {"first", "last", "birth"}:
        raise table.fault("fields", "more than names and a birth date, which strangers share")
    if not fuzzy_fields <= FUZZY:
        raise table.fault("fields", f"`*` only at {', '.join(sorted(FUZZY))}")
    if not 0 < exact < 1 or not 0 <= fuzzy < 1 or (fuzzy > 0) != bool(fuzzy_fields):
        raise table.fault("exact", "a probability, and `fuzzy` another where a field has `*`")
    return Combination(
        id=table.text("id"), fields=fields, fuzzy_fields=fuzzy_fields, exact=exact, fuzzy=fuzzy
    )


def _defaults(table: ConfigTable) -> Defaults:
    name, birth = table.sub("name"), table.sub("birth_date")
    return Defaults(
        ssn=_rule(table.sub("ssn")),
        ssn_last4=frozenset(table.sub("ssn").texts("last4")),
        phone=_rule(table.sub("phone")),
        email=_rule(table.sub("email")),
        email_local=_rule(table.sub("email"), "local_patterns", ""),
        birth_date=_rule(birth),
        oldest_years=int(birth.number("oldest_years")),
        latest_days=int(birth.number("latest_days")),
        given=_rule(name, "given_patterns"),
        surname=_rule(name, "surname_patterns"),
        pairs=frozenset(name.texts("pairs")),
        address=_rule(table.sub("address")),
        zips=frozenset(table.sub("address").texts("zips")),
        identifier=_rule(table.sub("identifier")),
        shared=table.sub("shared").numbers(),
    )


def _forms(table: ConfigTable) -> Forms:
    name, address, identifier = table.sub("name"), table.sub("address"), table.sub("identifier")
    return Forms(
        particles=frozenset(name.texts("particles")),
        titles=frozenset(name.texts("titles")),
        suffixes=name.sub("suffix").strings(),
        address_words=address.sub("words").strings(),
        units=frozenset(address.texts("units")),
        person_types=frozenset(identifier.texts("person_types")),
        single_types=frozenset(identifier.texts("single_types")),
        ssn_systems=frozenset(identifier.texts("ssn_systems")),
        itin_types=frozenset(identifier.texts("itin_types")),
        mbi_systems=frozenset(identifier.texts("mbi_systems")),
        legal_types=frozenset(identifier.texts("legal_types")),
        member_types=frozenset(identifier.texts("member_types")),
    )


def _survivorship(table: ConfigTable, defaults: Defaults) -> SurvivorshipRules:
    return SurvivorshipRules(
        elements=table.sub("elements").strings(),
        trusted=table.texts("trusted", ()),
        defaults=defaults,
    )


def _names(path: Path) -> frozenset[str]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(line for line in file if not line.startswith("#"))
            return frozenset(row["name"] for row in rows)
    except (OSError, KeyError, csv.Error) as error:
        text = f"`{path.name}` cannot be read: expected a CSV file with a column `name`"
        raise HieError(Category.INVALID, text) from error


def _rule(table: ConfigTable, patterns: str = "patterns", values: str = "values") -> ValueRule:
    """A value rule; both keys may be absent."""
    try:
        compiled = tuple(re.compile(pattern) for pattern in table.texts(patterns, ()))
    except re.error as error:
        raise table.fault(patterns, "regular expressions") from error
    return ValueRule(patterns=compiled, values=frozenset(table.texts(values, ())))
