"""What a subscription's filters mean: one search its events must be found by, and its panels.

Filters are searches on the topic's resource; `_in` names Groups whose members count.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Protocol
from urllib.parse import parse_qsl

from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson, split_reference
from hie.store import dates
from hie.store.query import MAX_US, MIN_US, Query
from hie.subscriptions.model import Terms
from hie.subscriptions.topics import PANEL, Topic

_PLACE: Final = "Subscription.criteria.extension"
#: Members that name an identifier alone; each is looked up at every delivery.
MOST_NUMBERS: Final = 500
#: By person the periods it is a member in, half-open, in microseconds.
Members = Mapping[str, Sequence[tuple[int, int]]]


class ReadSearch(Protocol):
    """Reads search parameters of a type; `fhir_server.search.parse`."""

    def __call__(
        self, type_name: str, params: tuple[tuple[str, str], ...], now_us: int, /
    ) -> Query:
        """The search; INVALID with one issue per fault."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """Which events a subscription is about.

    Attributes:
        query: a search that finds the event's resource.
        groups: for each `_in` the ids of the Groups of which one has the patient as a member.
    """

    query: Query
    groups: tuple[tuple[str, ...], ...] = ()


def narrowed(terms: Terms, topic: Topic, read: ReadSearch, now_us: int) -> Narrowed:
    """The filters of a subscription, understood.

    Raises:
        HieError: BUSINESS_RULE, one issue per fault.
    """
    issues: list[Issue] = []
    params: list[tuple[str, str]] = []
    groups: list[tuple[str, ...]] = []
    for text in terms.filters:
        kind, mark, rest = text.partition("?")
        if mark and kind != topic.resource:
            issues.append(_fault(f"a filter on `{topic.resource}`"))
            continue
        for name, value in parse_qsl(rest if mark else kind, keep_blank_values=True):
            if name == PANEL:
                groups.append(_groups(value, issues))
            elif name.partition(":")[0] in topic.filters:
                params.append((name, value))
            else:
                known = ", ".join(f"`{one}`" for one in (*topic.filters, PANEL))
                issues.append(_fault(f"one of {known}"))
    try:
        query = read(topic.resource, tuple(params), now_us)
    except HieError as error:
        found = error.issues or [Issue(text=error.text, code="value")]
        issues += [replace(issue, expression=(_PLACE,)) for issue in found]
    if issues:
        raise HieError(Category.BUSINESS_RULE, issues[0].text, issues)
    return Narrowed(query=replace(query, sort=(), count=1), groups=tuple(groups))


def members_of(group: FhirJson | None, meant: Mapping[tuple[str, str], str]) -> Members:
    """Who is in a Group, and when; nobody in one that is not active, or not there.

    Args:
        group: members pointing to persons, or naming an identifier alone.
        meant: the persons that such identifiers mean.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    for member in _active(group):
        entity = member.get("entity") or {}
        named = split_reference(entity.get("reference", ""))
        number = _number(entity)
        person = named[1] if named and named[0] == "Patient" else meant.get(number or ("", ""))
        if not person:
            continue
        period = member.get("period") or {}
        start, end = dates.span(period.get("start", "")), dates.span(period.get("end", ""))
        when = (start[0] if start else MIN_US, end[1] if end else MAX_US)
        found.setdefault(person, []).append(when)
    return MappingProxyType(found)


def numbers_of(group: FhirJson | None) -> list[tuple[str, str]]:
    """The identifiers (system, value) of members that name nothing else."""
    found = (
        _number(member.get("entity") or {})
        for member in _active(group)
        if "reference" not in (member.get("entity") or {})
    )
    return list(dict.fromkeys(number for number in found if number))


def by_number(system: str, value: str) -> tuple[str, str]:
    """The search parameter that finds who carries an identifier."""
    escaped = [re.sub(r"([\\,$|])", r"\\\1", text) for text in (system, value)]
    return "identifier", "|".join(escaped)


def _active(group: FhirJson | None) -> Iterator[FhirJson]:
    if group is not None and group.get("active") is not False:
        yield from (m for m in group.get("member", ()) if m.get("inactive") is not True)


def _number(entity: FhirJson) -> tuple[str, str] | None:
    identifier = entity.get("identifier") or {}
    system, value = identifier.get("system"), identifier.get("value")
    if isinstance(system, str) and isinstance(value, str) and system and value:
        return system, value
    return None


def is_member(members: Members, person: str, at_us: int) -> bool:
    """Whether somebody is a member at a time."""
    return any(start <= at_us < end for start, end in members.get(person, ()))


def _groups(value: str, issues: list[Issue]) -> tuple[str, ...]:
    named = [split_reference(one) for one in value.split(",")]
    ids = tuple(pair[1] for pair in named if pair is not None and pair[0] == "Group")
    if len(ids) != len(named):
        issues.append(_fault(f"`{PANEL}=Group/<id>`"))
    return ids


def _fault(expected: str) -> Issue:
    return Issue(text=f"a filter: expected {expected}", code="value", expression=(_PLACE,))
