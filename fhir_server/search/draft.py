"""A search while it is read: what it asks so far, and what is wrong with it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from fhir_server.search.results import Shown
from hie.kernel.errors import Issue
from hie.store import query as q


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who reads a search and when.

    Attributes:
        now_us: the time of the request, for `ap`.
        may: whether the caller's scopes let a type be searched; None = references are not
            followed.
        types: all that are searched together, the one read for first.
    """

    now_us: int = 0
    may: Callable[[str], bool] | None = None
    types: tuple[str, ...] = ()


@dataclass(slots=True)
class Count:
    """Values read so far, of a search and all that is nested in it."""

    values: int = 0


@dataclass(slots=True)
class Draft:
    """A search, or the far end of a chain, being read.

    Attributes:
        depth: references followed to get here.
        shown: what is to be shown of what is found; None at the far end of a chain.
    """

    query: q.Query
    asking: Asking
    count: Count = field(default_factory=Count)
    depth: int = 0
    used: list[tuple[str, str]] = field(default_factory=list)
    faults: list[Issue] = field(default_factory=list)
    unknown: list[Issue] = field(default_factory=list)
    shown: Shown | None = None

    @property
    def type(self) -> str:
        """The resource type asked for."""
        return self.query.type

    def inner(self, type_name: str) -> "Draft":
        """A draft of what a reference leads to."""
        return Draft(q.Query(type=type_name), self.asking, self.count, self.depth + 1)

    def add(self, made: q.Criterion) -> None:
        """AND another criterion."""
        self.query = replace(self.query, criteria=(*self.query.criteria, made))

    def narrow(self, name: str, persons: Iterable[str], *, is_own: bool) -> None:
        """AND a set of persons: the first one leads the search."""
        asked = tuple(dict.fromkeys(persons))
        if self.query.persons is None:
            self.query = replace(self.query, persons=asked, is_own=is_own)
        else:
            self.add(q.About(param=name, persons=asked, is_any=not is_own))

    def confine(self, within: Iterable[q.Criterion]) -> None:
        """AND what the address asks."""
        for made in within:
            if isinstance(made, q.About):
                self.narrow(made.param, made.persons, is_own=not made.is_any)
            else:
                self.add(made)

    def nested(self) -> q.Nested:
        """What it asks, as the far end of a chain."""
        query = self.query
        return q.Nested(
            type=query.type, persons=query.persons, is_own=query.is_own, criteria=query.criteria
        )
