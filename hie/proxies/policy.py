"""What `config/proxy/*.toml` says: ages, kinds, scopes and labels, read once and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from consent.labels import LabelTable
from hie.kernel.errors import Category, HieError
from hie.store.residual import DIRECTORY_TYPES
from mpi.config_table import ConfigTable

DEFAULT: Final = "default"
_ANY: Final = "*"
_WHO: Final = ("minor", "adult")
_DOCUMENT: Final = "document"
_ACCEPTANCE: Final = "acceptance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What something lets through; `types` None = any."""

    types: frozenset[str] | None
    withheld_mask: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A bracket of age, from `years` to the next one's."""

    name: str
    years: int
    extent: Extent
    writes: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of relationship.

    Attributes:
        code: of v3-RoleCode, for RelatedPerson.
        is_of_minors: ends when the person comes of age; else it begins then.
        instead: of minors: what whoever records it for an adult can do.
        needs_acceptance: the patient appoints; it holds once the other side accepts.
        withheld_mask: kept back unless named in so many words.
    """

    name: str
    title: str
    code: str
    is_of_minors: bool
    needs_document: bool
    needs_acceptance: bool
    withheld_mask: int
    instead: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """What a minor may consent to alone, and by which law."""

    name: str
    law: str
    mask: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The law of a place about who may see in whose place."""

    title: str
    zone: ZoneInfo
    adult: int
    bands: tuple[Band, ...]
    alone: tuple[Alone, ...]
    kinds: Mapping[str, Kind]
    scopes: Mapping[str, Extent]
    titles: Mapping[str, str]

    def band_at(self, age: int) -> Band | None:
        """The bracket of an age; None from the adult age on."""
        if age >= self.adult:
            return None
        return next(band for band in reversed(self.bands) if band.years <= max(age, 0))

    @property
    def alone_mask(self) -> int:
        """Labels of what minors consent to alone."""
        mask = 0
        for one in self.alone:
            mask |= one.mask
        return mask


def load_policy(config: Path, regime: str, labels: LabelTable, types: Sequence[str]) -> Policy:
    """The policy of a regime, or the strictest where it has no file of its own.

    Args:
        config: the folder that holds `proxy/`.
        regime: file stem, as of `config/consent/`.
        labels: what the labels mean.
        types: every resource type.

    Raises:
        HieError: INVALID, naming file and key.
    """
    own = config / "proxy" / f"{regime}.toml"
    table = ConfigTable.read(own if own.exists() else config / "proxy" / f"{DEFAULT}.toml")
    return _Reader(table, labels, frozenset(types)).policy()


class _Reader:
    """Reads one file."""

    def __init__(self, table: ConfigTable, labels: LabelTable, types: frozenset[str]) -> None:
        self._table = table
        self._labels = labels
        self._known = types

    def policy(self) -> Policy:
        table = self._table
        scopes = table.sub("scope").subs()
        kinds = table.sub("kind").subs()
        policy = Policy(
            title=table.text("title"),
            zone=self._zone(),
            adult=int(table.number("adult")),
            bands=tuple(self._band(one) for one in table.tables("band")),
            alone=tuple(
                Alone(name=one.text("name"), law=one.text("law"), mask=self._mask(one, "labels"))
                for one in table.tables("alone")
            ),
            kinds={name: self._kind(name, one) for name, one in kinds},
            scopes={name: self._extent(one) for name, one in scopes},
            titles={name: one.text("title") for name, one in (*kinds, *scopes)},
        )
        years = [band.years for band in policy.bands]
        if not years or years[0] or years != sorted(set(years)) or years[-1] >= policy.adult:
            raise table.fault("band", "brackets from 0 years on, rising, below `adult`")
        return policy

    def _zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self._table.text("time_zone"))
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise self._table.fault("time_zone", "a name such as `America/New_York`") from error

    def _band(self, one: ConfigTable) -> Band:
        return Band(
            name=one.text("name"),
            years=int(one.number("from")),
            extent=self._extent(one),
            writes=self._named(one, "writes", ()),
        )

    def _kind(self, name: str, one: ConfigTable) -> Kind:
        who = one.text("who")
        if who not in _WHO:
            raise one.fault("who", "`minor` or `adult`")
        needs = set(one.texts("needs", ()))
        if not needs <= {_DOCUMENT, _ACCEPTANCE}:
            raise one.fault("needs", "`document`, `acceptance`")
        return Kind(
            name=name,
            title=one.text("title"),
            code=one.text("code"),
            is_of_minors=who == _WHO[0],
            needs_document=_DOCUMENT in needs,
            needs_acceptance=_ACCEPTANCE in needs,
            withheld_mask=self._mask(one, "withheld"),
            instead=one.text("instead") if who == _WHO[0] else "",
        )

    def _extent(self, one: ConfigTable) -> Extent:
        return Extent(types=self._types(one, "types"), withheld_mask=self._mask(one, "withheld"))

    def _types(self, one: ConfigTable, key: str) -> frozenset[str] | None:
        """The types that are named, and those about nobody; None = any."""
        if one.texts(key) == (_ANY,):
            return None
        return self._named(one, key) | DIRECTORY_TYPES

    def _named(
        self, one: ConfigTable, key: str, default: tuple[str, ...] | None = None
    ) -> frozenset[str]:
        names = frozenset(one.texts(key, default))
        if not names <= self._known:
            raise one.fault(key, "resource types of this hub")
        return names

    def _mask(self, one: ConfigTable, key: str) -> int:
        codings = [{"code": code} for code in one.texts(key, ())]
        mask = self._labels.denied(codings) if self._labels.knows(codings) else None
        if mask is None:
            raise one.fault(key, "labels of labels.toml, or a confidentiality above N")
        return mask


def unknown(field: str, known: Mapping[str, object]) -> HieError:
    """The refusal of a kind or a scope that the policy does not have."""
    text = f"`{field}`: expected one of {', '.join(sorted(known))}"
    return HieError(Category.INVALID, text)
