"""Batches under way: started by a request, watched by others, ended before the hub stops."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from hie.kernel.errors import HieError

#: Ended batches that are remembered; what they decided is on record in any case.
MOST_KEPT: Final = 100
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Run:
    """A batch under way, or ended.

    Attributes:
        user: who started it.
        done, refused: items so far.
        result: what it came to, as JSON values; None while it goes on.
        error: why it ended early; the items done until then stand.
    """

    id: str
    user: str
    total: int
    done: int = 0
    refused: int = 0
    result: dict[str, Any] | None = None
    error: str = ""

    @property
    def state(self) -> str:
        """`running`, `done` or `failed`."""
        if self.error:
            return "failed"
        return "running" if self.result is None else "done"

    def count(self, *, is_done: bool) -> None:
        """One item more."""
        if is_done:
            self.done += 1
        else:
            self.refused += 1


Work = Callable[[Run], Awaitable[dict[str, Any]]]


@dataclass(slots=True)
class Runs:
    """The batches of one process."""

    _runs: dict[str, Run] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self, user: str, total: int, work: Work) -> Run:
        """Begin a batch; it goes on when its request has been answered."""
        run = Run(id=secrets.token_hex(12), user=user, total=total)
        self._forget()
        self._runs[run.id] = run
        task = asyncio.create_task(self._carry_out(run, work), name=f"batch-{run.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run

    def of(self, run_id: str, user: str) -> Run | None:
        """A batch that this user started."""
        run = self._runs.get(run_id)
        return run if run and run.user == user else None

    async def close(self) -> None:
        """Wait for the batches under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _carry_out(self, run: Run, work: Work) -> None:
        try:
            run.result = await work(run)
        except HieError as error:
            run.error = error.text
        except Exception as error:  # noqa: BLE001 - nobody awaits it: told here, or never
            run.error = "the hub failed; what was done until then stands"
            _log.error("staff.batch_failed", error=type(error).__name__)

    def _forget(self) -> None:
        ended = [run.id for run in self._runs.values() if run.state != "running"]
        for run_id in ended[: max(0, len(self._runs) - MOST_KEPT)]:
            del self._runs[run_id]
