"""A receiver's own MLLP listener: keeps what comes, answers as told."""

import asyncio
import ssl
from collections.abc import Callable

from adapters.hl7v2 import er7
from adapters.hl7v2.er7 import Message
from adapters.hl7v2.frame import frame
from tests.support.ports import free_port

#: MSA-1 of the answer; or the bytes to send; or None: it hangs up without a word.
Answer = Callable[[Message], str | bytes | None]


class MllpListener:
    """Listens on a port of its own between `start` and `stop`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.taken: list[Message] = []
        self.answer: Answer = lambda _message: "AA"
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", self.port, ssl=tls)

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            for writer in self._writers:
                writer.close()
            await self._server.wait_closed()
            self._server = None

    async def until(self, count: int, seconds: float = 90.0) -> None:
        """Wait until so many messages came."""
        async with asyncio.timeout(seconds):
            while len(self.taken) < count:  # noqa: ASYNC110 - the hub sends when it likes
                await asyncio.sleep(0.02)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                message = er7.parse((await reader.readuntil(b"\x1c\r"))[1:-2])
                self.taken.append(message)
                said = self.answer(message)
                if said is None:
                    break
                if isinstance(said, str):
                    msa = f"MSA|{said}|{message.control_id}\r"
                    said = frame(f"MSH|^~\\&|||||2026||ACK|L1|P|2.5\r{msa}".encode())
                writer.write(said)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        self._writers.discard(writer)
        writer.close()
