"""Searches that name nobody: followed along an index, in their own order, until a page is full.

A code that a tenth of all resources have is no place to begin at, if all of them are to be
looked at for one page. So the index rows are read a few at a time in the order of the search:
those of the code by primary key, or those of a date. What is found there is asked everything
else - the other criteria and the caller's predicate - by the statement of any page, held to
these few (`fences.among`). A code that few resources have is looked up whole. As a page begins
behind a place (`hie.store.order`), what was walked and the rest of a search join without a seam.
Only `hie.store.repository` uses this file.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CompoundSelect,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    or_,
    select,
    union,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.store.criteria import Criteria
from hie.store.fences import AMONG
from hie.store.index import SearchIndex
from hie.store.leading import codes, is_walked
from hie.store.loader import Rows
from hie.store.order import After, Key, Order, bound_after
from hie.store.predicate import bound
from hie.store.query import Query, Sort, Token
from hie.store.residual import Residual
from hie.store.searches import Built, SearchStatements
from hie.store.tables import sp_date, sp_token

#: Every primary key is smaller.
_ABOVE_ALL: Final = 2**63 - 1
#: The form of a code's values: parameter, and whether a system is asked for.
_Legs = tuple[tuple[int, bool], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How far a walk goes at a time.

    Attributes:
        few: a code of fewer resources is looked up whole.
        first: index rows of a code's first step. Each later step, and the first by a date, has
            `growth` times as many, up to `most`.
        far: index rows of a date after which a walk is given up: what is asked for is rare.
    """

    few: int = 1024
    first: int = 64
    growth: int = 4
    most: int = 4096
    far: int = 8192


@dataclass(slots=True)
class _Asked:
    """One page that is asked for, and the rows of it that were found."""

    conn: AsyncConnection
    query: Query
    residual: Residual
    after: After | None
    found: list[Any]

    @property
    def missing(self) -> int:
        """Rows still to be found: one more than a page has tells that another follows."""
        return self.query.count + 1 - len(self.found)

    @property
    def as_of(self) -> int:
        return _ABOVE_ALL if self.after is None else self.after.as_of

    def behind(self, *values: Any, tie: int) -> After:
        return After(key=Key(values=values, tie=tie), as_of=self.as_of)


class Walks:
    """Reads pages of searches over a type other than Patient."""

    def __init__(
        self, statements: SearchStatements, criteria: Criteria, index: SearchIndex, pace: Pace
    ) -> None:
        self._statements = statements
        self._guarded = criteria.guarded
        self._index = index
        self._pace = pace
        self._coded = lru_cache(256)(_coded)
        self._dated = lru_cache(256)(_dated)

    async def page(
        self, conn: AsyncConnection, residual: Residual, query: Query, after: After | None
    ) -> tuple[Rows, Order]:
        """The rows of a page and one more where there is one, and the order they are in."""
        asked = _Asked(conn, query, residual, after, [])
        if is_walked(query):
            order = await self._walked(asked)
            if order is not None:
                return asked.found, order
        return asked.found, await self._whole(asked, after)

    async def _walked(self, asked: _Asked) -> Order | None:
        """Walk as far as it is worth; the order, or None where the whole search is to be asked."""
        query = asked.query
        tokens = codes(query, self._guarded)
        sparse = tokens[0] if tokens else None
        if query.sort or len(tokens) > 1:
            furthest = -1
            for token in tokens:
                reach = await self._reach(asked, token)
                if reach is None:
                    keys = await self._keys_of(asked, token, -1, self._pace.few)
                    return await self._among(asked, keys, asked.after)
                if reach > furthest:  # as many of it reach further: it is the rarer one
                    sparse, furthest = token, reach
        if not query.sort and sparse is not None:
            return await self._along_code(asked, sparse)
        if len(query.sort) == 1 and _is_walkable(query.sort[0]):
            return await self._along_date(asked, query.sort[0])
        return None

    async def _along_code(self, asked: _Asked, token: Token) -> Order:
        """Walk the resources of a code as they were first stored, to the last one if need be."""
        behind = asked.after.key.tie if asked.after else -1
        size = max(self._pace.first, asked.missing)
        while True:
            keys = await self._keys_of(asked, token, behind, size)
            order = await self._among(asked, keys, None)
            if len(keys) < size or not asked.missing:
                return order
            behind, size = keys[-1], min(size * self._pace.growth, max(size, self._pace.most))

    async def _along_date(self, asked: _Asked, key: Sort) -> Order | None:
        """Walk by a date; what is not found within reach, the whole search finds behind it."""
        place, walked = asked.after, 0
        size = max(self._pace.first * self._pace.growth, asked.missing)
        while walked < self._pace.far:
            steps = await self._steps(asked, key, place, size)
            # Of several dates a resource is sorted by one: behind the others it was told.
            order = await self._among(asked, [pk for _, pk in steps], place)
            if not asked.missing:
                return order
            walked += size
            if steps:
                place = asked.behind(steps[-1][0], tie=steps[-1][1])
            if len(steps) < size:
                break  # what has no date follows
            size = min(size * self._pace.growth, max(size, self._pace.most))
        return await self._whole(asked, place)

    async def _keys_of(self, asked: _Asked, token: Token, behind: int, size: int) -> list[int]:
        """Keys of resources that a code is of, by the index alone: some are hidden."""
        return await self._by_code(asked, token, behind, size, is_last=False)

    async def _reach(self, asked: _Asked, token: Token) -> int | None:
        """The key of a code's last resource of a few; None where it has less."""
        keys = await self._by_code(asked, token, -1, self._pace.few, is_last=True)
        return keys[0] if keys else None

    async def _by_code(
        self, asked: _Asked, token: Token, behind: int, size: int, *, is_last: bool
    ) -> list[int]:
        pairs = [(param, value) for param in token.param_ids for value in token.values]
        legs = tuple((param, value.system is not None) for param, value in pairs)
        query = self._coded(self._index.type_id(asked.query.type), legs, is_last=is_last)
        values: dict[str, Any] = {"behind": behind, "as_of": asked.as_of, "size": size}
        values |= {"before": size - 1} if is_last else {}
        for n, (_, value) in enumerate(pairs):
            values[f"code{n}"] = value.code
            if value.system is not None:
                values[f"system{n}"] = value.system
        return list((await asked.conn.execute(query, values)).scalars())

    async def _steps(
        self, asked: _Asked, key: Sort, place: After | None, size: int
    ) -> Sequence[tuple[int, int]]:
        """Dates with the keys of their resources, in order, from behind a place."""
        type_id = self._index.type_id(asked.query.type)
        query = self._dated(
            type_id, key.param_ids[0], is_descending=key.is_descending, is_after=place is not None
        )
        values: dict[str, Any] = {"size": size}
        if place is not None:
            values |= {"value": place.key.values[0], "tie": place.key.tie}
        rows = (await asked.conn.execute(query, values)).all()
        return [(row[0], row[1]) for row in rows]

    async def _among(self, asked: _Asked, keys: Iterable[int], after: After | None) -> Order:
        """Find, of some resources, those that the search is for."""
        built = self._statements.among(asked.query, asked.residual, is_after=after is not None)
        listed = list(dict.fromkeys(keys))
        if listed:
            await _find(asked, built, after, {AMONG: listed})
        return built.order

    async def _whole(self, asked: _Asked, after: After | None) -> Order:
        """Find what the search is for behind a place."""
        built = self._statements.page(asked.query, asked.residual, is_after=after is not None)
        await _find(asked, built, after, {})
        return built.order


async def _find(asked: _Asked, built: Built, after: After | None, more: dict[str, Any]) -> None:
    place = {} if after is None else bound_after(after)
    values = {**built.values, **place, **bound(asked.residual), **more, "count": asked.missing}
    asked.found += (await asked.conn.execute(built.statement, values)).all()


def _is_walkable(key: Sort) -> bool:
    return key.kind == "date" and len(key.param_ids) == 1


def _coded(type_id: int, legs: _Legs, *, is_last: bool) -> Select[Any] | CompoundSelect[Any]:
    """Keys behind a key that one of some codes is of, each code read in its own order.

    `is_last`: of so many the last one alone, if there are as many.
    """
    each = [_leg(type_id, n, param, has_system=has) for n, (param, has) in enumerate(legs)]
    found: Select[Any] | CompoundSelect[Any] = each[0]
    if len(each) > 1:
        size = bindparam("size", type_=Integer)
        merged = union(*(select(one.subquery().c.resource_pk) for one in each))
        found = merged.order_by("resource_pk").limit(size)
    if not is_last:
        return found
    key = found.subquery().c.resource_pk
    return select(key).order_by(key).offset(bindparam("before", type_=Integer)).limit(1)


def _leg(type_id: int, number: int, param: int, *, has_system: bool) -> Select[Any]:
    t = sp_token.c
    where = [
        t.param_id == param,
        t.code == bindparam(f"code{number}", type_=String),
        t.type_id == type_id,
        t.resource_pk > bindparam("behind", type_=BigInteger),
        t.resource_pk <= bindparam("as_of", type_=BigInteger),
    ]
    if has_system:
        where.append(t.system == bindparam(f"system{number}", type_=String))
    found = select(t.resource_pk).where(*where).distinct()
    return found.order_by(t.resource_pk).limit(bindparam("size", type_=Integer))


def _dated(type_id: int, param: int, *, is_descending: bool, is_after: bool) -> Select[Any]:
    t = sp_date.c
    column = t.hi_us if is_descending else t.lo_us
    query = select(column, t.resource_pk).where(t.param_id == param, t.type_id == type_id)
    if is_after:
        value = bindparam("value", type_=BigInteger)
        beyond = column < value if is_descending else column > value
        # Said twice: from the first an index is entered, the second sorts out its ties.
        query = query.where(
            column <= value if is_descending else column >= value,
            or_(beyond, and_(column == value, t.resource_pk > bindparam("tie", type_=BigInteger))),
        )
    by = column.desc() if is_descending else column.asc()
    return query.order_by(by, t.resource_pk).limit(bindparam("size", type_=Integer))
