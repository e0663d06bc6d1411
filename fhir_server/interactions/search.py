"""search-type: by GET or POST, the same.

Spec: https://hl7.org/fhir/R4/http.html#search
"""

from dataclasses import replace

from fhir_server import paging
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.negotiate import is_lenient
from fhir_server.outcome import diagnosed
from fhir_server.search import bundle
from fhir_server.search.parse import SearchParser


async def search(edge: Edge, call: Call) -> Answer:
    """A page of matches as a Bundle of type searchset."""
    place = paging.asked(edge, call, call.type)
    parsed = SearchParser(edge.index, edge.settings).parse(
        call.type,
        place.params,
        is_lenient=is_lenient(call.headers.get("Prefer")),
        now_us=call.ctx.now_us,
    )
    query = replace(parsed.query, cursor=place.position or None)
    systems = [system for group in query.domains for system in group]
    if systems and not await edge.identities.knows_domains(call.ctx, systems):
        # IHE ITI-78, case 4.
        return Answer(status=404, body=diagnosed("not-found", "targetSystem not found", "warning"))
    page = await edge.door.search(call.ctx, query)
    base = edge.settings.base_url
    body = bundle.searchset(
        page,
        base=base,
        self_url=bundle.link(base, call.type, parsed.used),
        next_url=None
        if parsed.shown.is_count_only
        else paging.following(edge, call, call.type, page, parsed.used),
        warnings=(
            parsed.warnings
            if parsed.shown.is_count_only
            else (*parsed.warnings, *await edge.notices.of(call.ctx))
        ),
    )
    return Answer(body=body)
