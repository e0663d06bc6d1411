"""What is stored of how well a record fits its person, and what is asked about it."""

from collections.abc import Collection

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mpi import tables
from mpi.model import LinkState, TaskKind, TaskState

_link, _task = tables.identity_link, tables.review_task


async def asked_about(
    conn: AsyncConnection, record_id: str, kinds: Collection[TaskKind]
) -> dict[int, TaskKind]:
    """The open tasks of these kinds about a record."""
    rows = await conn.execute(
        select(_task.c.id, _task.c.kind).where(
            _task.c.record_id == record_id,
            _task.c.state != TaskState.CLOSED.value,
            _task.c.kind.in_([kind.value for kind in kinds]),
        )
    )
    return {row.id: TaskKind(row.kind) for row in rows}


async def set_fit(
    conn: AsyncConnection,
    link_id: int,
    *,
    state: LinkState,
    fit: tuple[float, str] | None,
    model_version: str,
) -> None:
    """Store how well a record fits its person now; the decision beside it says how well before."""
    bits, grade = fit or (None, None)
    await conn.execute(
        update(_link)
        .where(_link.c.id == link_id)
        .values(state=state.value, bits=bits, grade=grade, model_version=model_version)
    )


async def is_standing(conn: AsyncConnection, person_id: str) -> bool:
    """Whether a person is still there, kept so until the commit.

    SQLite has one writer: who was found there is there.
    """
    if conn.dialect.name != "postgresql":
        return True
    person = tables.person
    found = await conn.scalar(
        select(person.c.status).where(person.c.id == person_id).with_for_update(read=True)
    )
    return bool(found == "active")


async def drop_candidates(conn: AsyncConnection, task_id: int) -> None:
    """Take away what a task proposes."""
    candidate = tables.review_candidate
    await conn.execute(delete(candidate).where(candidate.c.task_id == task_id))
