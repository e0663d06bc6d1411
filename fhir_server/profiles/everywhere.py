"""What R4 asks of every resource, whatever its profile (pure).

Invariants of the resource and of the data types in it, those of extensions and contained
resources, and codes that their own code system does not have.
Spec: https://hl7.org/fhir/R4/domainresource.html, https://hl7.org/fhir/R4/extensibility.html
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from fhir_server.profiles.check import Checker, Finding, Kind, contained_types, finding
from fhir_server.profiles.load import Profiles
from fhir_server.terminology.vocabulary import Vocabulary
from hie.kernel.fhir import FhirJson, objects

#: Levels walked at most; the check of structure refuses deeper ones.
MAX_DEPTH: Final = 60
RESOURCE: Final = "Resource"


class Known(Protocol):
    """What of an element's model counts here."""

    @property
    def type(self) -> str:
        """Its type; "" for primitives."""
        ...

    @property
    def path(self) -> str:
        """Its name in an expression, `value.ofType(Quantity)`."""
        ...


#: The elements of a type by their JSON names; ValueError for a type that is not known.
Elements = Callable[[str], Mapping[str, Known]]


class Everywhere:
    """Checks resources against what holds everywhere."""

    def __init__(
        self, profiles: Profiles, vocabulary: Vocabulary, checker: Checker, elements: Elements
    ) -> None:
        self._profiles = profiles
        self._vocabulary = vocabulary
        self._checker = checker
        self._elements = elements

    def check(self, resource: FhirJson, at: str) -> Iterator[Finding]:
        """The faults of a resource of sound structure and of everything in it."""
        around = _Around(resource, frozenset(contained_types(resource)))
        yield from self._node(resource, resource["resourceType"], at, around, 0)
        yield from _contained(resource, at)

    def _node(
        self, node: FhirJson, type_name: str, at: str, around: "_Around", depth: int
    ) -> Iterator[Finding]:
        if (base := self._profiles.base(type_name)) is not None:
            yield from self._checker.check(base, node, at, around.resource)
        if type_name == "Extension":
            yield from _extension(node, at)
        elif type_name == "Coding":
            yield from self._coding(node, at)
        elif type_name == "Reference":
            yield from around.reference(node, at)
        if depth < MAX_DEPTH:
            yield from self._below(node, type_name, at, around, depth)

    def _below(
        self, node: FhirJson, type_name: str, at: str, around: "_Around", depth: int
    ) -> Iterator[Finding]:
        try:
            known = self._elements(type_name)
        except (ValueError, KeyError):
            return  # a type of R4 that has no model
        for name, value in node.items():
            element = known.get(name)
            if element is None or not element.type:
                continue
            many = isinstance(value, list)
            for n, item in enumerate(value if many else [value]):
                place = f"{at}.{element.path}" + (f"[{n}]" if many else "")
                if isinstance(item, dict) and element.type != RESOURCE:
                    yield from self._node(item, element.type, place, around, depth + 1)
                elif isinstance(item, dict):
                    yield from self._inner(item, place, None if name != "contained" else around)

    def _inner(self, item: FhirJson, place: str, around: "_Around | None") -> Iterator[Finding]:
        """A resource in a resource: contained in `around`, or (an entry) for itself."""
        type_name = item.get("resourceType")
        if isinstance(type_name, str) and around is not None:
            yield from self._node(item, type_name, place, around, 1)
        elif isinstance(type_name, str):
            yield from self.check(item, place)

    def _coding(self, coding: FhirJson, at: str) -> Iterator[Finding]:
        system, code = coding.get("system"), coding.get("code")
        if not (isinstance(system, str) and isinstance(code, str)):
            return
        if self._vocabulary.has_code(system, code) is False:
            # Published systems grow: the hub's copy may be older than the sender's.
            text = "expected a code of its code system"
            yield finding(Kind.TERMINOLOGY, f"{at}.code", text, "code-invalid", "warning")


@dataclass(frozen=True, slots=True)
class _Around:
    """The resource that elements stand in, and the ids of what it contains."""

    resource: FhirJson
    contained: frozenset[str]

    def reference(self, node: FhirJson, at: str) -> Iterator[Finding]:
        """A reference to a contained resource that is not there."""
        literal = node.get("reference")
        if not (isinstance(literal, str) and literal.startswith("#") and literal != "#"):
            return
        if literal[1:] not in self.contained:
            text = "expected a contained resource of that id (ref-1)"
            yield finding(Kind.REFERENCE, at, text, "invariant")


def _extension(node: FhirJson, at: str) -> Iterator[Finding]:
    has_value = any(name.removeprefix("_").startswith("value") for name in node)
    if has_value == ("extension" in node):
        text = "expected a value or extensions, not both (ext-1)"
        yield finding(Kind.PROFILE, at, text, "invariant")


def _contained(resource: FhirJson, at: str) -> Iterator[Finding]:
    """What contained resources may not have, and that somebody refers to each."""
    inside = resource.get("contained")
    if not isinstance(inside, list):
        return
    referred = {
        text
        for each in objects(resource)
        for value in each.values()
        for text in (value if isinstance(value, list) else (value,))
        if isinstance(text, str) and text.startswith("#")
    }
    for n, each in enumerate(inside):
        if not isinstance(each, dict):
            continue
        place = f"{at}.contained[{n}]"
        if "contained" in each:
            yield _rule(place, "no contained resources inside (dom-2)")
        yield from _meta(each.get("meta"), place)
        is_referring = any(value == "#" for o in objects(each) for value in o.values())
        if f"#{each.get('id')}" not in referred and not is_referring:
            yield _rule(place, "expected a reference to it (dom-3)")


def _meta(meta: Any, place: str) -> Iterator[Finding]:
    if isinstance(meta, dict):
        if "versionId" in meta or "lastUpdated" in meta:
            yield _rule(f"{place}.meta", "no version of its own (dom-4)")
        if "security" in meta:
            yield _rule(f"{place}.meta", "no security labels of its own (dom-5)")


def _rule(place: str, text: str) -> Finding:
    return finding(Kind.PROFILE, place, text, "invariant")
