"""What the index reads for a question: records under keys, by id, by identifier, by authority."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import and_, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import SourceRecordId
from mpi import tables
from mpi.model import Member
from mpi.repository.member import COLUMNS, member_of

#: Ids in one IN list.
CHUNK = 500

_block, _link, _record = tables.block_key, tables.identity_link, tables.source_record
_xref = tables.identifier_xref

_UNDER = select(_block.c.key, _block.c.record_id).where(
    _block.c.key.in_(bindparam("keys", expanding=True))
)
_NAMED = (
    select(*COLUMNS)
    .join(_link, and_(_link.c.record_id == _record.c.id, _link.c.valid_to_us.is_(None)))
    .where(_record.c.id.in_(bindparam("records", expanding=True)))
    .order_by(_record.c.id)
)
_CARRIERS = (
    select(_xref.c.record_id)
    .where(_xref.c.value_hash == bindparam("value_hash"), _xref.c.valid_to_us.is_(None))
    .order_by(_xref.c.id.desc())
    .limit(CHUNK)
)


async def under(conn: AsyncConnection, keys: Collection[int]) -> dict[int, list[SourceRecordId]]:
    """The records under each of these keys."""
    found: dict[int, list[SourceRecordId]] = defaultdict(list)
    for key, record in await conn.execute(_UNDER, {"keys": sorted(keys)}):
        found[key].append(SourceRecordId(record))
    return found


async def named(conn: AsyncConnection, records: Sequence[str]) -> list[Member]:
    """These records with their open links, in the order of their ids."""
    found: list[Member] = []
    for start in range(0, len(records), CHUNK):
        rows = await conn.execute(_NAMED, {"records": records[start : start + CHUNK]})
        found += map(member_of, rows)
    return found


class Sent(NamedTuple):
    """What a source sent of a record, sealed."""

    id: str
    source_id: str
    key_id: int
    raw: bytes


async def raw(conn: AsyncConnection, records: Sequence[str]) -> list[Sent]:
    """What was sent of these records; of an erased one there is nothing."""
    found: list[Sent] = []
    for start in range(0, len(records), CHUNK):
        query = select(_record.c.id, _record.c.source_id, _record.c.key_id, _record.c.raw).where(
            _record.c.id.in_(records[start : start + CHUNK]),
            _record.c.raw.is_not(None),
            _record.c.key_id.is_not(None),
        )
        found += [Sent(*row) for row in await conn.execute(query)]
    return found


async def carriers(conn: AsyncConnection, value_hash: str) -> tuple[SourceRecordId, ...]:
    """Records that carry an identifier now, the newest first; at most `CHUNK`."""
    rows = await conn.execute(_CARRIERS, {"value_hash": value_hash})
    return tuple(dict.fromkeys(SourceRecordId(record) for (record,) in rows))


async def in_domain(
    conn: AsyncConnection, authority_hash: str, *, before: int | None, limit: int
) -> list[tuple[int, SourceRecordId]]:
    """Records with an identifier of an authority now, the newest first, each with its place.

    Args:
        conn: open connection.
        authority_hash: keyed hash of the authority.
        before: only those behind this place; None = from the newest on.
        limit: so many.
    """
    query = select(_xref.c.id, _xref.c.record_id).where(
        _xref.c.authority_hash == authority_hash, _xref.c.valid_to_us.is_(None)
    )
    if before is not None:
        query = query.where(_xref.c.id < before)
    rows = await conn.execute(query.order_by(_xref.c.id.desc()).limit(limit))
    return [(place, SourceRecordId(record)) for place, record in rows]
