"""Whether FHIR JSON is a valid R4 resource, by the library's R4B models."""

import json
from decimal import Decimal
from functools import cache
from typing import Any

from fhir.resources.R4B import get_fhir_model_class

from hie.kernel.fhir import FhirJson

URN = "urn:hie:"


def with_resolved_references(node: Any) -> Any:
    """A copy in which links to drafts (`urn:hie:<name>`) have the form of ids."""
    if isinstance(node, dict):
        return {name: with_resolved_references(child) for name, child in node.items()}
    if isinstance(node, list):
        return [with_resolved_references(child) for child in node]
    if isinstance(node, str) and node.startswith(URN) and ":" not in node[len(URN) :]:
        return f"Basic/{node[len(URN) :]}"
    return node


def faults_of(resource: FhirJson) -> list[str]:
    """What is wrong with a resource; [] for a valid one. `None` elements count as absent."""
    stated = {name: value for name, value in resource.items() if value is not None}
    text = json.dumps(with_resolved_references(stated), default=_as_number)
    try:
        _model(str(resource["resourceType"])).model_validate_json(text)
    except ValueError as error:
        return [f"{resource['resourceType']}: {line}" for line in str(error).splitlines()[:12]]
    return []


@cache
def _model(kind: str) -> Any:
    return get_fhir_model_class(kind)


def _as_number(value: object) -> float:
    assert isinstance(value, Decimal), f"{type(value).__name__} is not FHIR JSON"
    return float(value)
