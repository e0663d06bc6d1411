"""What was written, kept in the transaction that wrote it until its subscribers are found.

The write path says only that a version is there, and only while somebody subscribes to a topic
about its type; what a topic's trigger makes of it is found out after the commit.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.db import Database
from hie.flow.changed import Changed
from hie.subscriptions.repository import SubscriptionBook
from hie.subscriptions.tables import resource_change
from hie.subscriptions.topics import Topics

_C = resource_change.c


class ChangeLog:
    """Keeps changes until they are published."""

    def __init__(self, db: Database, book: SubscriptionBook, topics: Topics) -> None:
        self._db = db
        self._book = book
        self._topics = topics
        #: Called when something was kept; it is committed a moment later.
        self.on_kept: Callable[[], None] = lambda: None

    async def keep(self, conn: AsyncConnection, changes: Sequence[Changed]) -> None:
        """Keep those that a live subscription may be about, in the open transaction."""
        mine = [one for one in changes if one.records or one.type in self._topics.types]
        if not mine:
            return
        live = await self._book.live_topics(conn)
        about = {t.resource for t in self._topics if t.triggers and t.url in live}
        has_identity = not live.isdisjoint(self._topics.identity)
        rows = [
            {
                "pk": self._db.next_pk(),
                "type": one.type,
                "id": one.id,
                "version": one.version,
                "source_id": one.source_id,
                "happened_us": one.happened_us,
                "records": " ".join(one.records),
                "was": " ".join(one.was),
            }
            for one in mine
            if (has_identity if one.records else one.type in about)
        ]
        if rows:
            await conn.execute(resource_change.insert(), rows)
            self.on_kept()

    async def is_waiting(self, conn: AsyncConnection) -> bool:
        """Whether there is a change nobody was found for yet."""
        return (await conn.execute(select(_C.pk).limit(1))).first() is not None

    async def take(self, conn: AsyncConnection, limit: int) -> list[Changed]:
        """The oldest changes, gone once the transaction commits; nobody else takes them."""
        rows = (
            await conn.execute(
                select(resource_change)
                .order_by(_C.pk)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
        ).all()
        if rows:
            await conn.execute(delete(resource_change).where(_C.pk.in_([r.pk for r in rows])))
        return [
            Changed(
                pk=row.pk,
                type=row.type,
                id=row.id,
                version=row.version,
                source_id=row.source_id,
                happened_us=row.happened_us,
                records=tuple(row.records.split()),
                was=tuple(row.was.split()),
            )
            for row in rows
        ]
