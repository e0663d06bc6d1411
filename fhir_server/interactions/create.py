"""create, and what every write has in common: the body goes to the writer unread.

Spec: https://hl7.org/fhir/R4/http.html#create, https://hl7.org/fhir/R4/http.html#ops
"""

from typing import Final

from adapters.fhir.json_patch import MEDIA_TYPE as JSON_PATCH
from adapters.fhir.merge_patch import MEDIA_TYPE as MERGE_PATCH
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.negotiate import preference, require_json_content
from fhir_server.outcome import operation_outcome
from fhir_server.search.parse import GENERAL
from hie.kernel.errors import Category, HieError, Issue

#: What else than FHIR JSON an interaction takes.
MORE_CONTENT: Final = {"patch": (JSON_PATCH, MERGE_PATCH)}
#: Preferences that the writer carries out; `minimal` leaves out what it gives.
RETURNED: Final = frozenset({"representation", "operationoutcome"})
#: What a patient writes with the own token; all else comes from sources.
PATIENT_TYPES: Final = frozenset({"Consent"})
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
        body = operation_outcome((Issue(text=text, code="not-supported"),))
        return Answer(status=405, headers={"Allow": "GET, HEAD"}, body=body)
    is_patients = call.ctx.caller.patient is not None and call.type in PATIENT_TYPES
    if not call.ctx.caller.sources and not is_patients:
        raise HieError(Category.FORBIDDEN, "this token writes for no source")
    if call.interaction != "delete":
        require_json_content(
            call.headers.get("Content-Type"), MORE_CONTENT.get(call.interaction, ())
        )
        if not call.body.strip():
            raise HieError(Category.INVALID, "the request has no body")
    if call.interaction == "create" and not call.headers.get("If-None-Exist", "-").strip():
        # A client that built no condition would make a duplicate each time.
        raise HieError(Category.INVALID, "`If-None-Exist`: expected search parameters with values")
    condition = tuple(pair for pair in call.params if pair[0] not in GENERAL)
    wanted = preference(call.headers.get("Prefer"), "return") or ""
    written = await edge.writer.write(
        call.ctx,
        call.interaction,
        call.type or None,
        call.id or None,
        call.body,
        call.headers,
        condition,
        wanted if wanted in RETURNED else "",
    )
    is_one = call.interaction != "transaction"
    body = b"" if is_one and wanted == "minimal" else written.body
    return Answer(status=written.status, headers=written.headers, body=body)
