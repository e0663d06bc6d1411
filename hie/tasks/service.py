"""Tasks: opened, counted, listed, closed, taken back - in the caller's transaction."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import KeyRing
from hie.db import Database
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import MessageId
from hie.keystore import KeyKind, KeyStore
from hie.tasks import repository
from hie.tasks.model import (
    PRIORITIES,
    Noted,
    Occurrence,
    Outcome,
    StaffTask,
    TaskEvent,
    TaskFilter,
    TaskKind,
    TaskState,
)

#: Open tasks one source may have of one kind; what comes beyond is counted in one task.
TASKS_PER_SOURCE: Final = 500
#: Messages one task remembers; more are counted, and replayed by source and time.
MESSAGES_PER_TASK: Final = 10_000
#: Longest text of a sender that a task shows.
TEXT_LENGTH: Final = 400
#: Key of the task that counts what has no task of its own.
OVERFLOW: Final = "overflow"
#: Kinds of which a closed task stays the answer: the same again is counted, not asked.
_FINAL: Final = frozenset({TaskKind.UNMAPPED_CODE, TaskKind.CONSENT})
_TABLE, _EVENTS, _SYSTEM = "staff_task", "staff_task_event", "tasks"


class Tasks:
    """The tasks of the hub.

    Args:
        db: gives keys, and the order of those who open the same task.
        ring: hashes questions.
        keys: seals what tasks show.
        limit: open tasks of one kind that one source may have.
    """

    def __init__(
        self, db: Database, ring: KeyRing, keys: KeyStore, *, limit: int = TASKS_PER_SOURCE
    ) -> None:
        self._db = db
        self._ring = ring
        self._keys = keys
        self._limit = limit

    async def open(  # noqa: PLR0913 - what a task is, by name
        self,
        conn: AsyncConnection,
        kind: TaskKind,
        key: tuple[str, ...],
        *,
        now_us: int,
        source_id: str = "",
        record_id: str | None = None,
        topic: str = "",
        detail: Mapping[str, str] | None = None,
        message_id: MessageId | None = None,
    ) -> int:
        """Ask a question, or count it where it is asked already; the task's id.

        Args:
            conn: open write transaction.
            kind: what is asked.
            key: what makes it the same question; hashed.
            now_us: when the reason for it came.
            source_id: the source concerned.
            record_id: the source record concerned; its key seals `detail`.
            topic: a name of the hub's own; stored in clear.
            detail: what staff are shown; may hold patient data.
            message_id: the message that led to it.
        """
        occurrence = Occurrence(
            kind=kind,
            key=key,
            at_us=now_us,
            source_id=source_id,
            record_id=record_id,
            topic=topic,
            detail=detail or {},
            message_id=message_id,
        )
        return (await self.note(conn, [occurrence]))[0].task_id

    async def note(self, conn: AsyncConnection, found: Sequence[Occurrence]) -> list[Noted]:
        """Open or count a task for each occurrence; one result per occurrence, in order.

        The rows concerned stay locked until the transaction ends, so that whoever answers a
        task sees every message that was noted before, and whoever notes one after that sees
        the answer.
        """
        if not found:
            return []
        questions = [self._question(one) for one in found]
        heads = await repository.newest(conn, set(questions))
        missing = [i for i, q in enumerate(questions) if not _stands(heads.get(q), found[i])]
        opened: dict[str, repository.Head] = {}
        if missing:
            opened = await self._open_all(conn, found, questions, missing)
            heads |= opened
        counted = await self._count(conn, found, [heads[q] for q in questions])
        return [
            Noted(
                task_id=heads[q].id,
                state=TaskState(heads[q].state),
                outcome=Outcome(heads[q].outcome),
                is_opened=q in opened and opened[q].question == q,
                is_counted=is_counted,
                is_overflow=heads[q].question != q,
            )
            for q, is_counted in zip(questions, counted, strict=True)
        ]

    async def remember(
        self, conn: AsyncConnection, pairs: Sequence[tuple[int, MessageId]]
    ) -> frozenset[MessageId]:
        """Let answered tasks know messages their answers were used for; whose answer is gone.

        The rows concerned stay locked, so that who takes an answer back knows every message.
        """
        answered = await repository.answered(conn, {task for task, _ in pairs})
        kept = {(task, message) for task, message in pairs if task in answered}
        sizes = await repository.count_refs(conn, sorted(answered))
        known = await repository.known_refs(conn, answered, [message for _, message in kept])
        room = {(t, m) for t, m in kept - known if sizes[t] < MESSAGES_PER_TASK}
        await repository.add_refs(conn, room)
        return frozenset(message for task, message in pairs if task not in answered)

    async def listed(self, conn: AsyncConnection, wanted: TaskFilter) -> list[StaffTask]:
        """Tasks, most urgent first, then oldest; without their events."""
        rows = await repository.listed(conn, wanted)
        refs = await repository.count_refs(conn, [row.id for row in rows])
        return [await self._opened(conn, row, messages=refs[row.id]) for row in rows]

    async def get(
        self, conn: AsyncConnection, task_id: int, *, is_locked: bool = False
    ) -> StaffTask:
        """One task with its events; locked until the transaction ends where asked.

        Raises:
            HieError: NOT_FOUND.
        """
        row = await repository.by_id(conn, task_id, is_locked=is_locked)
        if row is None:
            raise HieError(Category.NOT_FOUND, "there is no such task; see `hie task list`")
        refs = await repository.count_refs(conn, [task_id])
        events = [await self._event(conn, e) for e in await repository.events(conn, task_id)]
        return await self._opened(conn, row, messages=refs[task_id], events=events)

    async def messages(self, conn: AsyncConnection, task_id: int) -> list[MessageId]:
        """The messages that wait for a task, oldest first."""
        return await repository.messages(conn, task_id)

    async def counts(self, conn: AsyncConnection) -> dict[tuple[str, str, str], int]:
        """Open tasks by source, kind and topic."""
        return await repository.counts(conn)

    async def close(
        self,
        conn: AsyncConnection,
        task: StaffTask,
        outcome: Outcome,
        *,
        actor: str,
        note: str,
        now_us: int,
    ) -> None:
        """End a task; who and when is kept.

        Raises:
            HieError: CONFLICT when it is closed already.
        """
        if task.state is TaskState.CLOSED:
            raise HieError(Category.CONFLICT, "the task is closed; `hie task undo` opens it again")
        await repository.change(
            conn,
            task.id,
            state=TaskState.CLOSED.value,
            open_key=None,
            outcome=outcome.value,
            closed_us=now_us,
        )
        await self.record(conn, task.id, outcome.value, actor=actor, note=note, now_us=now_us)

    async def reopen(
        self, conn: AsyncConnection, task: StaffTask, *, actor: str, note: str, now_us: int
    ) -> None:
        """Take the end of a task back.

        Raises:
            HieError: CONFLICT when it is open, or its question is asked again already.
        """
        row = await repository.by_id(conn, task.id, is_locked=True)
        newest = await repository.newest(conn, [row.question])
        if row.state == TaskState.OPEN.value or newest[row.question].id != task.id:
            raise HieError(Category.CONFLICT, "the task is open, or a newer one asks the same")
        await repository.change(
            conn,
            task.id,
            state=TaskState.OPEN.value,
            open_key=row.question,
            outcome=Outcome.NONE.value,
            closed_us=None,
        )
        await self.record(conn, task.id, "undone", actor=actor, note=note, now_us=now_us)

    async def record(
        self,
        conn: AsyncConnection,
        task_id: int,
        action: str,
        *,
        actor: str,
        note: str,
        now_us: int,
    ) -> None:
        """Keep who did what to a task."""
        event_id = self._db.next_pk()
        key = await self._keys.for_owner(conn, KeyKind.SYSTEM, _SYSTEM)
        sealed = key.seal(note.encode(), table=_EVENTS, column="note", row=str(event_id))
        await repository.add_event(
            conn,
            {
                "id": event_id,
                "task_id": task_id,
                "at_us": now_us,
                "action": action,
                "actor": actor[:200],
                "key_id": key.id,
                "note": sealed,
            },
        )

    def _question(self, one: Occurrence) -> str:
        return self._ring.blind("task", one.kind.value, *one.key)

    async def _open_all(
        self,
        conn: AsyncConnection,
        found: Sequence[Occurrence],
        questions: Sequence[str],
        missing: Sequence[int],
    ) -> dict[str, repository.Head]:
        """Tasks for questions that are not asked; of a full source, its task for the rest."""
        for source in sorted({found[i].source_id for i in missing}):
            await self._db.serialize(conn, f"tasks {source}")
        # Somebody may have asked while this transaction waited for its turn.
        heads = await repository.newest(conn, {questions[i] for i in missing})
        room: dict[tuple[str, str], int] = {}
        opened: dict[str, repository.Head] = {}
        for i in missing:
            one, question = found[i], questions[i]
            head = opened.get(question) or heads.get(question)
            if head is not None and _stands(head, one):
                opened[question] = head
                continue
            pair = (one.source_id, one.kind.value)
            if pair not in room:
                room[pair] = self._limit - await repository.open_count(conn, *pair)
            room[pair] -= 1
            is_full = bool(one.source_id) and room[pair] < 0
            opened[question] = await (
                self._overflow(conn, one) if is_full else self._add(conn, one, question)
            )
        return opened

    async def _overflow(self, conn: AsyncConnection, one: Occurrence) -> repository.Head:
        rest = Occurrence(
            kind=one.kind, key=(one.source_id, OVERFLOW), at_us=one.at_us, source_id=one.source_id
        )
        question = self._question(rest)
        head = (await repository.newest(conn, [question])).get(question)
        if head is not None and head.state == TaskState.OPEN.value:
            return head
        return await self._add(conn, rest, question)

    async def _add(self, conn: AsyncConnection, one: Occurrence, question: str) -> repository.Head:
        task_id = self._db.next_pk()
        owner = (KeyKind.RECORD, one.record_id) if one.record_id else (KeyKind.SYSTEM, _SYSTEM)
        key = await self._keys.for_owner(conn, *owner)
        shown = {name: text[:TEXT_LENGTH] for name, text in one.detail.items()}
        detail = key.seal(orjson.dumps(shown), table=_TABLE, column="detail", row=str(task_id))
        values = {
            "id": task_id,
            "kind": one.kind.value,
            "state": TaskState.OPEN.value,
            "question": question,
            "open_key": question,
            "source_id": one.source_id,
            "record_id": one.record_id,
            "topic": one.topic,
            "priority": PRIORITIES[one.kind],
            "count": 0,
            "first_us": one.at_us,
            "last_us": one.at_us,
            "opened_us": one.at_us,
            "outcome": Outcome.NONE.value,
            "key_id": key.id,
            "detail": detail,
        }
        await repository.add(conn, [values])
        return repository.Head(task_id, question, TaskState.OPEN.value, Outcome.NONE.value)

    async def _count(
        self,
        conn: AsyncConnection,
        found: Sequence[Occurrence],
        heads: Sequence[repository.Head],
    ) -> list[bool]:
        """Count occurrences and remember their messages, each message once a task."""
        messages = [one.message_id for one in found if one.message_id is not None]
        task_ids = {head.id for head in heads}
        seen = await repository.known_refs(conn, task_ids, messages) if messages else set()
        sizes = await repository.count_refs(conn, sorted(task_ids)) if messages else {}
        fresh: set[tuple[int, int]] = set()
        totals: dict[int, tuple[int, int]] = {}
        counted = []
        for one, head in zip(found, heads, strict=True):
            pair = (head.id, int(one.message_id or 0))
            is_new = one.message_id is None or pair not in seen
            counted.append(is_new)
            if not is_new:
                continue
            seen.add(pair)
            n, last = totals.get(head.id, (0, one.at_us))
            totals[head.id] = (n + 1, max(last, one.at_us))
            if one.message_id is not None and sizes[head.id] < MESSAGES_PER_TASK:
                sizes[head.id] += 1
                fresh.add(pair)
        await repository.add_refs(conn, fresh)
        await repository.count(conn, totals)
        return counted

    async def _opened(
        self,
        conn: AsyncConnection,
        row: Any,
        *,
        messages: int,
        events: Iterable[TaskEvent] = (),
    ) -> StaffTask:
        detail = await self._unsealed(conn, row.key_id, row.detail, _TABLE, "detail", row.id)
        return StaffTask(
            id=row.id,
            kind=TaskKind(row.kind),
            state=TaskState(row.state),
            outcome=Outcome(row.outcome),
            source_id=row.source_id,
            record_id=row.record_id,
            topic=row.topic,
            priority=row.priority,
            count=row.count,
            first_us=row.first_us,
            last_us=row.last_us,
            opened_us=row.opened_us,
            closed_us=row.closed_us,
            detail=orjson.loads(detail) if detail else {},
            messages=messages,
            events=tuple(events),
        )

    async def _event(self, conn: AsyncConnection, row: Any) -> TaskEvent:
        note = await self._unsealed(conn, row.key_id, row.note, _EVENTS, "note", row.id)
        return TaskEvent(at_us=row.at_us, action=row.action, actor=row.actor, note=note.decode())

    async def _unsealed(
        self, conn: AsyncConnection, key_id: int, sealed: bytes, table: str, column: str, row: int
    ) -> bytes:
        """What is sealed; nothing where the record it belonged to is erased."""
        key = (await self._keys.kept(conn, [key_id])).get(key_id)
        return key.open(sealed, table=table, column=column, row=str(row)) if key else b""


def _stands(head: repository.Head | None, one: Occurrence) -> bool:
    """Whether a task is asking, or has been answered for good."""
    if head is None:
        return False
    return head.state == TaskState.OPEN.value or one.kind in _FINAL
