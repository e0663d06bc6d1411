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


def references(node: Any, path: str = "") -> Iterator[tuple[str, FhirJson]]:
    """Every Reference below `node` that has a literal `reference`, with its path."""
    if isinstance(node, dict):
        if isinstance(node.get("reference"), str):
            yield path, node
        for name, child in node.items():
            if isinstance(child, dict | list):
                yield from references(child, f"{path}.{name}" if path else name)
    elif isinstance(node, list):
        for position, child in enumerate(node):
            yield from references(child, f"{path}[{position}]")


def rewrite_references(node: Any, change: Callable[[str], str]) -> Any:
    """A copy of `node` with `change` applied to every literal reference."""
    if isinstance(node, dict):
        return {
            name: change(child)
            if name == "reference" and isinstance(child, str)
            else rewrite_references(child, change)
            for name, child in node.items()
        }
    if isinstance(node, list):
        return [rewrite_references(child, change) for child in node]
    return node


def split_reference(reference: str) -> tuple[str, str] | None:
    """(type, id) of a relative literal reference, or None for any other form."""
    found = RELATIVE.match(reference)
    return (found["type"], found["id"]) if found else None
