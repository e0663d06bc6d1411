"""Sides of decisions: records that were one person's when the decision joined or parted them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import and_, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mpi import tables
from mpi.repository.links import is_undone

_side, _link, _decision = tables.identity_side, tables.identity_link, tables.identity_decision
_OPEN_LINK = and_(_link.c.record_id == _side.c.record_id, _link.c.valid_to_us.is_(None))


async def keep(conn: AsyncConnection, decision_id: int, sides: Mapping[str, int]) -> None:
    """Store which side of a decision each record is on."""
    rows = [{"decision_id": decision_id, "record_id": r, "side": n} for r, n in sides.items()]
    if rows:
        await conn.execute(insert(_side), rows)


async def of_decision(conn: AsyncConnection, decision_id: int) -> dict[str, int]:
    """Record to side; empty where the decision has none."""
    rows = await conn.execute(
        select(_side.c.record_id, _side.c.side).where(_side.c.decision_id == decision_id)
    )
    return {record: side for record, side in rows}  # noqa: C416 - rows


async def waiting_about(
    conn: AsyncConnection, persons: Collection[str]
) -> dict[int, dict[str, int]]:
    """Decisions that concern these persons and await a review: record to side, of each."""
    rows = await conn.execute(
        select(_side.c.decision_id)
        .join(_link, _OPEN_LINK)
        .where(_link.c.person_id.in_(sorted(persons)))
        .distinct()
    )
    waits = [row.decision_id for row in rows if await _waits(conn, row.decision_id)]
    return {decision: await of_decision(conn, decision) for decision in sorted(waits)}


async def waiting(conn: AsyncConnection, *, after: int, limit: int) -> list[int]:
    """Decisions that await a review, oldest first, behind the decision `after`."""
    found: list[int] = []
    while len(found) < limit:
        rows = await conn.execute(
            select(_side.c.decision_id)
            .where(_side.c.decision_id > after)
            .distinct()
            .order_by(_side.c.decision_id)
            .limit(limit)
        )
        page = [row.decision_id for row in rows]
        if not page:
            break
        found += [decision for decision in page if await _waits(conn, decision)]
        after = page[-1]
    return found[:limit]


async def persons_of(conn: AsyncConnection, records: Iterable[str]) -> dict[str, str]:
    """The person of each record now."""
    rows = await conn.execute(
        select(_link.c.record_id, _link.c.person_id).where(
            _link.c.record_id.in_(sorted(records)), _link.c.valid_to_us.is_(None)
        )
    )
    return {record: person for record, person in rows}  # noqa: C416 - rows


async def records_of(conn: AsyncConnection, persons: Collection[str]) -> dict[str, list[str]]:
    """The records of each person now."""
    rows = await conn.execute(
        select(_link.c.person_id, _link.c.record_id)
        .where(_link.c.person_id.in_(sorted(persons)), _link.c.valid_to_us.is_(None))
        .order_by(_link.c.id)
    )
    found: dict[str, list[str]] = defaultdict(list)
    for person, record in rows:
        found[person].append(record)
    return found


async def reviews_of(conn: AsyncConnection, decision_id: int) -> list[int]:
    """The reviews of a decision that were not taken back.

    A decision that was taken back and made again has to be reviewed again: what its sides said
    in between nobody has looked at.
    """
    since = await _newest_turn(conn, decision_id)
    rows = await conn.execute(
        select(_decision.c.id).where(_decision.c.about == decision_id, _decision.c.id > since)
    )
    return [row.id for row in rows if not await is_undone(conn, row.id)]


async def root_of(conn: AsyncConnection, decision_id: int) -> int:
    """The decision that a chain of undos began with; a decision that is none is its own."""
    while True:
        before: int | None = await conn.scalar(
            select(_decision.c.inverse_of).where(_decision.c.id == decision_id)
        )
        if before is None:
            return decision_id
        decision_id = before


async def _newest_turn(conn: AsyncConnection, decision_id: int) -> int:
    """The newest decision of the chain of undos that this one begins; itself without any."""
    newest, turns = decision_id, [decision_id]
    while turns:
        rows = await conn.execute(select(_decision.c.id).where(_decision.c.inverse_of.in_(turns)))
        turns = [row.id for row in rows]
        newest = max([newest, *turns])
    return newest


async def about_of(conn: AsyncConnection, decision_id: int) -> int | None:
    """The decision that a review looked at."""
    found: int | None = await conn.scalar(
        select(_decision.c.about).where(_decision.c.id == decision_id)
    )
    return found


async def _waits(conn: AsyncConnection, decision_id: int) -> bool:
    """Whether a decision stands, and nobody has reviewed the consents it brought together."""
    if await is_undone(conn, decision_id):
        return False
    return not await reviews_of(conn, decision_id)
