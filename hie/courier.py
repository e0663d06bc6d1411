"""Works queues off: a lane for each receiver, so that one that is down holds up nobody else's.

Whoever has a queue says which lanes there is something to do for, and since when; a lane that
is due gets a task of its own until that task ends. The queue itself is in the database: what is
not done when this stops is found again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from contextlib import suppress
from typing import Final, Generic, TypeVar

import structlog

from hie.kernel.clock import SECOND_US, Clock

Lane = TypeVar("Lane", bound=Hashable)
_SHORTEST: Final = 0.02
#: Who queues something says so before it is committed: a few looks follow each other closely.
_EAGER_LOOKS: Final = 10
_EAGER_SECONDS: Final = 0.1
_log = structlog.get_logger(__name__)


class Courier(Generic[Lane]):
    """Looks for lanes that are due and works each off.

    Args:
        name: of what is delivered, for the log.
        look: the lanes with something to do, and from when on (µs).
        deliver: works one off until nothing is due in it, or something stops it.
        clock: says what is due.
        poll_seconds: between two looks, unless somebody calls `wake`.
        rest_seconds: how long a lane rests whose task failed by a defect.
        receiver: what the log calls a lane's receiver.
    """

    def __init__(  # noqa: PLR0913 - joined once
        self,
        name: str,
        look: Callable[[], Awaitable[Iterable[tuple[Lane, int]]]],
        deliver: Callable[[Lane], Awaitable[None]],
        clock: Clock,
        *,
        poll_seconds: float,
        rest_seconds: float,
        receiver: Callable[[Lane], str] = str,
    ) -> None:
        self._name = name
        self._look = look
        self._deliver = deliver
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._rest_seconds = rest_seconds
        self._receiver = receiver
        self._wake = asyncio.Event()
        self._tasks: dict[Lane, asyncio.Task[None]] = {}

    def wake(self) -> None:
        """Look again at once, and again soon."""
        self._wake.set()

    async def run(self) -> None:
        """Work off until cancelled."""
        looks = 0
        try:
            while True:
                looks = _EAGER_LOOKS if self._wake.is_set() else max(looks - 1, 0)
                self._wake.clear()
                seconds = self._poll_seconds
                try:
                    seconds = await self._start_due()
                    seconds = min(seconds, _EAGER_SECONDS) if looks else seconds
                except Exception as error:  # noqa: BLE001 - the database is away: the queue waits in it
                    _log.warning(f"{self._name}.failed", error=type(error).__name__)
                with suppress(TimeoutError):
                    # Not `wait_for`: it may swallow a cancellation that comes with the event.
                    async with asyncio.timeout(seconds):
                        await self._wake.wait()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self._tasks.clear()

    async def _start_due(self) -> float:
        """Begin what is due; seconds until something else may be."""
        self._tasks = {lane: task for lane, task in self._tasks.items() if not task.done()}
        seconds = self._poll_seconds
        lanes = await self._look()
        now_us = self._clock.now_us()
        for lane, due_us in lanes:
            if lane in self._tasks:
                continue
            if due_us <= now_us:
                self._tasks[lane] = asyncio.create_task(self._work(lane))
            else:
                seconds = min(seconds, (due_us - now_us) / SECOND_US)
        return max(seconds, _SHORTEST)

    async def _work(self, lane: Lane) -> None:
        try:
            await self._deliver(lane)
        except Exception as error:  # noqa: BLE001 - a defect here must not stop the others' deliveries
            source = self._receiver(lane)
            _log.error(f"{self._name}.failed", source=source, error=type(error).__name__)
            await asyncio.sleep(self._rest_seconds)
        finally:
            self._wake.set()
