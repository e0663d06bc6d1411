"""Loopback ports for servers that a test starts."""

import os
import random
import socket

#: Below the ports that Linux gives to outgoing connections: one of those can be taken by any
#: client of any process between the moment it is found free and the moment a server listens.
FIRST, LAST = 15_000, 32_000

_given: set[int] = set()


def free_port() -> int:
    """A loopback port nobody listens on, given to no other test of this run."""
    first, last = _share()
    while True:
        port = random.SystemRandom().randint(first, last)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def _share() -> tuple[int, int]:
    """The ports of this worker alone: what one has chosen looks free to others until it listens."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    each = (LAST - FIRST) // workers
    # One that died is replaced by one with a further number, which begins again.
    first = FIRST + number % workers * each
    return first, first + each - 1


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False
