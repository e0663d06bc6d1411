"""The SQL of decided translations."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.translations.tables import code_translation

_T = code_translation.c
_COUNT = select(func.count()).select_from(code_translation)


async def size(conn: AsyncConnection) -> int:
    """How many rows there are: it grows with every change and tells nothing else."""
    return int((await conn.execute(_COUNT)).scalar_one())


async def retire(conn: AsyncConnection, active_key: str) -> bool:
    """Let the active row of a code be active no more; whether there was one."""
    result = await conn.execute(
        update(code_translation).where(_T.active_key == active_key).values(active_key=None)
    )
    return bool(result.rowcount)


async def add(conn: AsyncConnection, values: Mapping[str, Any]) -> None:
    """A new row."""
    await conn.execute(insert(code_translation), [dict(values)])


async def active(conn: AsyncConnection) -> Sequence[Any]:
    """The rows in effect, oldest first."""
    query = select(code_translation).where(_T.active_key.is_not(None)).order_by(_T.id)
    return (await conn.execute(query)).all()
