"""How far work that goes through the whole index has come, kept so that it can be resumed."""

from dataclasses import dataclass

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mpi import tables

_job = tables.index_job


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One piece of work and how far it is.

    Attributes:
        mark: what it brings the index to, or "" where it goes round and round.
        place: the last id that is done; "" at the beginning.
        round: how often it was begun.
        ended_us: when it had been through; None while it is under way.
        seen, done: of this round, what was looked at and what had to be changed or asked.
    """

    name: str
    mark: str
    place: str
    round: int
    began_us: int
    touched_us: int
    ended_us: int | None
    seen: int
    done: int


async def progress(conn: AsyncConnection, name: str) -> Progress | None:
    """How far a piece of work is; None if it was never begun."""
    row = (await conn.execute(select(_job).where(_job.c.name == name))).mappings().first()
    return Progress(**row) if row else None


async def begin(conn: AsyncConnection, name: str, mark: str, *, now_us: int) -> Progress:
    """Begin a round, or go on with the one that has the same mark and is not ended.

    The caller holds the work's name (`Database.serialize`), so that two cannot begin at once.
    """
    known = await progress(conn, name)
    if known is not None and known.mark == mark and known.ended_us is None:
        return known
    fresh = Progress(
        name=name,
        mark=mark,
        place="",
        round=known.round + 1 if known else 1,
        began_us=now_us,
        touched_us=now_us,
        ended_us=None,
        seen=0,
        done=0,
    )
    values = {column.name: getattr(fresh, column.name) for column in _job.columns}
    statement = update(_job).where(_job.c.name == name) if known else insert(_job)
    await conn.execute(statement.values(**values))
    return fresh


async def advance(
    conn: AsyncConnection, at: Progress, place: str, *, seen: int, done: int, now_us: int
) -> bool:
    """Note that everything up to a place is done; False where another process was faster."""
    moved = await conn.execute(
        update(_job)
        .where(
            _job.c.name == at.name,
            _job.c.round == at.round,
            _job.c.place == at.place,
            _job.c.ended_us.is_(None),
        )
        .values(
            place=place,
            seen=_job.c.seen + seen,
            done=_job.c.done + done,
            touched_us=now_us,
        )
    )
    return moved.rowcount == 1


async def end(conn: AsyncConnection, at: Progress, *, now_us: int) -> None:
    """Note that a round is through."""
    await conn.execute(
        update(_job)
        .where(_job.c.name == at.name, _job.c.round == at.round)
        .values(ended_us=now_us, touched_us=now_us)
    )
