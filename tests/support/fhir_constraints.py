"""Constraints of R4 that no model checks: what may stand beside what, for resources of feeds.

Spec: constraints ele-1, dom-3, per-1, rat-1, tim-9, tim-10, app-1 to app-4, con-4, con-5, prr-1
and mad-1 of https://hl7.org/fhir/R4
"""

from collections.abc import Iterator
from typing import Any

from hie.kernel.fhir import FhirJson

_TIMELESS = frozenset({"proposed", "cancelled", "waitlist"})
_PAST = frozenset({"inactive", "resolved", "remission"})


def breaches(resource: FhirJson) -> list[str]:
    """What of these a resource breaks; [] for none. Top-level `None` counts as absent."""
    stated = {name: value for name, value in resource.items() if value is not None}
    found = [*_empty(stated, ""), *_contained(stated)]
    for node in _objects(stated):
        found += _of_element(node)
    check = _CHECKS.get(stated["resourceType"])
    return found + (check(stated) if check else [])


def _empty(node: Any, path: str) -> Iterator[str]:
    if isinstance(node, dict | list) and not node:
        yield f"ele-1 {path}"
    elif isinstance(node, dict):
        for name, child in node.items():
            yield from _empty(child, f"{path}.{name}")
    elif isinstance(node, list):
        for child in node:
            yield from _empty(child, f"{path}[]")
    elif node == "" or node is None:
        yield f"ele-1 {path}"


def _objects(node: Any) -> Iterator[FhirJson]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from _objects(child)
    elif isinstance(node, list):
        for child in node:
            yield from _objects(child)


def _contained(resource: FhirJson) -> list[str]:
    inside = {f"#{c.get('id')}" for c in resource.get("contained", ())}
    named = {
        o["reference"] for o in _objects(resource) if str(o.get("reference", "")).startswith("#")
    }
    return [] if inside == named else ["dom-3"]


def _of_element(node: FhirJson) -> list[str]:
    found = []
    start, end = node.get("start"), node.get("end")
    if isinstance(start, str) and isinstance(end, str) and start[:10] > end[: len(start[:10])]:
        found.append("per-1")
    if ("numerator" in node) is not ("denominator" in node):
        found.append("rat-1")
    if "timeOfDay" in node and "when" in node:
        found.append("tim-10")
    if "offset" in node and "when" not in node:
        found.append("tim-9")
    return found


def _appointment(resource: FhirJson) -> list[str]:
    has = {n: n in resource or f"_{n}" in resource for n in ("start", "end")}
    found = [] if has["start"] is has["end"] else ["app-2"]
    if not has["start"] and resource["status"] not in _TIMELESS:
        found.append("app-3")
    if "cancelationReason" in resource and resource["status"] != "cancelled":
        found.append("app-4")
    people = resource["participant"]
    return found + ["app-1" for p in people if not p.keys() & {"type", "actor"}]


def _condition(resource: FhirJson) -> list[str]:
    sure, clinical = (
        _code(resource.get(name)) for name in ("verificationStatus", "clinicalStatus")
    )
    found = ["con-5"] if sure == "entered-in-error" and clinical else []
    if any(name.startswith("abatement") for name in resource) and clinical not in (*_PAST, ""):
        found.append("con-4")
    return found


def _code(concept: Any) -> str:
    codings = (concept or {}).get("coding") or [{}]
    return str(codings[0].get("code", ""))


def _request(resource: FhirJson) -> list[str]:
    return ["prr-1"] if "orderDetail" in resource and "code" not in resource else []


def _administration(resource: FhirJson) -> list[str]:
    dosage = resource.get("dosage", {"dose": {}})
    return [] if dosage.keys() & {"dose", "rateRatio", "rateQuantity"} else ["mad-1"]


_CHECKS = {
    "Appointment": _appointment,
    "Condition": _condition,
    "ServiceRequest": _request,
    "MedicationAdministration": _administration,
}
