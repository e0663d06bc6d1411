"""From what was written to events: which topics fire, and whose subscriptions wait for them."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.db import Database
from hie.flow.changed import Changed, VersionPairs
from hie.kernel.ids import PersonId, SourceRecordId
from hie.subscriptions.changes import ChangeLog
from hie.subscriptions.repository import SubscriptionBook
from hie.subscriptions.topics import Topics
from mpi.repository import events as identity
from mpi.repository.events import IdentityEvent

#: Changes in one transaction: below 50 ms on SQLite.
BATCH: Final = 20


class EventPublisher:
    """Queues the events of what changed, each for every subscription to its topic.

    Nothing is decided here: whether a subscriber hears of an event is found out when it is told.
    """

    def __init__(
        self,
        db: Database,
        book: SubscriptionBook,
        log: ChangeLog,
        topics: Topics,
        pairs: VersionPairs,
    ) -> None:
        self._db = db
        self._book = book
        self._log = log
        self._topics = topics
        self._pairs = pairs

    async def publish(self) -> int:
        """Queue what is new; how many events."""
        total = 0
        while await self._is_waiting():
            async with self._db.transaction() as conn:
                found = await self._log.take(conn, BATCH)
                total += await self._queue(conn, found)
            if len(found) < BATCH:
                break
        return total

    async def identities(self, conn: AsyncConnection, events: Sequence[IdentityEvent]) -> None:
        """Keep what became of identities, in the transaction that publishes it."""
        changes = []
        for event in events:
            moved: list[tuple[SourceRecordId, PersonId]] = []
            for record in event.record_ids:
                was = await identity.person_before(conn, event.id, record)
                if was is not None:
                    moved.append((record, was))
            if moved:
                records, persons = zip(*sorted(moved), strict=True)
                kept = Changed(
                    type="Patient", happened_us=event.at_us, records=records, was=persons
                )
                changes.append(kept)
        await self._log.keep(conn, changes)

    async def _is_waiting(self) -> bool:
        async with self._db.reading() as conn:
            return await self._log.is_waiting(conn)

    async def _queue(self, conn: AsyncConnection, found: Sequence[Changed]) -> int:
        rows = []
        listening: dict[str, list[str]] = {}
        for one in found:
            for url in await self._fired(conn, one):
                if url not in listening:
                    listening[url] = await self._book.live_to(conn, url)
                rows += [
                    {
                        "subscription_id": name,
                        "change_pk": one.pk,
                        "type": one.type,
                        "focus_id": one.id,
                        "happened_us": one.happened_us,
                        "records": " ".join(one.records),
                        "was": " ".join(one.was),
                    }
                    for name in listening[url]
                ]
        await self._book.queue(conn, rows)
        return len(rows)

    async def _fired(self, conn: AsyncConnection, one: Changed) -> list[str]:
        """The topics that a change is an event of."""
        if one.records:
            return list(self._topics.identity)
        topics = self._topics.about(one.type)
        if not topics:
            return []
        before, now = await self._pairs.of(conn, one)
        return [t.url for t in topics if now is not None and t.fires(before, now)]
