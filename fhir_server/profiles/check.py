"""Whether a resource meets a profile: one finding per fault (pure).

Judged are cardinality, fixed values and patterns, slices, types, profiles of extensions, targets
of references, bindings and invariants. Must-support is a duty of systems, which no resource can
fail. Codes nobody here can judge give no finding.
Spec: https://hl7.org/fhir/R4/profiling.html, https://hl7.org/fhir/R4/validation.html
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from fhir_server.profiles.load import Profiles
from fhir_server.profiles.model import Binding, Element, Profile
from fhir_server.profiles.rules import RULES
from fhir_server.profiles.values import Found, holds, inside, values
from fhir_server.terminology.vocabulary import Vocabulary
from hie.kernel.errors import Issue
from hie.kernel.fhir import FhirJson

#: Profiles within profiles (of extensions) followed at most.
MAX_DEPTH: Final = 8


class Kind(StrEnum):
    """What a finding is about; a source's policy says what comes of each."""

    PROFILE = "profile"
    REFERENCE = "reference"
    TERMINOLOGY = "terminology"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of a resource."""

    kind: Kind
    issue: Issue


def finding(kind: Kind, at: str, text: str, code: str, severity: str = "error") -> Finding:
    """A finding at an expression; the text says what was expected."""
    issue = Issue(text=f"`{at}`: {text}", code=code, severity=severity, expression=(at,))
    return Finding(kind, issue)


class Checker:
    """Checks resources against profiles."""

    def __init__(self, profiles: Profiles, vocabulary: Vocabulary) -> None:
        self._profiles = profiles
        self._vocabulary = vocabulary

    def check(self, profile: Profile, node: FhirJson, at: str, resource: FhirJson) -> list[Finding]:
        """The faults of a resource or element against a profile, in the order of the profile.

        Args:
            profile: of the node's type.
            node: the resource, or an element of a data type.
            at: its expression.
            resource: the resource it stands in.
        """
        run = _Run(self._profiles, self._vocabulary, resource)
        found = run.element(profile.root, Found(node, at), 0)
        return list(dict.fromkeys(found))


class _Run:
    """One check of one resource."""

    def __init__(self, profiles: Profiles, vocabulary: Vocabulary, resource: FhirJson) -> None:
        self._profiles = profiles
        self._vocabulary = vocabulary
        self._resource = resource
        self._contained: dict[str, str] | None = None

    def element(self, element: Element, found: Found, depth: int) -> Iterator[Finding]:
        """The faults of one value against what is said of it."""
        if found.value is None:  # a primitive that says by extension why it is absent
            return
        if element.rules:
            yield from self._rules(element, found)
        if element.fixed is not None and found.value != element.fixed:
            yield finding(Kind.PROFILE, found.at, f"expected {_shown(element.fixed)}", "value")
        if element.pattern is not None and not holds(found.value, element.pattern):
            text = f"expected at least {_shown(element.pattern)}"
            yield finding(Kind.PROFILE, found.at, text, "value")
        if element.binding is not None:
            yield from self._binding(element.binding, found)
        yield from self._types(element, found, depth)
        if isinstance(found.value, dict):
            for child in _at_stake(element, found.value):
                yield from self._child(child, found.value, found.at, depth)

    def _rules(self, element: Element, found: Found) -> Iterator[Finding]:
        for key in element.rules:
            rule = RULES.get(key)
            if rule is not None and not rule.holds(found.value, self._resource):
                text = f"{rule.expected} ({key})"
                yield finding(Kind.PROFILE, found.at, text, "invariant", rule.severity)

    def _child(self, child: Element, node: FhirJson, at: str, depth: int) -> Iterator[Finding]:
        found = values(node, child.name, at)
        place = f"{at}.{child.name.removesuffix('[x]')}"
        yield from _counted(child, len(found), place)
        for each in found:
            yield from self.element(child, each, depth)
        if child.slices:
            yield from self._sliced(child, found, place, depth)

    def _sliced(
        self, child: Element, found: Sequence[Found], place: str, depth: int
    ) -> Iterator[Finding]:
        taken: set[str] = set()
        for each in child.slices:
            mine = [value for value in found if self._is_of(each, child, value)]
            taken.update(value.at for value in mine)
            yield from _counted(each, len(mine), place)
            for value in mine:
                yield from self.element(each, value, depth)
        if child.is_closed:
            names = ", ".join(each.slice_name for each in child.slices)
            for value in found:
                if value.at not in taken:
                    yield finding(Kind.PROFILE, value.at, f"expected one of {names}", "structure")

    def _is_of(self, element: Element, sliced: Element, found: Found) -> bool:
        """Whether a value belongs to a slice."""
        if not sliced.discriminators:
            return False
        return all(self._tells(element, kind, path, found) for kind, path in sliced.discriminators)

    def _tells(self, element: Element, kind: str, path: str, found: Found) -> bool:
        if kind == "type":
            return found.type in {each.code for each in element.types}
        urls = [url for each in element.types for url in each.profiles]
        if path == "url" and urls:
            return isinstance(found.value, dict) and found.value.get("url") in urls
        asked = element.below(path)
        here = list(inside(found.value, path))
        return asked is not None and any(self._meets(asked, each) for each in here)

    def _meets(self, asked: Element, value: Any) -> bool:
        """Whether a value is what a slice says its own look like."""
        if asked.fixed is not None:
            return bool(value == asked.fixed)
        if asked.pattern is not None:
            return holds(value, asked.pattern)
        if asked.binding is not None and asked.binding.is_required:
            return True in self._memberships(asked.binding, value)
        telling = [each for each in asked.children.values() if _is_telling(each)]
        return bool(telling) and all(
            any(self._meets(each, inner) for inner in inside(value, each.name)) for each in telling
        )

    def _types(self, element: Element, found: Found, depth: int) -> Iterator[Finding]:
        if not element.types:
            return
        codes = {each.code for each in element.types}
        if found.type and found.type not in codes:
            text = f"expected one of {', '.join(sorted(codes))}"
            yield finding(Kind.PROFILE, found.at, text, "structure")
            return
        fitting = [each for each in element.types if found.type in ("", each.code)]
        targets = {url for each in fitting for url in each.targets}
        if targets and isinstance(found.value, dict):
            yield from self._target(targets, found)
        for url in [url for each in fitting for url in each.profiles][:1]:
            profile = self._profiles.get(url)
            if profile is not None and depth < MAX_DEPTH:
                yield from self.element(profile.root, found, depth + 1)

    def _target(self, targets: set[str], found: Found) -> Iterator[Finding]:
        """A reference that names a type it may not lead to; others name none."""
        types = {self._profiles.type_of(url) for url in targets}
        if types & {"", "Resource"}:
            return
        named = self._type_named(found.value)
        if named and named not in types:
            text = f"expected a reference to {', '.join(sorted(types))}"
            yield finding(Kind.REFERENCE, f"{found.at}.reference", text, "value")

    def _type_named(self, reference: FhirJson) -> str:
        """The type of what a reference leads to, as far as it tells; "" = it does not."""
        literal = reference.get("reference")
        if isinstance(literal, str) and literal.startswith("#"):
            if self._contained is None:
                self._contained = contained_types(self._resource)
            return self._contained.get(literal[1:], "")
        parts = literal.split("/") if isinstance(literal, str) else []
        if "_history" in parts:
            parts = parts[: parts.index("_history")]
        if len(parts) >= 2 and parts[-2][:1].isupper() and parts[-2].isalpha():
            return parts[-2]
        told = reference.get("type")
        return told if isinstance(told, str) else ""

    def _binding(self, binding: Binding, found: Found) -> Iterator[Finding]:
        told = self._memberships(binding, found.value)
        if True in told or None in told:
            return
        is_text_only = not told and isinstance(found.value, dict)
        if is_text_only and (not binding.is_required or "value" in found.value):
            return
        severity = "error" if binding.is_required else "warning"
        text = f"expected a code of {binding.value_set}"
        yield finding(Kind.TERMINOLOGY, found.at, text, "code-invalid", severity)

    def _memberships(self, binding: Binding, value: Any) -> list[bool | None]:
        """Whether the value set holds each code of a value; empty = it has no code."""
        is_member, url = self._vocabulary.is_member, binding.value_set
        if isinstance(value, str):
            return [is_member(url, "", value)]
        if not isinstance(value, dict):
            return []
        codings = value.get("coding", [value])
        codings = codings if isinstance(codings, list) else []
        return [
            is_member(url, str(each.get("system", "")), each["code"])
            for each in codings
            if isinstance(each, dict) and isinstance(each.get("code"), str)
        ]


def _at_stake(element: Element, node: FhirJson) -> list[Element]:
    """The children that are there or must be; most of a profile's are not, and need not be."""
    return [
        child
        for name, child in element.children.items()
        if name in node or child.min or child.slices or name[-1] == "]" or f"_{name}" in node
    ]


def _counted(element: Element, count: int, place: str) -> Iterator[Finding]:
    what = f" of the slice `{element.slice_name}`" if element.slice_name else ""
    if count < element.min:
        yield finding(Kind.PROFILE, place, f"expected at least {element.min}{what}", "required")
    elif element.max is not None and count > element.max:
        yield finding(Kind.PROFILE, place, f"expected at most {element.max}{what}", "structure")


def _is_telling(element: Element) -> bool:
    return any(each.fixed is not None or each.pattern is not None for each in element.walk())


def contained_types(resource: FhirJson) -> dict[str, str]:
    """The types of contained resources by their ids."""
    contained = resource.get("contained")
    return {
        str(each.get("id", "")): str(each.get("resourceType", ""))
        for each in (contained if isinstance(contained, list) else ())
        if isinstance(each, dict)
    }


def _shown(value: Any) -> str:
    """A value that a profile asks for, short."""
    if isinstance(value, dict):
        codings = value.get("coding", [value])
        shown = [f"{c.get('system', '')}|{c['code']}" for c in codings if c.get("code")]
        return ", ".join(shown) or "the profile's value"
    return f"`{value}`"
