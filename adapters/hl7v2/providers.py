"""Providers of a referral: PRD and CTD, whose name, numbers and contacts are fields of their own.

Spec: HL7 v2.8.2 11.6.3 (PRD), 11.6.4 (CTD), 2.A.52 (PLN)
"""

from adapters.hl7v2.context import Context, Parts
from adapters.hl7v2.er7 import NULL
from adapters.hl7v2.identifiers import authority, own_system, period, type_of
from adapters.hl7v2.names import display_name, human_name
from adapters.hl7v2.people import address, contact_point
from hie.kernel.fhir import FhirJson


def provider(_raw: str, context: Context) -> FhirJson | None:
    """A Reference to the Practitioner a PRD or CTD tells of; a display where it has no number.

    Both have name, address and contacts in fields 2, 3 and 5, the numbers in field 7.
    """
    identifiers = [made for raw in _repetitions(7, context) if (made := _number(raw, context))]
    names = [made for raw in _repetitions(2, context) if (made := human_name(raw, context))]
    spoken = (display_name(raw, context) for raw in _repetitions(2, context))
    display = next((text for text in spoken if text), "")
    if not identifiers:
        return {"display": display} if display else None
    resource: FhirJson = {"resourceType": "Practitioner", "identifier": identifiers}
    found = {
        "name": names,
        "telecom": [p for raw in _repetitions(5, context) if (p := contact_point(raw, context))],
        "address": [a for raw in _repetitions(3, context) if (a := address(raw, context))],
    }
    resource |= {name: entries for name, entries in found.items() if entries}
    first = identifiers[0]
    return context.refer(resource, ("practitioner", first["system"], first["value"]), display)


def _repetitions(field: int, context: Context) -> list[str]:
    """The repetitions of another field of the segment, where what is found then stands."""
    context.field = field
    raw = context.segment.field(field) if context.segment is not None else ""
    return [part for part in raw.split(context.repetition_mark) if part and part != NULL]


def _number(raw: str, context: Context) -> FhirJson | None:
    """An Identifier of a PLN: number, kind, state or qualifier, expiry."""
    parts = Parts(raw, context)
    value, kind = parts.whole(1), parts(2)
    if not value:
        return None
    system = authority(("", "", ""), context, kind) or own_system("staff", context)
    found: FhirJson = {"system": system, "value": value}
    if typed := type_of(kind, context, 2):
        found = {"type": typed, **found}
    if span := period("", parts(4), context):
        found["period"] = span
    if qualifier := parts.whole(3):
        found["assigner"] = {"display": qualifier}
    return found
