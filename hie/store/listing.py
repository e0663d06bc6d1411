"""Lists of resources, made for a caller now and read again later, as they were at one moment.

An export names what it holds before anybody reads it. Both when a list is made and each time
it is read the residual's predicate is on every row, so that a list opens nothing by itself. A
resource is taken in the version it had at the moment of the list: one that came to be later is
not on it, one that was deleted since is gone from it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Integer,
    Row,
    Select,
    String,
    and_,
    bindparam,
    func,
    select,
    tuple_,
)
from sqlalchemy import exists as sql_exists
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.padding import padded_length
from hie.store.criteria import At, Criteria
from hie.store.fences import in_records
from hie.store.index import SearchIndex
from hie.store.predicate import Shape, Visibility, bound, shape_of
from hie.store.query import MAX_US, MIN_US, Query, Served
from hie.store.residual import Residual
from hie.store.rows import SUPPORTING
from hie.store.serving import ResourceServer
from hie.store.statements import columns
from hie.store.tables import resource, resource_version, sp_ref

#: Ids in one IN list.
AT_ONCE: Final = 256
#: Statements kept; each is one shape of residual and one set of types.
KEPT: Final = 256
Rows = Sequence[Row[Any]]
Types = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which versions a list takes.

    Attributes:
        as_of_us: the moment of the list, microseconds UTC.
        since_us: only what changed after this.
        until_us: only what changed before this.
    """

    as_of_us: int
    since_us: int = MIN_US
    until_us: int = MAX_US

    @property
    def values(self) -> dict[str, int]:
        """What statements are run with."""
        return {"as_of": self.as_of_us, "since": self.since_us, "until": self.until_us}

    @property
    def whole(self) -> "Span":
        """The same moment, whenever something changed."""
        return Span(as_of_us=self.as_of_us)


class Listing:
    """Makes and reads lists for a residual.

    Args:
        server: opens and fills the rows found.
        index: types by number.
        visibility: the predicate.
        criteria: what filters ask.
    """

    def __init__(
        self,
        server: ResourceServer,
        index: SearchIndex,
        visibility: Visibility,
        criteria: Criteria,
    ) -> None:
        self._server = server
        self._index = index
        self._statements = _Statements(index, visibility, criteria)

    async def of_persons(
        self,
        conn: AsyncConnection,
        residual: Residual,
        span: Span,
        types: Types,
        persons: Sequence[str],
    ) -> Rows:
        """What is in these persons' compartments: `pk type_id id person_id source_record_id`.

        A resource of several persons is named once; `person_id` says whose it is first.
        """
        query = self._statements.of_persons(shape_of(residual), types, padded_length(persons))
        return await self._fetched(conn, residual, query, span, _named("p", persons))

    async def tombstones(
        self,
        conn: AsyncConnection,
        residual: Residual,
        span: Span,
        types: Types,
        persons: Sequence[str],
    ) -> Rows:
        """What of these persons was there at `since` and was deleted until the moment."""
        query = self._statements.tombstones(shape_of(residual), types, padded_length(persons))
        return await self._fetched(conn, residual, query, span, _named("p", persons))

    async def nobodys(  # noqa: PLR0913 - of what, for whom, where to go on
        self,
        conn: AsyncConnection,
        residual: Residual,
        span: Span,
        types: Types,
        *,
        after: tuple[int, int],
        limit: int,
        is_deleted: bool = False,
    ) -> Rows:
        """Resources that are about no person, in the order of types and keys, behind `after`."""
        query = self._statements.nobodys(shape_of(residual), types, is_deleted)
        values = {"type_id": after[0], "after": after[1], "limit": limit}
        return await self._fetched(conn, residual, query, span, values)

    async def referred(
        self,
        conn: AsyncConnection,
        residual: Residual,
        span: Span,
        types: Types,
        pks: Sequence[int],
    ) -> Rows:
        """What these resources refer to outside every compartment, whenever it changed."""
        found: list[Row[Any]] = []
        for some in _chunks(pks):
            query = self._statements.referred(shape_of(residual), types, padded_length(some))
            values = _named("k", some)
            found += await self._fetched(conn, residual, query, span.whole, values)
        return found

    async def names(
        self, conn: AsyncConnection, residual: Residual, span: Span, pks: Sequence[int]
    ) -> Rows:
        """Of these, what the caller may see now; as `of_persons`."""
        return await self._of_pks(conn, residual, span, pks, self._statements.names)

    async def tombstone_names(
        self, conn: AsyncConnection, residual: Residual, pks: Sequence[int]
    ) -> Rows:
        """Of these, what is deleted and the caller may know of."""
        span = Span(as_of_us=0)
        return await self._of_pks(conn, residual, span, pks, self._statements.dead_names)

    async def matching(
        self, conn: AsyncConnection, residual: Residual, query: Query, pks: Sequence[int]
    ) -> set[int]:
        """Of these, what meets a search's criteria, as it is now."""
        found: set[int] = set()
        for some in _chunks(pks):
            statement = self._statements.matching(shape_of(residual), query, some)
            found |= set((await conn.execute(statement, bound(residual))).scalars())
        return found

    async def read(
        self, conn: AsyncConnection, residual: Residual, span: Span, pks: Sequence[int]
    ) -> list[tuple[int, Served]]:
        """Of these, what the caller may see now, each with its key, in the order of the keys."""
        rows = await self._of_pks(conn, residual, span, pks, self._statements.bodies)
        key = {(self._index.type_name(row.type_id), row.id): row.pk for row in rows}
        served = await self._server.serve(conn, residual, rows)
        return sorted(((key[one.type, one.id], one) for one in served), key=lambda pair: pair[0])

    async def _of_pks(
        self,
        conn: AsyncConnection,
        residual: Residual,
        span: Span,
        pks: Sequence[int],
        make: Callable[[Shape, int], Select[Any]],
    ) -> list[Row[Any]]:
        found: list[Row[Any]] = []
        for some in _chunks(pks):
            query = make(shape_of(residual), padded_length(some))
            found += await self._fetched(conn, residual, query, span, _named("k", some))
        return found

    async def _fetched(
        self,
        conn: AsyncConnection,
        residual: Residual,
        query: Select[Any],
        span: Span,
        values: dict[str, Any],
    ) -> Rows:
        rows: Rows = (await conn.execute(query, {**values, **span.values, **bound(residual)})).all()
        return rows


class _Statements:
    """Statements by shape of residual, built once."""

    def __init__(self, index: SearchIndex, visibility: Visibility, criteria: Criteria) -> None:
        self._visible = visibility.visible
        self._index = index
        self._criteria = criteria
        kept = lru_cache(KEPT)
        self.of_persons = kept(self._of_persons)
        self.tombstones = kept(self._tombstones)
        self.nobodys = kept(self._nobodys)
        self.referred = kept(self._referred)
        self.names = kept(self._names)
        self.dead_names = kept(self._dead_names)
        self.bodies = kept(self._bodies)

    def _of_persons(self, shape: Shape, types: Types, width: int) -> Select[Any]:
        r, query = self._as_it_was(shape)
        return query.where(*_in_records(r, width), r.c.type_id.in_(types))

    def _tombstones(self, shape: Shape, types: Types, width: int) -> Select[Any]:
        r, query = self._dead(shape)
        return query.where(*_in_records(r, width), r.c.type_id.in_(types))

    def _nobodys(self, shape: Shape, types: Types, is_deleted: bool) -> Select[Any]:
        r, query = self._dead(shape) if is_deleted else self._as_it_was(shape)
        after = (bindparam("type_id", type_=Integer), bindparam("after", type_=BigInteger))
        return (
            query.where(
                r.c.person_id.is_(None),
                r.c.type_id.in_(types),
                tuple_(r.c.type_id, r.c.pk) > tuple_(*after),
            )
            .order_by(r.c.type_id, r.c.pk)
            .limit(bindparam("limit", type_=Integer))
        )

    def _referred(self, shape: Shape, types: Types, width: int) -> Select[Any]:
        r, query = self._as_it_was(shape)
        targets = select(sp_ref.c.target_id).where(
            sp_ref.c.resource_pk.in_(_pks(width)), sp_ref.c.param_id == SUPPORTING
        )
        return query.where(r.c.id.in_(targets), r.c.type_id.in_(types))

    def _names(self, shape: Shape, width: int) -> Select[Any]:
        r, query = self._as_it_was(shape)
        return query.where(r.c.pk.in_(_pks(width)))

    def _dead_names(self, shape: Shape, width: int) -> Select[Any]:
        r = resource.alias("r")
        return select(*_name(r)).where(
            r.c.pk.in_(_pks(width)), r.c.deleted.is_(True), self._visible(shape, "r")
        )

    def _bodies(self, shape: Shape, width: int) -> Select[Any]:
        r, v, b = resource.alias("r"), resource_version.alias("v"), resource_version.alias("b")
        return (
            select(*columns(r, v, b))
            .join_from(r, v, _version(r, v))
            .join(b, and_(b.c.resource_pk == r.c.pk, b.c.version == v.c.body_version))
            .where(
                r.c.pk.in_(_pks(width)),
                r.c.deleted.is_(False),
                v.c.deleted.is_(False),
                self._visible(shape, "r", "v"),
            )
        )

    def matching(self, shape: Shape, query: Query, pks: Sequence[int]) -> Select[Any]:
        """Not kept: every filter is another statement."""
        r = resource.alias("r")
        visible = self._visible
        at = At(
            r=r,
            visible=lambda other, name: visible(shape, other.name, type_name=name),
            persons=query.persons,
            is_of_few=True,
        )
        met = (self._criteria.expression(at, criterion) for criterion in query.criteria)
        whose = [] if query.persons is None else [r.c.person_id.in_(query.persons)]
        return select(r.c.pk).where(
            r.c.pk.in_(pks),
            r.c.type_id == self._index.type_id(query.type),
            *whose,
            *met,
            visible(shape, "r"),
        )

    def _as_it_was(self, shape: Shape) -> tuple[Any, Select[Any]]:
        r, v = resource.alias("r"), resource_version.alias("v")
        query = (
            select(*_name(r), v.c.last_updated_us)
            .join_from(r, v, _version(r, v))
            .where(
                r.c.deleted.is_(False),
                # No version is newer than the newest: this spares the predicate most resources.
                r.c.last_updated_us > bindparam("since", type_=BigInteger),
                v.c.deleted.is_(False),
                v.c.last_updated_us > bindparam("since", type_=BigInteger),
                v.c.last_updated_us < bindparam("until", type_=BigInteger),
                self._visible(shape, "r", "v"),
            )
        )
        return r, query

    def _dead(self, shape: Shape) -> tuple[Any, Select[Any]]:
        r, v = resource.alias("r"), resource_version.alias("v")
        was_there = sql_exists(
            select(v.c.version).where(
                v.c.resource_pk == r.c.pk,
                v.c.deleted.is_(False),
                v.c.last_updated_us <= bindparam("since", type_=BigInteger),
            )
        )
        query = select(*_name(r)).where(
            r.c.deleted.is_(True),
            r.c.last_updated_us > bindparam("since", type_=BigInteger),
            r.c.last_updated_us <= bindparam("as_of", type_=BigInteger),
            was_there,
            self._visible(shape, "r"),
        )
        return r, query


def _name(r: Any) -> list[Any]:
    return [r.c.pk, r.c.type_id, r.c.id, r.c.person_id, r.c.source_record_id]


def _version(r: Any, v: Any) -> Any:
    """The version a resource had at the moment of the list."""
    x = resource_version.alias("x")
    newest = (
        select(func.max(x.c.version))
        .where(
            x.c.resource_pk == r.c.pk,
            x.c.last_updated_us <= bindparam("as_of", type_=BigInteger),
        )
        .correlate(r)
        .scalar_subquery()
    )
    return and_(v.c.resource_pk == r.c.pk, v.c.version == newest)


def _in_records(r: Any, width: int) -> list[Any]:
    persons = [bindparam(f"p_{n}", type_=String) for n in range(width)]
    return [in_records(r, persons)]


def _pks(width: int) -> list[Any]:
    return [bindparam(f"k_{n}", type_=BigInteger) for n in range(width)]


def _named(prefix: str, values: Sequence[Any]) -> dict[str, Any]:
    last = len(values) - 1
    return {f"{prefix}_{n}": values[min(n, last)] for n in range(padded_length(values))}


def _chunks(values: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(values), AT_ONCE):
        yield values[start : start + AT_ONCE]
