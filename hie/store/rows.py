"""Index values as rows of the `sp_*` tables; patient data as keyed hashes only (pure)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Table

from hie.crypto import KeyRing
from hie.kernel.fhir import FhirJson, objects, split_reference
from hie.store.index import IndexValue, SearchIndex
from hie.store.tables import (
    sp_composite,
    sp_date,
    sp_number,
    sp_quantity,
    sp_ref,
    sp_string,
    sp_token,
    sp_uri,
)

INDEX_TABLES: Final = (
    sp_token,
    sp_date,
    sp_string,
    sp_number,
    sp_quantity,
    sp_uri,
    sp_ref,
    sp_composite,
)
#: `sp_token.param_id` of codes that no parameter of the type reads: a deny by code sees them.
BEYOND: Final = 0
#: `sp_ref.param_id` of what a resource refers to outside every patient's compartment.
SUPPORTING: Final = 0

Rows = Iterator[tuple[Table, dict[str, Any]]]


class IndexRows:
    """Makes the index rows of a resource."""

    def __init__(self, index: SearchIndex, ring: KeyRing) -> None:
        self._index = index
        self._ring = ring
        self._by_kind: dict[str, Callable[[IndexValue, Sequence[str]], Rows]] = {
            "token": _token,
            "date": _date,
            "string": lambda v, _: iter([(sp_string, {"value": (v.value or "")[:300]})]),
            "uri": lambda v, _: iter([(sp_uri, {"value": v.value or ""})]),
            "number": lambda v, _: iter([(sp_number, {"lo": v.lo, "hi": v.hi})]),
            "quantity": _quantity,
            "ref": self._reference,
        }

    def of(self, type_name: str, resource: FhirJson, persons: Sequence[str]) -> Rows:
        """Every row but for its `resource_pk`, once each.

        Args:
            type_name: its FHIR type.
            resource: references resolved to hub ids.
            persons: in whose compartments the resource is.
        """
        owners = list(dict.fromkeys(persons)) or [""]
        type_id = self._index.type_id(type_name)
        seen: set[tuple[Any, ...]] = set()
        for table, row in self._rows(resource, owners):
            identity = (table, *row.values())
            if identity not in seen:
                seen.add(identity)
                row["type_id"] = type_id
                yield table, row

    def _rows(self, resource: FhirJson, owners: Sequence[str]) -> Rows:
        codes: set[tuple[str, str]] = set()
        for value in self._index.values(resource):
            build = self._blind if value.is_blind else self._by_kind[value.kind]
            if value.kind == "token":
                codes.add((value.system, value.code))
            for table, row in build(value, owners):
                row["param_id"] = value.param_id
                yield table, row
        yield from self._beyond(resource, owners, codes)

    def _beyond(
        self, resource: FhirJson, owners: Sequence[str], codes: set[tuple[str, str]]
    ) -> Rows:
        """What no search parameter reads: codes a Consent may name, and supporting resources."""
        for element in objects(resource):
            code, system = element.get("code"), element.get("system")
            if type(code) is str and type(system) is str and (system, code) not in codes:
                codes.add((system, code))
                for person in owners:
                    row = {"system": system[:200], "code": code[:200], "person_id": person}
                    yield sp_token, {**row, "param_id": BEYOND}
            reference = element.get("reference")
            if type(reference) is str:
                yield from self._supporting(reference)

    def _supporting(self, reference: str) -> Rows:
        target = split_reference(reference)
        if target is not None and self._index.has_type(target[0]):
            target_type_id = self._index.type_id(target[0])
            if target_type_id in self._index.supporting_type_ids:
                row = {"target_type_id": target_type_id, "target_id": target[1]}
                yield sp_ref, {**row, "param_id": SUPPORTING}

    def _blind(self, value: IndexValue, owners: Sequence[str]) -> Rows:
        for key in value.keys:
            code = self._ring.blind("sp", str(value.param_id), key)
            for person in owners:
                yield sp_token, {"system": "", "code": code, "person_id": person}

    def _reference(self, value: IndexValue, _: Sequence[str]) -> Rows:
        if value.target is not None:
            target_type, target_id = value.target
            target_type_id = self._index.type_id(target_type)
            yield sp_ref, {"target_type_id": target_type_id, "target_id": target_id}


def _token(value: IndexValue, owners: Sequence[str]) -> Rows:
    for person in owners:
        row = {"system": (value.system or "")[:200], "code": (value.code or "")[:200]}
        yield sp_token, {**row, "person_id": person}


def _date(value: IndexValue, owners: Sequence[str]) -> Rows:
    for person in owners:
        yield sp_date, {"lo_us": value.lo_us, "hi_us": value.hi_us, "person_id": person}


def _quantity(value: IndexValue, _: Sequence[str]) -> Rows:
    row = {"system": value.system or "", "code": (value.code or "")[:100]}
    yield sp_quantity, {**row, "lo": value.lo, "hi": value.hi}
