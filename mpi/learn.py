"""What the index learns from its own records: how common names are. And which model decides."""

import hashlib
from collections import Counter, defaultdict
from functools import lru_cache

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import KeyRing
from mpi.decide import Matcher
from mpi.find import Finder
from mpi.model import Demographics
from mpi.repository import learning
from mpi.repository.writes import Writes
from mpi.settings import LinkageModel

#: With fewer records a share says more about chance than about the name.
FEWEST_RECORDS = 1_000
#: Values held by fewer records weigh as the average.
FEWEST_HOLDERS = 3
_DOMAIN = "mpi-share"


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

    async def count(self, conn: AsyncConnection) -> int:
        """Count the shares anew and take them up; the number of records counted."""
        counted: dict[str, Counter[str]] = defaultdict(Counter)
        total = 0
        async for page in learning.all_records(conn):
            for demographics in await self._finder.unseal(conn, page):
                total += 1
                for field, value in _values(demographics):
                    counted[field][value] += 1
        if total >= FEWEST_RECORDS:
            shares = {
                field: {
                    self._ring.blind64(_DOMAIN, field, value): number / total
                    for value, number in values.items()
                    if number >= FEWEST_HOLDERS
                }
                for field, values in counted.items()
            }
            await learning.replace_shares(conn, shares)
            await self.take_up(conn)
        return total


def _values(demographics: Demographics) -> list[tuple[str, str]]:
    first, last = demographics.given[:1], demographics.surnames[:1]
    return [*(("first", name) for name in first), *(("last", name) for name in last)]
