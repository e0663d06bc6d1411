"""Coded values to FHIR: CWE, CNE, CE, ID, IS and what concept maps make of them.

A code no map knows keeps its text and is reported; a coding system nobody else knows becomes
one of the source's own, never a guess.
Spec: HL7 v2.8.2 2.A.13 (CWE); https://hl7.org/fhir/R4/datatypes.html#CodeableConcept
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from adapters.hl7v2.context import Context, Parts
from adapters.terminology import Concept, ConceptMap
from hie.kernel.fhir import FhirJson

V2_TABLE: Final = "http://terminology.hl7.org/CodeSystem/v2-"
CODING_SYSTEMS: Final = "coding-system"

#: Components of the up to three codings of a CWE: code, text, system, version.
_TRIPLETS: Final = ((1, 2, 3, 7), (4, 5, 6, 8), (10, 11, 12, 13))
_TABLE: Final = re.compile(r"^(?:HL7|hl7)[ -]?(\d{4})$")
OID: Final = re.compile(r"^[0-2](?:\.(?:0|[1-9]\d*))+$")
_URI: Final = re.compile(r"^(?:https?://|urn:)\S+$")


@dataclass(frozen=True, slots=True)
class Kept:
    """A code that has no place in a code element: its text is kept beside it."""

    text: str

    def extension(self) -> FhirJson:
        """The primitive's extension that carries the text."""
        return {
            "extension": [
                {
                    "url": "http://hl7.org/fhir/StructureDefinition/alternate-codes",
                    "valueCodeableConcept": {"text": self.text},
                }
            ]
        }


def system_uri(name: str, context: Context) -> str:
    """The URI of a coding system as the sender names it; "" for no name."""
    if not name:
        return ""
    key = ("system", name)
    found: str | None = context.shared.get(key)
    if found is None:
        found = _system_uri(name, context)
        context.keep(key, found)
    return found


def _system_uri(name: str, context: Context) -> str:
    concept = context.terminology.map(CODING_SYSTEMS).translate(name)
    if concept:
        return concept.target
    table = _TABLE.match(name)
    if table:
        return V2_TABLE + table[1]
    if OID.match(name):
        return f"urn:oid:{name}"
    if _URI.match(name):
        return name
    return f"urn:hie:codes:{quote(context.source.id)}:{quote(name)}"


def codeable_concept(
    raw: str, context: Context, concepts: ConceptMap | None = None
) -> FhirJson | None:
    """A CodeableConcept: the concept map's coding first, then the sender's own."""
    key = (concepts.name if concepts else "", raw)
    found: FhirJson | None = context.shared.get(key)
    if found is None:
        reported, asked = len(context.findings), context.asked
        found = _codeable(Parts(raw, context), context, concepts)
        if found is None:
            return None
        # A code that is in no map is reported wherever it stands, so it is not remembered; nor
        # is one that staff answered for, so that the answer knows its messages.
        if (len(context.findings), context.asked) == (reported, asked):
            context.keep(key, found)
    return _copy(found)


def inner_concept(
    raw: str, context: Context, concepts: ConceptMap | None = None
) -> FhirJson | None:
    """A CodeableConcept of a CE or CWE that is itself a component (SPS.1)."""
    return codeable_concept(raw.replace(context.sub, context.component), context, concepts)


def _copy(concept: FhirJson) -> FhirJson:
    """A CodeableConcept of its own: what is remembered must not change with a resource."""
    copy = dict(concept)
    if "coding" in concept:
        copy["coding"] = [dict(entry) for entry in concept["coding"]]
    return copy


def _codeable(parts: Parts, context: Context, concepts: ConceptMap | None) -> FhirJson | None:
    codings = _codings(parts, context)
    text = parts(9) or parts(2) or parts(5)
    if concepts and parts(1):
        codings, kept = _translated(codings, parts(1), context, concepts)
        text = text or kept
    elif codings and "system" not in codings[0] and " " in codings[0]["code"]:
        text = text or codings[0]["code"]  # prose where a code should be
        del codings[0]
    if codings and "system" not in codings[0]:
        text = text or codings[0]["code"]  # a code nobody can look up has to be read
    if not codings:
        return {"text": text} if text else None
    return {"coding": codings, "text": text} if text else {"coding": codings}


def _codings(parts: Parts, context: Context) -> list[FhirJson]:
    """The sender's codings; a triplet without a code is none."""
    codings = []
    count = len(parts)
    for code_at, text_at, system_at, version_at in _TRIPLETS:
        code = parts(code_at)
        if code:
            coding: FhirJson = {}
            if system := system_uri(parts(system_at), context):
                coding["system"] = system
            if version_at <= count and (version := parts(version_at)):
                coding["version"] = version
            coding["code"] = " ".join(code.split()) if " " in code else code
            if display := parts(text_at):
                coding["display"] = display
            codings.append(coding)
        if count < 4:
            break
    return codings


def _translated(
    codings: list[FhirJson], code: str, context: Context, concepts: ConceptMap
) -> tuple[list[FhirJson], str]:
    """The codings with the map's own first, and the text an unmapped code leaves."""
    concept = concepts.translate(code) or _by_other_coding(codings[1:], concepts)
    context.answered(concept)
    if concept is None:
        if any(_is_national(coding) for coding in codings):
            return codings, ""
        context.unmapped(concepts.name, code, codings[0].get("display", ""), component=1)
        return codings, code
    if not concept.target:
        return codings, code
    mapped = concept.coding()
    same = (mapped.get("system"), mapped["code"])
    # A code without a system says nothing beside its translation.
    others = [c for c in codings if "system" in c and (c["system"], c["code"]) != same]
    return [mapped, *others], ""


def _by_other_coding(codings: list[FhirJson], concepts: ConceptMap) -> Concept | None:
    return next((c for coding in codings if (c := concepts.translate(coding["code"]))), None)


def _is_national(coding: FhirJson) -> bool:
    """Whether a coding already has a system everybody knows, so that no map is needed."""
    system = coding.get("system", "")
    return bool(system) and not system.startswith(("urn:hie:", V2_TABLE))


def coding(raw: str, context: Context, concepts: ConceptMap | None = None) -> FhirJson | None:
    """A Coding: the first coding of the CodeableConcept."""
    found = codeable_concept(raw, context, concepts)
    codings: list[FhirJson] = found.get("coding", []) if found else []
    return codings[0] if codings else None


def lookup(raw: str, context: Context, concepts: ConceptMap) -> FhirJson | None:
    """A Coding where the map has one; nothing, and nobody asked, where it has none."""
    key = (f"lookup {concepts.name}", raw)
    found: FhirJson | None = context.shared.get(key)
    if found is None:
        concept = concepts.translate(Parts(raw, context)(1))
        context.answered(concept)
        found = concept.coding() if concept and concept.target else {}
        if not (concept and concept.task_id):
            context.keep(key, found)
    return dict(found) if found else None


def code(raw: str, context: Context, concepts: ConceptMap) -> str | Kept | None:
    """A code of FHIR's own; `Kept` for one the map does not know."""
    parts = Parts(raw, context)
    given = parts(1)
    if not given:
        return None
    concept = concepts.translate(given)
    context.answered(concept)
    if concept is None:
        context.unmapped(concepts.name, given, parts(2), component=1)
        return Kept(parts(2) or given)
    return concept.target or None


def boolean(raw: str, context: Context, concepts: ConceptMap) -> bool | None:
    """A boolean by a map to `true` and `false`."""
    found = code(raw, context, concepts)
    return found == "true" if isinstance(found, str) else None
