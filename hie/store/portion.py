"""What part of a whole record is asked for, as frozen values and pure functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hie.store.query import Served

#: What of the resources found is told; pure.
Choose = Callable[[Sequence[Served]], Sequence[Served]]
#: Ids by type that what was chosen refers to and is told with it; pure.
Wanted = Callable[[Sequence[Served]], Mapping[str, Sequence[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What resources are marked with: profiles, labels and tags, each once, in order.

    Attributes:
        security: as (system, code).
        tags: as (system, code).
    """

    profiles: tuple[str, ...] = ()
    security: tuple[tuple[str, str], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """A part of a record, and how much of it at a time.

    Attributes:
        types: resource types wanted; None = all.
        since_us: only what changed after this instant, microseconds UTC.
        lo_us: care from here on; what has no time of care is always in.
        hi_us: care before this instant.
        count: resources a page has; None = all at once.
    """

    types: frozenset[str] | None = None
    since_us: int | None = None
    lo_us: int | None = None
    hi_us: int | None = None
    count: int | None = None

    def has(self, type_name: str) -> bool:
        """Whether resources of a type are asked for."""
        return self.types is None or type_name in self.types

    def is_since(self, last_updated_us: int) -> bool:
        """Whether what changed then is asked for."""
        return self.since_us is None or last_updated_us > self.since_us
