"""$everything: the whole record of a person, or of a visit, each resource once.

`_type` and `_since` narrow what is told; `start` and `end` speak of the time of care, and what
has none is always in. In one page unless `_count` asks for pages, or there is much.
Spec: https://hl7.org/fhir/R4/patient-operation-everything.html,
https://hl7.org/fhir/R4/encounter-operation-everything.html
"""

from dataclasses import replace
from typing import Final

from fhir_server import paging
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.operations import asked
from fhir_server.search import bundle
from fhir_server.search.cursor import CURSOR_PARAM
from fhir_server.search.results import page_size_of
from hie.kernel.context import Caller
from hie.store.portion import Portion
from hie.store.query import Page

#: A page of who asks for no number: what the hub joins in some 20 ms.
WHOLE: Final = 1000
_OF_BOTH: Final = ("_since", "_type", "_count")
_OF_CARE: Final = ("start", "end")


async def everything(edge: Edge, call: Call) -> Answer:
    """The record as a searchset; the same by GET and POST."""
    address = f"{call.type}/{call.id}/$everything"
    place = paging.asked(edge, replace(call, params=asked.params_of(call)), address)
    known = (*_OF_BOTH, *(_OF_CARE if call.type == "Patient" else ()))
    params = asked.require_known(call, place.params, known)
    params = tuple(pair for pair in params if pair[0] != CURSOR_PARAM)
    portion = portion_of(edge, params)
    read = edge.records.everything if call.type == "Patient" else edge.records.visit
    page = await read(call.ctx, call.id, portion, place.position or None)
    base = edge.settings.base_url
    body = bundle.searchset(
        within_scopes(page, call.ctx.caller),
        base=base,
        self_url=bundle.link(base, address, params),
        next_url=paging.following(edge, call, address, page, params),
        warnings=await edge.notices.of(call.ctx),
    )
    return Answer(body=body)


def portion_of(edge: Edge, params: asked.Params) -> Portion:
    """The part of a record that parameters ask for.

    Raises:
        HieError: INVALID naming the parameter that cannot be read.
    """
    types = asked.values(params, "_type")
    if not all(edge.index.has_type(name) for name in types):
        raise asked.wrong("_type", "expected resource types of R4, with commas between")
    since, start, end = (asked.period(params, name) for name in ("_since", "start", "end"))
    count = asked.last(params, "_count")
    return Portion(
        types=frozenset(types) if types else None,
        since_us=since[0] if since else None,
        lo_us=start[0] if start else None,
        hi_us=end[1] if end else None,
        count=WHOLE if count is None else page_size_of(count, edge.settings),
    )


def within_scopes(page: Page, caller: Caller) -> Page:
    """The page without types that no scope of the caller lets it read.

    A last recheck: the door has filtered before it counted and cut pages.
    """
    types = {served.type for served in (*page.matches, *page.included)}
    hidden = {name for name in types if not caller.may(name, "r")}
    if not hidden:
        return page
    return replace(
        page,
        matches=tuple(served for served in page.matches if served.type not in hidden),
        included=tuple(served for served in page.included if served.type not in hidden),
        total=None,
    )
