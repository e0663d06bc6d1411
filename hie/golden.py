"""The golden Patient, built per caller from the source records that caller may see.

A hidden source contributes nothing: no field, identifier, search hit, time or version.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.clock import instant
from hie.kernel.fhir import FhirJson
from hie.store.body import dump
from hie.store.index import SearchIndex
from hie.store.match import matches
from hie.store.order import After, Key
from hie.store.query import Query, Served
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual


class Survivorship(Protocol):
    """Builds one Patient out of several; `mpi.survivorship`."""

    def __call__(self, patients: Sequence[FhirJson], person_id: str, /) -> FhirJson:
        """The golden Patient."""
        ...

    def provenance(
        self, golden: FhirJson, patients: Sequence[FhirJson], /
    ) -> dict[str, list[tuple[str, ...]]]:
        """By element one entry per value: ids of the records that hold it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A golden Patient, and where each of its values comes from.

    Attributes:
        provenance: by element one entry per value, in the Patient's order: the ids of the
            source records that hold it, the one that gave it first.
    """

    patient: FhirJson
    provenance: Mapping[str, Sequence[tuple[str, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPatients:
    """A page of golden Patients in order, with the place of each.

    Attributes:
        end: where the next page begins; None on the last.
    """

    served: tuple[Served, ...]
    keys: tuple[Key, ...]
    end: Key | None


_COUNT_PAGE = 500
#: Times a page of persons is read until a page of golden Patients is full.
_LOOKS = 20
#: Says that elements were left out, so that nobody writes the rest back as the whole.
_SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}


class GoldenPatients:
    """Finds and builds golden Patients.

    Args:
        security: label mask to the codings of `meta.security`, JSON joined by commas.
    """

    def __init__(
        self,
        repository: ResourceRepository,
        index: SearchIndex,
        survivorship: Survivorship,
        security: Callable[[int], bytes],
    ) -> None:
        self._repository = repository
        self._index = index
        self._survivorship = survivorship
        self._security = security

    async def of(
        self, conn: AsyncConnection, residual: Residual, person: str, *, asked_as: str = ""
    ) -> Served | None:
        """The golden Patient as this caller sees it, or None: hidden or absent.

        Args:
            conn: an open connection.
            residual: the caller's.
            person: the person, merges followed.
            asked_as: the id the caller used; where a merge replaced it, the answer is a
                Patient of that id whose link says by whom.
        """
        records = (await self._repository.patients(conn, residual, [person])).get(person)
        if not records:
            return None
        golden = self.build(person, records)
        if asked_as and asked_as != person:
            return self._replaced(asked_as, golden)
        return golden

    async def whole(
        self, conn: AsyncConnection, residual: Residual, person: str
    ) -> FhirJson | None:
        """The golden Patient as parsed JSON, or None."""
        golden = await self.of(conn, residual, person)
        return None if golden is None else json.loads(golden.body, parse_float=Decimal)

    async def explained(
        self, conn: AsyncConnection, residual: Residual, person: str
    ) -> Explained | None:
        """The golden Patient with the source records that gave its values, or None."""
        records = (await self._repository.patients(conn, residual, [person])).get(person)
        if not records:
            return None
        patient: FhirJson = json.loads(self.build(person, records).body, parse_float=Decimal)
        given = [json.loads(record.body, parse_float=Decimal) for record in records]
        return Explained(patient=patient, provenance=self._survivorship.provenance(patient, given))

    async def search(
        self, conn: AsyncConnection, residual: Residual, query: Query, after: After | None = None
    ) -> FoundPatients:
        """Persons whose golden Patient, as this caller sees it, meets the query: one page."""
        served: list[Served] = []
        keys: list[Key] = []
        end: Key | None = None
        for _ in range(_LOOKS):
            room = replace(query, count=query.count - len(served))
            found = await self._repository.persons(conn, residual, room, after)
            met = await self._met(conn, residual, found.persons, query)
            served += met.values()
            keys += [
                key for person, key in zip(found.persons, found.keys, strict=True) if person in met
            ]
            end = found.keys[-1] if found.is_more else None
            if end is None or len(served) >= query.count:
                break
            after = After(key=end, as_of=0)
        return FoundPatients(served=tuple(served), keys=tuple(keys), end=end)

    async def count(self, conn: AsyncConnection, residual: Residual, query: Query) -> int:
        """How many persons a search finds."""
        total, after = 0, None
        asked = replace(query, sort=(), count=_COUNT_PAGE)
        while True:
            found = await self._repository.persons(conn, residual, asked, after)
            total += len(await self._met(conn, residual, found.persons, query))
            if not found.is_more:
                return total
            after = After(key=found.keys[-1], as_of=0)

    async def persons(
        self, conn: AsyncConnection, residual: Residual, query: Query, most: int
    ) -> tuple[str, ...] | None:
        """The persons a search finds; None where they are more than `most`."""
        met: list[str] = []
        after = None
        while len(met) <= most:
            found = await self._repository.persons(conn, residual, query, after)
            met += await self._met(conn, residual, found.persons, query)
            if not found.is_more:
                return tuple(met) if len(met) <= most else None
            after = After(key=found.keys[-1], as_of=0)
        return None

    def refer(self, record: Served) -> Served:
        """A source record with a link that says which golden Patient it is part of."""
        patient = json.loads(record.body, parse_float=Decimal)
        patient["link"] = [
            *patient.get("link", ()),
            {"other": {"reference": f"Patient/{record.person_id}"}, "type": "refer"},
        ]
        return _with_body(record, dump(patient))

    async def _met(
        self, conn: AsyncConnection, residual: Residual, persons: Sequence[str], query: Query
    ) -> dict[str, Served]:
        """The golden Patients among persons found that meet the query themselves.

        Two records may each meet a part of the query that their golden Patient does not.
        """
        records = await self._repository.patients(conn, residual, persons)
        golden = [self.build(person, records[person]) for person in persons if person in records]
        met = [g for g in golden if self._meets(g, query)]
        return {g.id: g for g in (_within(met, query.domains) if query.domains else met)}

    def _meets(self, golden: Served, query: Query) -> bool:
        if not query.criteria:
            return True
        patient = json.loads(golden.body, parse_float=Decimal)
        return matches(self._index.values(patient), golden, query.criteria)

    def build(self, person: str, records: Sequence[Served]) -> Served:
        """The golden Patient of a person, from the records of it that the caller may see."""
        ordered = sorted(records, key=lambda r: r.id)
        patients = [json.loads(r.body, parse_float=Decimal) for r in ordered]
        state = "|".join(f"{r.id}/{r.version}" for r in ordered)
        version = hashlib.sha256(state.encode()).hexdigest()[:16]
        mask = 0
        for record in ordered:
            mask |= record.label_mask
        updated = max(r.last_updated_us for r in ordered)
        patient = self._survivorship(patients, person)
        meta = {
            "versionId": version,
            "lastUpdated": instant(updated),
            "security": json.loads(b"[" + self._security(mask) + b"]"),
        }
        body = {"resourceType": "Patient", "id": person, "meta": meta} | {
            name: value
            for name, value in patient.items()
            if name not in ("resourceType", "id", "meta")
        }
        return Served(
            type="Patient",
            id=person,
            version=version,
            last_updated_us=updated,
            person_id=person,
            label_mask=mask,
            body=dump(body),
            built_of=tuple(record.id for record in ordered),
            masks=tuple((r.source_id, r.label_mask) for r in ordered if r.label_mask),
        )

    def _replaced(self, old: str, golden: Served) -> Served:
        patient = {
            "resourceType": "Patient",
            "id": old,
            "meta": {"versionId": golden.version, "lastUpdated": instant(golden.last_updated_us)},
            "active": False,
            "link": [
                {"other": {"reference": f"Patient/{golden.id}"}, "type": "replaced-by"},
            ],
        }
        return Served(
            type="Patient",
            id=old,
            version=golden.version,
            last_updated_us=golden.last_updated_us,
            person_id=golden.id,
            label_mask=golden.label_mask,
            body=dump(patient),
            built_of=golden.built_of,
            masks=golden.masks,
        )


def _within(found: Sequence[Served], domains: Sequence[Sequence[str]]) -> list[Served]:
    """Those with an identifier of each group of domains, without the identifiers of others."""
    wanted = {system for group in domains for system in group}
    kept = []
    for golden in found:
        patient = json.loads(golden.body, parse_float=Decimal)
        identifiers = [i for i in patient.get("identifier", ()) if i.get("system") in wanted]
        systems = {identifier["system"] for identifier in identifiers}
        if all(not systems.isdisjoint(group) for group in domains):
            patient["identifier"] = identifiers
            patient["meta"]["tag"] = [_SUBSETTED]
            kept.append(_with_body(golden, dump(patient)))
    return kept


def _with_body(record: Served, body: bytes) -> Served:
    return Served(
        type=record.type,
        id=record.id,
        version=record.version,
        last_updated_us=record.last_updated_us,
        source_id=record.source_id,
        person_id=record.person_id,
        source_record_id=record.source_record_id,
        label_mask=record.label_mask,
        body=body,
        built_of=record.built_of,
        masks=record.masks,
    )
