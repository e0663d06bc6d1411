"""From what the index decided to notices: who has to hear of an event. One transaction each.

An event is marked as published in the transaction that queues its notices: none is lost, none
is queued twice. A receiver hears of its own patients alone: of the persons an event touched,
those it has a record of. Who was told of a record before hears of it as long as it has one, also
when its file says nothing of notices any more: then staff hear that it cannot be told.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.sources import SourceRegistry
from hie.db import Database
from hie.kernel.clock import Clock
from hie.kernel.ids import SourceId, SourceRecordId
from hie.notify.repository import Address, NoticeBook
from mpi.repository import events
from mpi.repository.events import IdentityEvent

#: Events in one transaction: below 50 ms on SQLite.
BATCH: Final = 300
#: A person that has never been has one record alone: no number is anybody else's.
_SILENT: Final = frozenset({"new"})

#: Hears of the same events, in the same transaction.
Beside = Callable[[AsyncConnection, Sequence[IdentityEvent]], Awaitable[None]]


class Publisher:
    """Queues notices of what was decided."""

    def __init__(
        self,
        db: Database,
        book: NoticeBook,
        sources: SourceRegistry,
        clock: Clock,
        beside: Beside | None = None,
    ) -> None:
        self._db = db
        self._book = book
        self._clock = clock
        self._beside = beside
        self._channels: Mapping[SourceId, tuple[str, ...]] = {
            source.id: tuple(source.notify.channels()) for source in sources.all()
        }

    async def publish(self) -> int:
        """Queue what is new; how many notices."""
        total = 0
        while await self._is_waiting():
            async with self._db.transaction() as conn:
                found = await events.unpublished(conn, BATCH)
                total += await self._queue(conn, found)
                await events.mark(conn, [one.id for one in found], self._clock.now_us())
            if len(found) < BATCH:
                break
        return total

    async def _is_waiting(self) -> bool:
        async with self._db.reading() as conn:
            return await events.is_waiting(conn)

    async def _queue(self, conn: AsyncConnection, found: Sequence[IdentityEvent]) -> int:
        loud = [one for one in found if one.kind not in _SILENT]
        if not loud:
            return 0
        if self._beside is not None:
            await self._beside(conn, loud)
        concerned = await events.concerned(conn, loud)
        records = {record for rows in concerned.values() for record, _ in rows}
        before = await self._book.listeners(conn, records)
        total = 0
        for event in loud:
            here = {record for record, _ in concerned[event.id]}
            wanted = set(self._subscribed(concerned[event.id]))
            wanted |= {(address, record) for address, record in before if record in here}
            total += await self._book.queue(conn, event.id, event.at_us, sorted(wanted))
        return total

    def _subscribed(
        self, rows: Sequence[tuple[SourceRecordId, SourceId]]
    ) -> Iterator[tuple[Address, SourceRecordId]]:
        for record, source in rows:
            for channel in self._channels.get(source, ()):
                yield (source, channel), record
