"""read: the current version of a resource.

Spec: https://hl7.org/fhir/R4/http.html#read
"""

from dataclasses import replace

from fhir_server.exchange import Answer, Call, Edge
from fhir_server.negotiate import etag, http_date, is_fresh, is_unmodified
from fhir_server.search.params import refused
from fhir_server.search.results import ResultsReader, Shown
from hie.store.query import Served


async def read(edge: Edge, call: Call) -> Answer:
    """The resource, or 304 where the client has this version - after the decision.

    A source may use an id of its own; where the resource really is, the answer says.
    """
    shown = _shown(edge, call)
    served = await edge.door.read(call.ctx, call.type, call.id)
    found = answer(edge.subsets.served(served, shown), call)
    if served.id == call.id:
        return found
    place = f"{edge.settings.base_url}/{call.type}/{served.id}/_history/{served.version}"
    return replace(found, headers={**found.headers, "Content-Location": place})


def carried(edge: Edge, call: Call, served: Served) -> Answer:
    """A definition that the hub carries: nobody knows since when, so no time is told."""
    found = edge.subsets.served(served, _shown(edge, call))
    headers = {"ETag": etag(served.version)}
    if is_fresh(call.headers.get("If-None-Match"), served.version):
        return Answer(status=304, headers=headers)
    return Answer(headers=headers, body=found.body)


def _shown(edge: Edge, call: Call) -> Shown:
    """How much of the resource is wanted: `_summary` and `_elements`.

    Raises:
        HieError: INVALID naming the parameter.
    """
    reader = ResultsReader(edge.index, edge.settings)
    shown = reader.default
    for name, text in call.params:
        if name in ("_summary", "_elements"):
            shown = reader.read(shown, (call.type,), name, text)
    if shown.is_count_only:
        raise refused("_summary", "expected `true`, `text`, `data` or `false` of one resource")
    edge.subsets.require_elements((call.type,), shown.elements)
    return shown


def answer(served: Served, call: Call) -> Answer:
    """One version as a response."""
    headers = {
        "ETag": etag(served.version),
        "Last-Modified": http_date(served.last_updated_us),
    }
    known = call.headers.get("If-None-Match")
    is_known = (
        is_unmodified(call.headers.get("If-Modified-Since"), served.last_updated_us)
        if known is None
        else is_fresh(known, served.version)
    )
    if is_known:
        return Answer(status=304, headers=headers)
    return Answer(headers=headers, body=served.body)
