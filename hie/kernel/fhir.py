"""FHIR JSON as plain values, and the reference syntax of R4.

Numbers with a fraction are `Decimal`, so that the precision a sender wrote survives.
Spec: https://hl7.org/fhir/R4/json.html, https://hl7.org/fhir/R4/references.html
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

#: A FHIR resource or element as parsed JSON.
FhirJson = dict[str, Any]

RELATIVE = re.compile(
    r"^(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})(/_history/[A-Za-z0-9\-.]{1,64})?$"
)
ID = re.compile(r"^[A-Za-z0-9\-.]{1,64}$")


def objects(node: Any) -> Iterator[FhirJson]:
    """Every JSON object at and below `node`; a walk without recursion, in no fixed order."""
    stack = [node]
    while stack:
        found = stack.pop()
        if type(found) is dict:
            yield found
            stack += [child for child in found.values() if type(child) in (dict, list)]
        elif type(found) is list:
            stack += found


def rewrite_references(resource: FhirJson, change: Callable[[str], str]) -> FhirJson:
    """`resource` itself, with `change` applied to every literal reference in it.

    The `url` of an Attachment refers to a Binary; it is changed alike.
    """
    for element in objects(resource):
        for name in ("reference", "url"):
            found = element.get(name)
            if type(found) is str:
                element[name] = change(found)
    return resource


def split_reference(reference: str) -> tuple[str, str] | None:
    """(type, id) of a relative literal reference, or None for any other form."""
    found = RELATIVE.match(reference)
    return (found["type"], found["id"]) if found else None
