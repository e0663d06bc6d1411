"""People, organisations and places: XCN, CNN, XON, XAD, XTN, PL.

A person or organisation with a number becomes a directory entry, one per number; one that is
only named stays a name in the reference, so that two of the same name are never made one.
Spec: HL7 v2.8.2 2.A.88 (XCN), 2.A.87 (XAD), 2.A.90 (XTN), 2.A.91 (XON), 2.A.53 (PL)
"""

from typing import Final

from adapters.hl7v2.context import Context, Parts
from adapters.hl7v2.identifiers import (
    assigned_by,
    authority,
    check_digit,
    own_system,
    period,
    type_of,
)
from adapters.hl7v2.names import name_of, put_in_order, tell_apart, use_of, validity
from hie.kernel.fhir import FhirJson

_STRUCTURES: Final = "http://hl7.org/fhir/StructureDefinition/"
#: Components of an XTN that are parts of a number.
_NUMBER_PARTS: Final = ((5, "country"), (6, "area"), (7, "local"), (8, "extension"))
_PHYSICAL_TYPE: Final = "http://terminology.hl7.org/CodeSystem/location-physical-type"
#: Components of a PL from the largest place inwards, and the physical type each one is.
_PLACES: Final = (4, 7, 8, 1, 2, 3)
_KINDS: Final = ("si", "bu", "lvl", "wa", "ro", "bd")


def address(raw: str, context: Context) -> FhirJson | None:
    """An Address of an XAD."""
    parts = Parts(raw, context)
    lines = _lines(parts)
    found: FhirJson = {"line": lines} if lines else {}
    for name, n in (("city", 3), ("district", 9), ("state", 4), ("postalCode", 5), ("country", 6)):
        if text := parts(n):
            found[name] = text
    if not found:
        return None
    kind = parts(7)
    for name in ("use", "type") if kind else ():
        if target := use_of(kind, f"address-{name}", 7, context):
            found[name] = target
    if len(parts) > 11 and (span := validity(parts, (13, 14, 12), context)):
        found["period"] = span
    if tract := parts(10):
        url = _STRUCTURES + "iso21090-ADXP-censusTract"
        found["extension"] = [{"url": url, "valueString": tract}]
    return found


def _lines(parts: Parts) -> list[str]:
    """Street, number and name of it, other designation, addressee; each said once."""
    street = " ".join(text for n in (3, 2) if (text := parts(1, n)))
    lines = (parts(1, 1), street, parts.whole(2), parts.whole(19))
    return list(dict.fromkeys(line for line in lines if line))


def contact_point(raw: str, context: Context) -> FhirJson | None:
    """A ContactPoint of an XTN, or of the plain number older senders write."""
    parts = Parts(raw, context)
    equipment, use = parts(3), parts(2)
    mail = parts.whole(4) or (parts.whole(1) if "@" in parts.raw(1) else "")
    value = _number(parts)
    system = ""
    if equipment:
        system = use_of(equipment, "telecom-system", 3, context)
    elif mail:
        system = "email"
    is_mail = system == "email" or (use == "NET" and bool(mail))
    value = (mail or value) if is_mail else (value or mail)
    if not value:
        return None
    found: FhirJson = {"system": "email" if is_mail else system or "phone", "value": value}
    if target := _telecom_use(use, equipment, context):
        found["use"] = target
    if extensions := _number_parts(parts):
        found["extension"] = extensions
    if len(parts) > 12 and (span := period(parts(13), parts(14), context)):
        found["period"] = span
    rank = parts(18)
    if rank.isascii() and rank.isdigit() and 0 < int(rank) < 1_000_000:
        found["rank"] = int(rank)
    return found


def _number(parts: Parts) -> str:
    """The number unformatted, else put together, else as typed."""
    if unformatted := parts.whole(12):
        return unformatted
    if local := parts(7):
        country, area, extension = parts(5), parts(6), parts(8)
        plus = f"+{country.lstrip('+')}" if country.lstrip("+").isdigit() else ""
        words = [plus, area, local, f"x{extension}" if extension else ""]
        return " ".join(word for word in words if word)
    return parts.whole(1)


def _number_parts(parts: Parts) -> list[FhirJson]:
    """The parts of a number, for those who dial them one by one."""
    return [
        {"url": f"{_STRUCTURES}contactpoint-{kind}", "valueString": text}
        for n, kind in _NUMBER_PARTS
        if (text := parts(n))
    ]


def _telecom_use(use: str, equipment: str, context: Context) -> str:
    by_equipment = context.terminology.map("telecom-system-use").translate(equipment)
    if by_equipment and by_equipment.target:
        return by_equipment.target
    return use_of(use, "telecom-use", 2, context) if use else ""


def practitioner(raw: str, context: Context) -> FhirJson | None:
    """A Reference to the Practitioner of an XCN; only a display where there is no number.

    The companion field, where a row names one, is the address.
    """
    return _remembered("xcn", raw, context)


def _xcn(raw: str, context: Context) -> FhirJson | None:
    parts = Parts(raw, context)
    suffixes = [text for n in (5, 7, 21) if (text := parts.whole(n))]
    name = name_of((parts(2), parts.whole(3), parts.whole(4), parts.whole(6)), suffixes)
    identifier = _person_number(
        parts.whole(1), (parts(9), parts(9, 2), parts(9, 3)), parts(13), context
    )
    if len(parts) > 9:
        _say_more(parts, name, identifier, context)
    return _person(identifier, name, context)


def _say_more(parts: Parts, name: FhirJson, identifier: FhirJson | None, context: Context) -> None:
    """What the rarer components of an XCN say of the name and of the number."""
    if name:
        tell_apart(name, parts, 2, context)
        if (kind := parts(10)) and (use := use_of(kind, "name-use", 10, context)):
            name["use"] = use
        if span := validity(parts, (19, 20, 17), context):
            name["period"] = span
        put_in_order(name, parts(18))
    if identifier is not None:
        check_digit(identifier, parts(11))
        assigned_by(identifier, parts(14))


def interpreter(raw: str, context: Context) -> FhirJson | None:
    """A Reference to the Practitioner of an NDL, whose first component is a CNN."""
    return _remembered("ndl", raw, context)


def _ndl(raw: str, context: Context) -> FhirJson | None:
    parts = Parts(raw, context)
    if context.sub not in parts.raw(1) and len(parts) > 1:
        return _xcn(raw, context)  # many senders write an XCN here
    suffixes = [text for n in (5, 7) if (text := parts(1, n))]
    name = name_of((parts(1, 2), parts(1, 3), parts(1, 4), parts(1, 6)), suffixes)
    named = (parts(1, 9), parts(1, 10), parts(1, 11))
    return _person(_person_number(parts(1), named, "", context), name, context)


def _person_number(
    value: str, named: tuple[str, str, str], kind: str, context: Context
) -> FhirJson | None:
    if not value:
        return None
    system = authority(named, context, kind) or own_system("staff", context)
    found: FhirJson = {"system": system, "value": value}
    if typed := type_of(kind, context, 13):
        found = {"type": typed, **found}
    return found


def _person(identifier: FhirJson | None, name: FhirJson, context: Context) -> FhirJson | None:
    words = [*name.get("prefix", ()), *name.get("given", ()), name.get("family", "")]
    display = " ".join(word for word in words if word)
    if identifier is None:
        return {"display": display} if display else None
    resource: FhirJson = {"resourceType": "Practitioner", "identifier": [identifier]}
    if name:
        resource["name"] = [name]
    where = address(context.companion, context) if context.companion else None
    if where and where.get("use") != "home":  # the directory is for everybody
        resource["address"] = [where]
    key = ("practitioner", identifier["system"], identifier["value"])
    return context.refer(resource, key, display)


def organization(raw: str, context: Context) -> FhirJson | None:
    """A Reference to the Organization of an XON; only a display where there is no number.

    The companion field, where a row names one, is its address.
    """
    return _remembered("xon", raw, context)


def _xon(raw: str, context: Context) -> FhirJson | None:
    parts = Parts(raw, context)
    name, value = parts.whole(1), parts(10) or parts(3)
    if not value:
        return {"display": name} if name else None
    kind = parts(7)
    # XX is the table's word for "organization identifier" and names no authority.
    named = (parts(6), parts(6, 2), parts(6, 3))
    system = authority(named, context, kind) or own_system("organization", context)
    identifier: FhirJson = {"system": system, "value": value}
    if typed := type_of(kind, context, 7):
        identifier = {"type": typed, **identifier}
    check_digit(identifier, parts(4))
    assigned_by(identifier, parts(8))
    resource: FhirJson = {"resourceType": "Organization", "identifier": [identifier]}
    if name:
        resource["name"] = name
    if context.companion and (where := address(context.companion, context)):
        resource["address"] = [where]
    return context.refer(resource, ("organization", system, value), name or value)


def manufacturer(raw: str, context: Context) -> FhirJson | None:
    """A Reference to the Organization a CWE names, such as an MVX code."""
    return _remembered("cwe-organization", raw, context)


def _coded_organization(raw: str, context: Context) -> FhirJson | None:
    parts = Parts(raw, context)
    value, name = parts(1), parts(2) or parts(9)
    concept = context.terminology.map("coding-system").translate(parts(3)) if parts(3) else None
    if not value or concept is None:
        text = name or value
        return {"display": text} if text else None
    resource: FhirJson = {
        "resourceType": "Organization",
        "identifier": [{"system": concept.target, "value": value}],
        "name": name or value,
    }
    return context.refer(resource, ("organization", concept.target, value), name or value)


def location(raw: str, context: Context) -> FhirJson | None:
    """A Reference to the Location of a PL: its smallest place, one per full address of it.

    The companion field, where a row names one, is its postal address.
    """
    return _remembered("pl", raw, context)


def place(raw: str, context: Context) -> FhirJson | None:
    """The Location of a PL itself, for a message about the place; None where none is named."""
    parts = Parts(raw, context)
    inner = _inner(parts)
    return _location(inner, parts.whole(9), context) if inner else None


def _inner(parts: Parts) -> list[str]:
    """Facility, building, floor, ward, room, bed; [] where none is named."""
    names = [parts(n) for n in _PLACES]
    return names if any(names) else []


def _location(inner: list[str], description: str, context: Context) -> FhirJson:
    kind = next(k for n, k in zip(reversed(inner), reversed(_KINDS), strict=True) if n)
    found: FhirJson = {
        "identifier": [
            {"system": own_system("location", context), "value": "/".join(filter(None, inner))}
        ],
        "mode": "instance",
        "name": _shown(inner),
        "physicalType": {"coding": [{"system": _PHYSICAL_TYPE, "code": kind}]},
    }
    if description:
        found["description"] = description
    if context.companion and (where := address(context.companion, context)):
        found["address"] = where
    return found


def _shown(inner: list[str]) -> str:
    return ", ".join(name for name in reversed(inner) if name)


def _pl(raw: str, context: Context) -> FhirJson | None:
    parts = Parts(raw, context)
    inner, description = _inner(parts), parts.whole(9)
    if not inner:
        return {"display": description} if description else None
    resource = {"resourceType": "Location", **_location(inner, description, context)}
    return context.refer(resource, ("location", *inner), _shown(inner))


def _remembered(kind: str, raw: str, context: Context) -> FhirJson | None:
    """A reference made once per message and raw text; a new dict each time."""
    key = (kind, raw)
    if key not in context.memo:
        context.memo[key] = _MAKERS[kind](raw, context)
    found: FhirJson | None = context.memo[key]
    return dict(found) if found else None


_MAKERS: Final = {
    "xcn": _xcn,
    "ndl": _ndl,
    "xon": _xon,
    "cwe-organization": _coded_organization,
    "pl": _pl,
}


def speaker(context: Context) -> FhirJson:
    """A Reference to the organisation the source speaks for, by its identifier."""
    organization = context.source.organization
    return {
        "type": "Organization",
        "identifier": {"system": organization.system, "value": organization.value},
        "display": organization.name,
    }
