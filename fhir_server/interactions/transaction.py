"""transaction and batch: a Bundle of requests in one.

FHIR's order is DELETE, POST, PUT and PATCH, then what reads. Writes go to the writer, which
answers after its commit; reads are answered here afterwards, so that they see what was written.
A read that finds nothing says so in its entry and undoes nothing.
Spec: https://hl7.org/fhir/R4/http.html#transaction
"""

from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import orjson

from adapters.fhir.body import Limits, parse_body, parse_json
from adapters.fhir.bundle import is_read
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.interactions.create import deliver
from fhir_server.negotiate import require_json_content
from fhir_server.outcome import refusal
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.store.body import dump

#: Entries of one Bundle that may read: each costs as much as a request by itself.
MOST_READS: Final = 500
_KINDS: Final = ("batch", "transaction")


async def transaction(edge: Edge, call: Call) -> Answer:
    """The response Bundle; scopes of single entries are checked where they are carried out.

    Raises:
        HieError: FORBIDDEN for a token without any scope that writes, where something is to be
            written; TOO_LARGE beyond the bound on reads; and what the writer raises.
    """
    entries = _entries(edge, call) if b'"GET"' in call.body or b'"HEAD"' in call.body else []
    reads = {n: entry["request"] for n, entry in enumerate(entries) if is_read(entry)}
    if not reads:
        return await _written(edge, call)
    if len(reads) > MOST_READS:
        text = f"a Bundle may have {MOST_READS} entries that read"
        issue = Issue(text=text, code="too-costly", expression=("Bundle.entry",))
        raise HieError(Category.TOO_LARGE, text, [issue])
    kind = parse_body(call.body, _limits(edge)).get("type")
    if kind == "transaction":
        _require_admitted(edge, call, reads)
    if len(reads) == len(entries):
        made: list[Any] = [None] * len(entries)
    else:
        written = await _written(edge, call)
        made = parse_json(written.body, _limits(edge))["entry"]
    for position, request in reads.items():
        made[position] = await _read(edge, call, request)
    answer = {"resourceType": "Bundle", "type": f"{kind}-response", "entry": made}
    return Answer(body=dump(answer))


async def _written(edge: Edge, call: Call) -> Answer:
    if not any({"c", "u", "d"} & set(scope.actions) for scope in call.ctx.caller.scopes):
        raise HieError(Category.FORBIDDEN, "the token has no scope that writes")
    return await deliver(edge, call)


def _limits(edge: Edge) -> Limits:
    return Limits(body_bytes=edge.settings.max_body_bytes)


def _entries(edge: Edge, call: Call) -> Sequence[Any]:
    """The entries of a Bundle that may hold reads; none where the writer is to refuse it."""
    require_json_content(call.headers.get("Content-Type"))
    body = parse_body(call.body, _limits(edge))
    entries = body.get("entry")
    is_bundle = body["resourceType"] == "Bundle" and body.get("type") in _KINDS
    return entries if is_bundle and isinstance(entries, list) else []


def _require_admitted(edge: Edge, call: Call, reads: dict[int, FhirJson]) -> None:
    """Refuse a transaction whose reads no address or no scope admits, before it writes."""
    faults = []
    category = Category.INVALID
    for position, request in reads.items():
        try:
            edge.inner.call(edge, call, request)
        except HieError as error:
            category = error.category
            code = error.issues[0].code if error.issues else category.value
            where = f"Bundle.entry[{position}].request.url"
            faults.append(Issue(text=error.text, code=code, expression=(where,)))
    if faults:
        raise HieError(category, faults[0].text, faults)


async def _read(edge: Edge, call: Call, request: FhirJson) -> FhirJson:
    """The entry of the response for one read."""
    try:
        answer = await edge.inner.answer(edge, call, request)
    except HieError as error:
        refused = refusal(error, call.ctx.request_id)
        told = {"status": _spelled(refused.status), "outcome": orjson.Fragment(refused.body)}
        return {"response": told}
    response = {"status": _spelled(answer.status)}
    if "ETag" in answer.headers:
        response["etag"] = answer.headers["ETag"]
    if "Last-Modified" in answer.headers:
        at = parsedate_to_datetime(answer.headers["Last-Modified"])
        response["lastModified"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    made: FhirJson = {"resource": orjson.Fragment(answer.body)} if answer.body else {}
    return {**made, "response": response}


def _spelled(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"
