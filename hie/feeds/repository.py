"""The SQL of watched sources."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.feeds.tables import source_watch

_T = source_watch.c


@dataclass(frozen=True, slots=True)
class Watched:
    """One source: since when it is watched, since when it is late."""

    source_id: str
    since_us: int
    late_us: int | None


async def watched(conn: AsyncConnection) -> dict[str, Watched]:
    """Every watched source."""
    return {row.source_id: Watched(*row) for row in await conn.execute(select(source_watch))}


async def add(conn: AsyncConnection, source_ids: Iterable[str], now_us: int) -> None:
    """Watch sources from now on."""
    rows = [{"source_id": s, "since_us": now_us, "late_us": None} for s in sorted(source_ids)]
    if rows:
        await conn.execute(insert(source_watch), rows)


async def excuse(conn: AsyncConnection, now_us: int) -> None:
    """Let silence up to now be nobody's fault, but for those that are late already."""
    await conn.execute(update(source_watch).where(_T.late_us.is_(None)).values(since_us=now_us))


async def set_late(conn: AsyncConnection, source_id: str, late_us: int | None) -> bool:
    """Note that a source became late, or (None) that it no more is; False if that was known."""
    known = _T.late_us.is_(None) if late_us is not None else _T.late_us.is_not(None)
    result = await conn.execute(
        update(source_watch).where(_T.source_id == source_id, known).values(late_us=late_us)
    )
    return bool(result.rowcount)
