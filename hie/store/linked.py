"""What a page includes: resources that refer to others, and those they refer to.

Every alias of `resource` carries the caller's predicate here too, on both ends of a reference;
lists of ids are padded, so that there are few statements, each built once.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Integer,
    Select,
    SmallInteger,
    String,
    bindparam,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.padding import padded
from hie.store.fences import first_in, no_place, records_of
from hie.store.index import SearchIndex
from hie.store.predicate import Shape, Visibility, bound, shape_of
from hie.store.query import Include, Served
from hie.store.residual import Residual
from hie.store.serving import ResourceServer
from hie.store.statements import current
from hie.store.tables import compartment, resource, sp_ref

#: Ids in one IN list.
AT_ONCE: Final = 64
Name = tuple[str, str]


class LinkedResources:
    """Follows references for a residual.

    Args:
        serve: opens and fills the rows found.
    """

    def __init__(self, server: ResourceServer, index: SearchIndex, visibility: Visibility) -> None:
        self._server = server
        self._index = index
        self._statements = _Statements(visibility)

    async def targets(
        self, conn: AsyncConnection, residual: Residual, include: Include, ids: Sequence[str]
    ) -> set[Name]:
        """What resources of `include.source` refer to by its parameter, Patients by record."""
        found: set[Name] = set()
        for listed in _chunks(ids):
            query = self._statements.targets(shape_of(residual), len(listed), include.param_ids)
            rows = await conn.execute(query, self._values(residual, include.source, listed))
            found |= {(self._index.type_name(kind), target) for kind, target in rows}
        return found

    async def further_persons(
        self, conn: AsyncConnection, residual: Residual, type_name: str, ids: Sequence[str]
    ) -> set[str]:
        """The persons beyond the first whom resources are about."""
        found: set[str] = set()
        for listed in _chunks(ids):
            query = self._statements.further_persons(shape_of(residual), len(listed))
            rows = await conn.execute(query, self._values(residual, type_name, listed))
            found |= set(rows.scalars())
        return found

    async def named(
        self, conn: AsyncConnection, residual: Residual, type_name: str, ids: Sequence[str]
    ) -> list[Served]:
        """The current resources of these ids that the caller may see."""
        found: list[Served] = []
        for listed in _chunks(ids):
            query = self._statements.named(shape_of(residual), len(listed))
            rows = await conn.execute(query, self._values(residual, type_name, listed))
            found += await self._server.serve(conn, residual, rows.all())
        return found

    async def referring(  # noqa: PLR0913 - who refers to whom, and how many of them
        self,
        conn: AsyncConnection,
        residual: Residual,
        include: Include,
        *,
        target: str,
        ids: Sequence[str],
        persons: Sequence[str],
        limit: int,
    ) -> list[Served]:
        """Resources of `include.source` that refer to these, as they were stored.

        Args:
            conn: an open connection.
            residual: the caller's.
            include: the reference.
            target: the type referred to.
            ids: of that type; of Patients, the source records.
            persons: of Patients, whose they are.
            limit: the most to read.
        """
        found: dict[str, Served] = {}
        # A way each: no database uses two indexes for one OR over subqueries.
        ways = [("ref", "id", ids)]
        ways += [("own", "person", persons)] if include.person else []
        ways += [("shared", "person", persons)] if include.person == "any" else []
        common = {
            "type_id": self._index.type_id(include.source),
            "target_type_id": self._index.type_id(target),
            "count": limit,
            **bound(residual),
        }
        for way, name, wanted in ways:
            params = include.param_ids if way == "ref" else ()
            for listed in _chunks(wanted):
                query = self._statements.referring(shape_of(residual), len(listed), way, params)
                these = {f"{name}_{n}": each for n, each in enumerate(listed)}
                rows = (await conn.execute(query, {**common, **these})).all()
                found |= {one.id: one for one in await self._server.serve(conn, residual, rows)}
        return list(found.values())[:limit]

    def _values(self, residual: Residual, type_name: str, ids: Sequence[str]) -> dict[str, Any]:
        named = {f"id_{n}": each for n, each in enumerate(ids)}
        return {"type_id": self._index.type_id(type_name), **named, **bound(residual)}


class _Statements:
    """Statements by shape of residual and length of lists."""

    def __init__(self, visibility: Visibility) -> None:
        self._visible = visibility.visible
        self.targets = lru_cache(512)(self._targets)
        self.further_persons = lru_cache(128)(self._further_persons)
        self.named = lru_cache(128)(self._named)
        self.referring = lru_cache(512)(self._referring)

    def _targets(self, shape: Shape, ids: int, params: tuple[int, ...]) -> Select[Any]:
        r = resource.alias("r")
        return (
            select(sp_ref.c.target_type_id, sp_ref.c.target_id)
            .join_from(r, sp_ref, sp_ref.c.resource_pk == r.c.pk)
            .where(*self._these(shape, r, ids), sp_ref.c.param_id.in_(params))
            .distinct()
        )

    def _further_persons(self, shape: Shape, ids: int) -> Select[Any]:
        r = resource.alias("r")
        return (
            select(compartment.c.person_id)
            .join_from(r, compartment, compartment.c.resource_pk == r.c.pk)
            .where(*self._these(shape, r, ids))
            .distinct()
        )

    def _named(self, shape: Shape, ids: int) -> Select[Any]:
        r = resource.alias("r")
        return current(r).where(*self._these(shape, r, ids)).order_by(r.c.pk)

    def _referring(
        self, shape: Shape, count: int, way: str, params: tuple[int, ...]
    ) -> Select[Any]:
        r = resource.alias("r")
        return (
            current(r)
            .where(
                no_place(r.c.type_id) == bindparam("type_id", type_=Integer),
                r.c.deleted.is_(False),
                _by(way, r, count, params),
                self._visible(shape, "r"),
            )
            .order_by(r.c.pk)
            .limit(bindparam("count", type_=BigInteger))
        )

    def _these(self, shape: Shape, r: Any, ids: int) -> list[Any]:
        return [
            r.c.type_id == bindparam("type_id", type_=Integer),
            r.c.id.in_(_texts("id", ids)),
            r.c.deleted.is_(False),
            self._visible(shape, r.name),
        ]


def _by(way: str, r: Any, count: int, params: tuple[int, ...]) -> Any:
    """How a resource refers: by rows of `sp_ref`, as a person's own, or as about them too."""
    if way == "own":
        return first_in(r.c.pk, records_of(r, _texts("person", count), is_own=True))
    if way == "shared":
        of_them = compartment.c.person_id.in_(_texts("person", count))
        return first_in(r.c.pk, select(compartment.c.resource_pk).where(of_them))
    rows = select(sp_ref.c.resource_pk).where(
        sp_ref.c.param_id.in_(params),
        sp_ref.c.target_type_id == bindparam("target_type_id", type_=SmallInteger),
        sp_ref.c.target_id.in_(_texts("id", count)),
    )
    return first_in(r.c.pk, rows)


def _texts(name: str, count: int) -> list[Any]:
    return [bindparam(f"{name}_{n}", type_=String) for n in range(count)]


def _chunks(ids: Sequence[str]) -> list[list[str]]:
    return [padded(ids[start : start + AT_ONCE]) for start in range(0, len(ids), AT_ONCE)]
