"""A bound on the work a test's own process does, whatever else the machine is doing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

#: What no single question, however hostile, may cost; a usual one costs some milliseconds.
MOST_SECONDS = 5.0


@contextmanager
def bounded(what: object, *, seconds: float = MOST_SECONDS) -> Iterator[None]:
    """Fail where the block costs more processor time than `seconds`.

    Processor time of this process and its threads: a neighbour that takes the machine away makes
    the clock on the wall run on, but no work.
    """
    began = time.process_time()
    yield
    used = time.process_time() - began
    assert used < seconds, f"{what}: {used:.1f} s of processor time, at most {seconds:g}"
