"""Profiles as trees of elements (pure).

Spec: https://hl7.org/fhir/R4/profiling.html, https://hl7.org/fhir/R4/elementdefinition.html
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """One type an element may have.

    Attributes:
        profiles: urls, one of which the value must meet; empty = any.
        targets: urls of profiles or types a reference may lead to; empty = any.
    """

    code: str
    profiles: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """The value set an element's codes are of.

    Attributes:
        is_required: another code is a fault; else (extensible) it is worth a remark.
    """

    value_set: str
    is_required: bool


@dataclass(slots=True, kw_only=True)
class Element:
    """What a profile says of one element, or of one slice of it.

    Attributes:
        name: the last part of its path, `value[x]`.
        slice_name: of a slice; "" for an element.
        min: values needed.
        max: values allowed; None = any number.
        fixed: the one value allowed; None = any.
        pattern: what the value must at least hold; None = nothing.
        types: empty = those of the base type.
        rules: keys of invariants, see `fhir_server.profiles.rules`.
        children: by name.
        slices: in the order of the profile.
        discriminators: (kind, path): what tells slices apart.
        is_closed: whether every value must be of a slice.
        is_must_support: whether systems must be able to show it; nothing a resource can fail.
    """

    name: str
    slice_name: str = ""
    min: int = 0
    max: int | None = None
    fixed: Any = None
    pattern: Any = None
    types: tuple[Type, ...] = ()
    binding: Binding | None = None
    rules: tuple[str, ...] = ()
    children: dict[str, "Element"] = field(default_factory=dict)
    slices: list["Element"] = field(default_factory=list)
    discriminators: tuple[tuple[str, str], ...] = ()
    is_closed: bool = False
    is_must_support: bool = False

    def below(self, path: str) -> "Element | None":
        """The element at a path of names below this one; itself for `$this`."""
        found: Element | None = self
        for name in [] if path == "$this" else path.split("."):
            found = found.children.get(name) if found else None
        return found

    def walk(self) -> Iterator["Element"]:
        """This element and everything below it, slices too."""
        yield self
        for each in (*self.children.values(), *self.slices):
            yield from each.walk()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One profile, or what R4 itself says of a type beyond structure."""

    url: str
    version: str
    name: str
    type: str
    root: Element
