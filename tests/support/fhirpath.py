"""Two FHIRPath engines, and the registry's expressions in what both of them can read.

`fhirpathpy` descends from HL7's own JavaScript engine and knows the model of R4; `fhirpathrs`
was written apart from it, in Rust, and knows no model. What the registry writes and neither
can evaluate without a server or a list is said in other words, as R4's own notes do: `as` on a
list is `ofType`, and `resolve() is T` looks at the reference.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import fhirpathpy
import fhirpathrs  # type: ignore[import-untyped]  # compiled, without hints
from fhirpathpy.models import models

Evaluate = Callable[[str, dict[str, Any]], list[Any]]

_AS_INFIX = re.compile(r"\(([^()|]+?) as (\w+)\)")
_AS_CALL = re.compile(r"\.as\((\w+)\)")
_OF_TYPE = re.compile(r"(\w+)\.ofType\((\w+)\)")
_RESOLVES = re.compile(r"\.where\(resolve\(\) is (\w+)\)")
_EXTENSION = re.compile(r"\.extension\(('[^']+')\)")
_HAS_EXTENSION = re.compile(r"hasExtension\(('[^']+')\)")


def parts_of(expression: str, base: str) -> list[str]:
    """The alternatives of a registry expression that are about a type, in other words."""
    parts = [part.strip() for part in expression.split("|")]
    return [plain(part) for part in parts if re.match(rf"\(?{base}\b", part)]


def plain(part: str) -> str:
    """One alternative without what the engines lack."""
    part = _AS_INFIX.sub(r"\1.ofType(\2)", part)
    part = _AS_CALL.sub(r".ofType(\1)", part)
    part = _RESOLVES.sub(r".where(reference.startsWith('\1/'))", part)
    # Elements that the registry names are extensions; what is searched is their value.
    part = _EXTENSION.sub(r".extension.where(url = \1).value", part)
    return _HAS_EXTENSION.sub(r"extension.where(url = \1).exists()", part)


@dataclass(slots=True)
class Python:
    """`fhirpathpy`; keeps what it compiled."""

    name: str = "fhirpathpy"
    compiled: dict[str, Any] = field(default_factory=dict)

    def evaluate(self, expression: str, resource: dict[str, Any]) -> list[Any]:
        """The elements an expression finds."""
        if expression not in self.compiled:
            self.compiled[expression] = fhirpathpy.compile(expression, models["r4"])
        return list(self.compiled[expression](resource))


@dataclass(slots=True)
class Rust:
    """`fhirpathrs`; of a Quantity it gives value and code alone, and one element unlisted.

    Without a model it finds few choice types by `ofType`: they are spelled out, `valueQuantity`.
    """

    name: str = "fhirpathrs"

    def evaluate(self, expression: str, resource: dict[str, Any]) -> list[Any]:
        """The elements an expression finds."""
        spelled = _OF_TYPE.sub(lambda m: m[1] + m[2][0].upper() + m[2][1:], expression)
        found = fhirpathrs.evaluate(spelled, resource)
        return found if isinstance(found, list) else [found]
