"""What the index has learnt: shares of values."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mpi import tables

#: Values of one field whose shares are kept.
MOST_SHARES = 50_000
#: Records read at a time; the others go on between two pages.
PAGE = 200
#: Shares changed in one transaction.
PART = 500
#: A share that has changed by less than this part of itself is left as it is: a hundredth of
#: a bit.
NOTABLE = 0.01

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareChange:
    """Some of what must change for the shares stored to be those just counted."""

    gone: tuple[tuple[str, int], ...] = ()
    put: tuple[tuple[str, int, float], ...] = ()


def share_changes(
    stored: Mapping[str, Mapping[int, float]], learnt: Mapping[str, Mapping[int, float]]
) -> list[ShareChange]:
    """The changes from one to the other, in parts that each make a short transaction."""
    wanted = {
        field: dict(sorted(values.items(), key=lambda item: -item[1])[:MOST_SHARES])
        for field, values in learnt.items()
    }
    gone = [
        (field, value)
        for field, values in stored.items()
        for value in values
        if value not in wanted.get(field, {})
    ]
    put = [
        (field, value, share)
        for field, values in wanted.items()
        for value, share in values.items()
        if abs(share - stored.get(field, {}).get(value, 0.0)) > NOTABLE * share
    ]
    return [
        *(ShareChange(gone=tuple(gone[n : n + PART])) for n in range(0, len(gone), PART)),
        *(ShareChange(put=tuple(put[n : n + PART])) for n in range(0, len(put), PART)),
    ]


async def change_shares(conn: AsyncConnection, change: ShareChange) -> None:
    """Carry out one part."""
    dropped = [*change.gone, *((field, value) for field, value, _ in change.put)]
    if dropped:
        rows = [{"b_field": field, "b_hash": value} for field, value in dropped]
        await conn.execute(_DROP_SHARE, rows)
    if change.put:
        rows = [{"field": f, "value_hash": v, "share": s} for f, v, s in change.put]
        await conn.execute(tables.term_frequency.insert(), rows)


_DROP_SHARE = delete(tables.term_frequency).where(
    tables.term_frequency.c.field == bindparam("b_field"),
    tables.term_frequency.c.value_hash == bindparam("b_hash"),
)
