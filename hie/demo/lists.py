"""The demo's own lists - names, towns, diagnoses, tests, medicines - read from `config/demo`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from hie.kernel.errors import Category, HieError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """A place to live: where its people go first, and how many live there (`weight`)."""

    name: str
    zip_code: str
    area: str
    hospital: str
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Towns and streets of the invented state."""

    state: str
    country: str
    streets: tuple[str, ...]
    kinds: tuple[str, ...]
    towns: tuple[Town, ...]


@dataclass(frozen=True, slots=True)
class Clinician:
    """A doctor of the demo; `number` has an NPI's form and cannot be one."""

    number: str
    family: str
    given: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Family names; given names by sex and age band (`older`, `adult`, `child`)."""

    family: tuple[str, ...]
    given: Mapping[str, Mapping[str, tuple[str, ...]]]
    nickname: Mapping[str, str]
    clinicians: tuple[Clinician, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A lasting diagnosis and what follows from it; `weight` in percent of those of age."""

    code: str
    text: str
    weight: int
    from_age: int
    medicines: tuple[str, ...]
    panels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why somebody comes today; `setting` is E, O or I (PV1-2)."""

    code: str
    text: str
    setting: str
    weight: int
    from_age: int
    to_age: int = 120
    medicines: tuple[str, ...]
    panels: tuple[str, ...]
    vaccines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Medicine:
    """A medicine as prescribed: RxNorm code, directions, quantity."""

    code: str
    text: str
    sig: str
    form: str
    dose: int
    quantity: int
    refills: int
    route: str = "PO"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vaccine:
    """A vaccine: CVX and MVX codes."""

    cvx: str
    text: str
    mvx: str
    maker: str
    lot: str
    from_age: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Allergy:
    """An allergy; `kind` is HL7 table 0127, `severity` table 0128, `code` RxNorm or empty."""

    kind: str
    code: str
    text: str
    reaction: str
    severity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabTest:
    """One result of a panel: a number with a range, a detection limit, or one of `answers`."""

    code: str
    text: str
    local: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    digits: int = 0
    spread: float = 1.0
    less_than: float | None = None
    answers: tuple[str, ...] = ()
    normal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What is ordered together; `code` is LOINC, or empty where only a local code exists."""

    code: str
    text: str
    local: str
    specimen: tuple[str, ...]
    tests: tuple[LabTest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteForm:
    """A kind of document: LOINC type, HL7 table 0270 kind, lines with braces to fill in."""

    setting: str
    kind: str
    code: str
    text: str
    body: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clinical:
    """Everything that can happen to a person's health here."""

    conditions: tuple[Condition, ...]
    reasons: tuple[Reason, ...]
    medicines: Mapping[str, Medicine]
    vaccines: Mapping[str, Vaccine]
    allergies: tuple[Allergy, ...]
    panels: Mapping[str, Panel]
    notes: tuple[NoteForm, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heroine:
    """The person the summary shows: whom she denies, which organisation reads beside it."""

    given: str
    middle: str
    family: str
    sex: str
    birth_date: date
    conditions: tuple[str, ...]
    held_codes: tuple[str, ...]
    denied: str
    reader: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldPlan:
    """Sizes, chances (percent) and floors of the world; `as_of` is the day the story ends."""

    seed: int
    as_of: date
    households: Mapping[str, int]
    cases: Mapping[str, int]
    placeholder_ssns: tuple[str, ...]
    chances: Mapping[str, int]
    heroine: Heroine
    floors: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """How one source writes; see config/demo/senders.toml.

    Attributes:
        wire: `tls` (with a client certificate of its own) or `plain`.
        authority: CX-4 as namespace, universal id, universal id type.
        system: the FHIR identifier system of that authority.
        number: how the source writes its own patient numbers, a format string.
        is_capitals: names in capitals without accents, as old systems keep them.
        mistakes: names in `hie.demo.parcels` of what it gets wrong once.
    """

    source: str
    kind: str
    wire: str
    application: str
    facility: str
    version: str
    delimiters: str
    charset: str
    codec: str
    has_structure: bool
    has_offset: bool
    authority: tuple[str, str, str]
    system: str
    number: str
    diagnosis_system: str
    local_system: str
    has_loinc: bool
    document: str
    z_segment: str
    sends_fhir: bool = False
    sends_prescriptions: bool = True
    mistakes: tuple[str, ...] = ()
    is_capitals: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """All of `config/demo`; senders by source id."""

    names: Names
    places: Places
    clinical: Clinical
    plan: WorldPlan
    senders: Mapping[str, Sender]


def load_lists(folder: Path) -> Lists:
    """The lists of `folder` (config/demo).

    Raises:
        HieError: INVALID naming the file or key when one is missing, unreadable or incomplete.
    """
    try:
        return _lists(folder)
    except KeyError as error:
        raise HieError(
            Category.INVALID, f"config/demo: expected the key `{error.args[0]}`"
        ) from error


def _lists(folder: Path) -> Lists:
    return Lists(
        names=_names(_read(folder / "names.toml")),
        places=_places(_read(folder / "places.toml")),
        clinical=_clinical(_read(folder / "clinical.toml"), _read(folder / "labs.toml")),
        plan=_plan(_read(folder / "world.toml")),
        senders={
            row["source"]: _row(Sender, row, "senders.toml")
            for row in _read(folder / "senders.toml")["sender"]
        },
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HieError(
            Category.INVALID, f"`{path.name}`: expected a readable TOML file in config/demo"
        ) from error


def _row(form: type[T], values: Mapping[str, Any], file: str) -> T:
    """`values` as a dataclass; TOML arrays become tuples."""
    frozen = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return form(**frozen)
    except TypeError as error:
        raise HieError(
            Category.INVALID, f"`{file}`: expected the keys of {form.__name__}: {error}"
        ) from error


def _rows(form: type[T], values: list[dict[str, Any]], file: str) -> tuple[T, ...]:
    return tuple(_row(form, value, file) for value in values)


def _names(data: dict[str, Any]) -> Names:
    return Names(
        family=tuple(data["family"]),
        given={
            sex: {band: tuple(names) for band, names in bands.items()}
            for sex, bands in data["given"].items()
        },
        nickname=data["nickname"],
        clinicians=tuple(Clinician(*row) for row in data["clinician"]["names"]),
    )


def _places(data: dict[str, Any]) -> Places:
    towns = _rows(Town, data.pop("town"), "places.toml")
    return _row(Places, {**data, "towns": towns}, "places.toml")


def _clinical(data: dict[str, Any], labs: dict[str, Any]) -> Clinical:
    file = "clinical.toml"
    return Clinical(
        conditions=_rows(Condition, data["condition"], file),
        reasons=_rows(Reason, data["reason"], file),
        medicines={key: _row(Medicine, row, file) for key, row in data["medicine"].items()},
        vaccines={key: _row(Vaccine, row, file) for key, row in data["vaccine"].items()},
        allergies=_rows(Allergy, data["allergy"], file),
        panels={key: _panel(row) for key, row in labs["panel"].items()},
        notes=_rows(NoteForm, data["note"], file),
    )


def _panel(data: dict[str, Any]) -> Panel:
    tests = _rows(LabTest, data.pop("test"), "labs.toml")
    return _row(Panel, {**data, "tests": tests}, "labs.toml")


def _plan(data: dict[str, Any]) -> WorldPlan:
    file = "world.toml"
    placeholders = data.pop("placeholders")
    heroine = _row(Heroine, data.pop("heroine"), file)
    ssns = tuple(placeholders["ssn"])
    return _row(WorldPlan, {**data, "placeholder_ssns": ssns, "heroine": heroine}, file)
