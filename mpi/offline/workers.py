"""Work spread over processes that know, without copying it over, what stood when they began."""

import gc
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
#: Items handed out ahead of the one awaited, per process: a bound on memory.
AHEAD = 3
#: Records are kept, and none is in a cycle: looking through all of them for garbage as often as
#: for a program that drops what it makes takes half the time that reading them does.
_RARELY = (100_000, 50, 100)
#: What a worker process works with; inherited when it is forked.
_INHERITED: list[Callable[[Any], Any]] = []


def in_order(work: Callable[[Item], Result], items: Iterable[Item], jobs: int) -> Iterator[Result]:
    """The results of work on items, in the order of the items.

    Args:
        work: a function or bound method; with several jobs it runs in other processes, which
            know its object as it stands now, and only items and results pass between them.
        items: taken one by one, in this process.
        jobs: processes; one means this process alone.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_RARELY)
    try:
        yield from map(work, items) if jobs <= 1 else _spread(work, items, jobs)
    finally:
        gc.set_threshold(*before)


def _spread(work: Callable[[Item], Result], items: Iterable[Item], jobs: int) -> Iterator[Result]:
    _INHERITED[:] = [work]
    gc.freeze()  # what stands is shared with the workers: collecting it would copy it
    pool = ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("fork"), initializer=_ignore_interrupts
    )
    try:
        with _interrupts_later():
            pool.submit(_nothing)  # the first item forks all processes
        yield from _handed_out(pool, items, AHEAD * jobs)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        gc.unfreeze()
        _INHERITED.clear()


def _handed_out(pool: ProcessPoolExecutor, items: Iterable[Any], ahead: int) -> Iterator[Any]:
    waiting: deque[Future[Any]] = deque()
    for item in items:
        waiting.append(pool.submit(_work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _work(item: Any) -> Any:
    return _INHERITED[0](item)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Hold Ctrl-C back: a process that has just begun would take it, too, and show a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _nothing() -> None:
    pass


def _ignore_interrupts() -> None:
    """Ctrl-C is the first process's to handle; it ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
