"""The model written as FHIR resources (pure).

Spec: https://hl7.org/fhir/R4/codesystem.html, https://hl7.org/fhir/R4/valueset.html#expansion
"""

from typing import Any, Final

from fhir_server.terminology.model import CodeSystem, Concept, Expansion, Include, ValueSet
from hie.kernel.fhir import FhirJson

#: Marks an expansion that lacks codes which are not here.
UNCLOSED: Final = "http://hl7.org/fhir/StructureDefinition/valueset-unclosed"


def code_system(system: CodeSystem) -> FhirJson:
    """The CodeSystem resource."""
    return {
        **_head("CodeSystem", system),
        "caseSensitive": system.is_case_sensitive,
        "content": "complete" if system.is_complete else "fragment",
        "concept": [_concept(each) for each in system.concepts.values()],
    }


def value_set(found: ValueSet) -> FhirJson:
    """The ValueSet resource, without an expansion."""
    compose: FhirJson = {"include": [_include(each) for each in found.includes]}
    if found.excludes:
        compose["exclude"] = [_include(each) for each in found.excludes]
    return {**_head("ValueSet", found), "compose": compose}


def expanded(
    found: ValueSet, expansion: Expansion, *, offset: int, count: int, total: int, at: str
) -> FhirJson:
    """The ValueSet resource with one page of its expansion.

    Args:
        found: the value set.
        expansion: the codes that are told of, of which the page is cut.
        offset: codes passed over.
        count: codes told at most.
        total: all codes there are.
        at: when, as an instant.
    """
    page: FhirJson = {"timestamp": at, "total": total, "offset": offset}
    if not expansion.is_whole:
        page["extension"] = [{"url": UNCLOSED, "valueBoolean": True}]
    members = expansion.members[offset : offset + count]
    if members:
        page["contains"] = [
            _shown({"system": m.system, "code": m.code, "display": m.display}) for m in members
        ]
    return {**_head("ValueSet", found), "expansion": page}


def _head(type_name: str, resource: CodeSystem | ValueSet) -> FhirJson:
    told = {"id": resource.id, "url": resource.url}
    rest = {"version": resource.version, "name": resource.name}
    return {"resourceType": type_name, **_shown({**told, **rest}), "status": "active"}


def _shown(members: dict[str, Any]) -> FhirJson:
    return {name: value for name, value in members.items() if value}


def _concept(concept: Concept) -> FhirJson:
    told = _shown({"code": concept.code, "display": concept.display})
    if concept.parents:
        told["property"] = [{"code": "parent", "valueCode": each} for each in concept.parents]
    return told


def _include(include: Include) -> FhirJson:
    told = _shown({"system": include.system})
    if include.codes:
        told["concept"] = [
            _shown({"code": code, "display": include.displays.get(code, "")})
            for code in include.codes
        ]
    if include.filters:
        told["filter"] = [
            {"property": each.property, "op": each.op, "value": each.value}
            for each in include.filters
        ]
    if include.value_sets:
        told["valueSet"] = list(include.value_sets)
    return told
