"""The writing half of the journal: messages that arrive together are committed together.

INVARIANT: what `write` returns for an accepted entry is committed; what it raises for is
not stored. A repeat of an accepted message (source, control id and content) stores nothing
and gets the first answer; a repeat of a refused one is judged afresh. A sequence number moves
in the transaction of its message, and only from where it was believed to be.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import String, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.message import Outcome, State
from adapters.outbox import Outbox
from adapters.port import Journaled, JournalEntry, SequenceStep, Wire
from adapters.sealing import answer_code, findings_text, row_key, seal, unseal
from adapters.tables import inbound_message, link_sequence
from hie.crypto import DataKey, KeyRing
from hie.db import Database, GroupWriter
from hie.kernel.clock import Clock
from hie.kernel.envelope import Finding, Severity
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import MessageId, SourceId
from hie.keystore import KeyStore

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
_REUSED = Finding(
    code="205",
    rule="control-id-reused",
    text="this control id came before with other content; processed all the same",
    severity=Severity.WARNING,
    segment="MSH",
    sequence=1,
    field=10,
)


class Inbox:
    """Writes what arrives."""

    def __init__(
        self, db: Database, ring: KeyRing, keys: KeyStore, clock: Clock, outbox: Outbox
    ) -> None:
        self._db = db
        self._ring = ring
        self._keys = keys
        self._clock = clock
        self._outbox = outbox
        self._writer: GroupWriter[JournalEntry, Journaled] = GroupWriter(db, self._write_batch)

    async def write(self, entry: JournalEntry) -> Journaled:
        """The outcome, after the commit.

        Raises:
            Exception: nothing was stored; the sender must get AR or a server error.
        """
        return await self._writer.submit(entry)

    async def close(self) -> None:
        """Wait until everything handed in is committed."""
        await self._writer.close()

    async def first_answer(self, entry: JournalEntry) -> bytes | None:
        """The answer that the accepted message which this one repeats got; None = none such."""
        repeat_key = self._repeat_key(entry)
        async with self._db.reading() as conn:
            found = await self._first_answers(conn, [repeat_key])
        return found[repeat_key][1] if repeat_key in found else None

    async def last_sequence(self, source_id: SourceId) -> int | None:
        """The last sequence number accepted from a source; None = none yet."""
        query = select(link_sequence.c.last).where(link_sequence.c.source_id == source_id)
        async with self._db.reading() as conn:
            last = (await conn.execute(query)).scalar()
        return None if last is None else int(last)

    async def _write_batch(
        self, conn: AsyncConnection, entries: Sequence[JournalEntry]
    ) -> list[Journaled]:
        repeat_keys = [self._repeat_key(e) for e in entries]
        control_keys = [self._ring.blind("control", e.source_id, e.control_id) for e in entries]
        first = await self._first_answers(conn, repeat_keys)
        known = await self._known_controls(conn, control_keys)
        rows: list[dict[str, Any]] = []
        outcomes: list[Outcome] = []
        results: list[Journaled] = []
        for entry, repeat_key, control_key in zip(entries, repeat_keys, control_keys, strict=True):
            if entry.step is not None:
                await self._move(conn, entry.source_id, entry.step)
            may_repeat = entry.is_accepted and not entry.is_link
            if may_repeat and repeat_key in first:
                message_id, answer = first[repeat_key]
                results.append(Journaled(message_id=message_id, answer=answer, is_repeat=True))
                continue
            is_reused = bool(entry.control_id) and not entry.is_link and control_key in known
            findings = (*entry.findings, _REUSED) if is_reused else entry.findings
            key, row = self._row(entry, control_key, findings)
            row["repeat_key"] = repeat_key if may_repeat else None
            rows.append(row)
            known.add(control_key)
            if may_repeat:
                first[repeat_key] = (row["pk"], entry.answer)
            elif entry.application:
                outcomes.append(_outcome(row["pk"], entry, key))
            results.append(
                Journaled(message_id=row["pk"], answer=entry.answer, is_control_id_reused=is_reused)
            )
        if rows:
            await conn.execute(_INSERT, rows)
        await self._outbox.announce(conn, outcomes)
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
            key = await row_key(self._keys, conn, row.pk, row.wrapped, row.wrapped_by)
            found[row.repeat_key] = (MessageId(row.pk), unseal(key, "answer", row.pk, row.answer))
        return found

    async def _known_controls(self, conn: AsyncConnection, control_keys: Sequence[str]) -> set[str]:
        rows = await conn.execute(_KNOWN_CONTROLS, {"control_keys": list(control_keys)})
        return set(rows.scalars())

    async def _move(self, conn: AsyncConnection, source_id: SourceId, step: SequenceStep) -> None:
        """Move a source's sequence number on.

        Raises:
            HieError: STALE when it is not where the step begins; nothing may be stored.
        """
        t = link_sequence.c
        now_us = self._clock.now_us()
        at = t.last.is_(None) if step.before is None else t.last == step.before
        moved = await conn.execute(
            update(link_sequence)
            .where(t.source_id == source_id, at)
            .values(last=step.after, changed_us=now_us)
        )
        if moved.rowcount:
            return
        known = await conn.execute(select(t.source_id).where(t.source_id == source_id))
        if step.before is not None or known.first() is not None:
            raise HieError(Category.STALE, "the sequence number moved meanwhile")
        row = {"source_id": source_id, "last": step.after, "changed_us": now_us}
        await conn.execute(link_sequence.insert(), row)

    def _row(
        self, entry: JournalEntry, control_key: str, findings: Sequence[Finding]
    ) -> tuple[DataKey, dict[str, Any]]:
        pk = MessageId(self._db.next_pk())
        key, wrapped = self._keys.fresh()
        now_us = self._clock.now_us()
        return key, {
            "pk": pk,
            "source_id": entry.source_id,
            "wire": entry.wire.value,
            "received_us": now_us,
            "trigger": entry.trigger[:20],
            "partition": self._ring.blind("partition", entry.partition),
            "control_key": control_key,
            "answer_code": answer_code(entry.answer),
            "state": _first_state(entry).value,
            "stage": "" if entry.is_accepted else "conform",
            "reason": "" if entry.is_accepted else "refused when it was received",
            "attempts": 0,
            "settled_us": now_us if entry.is_link else None,
            "findings": findings_text(findings),
            "application": entry.application,
            "wrapped_by": None,
            "wrapped": wrapped,
            "control_id": seal(key, "control_id", pk, entry.control_id.encode()),
            "payload": seal(key, "payload", pk, entry.payload),
            "answer": seal(key, "answer", pk, entry.answer),
            "batch_pk": entry.batch.batch_id if entry.batch else None,
            "batch_number": entry.batch.number if entry.batch else None,
        }


def _first_state(entry: JournalEntry) -> State:
    if not entry.is_accepted:
        return State.REFUSED
    if entry.is_link:
        return State.PROCESSED
    return State.OPEN if entry.wire is Wire.FHIR else State.RECEIVED


def _outcome(pk: MessageId, entry: JournalEntry, key: DataKey) -> Outcome:
    """Of a message that is refused: it is settled as soon as it is written."""
    return Outcome(
        message_id=pk,
        source_id=entry.source_id,
        state=State.REFUSED,
        payload=entry.payload,
        findings=entry.findings,
        condition=entry.application,
        key=key,
    )
