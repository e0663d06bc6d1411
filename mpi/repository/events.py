"""What became of identities, as rows to be told; and what the rows they name are now."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import PersonId, SourceId, SourceRecordId
from mpi import tables

_event, _link, _record = tables.identity_event, tables.identity_link, tables.source_record
_IS_OPEN = _link.c.valid_to_us.is_(None)
#: Ids in one IN list.
CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityEvent:
    """A change of identity.

    Attributes:
        kind: of the decision, `merge`, `link`, `unmerge` and so on.
        record_ids: records that changed their person.
        person_ids: persons concerned, before and after.
    """

    id: int
    at_us: int
    kind: str
    decision_id: int
    record_ids: tuple[SourceRecordId, ...]
    person_ids: tuple[PersonId, ...]


async def unpublished(conn: AsyncConnection, limit: int) -> list[IdentityEvent]:
    """Events nobody was told of yet, oldest first; nobody else gets the same ones meanwhile."""
    rows = await conn.execute(
        select(_event)
        .where(_event.c.published_us.is_(None))
        .order_by(_event.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [
        IdentityEvent(
            id=row.id,
            at_us=row.at_us,
            kind=row.kind,
            decision_id=row.decision_id,
            record_ids=tuple(SourceRecordId(r) for r in row.record_ids.split()),
            person_ids=tuple(PersonId(p) for p in row.person_ids.split()),
        )
        for row in rows
    ]


async def is_waiting(conn: AsyncConnection) -> bool:
    """Whether there is an event nobody was told of."""
    query = select(_event.c.id).where(_event.c.published_us.is_(None)).limit(1)
    return (await conn.execute(query)).first() is not None


async def mark(conn: AsyncConnection, event_ids: Collection[int], now_us: int) -> None:
    """These events are told of by somebody else's rows now."""
    wanted = list(event_ids)
    for start in range(0, len(wanted), CHUNK):
        await conn.execute(
            update(_event)
            .where(_event.c.id.in_(wanted[start : start + CHUNK]))
            .values(published_us=now_us)
        )


async def concerned(
    conn: AsyncConnection, events: Sequence[IdentityEvent]
) -> dict[int, list[tuple[SourceRecordId, SourceId]]]:
    """For each event the records whose person it touched, with their sources."""
    persons = sorted({person for event in events for person in event.person_ids})
    records = sorted({record for event in events for record in event.record_ids})
    found: dict[str, tuple[str, str]] = {}
    for names, column in ((persons, _link.c.person_id), (records, _link.c.record_id)):
        for start in range(0, len(names), CHUNK):
            rows = await conn.execute(
                select(_record.c.id, _record.c.source_id, _link.c.person_id)
                .join(_link, and_(_link.c.record_id == _record.c.id, _IS_OPEN))
                .where(column.in_(names[start : start + CHUNK]))
            )
            found |= {row.id: (row.source_id, row.person_id) for row in rows}
    return {
        event.id: [
            (SourceRecordId(record), SourceId(source))
            for record, (source, person) in sorted(found.items())
            if record in event.record_ids or person in event.person_ids
        ]
        for event in events
    }


async def person_now(conn: AsyncConnection, record_id: str) -> PersonId | None:
    """The person a record belongs to; None for one that belongs to nobody."""
    found = await conn.scalar(
        select(_link.c.person_id).where(_link.c.record_id == record_id, _IS_OPEN)
    )
    return PersonId(found) if found else None


async def person_before(conn: AsyncConnection, event_id: int, record_id: str) -> PersonId | None:
    """The person that an event took a record from; None where it took it from nobody."""
    found = await conn.scalar(
        select(_link.c.person_id)
        .join(_event, _event.c.decision_id == _link.c.closed_by)
        .where(_event.c.id == event_id, _link.c.record_id == record_id)
        .order_by(_link.c.id.desc())
        .limit(1)
    )
    return PersonId(found) if found else None


async def is_retired_into(conn: AsyncConnection, gone: str, kept: str) -> bool:
    """Whether an id redirects to that person, over however many merges."""
    person = tables.person
    for _ in range(64):
        target = await conn.scalar(
            select(person.c.redirect_to).where(
                person.c.id == gone, or_(person.c.status == "merged", person.c.status == "retired")
            )
        )
        if target is None or target == kept:
            return target == kept
        gone = target
    return False
