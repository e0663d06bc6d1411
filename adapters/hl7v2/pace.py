"""How fast a source may send: what comes faster waits, nothing is refused.

A token bucket in the form of one number per source: the time at which its bucket will be full
again. A message that waits holds its place on its connection, so that the connection stops
being read and TCP slows the sender.
"""

from dataclasses import dataclass, field
from typing import Final

#: Sources whose pace is remembered; one that is forgotten begins with a full bucket.
_MOST_SOURCES: Final = 10_000


@dataclass(slots=True)
class Pace:
    """The buckets of all sources."""

    _full_at: dict[str, float] = field(default_factory=dict)

    def delay(self, source: str, now: float, *, per_second: float, burst: int) -> float:
        """Seconds that a message coming now has to wait; its token is taken.

        Args:
            source: whose bucket.
            now: of a clock that never goes back, in seconds.
            per_second: tokens that flow in; 0 = no limit.
            burst: tokens that a full bucket holds.
        """
        if per_second <= 0:
            return 0.0
        if source not in self._full_at and len(self._full_at) >= _MOST_SOURCES:
            self._full_at.clear()
        full_at = max(self._full_at.get(source, now), now) + 1.0 / per_second
        self._full_at[source] = full_at
        return max(0.0, full_at - now - burst / per_second)
