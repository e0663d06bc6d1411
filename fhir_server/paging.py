"""Pages of any kind: what was asked for first, and the link to what comes next (pure)."""

from collections.abc import Collection, Iterable
from dataclasses import replace

from fhir_server.exchange import Call, Edge
from fhir_server.negotiate import is_lenient
from fhir_server.outcome import NAME, named
from fhir_server.search.bundle import link, next_link
from fhir_server.search.cursor import CURSOR_PARAM, Place, open_token, seal
from fhir_server.search.parse import GENERAL
from fhir_server.search.results import page_size_of
from hie.kernel.errors import Category, HieError, Issue
from hie.store.query import Page

Params = tuple[tuple[str, str], ...]


def asked(edge: Edge, call: Call, address: str) -> Place:
    """The parameters of the first page, and where this page starts ("" = at the beginning).

    Raises:
        HieError: INVALID when the cursor is not one of this caller and address, or when more
            was asked beside it: what is in the link decides, and nothing is ignored silently.
    """
    tokens = [value for name, value in call.params if name == CURSOR_PARAM]
    if not tokens:
        prefer = call.headers.get("Prefer")
        at_us = call.ctx.now_us
        return Place(position="", params=call.params, at_us=at_us, is_lenient=is_lenient(prefer))
    if any(name not in GENERAL | {CURSOR_PARAM} for name, _ in call.params) or len(tokens) > 1:
        text = f"`{CURSOR_PARAM}`: expected a page link as it was given, with nothing added"
        raise HieError(Category.INVALID, text)
    return open_token(tokens[0], edge.sealer, call.ctx.caller, address)


def first(edge: Edge, call: Call, address: str, place: Place) -> str | None:
    """The URL of the first page; None where this is it."""
    if not place.position:
        return None
    return _link(edge, call, address, replace(place, position=""))


def own(edge: Edge, call: Call, address: str, place: Place, params: Params) -> str:
    """The URL of this page: the search as understood, or the link that led here."""
    if not place.position:
        return link(edge.settings.base_url, address, params)
    return _link(edge, call, address, place)


def following(
    edge: Edge,
    call: Call,
    address: str,
    page: Page,
    params: Params,
    *,
    place: Place | None = None,
) -> str | None:
    """The URL of the next page, None on the last.

    `params` are those that took part: what was passed over leniently is not asked again;
    `place` is where this page started.
    """
    if page.next_cursor is None:
        return None
    here = place or Place(position="", at_us=call.ctx.now_us)
    return _link(edge, call, address, replace(here, position=page.next_cursor, params=params))


def _link(edge: Edge, call: Call, address: str, place: Place) -> str:
    token = seal(place, edge.sealer, call.ctx.caller, address)
    return next_link(edge.settings.base_url, address, token)


def requested_count(
    edge: Edge, call: Call, params: Params, also: Collection[str] = ()
) -> int | None:
    """`_count` of a history, besides which only `also` may be asked; None = not given.

    Raises:
        HieError: INVALID naming every other parameter, unless the client wants leniency.
    """
    unknown = [name for name, _ in params if name not in {*GENERAL, *also, "_count"}]
    if unknown and not is_lenient(call.headers.get("Prefer")):
        faults = [not_offered(name, {*also, "_count"}) for name in dict.fromkeys(unknown)]
        raise HieError(Category.INVALID, "unknown parameters", faults)
    counts = [page_size_of(text, edge.settings) for name, text in params if name == "_count"]
    return counts[-1] if counts else None


def not_offered(name: str, offered: Iterable[str]) -> Issue:
    """What is said of a parameter that an address does not know."""
    expected = ", ".join(f"`{each}`" for each in sorted(offered)) or "no parameter"
    text = f"{named(name)}: not supported here; expected {expected}"
    expression = (f"http.{name}",) if NAME.match(name) else ()
    return Issue(text=text, code="not-supported", expression=expression)
