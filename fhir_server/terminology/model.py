"""Code systems and value sets as values (pure).

Spec: https://hl7.org/fhir/R4/codesystem.html, https://hl7.org/fhir/R4/valueset.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

#: Depth of a hierarchy walked at most; deeper ones are cyclic.
MAX_DEPTH: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """One code of a system.

    Attributes:
        parents: codes of the same system that subsume it directly.
    """

    code: str
    display: str = ""
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSystem:
    """A system whose codes are here, in the order of its definition.

    Attributes:
        is_complete: no code is missing: one that is not here does not exist.
        is_case_sensitive: whether `M` and `m` are two codes.
        children: codes by the code directly above them.
        folded: codes by their folded form, of a system without case.
    """

    id: str
    url: str
    version: str = ""
    name: str = ""
    is_complete: bool = True
    is_case_sensitive: bool = True
    concepts: Mapping[str, Concept]
    children: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    folded: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def concept(self, code: str) -> Concept | None:
        """The concept of a code; None when the system does not list it."""
        found = self.concepts.get(code)
        if found is None and not self.is_case_sensitive:
            return self.concepts.get(self.folded.get(code.casefold(), ""))
        return found

    def under(self, code: str) -> Iterator[str]:
        """The codes below a code, each once, nearest first; without the code itself."""
        seen, level = {code}, [code]
        for _ in range(MAX_DEPTH):
            level = [
                child
                for parent in level
                for child in self.children.get(parent, ())
                if child not in seen
            ]
            seen.update(level)
            yield from dict.fromkeys(level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One condition of an include: `concept`, `is-a`, `404684003`."""

    property: str
    op: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Include:
    """What a value set takes in (or leaves out): all conditions hold together.

    Attributes:
        system: "" where only other value sets are named.
        codes: the codes listed; empty = all of the system that the filters let through.
        displays: by code, where the value set words them itself.
        is_elsewhere: it lists codes that are not here; which, is not known.
        listed: the codes listed, and their folded forms.
    """

    system: str = ""
    codes: tuple[str, ...] = ()
    displays: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    filters: tuple[Filter, ...] = ()
    value_sets: tuple[str, ...] = ()
    is_elsewhere: bool = False
    listed: tuple[frozenset[str], frozenset[str]] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        exact = frozenset(self.codes)
        folded = frozenset(code.casefold() for code in self.codes)
        object.__setattr__(self, "listed", (exact, folded))

    def lists(self, code: str, *, is_case_sensitive: bool) -> bool:
        """Whether a code is one of those listed."""
        exact, folded = self.listed
        return code in exact or (not is_case_sensitive and code.casefold() in folded)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSet:
    """A choice of codes."""

    id: str
    url: str
    version: str = ""
    name: str = ""
    includes: tuple[Include, ...]
    excludes: tuple[Include, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One code of an expansion."""

    system: str
    code: str
    display: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """The codes of a value set.

    Attributes:
        members: in the order of the definition, each once.
        is_whole: whether all of its codes are here.
    """

    members: tuple[Member, ...]
    is_whole: bool
