"""The records of candidate persons, as many as are compared."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, Select, String, bindparam, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import PersonId
from mpi import tables
from mpi.model import Member
from mpi.repository.member import COLUMNS, RECORD_COLUMNS, member_of

#: Records named beside the first ones of a person, at most.
MOST_NAMED = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Records of a person in the order they were linked, and how many it has in all."""

    members: list[Member]
    total: int


async def members(
    conn: AsyncConnection, persons: Sequence[str], *, most: int, named: Collection[str] = ()
) -> dict[PersonId, Held]:
    """The records of these persons.

    Args:
        conn: open connection.
        persons: whose; as many as are compared, some fifty.
        most: of each person the first so many suffice.
        named: records wanted even of a person that has more.
    """
    limit = most * len(persons)
    values: dict[str, Any] = {"persons": list(persons), "limit": limit + 1}
    is_postgresql = conn.dialect.name == "postgresql"
    rows = list(await conn.execute(_ALL_PG if is_postgresql else _ALL, values))
    if len(rows) > limit:
        # Somebody has very many records: only now is it worth counting them.
        values = {"persons": list(persons), "most": most, "named": list(named)[:MOST_NAMED]}
        rows = list(await conn.execute(_FIRST, values))
    found: dict[PersonId, list[Any]] = {}
    for row in rows:
        found.setdefault(PersonId(row.person_id), []).append(row)
    return {
        person: Held(
            members=[*map(member_of, of_person)],
            total=of_person[0].total or len(of_person),
        )
        for person, of_person in found.items()
    }


_link, _record = tables.identity_link, tables.source_record
# Not `IS NULL`: PostgreSQL would take an index of open links for a short one, and go through
# all of it, instead of looking up these persons.
_IS_OPEN = func.coalesce(_link.c.valid_to_us, 0) == 0
_IS_OF_PERSON = (_IS_OPEN, _link.c.person_id.in_(bindparam("persons", expanding=True)))
_OPEN: Select[Any] = (
    select(literal(0).label("total"), *COLUMNS)
    .join(_record, _record.c.id == _link.c.record_id)
    .where(_IS_OPEN)
    .order_by(_link.c.id)
    .limit(bindparam("limit"))
)
_ALL = _OPEN.where(_link.c.person_id.in_(bindparam("persons", expanding=True)))
#: One text for any number of persons, so that a connection keeps it prepared.
_ALL_PG = _OPEN.where(_link.c.person_id == func.any(bindparam("persons", type_=ARRAY(String))))
_counted = (
    select(
        _link.c.id,
        _link.c.person_id,
        _link.c.record_id,
        func.count().over(partition_by=_link.c.person_id).label("total"),
        func.row_number().over(partition_by=_link.c.person_id, order_by=_link.c.id).label("place"),
    )
    .where(*_IS_OF_PERSON)
    .subquery()
)
_FIRST: Select[Any] = (
    select(_counted.c.person_id, _counted.c.total, *RECORD_COLUMNS)
    .join(_record, _record.c.id == _counted.c.record_id)
    .where(
        or_(
            _counted.c.place <= bindparam("most"),
            _counted.c.record_id.in_(bindparam("named", expanding=True)),
        )
    )
    .order_by(_counted.c.id)
)
