"""Watches that sources speak as often as they said: one alarm when one does not, none repeated.

The table says who is late, so that several processes may watch and only the first to see it
tells. A source is on time again with its next message, whatever becomes of that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.figures import FeedFigures, figures_of, last_spoken, senders
from adapters.sources import ADHOC_PREFIX, Source, SourceRegistry
from hie.db import Database
from hie.feeds import repository
from hie.kernel.clock import Clock
from hie.kernel.ids import SourceId
from hie.tasks.model import Outcome, TaskFilter, TaskKind
from hie.tasks.service import Tasks

#: Who closes the task of a source that speaks again.
HUB: Final = "hub"
_EMPTY: Final[Mapping[SourceId, int]] = MappingProxyType({})
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A source as staff see it.

    Attributes:
        late_us: since when it is late, judged now; None = it is not, or said nothing of its pace.
        tasks: open tasks by kind and topic.
    """

    source: Source
    figures: FeedFigures
    late_us: int | None
    tasks: Mapping[tuple[str, str], int]


class SourceWatch:
    """Late sources: found, told once, cleared."""

    def __init__(self, db: Database, sources: SourceRegistry, tasks: Tasks, clock: Clock) -> None:
        self._db = db
        self._sources = sources
        self._tasks = tasks
        self._clock = clock
        self._late = _EMPTY
        #: Called with a source that became late; the hub sets its metric.
        self.on_late: Callable[[str], None] = lambda _source: None

    def late(self) -> Mapping[SourceId, int]:
        """Late sources, and since when each is, as of the last look."""
        return self._late

    async def start(self) -> None:
        """Begin to watch: while the hub was away nobody could speak to it."""
        async with self._db.transaction() as conn:
            await repository.excuse(conn, self._clock.now_us())

    async def look(self) -> None:
        """Compare every source with what it said of its pace; tell of what changed."""
        now_us = self._clock.now_us()
        async with self._db.reading() as conn:
            found = await self._found(conn, now_us)
            known = await repository.watched(conn)
        wanted = {s.id for s in self._sources.all() if s.expected is not None}
        changed = [
            source_id
            for source_id, row in known.items()
            if (row.late_us is None) != (source_id not in found)
        ]
        if changed or wanted - known.keys():
            await self._change(found, changed, wanted, now_us)
        self._late = MappingProxyType({SourceId(s): at for s, at in found.items()})

    async def feeds(self, conn: AsyncConnection) -> list[Feed]:
        """Every source with a file, and every other that has sent where such may: by their ids."""
        now_us = self._clock.now_us()
        late = await self._found(conn, now_us)
        tasks = await self._tasks.counts(conn)
        return [
            Feed(
                source=source,
                figures=await figures_of(conn, source.id, now_us),
                late_us=late.get(source.id),
                tasks={(k, topic): n for (s, k, topic), n in tasks.items() if s == source.id},
            )
            for source in (*self._sources.all(), *await self._adhoc(conn))
        ]

    async def _adhoc(self, conn: AsyncConnection) -> list[Source]:
        """Sources no file names that have sent something; none where they are not allowed."""
        found = await senders(conn, ADHOC_PREFIX) if self._sources.allows_adhoc else []
        return [source for name in found if (source := self._sources.by_id(name))]

    async def _found(self, conn: AsyncConnection, now_us: int) -> dict[str, int]:
        """Late sources by what the journal says now."""
        paced = [s for s in self._sources.all() if s.expected is not None]
        known = await repository.watched(conn)
        spoken = await last_spoken(conn, [source.id for source in paced])
        found: dict[str, int] = {}
        for source in paced:
            row = known.get(source.id)
            if row is None or source.expected is None:
                continue
            begin = max(row.since_us, spoken.get(source.id, 0))
            late_us = source.expected.late_us(begin, now_us)
            if late_us is not None:
                found[source.id] = late_us
        return found

    async def _change(
        self, found: Mapping[str, int], changed: Sequence[str], wanted: set[SourceId], now_us: int
    ) -> None:
        told: list[tuple[str, bool]] = []
        async with self._db.transaction() as conn:
            await self._db.serialize(conn, "source watch")
            known = await repository.watched(conn)
            await repository.add(conn, wanted - known.keys(), now_us)
            for source_id in changed:
                late_us = found.get(source_id)
                if not await repository.set_late(conn, source_id, late_us):
                    continue
                told.append((source_id, late_us is not None))
                if late_us is not None:
                    await self._open(conn, source_id, late_us)
                else:
                    await self._close(conn, source_id, now_us)
        for source_id, is_late in told:
            if is_late:
                self.on_late(source_id)
                _log.warning("source.late", source=source_id)
            else:
                _log.info("source.back", source=source_id)

    async def _open(self, conn: AsyncConnection, source_id: str, late_us: int) -> None:
        await self._tasks.open(
            conn, TaskKind.LATE_SOURCE, (source_id,), now_us=late_us, source_id=source_id
        )

    async def _close(self, conn: AsyncConnection, source_id: str, now_us: int) -> None:
        wanted = TaskFilter(kind=TaskKind.LATE_SOURCE, source_id=source_id)
        for task in await self._tasks.listed(conn, wanted):
            await self._tasks.close(
                conn, task, Outcome.RESOLVED, actor=HUB, note="it spoke again", now_us=now_us
            )
