"""A resource as JSON to what a decision needs to know of it (pure).

What the database's predicate finds in index rows is found here by the same index.
"""

from consent.model import ResourceFacts
from hie.kernel.fhir import FhirJson
from hie.store.index import SearchIndex


def facts_of_resource(  # noqa: PLR0913 - what columns say of a resource, each by name
    index: SearchIndex,
    resource: FhirJson,
    *,
    resource_id: str,
    source_id: str,
    person_id: str | None,
    label_mask: int,
    source_record_id: str | None = None,
) -> ResourceFacts:
    """The facts of a whole resource.

    Args:
        index: says which codes, dates and references count.
        resource: FHIR JSON, references as the consents name them.
        resource_id: its id.
        source_id: who sent it.
        person_id: of whose rules it is judged by.
        label_mask: its labels.
        source_record_id: under which of the person's records it is filed.
    """
    rows = index.values(resource)
    period = index.clinical_period(resource)
    return ResourceFacts(
        type=str(resource["resourceType"]),
        id=resource_id,
        source_id=source_id,
        person_id=person_id,
        source_record_id=source_record_id,
        label_mask=label_mask,
        clinical_lo_us=period[0] if period else None,
        clinical_hi_us=period[1] if period else None,
        references=frozenset("/".join(row.target) for row in rows if row.target is not None),
        codes=frozenset((row.system, row.code) for row in rows if row.kind == "token"),
    )
