"""Identifiers and who assigned them: CX, EI, EIP, HD, DLN and the plain numbers beside them.

Spec: HL7 v2.8.2 2.A.14 (CX), 2.A.28 (EI), 2.A.33 (HD); https://hl7.org/fhir/R4/datatypes.html#Identifier
"""

from typing import Final

from adapters.hl7v2.codes import V2_TABLE
from adapters.hl7v2.context import Context, Parts
from adapters.hl7v2.temporal import TemporalError, date_time
from adapters.terminology import ConceptMap
from hie.kernel.envelope import SourceIdentifier
from hie.kernel.fhir import FhirJson

IDENTIFIER_TYPES: Final = "identifier-type"
NATIONAL: Final = "identifier-system"
_STRUCTURES: Final = "http://hl7.org/fhir/StructureDefinition/"


def authority(parts: tuple[str, str, str], context: Context, kind: str = "") -> str:
    """The identifier system of an assigning authority (HD.1-3); "" when none is named.

    What the source's file says comes first, then national numberings by OID, namespace or
    type of the number, then a system of the source's own.
    """
    key = ("authority", *parts, kind)
    found: str | None = context.shared.get(key)
    if found is None:
        found = _authority(parts, context, kind)
        context.keep(key, found)
    return found


def _authority(parts: tuple[str, str, str], context: Context, kind: str) -> str:
    namespace, universal_id, universal_type = parts
    source = context.source
    for name in (namespace, universal_id):
        if name in source.authorities:
            return source.authorities[name]
    national = context.terminology.map(NATIONAL)
    for name in (universal_id, namespace, kind):
        concept = national.exact(name) if name else None
        if concept:
            return concept.target
    if not namespace and not universal_id:
        return ""
    system = source.system_of(namespace, universal_id, universal_type)
    return "" if " " in system else system


def period(start: str, end: str, context: Context) -> FhirJson | None:
    """A Period of two dates; a date that cannot be read is left out and reported."""
    found = {}
    for name, text in (("start", start), ("end", end)):
        if text:
            try:
                found[name] = date_time(text, context.zone)
            except TemporalError:
                context.report("datatype", "must be a date or time")
    return found or None


def type_of(kind: str, context: Context, component: int) -> FhirJson | None:
    """Identifier.type of a table 0203 code; one that is not in the table is kept as text.

    Args:
        kind: the code.
        context: the message's.
        component: where it stands, for the finding.
    """
    if not kind:
        return None
    concepts: ConceptMap = context.terminology.map(IDENTIFIER_TYPES)
    concept = concepts.translate(kind)
    context.answered(concept)
    if concept is None:
        context.unmapped(IDENTIFIER_TYPES, kind, component=component)
        return {"text": kind}
    return {"coding": [concept.coding()]}


def cx(raw: str, context: Context) -> FhirJson | None:
    """An Identifier of a CX; no system where the sender names no authority."""
    return _cx(raw, context, default="")


def own_cx(raw: str, context: Context) -> FhirJson | None:
    """An Identifier of a CX whose authority is the source's own where none is named."""
    return _cx(raw, context, default=context.source.own_authority)


def above_cx(raw: str, context: Context) -> FhirJson | None:
    """An Identifier of a CX above the records (PID-2, PID-4), of the source's own where bare."""
    return _cx(raw, context, default=own_system("person", context))


def own_system(kind: str, context: Context) -> str:
    """The system of numbers of a kind (`staff`) that the source names no authority for."""
    key = ("own", kind)
    found: str | None = context.shared.get(key)
    if found is None:
        found = context.source.system_of(kind)
        context.keep(key, found)
    return found


def _cx(raw: str, context: Context, default: str) -> FhirJson | None:
    parts = Parts(raw, context)
    value = parts.whole(1)
    if not value:
        return None
    kind = parts(5)
    system = authority((parts(4), parts(4, 2), parts(4, 3)), context, kind)
    found: FhirJson = {}
    if typed := type_of(kind, context, 5):
        found["type"] = typed
    if system or (default and kind in ("", "MR", "PI")):
        found["system"] = system or default
    found["value"] = value
    check_digit(found, parts(2))
    if len(parts) > 5:
        assigned_by(found, parts(6))
        if span := period(parts(7), parts(8), context):
            found["period"] = span
    return found


def check_digit(identifier: FhirJson, digit: str) -> None:
    """Keep the check digit a number was sent with."""
    if digit:
        url = _STRUCTURES + "identifier-checkDigit"
        identifier["extension"] = [{"url": url, "valueString": digit}]


def assigned_by(identifier: FhirJson, facility: str) -> None:
    """Say at which facility a number was given out; the system says under whose authority."""
    if facility:
        identifier["assigner"] = {"display": facility}


def identifier_of(raw: str, context: Context, *, is_own: bool = False) -> SourceIdentifier | None:
    """System, value and type of a CX; None when it has no value.

    Args:
        raw: one repetition.
        context: the message's.
        is_own: a number without an authority is the source's.
    """
    return _as_source(_cx(raw, context, context.source.own_authority if is_own else ""))


def above_identifier(raw: str, context: Context) -> SourceIdentifier | None:
    """System, value and type of a CX above the records; None when it has no value."""
    return _as_source(above_cx(raw, context))


def _as_source(found: FhirJson | None) -> SourceIdentifier | None:
    if found is None:
        return None
    codings = found.get("type", {}).get("coding", [{}])
    kind = codings[0].get("code", "")
    return SourceIdentifier(system=found.get("system", ""), value=found["value"], type=kind)


def ei(raw: str, context: Context) -> FhirJson | None:
    """An Identifier of an EI; a number without an authority is one of the source's."""
    parts = Parts(raw, context)
    return _entity((parts.whole(1), parts(2), parts(3), parts(4)), context)


def placer_ei(raw: str, context: Context) -> FhirJson | None:
    """The placer's half of an EIP."""
    return _half(raw, 1, "PLAC", context)


def filler_ei(raw: str, context: Context) -> FhirJson | None:
    """The filler's half of an EIP."""
    return _half(raw, 2, "FILL", context)


def group_ei(raw: str, context: Context) -> FhirJson | None:
    """An Identifier of a placer group number: an EI, or the placer's half of an EIP."""
    if context.sub not in raw:
        return ei(raw, context)
    parts = Parts(raw, context)
    return _entity((parts(1, 1), parts(1, 2), parts(1, 3), parts(1, 4)), context)


def filler_group_ei(raw: str, context: Context) -> FhirJson | None:
    """The filler's half of a group number that is an EIP; None of an EI, which has no halves."""
    return _half(raw, 2, "FGN", context) if context.sub in raw else None


def _half(raw: str, n: int, kind: str, context: Context) -> FhirJson | None:
    parts = Parts(raw, context)
    found = _entity((parts(n, 1), parts(n, 2), parts(n, 3), parts(n, 4)), context)
    if found is None:
        return None
    return {"type": {"coding": [{"system": V2_TABLE + "0203", "code": kind}]}, **found}


def _entity(parts: tuple[str, str, str, str], context: Context) -> FhirJson | None:
    value, namespace, universal_id, universal_type = parts
    if not value:
        return None
    system = authority((namespace, universal_id, universal_type), context)
    return {"system": system or context.source.own_authority, "value": value}


def plain(raw: str, context: Context) -> FhirJson | None:
    """An Identifier of a bare number; the row adds system and type."""
    value = context.text(raw.split(context.component, 1)[0])
    return {"value": value} if value else None


def driver_license(raw: str, context: Context) -> FhirJson | None:
    """An Identifier of a DLN: number, issuing state, expiry."""
    parts = Parts(raw, context)
    value = parts.whole(1)
    if not value:
        return None
    found: FhirJson = {"type": {"coding": [{"system": V2_TABLE + "0203", "code": "DL"}]}}
    if concept := context.terminology.map("driver-license").translate(parts(2)):
        found["system"] = concept.target
    found["value"] = value
    if not concept and parts(2):
        found["assigner"] = {"display": parts(2)}
    if span := period("", parts(3), context):
        found["period"] = span
    return found


def cx_key(raw: str, context: Context) -> tuple[str, str] | None:
    """System and value of a CX for a business key; None when it has no value."""
    parts = Parts(raw, context)
    value = parts.whole(1)
    named = (parts(4), parts(4, 2), parts(4, 3))
    system = authority(named, context, parts(5)) or context.source.own_authority
    return (system, value) if value else None


def ei_key(raw: str, context: Context) -> tuple[str, str] | None:
    """System and value of an EI for a business key; None when it has no value."""
    parts = Parts(raw, context)
    found = _entity((parts.whole(1), parts(2), parts(3), parts(4)), context)
    return (found["system"], found["value"]) if found else None
