"""What the index learns from its own records: how common names are. And which model decides."""

import hashlib
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
from mpi.repository.writes import Writes
from mpi.settings import LinkageModel

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
    """Counts shares of values and registers models."""

    def __init__(
        self, model: LinkageModel, ring: KeyRing, finder: Finder, matcher: Matcher
    ) -> None:
        self._model = model
        self._ring = ring
        self._finder = finder
        self._matcher = matcher

    async def register_model(self, conn: AsyncConnection, writes: Writes, *, now_us: int) -> None:
        """Put the model in use on record, once per version and content."""
        content_hash = hashlib.sha256(self._model.text.encode()).hexdigest()
        if await learning.has_model(conn, self._model.version, content_hash):
            return
        await learning.end_models(conn, now_us=now_us)
        writes.add(
            "model",
            version=self._model.version,
            content_hash=content_hash,
            body=self._model.text,
            active_from_us=now_us,
        )

    async def take_up(self, conn: AsyncConnection) -> None:
        """Score by the shares that are stored."""
        stored = await learning.shares(conn)

        @lru_cache(maxsize=50_000)
        def share(field: str, value: str) -> float | None:
            return stored.get(field, {}).get(self._ring.blind64(_DOMAIN, field, value))

        if stored:
            self._matcher.learn(share)

    async def count(self, conn: AsyncConnection) -> NameShares:
        """Count how common names are; reads every record, so on a reading connection."""
        counted: dict[str, Counter[str]] = defaultdict(Counter)
        total = 0
        async for page in learning.all_records(conn):
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

    async def keep(self, conn: AsyncConnection, counted: NameShares) -> None:
        """Store what was counted and score by it; too few records teach nothing."""
        if counted.records >= FEWEST_RECORDS:
            await learning.replace_shares(conn, counted.shares)
            await self.take_up(conn)


def _values(demographics: Demographics) -> list[tuple[str, str]]:
    first, last = demographics.given[:1], demographics.surnames[:1]
    return [*(("first", name) for name in first), *(("last", name) for name in last)]
