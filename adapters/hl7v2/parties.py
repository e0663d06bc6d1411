"""References to who and what is only named: HD as an application, facility or place.

Nothing is stored of them: a Reference by identifier, so that a name in a header never becomes
a directory entry that claims to be more.
Spec: HL7 v2.8.2 2.A.33 (HD), 2.A.91 (XON); https://hl7.org/fhir/R4/references.html#logical
"""

from typing import Final
from urllib.parse import quote

from adapters.hl7v2.context import Context, Converter, Parts
from adapters.hl7v2.identifiers import authority
from hie.kernel.fhir import FhirJson

#: Identifier system of an identifier that is itself a URI.
_URI: Final = "urn:ietf:rfc:3986"


def designator(kind: str) -> Converter:
    """A converter of an HD to a Reference by identifier to a resource of type `kind`."""

    def read(raw: str, context: Context) -> FhirJson | None:
        parts = Parts(raw, context)
        system = authority((parts(1), parts(2), parts(3)), context)
        if not system:
            return None
        found: FhirJson = {"type": kind, "identifier": {"system": _URI, "value": system}}
        return {**found, "display": parts(1)} if parts(1) else found

    return read


def endpoint(raw: str, context: Context) -> str | None:
    """The URI an HD names an application or a network address by."""
    parts = Parts(raw, context)
    return authority((parts(1), parts(2), parts(3)), context) or None


def sender_endpoint(_raw: str, context: Context) -> str:
    """A URI of the source, for a sender that names no application."""
    return f"urn:hie:source:{quote(context.source.id)}"


def named_place(raw: str, context: Context) -> FhirJson | None:
    """A Reference to the Location an XON names: its number as identifier, its name as text."""
    parts = Parts(raw, context)
    name, number = parts.whole(1), parts(10) or parts(3)
    if not name and not number:
        return None
    found: FhirJson = {"type": "Location"}
    if number:
        system = authority((parts(6), parts(6, 2), parts(6, 3)), context, parts(7))
        found["identifier"] = {"system": system, "value": number} if system else {"value": number}
    return {**found, "display": name} if name else found
