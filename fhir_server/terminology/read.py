"""FHIR CodeSystem and ValueSet resources read into the model (pure).

Spec: https://hl7.org/fhir/R4/valueset.html#compositions
"""

from collections.abc import Iterable, Iterator
from types import MappingProxyType
from typing import Final

from fhir_server.terminology.model import CodeSystem, Concept, Filter, Include, ValueSet
from hie.kernel.fhir import FhirJson

#: Marks an include whose list of codes belongs to others and is not carried.
NOT_CARRIED: Final = "urn:hie:codes-not-carried"
#: Properties of a concept that name the codes above it.
PARENTS: Final = frozenset({"parent", "subsumedBy"})


def read_code_system(resource: FhirJson) -> CodeSystem:
    """A CodeSystem; KeyError or TypeError where it is none."""
    concepts: dict[str, Concept] = {}
    for concept in _concepts(resource.get("concept", ()), ()):
        known = concepts.get(concept.code)
        parents = dict.fromkeys((*(known.parents if known else ()), *concept.parents))
        concepts[concept.code] = Concept(
            code=concept.code, display=concept.display, parents=tuple(parents)
        )
    children: dict[str, list[str]] = {}
    for concept in concepts.values():
        for parent in concept.parents:
            children.setdefault(parent, []).append(concept.code)
    has_case = resource.get("caseSensitive", True)
    folded = {} if has_case else {code.casefold(): code for code in reversed(concepts)}
    return CodeSystem(
        id=resource["id"],
        url=resource["url"],
        version=resource.get("version", ""),
        name=resource.get("name", ""),
        is_complete=resource.get("content", "complete") == "complete",
        is_case_sensitive=has_case,
        folded=MappingProxyType(folded),
        concepts=MappingProxyType(concepts),
        children=MappingProxyType({code: tuple(below) for code, below in children.items()}),
    )


def _concepts(told: Iterable[FhirJson], above: tuple[str, ...]) -> Iterator[Concept]:
    for each in told:
        named = [
            part["valueCode"] for part in each.get("property", ()) if part.get("code") in PARENTS
        ]
        yield Concept(code=each["code"], display=each.get("display", ""), parents=(*above, *named))
        yield from _concepts(each.get("concept", ()), (each["code"],))


def read_value_set(resource: FhirJson) -> ValueSet:
    """A ValueSet; KeyError or TypeError where it is none."""
    compose = resource["compose"]
    return ValueSet(
        id=resource["id"],
        url=resource["url"],
        version=resource.get("version", ""),
        name=resource.get("name", ""),
        includes=tuple(_include(each) for each in compose["include"]),
        excludes=tuple(_include(each) for each in compose.get("exclude", ())),
    )


def _include(told: FhirJson) -> Include:
    listed = told.get("concept", ())
    return Include(
        system=told.get("system", ""),
        codes=tuple(each["code"] for each in listed),
        displays=MappingProxyType(
            {each["code"]: each["display"] for each in listed if each.get("display")}
        ),
        filters=tuple(
            Filter(property=each["property"], op=each["op"], value=each["value"])
            for each in told.get("filter", ())
        ),
        value_sets=tuple(told.get("valueSet", ())),
        is_elsewhere=any(each.get("url") == NOT_CARRIED for each in told.get("extension", ())),
    )
