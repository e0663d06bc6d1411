"""What the hub knows of codes: which there are, which a value set holds, which stand under which.

Answers are of three kinds: in, out, and not known here (None): the hub carries no SNOMED CT and
no whole LOINC, and says so instead of guessing.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, TypeVar

from fhir_server.terminology.model import (
    CodeSystem,
    Concept,
    Expansion,
    Filter,
    Include,
    Member,
    ValueSet,
)

#: Value sets within value sets followed at most; deeper ones are cyclic.
MAX_DEPTH: Final = 12
Pair = tuple[str, str]
#: Urls of the value sets that one stands within, the outermost first.
Path = tuple[str, ...]
Named = TypeVar("Named", CodeSystem, ValueSet)


def _may_enter(value_set: ValueSet, path: Path) -> bool:
    """Whether a value set within others is looked into: not within itself, and not too deep.

    Entered again, one that names itself several times would be looked into for ever.
    """
    return len(path) <= MAX_DEPTH and value_set.url not in path


def _named_apart(found: Iterable[Named]) -> Iterable[Named]:
    """The same in the order of their urls, each with an id of its own: `body-site`, `body-site-2`.

    Guides give ids without knowing of each other; an address here means one of them.
    """
    taken: dict[str, int] = {}
    for each in sorted(found, key=lambda one: one.url):
        number = taken[each.id] = taken.get(each.id, 0) + 1
        yield each if number == 1 else replace(each, id=f"{each.id}-{number}")


class Vocabulary:
    """Local code systems and value sets, found by canonical url (`url` or `url|version`)."""

    __slots__ = ("_codes", "_expansions", "_selected", "_sets", "_systems")

    def __init__(self, systems: Iterable[CodeSystem], value_sets: Iterable[ValueSet]) -> None:
        self._systems = {each.url: each for each in _named_apart(systems)}
        self._sets = {each.url: each for each in _named_apart(value_sets)}
        self._expansions: dict[str, Expansion] = {}
        self._codes: dict[str, frozenset[Pair]] = {}
        self._selected: dict[tuple[str, Filter], frozenset[str] | None] = {}

    @property
    def code_systems(self) -> tuple[CodeSystem, ...]:
        """All code systems, in the order of their urls."""
        return tuple(self._systems.values())

    @property
    def value_sets(self) -> tuple[ValueSet, ...]:
        """All value sets, in the order of their urls."""
        return tuple(self._sets.values())

    def code_system(self, canonical: str) -> CodeSystem | None:
        """The code system of a url; None when it, or the version asked for, is not here."""
        url, _, version = canonical.partition("|")
        found = self._systems.get(url)
        return found if found and version in ("", found.version) else None

    def value_set(self, canonical: str) -> ValueSet | None:
        """The value set of a url; None when it, or the version asked for, is not here."""
        url, _, version = canonical.partition("|")
        found = self._sets.get(url)
        return found if found and version in ("", found.version) else None

    def concept(self, system: str, code: str) -> Concept | None:
        """The concept of a code; None when it or its system is not here."""
        found = self._systems.get(system)
        return found.concept(code) if found else None

    def has_code(self, system: str, code: str) -> bool | None:
        """Whether a system has a code; None where the system's codes are not all here."""
        found = self._systems.get(system)
        if found is None:
            return None
        return True if found.concept(code) else (False if found.is_complete else None)

    def expand(self, canonical: str) -> Expansion | None:
        """The codes of a value set; None when it is not here."""
        value_set = self.value_set(canonical)
        if value_set is None:
            return None
        found = self._expansions.get(value_set.url)
        if found is None:
            found = self._expansions[value_set.url] = self._expanded(value_set, ())
        return found

    def codes_of(self, canonical: str) -> frozenset[Pair] | None:
        """The (system, code) pairs of a value set, for `:in` and `:not-in`.

        Returns:
            None when the value set is not here, or not with all of its codes.
        """
        found = self.expand(canonical)
        if found is None or not found.is_whole:
            return None
        if canonical not in self._codes:
            self._codes[canonical] = frozenset((m.system, m.code) for m in found.members)
        return self._codes[canonical]

    def under(self, system: str, code: str) -> frozenset[Pair] | None:
        """A code and every code it subsumes; None when the system or the code is not here."""
        found = self._systems.get(system)
        concept = found.concept(code) if found else None
        if found is None or concept is None:
            return None
        return frozenset((system, each) for each in (concept.code, *found.under(concept.code)))

    def is_member(self, canonical: str, system: str, code: str) -> bool | None:
        """Whether a value set holds a code; None where that is not known here.

        Args:
            canonical: the value set's.
            system: "" = whichever of the value set has the code (an element of type `code`).
            code: compared by the rules of its system.
        """
        value_set = self.value_set(canonical)
        return None if value_set is None else self._holds(value_set, system, code, ())

    def _holds(self, value_set: ValueSet, system: str, code: str, path: Path) -> bool | None:
        if not _may_enter(value_set, path):
            return None
        path = (*path, value_set.url)
        out = _any(self._takes(each, system, code, path) for each in value_set.excludes)
        if out:
            return False
        held = _any(self._takes(each, system, code, path) for each in value_set.includes)
        return None if held and out is None else held

    def _takes(self, include: Include, system: str, code: str, path: Path) -> bool | None:
        """Whether all conditions of an include hold for a code."""
        told: list[bool | None] = []
        if include.system:
            told.append(self._in_system(include, system, code))
        for url in include.value_sets:
            inner = self.value_set(url)
            told.append(self._holds(inner, system, code, path) if inner else None)
        if False in told:
            return False
        return None if None in told else True

    def _in_system(self, include: Include, system: str, code: str) -> bool | None:
        if system and system != include.system:
            return False
        known = self._systems.get(include.system)
        if include.is_elsewhere:
            return None
        if include.codes:
            is_case_sensitive = known is None or known.is_case_sensitive
            return include.lists(code, is_case_sensitive=is_case_sensitive)
        concept = known.concept(code) if known else None
        if known is None or concept is None:
            # Any code of a system that is not here may be meant, with a filter or without one.
            return False if known and known.is_complete else (True if _is_free(include) else None)
        return self._passes(known, include, concept.code)

    def _passes(self, system: CodeSystem, include: Include, code: str) -> bool | None:
        """Whether a code of a system passes the filters of an include."""
        told: list[bool | None] = []
        for condition in include.filters:
            key = (system.url, condition)
            if key not in self._selected:
                self._selected[key] = _select(system, condition)
            selected = self._selected[key]
            told.append(None if selected is None else code in selected)
        return _all(told)

    def _expanded(self, value_set: ValueSet, path: Path) -> Expansion:
        if not _may_enter(value_set, path):
            return Expansion(members=(), is_whole=False)
        path, is_whole = (*path, value_set.url), True
        found: dict[Pair, Member] = {}
        for include in value_set.includes:
            members, is_here = self._members(include, path)
            is_whole = is_whole and is_here
            for member in members:
                found.setdefault((member.system, member.code), member)
        for include in value_set.excludes:
            members, is_here = self._members(include, path)
            is_whole = is_whole and is_here
            for member in members:
                found.pop((member.system, member.code), None)
        return Expansion(members=tuple(found.values()), is_whole=is_whole)

    def _members(self, include: Include, path: Path) -> tuple[list[Member], bool]:
        """The members of an include, and whether these are all."""
        members, is_here = self._own_members(include)
        for position, url in enumerate(include.value_sets):
            inner = self.value_set(url)
            if inner is None:
                return [], False
            expansion = self._inner(inner, path)
            is_here = is_here and expansion.is_whole
            if position == 0 and not include.system:
                members = list(expansion.members)
            else:
                kept = {(m.system, m.code) for m in expansion.members}
                members = [m for m in members if (m.system, m.code) in kept]
        return members, is_here

    def _inner(self, value_set: ValueSet, path: Path) -> Expansion:
        """The expansion of a value set within another; whole ones are made once."""
        found = self._expansions.get(value_set.url)
        if found is None:
            found = self._expanded(value_set, path)
            if found.is_whole:  # one that was cut short may be whole when asked for itself
                self._expansions[value_set.url] = found
        return found

    def _own_members(self, include: Include) -> tuple[list[Member], bool]:
        if not include.system:
            return [], True
        system = self._systems.get(include.system)
        if include.codes:
            return [self._member(include, code) for code in include.codes], True
        if system is None or include.is_elsewhere:
            return [], False
        told = [(code, self._passes(system, include, code)) for code in system.concepts]
        is_here = system.is_complete and all(passes is not None for _, passes in told)
        return [self._member(include, code) for code, passes in told if passes], is_here

    def _member(self, include: Include, code: str) -> Member:
        concept = self.concept(include.system, code)
        display = include.displays.get(code) or (concept.display if concept else "")
        return Member(system=include.system, code=code, display=display)


def _is_free(include: Include) -> bool:
    """Whether an include takes a whole system, as it stands."""
    return not include.filters and not include.is_elsewhere


def _select(system: CodeSystem, condition: Filter) -> frozenset[str] | None:
    """The codes of a system that pass a filter; None for a filter that is not understood."""
    if condition.property not in ("concept", "code"):
        return None
    below = frozenset(system.under(condition.value))
    listed = frozenset(each.strip() for each in condition.value.split(","))
    selected = {
        "is-a": below | {condition.value},
        "descendent-of": below,
        "is-not-a": system.concepts.keys() - below - {condition.value},
        "in": listed,
        "not-in": system.concepts.keys() - listed,
        "=": frozenset((condition.value,)),
    }.get(condition.op)
    return None if selected is None else frozenset(selected)


def _any(answers: Iterable[bool | None]) -> bool | None:
    """True if one is; else None if one is not known; else False."""
    found = set(answers)
    return True if True in found else (None if None in found else False)


def _all(answers: Iterable[bool | None]) -> bool | None:
    """False if one is; else None if one is not known; else True."""
    found = set(answers)
    return False if False in found else (None if None in found else True)
