"""The writing half of the journal: messages that arrive together are committed together.

INVARIANT: what `write` returns for an accepted entry is committed; what it raises for is
not stored. A repeat of an accepted message (source, control id and content) stores nothing
and gets the first answer; a repeat of a refused one is judged afresh. A sequence number moves
in the transaction of its message, and only from where it was believed to be.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

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
from hie.sqlite import LoopCursor

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
_COLUMNS: Final = tuple(column.name for column in inbound_message.columns)
# The same three for SQLite without SQLAlchemy; `{}` holds as many `?` as there are keys.
_DIRECT_FIRST: Final = (
    "SELECT pk, repeat_key, wrapped, wrapped_by, answer FROM inbound_message"
    " WHERE repeat_key IN ({})"
)
_DIRECT_KNOWN: Final = "SELECT DISTINCT control_key FROM inbound_message WHERE control_key IN ({})"
_DIRECT_INSERT: Final = "INSERT INTO inbound_message ({}) VALUES ({})".format(  # noqa: S608 - names of our own columns
    ", ".join(f'"{name}"' for name in _COLUMNS), ", ".join("?" * len(_COLUMNS))
)
#: pk, repeat key, wrapped key, whose key wraps it, sealed answer.
_First = tuple[int, str, bytes, int | None, bytes]
_REUSED = Finding(
    code="205",
    rule="control-id-reused",
    text="this control id came before with other content; processed all the same",
    severity=Severity.WARNING,
    segment="MSH",
    sequence=1,
    field=10,
)


class _Statements(Protocol):
    """The three statements that every batch runs, in one open transaction."""

    async def first(self, repeat_keys: Sequence[str]) -> Iterable[_First]:
        """The accepted messages of these keys."""
        ...

    async def known(self, control_keys: Sequence[str]) -> Iterable[str]:
        """Those of the keys that came before."""
        ...

    async def insert(self, rows: Sequence[dict[str, Any]]) -> None:
        """Store rows."""
        ...


class _Orm:
    """On any database."""

    def __init__(self, conn: AsyncConnection) -> None:
        self._conn = conn

    async def first(self, repeat_keys: Sequence[str]) -> Iterable[_First]:
        """The accepted messages of these keys."""
        rows = await self._conn.execute(_FIRST_ANSWERS, {"repeat_keys": list(repeat_keys)})
        return [tuple(row) for row in rows]

    async def known(self, control_keys: Sequence[str]) -> Iterable[str]:
        """Those of the keys that came before."""
        rows = await self._conn.execute(_KNOWN_CONTROLS, {"control_keys": list(control_keys)})
        return rows.scalars().all()

    async def insert(self, rows: Sequence[dict[str, Any]]) -> None:
        """Store rows."""
        await self._conn.execute(_INSERT, rows)


class _Direct:
    """On SQLite, where building a statement takes longer than running it."""

    def __init__(self, cursor: LoopCursor) -> None:
        self._cursor = cursor

    async def first(self, repeat_keys: Sequence[str]) -> Iterable[_First]:
        """The accepted messages of these keys."""
        await self._cursor.execute(_DIRECT_FIRST.format(_marks(repeat_keys)), repeat_keys)
        return await self._cursor.fetchall()

    async def known(self, control_keys: Sequence[str]) -> Iterable[str]:
        """Those of the keys that came before."""
        await self._cursor.execute(_DIRECT_KNOWN.format(_marks(control_keys)), control_keys)
        return [key for (key,) in await self._cursor.fetchall()]

    async def insert(self, rows: Sequence[dict[str, Any]]) -> None:
        """Store rows."""
        values = ([row[name] for name in _COLUMNS] for row in rows)
        await self._cursor.executemany(_DIRECT_INSERT, values)


class JournalWriter:
    """Writes what arrives."""

    def __init__(
        self, db: Database, ring: KeyRing, keys: KeyStore, clock: Clock, outbox: Outbox
    ) -> None:
        self._db = db
        self._ring = ring
        self._keys = keys
        self._clock = clock
        self._outbox = outbox
        self._writer: GroupWriter[JournalEntry, Journaled] = GroupWriter(
            db, self._write_batch, direct=self._write_plain, suits=_is_plain
        )

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
            for row in await _Orm(conn).first([repeat_key]):
                return await self._first_answer(row, entry)
        return None

    async def last_sequence(self, source_id: SourceId) -> int | None:
        """The last sequence number accepted from a source; None = none yet."""
        query = select(link_sequence.c.last).where(link_sequence.c.source_id == source_id)
        async with self._db.reading() as conn:
            last = (await conn.execute(query)).scalar()
        return None if last is None else int(last)

    async def _write_batch(
        self, conn: AsyncConnection, entries: Sequence[JournalEntry]
    ) -> list[Journaled]:
        for entry in entries:
            if entry.step is not None:
                await self._move(conn, entry.source_id, entry.step)
        outcomes: list[Outcome] = []
        results = await self._store(_Orm(conn), entries, outcomes)
        await self._outbox.announce(conn, outcomes)
        return results

    async def _write_plain(
        self, cursor: LoopCursor, entries: Sequence[JournalEntry]
    ) -> list[Journaled]:
        """Entries that move no sequence number and announce nothing."""
        return await self._store(_Direct(cursor), entries, [])

    async def _store(
        self, statements: _Statements, entries: Sequence[JournalEntry], outcomes: list[Outcome]
    ) -> list[Journaled]:
        """Store what is new; `outcomes` gains what senders want to be told of it."""
        repeat_keys = [self._repeat_key(e) for e in entries]
        control_keys = [self._ring.blind("control", e.source_id, e.control_id) for e in entries]
        first = {row[1]: row for row in await statements.first(repeat_keys)}
        known = set(await statements.known(control_keys))
        rows: list[dict[str, Any]] = []
        fresh: dict[str, Journaled] = {}
        results: list[Journaled] = []
        for entry, repeat_key, control_key in zip(entries, repeat_keys, control_keys, strict=True):
            may_repeat = entry.is_accepted and not entry.is_momentary
            if may_repeat and repeat_key in fresh:
                results.append(replace(fresh[repeat_key], is_repeat=True))
                continue
            if may_repeat and repeat_key in first:
                results.append(await self._repeated(first[repeat_key], entry))
                continue
            is_reused = bool(entry.control_id) and not entry.is_momentary and control_key in known
            findings = (*entry.findings, _REUSED) if is_reused else entry.findings
            key, row = self._row(entry, control_key, findings)
            row["repeat_key"] = repeat_key if may_repeat else None
            rows.append(row)
            known.add(control_key)
            journaled = Journaled(
                message_id=row["pk"], answer=entry.answer, is_control_id_reused=is_reused
            )
            results.append(journaled)
            if may_repeat:
                fresh[repeat_key] = journaled
            elif entry.application:
                outcomes.append(_outcome(row["pk"], entry, key))
        if rows:
            await statements.insert(rows)
        return results

    async def _repeated(self, first: _First, entry: JournalEntry) -> Journaled:
        answer = await self._first_answer(first, entry)
        return Journaled(message_id=MessageId(first[0]), answer=answer, is_repeat=True)

    async def _first_answer(self, first: _First, entry: JournalEntry) -> bytes:
        """What was answered; of an HL7 v2 message that was erased since, a new answer."""
        pk, _, wrapped, wrapped_by, answer = first
        try:
            if wrapped_by is None:
                key = self._keys.carried(wrapped)
            else:
                async with self._db.reading() as conn:
                    key = await row_key(self._keys, conn, pk, wrapped, wrapped_by)
        except HieError as error:
            if error.category is not Category.GONE or entry.wire is Wire.FHIR:
                raise
            return entry.answer
        return unseal(key, "answer", pk, answer)

    def _repeat_key(self, entry: JournalEntry) -> str:
        return self._ring.blind(
            "repeat", entry.source_id, entry.wire, entry.control_id, entry.content_hash.hex()
        )

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
            "partitions": " ".join(self._ring.blind("partition", p) for p in entry.partitions)
            or None,
            "control_key": control_key,
            "answer_code": answer_code(entry.answer),
            "state": _first_state(entry).value,
            "stage": "" if entry.is_accepted else "conform",
            "reason": "" if entry.is_accepted else "refused when it was received",
            "attempts": 0,
            "settled_us": now_us if entry.is_momentary else None,
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


def _is_plain(entry: JournalEntry) -> bool:
    """Whether storing it touches the journal's table alone."""
    return entry.step is None and not entry.application


def _marks(keys: Sequence[str]) -> str:
    return ", ".join("?" * len(keys))


def _first_state(entry: JournalEntry) -> State:
    if not entry.is_accepted:
        return State.REFUSED
    if entry.is_momentary:
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
