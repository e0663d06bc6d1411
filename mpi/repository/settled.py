"""Whether a person is made of the same records as when somebody vouched for who it is.

New records of the person itself change nothing. Records that came from somebody else, or that
went to somebody else, do; taking that back makes it as it was.
"""

from collections.abc import Collection
from typing import Final

from sqlalchemy import and_, bindparam, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mpi import tables

_link, _person = tables.identity_link, tables.person
_HELD: Final = and_(
    _link.c.valid_from_us <= bindparam("at_us"),
    or_(_link.c.valid_to_us.is_(None), _link.c.valid_to_us > bindparam("at_us")),
)
_ROW: Final = select(_person.c.redirect_to, _person.c.status).where(
    _person.c.id == bindparam("person")
)
_THEN: Final = select(_link.c.record_id).where(_link.c.person_id == bindparam("person"), _HELD)
_NOW: Final = select(_link.c.record_id).where(
    _link.c.person_id == bindparam("person"), _link.c.valid_to_us.is_(None)
)
_CHUNK: Final = 500


async def is_settled(conn: AsyncConnection, person_id: str, since_us: int) -> bool:
    """Whether no record moved to or from a person since then, or all of that was taken back."""
    row = (await conn.execute(_ROW, {"person": person_id})).first()
    if row is None or row.redirect_to is not None:
        return False
    then = await conn.execute(_THEN, {"person": person_id, "at_us": since_us})
    vouched = {record for (record,) in then}
    current = {record for (record,) in await conn.execute(_NOW, {"person": person_id})}
    if await _are_elsewhere(conn, vouched - current):
        return False
    return not await _came_from_elsewhere(conn, person_id, current - vouched)


async def _are_elsewhere(conn: AsyncConnection, records: Collection[str]) -> bool:
    """Whether any of these is another's now; one that was retired is nobody's."""
    wanted = sorted(records)
    for start in range(0, len(wanted), _CHUNK):
        query = select(func.count()).where(
            _link.c.record_id.in_(wanted[start : start + _CHUNK]), _link.c.valid_to_us.is_(None)
        )
        if (await conn.execute(query)).scalar_one():
            return True
    return False


async def _came_from_elsewhere(
    conn: AsyncConnection, person_id: str, records: Collection[str]
) -> bool:
    """Whether any of these was somebody else's first."""
    wanted = sorted(records)
    for start in range(0, len(wanted), _CHUNK):
        first = (
            select(_link.c.record_id, func.min(_link.c.id).label("id"))
            .where(_link.c.record_id.in_(wanted[start : start + _CHUNK]))
            .group_by(_link.c.record_id)
            .subquery()
        )
        query = select(func.count()).select_from(first.join(_link, _link.c.id == first.c.id))
        if (await conn.execute(query.where(_link.c.person_id != person_id))).scalar_one():
            return True
    return False
