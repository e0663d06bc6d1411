"""Patient/{id}/$everything: the compartment and what it refers to, once each.

Spec: https://hl7.org/fhir/R4/patient-operation-everything.html
"""

from dataclasses import replace

from fhir_server import paging
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.search import bundle
from hie.kernel.context import Caller
from hie.store.query import Page


async def everything(edge: Edge, call: Call) -> Answer:
    """The person's record as a searchset; in one page unless `_count` asks for pages."""
    address = f"Patient/{call.id}/$everything"
    place = paging.asked(edge, call, address)
    count = paging.requested_count(edge, call, place.params)
    page = await edge.records.everything(call.ctx, call.id, count, place.position or None)
    base = edge.settings.base_url
    body = bundle.searchset(
        within_scopes(page, call.ctx.caller),
        base=base,
        self_url=bundle.link(base, address, paging.count_params(count)),
        next_url=paging.following(edge, call, address, page, paging.count_params(count)),
    )
    return Answer(body=body)


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
