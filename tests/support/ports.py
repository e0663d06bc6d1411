"""Loopback ports for servers that a test starts."""

import random
import socket

#: Below the ports that Linux gives to outgoing connections: one of those can be taken by any
#: client of any process between the moment it is found free and the moment a server listens.
FIRST, LAST = 15_000, 32_000

_given: set[int] = set()


def free_port() -> int:
    """A loopback port nobody listens on, given to no other test of this process."""
    while True:
        port = random.SystemRandom().randint(FIRST, LAST)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False
