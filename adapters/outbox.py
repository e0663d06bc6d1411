"""The queue of application acknowledgements that go to their senders' own listeners.

A row is written in the transaction that settles its message, so that none is lost and none is
made twice; it is sealed under the message's own key, so that erasing a record erases it too.
What was delivered keeps its row without its payload.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.message import Outcome
from adapters.sealing import row_key, seal, unseal
from adapters.tables import inbound_message, outbound_acknowledgement
from hie.db import Database
from hie.kernel.clock import SECOND_US, Clock
from hie.kernel.errors import HieError
from hie.kernel.ids import MessageId, SourceId
from hie.keystore import KeyStore

#: How long one try may take; another process waits for so long before it tries.
CLAIM_SECONDS: Final = 90
_TABLE: Final = "outbound_acknowledgement"
_T = outbound_acknowledgement.c


class Delivery(StrEnum):
    """How far an acknowledgement has come."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given-up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """MSA-1 and the whole message of an application acknowledgement."""

    code: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """An acknowledgement that waits.

    Attributes:
        message_id: of the message it acknowledges.
        payload: empty where the message's record was erased meanwhile.
        attempts: how often it was tried.
    """

    pk: int
    message_id: MessageId
    source_id: SourceId
    code: str
    created_us: int
    attempts: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An acknowledgement that waits or was given up, as staff see it."""

    message_id: MessageId
    source_id: SourceId
    code: str
    state: Delivery
    created_us: int
    attempts: int
    reason: str


#: Makes the acknowledgement of an outcome; None where the sender does not want it told.
Maker = Callable[[Outcome], Acknowledgement | None]


class Outbox:
    """Writes, finds and settles acknowledgements that wait."""

    def __init__(self, db: Database, keys: KeyStore, clock: Clock) -> None:
        self._db = db
        self._keys = keys
        self._clock = clock
        #: Makes what is sent; nothing is, until it is set.
        self.make: Maker = lambda _outcome: None
        #: Called when something was queued; the sender sets it.
        self.on_queued: Callable[[], None] = lambda: None

    async def announce(self, conn: AsyncConnection, outcomes: Sequence[Outcome]) -> None:
        """Queue what is to be said of these outcomes, in the transaction that settles them.

        The first outcome of a message is told; what a replay makes of it later is not.
        """
        if not outcomes:
            return
        ids = [outcome.message_id for outcome in outcomes]
        rows = await conn.execute(select(_T.message_pk).where(_T.message_pk.in_(ids)))
        told = set(rows.scalars())
        made = [
            self._row(outcome, acknowledgement)
            for outcome in outcomes
            if outcome.message_id not in told and (acknowledgement := self.make(outcome))
        ]
        if made:
            await conn.execute(outbound_acknowledgement.insert(), made)
            self.on_queued()

    async def due(self, source_id: SourceId, limit: int) -> list[Queued]:
        """What may be sent to a source now, oldest first."""
        query = (
            select(
                outbound_acknowledgement,
                inbound_message.c.wrapped,
                inbound_message.c.wrapped_by,
            )
            .join(inbound_message, inbound_message.c.pk == _T.message_pk, isouter=True)
            .where(
                _T.source_id == source_id,
                _T.state == Delivery.WAITING.value,
                _T.due_us <= self._clock.now_us(),
            )
            .order_by(_T.pk)
            .limit(limit)
        )
        async with self._db.reading() as conn:
            rows = (await conn.execute(query)).all()
            return [await self._opened(conn, row) for row in rows]

    async def sources(self) -> list[tuple[SourceId, int]]:
        """Each source that something waits for, and when the first of it is due (µs)."""
        query = (
            select(_T.source_id, func.min(_T.due_us))
            .where(_T.state == Delivery.WAITING.value)
            .group_by(_T.source_id)
        )
        async with self._db.reading() as conn:
            rows = await conn.execute(query)
            return [(SourceId(source_id), int(due_us)) for source_id, due_us in rows]

    async def counts(self) -> dict[tuple[str, ...], int]:
        """How many acknowledgements of each source wait or were given up."""
        query = (
            select(_T.source_id, _T.state, func.count())
            .where(_T.state.in_([Delivery.WAITING.value, Delivery.GIVEN_UP.value]))
            .group_by(_T.source_id, _T.state)
        )
        async with self._db.reading() as conn:
            return {(row[0], row[1]): int(row[2]) for row in await conn.execute(query)}

    async def listed(self, limit: int) -> list[Listed]:
        """What waits or was given up, newest first."""
        query = (
            select(outbound_acknowledgement)
            .where(_T.state.in_([Delivery.WAITING.value, Delivery.GIVEN_UP.value]))
            .order_by(_T.pk.desc())
            .limit(limit)
        )
        async with self._db.reading() as conn:
            rows = (await conn.execute(query)).all()
        return [
            Listed(
                message_id=MessageId(row.message_pk),
                source_id=SourceId(row.source_id),
                code=row.code,
                state=Delivery(row.state),
                created_us=row.created_us,
                attempts=row.attempts,
                reason=row.reason,
            )
            for row in rows
        ]

    async def again(self, message_ids: Sequence[MessageId]) -> int:
        """Try those that were given up once more, from the beginning; how many there were."""
        now_us = self._clock.now_us()
        async with self._db.transaction() as conn:
            done = await conn.execute(
                update(outbound_acknowledgement)
                .where(_T.message_pk.in_(message_ids), _T.state == Delivery.GIVEN_UP.value)
                .values(
                    state=Delivery.WAITING.value,
                    due_us=now_us,
                    created_us=now_us,
                    attempts=0,
                    settled_us=None,
                    reason="",
                )
            )
        self.on_queued()
        return int(done.rowcount)

    async def forget(self, before_us: int) -> int:
        """Delete the rows of what was delivered before then; how many."""
        async with self._db.transaction() as conn:
            done = await conn.execute(
                delete(outbound_acknowledgement).where(
                    _T.state == Delivery.DELIVERED.value, _T.settled_us < before_us
                )
            )
        return int(done.rowcount)

    async def claim(self, queued: Queued) -> bool:
        """Whether this process is the one to send it; nobody else then does for a while.

        SQLite has one receiving process; on PostgreSQL there may be several. One that dies
        while it sends leaves the acknowledgement to the others when its time is over.
        """
        if self._db.is_sqlite:
            return True
        now_us = self._clock.now_us()
        async with self._db.transaction() as conn:
            done = await conn.execute(
                update(outbound_acknowledgement)
                .where(
                    _T.pk == queued.pk,
                    _T.state == Delivery.WAITING.value,
                    _T.due_us <= now_us,
                )
                .values(due_us=now_us + CLAIM_SECONDS * SECOND_US)
            )
        return int(done.rowcount) == 1

    async def settle(self, pk: int, delivery: Delivery, reason: str = "") -> None:
        """An acknowledgement was delivered or given up."""
        values: dict[str, Any] = {
            "state": delivery.value,
            "reason": reason,
            "attempts": _T.attempts + 1,
            "settled_us": self._clock.now_us(),
        }
        if delivery is Delivery.DELIVERED:
            values["payload"] = b""
        async with self._db.transaction() as conn:
            await conn.execute(update(outbound_acknowledgement).where(_T.pk == pk).values(**values))

    async def postpone(self, first: Queued, reason: str, seconds: float) -> None:
        """Try one again later, and what waits for the same listener with it."""
        due_us = self._clock.now_us() + int(seconds * SECOND_US)
        waiting = (_T.source_id == first.source_id, _T.state == Delivery.WAITING.value)
        async with self._db.transaction() as conn:
            await conn.execute(
                update(outbound_acknowledgement)
                .where(*waiting, _T.due_us < due_us)
                .values(due_us=due_us)
            )
            await conn.execute(
                update(outbound_acknowledgement)
                .where(_T.pk == first.pk)
                .values(attempts=_T.attempts + 1, reason=reason, due_us=due_us)
            )

    def _row(self, outcome: Outcome, made: Acknowledgement) -> dict[str, Any]:
        pk, now_us = self._db.next_pk(), self._clock.now_us()
        return {
            "pk": pk,
            "message_pk": outcome.message_id,
            "source_id": outcome.source_id,
            "code": made.code,
            "state": Delivery.WAITING.value,
            "reason": "",
            "attempts": 0,
            "created_us": now_us,
            "due_us": now_us,
            "settled_us": None,
            "payload": seal(outcome.key, "payload", pk, made.payload, table=_TABLE),
        }

    async def _opened(self, conn: AsyncConnection, row: Row[Any]) -> Queued:
        payload = b""
        if row.wrapped is not None:
            with suppress(HieError):  # GONE: the record was erased, and what was said about it
                key = await row_key(self._keys, conn, row.message_pk, row.wrapped, row.wrapped_by)
                payload = unseal(key, "payload", row.pk, row.payload, table=_TABLE)
        return Queued(
            pk=row.pk,
            message_id=MessageId(row.message_pk),
            source_id=SourceId(row.source_id),
            code=row.code,
            created_us=row.created_us,
            attempts=row.attempts,
            payload=payload,
        )
