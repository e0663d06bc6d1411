"""Stored records whose comparable form or blocking keys are of an earlier version."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mpi import tables

_record = tables.source_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A record as stored; `raw` is the Patient as sent, sealed under the data key `key_id`."""

    id: str
    version: int
    received_us: int
    key_id: int
    raw: bytes
    norm_version: int
    keys_as: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """A stretch of the records: the last id in it, how many, and those that are out of date."""

    last: str
    seen: int
    stale: tuple[str, ...]


async def scan(
    conn: AsyncConnection, after: str, limit: int, *, norm_version: int, keys_as: str
) -> Scanned:
    """The next records by id."""
    rows = await conn.execute(
        select(_record.c.id, _record.c.norm_version, _record.c.keys_as, _record.c.version)
        .where(_record.c.id > after)
        .order_by(_record.c.id)
        .limit(limit)
    )
    found = list(rows)
    return Scanned(
        last=found[-1].id if found else "",
        seen=len(found),
        stale=tuple(
            row.id
            for row in found
            # Known by its number alone, it has nothing to bring up to date.
            if row.version and (row.norm_version, row.keys_as) != (norm_version, keys_as)
        ),
    )


async def stored(conn: AsyncConnection, ids: Sequence[str]) -> list[Stored]:
    """These records, in order of their ids; without those whose content is gone."""
    rows = await conn.execute(
        select(
            _record.c.id,
            _record.c.version,
            _record.c.received_us,
            _record.c.key_id,
            _record.c.raw,
            _record.c.norm_version,
            _record.c.keys_as,
        )
        .where(_record.c.id.in_(list(ids)), _record.c.raw.is_not(None))
        .order_by(_record.c.id)
    )
    return [Stored(**row) for row in rows.mappings() if row["key_id"] is not None]


async def replace(conn: AsyncConnection, record: Stored, **values: Any) -> bool:
    """Change columns of a record unless it was written since; whether it was changed."""
    changed = await conn.execute(
        update(_record)
        .where(_record.c.id == record.id, _record.c.version == record.version)
        .values(**values)
    )
    return changed.rowcount == 1


async def file_under(conn: AsyncConnection, record_id: str, keys: Sequence[int]) -> None:
    """Let a record be found under these blocking keys."""
    if keys:
        rows = [{"key": key, "record_id": record_id} for key in keys]
        await conn.execute(insert(tables.block_key), rows)
