"""What a consent may name about a resource, besides its type, source, labels and codes."""

from typing import Final

from hie.kernel.fhir import FhirJson

#: Elements that say who stands behind the content, the first found counts.
_AUTHORS: Final = ("author", "performer", "requester", "asserter", "recorder", "prescriber")


def author_of(resource: FhirJson) -> str | None:
    """`Type/id` of who made the content, or None where nobody is referred to."""
    for name in _AUTHORS:
        value = resource.get(name)
        for element in value if isinstance(value, list) else [value]:
            if isinstance(element, dict):
                # Procedure and Immunization wrap the reference: performer.actor.
                reference = element.get("reference") or (element.get("actor") or {}).get(
                    "reference"
                )
                if isinstance(reference, str) and "/" in reference:
                    return reference[:120]
    return None


def encounter_of(resource: FhirJson, resource_id: str) -> str | None:
    """`Encounter/<id>` of the visit a resource belongs to; a visit belongs to itself."""
    if resource.get("resourceType") == "Encounter":
        return f"Encounter/{resource_id}"
    for holder in (resource, resource.get("context")):
        element = holder.get("encounter") if isinstance(holder, dict) else None
        for one in element if isinstance(element, list) else [element]:
            if isinstance(one, dict) and isinstance(one.get("reference"), str):
                return str(one["reference"])[:120]
    return None
