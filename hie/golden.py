"""The golden Patient, built per caller from the source records that caller may see.

A hidden source contributes nothing: no field, identifier, search hit, time or version.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.clock import instant
from hie.kernel.fhir import FhirJson
from hie.store.body import dump
from hie.store.index import SearchIndex
from hie.store.match import matches
from hie.store.query import Page, Query, Served
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


_COUNT_PAGE = 500
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

    async def search(self, conn: AsyncConnection, residual: Residual, query: Query) -> Page:
        """Persons whose golden Patient, as this caller sees it, meets the query."""
        total = None
        if query.is_total_wanted or query.count == 0:
            total = await self._count(conn, residual, query)
        if query.count == 0:
            return Page(total=total)
        found, following = await self._page(conn, residual, query)
        if following is None and query.cursor is None:
            total = len(found)  # IHE ITI-78 asks for it, and here it costs nothing
        return Page(matches=tuple(found), next_cursor=following, total=total)

    def refer(self, record: Served) -> Served:
        """A source record with a link that says which golden Patient it is part of."""
        patient = json.loads(record.body, parse_float=Decimal)
        patient["link"] = [
            *patient.get("link", ()),
            {"other": {"reference": f"Patient/{record.person_id}"}, "type": "refer"},
        ]
        return _with_body(record, dump(patient))

    async def _count(self, conn: AsyncConnection, residual: Residual, query: Query) -> int:
        total, cursor = 0, None
        while True:
            page = Query(
                type="Patient",
                persons=query.persons,
                criteria=query.criteria,
                domains=query.domains,
                count=_COUNT_PAGE,
                cursor=cursor,
            )
            found, cursor = await self._page(conn, residual, page)
            total += len(found)
            if cursor is None:
                return total

    async def _page(
        self, conn: AsyncConnection, residual: Residual, query: Query
    ) -> tuple[list[Served], str | None]:
        persons, following = await self._repository.persons(conn, residual, query)
        records = await self._repository.patients(conn, residual, persons)
        golden = [self.build(person, records[person]) for person in persons if person in records]
        # Two records may each meet a part of the query that their golden Patient does not.
        met = [g for g in golden if self._meets(g, query)]
        return (_within(met, query.domains) if query.domains else met), following

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
    )
