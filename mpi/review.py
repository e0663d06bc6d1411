"""The clerical-review queue: what the index cannot or must not decide alone."""

from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId
from hie.keystore import KeyKind, KeyStore
from mpi.ledger import Recorded
from mpi.levels import MatchGrade, Veto
from mpi.model import Candidate, Question, Task, TaskKind, TaskState
from mpi.repository import rescoring, tasks
from mpi.repository.queue import QueuedTask
from mpi.repository.tasks import TaskRow
from mpi.repository.writes import Writes

#: 1 is the most urgent: an overlay may put one human's data into another's record.
PRIORITIES = {
    TaskKind.OVERLAY: 1,
    TaskKind.SOURCE_CONFLICT: 2,
    TaskKind.DRIFT: 2,
    TaskKind.SOURCE_UNLINK: 2,
    TaskKind.SOURCE_LINK: 3,
    TaskKind.MARGIN: 3,
    TaskKind.POSSIBLE: 3,
    TaskKind.DUPLICATE_PERSON: 4,
    TaskKind.TWIN: 5,
}
SYSTEM = "system"
_TABLE, _COLUMN = "review_task", "detail"


class ReviewQueue:
    """Opens, lists and hands out tasks.

    Args:
        keys: seals what tasks show: under the record's key where the task is about one.
    """

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys

    async def open(
        self, conn: AsyncConnection, writes: Writes, question: Question, recorded: Recorded
    ) -> int:
        """Ask a question, unless it is being asked already; the task's id.

        Args:
            conn: open transaction.
            writes: where the task's rows wait.
            question: what is asked; of an overlay asked already the newest demographics stay.
            recorded: the decision that led to it.
        """
        known = await tasks.open_task(conn, _text(question))
        if known is not None and question.held is None:
            return known
        task_id = known or writes.new_id()
        key_id, detail = await self._seal(conn, task_id, question)
        if known is not None:
            await tasks.set_detail(conn, known, key_id=key_id, detail=detail)
            return known
        writes.add(
            "review_task",
            id=task_id,
            kind=question.kind.value,
            state=TaskState.OPEN.value,
            record_id=question.record_id,
            person_id=question.person_id,
            question=_text(question),
            open_key=_text(question),
            priority=PRIORITIES[question.kind],
            opened_us=recorded.now_us,
            opened_by=recorded.id,
            key_id=key_id,
            detail=detail,
        )
        for candidate in {c.person_id for c in question.candidates}:
            writes.add("review_candidate", task_id=task_id, person_id=candidate)
        return task_id

    async def asking(self, conn: AsyncConnection, question: Question) -> int | None:
        """The open task that asks this already."""
        return await tasks.open_task(conn, _text(question))

    async def refresh(
        self, conn: AsyncConnection, writes: Writes, task_id: int, question: Question
    ) -> None:
        """Bring what an open task proposes up to date; who has it keeps it.

        Where it proposes the same, nothing is written: who is looking at it sees no change.
        """
        row = await tasks.by_id(conn, task_id)
        if row is None or (await self.unseal(conn, row)).candidates == question.candidates:
            return
        key_id, detail = await self._seal(conn, task_id, question)
        await tasks.set_detail(conn, task_id, key_id=key_id, detail=detail)
        await rescoring.drop_candidates(conn, task_id)
        for candidate in {c.person_id for c in question.candidates}:
            writes.add("review_candidate", task_id=task_id, person_id=candidate)

    async def listed(
        self, conn: AsyncConnection, *, after: Task | None = None, limit: int = 50
    ) -> list[Task]:
        """Open and claimed tasks, most urgent first; `after` is the last one of the page before."""
        place = (after.priority, after.opened_us, after.id) if after else None
        rows = await tasks.listed(conn, after=place, limit=limit)
        return [await self.unseal(conn, row) for row in rows]

    async def task(self, conn: AsyncConnection, task_id: int) -> Task:
        """One task.

        Raises:
            HieError: NOT_FOUND.
        """
        row = await tasks.by_id(conn, task_id)
        if row is None:
            raise HieError(Category.NOT_FOUND, "there is no such task")
        return await self.unseal(conn, row)

    async def claim(self, conn: AsyncConnection, task_id: int, assignee: str) -> Task:
        """Take a task on.

        Raises:
            HieError: NOT_FOUND; CONFLICT when it is closed or another steward has it.
        """
        if not await tasks.claim(conn, task_id, assignee):
            task = await self.task(conn, task_id)
            if task.state is TaskState.CLOSED or task.assignee != assignee:
                raise HieError(Category.CONFLICT, "the task is taken or closed")
        return await self.task(conn, task_id)

    async def require_open(self, conn: AsyncConnection, task_id: int, steward: str) -> None:
        """Refuse to decide a task that is closed, or that another steward has claimed.

        Raises:
            HieError: NOT_FOUND; CONFLICT.
        """
        row = await tasks.by_id(conn, task_id)
        if row is None:
            raise HieError(Category.NOT_FOUND, "there is no such task")
        if row.state == TaskState.CLOSED.value:
            raise HieError(Category.CONFLICT, "the task is closed already")
        if row.assignee not in (None, steward):
            raise HieError(Category.CONFLICT, "another steward has claimed the task")

    async def close(
        self, conn: AsyncConnection, task_id: int, decision_id: int, now_us: int
    ) -> None:
        """End a task by the decision that answers it; taken back, it asks again."""
        row = await tasks.by_id(conn, task_id)
        if row is not None and row.state != TaskState.CLOSED.value:
            await tasks.close(conn, [task_id], decision_id=decision_id, now_us=now_us)

    async def _seal(
        self, conn: AsyncConnection, task_id: int, question: Question
    ) -> tuple[int, bytes]:
        record_id = question.record_id
        owner = (KeyKind.RECORD, record_id) if record_id else (KeyKind.SYSTEM, SYSTEM)
        key = await self._keys.for_owner(conn, *owner)
        shown = {
            "candidates": [
                [c.person_id, c.bits, c.grade.value, [v.value for v in c.vetoes]]
                for c in question.candidates
            ],
            "held": question.held,
        }
        content = orjson.dumps(shown, default=str)
        return key.id, key.seal(content, table=_TABLE, column=_COLUMN, row=str(task_id))

    async def unseal(self, conn: AsyncConnection, row: TaskRow | QueuedTask) -> Task:
        """A task with what it shows, opened."""
        shown: dict[str, Any] = {"candidates": [], "held": None}
        try:
            key = await self._keys.by_id(conn, row.key_id)
            content = key.open(row.detail, table=_TABLE, column=_COLUMN, row=str(row.id))
            shown = orjson.loads(content)
        except HieError as error:
            # The person was erased: that there was a question is all that is left of it.
            if error.category is not Category.GONE:
                raise
        return Task(
            id=row.id,
            kind=TaskKind(row.kind),
            state=TaskState(row.state),
            record_id=row.record_id,
            person_id=row.person_id,
            opened_us=row.opened_us,
            priority=row.priority,
            assignee=row.assignee,
            candidates=tuple(
                Candidate(
                    person_id=PersonId(person),
                    bits=bits,
                    grade=MatchGrade(grade),
                    vetoes=tuple(Veto(veto) for veto in vetoes),
                )
                for person, bits, grade, vetoes in shown["candidates"]
            ),
            held=shown["held"],
        )


def _text(question: Question) -> str:
    """One text per question: a record's, or that of two persons in either order."""
    if question.record_id is not None and question.kind is not TaskKind.SOURCE_CONFLICT:
        return f"{question.kind.value}:{question.record_id}"
    others = [candidate.person_id for candidate in question.candidates[:1]]
    sides = [question.record_id, *others] if question.record_id else {question.person_id, *others}
    return f"{question.kind.value}:{':'.join(sorted(sides))}"
