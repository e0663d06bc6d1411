"""create, and what every write has in common: the body goes to the writer unread.

Spec: https://hl7.org/fhir/R4/http.html#create, https://hl7.org/fhir/R4/http.html#ops
"""

from typing import Final

from fhir_server.exchange import Answer, Call, Edge
from fhir_server.negotiate import preference, require_json_content
from fhir_server.outcome import operation_outcome
from fhir_server.search.parse import GENERAL
from hie.kernel.errors import Category, HieError, Issue

#: Written by the hub alone.
READ_ONLY_TYPES: Final = frozenset({"AuditEvent"})


async def create(edge: Edge, call: Call) -> Answer:
    """A new resource of the caller's source."""
    return await deliver(edge, call)


async def deliver(edge: Edge, call: Call) -> Answer:
    """What the writer answers, in the form the client prefers.

    Raises:
        HieError: FORBIDDEN for a caller that is no source, UNSUPPORTED_MEDIA for a body that
            is not FHIR JSON, and what the writer raises.
    """
    if call.type in READ_ONLY_TYPES:
        text = f"{call.type} is written by the hub alone"
        return Answer(status=405, body=operation_outcome((Issue(text=text, code="not-supported"),)))
    if not call.ctx.caller.sources:
        raise HieError(Category.FORBIDDEN, "this token writes for no source")
    if call.interaction != "delete":
        require_json_content(call.headers.get("Content-Type"))
        if not call.body.strip():
            raise HieError(Category.INVALID, "the request has no body")
    condition = tuple(pair for pair in call.params if pair[0] not in GENERAL)
    written = await edge.writer.write(
        call.ctx,
        call.interaction,
        call.type or None,
        call.id or None,
        call.body,
        call.headers,
        condition,
    )
    body, wanted = written.body, preference(call.headers.get("Prefer"), "return")
    if written.status in (200, 201) and call.interaction != "transaction":
        if wanted == "minimal":
            body = b""
        elif wanted == "operationoutcome":
            told = Issue(text="stored", code="informational", severity="information")
            body = operation_outcome((told,))
    return Answer(status=written.status, headers=written.headers, body=body)
