"""Answered requests in the database; the caller opens the transaction."""

from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.staff.tables import staff_request

_row = staff_request.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A request seen before; `status` and `answer` are None while it is under way."""

    content_hash: str
    at_us: int
    status: int | None
    answer: str | None


async def find(conn: AsyncConnection, key_hash: str) -> Stored | None:
    """The request with a key, locked until the transaction ends."""
    query = select(_row.content_hash, _row.at_us, _row.status, _row.answer)
    rows = await conn.execute(query.where(_row.key_hash == key_hash).with_for_update())
    row = rows.mappings().first()
    return Stored(**row) if row else None


async def begin(conn: AsyncConnection, key_hash: str, content_hash: str, at_us: int) -> None:
    """Note a request that begins; in place of one that never ended."""
    await forget(conn, key_hash)
    await conn.execute(
        insert(staff_request).values(key_hash=key_hash, content_hash=content_hash, at_us=at_us)
    )


async def finish(conn: AsyncConnection, key_hash: str, status: int, answer: str) -> None:
    """Note what a request was answered."""
    values = {"status": status, "answer": answer}
    await conn.execute(update(staff_request).where(_row.key_hash == key_hash).values(**values))


async def forget(conn: AsyncConnection, key_hash: str) -> None:
    """Let a key be used again: its request did nothing."""
    await conn.execute(delete(staff_request).where(_row.key_hash == key_hash))


async def forget_old(conn: AsyncConnection, before_us: int) -> int:
    """Forget requests that nobody will repeat; how many."""
    gone = await conn.execute(delete(staff_request).where(_row.at_us < before_us))
    return int(gone.rowcount)
