"""Who a record was on a day, and what a person's records were: the ledger as of a time."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import PersonId, SourceRecordId
from mpi import tables
from mpi.model import PersonMove
from mpi.repository import links
from mpi.repository.links import Link

_link = tables.identity_link
#: Since, and until before.
_Span = tuple[int, int]
_EVER = 2**62


async def person_at(conn: AsyncConnection, record_id: str, at_us: int) -> PersonId | None:
    """The person of a record at a time."""
    found = await conn.scalar(
        select(_link.c.person_id)
        .where(_link.c.record_id == record_id, *_held(at_us))
        .order_by(_link.c.id.desc())
        .limit(1)
    )
    return PersonId(found) if found else None


async def records_at(
    conn: AsyncConnection, person_id: str, at_us: int
) -> tuple[SourceRecordId, ...]:
    """The records of a person at a time."""
    rows = await conn.execute(
        select(_link.c.record_id)
        .where(_link.c.person_id == person_id, *_held(at_us))
        .order_by(_link.c.id)
    )
    return tuple(dict.fromkeys(SourceRecordId(row.record_id) for row in rows))


def _held(at_us: int) -> tuple[Any, ...]:
    ends = or_(_link.c.valid_to_us.is_(None), _link.c.valid_to_us > at_us)
    return _link.c.valid_from_us <= at_us, ends


async def together(
    conn: AsyncConnection, moves: Collection[PersonMove]
) -> list[tuple[PersonId, int, int]]:
    """When records that moved away were one person's with those they left behind."""
    found: dict[str, list[_Span]] = defaultdict(list)
    for left in sorted({move.from_person for move in moves}):
        behind = [link.record_id for link in await links.links_of_person(conn, left)]
        gone = [m.source_record_id for m in moves if m.from_person == left]
        past = await links.history(conn, [*behind, *gone]) if behind else {}
        here, there = _spans(past, behind), _spans(past, gone)
        for person in here.keys() & there.keys():
            found[person] += [
                (max(a[0], b[0]), min(a[1], b[1])) for a in here[person] for b in there[person]
            ]
    return [
        (PersonId(person), since, until)
        for person in sorted(found)
        for since, until in _joined(found[person])
    ]


def _spans(past: dict[str, list[Link]], records: Iterable[str]) -> dict[str, list[_Span]]:
    spans: dict[str, list[_Span]] = defaultdict(list)
    for record in records:
        for link in past.get(record, ()):
            until = _EVER if link.valid_to_us is None else link.valid_to_us
            spans[link.person_id].append((link.valid_from_us, until))
    return {person: _joined(found) for person, found in spans.items()}


def _joined(spans: Iterable[_Span]) -> list[_Span]:
    """The same time in as few spans as it takes; empty ones left out."""
    found: list[_Span] = []
    for since, until in sorted(span for span in spans if span[0] < span[1]):
        if found and since <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], until))
        else:
            found.append((since, until))
    return found
