"""What a subscription's filters mean: one search its events must be found by, and its panels.

Filters are searches on the topic's resource; `_in` names Groups whose members count.
"""

from collections.abc import Mapping, Sequence
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


def members_of(group: FhirJson | None) -> Members:
    """Who is in a Group, and when; nobody in one that is not active, or not there."""
    found: dict[str, list[tuple[int, int]]] = {}
    if group is None or group.get("active") is False:
        return MappingProxyType({})
    for member in group.get("member", ()):
        named = split_reference((member.get("entity") or {}).get("reference", ""))
        if named is None or named[0] != "Patient" or member.get("inactive") is True:
            continue
        period = member.get("period") or {}
        start, end = dates.span(period.get("start", "")), dates.span(period.get("end", ""))
        when = (start[0] if start else MIN_US, end[1] if end else MAX_US)
        found.setdefault(named[1], []).append(when)
    return MappingProxyType(found)


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
