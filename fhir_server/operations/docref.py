"""DocumentReference/$docref: a patient's documents of a time of care and a kind (US Core).

Without `start` and `end` the most recent current document of each kind is given, the care
summary among them. All documents of the hub are stable: it makes none on demand.
Spec: https://hl7.org/fhir/us/core/STU6.1/OperationDefinition-docref.html
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import orjson

from fhir_server.exchange import Answer, Call, Edge
from fhir_server.latest import latest
from fhir_server.operations import asked
from fhir_server.search import bundle
from fhir_server.search.parse import SearchParser
from hie.kernel.errors import Issue
from hie.store.index import SearchIndex
from hie.store.query import Served

ADDRESS: Final = "DocumentReference/$docref"
_KNOWN: Final = ("patient", "start", "end", "type", "on-demand")
_STABLE: Final = Issue(
    text="`on-demand`: this hub keeps stable documents only",
    code="informational",
    severity="information",
)


async def docref(edge: Edge, call: Call) -> Answer:
    """The documents as a searchset; empty for a patient who is hidden or unknown."""
    params = asked.require_known(call, asked.params_of(call), _KNOWN)
    patient = asked.last(params, "patient")
    if not patient:
        raise asked.wrong("patient", "expected the id of a patient")
    start, end = asked.period(params, "start"), asked.period(params, "end")
    is_on_demand = asked.boolean(params, "on-demand")
    wanted = [("patient", patient), *(pair for pair in params if pair[0] == "type")]
    wanted.append(("status:not", "entered-in-error") if start or end else ("status", "current"))
    parsed = SearchParser(edge.index, edge.settings).parse(
        call.type, tuple(wanted), now_us=call.ctx.now_us
    )

    def choose(found: Sequence[Served]) -> Sequence[Served]:
        if is_on_demand:
            return ()
        if start or end:
            return [one for one in found if _is_of(one, start, end, edge.index)]
        return latest(found, "type", 1, edge.index)

    page = await edge.records.chosen(call.ctx, "$docref", parsed.query, choose)
    base = edge.settings.base_url
    body = bundle.searchset(
        replace(page, total=len(page.matches)),
        base=base,
        self_url=bundle.link(base, ADDRESS, params),
        warnings=(*((_STABLE,) if is_on_demand else ()), *await edge.notices.of(call.ctx)),
    )
    return Answer(body=body)


def _is_of(
    served: Served, start: asked.Span | None, end: asked.Span | None, index: SearchIndex
) -> bool:
    """Whether a document is of care in the time asked for; one of no known time is."""
    period = index.clinical_period(orjson.loads(served.body))
    if period is None:
        return True
    return (start is None or period[1] > start[0]) and (end is None or period[0] < end[1])
