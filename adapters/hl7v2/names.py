"""Names of people: XPN, and the part of it that XCN and CNN share.

Spec: HL7 v2.8.2 2.A.89 (XPN), 2.A.30 (FN); https://hl7.org/fhir/R4/datatypes.html#HumanName
"""

from typing import Final

from adapters.hl7v2.context import Context, Parts
from adapters.hl7v2.identifiers import period
from hie.kernel.fhir import FhirJson

_STRUCTURES: Final = "http://hl7.org/fhir/StructureDefinition/"
#: Subcomponents of a family name (FN) and the extensions that tell them apart.
_FAMILY: Final = (
    (2, "humanname-own-prefix"),
    (3, "humanname-own-name"),
    (4, "humanname-partner-prefix"),
    (5, "humanname-partner-name"),
)
#: HL7 table 0444 to the v3 codes the extension is bound to: given name first, family name first.
_ORDERS: Final = {"G": "NL1", "F": "NL2"}


def human_name(raw: str, context: Context) -> FhirJson | None:
    """A HumanName of an XPN."""
    parts = Parts(raw, context)
    suffixes = [text for n in (4, 6, 14) if (text := parts.whole(n))]
    found = name_of((parts(1), parts.whole(2), parts.whole(3), parts.whole(5)), suffixes)
    if not found:
        return None
    if (kind := parts(7)) and (use := use_of(kind, "name-use", 7, context)):
        found = {"use": use, **found}
    tell_apart(found, parts, 1, context)
    if len(parts) > 9:
        if span := validity(parts, (12, 13, 10), context):
            found["period"] = span
        put_in_order(found, parts(11))
    return found


def previous_name(raw: str, context: Context) -> FhirJson | None:
    """A HumanName of an XPN that is no longer in use, whatever it was."""
    found = human_name(raw, context)
    return {**found, "use": "old"} if found else None


def called_name(raw: str, context: Context) -> FhirJson | None:
    """The name an XPN says the person is called by, as a HumanName of its own."""
    called = Parts(raw, context)(15)
    return {"use": "nickname", "given": [called]} if called else None


def display_name(raw: str, context: Context) -> str | None:
    """An XPN as people write it."""
    parts = Parts(raw, context)
    return " ".join(word for n in (5, 2, 3, 1, 4) if (word := parts(n))) or None


def family_name(raw: str, context: Context) -> str | None:
    """The family name of an XPN, or all there is of it."""
    parts = Parts(raw, context)
    return parts(1) or parts.whole(2) or None


def name_of(parts: tuple[str, str, str, str], suffixes: list[str]) -> FhirJson:
    """A HumanName of family, given, further given names and prefix; {} for neither of the first."""
    family, first, further, prefix = parts
    found: FhirJson = {"family": family} if family else {}
    given = [text for text in (first, further) if text]
    if given:
        found["given"] = given
    if prefix:
        found["prefix"] = [prefix]
    if suffixes:
        found["suffix"] = suffixes
    return found if family or given else {}


def tell_apart(name: FhirJson, parts: Parts, n: int, context: Context) -> None:
    """Say beside the family name which part of it is the own one and which the partner's."""
    if context.sub not in parts.raw(n) or "family" not in name:
        return
    found = [
        {"url": _STRUCTURES + kind, "valueString": text}
        for at, kind in _FAMILY
        if (text := parts(n, at))
    ]
    if found:
        name["_family"] = {"extension": found}


def put_in_order(name: FhirJson, order: str) -> None:
    """Say in which order the parts are shown."""
    if code := _ORDERS.get(order):
        url = _STRUCTURES + "humanname-assembly-order"
        name["extension"] = [{"url": url, "valueCode": code}]


def use_of(kind: str, concept_map: str, component: int, context: Context) -> str:
    """The use a code means; "", reported, for one the map does not know."""
    concept = context.terminology.map(concept_map).translate(kind)
    context.answered(concept)
    if concept is None:
        context.unmapped(concept_map, kind, component=component)
        return ""
    return concept.target


def validity(parts: Parts, at: tuple[int, int, int], context: Context) -> FhirJson | None:
    """The period of two date components, else of the date range before v2.7."""
    start, end, span = at
    if parts(start) or parts(end):
        return period(parts(start), parts(end), context)
    return period(parts(span, 1), parts(span, 2), context)
