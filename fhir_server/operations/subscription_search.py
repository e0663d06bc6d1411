"""Search of Subscription, which is kept apart from what the store finds.

A caller has few: they are read, compared and put in order here. What other searches have and
this one has not is refused by name.
Spec: https://hl7.org/fhir/R4/subscription.html#search, https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from fhir_server import paging
from fhir_server.exchange import Answer, Call, Edge, KeptSubscription
from fhir_server.search import bundle
from fhir_server.search.cursor import Place
from fhir_server.search.params import refused, split_escaped, unescape
from fhir_server.search.parse import GENERAL
from fhir_server.search.results import ResultsReader, Shown
from fhir_server.search.values import date_value
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.store.match import in_range
from hie.store.query import Page, Served

TYPE: Final = "Subscription"
_STATUS: Final = "http://hl7.org/fhir/subscription-status"
_CHANNEL: Final = "http://hl7.org/fhir/subscription-channel-type"
_MEDIA: Final = "urn:ietf:bcp:13"
Read = Callable[[FhirJson], str]
#: What of a Subscription is compared with a parameter: its type, the system of a token, the text.
_PARAMS: Final[Mapping[str, tuple[str, str, Read]]] = {
    "_id": ("token", "", lambda r: str(r["id"])),
    "status": ("token", _STATUS, lambda r: str(r["status"])),
    "criteria": ("string", "", lambda r: str(r["criteria"])),
    "topic": ("string", "", lambda r: str(r["criteria"])),
    "type": ("token", _CHANNEL, lambda r: str(r["channel"]["type"])),
    "payload": ("token", _MEDIA, lambda r: str(r["channel"].get("payload", ""))),
    "url": ("uri", "", lambda r: str(r["channel"].get("endpoint", ""))),
}
_UPDATED: Final = "_lastUpdated"
#: What a search may ask, and the type of each parameter, for the CapabilityStatement.
SEARCHED: Final[Mapping[str, str]] = {
    **{name: kind for name, (kind, _, _) in _PARAMS.items()},
    _UPDATED: "date",
}
_SHOWN: Final = frozenset({"_count", "_total", "_summary", "_elements"})
_SORT: Final = "_sort"
Key = tuple[Any, ...]
#: What orders them, and by what within that: no two are in the same place.
_ORDERS: Final[Mapping[str, Callable[[KeptSubscription], Key]]] = {
    "_id": lambda kept: (kept.id,),
    _UPDATED: lambda kept: (kept.updated_us, kept.id),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A search, read.

    Attributes:
        tests: all must hold.
        order: of `_ORDERS`.
        used: the parameters that took part.
    """

    shown: Shown
    tests: tuple[Callable[[KeptSubscription], bool], ...] = ()
    order: str = "_id"
    is_descending: bool = False
    used: tuple[tuple[str, str], ...] = ()
    unknown: tuple[Issue, ...] = ()


async def search(edge: Edge, call: Call) -> Answer:
    """A page of the caller's subscriptions that fit, without their secrets.

    Raises:
        HieError: INVALID with one issue per fault, each naming its parameter.
    """
    place = paging.asked(edge, call, TYPE)
    asked = _read(edge, place)
    edge.subsets.require_elements((TYPE,), asked.shown.elements)
    mine = await edge.subscriptions.mine(call.ctx)
    page = _page([kept for kept in mine if all(test(kept) for test in asked.tests)], asked, place)
    body = bundle.searchset(
        edge.subsets.page(page, asked.shown),
        base=edge.settings.base_url,
        self_url=paging.own(edge, call, TYPE, place, asked.used),
        first_url=paging.first(edge, call, TYPE, place),
        next_url=paging.following(edge, call, TYPE, page, asked.used, place=place),
        warnings=[replace(issue, severity="warning") for issue in asked.unknown],
    )
    return Answer(body=body)


def _page(found: Sequence[KeptSubscription], asked: _Asked, place: Place) -> Page:
    """What of all that fit stands on this page; a page begins behind the last one shown."""
    key = _ORDERS[asked.order]
    ordered = sorted(found, key=key, reverse=asked.is_descending)
    if place.position:
        last = tuple(orjson.loads(place.position))
        ordered = [k for k in ordered if (key(k) < last if asked.is_descending else key(k) > last)]
    count = 0 if asked.shown.is_count_only else asked.shown.count
    here = ordered[:count]
    has_more = bool(here) and len(ordered) > len(here)
    return Page(
        matches=tuple(map(_served, here)),
        next_cursor=orjson.dumps(key(here[-1])).decode() if has_more else None,
        total=len(found),
    )


def _served(kept: KeptSubscription) -> Served:
    return Served(
        type=TYPE,
        id=kept.id,
        version=kept.version,
        last_updated_us=kept.updated_us,
        body=orjson.dumps(kept.resource),
    )


def _read(edge: Edge, place: Place) -> _Asked:
    """What is asked.

    Raises:
        HieError: INVALID with one issue per fault.
    """
    reader = ResultsReader(edge.index, edge.settings)
    asked = _Asked(shown=reader.default)
    faults: list[Issue] = []
    for name, text in place.params:
        if name in GENERAL:
            continue
        try:
            asked = _with(asked, reader, name, text, place.at_us)
        except HieError as error:
            faults += error.issues
    if not place.is_lenient:
        faults += asked.unknown
    if faults:
        raise HieError(Category.INVALID, "the search cannot be understood", faults)
    return asked


def _with(asked: _Asked, reader: ResultsReader, name: str, text: str, now_us: int) -> _Asked:
    """A search and one parameter more."""
    used = (*asked.used, (name, text))
    if name in _SHOWN:
        shown = reader.read(asked.shown, (TYPE,), name, text)
        return replace(asked, shown=shown, used=used)
    if name == _SORT:
        order, is_descending = text.removeprefix("-"), text.startswith("-")
        if order not in _ORDERS:
            expected = " or ".join(f"`{each}`" for each in _ORDERS)
            raise refused(_SORT, f"expected {expected}, with `-` the other way round")
        return replace(asked, order=order, is_descending=is_descending, used=used)
    if name not in SEARCHED:
        offered = (*SEARCHED, *_SHOWN, _SORT)
        return replace(asked, unknown=(*asked.unknown, paging.not_offered(name, offered)))
    values = [unescape(value).strip() for value in split_escaped(text, ",")]
    if not all(values):
        raise refused(name, "expected a value, also before and after each comma")
    test = _updated(values, now_us) if name == _UPDATED else _equal(name, values)
    return replace(asked, tests=(*asked.tests, test), used=used)


def _updated(values: Sequence[str], now_us: int) -> Callable[[KeptSubscription], bool]:
    spans = [date_value(_UPDATED, value, now_us) for value in values]
    return lambda kept: any(
        in_range(kept.updated_us, kept.updated_us + 1, span.prefix, span.lo_us, span.hi_us)
        for span in spans
    )


def _equal(name: str, values: Sequence[str]) -> Callable[[KeptSubscription], bool]:
    kind, system, read = _PARAMS[name]
    if kind == "string":
        begin = tuple(value.casefold() for value in values)
        return lambda kept: read(kept.resource).casefold().startswith(begin)
    wanted = frozenset(_spelled(values, system) if kind == "token" else values)
    return lambda kept: read(kept.resource) in wanted


def _spelled(values: Sequence[str], system: str) -> Iterator[str]:
    """Codes, of tokens with or without the system they are of; those of another mean nothing."""
    for value in values:
        named, mark, code = value.rpartition("|")
        if not mark or named == system:
            yield code
