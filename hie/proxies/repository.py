"""The SQL of relationships; what is sealed passes through as bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Row, Select, bindparam, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import PersonId
from hie.proxies.model import Custody, Relationship
from hie.proxies.tables import proxy_event, proxy_relationship

_R, _E = proxy_relationship.c, proxy_event.c
_PLAIN: Final[tuple[Column[Any], ...]] = (
    _R.id,
    _R.person_id,
    _R.proxy_id,
    _R.kind,
    _R.scope,
    _R.custody,
    _R.has_document,
    _R.named_mask,
    _R.recorded_us,
    _R.vouched_us,
    _R.from_us,
    _R.to_us,
    _R.accepted_us,
    _R.stopped_us,
    _R.ended_us,
    _R.version,
)
# Built once: every request of a proxy runs it.
_WITH_ID: Final[Select[Any]] = select(*_PLAIN).where(_R.id == bindparam("id"))


_WHOLE: Final[Select[Any]] = select(*_PLAIN, _R.key_id, _R.detail, _R.told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A relationship with what is sealed of it, under `key_id`.

    Attributes:
        told: the bracket of age that staff were told of last.
    """

    plain: Relationship
    key_id: int
    detail: bytes
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What somebody did to a relationship; `words` are sealed under `key_id`."""

    id: int
    at_us: int
    action: str
    actor: str
    key_id: int
    words: bytes


async def find(conn: AsyncConnection, relationship: str) -> Relationship | None:
    """One relationship, in clear."""
    row = (await conn.execute(_WITH_ID, {"id": relationship})).first()
    return _relationship(row) if row else None


async def sealed(
    conn: AsyncConnection, relationship: str, *, is_locked: bool = False
) -> Sealed | None:
    """One relationship with its detail; its row locked until the transaction ends."""
    query = _WHOLE.where(_R.id == relationship)
    row = (await conn.execute(query.with_for_update() if is_locked else query)).first()
    return _sealed(row) if row else None


async def of_person(conn: AsyncConnection, persons: Sequence[str]) -> list[Sealed]:
    """Who may see in the place of these, ended ones too, the newest first."""
    return await _listed(conn, _R.person_id.in_(persons))


async def by_proxy(conn: AsyncConnection, persons: Sequence[str]) -> list[Sealed]:
    """In whose place these may see, ended ones too, the newest first."""
    return await _listed(conn, _R.proxy_id.in_(persons))


async def about(conn: AsyncConnection, persons: Sequence[str]) -> list[Sealed]:
    """Every relationship in which these persons stand, on either side."""
    return await _listed(conn, or_(_R.person_id.in_(persons), _R.proxy_id.in_(persons)))


async def open_after(conn: AsyncConnection, after: str, limit: int) -> list[Sealed]:
    """Relationships that did not end, in the order of their ids, behind one."""
    open_ones = _WHOLE.where(_R.ended_us.is_(None), _R.id > after)
    query = open_ones.order_by(_R.id).limit(limit)
    return [_sealed(row) for row in await conn.execute(query)]


async def document(conn: AsyncConnection, relationship: str) -> tuple[int, bytes] | None:
    """The sealed paper and its key; None where none was scanned."""
    query = select(_R.key_id, _R.document).where(_R.id == relationship, _R.document.is_not(None))
    row = (await conn.execute(query)).first()
    return (row.key_id, row.document) if row else None


async def add(conn: AsyncConnection, values: Mapping[str, Any]) -> None:
    """A new relationship."""
    await conn.execute(proxy_relationship.insert(), [dict(values)])


async def change(conn: AsyncConnection, relationship: str, **values: Any) -> None:
    """Set columns of one; its version goes up."""
    await conn.execute(
        update(proxy_relationship)
        .where(_R.id == relationship)
        .values(**values, version=_R.version + 1)
    )


async def mark_told(conn: AsyncConnection, relationship: str, band: str) -> None:
    """Staff were told of a bracket of age; no change to the relationship itself."""
    await conn.execute(update(proxy_relationship).where(_R.id == relationship).values(told=band))


async def add_event(conn: AsyncConnection, values: Mapping[str, Any]) -> None:
    """Keep what somebody did."""
    await conn.execute(proxy_event.insert(), [dict(values)])


async def events(conn: AsyncConnection, relationship: str) -> list[Event]:
    """What was done to a relationship, oldest first."""
    query = select(_E.id, _E.at_us, _E.action, _E.actor, _E.key_id, _E.words)
    rows = await conn.execute(query.where(_E.relationship_id == relationship).order_by(_E.id))
    return [Event(**row) for row in rows.mappings()]


async def standing_in(conn: AsyncConnection, person: str) -> list[str]:
    """The relationships by which a person stands in another's place, or did."""
    query = select(_R.id).where(_R.proxy_id == person)
    return list((await conn.execute(query)).scalars())


async def forget(conn: AsyncConnection, person: str) -> None:
    """Take out every relationship of a person, on either side, and what was done to it."""
    theirs = or_(_R.person_id == person, _R.proxy_id == person)
    found = select(_R.id).where(theirs)
    await conn.execute(delete(proxy_event).where(_E.relationship_id.in_(found)))
    await conn.execute(delete(proxy_relationship).where(theirs))


async def _listed(conn: AsyncConnection, condition: ColumnElement[bool]) -> list[Sealed]:
    query = _WHOLE.where(condition)
    rows = await conn.execute(query.order_by(_R.recorded_us.desc(), _R.id))
    return [_sealed(row) for row in rows]


def _sealed(row: Row[Any]) -> Sealed:
    return Sealed(plain=_relationship(row), key_id=row.key_id, detail=row.detail, told=row.told)


def _relationship(row: Row[Any]) -> Relationship:
    return Relationship(
        id=row.id,
        person=PersonId(row.person_id),
        proxy=PersonId(row.proxy_id) if row.proxy_id else None,
        kind=row.kind,
        scope=row.scope,
        custody=Custody(row.custody),
        has_document=row.has_document,
        named_mask=row.named_mask,
        recorded_us=row.recorded_us,
        vouched_us=row.vouched_us,
        from_us=row.from_us,
        to_us=row.to_us,
        accepted_us=row.accepted_us,
        stopped_us=row.stopped_us,
        ended_us=row.ended_us,
        version=row.version,
    )
