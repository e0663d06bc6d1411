"""The journal: a message is written here, durably, before anything is answered.

INVARIANT: what `write` returns for an accepted entry is committed; what it raises for is
not stored. A repeat of an accepted message (source, control id and content) stores nothing
and gets the first answer; a repeat of a refused one is judged afresh.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, String, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.message import Message, MessageCounts, Settlement, State
from adapters.port import Journaled, JournalEntry, Wire
from adapters.tables import inbound_message
from hie.crypto import DataKey, KeyRing
from hie.db import Database, GroupWriter
from hie.kernel.clock import Clock
from hie.kernel.envelope import Finding, Severity
from hie.kernel.ids import MessageId, SourceId
from hie.keystore import KeyStore

_TABLE = "inbound_message"
_KEY_PLACE = "wrapped"
_ANSWER_CODE = re.compile(rb'(?:\rMSA.([A-Z]{2}))|(?:^{"status": (\d{3}))')


_T = inbound_message.c
# Built once: building a statement takes as long as running it, and every message runs these.
_FIRST_ANSWERS = select(_T.pk, _T.repeat_key, _T.wrapped, _T.wrapped_by, _T.answer).where(
    _T.repeat_key.in_(bindparam("repeat_keys", type_=String, expanding=True))
)
_KNOWN_CONTROLS = (
    select(_T.control_key)
    .where(_T.control_key.in_(bindparam("control_keys", type_=String, expanding=True)))
    .distinct()
)
_INSERT = inbound_message.insert()


class Journal:
    """Writes, reads and settles messages."""

    def __init__(self, db: Database, ring: KeyRing, keys: KeyStore, clock: Clock) -> None:
        self._db = db
        self._ring = ring
        self._keys = keys
        self._clock = clock
        self._writer: GroupWriter[JournalEntry, Journaled] = GroupWriter(db, self._write_batch)
        #: Called when something was written; the worker sets it.
        self.on_written: Callable[[], None] = lambda: None

    async def write(self, entry: JournalEntry) -> Journaled:
        """The outcome, after the commit.

        Raises:
            Exception: nothing was stored; the sender must get AR or a server error.
        """
        journaled = await self._writer.submit(entry)
        self.on_written()
        return journaled

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
        return [await self._opened(conn, row) for row in rows.all()]

    async def claim(
        self, conn: AsyncConnection, message_ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        """Those of the messages that still wait; nobody else works them off meanwhile.

        Another process may have been faster: `hie replay` beside a running hub.
        """
        query = select(inbound_message.c.pk).where(
            inbound_message.c.pk.in_(message_ids),
            inbound_message.c.state == State.RECEIVED.value,
        )
        rows = await conn.execute(query.with_for_update(skip_locked=True))
        return frozenset(MessageId(pk) for pk in rows.scalars())

    async def get(self, conn: AsyncConnection, message_id: MessageId) -> Message | None:
        """One message."""
        rows = await conn.execute(select(inbound_message).where(inbound_message.c.pk == message_id))
        row = rows.first()
        return await self._opened(conn, row) if row else None

    async def settle(self, conn: AsyncConnection, settlements: Sequence[Settlement]) -> None:
        """Record what became of messages, in the transaction that made it so."""
        t = inbound_message
        at_us = self._clock.now_us()
        statement = (
            update(t)
            .where(t.c.pk == bindparam("b_pk"))
            .values(
                state=bindparam("b_state"),
                stage=bindparam("b_stage"),
                reason=bindparam("b_reason"),
                attempts=t.c.attempts + 1,
                settled_us=at_us,
                findings=bindparam("b_findings"),
                wrapped_by=bindparam("b_wrapped_by"),
                wrapped=bindparam("b_wrapped"),
            )
        )
        await conn.execute(statement, [_settled(s) for s in settlements])

    async def answer(
        self, conn: AsyncConnection, message_id: MessageId, answer: bytes, state: State
    ) -> None:
        """Settle a FHIR write with its answer, in the transaction of what it answers for."""
        t = inbound_message.c
        rows = await conn.execute(select(t.wrapped, t.wrapped_by).where(t.pk == message_id))
        key = await self._row_key(conn, message_id, rows.one())
        await conn.execute(
            update(inbound_message)
            .where(t.pk == message_id)
            .values(
                state=state.value,
                attempts=t.attempts + 1,
                settled_us=self._clock.now_us(),
                answer=_seal(key, "answer", message_id, answer),
                answer_code=_answer_code(answer),
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

    async def reopen(
        self,
        conn: AsyncConnection,
        message_ids: Sequence[MessageId],
        states: Sequence[State] = (State.PARKED, State.KEPT),
    ) -> int:
        """Put messages in one of the states back in the queue; others are left alone."""
        result = await conn.execute(
            update(inbound_message)
            .where(
                inbound_message.c.pk.in_(message_ids),
                inbound_message.c.state.in_([state.value for state in states]),
            )
            .values(state=State.RECEIVED.value, stage="", reason="")
        )
        return int(result.rowcount)

    async def listed(self, conn: AsyncConnection, state: State, limit: int) -> list[Message]:
        """Messages in a state, newest first."""
        rows = await conn.execute(
            select(inbound_message)
            .where(inbound_message.c.state == state.value)
            .order_by(inbound_message.c.pk.desc())
            .limit(limit)
        )
        return [await self._opened(conn, row) for row in rows.all()]

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

    async def sources(self, conn: AsyncConnection) -> list[SourceId]:
        """Every source that has sent something."""
        rows = await conn.execute(select(inbound_message.c.source_id).distinct())
        return [SourceId(source_id) for source_id in rows.scalars()]

    async def _write_batch(
        self, conn: AsyncConnection, entries: Sequence[JournalEntry]
    ) -> list[Journaled]:
        repeat_keys = [self._repeat_key(e) for e in entries]
        control_keys = [self._ring.blind("control", e.source_id, e.control_id) for e in entries]
        first = await self._first_answers(conn, repeat_keys)
        known = await self._known_controls(conn, control_keys)
        rows: list[dict[str, Any]] = []
        results: list[Journaled] = []
        for entry, repeat_key, control_key in zip(entries, repeat_keys, control_keys, strict=True):
            if entry.is_accepted and repeat_key in first:
                message_id, answer = first[repeat_key]
                results.append(Journaled(message_id=message_id, answer=answer, is_repeat=True))
                continue
            is_reused = bool(entry.control_id) and control_key in known
            row = self._row(entry, repeat_key, control_key, is_control_id_reused=is_reused)
            rows.append(row)
            known.add(control_key)
            if entry.is_accepted:
                first[repeat_key] = (row["pk"], entry.answer)
            results.append(
                Journaled(message_id=row["pk"], answer=entry.answer, is_control_id_reused=is_reused)
            )
        if rows:
            await conn.execute(_INSERT, rows)
        return results

    def _repeat_key(self, entry: JournalEntry) -> str:
        return self._ring.blind(
            "repeat", entry.source_id, entry.wire, entry.control_id, entry.content_hash.hex()
        )

    async def _first_answers(
        self, conn: AsyncConnection, repeat_keys: Sequence[str]
    ) -> dict[str, tuple[MessageId, bytes]]:
        rows = await conn.execute(_FIRST_ANSWERS, {"repeat_keys": list(repeat_keys)})
        found = {}
        for row in rows.all():
            key = await self._row_key(conn, row.pk, row)
            found[row.repeat_key] = (MessageId(row.pk), _open(key, "answer", row.pk, row.answer))
        return found

    async def _known_controls(self, conn: AsyncConnection, control_keys: Sequence[str]) -> set[str]:
        rows = await conn.execute(_KNOWN_CONTROLS, {"control_keys": list(control_keys)})
        return set(rows.scalars())

    def _row(
        self, entry: JournalEntry, repeat_key: str, control_key: str, *, is_control_id_reused: bool
    ) -> dict[str, Any]:
        pk = MessageId(self._db.next_pk())
        key, wrapped = self._keys.fresh()
        findings = entry.findings
        if is_control_id_reused:
            findings += (
                Finding(
                    code="205",
                    rule="control-id-reused",
                    text="this control id came before with other content; processed all the same",
                    severity=Severity.WARNING,
                    segment="MSH",
                    sequence=1,
                    field=10,
                ),
            )
        return {
            "pk": pk,
            "source_id": entry.source_id,
            "wire": entry.wire.value,
            "received_us": self._clock.now_us(),
            "trigger": entry.trigger[:20],
            "partition": self._ring.blind("partition", entry.partition),
            "repeat_key": repeat_key if entry.is_accepted else None,
            "control_key": control_key,
            "answer_code": _answer_code(entry.answer),
            "state": _first_state(entry).value,
            "stage": "" if entry.is_accepted else "conform",
            "reason": "" if entry.is_accepted else "refused when it was received",
            "attempts": 0,
            "settled_us": None,
            "findings": _findings_text(findings),
            "wrapped_by": None,
            "wrapped": wrapped,
            "control_id": _seal(key, "control_id", pk, entry.control_id.encode()),
            "payload": _seal(key, "payload", pk, entry.payload),
            "answer": _seal(key, "answer", pk, entry.answer),
            "batch_pk": entry.batch.batch_id if entry.batch else None,
            "batch_number": entry.batch.number if entry.batch else None,
        }

    async def _opened(self, conn: AsyncConnection, row: Row[Any]) -> Message:
        key = await self._row_key(conn, row.pk, row)
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
            findings=tuple(
                Finding(**{**f, "severity": Severity(f["severity"])})
                for f in json.loads(row.findings)
            ),
            payload=_open(key, "payload", row.pk, row.payload),
            answer=_open(key, "answer", row.pk, row.answer),
            key=key,
            wrapped=row.wrapped,
            wrapped_by=row.wrapped_by,
        )

    async def _row_key(self, conn: AsyncConnection, pk: int, row: Any) -> DataKey:
        if row.wrapped_by is None:
            return self._keys.carried(row.wrapped)
        owner = await self._keys.by_id(conn, row.wrapped_by)
        secret = owner.open(row.wrapped, table=_TABLE, column=_KEY_PLACE, row=str(pk))
        return DataKey(0, secret)


def _first_state(entry: JournalEntry) -> State:
    if not entry.is_accepted:
        return State.REFUSED
    return State.OPEN if entry.wire is Wire.FHIR else State.RECEIVED


def _settled(settlement: Settlement) -> dict[str, Any]:
    message, owner = settlement.message, settlement.owner_key
    wrapped, wrapped_by = message.wrapped, message.wrapped_by
    if owner is not None:
        wrapped_by = owner.id
        wrapped = owner.seal(
            message.key.secret, table=_TABLE, column=_KEY_PLACE, row=str(message.id)
        )
    return {
        "b_pk": message.id,
        "b_state": settlement.state.value,
        "b_stage": settlement.stage,
        "b_reason": settlement.reason,
        "b_findings": _findings_text(settlement.findings or message.findings),
        "b_wrapped_by": wrapped_by,
        "b_wrapped": wrapped,
    }


def _answer_code(answer: bytes) -> str:
    """MSA-1 of an acknowledgement, or the status of a stored HTTP answer."""
    found = _ANSWER_CODE.search(answer)
    return (found[1] or found[2]).decode() if found else ""


def _findings_text(findings: Sequence[Finding]) -> str:
    return json.dumps([asdict(f) for f in findings])


def _seal(key: DataKey, column: str, pk: int, value: bytes) -> bytes:
    return key.seal(value, table=_TABLE, column=column, row=str(pk))


def _open(key: DataKey, column: str, pk: int, sealed: bytes) -> bytes:
    return key.open(sealed, table=_TABLE, column=column, row=str(pk))
