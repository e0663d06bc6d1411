"""What an invariant is, and words that several need (pure)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fhir_server.profiles.values import inside, values
from hie.kernel.fhir import FhirJson

Holds = Callable[[Any, FhirJson], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """One invariant.

    Attributes:
        expected: what it asks, for the sender.
        test: whether it holds for an object; for text too where `is_of_text`.
    """

    expected: str
    test: Holds
    severity: str = "error"
    is_of_text: bool = False

    def holds(self, value: Any, resource: FhirJson) -> bool:
        """Whether a value meets it; what it does not speak of does."""
        if isinstance(value, dict) or (self.is_of_text and isinstance(value, str)):
            return self.test(value, resource)
        return True


def has(node: Any, *names: str) -> bool:
    """Whether any of these elements is there; `value[x]` of any type."""
    return isinstance(node, dict) and any(values(node, name, "") for name in names)


def coded(value: Any, system: str, *codes: str) -> bool:
    """Whether a CodeableConcept (or several) has one of these codes of a system."""
    return any(
        isinstance(each, dict) and each.get("system") == system and each.get("code") in codes
        for one in (value if isinstance(value, list) else [value])
        for each in inside(one, "coding")
    )


def needs(*names: str) -> Holds:
    """One of these elements is there."""
    return lambda node, _: has(node, *names)


def not_both(one: str, other: str) -> Holds:
    """At most one of two elements is there."""
    return lambda node, _: not (has(node, one) and has(node, other))


def needs_if(name: str, *needed: str) -> Holds:
    """Where one element is there, one of the others is too."""
    return lambda node, _: not has(node, name) or has(node, *needed)
