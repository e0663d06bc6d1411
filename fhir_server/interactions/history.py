"""history-instance: the versions of a resource, newest first.

Spec: https://hl7.org/fhir/R4/http.html#history
"""

from fhir_server import paging
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.search import bundle


async def history(edge: Edge, call: Call) -> Answer:
    """A page of versions as a Bundle of type history."""
    address = f"{call.type}/{call.id}/_history"
    place = paging.asked(edge, call, address)
    count = paging.requested_count(edge, call, place.params) or edge.settings.default_count
    page = await edge.door.history(call.ctx, call.type, call.id, count, place.position or None)
    base = edge.settings.base_url
    body = bundle.history(
        page,
        base=base,
        self_url=bundle.link(base, address, paging.count_params(count)),
        next_url=paging.following(edge, call, address, page, paging.count_params(count)),
    )
    return Answer(body=body)
