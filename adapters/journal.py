"""The journal: a message is written here, durably, before anything is answered.

Its writing half is `adapters.journal_writer`; here messages are found, settled and counted.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import BigInteger, Row, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.journal_writer import JournalWriter
from adapters.message import Message, MessageCounts, Outcome, Settlement, State
from adapters.outbox import Outbox
from adapters.port import Journaled, JournalEntry, Wire
from adapters.replays import Replays
from adapters.sealing import (
    answer_code,
    findings_text,
    read_findings,
    rewrap,
    row_key,
    seal,
    unseal,
)
from adapters.tables import inbound_message
from hie.crypto import DataKey, KeyRing
from hie.db import Database
from hie.kernel.clock import Clock
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import MessageId, SourceId
from hie.keystore import KeyStore

# Built once: building a statement takes as long as running it, and every message runs these.
_CLAIM = (
    select(inbound_message.c.pk)
    .where(
        inbound_message.c.pk.in_(bindparam("pks", type_=BigInteger, expanding=True)),
        inbound_message.c.state == State.RECEIVED.value,
    )
    .with_for_update(skip_locked=True)
)
_SETTLE = (
    update(inbound_message)
    .where(inbound_message.c.pk == bindparam("b_pk"))
    .values(
        state=bindparam("b_state"),
        stage=bindparam("b_stage"),
        reason=bindparam("b_reason"),
        attempts=inbound_message.c.attempts + 1,
        settled_us=bindparam("b_settled_us"),
        findings=bindparam("b_findings"),
        wrapped_by=bindparam("b_wrapped_by"),
        wrapped=bindparam("b_wrapped"),
    )
)


class Journal:
    """Writes, reads and settles messages."""

    def __init__(self, db: Database, ring: KeyRing, keys: KeyStore, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self.outbox = Outbox(db, keys, clock)
        self.replays = Replays(db, keys)
        self._writer = JournalWriter(db, ring, keys, clock, self.outbox)
        #: Called when something was written; the worker sets it.
        self.on_written: Callable[[], None] = lambda: None

    async def write(self, entry: JournalEntry) -> Journaled:
        """The outcome, after the commit.

        Raises:
            Exception: nothing was stored; the sender must get AR or a server error.
        """
        journaled = await self._writer.write(entry)
        self.on_written()
        return journaled

    async def first_answer(self, entry: JournalEntry) -> bytes | None:
        """The answer that the accepted message which this one repeats got; None = none such."""
        return await self._writer.first_answer(entry)

    async def last_sequence(self, source_id: SourceId) -> int | None:
        """The last sequence number accepted from a source; None = none yet."""
        return await self._writer.last_sequence(source_id)

    async def close(self) -> None:
        """Wait until everything handed in is committed."""
        await self._writer.close()

    async def waiting(self, conn: AsyncConnection, limit: int, after: int = 0) -> list[Message]:
        """HL7 v2 messages to be worked off, oldest first."""
        rows = await conn.execute(
            select(inbound_message)
            .where(inbound_message.c.state == State.RECEIVED.value, inbound_message.c.pk > after)
            .order_by(inbound_message.c.pk)
            .limit(limit)
        )
        return [await self.to_work_off(conn, row) for row in rows.all()]

    async def claim(
        self, conn: AsyncConnection, message_ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        """Those of the messages that still wait; nobody else works them off meanwhile.

        Another process may have been faster: `hie replay` beside a running hub.
        """
        rows = await conn.execute(_CLAIM, {"pks": list(message_ids)})
        return frozenset(MessageId(pk) for pk in rows.scalars())

    async def get(self, conn: AsyncConnection, message_id: MessageId) -> Message | None:
        """One message."""
        rows = await conn.execute(select(inbound_message).where(inbound_message.c.pk == message_id))
        row = rows.first()
        return await self.opened(conn, row) if row else None

    async def settle(self, conn: AsyncConnection, settlements: Sequence[Settlement]) -> None:
        """Record what became of messages, in the transaction that made it so."""
        at_us = self._clock.now_us()
        await conn.execute(_SETTLE, [{**_settled(s), "b_settled_us": at_us} for s in settlements])
        again = [(s.message.id, s.state) for s in settlements if s.message.attempts]
        await self.replays.conclude(conn, again, at_us)
        await self.outbox.announce(
            conn,
            # The first outcome alone, also where its row was delivered and is gone by now.
            [_outcome(s) for s in settlements if s.message.application and not s.message.attempts],
        )

    async def answer(
        self, conn: AsyncConnection, message_id: MessageId, answer: bytes, state: State
    ) -> None:
        """Settle a FHIR write with its answer, in the transaction of what it answers for."""
        t = inbound_message.c
        rows = await conn.execute(select(t.wrapped, t.wrapped_by).where(t.pk == message_id))
        row = rows.one()
        key = await row_key(self._keys, conn, message_id, row.wrapped, row.wrapped_by)
        await conn.execute(
            update(inbound_message)
            .where(t.pk == message_id)
            .values(
                state=state.value,
                attempts=t.attempts + 1,
                settled_us=self._clock.now_us(),
                answer=seal(key, "answer", message_id, answer),
                answer_code=answer_code(answer),
            )
        )

    async def refuse(
        self, conn: AsyncConnection, message_id: MessageId, reason: str, status: int
    ) -> None:
        """Settle a FHIR write as refused; a repeat of it is judged afresh."""
        await conn.execute(
            update(inbound_message)
            .where(inbound_message.c.pk == message_id)
            .values(
                state=State.REFUSED.value,
                stage="store",
                reason=reason,
                settled_us=self._clock.now_us(),
                answer_code=str(status),
                repeat_key=None,
            )
        )

    async def listed(self, conn: AsyncConnection, state: State, limit: int) -> list[Message]:
        """Messages in a state, newest first."""
        rows = await conn.execute(
            select(inbound_message)
            .where(inbound_message.c.state == state.value)
            .order_by(inbound_message.c.pk.desc())
            .limit(limit)
        )
        return [await self.opened(conn, row) for row in rows.all()]

    async def counts(self, conn: AsyncConnection) -> list[MessageCounts]:
        """The journal, counted by wire, trigger, answer and state."""
        t = inbound_message.c
        by = (t.wire, t.trigger, t.answer_code, t.state)
        rows = await conn.execute(select(*by, func.count()).group_by(*by).order_by(*by))
        return [
            MessageCounts(wire=wire, trigger=trigger, answer=answer, state=state, count=n)
            for wire, trigger, answer, state, n in rows
        ]

    async def backlog(self, conn: AsyncConnection) -> int:
        """How many acknowledged messages wait to be worked off."""
        rows = await conn.execute(
            select(func.count()).where(inbound_message.c.state == State.RECEIVED.value)
        )
        return int(rows.scalar_one())

    async def backlog_up_to(self, conn: AsyncConnection, most: int) -> int:
        """The same, counted no further than `most`."""
        waiting = (
            select(inbound_message.c.pk)
            .where(inbound_message.c.state == State.RECEIVED.value)
            .limit(most)
        )
        return int(
            (await conn.execute(select(func.count()).select_from(waiting.subquery()))).scalar_one()
        )

    async def sources(self, conn: AsyncConnection) -> list[SourceId]:
        """Every source that has sent something."""
        rows = await conn.execute(select(inbound_message.c.source_id).distinct())
        return [SourceId(source_id) for source_id in rows.scalars()]

    async def to_work_off(self, conn: AsyncConnection, row: Row[Any]) -> Message:
        """A message from its row; without content where its record was erased."""
        try:
            return await self.opened(conn, row)
        except HieError as error:
            if error.category is not Category.GONE:
                raise
        return _message(row, self._keys.fresh()[0], is_erased=True)

    async def opened(self, conn: AsyncConnection, row: Row[Any]) -> Message:
        """A message from its row.

        Raises:
            HieError: GONE when its record was erased.
        """
        return _message(row, await row_key(self._keys, conn, row.pk, row.wrapped, row.wrapped_by))


def _message(row: Row[Any], key: DataKey, *, is_erased: bool = False) -> Message:
    return Message(
        id=MessageId(row.pk),
        source_id=SourceId(row.source_id),
        wire=Wire(row.wire),
        received_us=row.received_us,
        trigger=row.trigger,
        state=State(row.state),
        stage=row.stage,
        reason=row.reason,
        attempts=row.attempts,
        findings=read_findings(row.findings),
        payload=b"" if is_erased else unseal(key, "payload", row.pk, row.payload),
        answer=b"" if is_erased else unseal(key, "answer", row.pk, row.answer),
        application=row.application,
        key=key,
        wrapped=row.wrapped,
        wrapped_by=row.wrapped_by,
        is_erased=is_erased,
    )


def _settled(settlement: Settlement) -> dict[str, Any]:
    message, owner = settlement.message, settlement.owner_key
    wrapped, wrapped_by = message.wrapped, message.wrapped_by
    if owner is not None:
        wrapped_by = owner.id
        wrapped = rewrap(message.key, owner, message.id)
    return {
        "b_pk": message.id,
        "b_state": settlement.state.value,
        "b_stage": settlement.stage,
        "b_reason": settlement.reason,
        "b_findings": findings_text(settlement.findings or message.findings),
        "b_wrapped_by": wrapped_by,
        "b_wrapped": wrapped,
    }


def _outcome(settlement: Settlement) -> Outcome:
    message = settlement.message
    return Outcome(
        message_id=message.id,
        source_id=message.source_id,
        state=settlement.state,
        payload=message.payload,
        reason=settlement.reason,
        condition=message.application,
        key=message.key,
    )
