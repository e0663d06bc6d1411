"""HL7 v2 over HTTP: `POST /hl7v2`, one message or one batch a request, the answer in the response.

The status speaks of the transport alone: whatever the acknowledgement says, it comes with
200, as receivers of HL7 over HTTP expect; 415 and 400 are for requests that carry no message.
A compressed body is not taken: a message has no mark of its end, and a torn one, unpacked as far
as it goes, would be acknowledged.
The character set is that of MSH-18 (or the source's own), never of the Content-Type.
Spec: HL7 over HTTP, hapifhir.github.io/hapi-hl7v2/hapi-hl7overhttp/specification.html
"""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import IO, Final

import structlog
from aiohttp import hdrs, web

from adapters.hl7v2.batch import is_batch
from adapters.hl7v2.batch_intake import BatchIntake
from adapters.hl7v2.tls import identity
from adapters.port import FrameSink, Peer, Wire

_log = structlog.get_logger(__name__)

#: Content types taken; the first is that of the answer.
MEDIA_TYPES: Final = ("application/hl7-v2", "x-application/hl7-v2+er7", "text/plain")

#: Key of a request under which stands for which sources its token reads; absent = no token asked.
READS_FOR: Final = web.RequestKey("hl7v2-reads-for", frozenset)
#: The same, for which sources it speaks: nobody sends in another's name.
SPEAKS_FOR: Final = web.RequestKey("hl7v2-speaks-for", frozenset)
#: The same, for which sources it writes.
WRITES_FOR: Final = web.RequestKey("hl7v2-writes-for", frozenset)

_AS_IT_IS: Final = "identity"
_RETRY_SECONDS: Final = "10"
_CHUNK_BYTES: Final = 64 * 1024
_HEAD_BYTES: Final = 64 * 1024
_TELLING_BYTES: Final = 256  # enough to tell a batch from a message
_PATIENCE: Final = 4  # times the limit that a body is read to its end
_ANSWERS_BYTES: Final = 1024 * 1024  # answers of a batch kept in memory; more go to a file

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def hl7_handler(
    sink: FrameSink,
    *,
    message_bytes: int,
    batches: BatchIntake | None = None,
    batch_bytes: int = 256 * 1024 * 1024,
    may_take: Callable[[], bool] = lambda: True,
) -> Handler:
    """The handler of `POST /hl7v2`.

    Args:
        sink: who judges, stores and answers; the same as for MLLP.
        message_bytes: the longest message; a longer one is answered AR from its head. The
            application's own `client_max_size` does not apply.
        batches: takes a batch piece by piece; None = `sink` gets it whole.
        batch_bytes: the longest batch.
        may_take: whether the hub takes more messages now; if not, 503 says when to try again.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.content_type not in MEDIA_TYPES:
            accepted = ", ".join(MEDIA_TYPES)
            return web.Response(status=415, text=f"expected one of {accepted}\n")
        if request.headers.get(hdrs.CONTENT_ENCODING, _AS_IT_IS).strip().lower() != _AS_IT_IS:
            text = "`Content-Encoding`: expected a message that is not compressed\n"
            return web.Response(status=415, text=text)
        if not may_take():
            text = "too much waits to be worked off: send it again later\n"
            return web.Response(status=503, text=text, headers={"Retry-After": _RETRY_SECONDS})
        chunks = request.content.iter_chunked(_CHUNK_BYTES)
        head = await _head(chunks)
        if batches and is_batch(head):
            return await _batch(request, batches, _bounded(head, chunks, batch_bytes), head)
        body, is_long = await _read(head, chunks, message_bytes)
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


class _TooLongError(Exception):
    """A batch goes on past its limit."""


async def _head(chunks: AsyncIterator[bytes]) -> bytes:
    """The beginning of a body, as much as tells what it is."""
    head = b""
    async for chunk in chunks:
        head += chunk
        if len(head) >= _TELLING_BYTES:
            break
    return head


async def _bounded(head: bytes, chunks: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    """A body from its head on, up to `most` bytes."""
    size = len(head)
    yield head
    async for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise _TooLongError
        yield chunk


async def _batch(
    request: web.Request, sink: BatchIntake, body: AsyncIterator[bytes], head: bytes
) -> web.StreamResponse:
    """Take a batch while it comes in; its answers wait until it has come whole.

    A client that sends all before it reads would otherwise wait for us, and we for it.
    """
    peer = _peer(request)
    with tempfile.SpooledTemporaryFile(max_size=_ANSWERS_BYTES) as answers:
        try:
            await sink.run(body, peer, answers.write)
        except _TooLongError:
            refusal = sink.refusal(head, "too-large", "")
        except Exception as error:  # noqa: BLE001 - the receive loop: the sender repeats the batch
            _log.error("batch.not_taken", peer=peer.address, error=type(error).__name__)
            refusal = sink.refusal(head, "not-stored")
        else:
            return await _send(request, answers)
    response = web.Response(body=refusal, content_type=MEDIA_TYPES[0])
    response.force_close()
    return response


async def _send(request: web.Request, answers: IO[bytes]) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_type = MEDIA_TYPES[0]
    response.content_length = answers.tell()
    answers.seek(0)
    await response.prepare(request)
    while chunk := answers.read(_CHUNK_BYTES):
        await response.write(chunk)
    await response.write_eof()
    return response


async def _read(head: bytes, rest: AsyncIterator[bytes], most: int) -> tuple[bytes, bool]:
    """The body up to `most` bytes and a little, and whether there was more.

    Of what is too long some is read and dropped, so that the sender comes to read its answer.
    """
    chunks = [head]
    size = len(head)
    async for chunk in rest:
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
        address=request.remote or "",
        wire=Wire.HTTP,
        certificate=fingerprint,
        subject=subject,
        reads_for=request.get(READS_FOR),
        speaks_for=request.get(SPEAKS_FOR),
        writes_for=request.get(WRITES_FOR),
    )
