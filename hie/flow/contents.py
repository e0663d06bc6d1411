"""The content of documents: a Binary is filed where the document that refers to it is.

A Binary names no patient unless its `securityContext` does. Without one it is its source's alone;
once a document of the same source refers to it, it belongs to that document's patient, is sealed
under that record's key and has that document's labels.
Spec: https://hl7.org/fhir/R4/binary.html#security
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.flow.placement import Origin, Placement
from hie.kernel.envelope import WriteMode
from hie.kernel.fhir import FhirJson, objects
from hie.kernel.ids import SourceRecordId
from hie.store.index import SearchIndex
from hie.store.repository import ResourceRepository
from hie.store.residual import DOCUMENT_TYPES

_CONTENT: Final = "Binary"


async def with_contents(
    conn: AsyncConnection,
    origin: Origin,
    placements: Sequence[Placement],
    repository: ResourceRepository,
    index: SearchIndex,
) -> list[Placement]:
    """The placements, what they refer to as content filed with them, stored content too."""
    records = _records_by_content(placements, index)
    if not records:
        return [*placements]
    filed = [_filed(placement, records, index) for placement in placements]
    written = {p.id for p in placements if p.type == _CONTENT}
    missing = sorted(records.keys() - written)
    stored = await repository.load(conn, [(_CONTENT, key) for key in missing])
    filed += [
        Placement(
            type=_CONTENT,
            id=found.id,
            resource=found.resource,
            owner=records[found.id],
            is_rewritten=True,
        )
        for found in stored.values()
        if found.source_id == origin.source_id
        and not found.is_deleted
        and not found.source_record_id
    ]
    return filed


def named_contents(resource: FhirJson) -> set[str]:
    """Ids of the Binaries that a resource refers to, by an Attachment or a Reference."""
    found = set()
    for element in objects(resource):
        for name in ("url", "reference"):
            value = element.get(name)
            if isinstance(value, str) and value.startswith("Binary/"):
                found.add(value.split("/")[1])
    return found


def _records_by_content(
    placements: Sequence[Placement], index: SearchIndex
) -> dict[str, SourceRecordId]:
    """Whose document refers to a Binary; none that documents of several patients refer to."""
    found: dict[str, set[str]] = {}
    for placement in placements:
        if placement.type not in DOCUMENT_TYPES or placement.mode is WriteMode.DELETE:
            continue
        patients = index.patients_of(placement.type, placement.id, placement.resource)
        owner = patients[0] if patients else placement.owner
        if owner is not None:
            for key in named_contents(placement.resource):
                found.setdefault(key, set()).add(owner)
    return {key: SourceRecordId(*owners) for key, owners in found.items() if len(owners) == 1}


def _filed(
    placement: Placement, records: dict[str, SourceRecordId], index: SearchIndex
) -> Placement:
    if placement.type != _CONTENT or placement.owner is not None or placement.id not in records:
        return placement
    if index.patients_of(placement.type, placement.id, placement.resource):
        return placement
    return replace(placement, owner=records[placement.id])
