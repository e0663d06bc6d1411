"""The value of an observation: OBX-5 by the type OBX-2 names.

What cannot be read as its type is kept as text and reported; no result is lost.
Spec: HL7 v2.8.2 7.4.2.5; https://hl7.org/fhir/R4/observation.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from adapters.hl7v2.attachments import lines_of
from adapters.hl7v2.codes import codeable_concept
from adapters.hl7v2.context import Context, Converter
from hie.kernel.fhir import FhirJson

NOT_STATED: Final = {"text": "not stated"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueType:
    """What one OBX-2 value becomes, a row of `config/hl7v2/datatypes/values.toml`.

    Attributes:
        element: `valueQuantity`, ...; `*` where the converter names its elements itself.
        convert: from one repetition; None = unreadable.
        is_lines: repetitions and continuing OBX are lines of one text.
    """

    element: str
    convert: Converter
    is_lines: bool = False


def observation_value(raw: str, context: Context, types: Mapping[str, ValueType]) -> FhirJson:
    """The value[x] of an Observation, or its components where OBX-5 repeats.

    Args:
        raw: the whole field, repetitions and all.
        context: stands at the OBX.
        types: by OBX-2.
    """
    segment = context.segment
    kind = segment.field(2) if segment is not None else ""
    found = types.get(kind)
    if found is None:
        return {"valueString": text} if (text := context.text(raw)) else {}
    if found.is_lines:
        return {found.element: text} if (text := lines_of(context)) else {}
    repeated = [part for part in raw.split(context.repetition_mark) if part]
    if len(repeated) < 2:
        return _value(repeated[0], found, context) if repeated else {}
    code = codeable_concept(segment.field(3), context) if segment is not None else None
    values = [value for part in repeated if (value := _value(part, found, context))]
    return {"component": [{"code": code or dict(NOT_STATED), **v} for v in values]}


def _value(raw: str, kind: ValueType, context: Context) -> FhirJson:
    value = kind.convert(raw, context)
    if value is None:
        text = context.text(raw)
        if not text:
            return {}
        context.report("datatype", "is not of the type `OBX-2` names; kept as text")
        return {"valueString": text}
    found: FhirJson = value if kind.element == "*" else {kind.element: value}
    return found


def attachment_extension(value: FhirJson) -> FhirJson:
    """Observation elements of an attachment, which R4 has no value[x] for."""
    url = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Observation.value"
    return {"extension": [{"url": url, "valueAttachment": value}]}
