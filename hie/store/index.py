"""The search index: what every stored resource can be found by.

Built once from config/fhir/search.toml, types.toml, compartment.toml and directory.toml;
pure. A parameter's id and a type's id are the numbers of those files, as stored.
Spec: https://hl7.org/fhir/R4/search.html
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.store.dates import union
from hie.store.extract import (
    CONVERTERS,
    Convert,
    Field,
    IndexValue,
    Kind,
    Walk,
    compile_path,
    date_span,
)

__all__ = ["IndexValue", "SearchIndex", "SearchParam", "load_index"]

PATIENT_REFERENCE: Final = re.compile(r"(^|/)Patient[/?]")
ROW_KEYS: Final = frozenset(
    {"type", "paths", "covers", "targets", "system", "as", "blind", "person"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchParam:
    """What may be asked of one resource type under one name.

    Attributes:
        name: `birthdate`.
        id: its own number; rows may also stand under the numbers of what it covers.
        param_ids: the numbers whose rows answer it, in a fixed order.
        type: FHIR search type: token, date, string, number, quantity, uri, reference.
        kind: the index table of its rows; `blind` where they are keyed hashes.
        targets: the types a reference may point to; () = any.
        is_contact: values are telephone numbers and addresses, compared by `blind.contact`.
        person: "first" or "any" where a reference to a Patient is answered by the
            resource's person; else "".
    """

    name: str
    id: int
    param_ids: tuple[int, ...]
    type: str
    kind: Kind
    is_blind: bool = False
    targets: tuple[str, ...] = ()
    is_contact: bool = False
    person: str = ""


@dataclass(frozen=True, slots=True)
class _Reading:
    walk: Walk
    convert: Convert
    field: Field


@dataclass(frozen=True, slots=True, kw_only=True)
class _TypePlan:
    params: Mapping[str, SearchParam]
    readings: Mapping[str, tuple[_Reading, ...]]
    clinical: tuple[tuple[tuple[str, Walk], ...], ...]
    compartment: tuple[tuple[str, Walk], ...]
    is_supporting: bool


class SearchIndex:
    """Search parameters, types and compartment of the hub, compiled from their tables."""

    def __init__(
        self, types: Mapping[str, int], plans: Mapping[str, _TypePlan], directory: frozenset[str]
    ) -> None:
        self._ids = dict(types)
        self._names = {number: name for name, number in types.items()}
        self._plans = dict(plans)
        self._directory = directory
        self.types: tuple[str, ...] = tuple(sorted(types))
        #: Types outside every patient's compartment: what `$everything` adds when referred to.
        self.supporting_type_ids: frozenset[int] = frozenset(
            types[name] for name, plan in plans.items() if plan.is_supporting
        )

    def has_type(self, type_name: str) -> bool:
        """Whether this is a resource type of FHIR R4."""
        return type_name in self._ids

    def type_id(self, type_name: str) -> int:
        """The number of a resource type; KeyError for a name that is none."""
        return self._ids[type_name]

    def type_name(self, type_id: int) -> str:
        """The resource type of a number."""
        return self._names[type_id]

    def is_directory(self, type_name: str) -> bool:
        """Whether the type is of the directory: who and where, never about a patient."""
        return type_name in self._directory

    def param(self, type_name: str, name: str) -> SearchParam | None:
        """The parameter of that name, None where the type has none."""
        return self._plans[type_name].params.get(name)

    def params(self, type_name: str) -> tuple[SearchParam, ...]:
        """All parameters of a type, in the order of its table."""
        return tuple(self._plans[type_name].params.values())

    def values(self, resource: FhirJson) -> tuple[IndexValue, ...]:
        """The index rows of a resource, each once; references already point to hub ids."""
        readings = self._plans[resource["resourceType"]].readings
        found: dict[IndexValue, None] = {}
        for name, value in resource.items():
            for reading in readings.get(name, ()):
                for leaf in reading.walk(value):
                    for row in reading.convert(reading.field, leaf):
                        found[row] = None
        return tuple(found)

    def clinical_period(self, resource: FhirJson) -> tuple[int, int] | None:
        """The time [lo, hi) in µs a resource is about, for Consents on a data period."""
        for group in self._plans[resource["resourceType"]].clinical:
            spans = (date_span(leaf) for leaf in _leaves(group, resource))
            period = union([span for span in spans if span])
            if period:
                return period
        return None

    def patients_of(self, kind: str, key: str, resource: FhirJson) -> tuple[str, ...]:
        """Ids of the Patients in whose compartments a resource is, the first its own.

        A Patient is in its own; a directory entry is in none, whoever it names.
        """
        if kind == "Patient":
            return (key,)
        if self.is_directory(kind):
            return ()
        named = (
            reference.split("/")[1]
            for reference in self.compartment_references(resource)
            if reference.startswith("Patient/")
        )
        return tuple(dict.fromkeys(named))

    def compartment_references(self, resource: FhirJson) -> tuple[str, ...]:
        """The references to a Patient that put a resource into patients' records.

        Literal, in any form (`Patient/1`, absolute, `Patient?identifier=…`), once each, the
        one that says whose the resource is first. References in `urn:` form are not known to
        be a Patient: resolve them before.
        """
        leaves = _leaves(self._plans[resource["resourceType"]].compartment, resource)
        literals = (leaf.get("reference") for leaf in leaves if isinstance(leaf, dict))
        found = (r for r in literals if isinstance(r, str) and PATIENT_REFERENCE.search(r))
        return tuple(dict.fromkeys(found))


def _leaves(paths: Iterable[tuple[str, Walk]], resource: FhirJson) -> Iterable[Any]:
    for name, walk in paths:
        if name in resource:
            yield from walk(resource[name])


def load_index(folder: Path) -> SearchIndex:
    """The index described by the tables of config/fhir.

    Raises:
        HieError: INVALID naming file, key and what is expected there.
    """
    search, types = _table(folder, "search.toml"), _table(folder, "types.toml")
    compartment = _table(folder, "compartment.toml")
    ids: dict[str, int] = _numbers("search.toml", search.pop("ids", None))
    type_ids = _numbers("types.toml", types.get("ids"))
    directory = frozenset(_table(folder, "directory.toml").get("types", ()))
    paths = {**compartment.get("compartment", {}), **compartment.get("beyond", {})}
    for place, named in (
        ("search.toml", search),
        ("types.toml", types.get("clinical", {})),
        ("compartment.toml", paths),
        ("directory.toml", directory),
    ):
        for name in set(named) - set(type_ids):
            raise _bad(place, name, "a resource type of types.toml")
    plans = {
        name: _TypePlan(
            params=_params(name, search.get(name, {}), ids),
            readings=_readings(name, search.get(name, {}), ids),
            clinical=tuple(
                tuple(_compiled("types.toml", name, group))
                for group in types.get("clinical", {}).get(name, ())
            ),
            compartment=tuple(_compiled("compartment.toml", name, paths.get(name, ()))),
            # A type of [beyond] may be a person's or nobody's: a device, a picture.
            is_supporting=name not in compartment.get("compartment", {}),
        )
        for name in type_ids
    }
    return SearchIndex(type_ids, plans, directory)


def _bad(file: str, key: str, expected: str) -> HieError:
    place = f"`config/fhir/{file}` `{key}`" if key else f"`config/fhir/{file}`"
    return HieError(Category.INVALID, f"{place}: expected {expected}")


def _table(folder: Path, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads((folder / file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _bad(file, "", "a readable TOML file") from error


def _numbers(file: str, table: Any) -> dict[str, int]:
    if not isinstance(table, dict) or not all(type(n) is int for n in table.values()):
        raise _bad(file, "ids", "a table of whole numbers")
    if len(set(table.values())) != len(table):
        raise _bad(file, "ids", "every number once")
    return table


def _compiled(file: str, key: str, paths: Any) -> Iterable[tuple[str, Walk]]:
    if not isinstance(paths, list | tuple):
        raise _bad(file, key, "a list of paths")
    for path in paths:
        try:
            yield compile_path(path)
        except (ValueError, TypeError) as error:
            raise _bad(file, key, "paths such as `name.family`") from error


def _params(
    type_name: str, rows: Mapping[str, Any], ids: Mapping[str, int]
) -> dict[str, SearchParam]:
    params = {}
    for name, row in rows.items():
        key = f"{type_name}.{name}"
        if not isinstance(row, dict) or set(row) - ROW_KEYS or row.get("type") not in CONVERTERS:
            raise _bad("search.toml", key, f"a table of {', '.join(sorted(ROW_KEYS))}")
        covered = row.get("covers", [])
        for used in (name, *covered):
            if used not in ids or used not in rows:
                raise _bad("search.toml", key, f"`{used}` among [ids] and the type's rows")
        own = (ids[name],) if row.get("paths") else ()
        is_blind = bool(row.get("blind"))
        params[name] = SearchParam(
            name=name,
            id=ids[name],
            param_ids=(*own, *(ids[used] for used in covered)),
            type=row["type"],
            kind="blind" if is_blind else CONVERTERS[row["type"]][1],
            is_blind=is_blind,
            targets=tuple(row.get("targets", ())),
            is_contact=row.get("as") == "contact",
            person=row.get("person", ""),
        )
    return params


def _readings(
    type_name: str, rows: Mapping[str, Any], ids: Mapping[str, int]
) -> dict[str, tuple[_Reading, ...]]:
    readings: dict[str, tuple[_Reading, ...]] = {}
    for name, row in rows.items():
        field = Field(
            param=name,
            param_id=ids[name],
            system=row.get("system", ""),
            is_contact=row.get("as") == "contact",
            is_blind=bool(row.get("blind")),
            is_person=bool(row.get("person")),
        )
        convert = CONVERTERS[row["type"]][0]
        for first, walk in _compiled("search.toml", f"{type_name}.{name}", row.get("paths", ())):
            readings[first] = (*readings.get(first, ()), _Reading(walk, convert, field))
    return readings
