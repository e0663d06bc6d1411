"""$export: bulk data, asked for now and fetched later (FHIR Bulk Data Access 2.0).

    GET|POST [base]/$export, /Patient/$export, /Group/<id>/$export   202 and where to ask
    GET      [base]/$export/<job>                                    202, or 200 and the manifest
    DELETE   [base]/$export/<job>                                    202, and it is gone
    GET      [base]/$export/<job>/<file>                             NDJSON

Spec: https://hl7.org/fhir/uv/bulkdata/STU2/export.html
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

import orjson

from fhir_server import negotiate, outcome
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.exports import Exports
from fhir_server.operations.emergency import refuse_for_emergencies
from fhir_server.operations.export_asked import asked_of
from hie.exports.desk import Busy, Leaving, OpenFile, Status
from hie.exports.model import DELETED, Part, State
from hie.kernel.clock import instant
from hie.kernel.errors import Category, HieError, Issue

NDJSON: Final = "application/fhir+ndjson"
#: What a client may call the same; also where it asks for an export, whose answers are JSON.
NDJSON_TYPES: Final = frozenset({NDJSON, "application/ndjson", "application/x-ndjson", "ndjson"})
RETRY: Final = {"Retry-After": "5"}
_EXTENSION: Final = ".ndjson"


async def export(edge: Edge, call: Call) -> Answer:
    """Begin an export: 202 with the address to ask after it."""
    refuse_for_emergencies(edge, call)
    prefer = _preferences(call)
    if negotiate.preference(prefer, "respond-async") is None:
        text = "`Prefer`: expected `respond-async`; an export is fetched later"
        raise HieError(Category.INVALID, text, [Issue(text=text, code="required")])
    if call.type == "Group" and not call.ctx.caller.may("Group", "r"):
        raise HieError(Category.FORBIDDEN, "the token has no scope for `r` on Group")
    asked = asked_of(edge, call, prefer)
    job = await _desk(edge).begin(call.ctx, asked, is_lenient=negotiate.is_lenient(prefer))
    if isinstance(job, Busy):
        text = "another export of yours is under way: wait for its end, or take it away"
        issue = Issue(text=text, code="throttled")
        body = outcome.operation_outcome([issue])
        return Answer(status=429, headers={"Retry-After": str(job.retry_seconds)}, body=body)
    return Answer(
        status=202, headers={"Content-Location": _address(edge, job.job_id)}, body=_begun()
    )


async def export_status(edge: Edge, call: Call) -> Answer:
    """How far an export is; the manifest once it is complete."""
    status = await _desk(edge).status(call.ctx, call.id)
    if status.job.state is State.WORKING:
        progress = f"{status.job.listed} resources listed"
        return Answer(status=202, headers={**RETRY, "X-Progress": progress})
    expires = negotiate.http_date(status.job.expires_us)
    return Answer(
        headers={"Expires": expires},
        body=orjson.dumps(_manifest(edge, status)),
        content_type="application/json",
    )


async def export_cancel(edge: Edge, call: Call) -> Answer:
    """Take an export away, finished or not."""
    await _desk(edge).cancel(call.ctx, call.id)
    return Answer(status=202, body=outcome.operation_outcome([_said("the export is taken away")]))


async def export_file(edge: Edge, call: Call) -> Answer:
    """A file: one resource a line, each decided as it leaves."""
    name = call.version
    if not name.endswith(_EXTENSION):
        raise HieError(Category.NOT_FOUND, "there is no such file")
    found = await _desk(edge).open(call.ctx, call.id, name.removesuffix(_EXTENSION))
    return Answer(content_type=NDJSON, stream=_lines(found))


async def _lines(found: OpenFile) -> AsyncIterator[bytes]:
    async for leaving in found.portions:
        if leaving.gone:
            yield _deletion(leaving, found.job.as_of_us)
        if leaving.served:
            yield b"".join(_line(served.body) for served in leaving.served)


def _line(body: bytes) -> bytes:
    """A resource on one line: outside of strings, where they are escaped, breaks mean nothing."""
    if b"\n" in body or b"\r" in body:
        body = body.replace(b"\n", b" ").replace(b"\r", b" ")
    return body + b"\n"


def _deletion(leaving: Leaving, as_of_us: int) -> bytes:
    """A line that says what is gone: a transaction Bundle of DELETE entries."""
    entries = [{"request": {"method": "DELETE", "url": f"{t}/{i}"}} for t, i in leaving.gone]
    bundle = {
        "resourceType": "Bundle",
        "meta": {"lastUpdated": instant(as_of_us)},
        "type": "transaction",
        "entry": entries,
    }
    return orjson.dumps(bundle) + b"\n"


def _manifest(edge: Edge, status: Status) -> dict[str, Any]:
    job = status.job
    live = [part for part in status.parts if part.type_id != DELETED]
    gone = [part for part in status.parts if part.type_id == DELETED]
    return {
        "transactionTime": instant(job.as_of_us),
        "request": job.asked.request,
        "requiresAccessToken": True,
        "output": [_entry(edge, job.job_id, part) for part in live],
        "deleted": [_entry(edge, job.job_id, replace(part, count=None)) for part in gone],
        "error": [],
    }


def _entry(edge: Edge, job_id: str, part: Part) -> dict[str, Any]:
    name = _desk(edge).name_of(part)
    kind = "Bundle" if part.type_id == DELETED else name.partition("-")[0]
    told: dict[str, Any] = {"type": kind, "url": f"{_address(edge, job_id)}/{name}{_EXTENSION}"}
    return told if part.count is None else {**told, "count": part.count}


def _address(edge: Edge, job_id: str) -> str:
    return f"{edge.settings.base_url}/$export/{job_id}"


def _begun() -> bytes:
    return outcome.operation_outcome([_said("the export has begun: ask at `Content-Location`")])


def _said(text: str) -> Issue:
    return Issue(text=text, code="informational", severity="information")


def _desk(edge: Edge) -> Exports:
    if edge.exports is None:
        raise HieError(Category.UNSUPPORTED, "exports are not offered here")
    return edge.exports


def _preferences(call: Call) -> str:
    """All Prefer headers; a client may send several."""
    every = getattr(call.headers, "getall", None)
    found = every("Prefer", []) if every else [call.headers.get("Prefer", "")]
    return ", ".join(found)
