"""Who may connect to a listener, and what is said in the log about those who may not.

A peer is counted by its address and, once it has shown one, by its certificate: neither one
machine nor one partner behind many addresses takes every place. What the same host does wrong
again and again is logged once a minute and counted always.
"""

from collections import Counter
from typing import Any, Final

import structlog

_TELL_SECONDS: Final = 60.0
_MOST_HOSTS: Final = 1_000
_log = structlog.get_logger(__name__)


class Doorkeeper:
    """Places of one listener."""

    def __init__(self, places: int, places_each: int) -> None:
        """Begin with every place free.

        Args:
            places: connections at a time.
            places_each: of one address, and of one certificate.
        """
        self._places = places
        self._places_each = places_each
        self._taken: Counter[str] = Counter()
        self._told: dict[tuple[str, str], float] = {}
        self.inside = 0

    def enter(self, key: str) -> bool:
        """Take a place for a new connection from an address, if there is one."""
        if self.inside >= self._places or not self.join(key):
            return False
        self.inside += 1
        return True

    def join(self, key: str) -> bool:
        """Count a connection that is inside under one more key, if that has room."""
        if self._taken[key] >= self._places_each:
            return False
        self._taken[key] += 1
        return True

    def leave(self, *keys: str) -> None:
        """A connection is gone; `keys` are all it was counted under."""
        self.inside -= 1
        for key in keys:
            self._taken[key] -= 1
            if self._taken[key] <= 0:
                del self._taken[key]

    def tell(self, event: str, host: str, now: float, **fields: Any) -> None:
        """Log what a host does wrong, unless it was told within the last minute."""
        told = self._told.get((event, host))
        if told is not None and now - told < _TELL_SECONDS:
            return
        if len(self._told) >= _MOST_HOSTS:
            self._told.clear()
        self._told[event, host] = now
        _log.warning(event, **fields)
