"""Questions put to a server over HTTP, by one client or several, and how long each took."""

import asyncio
import http
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

from bench.machine import percentile

WARM_UP = 20
#: The floor does not compress, so the hub is not asked to either.
PLAIN = {"Accept-Encoding": "identity"}


class NotAnsweredError(Exception):
    """A question was refused: the measurement would be one of refusals."""


@dataclass(slots=True, kw_only=True)
class Taken:
    """How long the questions of a row took.

    Attributes:
        times: seconds of each, those of the warm-up left out.
        elapsed: seconds of all of them.
        bodies: the answer to each question that was asked.
    """

    times: list[float] = field(default_factory=list)
    elapsed: float = 0.0
    bodies: dict[str, bytes] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.times) / self.elapsed

    def ms(self, share: float) -> float:
        """The time below which that share of them lies, in ms."""
        return percentile(self.times, share) * 1000


async def ask(
    base: str, headers: dict[str, str], paths: Sequence[str], *, clients: int, count: int
) -> Taken:
    """Ask `count` times, one path after the other and from the first again.

    Raises:
        NotAnsweredError: a path was not answered with 200.
    """
    taken = Taken()
    async with aiohttp.ClientSession(headers=headers | PLAIN) as session:
        for path in itertools.islice(itertools.cycle(paths), WARM_UP):
            await _one(session, base, path, taken)
        taken.times.clear()
        waiting = iter(list(itertools.islice(itertools.cycle(paths), count)))

        async def work() -> None:
            for path in waiting:
                await _one(session, base, path, taken)

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(clients)))
        taken.elapsed = time.perf_counter() - started
    return taken


async def _one(session: aiohttp.ClientSession, base: str, path: str, taken: Taken) -> None:
    started = time.perf_counter()
    async with session.get(f"{base}/{path}") as response:
        body = await response.read()
    taken.times.append(time.perf_counter() - started)
    if response.status != http.HTTPStatus.OK:
        raise NotAnsweredError(f"{path.partition('?')[0]}: status {response.status}")
    taken.bodies[path] = body
