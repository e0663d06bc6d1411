"""history-instance and history-type: versions, newest first.

Spec: https://hl7.org/fhir/R4/http.html#history
"""

from fhir_server import paging
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.search import bundle
from fhir_server.search.cursor import Place
from hie.kernel.errors import Category, HieError, Issue
from hie.store.dates import span
from hie.store.query import Page

SINCE = "_since"


async def history(edge: Edge, call: Call) -> Answer:
    """A page of versions of one resource as a Bundle of type history."""
    address = f"{call.type}/{call.id}/_history"
    place, count, since_us = _asked(edge, call, address)
    cursor = place.position or None
    page = await edge.door.history(call.ctx, call.type, call.id, count, cursor, since_us)
    return _answered(edge, call, address, page, place.params)


async def history_of_type(edge: Edge, call: Call) -> Answer:
    """The same of all resources of a type: what the caller may see of each version."""
    address = f"{call.type}/_history"
    place, count, since_us = _asked(edge, call, address)
    cursor = place.position or None
    page = await edge.door.history_of_type(call.ctx, call.type, count, cursor, since_us)
    return _answered(edge, call, address, page, place.params)


def _asked(edge: Edge, call: Call, address: str) -> tuple[Place, int, int]:
    """Where the page starts, how many versions it has, and from when on."""
    place = paging.asked(edge, call, address)
    count = paging.requested_count(edge, call, place.params, {SINCE})
    moments = [text for name, text in place.params if name == SINCE]
    if not moments:
        return place, count or edge.settings.default_count, 0
    # A plus sign of an offset that was not escaped arrives as a space.
    since = span(moments[-1].replace(" ", "+"))
    if since is None:
        text = f"`{SINCE}`: expected a time such as `2026-01-31T09:30:00Z`"
        issue = Issue(text=text, code="value", expression=(f"http.{SINCE}",))
        raise HieError(Category.INVALID, text, [issue])
    return place, count or edge.settings.default_count, since[0]


def _answered(edge: Edge, call: Call, address: str, page: Page, params: paging.Params) -> Answer:
    base = edge.settings.base_url
    used = tuple((name, value) for name, value in params if name in ("_count", SINCE))
    body = bundle.history(
        page,
        base=base,
        self_url=bundle.link(base, address, used),
        next_url=paging.following(edge, call, address, page, used),
    )
    return Answer(body=body)
