"""Work spread over processes: what Ctrl-C does to one that has just begun."""

import subprocess
import sys

#: Every process that is forked is sent what Ctrl-C sends, before it comes to a line of its own.
INTERRUPTED = """
import os, signal
from mpi.offline.workers import in_order
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGINT))
print(*in_order(abs, [-1, -2, -3], 2))
"""


def test_a_process_that_is_interrupted_as_it_begins_works_on_without_a_word():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("1 2 3\n", "")
