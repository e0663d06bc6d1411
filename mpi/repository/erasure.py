"""Source records that are erased: what the index keeps of them names nobody and finds nothing."""

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mpi import tables
from mpi.model import TaskState


async def with_merged(conn: AsyncConnection, records: Collection[str]) -> list[str]:
    """The records and all that their sources merged into them, however often."""
    found, left = list(dict.fromkeys(records)), list(records)
    record = tables.source_record.c
    while left:
        rows = await conn.execute(select(record.id).where(record.replaced_by.in_(left)))
        left = [row.id for row in rows if row.id not in found]
        found += left
    return found


async def empty(conn: AsyncConnection, records: Sequence[str]) -> None:
    """Take out what the records say and every key they are found by; links and ids stay."""
    record, xref = tables.source_record, tables.identifier_xref
    await conn.execute(
        update(record)
        .where(record.c.id.in_(records))
        .values(raw=None, norm=None, key_id=None, is_active=False, content_hash="", held_hash=None)
    )
    for table in (tables.block_key, xref):
        await conn.execute(delete(table).where(table.c.record_id.in_(records)))


async def close_questions(
    conn: AsyncConnection, records: Sequence[str], persons: Sequence[str], *, now_us: int
) -> None:
    """End what stewards are asked about the records or the persons: there is nothing to look at."""
    task, pair = tables.review_task, tables.duplicate_pair
    await conn.execute(
        update(task)
        .where(task.c.open_key.is_not(None), _is_about(records, persons))
        .values(state=TaskState.CLOSED.value, open_key=None, closed_us=now_us)
    )
    either = or_(pair.c.person_a.in_(persons), pair.c.person_b.in_(persons))
    await conn.execute(delete(pair).where(either))


async def forget_explanations(conn: AsyncConnection, key_ids: Sequence[int]) -> None:
    """Take out explanations of decisions that no key opens any more."""
    made = tables.identity_decision
    await conn.execute(
        update(made).where(made.c.key_id.in_(key_ids)).values(key_id=None, explanation=None)
    )


async def forget_words(
    conn: AsyncConnection, records: Sequence[str], persons: Sequence[str], key_id: int
) -> None:
    """Take out what stewards wrote of the records or the persons under a key that stays."""
    link, made = tables.identity_link.c, tables.identity_decision
    led = [
        select(decision).where(link.record_id.in_(records), decision.is_not(None))
        for decision in (link.decision_id, link.closed_by)
    ]
    about = or_(*(made.c.id.in_(each) for each in led))
    await conn.execute(
        update(made).where(made.c.key_id == key_id, about).values(key_id=None, explanation=None)
    )
    event, task = tables.review_event, tables.review_task
    asked = select(task.c.id).where(_is_about(records, persons))
    await conn.execute(
        update(event)
        .where(event.c.key_id == key_id, event.c.task_id.in_(asked))
        .values(key_id=None, note=None)
    )


def _is_about(records: Sequence[str], persons: Sequence[str]) -> ColumnElement[bool]:
    task, candidate = tables.review_task.c, tables.review_candidate.c
    among = select(candidate.task_id).where(candidate.person_id.in_(persons))
    return or_(task.record_id.in_(records), task.person_id.in_(persons), task.id.in_(among))
