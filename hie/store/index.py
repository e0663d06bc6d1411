"""The search index: what every stored resource can be found by.

Built once from config/fhir/search.toml, types.toml, compartment.toml and directory.toml;
pure. A parameter's id and a type's id are the numbers of those files, as stored.
Spec: https://hl7.org/fhir/R4/search.html
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.store.dates import union
from hie.store.extract import IndexValue, date_span
from hie.store.paths import Walk
from hie.store.plans import (
    READERS,
    Row,
    SearchParam,
    TypePlan,
    bad,
    compile_type,
    compiled,
    definitions_of,
    digest,
)

__all__ = ["IndexValue", "RenewalError", "SearchIndex", "SearchParam", "load_index"]

PATIENT_REFERENCE: Final = re.compile(r"(^|/)Patient[/?]")
#: Table of search.toml whose rows are parameters of every type.
EVERY_TYPE: Final = "Resource"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a type stands towards patients, as paths of config/fhir."""

    clinical: tuple[tuple[tuple[str, Walk], ...], ...]
    compartment: tuple[tuple[str, Walk], ...]
    is_supporting: bool


class RenewalError(HieError):
    """A question whose index rows are not all there yet: it may be asked again later.

    Attributes:
        after_seconds: when that is worth it, as far as can be told.
    """

    def __init__(self, text: str, after_seconds: int) -> None:
        super().__init__(Category.BUSY, text)
        self.after_seconds = after_seconds


class SearchIndex:
    """Search parameters, types and compartment of the hub, compiled from their tables."""

    def __init__(
        self,
        types: Mapping[str, int],
        plans: Mapping[str, TypePlan],
        places: Mapping[str, _Place],
        directory: frozenset[str],
        table: tuple[Mapping[str, Mapping[str, Row]], Mapping[str, int], Mapping[str, str]],
    ) -> None:
        self._ids = dict(types)
        self._names = {number: name for name, number in types.items()}
        self._plans = dict(plans)
        self._places = dict(places)
        self._directory = directory
        self._rows, self._numbers, self._absent = table
        self._behind: frozenset[tuple[str, int]] = frozenset()
        self._renewal = ("", 0)
        self.types: tuple[str, ...] = tuple(sorted(types))
        #: Types outside every patient's compartment: what `$everything` adds when referred to.
        self.supporting_type_ids: frozenset[int] = frozenset(
            types[name] for name, place in places.items() if place.is_supporting
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

    def is_of_patients(self, type_name: str) -> bool:
        """Whether the type stands in the compartment of patients; no directory entry does."""
        return bool(self._places[type_name].compartment) and not self.is_directory(type_name)

    def param(self, type_name: str, name: str) -> SearchParam | None:
        """The parameter of that name, None where the type has none.

        Raises:
            RenewalError: while its rows are brought up to the table (`hie reindex`). Rows of the
                old table say something else by the same keys, and stand beside new ones: an
                answer would leave out what is there, or tell of what is not so.
        """
        param = self._plans[type_name].params.get(name)
        if param and self._behind and not self._is_ready(type_name, param):
            how_far, after_seconds = self._renewal
            text = (
                f"`{name}`: not answered while the index of {type_name} is being renewed{how_far}: "
                f"ask again in {after_seconds} s, or without this parameter; those that did not "
                "change are answered"
            )
            raise RenewalError(text, after_seconds)
        return param

    def _is_ready(self, type_name: str, param: SearchParam) -> bool:
        return not any((type_name, number) in self._behind for number in param.param_ids)

    def absent(self, type_name: str, name: str) -> str:
        """Why the hub lacks a parameter that the standard has; "" for any other name."""
        return self._absent.get(f"{type_name}.{name}", "")

    def params(self, type_name: str) -> tuple[SearchParam, ...]:
        """All parameters of a type, in the order of its table."""
        return tuple(self._plans[type_name].params.values())

    def values(self, resource: FhirJson) -> tuple[IndexValue, ...]:
        """The index rows of a resource, each once; references already point to hub ids."""
        return tuple(dict.fromkeys(self.found(resource)))

    def found(self, resource: FhirJson) -> Iterator[IndexValue]:
        """The same, some of them perhaps several times."""
        plan = self._plans[resource["resourceType"]]
        readings, wholes = plan.readings, plan.wholes
        for name, value in resource.items():
            for reading in readings.get(name, ()):
                for leaf in reading.walk(value):
                    yield from reading.convert(reading.field, leaf)
            for whole in wholes.get(name, ()):
                yield from whole(resource)

    @cached_property
    def table_digest(self) -> str:
        """Of everything that decides which rows a resource has; the same table has the same."""
        return digest([self._rows, self._ids, self._numbers, dict(READERS)], 16)

    @cached_property
    def definitions(self) -> Mapping[str, str]:
        """By `type number/parameter number`: a digest of what makes its rows."""
        return {
            f"{self._ids[name]}/{number}": made
            for name, rows in self._rows.items()
            for number, made in definitions_of(rows, self._numbers).items()
        }

    def hold_back(
        self, definitions: Mapping[str, str] | None, how_far: str = "", after_seconds: int = 5
    ) -> None:
        """Refuse questions whose rows are not all there yet.

        Args:
            definitions: those that the stored rows were written by; None = the present ones.
            how_far: what whoever asks is told of it, after a space.
            after_seconds: when to ask again.
        """
        self._renewal = (how_far, after_seconds)
        behind = () if definitions is None else self.behind(definitions)
        self._behind = frozenset((self._names[kind], number) for kind, number in behind)

    def behind(self, definitions: Mapping[str, str]) -> set[tuple[int, int]]:
        """Type and parameter numbers whose rows would be others than by those definitions."""
        keys = (key for key, made in self.definitions.items() if definitions.get(key) != made)
        return {(int(kind), int(number)) for kind, number in (key.split("/") for key in keys)}

    def clinical_period(self, resource: FhirJson) -> tuple[int, int] | None:
        """The time [lo, hi) in µs a resource is about, for Consents on a data period."""
        for group in self._places[resource["resourceType"]].clinical:
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
        leaves = _leaves(self._places[resource["resourceType"]].compartment, resource)
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
    absent: dict[str, str] = search.pop("absent", {})
    public = _table(folder, "directory.toml")
    directory = frozenset(public.get("types", ()))
    definitions = frozenset(public.get("definitions", ()))
    paths = {**compartment.get("compartment", {}), **compartment.get("beyond", {})}
    for place, named in (
        ("search.toml", set(search) - {EVERY_TYPE}),
        ("types.toml", types.get("clinical", {})),
        ("compartment.toml", paths),
        ("directory.toml", directory | definitions),
    ):
        for name in set(named) - set(type_ids):
            raise bad(place, name, "a resource type of types.toml")
    everywhere = search.pop(EVERY_TYPE, {})
    rows = {name: {**everywhere, **search.get(name, {})} for name in type_ids}
    plans = {name: compile_type(name, rows[name], ids, directory) for name in type_ids}
    places = {
        name: _Place(
            clinical=tuple(
                tuple(compiled("types.toml", name, group))
                for group in types.get("clinical", {}).get(name, ())
            ),
            compartment=tuple(compiled("compartment.toml", name, paths.get(name, ()))),
            # A type of [beyond] may be a person's or nobody's: a device, a picture.
            is_supporting=name not in compartment.get("compartment", {}),
        )
        for name in type_ids
    }
    for name in set(plans) - directory - definitions:
        _check_texts(name, plans[name])
    return SearchIndex(type_ids, plans, places, directory, (rows, ids, absent))


def _check_texts(type_name: str, plan: TypePlan) -> None:
    for param in plan.params.values():
        if param.type == "string" and not param.is_blind:
            key = f"{type_name}.{param.name}"
            raise bad("search.toml", key, "`blind`: text of a record is not kept in clear")


def _table(folder: Path, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads((folder / file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise bad(file, "", "a readable TOML file") from error


def _numbers(file: str, table: Any) -> dict[str, int]:
    if not isinstance(table, dict) or not all(type(n) is int for n in table.values()):
        raise bad(file, "ids", "a table of whole numbers")
    if len(set(table.values())) != len(table):
        raise bad(file, "ids", "every number once")
    return table
