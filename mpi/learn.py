"""What the index learns from its own records: how common names are."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import KeyRing
from mpi.decide import Matcher
from mpi.demographics import Demographics
from mpi.find import Finder
from mpi.repository import learning
from mpi.repository.learning import ShareChange
from mpi.score import Shares

#: With fewer records a share says more about chance than about the name.
FEWEST_RECORDS = 1_000
#: Values held by fewer records weigh as the average.
FEWEST_HOLDERS = 3
_DOMAIN = "mpi-share"


@dataclass(frozen=True, slots=True, kw_only=True)
class NameShares:
    """How common names are among the records.

    Attributes:
        shares: field, then keyed hash of the value, to its share of all records.
    """

    records: int
    shares: Mapping[str, Mapping[int, float]]


class Learning:
    """Counts shares of values."""

    def __init__(self, ring: KeyRing, finder: Finder, matcher: Matcher) -> None:
        self._ring = ring
        self._finder = finder
        self._matcher = matcher

    async def take_up(self, conn: AsyncConnection) -> None:
        """Score by the shares that are stored."""
        if shares := await self.shares(conn):
            self._matcher.learn(shares)

    async def shares(self, conn: AsyncConnection) -> Shares | None:
        """How common names are, as far as it is stored."""
        stored = await learning.shares(conn)

        @lru_cache(maxsize=50_000)
        def share(field: str, value: str) -> float | None:
            return stored.get(field, {}).get(self._ring.blind64(_DOMAIN, field, value))

        return share if stored else None

    async def count(self, conn: AsyncConnection) -> NameShares:
        """Count how common names are; reads every record, so on a reading connection."""
        counted: dict[str, Counter[str]] = defaultdict(Counter)
        total = 0
        async for page in learning.all_records(conn):
            await asyncio.sleep(0)
            for demographics in await self._finder.unseal(conn, page):
                total += 1
                for field, value in _values(demographics):
                    counted[field][value] += 1
        shares = {
            field: {
                self._ring.blind64(_DOMAIN, field, value): number / total
                for value, number in values.items()
                if number >= FEWEST_HOLDERS
            }
            for field, values in counted.items()
        }
        return NameShares(records=total, shares=shares)

    async def changes(self, conn: AsyncConnection, counted: NameShares) -> list[ShareChange]:
        """What must be stored of a count, in small parts; too few records teach nothing."""
        if counted.records < FEWEST_RECORDS:
            return []
        return learning.share_changes(await learning.shares(conn), counted.shares)


def _values(demographics: Demographics) -> list[tuple[str, str]]:
    first, last = demographics.given[:1], demographics.surnames[:1]
    return [*(("first", name) for name in first), *(("last", name) for name in last)]
