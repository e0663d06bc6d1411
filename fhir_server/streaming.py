"""Answers too large to be held: sent part by part as they are made.

A part is made when the one before it is sent, so that a slow client holds one part in memory.
What fails after the first part cannot be told by a status any more: the connection is cut, and
the client knows by the missing end of the body that it has not got everything.
"""

import logging
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Final

from aiohttp import hdrs, web

from fhir_server import negotiate
from fhir_server.exchange import Answer
from hie.log import frames_of

LOG: Final = logging.getLogger(__name__)


async def stream(
    request: web.Request, answer: Answer, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Send an answer's stream.

    Args:
        request: what is answered; a HEAD gets the headers, and nothing is made for it.
        answer: with a stream and a content type.
        headers: of every response of the API.

    Raises:
        Exception: what making the first part raised; nothing was sent yet.
    """
    response = web.StreamResponse(status=answer.status, headers={**answer.headers, **headers})
    response.headers[hdrs.CONTENT_TYPE] = answer.content_type
    parts = answer.stream
    if parts is None or request.method == hdrs.METH_HEAD:
        await response.prepare(request)
        return response
    first = await anext(parts, b"")
    packer = None
    if negotiate.takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING)):
        response.headers[hdrs.CONTENT_ENCODING] = "gzip"
        packer = zlib.compressobj(level=1, wbits=31)
    await response.prepare(request)
    try:
        await _send(response, first, parts, packer)
    except ConnectionError:
        raise  # the client went away
    except Exception as error:  # noqa: BLE001 - whatever it is, the body must not look whole
        LOG.warning(  # its text may hold data; type and place do not
            "fhir.stream_cut", extra={"error": type(error).__name__, "frames": frames_of(error)}
        )
        if request.transport is not None:
            request.transport.abort()
    return response


async def _send(
    response: web.StreamResponse,
    first: bytes,
    parts: AsyncIterator[bytes],
    packer: "zlib._Compress | None",
) -> None:
    part: bytes | None = first
    while part is not None:
        sent = part if packer is None else packer.compress(part)
        if sent:
            await response.write(sent)
        part = await anext(parts, None)
    if packer is not None:
        await response.write(packer.flush())
    await response.write_eof()
