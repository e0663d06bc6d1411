"""Answers as HTTP responses: compressed where that pays, indented where a person asks."""

import asyncio
import re
import zlib
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from fhir_server import negotiate
from fhir_server.exchange import Answer

#: Bodies below this gain nothing by compression; above the other, a thread does it.
GZIP_FROM_BYTES: Final = 1024
GZIP_ASIDE_BYTES: Final = 128 * 1024
#: Headers of a refusal that the client needs.
TOLD_HEADERS: Final = ("WWW-Authenticate", "Retry-After", "Allow")
PRETTY: Final = "_pretty"
_PART: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^{}\[\],:"\s]+')
_EMPTY: Final = {b"{": b"}", b"[": b"]"}
_INDENT: Final = b"  "


def refused(
    request: web.Request, status: int, headers: Mapping[str, str], body: bytes
) -> web.Response:
    """An OperationOutcome as a response."""
    kept = {name: headers[name] for name in TOLD_HEADERS if name in headers}
    return web.Response(
        status=status,
        headers=kept,
        body=pretty(body) if is_pretty(request) else body,
        content_type=negotiate.FHIR_JSON,
        charset="utf-8",
    )


async def respond(request: web.Request, answer: Answer) -> web.Response:
    """An answer as a response."""
    response = web.Response(status=answer.status, headers=answer.headers)
    if not answer.body:
        return response
    body = answer.body
    if answer.content_type:
        response.headers["Content-Type"] = answer.content_type
    else:
        response.content_type, response.charset = negotiate.FHIR_JSON, "utf-8"
        if is_pretty(request):
            body = await asyncio.to_thread(pretty, body)
    if len(body) >= GZIP_FROM_BYTES and negotiate.takes_gzip(
        request.headers.get("Accept-Encoding")
    ):
        response.headers["Content-Encoding"] = "gzip"
        is_large = len(body) >= GZIP_ASIDE_BYTES
        body = await asyncio.to_thread(_gzip, body) if is_large else _gzip(body)
    response.body = body
    return response


def is_pretty(request: web.Request) -> bool:
    """Whether the client wants JSON that is indented."""
    return request.query.get(PRETTY, "").lower() == "true"


def pretty(body: bytes) -> bytes:
    """JSON indented for people; no number and no string is written anew."""
    lines: list[bytes] = []
    depth = 0
    before = b""
    for part in _PART.findall(body):
        if part in b"}]":
            depth -= 1
            # Nothing stands in an empty object or array.
            lines.append(part if _EMPTY.get(before) == part else b"\n" + _INDENT * depth + part)
        else:
            if before in (b"{", b"[", b","):
                lines.append(b"\n" + _INDENT * depth)
            lines.append(b": " if part == b":" else part)
            depth += part in (b"{", b"[")
        before = part
    return b"".join(lines) + b"\n"


def _gzip(body: bytes) -> bytes:
    # Level 1: on FHIR JSON a fifth of the size for a quarter of the time of the default.
    packer = zlib.compressobj(level=1, wbits=31)
    return packer.compress(body) + packer.flush()
