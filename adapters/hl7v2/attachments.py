"""Documents inside a message: ED and RP, and text lines made into a document.

Spec: HL7 v2.8.2 2.A.25 (ED), 2.A.64 (RP); https://hl7.org/fhir/R4/datatypes.html#Attachment
"""

import base64
import binascii
import re
from typing import Final

from adapters.hl7v2.codes import codeable_concept
from adapters.hl7v2.context import Context, Parts
from adapters.terminology import ConceptMap
from hie.kernel.fhir import FhirJson

#: OBX-2 values whose lines are the document itself.
TEXT_TYPES: Final = ("TX", "FT", "ST")
_LOINC: Final = "http://loinc.org"
_UNKNOWN: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor",
    "code": "UNK",
    "display": "unknown",
}
_MAJOR: Final = frozenset({"application", "audio", "image", "message", "text", "video"})
_SUBTYPE: Final = re.compile(r"^[a-z0-9][a-z0-9.+-]*$")
_URL: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:\S+$")


def media_type(kind: str, subtype: str, context: Context) -> str:
    """The media type of tables 0191 and 0291, or of a type written out; "" when neither."""
    kind, subtype = kind.lower(), subtype.lower()
    concepts = context.terminology.map("media-type")
    for name in (f"{kind}/{subtype}", subtype):
        concept = concepts.translate(name) if name else None
        if concept:
            return concept.target
    if kind in _MAJOR and _SUBTYPE.match(subtype):
        return f"{kind}/{subtype}"
    concept = concepts.translate(kind) if kind else None
    return concept.target if concept else ""


def encapsulated(raw: str, context: Context) -> FhirJson | None:
    """An Attachment of an ED: its media type, and its data in base64."""
    parts = Parts(raw, context)
    found: FhirJson = {}
    if kind := media_type(parts(2), parts(3), context):
        found["contentType"] = kind
    if data := _base64(parts.whole(5), parts(4), context):
        found["data"] = data
    return found or None


def _base64(data: str, encoding: str, context: Context) -> str:
    """The data of an ED in base64, whatever it was in (table 0299); "" when unreadable."""
    if not data:
        return ""
    if encoding.lower() not in ("base64", "hex"):
        return _encoded(data)
    packed = "".join(data.split())
    try:
        if encoding.lower() == "hex":
            return base64.b64encode(bytes.fromhex(packed)).decode("ascii")
        binascii.a2b_base64(packed, strict_mode=True)
    except (ValueError, binascii.Error):
        context.report("datatype", "must be data in the encoding `ED.4` names", component=5)
        return ""
    return packed


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


def reference_pointer(raw: str, context: Context) -> FhirJson | None:
    """An Attachment of an RP: where the data is."""
    parts = Parts(raw, context)
    pointer = parts.whole(1)
    if not pointer:
        return None
    found: FhirJson = {}
    if kind := media_type(parts(3), parts(4), context):
        found["contentType"] = kind
    # A pointer that is no URI means something only to the application named beside it.
    found["url" if _URL.match(pointer) else "title"] = pointer
    return found


def lines_of(context: Context) -> str:
    """The text of an OBX and those that continue it, one line a repetition."""
    lines: list[str] = []
    for segment in context.node.run_of(context.segment) if context.segment else ():
        raw = segment.field(5)
        lines += [context.text(part) for part in raw.split(context.repetition_mark)] if raw else []
    return "\n".join(lines).strip()


def document(raw: str, context: Context) -> FhirJson | None:
    """Elements of a Binary of an OBX and the lines that continue it; None without data."""
    segment = context.segment
    kind = segment.field(2) if segment else ""
    if kind == "ED":
        found = encapsulated(raw.split(context.repetition_mark, 1)[0], context) or {}
        data, media = found.get("data", ""), found.get("contentType", "")
        if not Parts(raw, context).whole(5):
            context.report("datatype", "must hold the data of the document", component=5)
    else:
        text = lines_of(context)
        data, media = _encoded(text) if text else "", "text/plain; charset=utf-8"
    return {"contentType": media or "application/octet-stream", "data": data} if data else None


def document_type(raw: str, context: Context) -> str | None:
    """The media type of the document an OBX holds."""
    segment = context.segment
    if segment is not None and segment.field(2) in TEXT_TYPES:
        return "text/plain; charset=utf-8"
    parts = Parts(raw, context)
    at = 3 if segment is not None and segment.field(2) == "RP" else 2
    return media_type(parts(at), parts(at + 1), context) or None


def media(raw: str, context: Context) -> str | None:
    """The media type a document's presentation means (TXA-3, table 0191)."""
    return media_type(Parts(raw, context)(1), "", context) or None


def text_data(raw: str, context: Context) -> str | None:
    """The base64 of every repetition of a text, as lines."""
    lines = [context.text(part) for part in raw.split(context.repetition_mark)]
    text = "\n".join(line for line in lines if line)
    return _encoded(text) if text else None


def kind_of_document(
    raw: str, context: Context, concepts: ConceptMap | None = None
) -> FhirJson | None:
    """DocumentReference.type of a CWE: with a coding US Core knows, or one that says unknown."""
    found = codeable_concept(raw, context, concepts)
    if found is None:
        return None
    codings = found.setdefault("coding", [])
    if not any(coding.get("system") == _LOINC for coding in codings):
        codings.append(dict(_UNKNOWN))
    return found


def conclusion(raw: str, context: Context, concepts: ConceptMap) -> str | None:
    """The text of an OBX whose code, or whose code's suffix, is that of a conclusion."""
    parts = Parts(raw, context)
    codes = (parts(1), parts(4), parts(1, 2), parts(4, 2))
    if not any(concepts.exact(code) for code in codes if code):
        return None
    return lines_of(context) or None
