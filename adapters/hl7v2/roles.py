"""People in a part they play: participations (PRT), the director of a laboratory (OBX-25).

Spec: HL7 v2.8.2 7.3.4 (PRT), 7.4.2.25 (OBX-25); guide maps PRT[PractitionerRole], OBX[Observation]
"""

from typing import Final

from adapters.hl7v2.codes import codeable_concept
from adapters.hl7v2.context import Context
from adapters.hl7v2.people import manufacturer, organization, practitioner, speaker
from hie.kernel.fhir import FhirJson

_FUNCTION: Final = "http://hl7.org/fhir/StructureDefinition/event-performerFunction"
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v2-0912"
_DIRECTOR: Final = {"system": _PARTICIPATION, "code": "MDIR", "display": "Medical Director"}


def acting(raw: str, context: Context) -> FhirJson | None:
    """A Reference to the Practitioner of an XCN, with the part played: the companion, a CWE."""
    role, context.companion = context.companion, ""
    found = practitioner(raw, context)
    concept = codeable_concept(role, context) if found and role else None
    if found and concept:
        found["extension"] = [{"url": _FUNCTION, "valueCodeableConcept": concept}]
    return found


def agent(raw: str, context: Context) -> FhirJson | None:
    """The Practitioner of an XCN and whom they acted for: the companion, else the sender."""
    named, context.companion = context.companion, ""
    who = practitioner(raw, context)
    if who is None:
        return None
    organized = manufacturer(named, context) if named else None
    return {"who": who, "onBehalfOf": organized or speaker(context)}


def director(raw: str, context: Context) -> FhirJson | None:
    """A Reference to the PractitionerRole of who directs the organisation in the companion.

    Only a display where the person has no number: two of one name are never made one.
    """
    key = ("director", raw, context.companion)
    if key not in context.memo:
        context.memo[key] = _director(raw, context)
    found: FhirJson | None = context.memo[key]
    return dict(found) if found else None


def _director(raw: str, context: Context) -> FhirJson | None:
    place, context.companion = context.companion, ""
    person = practitioner(raw, context)
    if person is None or "reference" not in person:
        return person
    role: FhirJson = {"resourceType": "PractitionerRole", "practitioner": dict(person)}
    keys = _key_of(person, context)
    at = organization(place, context) if place else None
    if at:
        role["organization"] = at
        keys += _key_of(at, context) or (at.get("display", ""),)
    role["code"] = [{"coding": [dict(_DIRECTOR)]}]
    return context.refer(role, ("director", *keys), person.get("display", ""))


def _key_of(reference: FhirJson, context: Context) -> tuple[str, ...]:
    """The business key of the directory entry a reference leads to; () for a mere name."""
    name = str(reference.get("reference", "")).removeprefix("urn:hie:")
    return next((draft.key for draft in context.directory if draft.name == name), ())
