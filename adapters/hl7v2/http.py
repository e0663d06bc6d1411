"""HL7 v2 over HTTP: `POST /hl7v2`, one message a request, the answer in the response.

The status speaks of the transport alone: whatever the acknowledgement says, it comes with
200, as receivers of HL7 over HTTP expect; 415 and 400 are for requests that carry no message.
The character set is that of MSH-18 (or the source's own), never of the Content-Type.
Spec: HL7 over HTTP, hapifhir.github.io/hapi-hl7v2/hapi-hl7overhttp/specification.html
"""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from adapters.hl7v2.tls import identity
from adapters.port import FrameSink, Peer, Wire

#: Content types taken; the first is that of the answer.
MEDIA_TYPES: Final = ("application/hl7-v2", "x-application/hl7-v2+er7", "text/plain")

_HEAD_BYTES: Final = 64 * 1024
_PATIENCE: Final = 4  # times the limit that a body is read to its end

Handler = Callable[[web.Request], Awaitable[web.Response]]


def hl7_handler(sink: FrameSink, *, message_bytes: int) -> Handler:
    """The handler of `POST /hl7v2`.

    Args:
        sink: who judges, stores and answers; the same as for MLLP.
        message_bytes: the longest message; a longer one is answered AR from its head. The
            application's own `client_max_size` does not apply.
    """

    async def handle(request: web.Request) -> web.Response:
        if request.content_type not in MEDIA_TYPES:
            accepted = ", ".join(MEDIA_TYPES)
            return web.Response(status=415, text=f"expected one of {accepted}\n")
        body, is_long = await _read(request, message_bytes)
        if not body:
            return web.Response(status=400, text="expected an HL7 v2 message in the body\n")
        peer = _peer(request)
        answer = await (
            sink.refuse_oversize(body[:_HEAD_BYTES], peer) if is_long else sink.take(body, peer)
        )
        response = web.Response(body=answer or b"", content_type=MEDIA_TYPES[0])
        if is_long:
            response.force_close()
        return response

    return handle


async def _read(request: web.Request, most: int) -> tuple[bytes, bool]:
    """The body up to `most` bytes and a little, and whether there was more.

    Of what is too long some is read and dropped, so that the sender comes to read its answer.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_chunked(64 * 1024):
        if size <= most:
            chunks.append(chunk)
        size += len(chunk)
        if size > most * _PATIENCE:
            break
    return b"".join(chunks), size > most


def _peer(request: web.Request) -> Peer:
    transport = request.transport
    secure = transport.get_extra_info("ssl_object") if transport else None
    fingerprint, subject = identity(secure)
    return Peer(
        address=request.remote or "", wire=Wire.HTTP, certificate=fingerprint, subject=subject
    )
