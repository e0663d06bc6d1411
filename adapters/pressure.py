"""Back-pressure: while too much waits to be worked off, the receivers read no more.

Nothing is refused and nothing is lost: an unread connection is a full TCP window, and the
sender's own queue holds what it cannot send. Between a high and a low mark nothing changes, so
that the gate does not flutter.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

_log = structlog.get_logger(__name__)


class Gate:
    """Open while the receivers may read."""

    def __init__(self) -> None:
        self.is_open = True
        self.times_closed = 0
        self._opened = asyncio.Event()
        self._opened.set()
        self._watchers: list[Callable[[], None]] = []

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` each time the gate opens or closes."""
        self._watchers.append(changed)

    async def opened(self) -> None:
        """Wait until it is open."""
        await self._opened.wait()

    def turn(self, *, is_open: bool) -> None:
        """Open or close it."""
        if is_open == self.is_open:
            return
        self.is_open = is_open
        if is_open:
            self._opened.set()
        else:
            self._opened.clear()
        self.times_closed += not is_open
        for changed in self._watchers:
            changed()


class Backlog:
    """Watches how many acknowledged messages wait, and turns the gate.

    What is written between two counts is added to the last one, so that a burst closes the
    gate without waiting for the next count.
    """

    def __init__(
        self,
        gate: Gate,
        counted: Callable[[int], Awaitable[int]],
        *,
        high: int,
        low: int,
        seconds: float = 0.5,
    ) -> None:
        """Bind the parts.

        Args:
            gate: to turn.
            counted: how many messages wait, counted up to the number given.
            high: how many close the gate; 0 = it is never closed.
            low: how few open it again.
            seconds: between two counts.
        """
        self._gate = gate
        self._counted = counted
        self._high = high
        self._low = min(low, high)
        self._seconds = seconds
        self._unseen = 0  # written since the count under way began, which may not see them
        self.waiting = 0

    def written(self) -> None:
        """A message was journaled."""
        self.waiting += 1
        self._unseen += 1
        if self._high and self.waiting >= self._high:
            self._turn(is_open=False)

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - the database is away: the next look may find it
                _log.warning("backlog.not_counted", error=type(error).__name__)
            await asyncio.sleep(self._seconds)

    async def look(self) -> None:
        """Count once, and turn the gate where a mark is passed."""
        if not self._high:
            return
        self._unseen = 0
        self.waiting = await self._counted(self._high) + self._unseen
        if self.waiting >= self._high:
            self._turn(is_open=False)
        elif self.waiting <= self._low:
            self._turn(is_open=True)

    def _turn(self, *, is_open: bool) -> None:
        if is_open != self._gate.is_open:
            tell = _log.info if is_open else _log.warning
            tell("receive.resumed" if is_open else "receive.paused", count=self.waiting)
            self._gate.turn(is_open=is_open)
