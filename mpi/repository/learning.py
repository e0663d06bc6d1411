"""What the index has learnt: shares of values."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mpi import tables

#: Values of one field whose shares are kept.
MOST_SHARES = 50_000
#: Records read at a time.
PAGE = 1_000

_record = tables.source_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """The comparable form of a record, still sealed."""

    record_id: str
    key_id: int
    norm: bytes


async def all_records(conn: AsyncConnection) -> AsyncIterator[list[Sealed]]:
    """Every active record, page by page."""
    last = ""
    while True:
        rows = await conn.execute(
            select(_record.c.id, _record.c.key_id, _record.c.norm)
            .where(_record.c.id > last, _record.c.is_active, _record.c.norm.is_not(None))
            .order_by(_record.c.id)
            .limit(PAGE)
        )
        page = [Sealed(record_id=i, key_id=k, norm=n) for i, k, n in rows]
        if not page:
            return
        yield page
        last = page[-1].record_id


async def shares(conn: AsyncConnection) -> dict[str, dict[int, float]]:
    """The learnt shares: field, then keyed hash of the value."""
    table = tables.term_frequency
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for field, value_hash, share in await conn.execute(
        select(table.c.field, table.c.value_hash, table.c.share)
    ):
        found[field][value_hash] = share
    return found


async def replace_shares(conn: AsyncConnection, learnt: Mapping[str, Mapping[int, float]]) -> None:
    """Store the shares just counted in place of all others."""
    table = tables.term_frequency
    await conn.execute(delete(table))
    for field, values in learnt.items():
        commonest = sorted(values.items(), key=lambda item: -item[1])[:MOST_SHARES]
        rows = [{"field": field, "value_hash": h, "share": s} for h, s in commonest]
        if rows:
            await conn.execute(table.insert(), rows)
