"""Groups, care teams and practitioner roles as the names of those they stand for (pure).

INVARIANT: a member that cannot be named makes the whole incomplete: a denial then means
everybody, a permit those who are named and no more.

Spec: https://hl7.org/fhir/R4/group.html, careteam.html, practitionerrole.html
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any, Final

from consent.from_fhir.moments import ALWAYS, Span, span
from consent.grantees import ROLE, in_role, seat
from hie.kernel.fhir import FhirJson

#: Types whose members a consent means by naming them.
COLLECTIVE: Final = ("Group", "CareTeam", "PractitionerRole")
#: Groups within groups that are followed.
DEPTH_LIMIT: Final = 8
_PERSONS: Final = ("Practitioner", "RelatedPerson", "Device")


@dataclass(frozen=True, slots=True)
class Member:
    """One of those meant.

    Attributes:
        name: as in `consent.grantees`.
        span: when they are a member.
        is_left: they were put out of it; a denial may still mean them, a permit does not.
    """

    name: str
    span: Span = ALWAYS
    is_left: bool = False


@dataclass(frozen=True, slots=True)
class Members:
    """Those whom a reference to a group means.

    Attributes:
        is_whole: whether every one of them could be named.
    """

    named: tuple[Member, ...] = ()
    is_whole: bool = True


_UNKNOWN: Final = Members(is_whole=False)


@dataclass(frozen=True, slots=True)
class Collectives:
    """Reads groups that were looked up before.

    Attributes:
        resources: by `Type/<id>`: what consents name, and what those name in turn.
        reference: `Type/<id>` of a reference; None where it is not known.
        zone: of dates that name none.
    """

    resources: Mapping[str, FhirJson]
    reference: Callable[[FhirJson], str | None]
    zone: tzinfo

    def members(self, name: str, within: frozenset[str] = frozenset()) -> Members:
        """Those whom `Type/<id>` means; incomplete where it is not known or not understood.

        `within`: the groups it was found in.
        """
        kind, found = name.partition("/")[0], self.resources.get(name)
        if found is None or name in within or len(within) >= DEPTH_LIMIT:
            return _UNKNOWN
        if kind == "PractitionerRole":
            return self._seat(found)
        if kind == "Group":
            return self._group(found, within | {name})
        return self._team(found, within | {name}) if kind == "CareTeam" else _UNKNOWN

    def _group(self, group: FhirJson, within: frozenset[str]) -> Members:
        # One that lists nobody, or says who belongs to it by what they are like, names nobody.
        is_listed = group.get("actual") is True and group.get("active", True) is True
        entries = _objects(group.get("member"))
        if not is_listed or not entries or "modifierExtension" in group:
            return _UNKNOWN
        return _together(
            _within(
                self._entry(one.get("entity"), within),
                span(one.get("period"), self.zone),
                is_left=one.get("inactive") is True,
            )
            for one in entries
        )

    def _team(self, team: FhirJson, within: frozenset[str]) -> Members:
        entries = _objects(team.get("participant"))
        is_over = team.get("status") not in (None, "active", "proposed")
        if not entries or team.get("status") == "entered-in-error" or "modifierExtension" in team:
            return _UNKNOWN
        return _together(
            _within(
                _within(self._participant(one, within), span(one.get("period"), self.zone)),
                span(team.get("period"), self.zone),
                is_left=is_over,
            )
            for one in entries
        )

    def _participant(self, one: FhirJson, within: frozenset[str]) -> Members:
        found = self._entry(one.get("member"), within)
        place = one.get("onBehalfOf")
        if not isinstance(place, dict):
            return found
        organization = self.reference(place) or ""
        is_person = all(member.name.partition("/")[0] in _PERSONS for member in found.named)
        if not organization.startswith("Organization/") or not is_person:
            return _UNKNOWN
        at = (replace(m, name=seat(m.name, organization)) for m in found.named)
        return Members(tuple(at), found.is_whole)

    def _seat(self, role: FhirJson) -> Members:
        """A person at a place; or everybody there in a role, where it names no person."""
        person, place = (self._named(role.get(name)) for name in ("practitioner", "organization"))
        codes = [code for concept in _objects(role.get("code")) for code in _codes(concept)]
        narrows = any(name in role for name in ("specialty", "location", "healthcareService"))
        names: list[str]
        if "practitioner" in role:
            names = [person] if person else []
            names = (
                [seat(one, place) for one in names if place] if "organization" in role else names
            )
        elif narrows or ("organization" in role and not place):
            names = []
        elif codes:
            names = [in_role(place, code) if place else ROLE + code for code in codes]
        else:
            names = [place] if place else []
        named = Members(tuple(Member(name) for name in names), bool(names))
        period = span(role.get("period"), self.zone)
        return _within(named, period, is_left=role.get("active") is False)

    def _persons(self, role: FhirJson) -> list[str]:
        person, place = (self._named(role.get(name)) for name in ("practitioner", "organization"))
        if not person or ("organization" in role and not place):
            return []
        return [seat(person, place) if place else person]

    def _anybody(self, role: FhirJson) -> list[str]:
        place = self._named(role.get("organization"))
        narrows = any(name in role for name in ("specialty", "location", "healthcareService"))
        if narrows or ("organization" in role and not place):
            return []
        codes = [code for concept in _objects(role.get("code")) for code in _codes(concept)]
        if codes:
            return [in_role(place, code) if place else ROLE + code for code in codes]
        return [place] if place else []

    def _entry(self, reference: Any, within: frozenset[str]) -> Members:
        """One member, or the members of a group that is one."""
        name = self._named(reference)
        kind = name.partition("/")[0]
        if kind in COLLECTIVE:
            return self.members(name, within)
        if kind == "Patient":
            return Members()  # they see their own record anyway, and nobody else's by this
        return Members((Member(name),)) if kind in ("Organization", *_PERSONS) else _UNKNOWN

    def _named(self, reference: Any) -> str:
        return (self.reference(reference) or "") if isinstance(reference, dict) else ""


def _within(found: Members, period: Span, *, is_left: bool = False) -> Members:
    named = tuple(
        Member(one.name, one.span.within(period), one.is_left or is_left) for one in found.named
    )
    return Members(named, found.is_whole and not period.note)


def _together(parts: Iterator[Members]) -> Members:
    listed = list(parts)
    named = dict.fromkeys(member for part in listed for member in part.named)
    return Members(tuple(named), all(part.is_whole for part in listed))


def _objects(found: Any) -> list[FhirJson]:
    items = found if isinstance(found, list) else [] if found is None else [found]
    return [item if isinstance(item, dict) else {} for item in items]


def _codes(concept: FhirJson) -> list[str]:
    found = (coding.get("code") for coding in _objects(concept.get("coding")))
    return [code for code in found if isinstance(code, str) and code]
