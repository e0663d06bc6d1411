"""The invariants of what resources come in and are planned by: Bundles, lists, times (pure).

Spec: https://hl7.org/fhir/R4/bundle.html, https://hl7.org/fhir/R4/appointment.html,
https://hl7.org/fhir/R4/datatypes.html#Timing
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from fhir_server.profiles.rule import Holds, Rule, has, needs, needs_if, not_both
from fhir_server.profiles.values import inside
from hie.kernel.fhir import FhirJson

#: Appointments that may have no time yet, and those that may say why they were cancelled.
_WITHOUT_TIME: Final = frozenset({"proposed", "cancelled", "waitlist"})
_ENDED: Final = frozenset({"cancelled", "noshow"})
#: Events (meals) that an offset cannot be counted from.
_MEALS: Final = frozenset({"C", "CM", "CD", "CV"})


def _only(name: str, *types: str) -> Holds:
    """An element of entries stands in Bundles of these types only."""
    return lambda node, _: (
        node.get("type") in types or not any(has(each, name) for each in inside(node, "entry"))
    )


def _total(node: Any, _: FhirJson) -> bool:
    return not has(node, "total") or node.get("type") in ("searchset", "history")


def _distinct(node: Any, _: FhirJson) -> bool:
    """No address twice, but in histories (where versions share it)."""
    if node.get("type") == "history":
        return True
    named = [
        (each["fullUrl"], *inside(each, "resource.meta.versionId"))
        for each in inside(node, "entry")
        if isinstance(each.get("fullUrl"), str)
    ]
    return len(named) == len(set(named))


def _unversioned(node: Any, _: FhirJson) -> bool:
    return "/_history/" not in str(node.get("fullUrl", ""))


def _document_has(name: str) -> Holds:
    return lambda node, _: (
        node.get("type") != "document" or next(inside(node, name), None) is not None
    )


def _begins(bundle: str, resource: str) -> Holds:
    """A Bundle of one type begins with a resource of one type."""

    def holds(node: Any, _: FhirJson) -> bool:
        first: FhirJson = next(inside(node, "entry"), {})
        return node.get("type") != bundle or resource in set(inside(first, "resource.resourceType"))

    return holds


def _timed(node: Any, _: FhirJson) -> bool:
    return has(node, "start", "end") or node.get("status") in _WITHOUT_TIME


def _both_times(node: Any, _: FhirJson) -> bool:
    return has(node, "start") == has(node, "end")


def _called_off(node: Any, _: FhirJson) -> bool:
    return not has(node, "cancelationReason") or node.get("status") in _ENDED


def _changes(node: Any, _: FhirJson) -> bool:
    is_deleting = any(each.get("deleted") is True for each in inside(node, "entry"))
    return not is_deleting or node.get("mode") == "changes"


def _dated(node: Any, _: FhirJson) -> bool:
    return not any(has(each, "date") for each in inside(node, "entry")) or (
        node.get("mode") == "working"
    )


def _not_negative(name: str) -> Holds:
    return lambda node, _: not has(node, name) or bool(node.get(name) is None or node[name] >= 0)


def _offset(node: Any, _: FhirJson) -> bool:
    when = set(inside(node, "when"))
    return not has(node, "offset") or bool(when and not when & _MEALS)


SHARED: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "app-1": Rule("a type or an actor", needs("type", "actor")),
        "app-2": Rule("start and end, or neither", _both_times),
        "app-3": Rule("a time unless proposed, cancelled or waiting", _timed),
        "app-4": Rule("a reason only where cancelled or missed", _called_off),
        "bdl-1": Rule("a total in a searchset or history only", _total),
        "bdl-2": Rule("`entry.search` in a searchset only", _only("search", "searchset")),
        "bdl-3": Rule(
            "`entry.request` in a batch, transaction or history only",
            _only("request", "batch", "transaction", "history"),
        ),
        "bdl-4": Rule(
            "`entry.response` in a response or history only",
            _only("response", "batch-response", "transaction-response", "history"),
        ),
        "bdl-5": Rule(
            "a resource, a request or a response",
            lambda node, _: (
                not has(node, "fullUrl") or has(node, "resource", "request", "response")
            ),
        ),
        "bdl-7": Rule("no address twice", _distinct),
        "bdl-8": Rule("an address without a version", _unversioned),
        "bdl-9": Rule(
            "a document's identifier with system and value",
            lambda node, _: (
                _document_has("identifier.system")(node, _)
                and _document_has("identifier.value")(node, _)
            ),
        ),
        "bdl-10": Rule("a document's timestamp", _document_has("timestamp")),
        "bdl-11": Rule(
            "a document to begin with a Composition", _begins("document", "Composition")
        ),
        "bdl-12": Rule("a message to begin with its header", _begins("message", "MessageHeader")),
        "cmp-1": Rule("a text, entries or sections", needs("text", "entry", "section")),
        "cmp-2": Rule("no reason for emptiness beside entries", not_both("emptyReason", "entry")),
        "imr-1": Rule("a vaccine or a disease", needs("vaccineCode", "targetDisease")),
        "lst-1": Rule("no reason for emptiness beside entries", not_both("emptyReason", "entry")),
        "lst-2": Rule("deleted entries in a list of changes only", _changes),
        "lst-3": Rule("dates of entries in a working list only", _dated),
        "tim-1": Rule("a unit of the duration", needs_if("duration", "durationUnit")),
        "tim-2": Rule("a unit of the period", needs_if("period", "periodUnit")),
        "tim-4": Rule("a duration that is not negative", _not_negative("duration")),
        "tim-5": Rule("a period that is not negative", _not_negative("period")),
        "tim-6": Rule("a duration below its maximum", needs_if("durationMax", "duration")),
        "tim-7": Rule("a period below its maximum", needs_if("periodMax", "period")),
        "tim-8": Rule("a count below its maximum", needs_if("countMax", "count")),
        "tim-9": Rule("an event to count the offset from, no meal", _offset),
        "tim-10": Rule("times of day or an event, not both", not_both("timeOfDay", "when")),
    }
)
