"""AuditEvent: read and search of the trail as far as the caller may see it; nobody writes it.

Kept apart from other resources and chained: an event has one version and never changes. Searches
are those of ITI-81 as far as the trail can tell.
Spec: https://profiles.ihe.net/ITI/TF/Volume2/ITI-81.html, https://hl7.org/fhir/R4/auditevent.html
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from fhir_server import paging
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.interactions.read import answer
from fhir_server.search import bundle
from fhir_server.search.cursor import Place
from fhir_server.search.params import refused, split_escaped, unescape
from fhir_server.search.parse import GENERAL
from fhir_server.search.results import page_size_of
from fhir_server.search.values import date_value
from fhir_server.trail import AuditTrail
from hie.audit.event import SUBTYPES, AuditRecord, type_of
from hie.audit.repository import pk_of
from hie.audit.search import Asked
from hie.kernel.errors import Category, HieError
from hie.store.criterion import Prefix
from hie.store.query import Page, Served
from hie.trail import TYPE, Told

#: What a search may ask, and the type of each parameter, for the CapabilityStatement.
SEARCHED: Final[Mapping[str, str]] = {
    "_id": "token",
    "date": "date",
    "patient": "reference",
    "agent": "reference",
    "agent-name": "string",
    "entity": "reference",
    "action": "token",
    "type": "token",
    "subtype": "token",
    "outcome": "token",
    "address": "string",
}
_ORDERS: Final = {"-date": False, "date": True}
#: Value of a reference that means the token's own patient.
_ME: Final = "me"


async def read_event(edge: Edge, call: Call) -> Answer:
    """One event."""
    return answer(_served(await _trail(edge).read(call.ctx, call.id)), call)


async def search_events(edge: Edge, call: Call) -> Answer:
    """A page of events, the newest first unless `_sort=date` asks for the oldest."""
    address = f"Patient/{call.id}/{TYPE}" if call.id else TYPE
    place = paging.asked(edge, call, address)
    params = _with_patient(call, place.params)
    asked, count = _asked(edge, call, params, place)
    found = await _trail(edge).search(call.ctx, asked, count)
    page = Page(
        matches=tuple(map(_served, found.events)),
        next_cursor=None if found.next_after is None else str(found.next_after),
    )
    body = bundle.searchset(
        page,
        base=edge.settings.base_url,
        self_url=paging.own(edge, call, address, place, place.params),
        first_url=paging.first(edge, call, address, place),
        next_url=paging.following(edge, call, address, page, place.params, place=place),
    )
    return Answer(body=body)


def _trail(edge: Edge) -> AuditTrail:
    if edge.trail is None:
        raise HieError(Category.UNSUPPORTED, "this server shows no audit trail")
    return edge.trail


def _served(told: Told) -> Served:
    return Served(
        type=TYPE,
        id=str(told.resource["id"]),
        version="1",
        last_updated_us=told.row.record.recorded_us,
        body=orjson.dumps(told.resource),
    )


def _with_patient(call: Call, params: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    within = [("patient", call.id)] if call.id else []
    return [*params, *within]


def _asked(
    edge: Edge, call: Call, params: Sequence[tuple[str, str]], place: Place
) -> tuple[Asked, int]:
    """The search, and how many events a page has.

    Raises:
        HieError: INVALID naming the parameter.
    """
    asked = Asked(after=int(place.position) if place.position else None)
    count = edge.settings.default_count
    for name, text in params:
        if name == "_count":
            count = page_size_of(text, edge.settings)
        elif name == "_sort":
            if text not in _ORDERS:
                raise refused("_sort", "expected `-date` or `date`")
            asked = replace(asked, is_oldest_first=_ORDERS[text])
        elif name == "date":
            asked = _dated(asked, text, place.at_us)
        elif name.partition(":")[0] in _READERS and (":" not in name or name in _SPELLED):
            asked = _READERS[name.partition(":")[0]](asked, _meant(call, name, text))
        elif name not in GENERAL and not place.is_lenient:
            expected = ", ".join(f"`{each}`" for each in (*SEARCHED, "_count", "_sort"))
            raise refused(name, f"not supported here; expected {expected}", "not-supported")
    return asked, count


#: Modifiers that change nothing.
_SPELLED: Final = frozenset({"patient:Patient", "entity:Patient"})


def _meant(call: Call, name: str, text: str) -> list[str]:
    """The values of a parameter.

    Raises:
        HieError: INVALID where one is empty: it would be found nowhere.
    """
    values = [unescape(value).strip() for value in split_escaped(text, ",")]
    if not all(values):
        raise refused(name, "expected a value, also before and after each comma")
    me = call.ctx.caller.patient
    return [str(me) if value == _ME and me is not None else value for value in values]


def _dated(asked: Asked, text: str, now_us: int) -> Asked:
    value = date_value("date", text, now_us)
    if value.prefix is Prefix.EQ:
        since_us, until_us = value.lo_us, value.hi_us
    elif value.prefix in (Prefix.GE, Prefix.GT, Prefix.SA):
        since_us = value.lo_us if value.prefix is Prefix.GE else value.hi_us
        until_us = None
    elif value.prefix in (Prefix.LE, Prefix.LT, Prefix.EB):
        since_us, until_us = 0, value.hi_us if value.prefix is Prefix.LE else value.lo_us
    else:
        raise refused("date", "expected a date, or one after `ge`, `gt`, `le`, `lt`, `sa`, `eb`")
    bounds = [one for one in (asked.until_us, until_us) if one is not None]
    return replace(
        asked,
        since_us=max(asked.since_us, since_us),
        until_us=min(bounds) if bounds else None,
    )


def _narrowed(before: frozenset[Any] | None, values: frozenset[Any]) -> frozenset[Any]:
    """A parameter given twice means both."""
    return values if before is None else before & values


def _ids(asked: Asked, values: Sequence[str]) -> Asked:
    pks = frozenset(pk for value in values if (pk := pk_of(value)) is not None)
    return replace(asked, pks=_narrowed(asked.pks, pks))


def _patient(asked: Asked, values: Sequence[str]) -> Asked:
    persons = frozenset(value.rpartition("Patient/")[2] for value in values)
    return replace(asked, persons=_narrowed(asked.persons, persons))


def _agent(asked: Asked, values: Sequence[str]) -> Asked:
    """Organisations by `Organization/id`; anybody else as the event refers to them."""
    organizations = [v for v in values if v.startswith("Organization/")]
    if len(organizations) not in (0, len(values)):
        raise refused("agent", "expected organizations or persons, not both in one parameter")
    if organizations:
        found = frozenset(value.removeprefix("Organization/") for value in values)
        return replace(asked, organizations=_narrowed(asked.organizations, found))
    return replace(asked, users=_narrowed(asked.users, frozenset(values)))


def _action(asked: Asked, values: Sequence[str]) -> Asked:
    codes = frozenset(value.rpartition("|")[2] for value in values)
    return replace(asked, actions=_narrowed(asked.actions, codes))


def _outcome(asked: Asked, values: Sequence[str]) -> Asked:
    codes = frozenset(value.rpartition("|")[2] for value in values)
    return replace(asked, outcomes=_narrowed(asked.outcomes, codes))


def _subtype(asked: Asked, values: Sequence[str]) -> Asked:
    codes = frozenset(value.rpartition("|")[2] for value in values)
    return replace(asked, subtypes=_narrowed(asked.subtypes, codes))


def _type(asked: Asked, values: Sequence[str]) -> Asked:
    def is_wanted(subtype: str) -> bool:
        system, code = type_of(subtype)
        return any(value in (code, f"{system}|{code}", f"{system}|") for value in values)

    wanted = frozenset(filter(is_wanted, SUBTYPES))
    return _kept(asked, lambda record: record.subtype in wanted or is_wanted(record.subtype))


def _entity(asked: Asked, values: Sequence[str]) -> Asked:
    wanted = frozenset(values)
    return _kept(asked, lambda record: not wanted.isdisjoint(_entities(record)))


def _address(asked: Asked, values: Sequence[str]) -> Asked:
    return _kept(
        asked, lambda record: str(record.detail.get("address", "")).startswith(tuple(values))
    )


def _agent_name(asked: Asked, values: Sequence[str]) -> Asked:
    wanted = tuple(value.casefold() for value in values)
    return _kept(asked, lambda record: (record.user or "").casefold().startswith(wanted))


def _kept(asked: Asked, keep: Callable[[AuditRecord], bool]) -> Asked:
    before = asked.keep
    if before is None:
        return replace(asked, keep=keep)
    return replace(asked, keep=lambda record: before(record) and keep(record))


def _entities(record: AuditRecord) -> set[str]:
    """What an event says it is about, as its AuditEvent refers to it."""
    named = {f"Consent/{consent}" for consent in record.detail.get("consents", ())}
    if record.person_id:
        named.add(f"Patient/{record.person_id}")
    if record.resource_type and record.resource_id:
        named.add(f"{record.resource_type}/{record.resource_id}")
    return named


_READERS: Final[Mapping[str, Callable[[Asked, Sequence[str]], Asked]]] = {
    "_id": _ids,
    "patient": _patient,
    "agent": _agent,
    "agent-name": _agent_name,
    "entity": _entity,
    "action": _action,
    "type": _type,
    "subtype": _subtype,
    "outcome": _outcome,
    "address": _address,
}
