"""An MLLP sender: messages out over connections that stay open, answers in.

Sending is safe to repeat: the hub knows a message it has accepted and gives the first answer
again. After a time-out the connection is closed, so that a late answer can never be taken for
that of the next message.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self

from adapters.hl7v2 import ack, er7
from adapters.hl7v2.batch import is_batch
from adapters.hl7v2.frame import VT, Framer, Payload, frame
from adapters.hl7v2.modes import may_be_silent
from adapters.hl7v2.tls import TlsSettings, client_context
from adapters.wire_policy import Listener
from hie.kernel.errors import Category, HieError

#: How long an answer is waited for that MSH-15 and MSH-16 do not ask for.
SILENT_SECONDS: Final = 2.0
#: Stands for MSA-1 where no answer came and none is asked for but of errors.
SILENCE: Final = "--"
_SILENT: Final = "no answer, and MSH-15 asks for none of what is accepted"
_READ_BYTES: Final = 64 * 1024
_BEGIN: Final = re.compile(rb"(?:(?<=[\r\n])|\A)(?=(?:\xef\xbb\xbf)?MSH[^\w\s])")
_ENVELOPE: Final = re.compile(rb"(?<=\r)(?:FHS|BHS|BTS|FTS)[^\r]*(?:\r|\Z)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where to send.

    Attributes:
        tls: None = plain TCP.
        server_name: name the server's certificate must bear; empty = `host`.
        timeout_seconds: for connecting, and for each answer.
    """

    host: str
    port: int
    tls: TlsSettings | None = None
    server_name: str = ""
    timeout_seconds: float = 30.0


def destination_of(listener: Listener, own: TlsSettings, seconds: float) -> Destination:
    """Where a source's own listener is, with the hub's certificate to show it."""
    tls = None
    if listener.is_tls:
        tls = TlsSettings(
            certificate=own.certificate,
            private_key=own.private_key,
            authorities=listener.authorities,
        )
    return Destination(
        host=listener.host,
        port=listener.port,
        tls=tls,
        server_name=listener.server_name,
        timeout_seconds=seconds,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back for a message.

    Attributes:
        control_id: MSH-10 of the message sent.
        code: MSA-1, `AA`; empty when the answer has none; `SILENCE`.
        text: MSA-3 or, where that is empty, ERR-8 of the first error.
        answer: the whole answer.
    """

    control_id: str
    code: str
    text: str
    answer: bytes


class MllpClient:
    """One connection, one message at a time; an async context manager."""

    def __init__(self, destination: Destination) -> None:
        self._to = destination
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._framer = Framer()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Open the connection, unless it is open.

        Raises:
            HieError: BUSY when nobody answers there in time; try again later.
        """
        if self._streams is not None:
            return
        to = self._to
        context = await asyncio.to_thread(client_context, to.tls) if to.tls else None
        name = (to.server_name or to.host) if context else None
        try:
            async with asyncio.timeout(to.timeout_seconds):
                self._streams = await asyncio.open_connection(
                    to.host, to.port, ssl=context, server_hostname=name
                )
        except (OSError, TimeoutError) as error:
            text = f"no connection to {to.host}:{to.port} ({type(error).__name__})"
            raise HieError(Category.BUSY, text) from error
        self._framer = Framer()

    async def send(self, payload: bytes) -> Reply:
        """The reply to a message; opens the connection when there is none.

        Raises:
            HieError: BUSY when no answer came: the message may be sent again, unchanged.
        """
        await self.connect()
        header = ack.scan_header(payload)
        is_silent = may_be_silent(header.accept, header.application)
        silent_seconds = min(SILENT_SECONDS, self._to.timeout_seconds) if is_silent else None
        try:
            async with asyncio.timeout(silent_seconds or self._to.timeout_seconds):
                answer = await self._exchange(payload)
        except (OSError, TimeoutError, EOFError) as error:
            await self.close()  # what comes late must not be taken for the next answer
            if silent_seconds and isinstance(error, TimeoutError):
                return Reply(control_id=header.control_id, code=SILENCE, text=_SILENT, answer=b"")
            text = f"no answer from {self._to.host}:{self._to.port} ({type(error).__name__})"
            raise HieError(Category.BUSY, text) from error
        return read_reply(payload, answer)

    async def close(self) -> None:
        """Close the connection, if it is open."""
        if self._streams is None:
            return
        writer = self._streams[1]
        self._streams = None
        writer.close()
        try:
            async with asyncio.timeout(self._to.timeout_seconds):
                await writer.wait_closed()
        except (OSError, TimeoutError):
            writer.transport.abort()  # the peer was gone before us

    async def _exchange(self, payload: bytes) -> bytes:
        if self._streams is None:
            raise EOFError
        reader, writer = self._streams
        writer.write(frame(payload))
        await writer.drain()
        while True:
            data = await reader.read(_READ_BYTES)
            events = self._framer.receive(data) if data else self._framer.close()
            answers = [event.data for event in events if isinstance(event, Payload)]
            if answers:
                return answers[0]
            if not data:
                raise EOFError


async def send_all(
    payloads: Iterable[bytes], destination: Destination, *, attempts: int = 3
) -> AsyncIterator[Reply]:
    """The replies to messages sent one after the other over one connection.

    Args:
        payloads: the messages, in order.
        destination: where to.
        attempts: how often a message is sent when no answer comes; the connection is opened
            anew each time.

    Raises:
        HieError: BUSY after the last attempt; the messages before have their replies.
    """
    client = MllpClient(destination)
    try:
        for payload in payloads:
            yield await _persistently(client, payload, attempts)
    finally:
        await client.close()


async def _persistently(client: MllpClient, payload: bytes, attempts: int) -> Reply:
    for _ in range(attempts - 1):
        try:
            return await client.send(payload)
        except HieError as error:
            if error.category is not Category.BUSY:
                raise
    return await client.send(payload)


def read_reply(payload: bytes, answer: bytes) -> Reply:
    """What an answer says about the message it answers; never raises.

    An answer that names another message's control id has no code: it answers nothing.
    """
    control_id = ack.scan_header(payload).control_id
    try:
        message = er7.parse(answer)
    except HieError:
        return Reply(control_id=control_id, code="", text="not an HL7 message", answer=answer)
    msa = message.first("MSA")
    code, echoed = (msa.value(1), msa.field(2)) if msa else ("", "")
    if echoed and control_id and echoed.isascii() and echoed != control_id:
        return Reply(control_id=control_id, code="", text="answers another message", answer=answer)
    error = message.first("ERR")
    text = (msa.value(3) if msa else "") or (error.value(8) if error else "")
    return Reply(control_id=control_id, code=code, text=text, answer=answer)


def read_batch_reply(answer: bytes) -> tuple[Reply, ...]:
    """One reply per message of a batch, by its MSA; the whole answer's where it is no batch."""
    replies = []
    for one in split_messages(answer):
        reply = read_reply(b"", one)
        echoed = er7.parse(one).get("MSA-2") if reply.code else ""
        replies.append(replace(reply, control_id=echoed))
    return tuple(replies)


def as_batch(content: bytes) -> bytes:
    """A file as one batch: as it is where it has an envelope, else enclosed in BHS and BTS."""
    if is_batch(content):
        return content.removeprefix(b"\xef\xbb\xbf").lstrip()
    messages = split_messages(content)
    if not messages:
        return b""
    return b"".join((b"BHS|^~\\&\r", *messages, b"BTS|%d\r" % len(messages)))


def split_messages(content: bytes) -> tuple[bytes, ...]:
    """The messages in a file: framed or not, one or many, their lines ended by CR, LF or CRLF.

    Line ends become CR; batch and file envelopes are left out. A file without any `MSH` is
    one message, so that its answer can be seen.
    """
    if VT in content[:8]:
        framer = Framer()
        events = framer.receive(content) + framer.close()
        return tuple(event.data for event in events if isinstance(event, Payload))
    # A file with CRs has text in its lone LFs.
    other_end = b"\r\n" if b"\r" in content else b"\n"
    content = content.replace(other_end, b"\r")
    begins = [found.start() for found in _BEGIN.finditer(content)]
    if not begins:
        return (content,) if content.strip() else ()
    ends = [*begins[1:], len(content)]
    found = [content[begin:end] for begin, end in zip(begins, ends, strict=True)]
    return tuple(_ENVELOPE.sub(b"", message).strip(b"\r\n") + b"\r" for message in found)
