"""Putting messages back in the queue, and closing them for good: by whom, why, and audited."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.message import State
from adapters.replays import Deed, MessageFilter, Replays
from hie.audit.event import AuditRecord
from hie.audit.repository import AuditLog
from hie.db import Database
from hie.kernel.clock import Clock
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import MessageId

#: What may be worked off once more. What was processed is, after a map was mended: its
#: resources keep their ids, and the state rules keep what came later.
REPLAYABLE: Final = (State.PARKED, State.KEPT, State.PROCESSED)
#: Messages in one transaction: it stays below the time a writer may hold SQLite.
CHUNK: Final = 200


class Replay:
    """What staff and other parts of the hub do with messages that are done with."""

    def __init__(self, db: Database, replays: Replays, audit: AuditLog, clock: Clock) -> None:
        self._db = db
        self._replays = replays
        self._audit = audit
        self._clock = clock

    async def reopen(
        self, conn: AsyncConnection, message_ids: Sequence[MessageId], reason: str, actor: str
    ) -> int:
        """Put messages back in the queue, in the caller's transaction; how many.

        Each at most once: one that waits already, was refused or discarded is left alone.

        Args:
            conn: open write transaction.
            message_ids: any number.
            reason: why, in a human's words or the hub's.
            actor: who.
        """
        deed = self._deed("replay", State.RECEIVED, reason, actor)
        return len(await self._apply(conn, message_ids, REPLAYABLE, deed))

    async def run(
        self,
        wanted: MessageFilter,
        deed_name: str,
        *,
        reason: str,
        actor: str,
    ) -> int:
        """Replay, discard or restore the messages a filter means, part by part; the run's number.

        Raises:
            HieError: INVALID when the filter says nothing: that would be everything.
        """
        if wanted.is_empty:
            text = "expected at least one of: ids, a source, a time, a stage, a reason"
            raise HieError(Category.INVALID, text)
        to = {"replay": State.RECEIVED, "discard": State.DISCARDED}.get(deed_name, State.PARKED)
        deed = self._deed(deed_name, to, reason, actor)
        last = 0
        while True:
            async with self._db.transaction() as conn:
                part = await self._replays.listed(conn, wanted, limit=CHUNK, after=last)
                if not part:
                    return deed.run
                ids = [one.id for one in part]
                await self._apply(conn, ids, wanted.states, deed)
            last = ids[-1]

    async def _apply(
        self,
        conn: AsyncConnection,
        message_ids: Sequence[MessageId],
        states: Sequence[State],
        deed: Deed,
    ) -> list[MessageId]:
        done = await self._replays.apply(conn, message_ids, states, deed)
        if done:
            record = AuditRecord(
                recorded_us=deed.at_us,
                action="U",
                subtype="update",
                user=deed.actor,
                request_id=str(deed.run),
                detail={
                    "reason": deed.why,
                    "deed": deed.action,
                    "messages": [str(message_id) for message_id in done],
                },
            )
            await self._audit.append(conn, [record])
        return done

    def _deed(self, action: str, to: State, reason: str, actor: str) -> Deed:
        return Deed(
            run=self._db.next_pk(),
            action=action,
            to=to,
            actor=actor,
            why=reason,
            at_us=self._clock.now_us(),
        )
