"""A sender that does nothing but send, wait for the answer, and count."""

import asyncio
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

START = b"\x0b"
END = b"\x1c\x0d"
PATIENCE_SECONDS = 60


@dataclass(slots=True)
class Tally:
    """What a run of senders saw."""

    seconds: float = 0.0
    answers: dict[str, int] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return sum(self.answers.values()) / self.seconds


async def send_all(
    port: int,
    messages: Sequence[bytes],
    *,
    connections: int,
    tls: ssl.SSLContext | None = None,
) -> Tally:
    """Send the messages over so many connections, each waiting for its answer before the next."""
    tally = Tally()
    queue = iter(messages)
    name = "localhost" if tls else None
    opened = [
        await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
        for _ in range(connections)
    ]
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for reader, writer in opened:
            group.create_task(_sender(reader, writer, queue, tally))
    tally.seconds = time.perf_counter() - started
    return tally


async def _sender(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    queue: Iterator[bytes],
    tally: Tally,
) -> None:
    try:
        for message in queue:
            sent = time.perf_counter()
            writer.write(START + message + END)
            answer = await asyncio.wait_for(reader.readuntil(END), PATIENCE_SECONDS)
            tally.waits.append(time.perf_counter() - sent)
            code = _code(answer)
            tally.answers[code] = tally.answers.get(code, 0) + 1
    finally:
        writer.close()


def _code(answer: bytes) -> str:
    start = answer.find(b"\rMSA|")
    return answer[start + 5 : start + 7].decode("ascii", "replace") if start >= 0 else "--"
