"""The statements of searches: every alias carries the predicate, before LIMIT.

A statement is built once for all searches of one shape and kept (`hie.store.shapes`). Only
`hie.store.repository` uses this file.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Integer,
    Numeric,
    Select,
    String,
    bindparam,
    exists,
    func,
    not_,
    select,
)

from hie.store.criteria import At, Criteria
from hie.store.fences import also_about, also_in, among, first_in, no_place, no_range, records_of
from hie.store.index import SearchIndex
from hie.store.joins import Visible
from hie.store.leading import first_of, lead, leading
from hie.store.order import Order, of_persons, of_resources
from hie.store.predicate import Shape as Sight
from hie.store.predicate import Visibility, shape_of
from hie.store.query import (
    About,
    Chain,
    Criterion,
    Has,
    Ids,
    LastUpdated,
    Missing,
    Query,
    Reference,
)
from hie.store.residual import Residual
from hie.store.shapes import Slot, shape_of_query, with_slots
from hie.store.statements import current
from hie.store.tables import resource

#: What a golden Patient says though no record need say it: a record is active unless it denies it.
GOLDEN_ALONE: Final = frozenset({"active"})
#: Statements kept of each kind; the rarest shapes are built anew.
_KEPT: Final = 512
_TYPES: Final[dict[type, Any]] = {str: String(), int: BigInteger(), Decimal: Numeric(30, 10)}


@dataclass(frozen=True, slots=True)
class Built:
    """A statement with the values of one search; `order` reads the places of its rows."""

    statement: Select[Any]
    order: Order
    values: dict[str, Any]


class SearchStatements:
    """Builds and keeps statements."""

    def __init__(self, index: SearchIndex, visibility: Visibility, criteria: Criteria) -> None:
        self._index = index
        self._visible = visibility.visible
        self._criteria = criteria
        self._kinds = {
            "page": lru_cache(_KEPT)(self._page),
            "among": lru_cache(_KEPT)(self._among),
            "count": lru_cache(_KEPT)(self._count),
            "persons": lru_cache(_KEPT)(self._persons),
        }
        self._fresh = {
            "page": self._page,
            "among": self._among,
            "count": self._count,
            "persons": self._persons,
        }

    def page(self, query: Query, residual: Residual, *, is_after: bool) -> Built:
        """A page of resources: `count`, and `as_of` with the place where one begins behind it."""
        return self._built("page", query, residual, is_after=is_after)

    def among(self, query: Query, residual: Residual, *, is_after: bool) -> Built:
        """As `page`, of the resources alone whose keys are bound as `fences.AMONG`."""
        return self._built("among", query, residual, is_after=is_after)

    def count(self, query: Query, residual: Residual) -> Built:
        """How many resources there are."""
        return self._built("count", replace(query, sort=()), residual, is_after=False)

    def persons(self, query: Query, residual: Residual, *, is_after: bool) -> Built:
        """A page of persons, as `page`."""
        return self._built("persons", query, residual, is_after=is_after)

    def _built(self, kind: str, query: Query, residual: Residual, *, is_after: bool) -> Built:
        sight = shape_of(residual)
        shape = shape_of_query(query)
        if shape is None:
            statement, order = self._fresh[kind](query, sight, is_after)
            return Built(statement, order, {})
        statement, order = self._kinds[kind](shape.query, sight, is_after)
        return Built(statement, order, shape.values)

    def _page(self, query: Query, sight: Sight, is_after: bool) -> tuple[Select[Any], Order]:
        r = resource.alias("r")
        where, is_listed = self._where(r, sight, query), query.persons is not None
        return _paged(r, query, where, is_after=is_after, is_listed=is_listed)

    def _among(self, query: Query, sight: Sight, is_after: bool) -> tuple[Select[Any], Order]:
        r = resource.alias("r")
        asked, visible = with_slots(query, _bind), self._on(sight)
        type_id = self._index.type_id(query.type)
        each = At(r=r, visible=visible, is_of_few=True, of_type=type_id)
        where = [
            among(r.c.pk),
            no_place(r.c.type_id) == type_id,
            r.c.deleted.is_(False),
            *(self._criteria.expression(each, c) for c in asked.criteria),
            visible(r, query.type),
        ]
        return _paged(r, query, where, is_after=is_after, is_listed=True)

    def _count(self, query: Query, sight: Sight, _: bool) -> tuple[Select[Any], Order]:
        r = resource.alias("r")
        counted = select(func.count()).select_from(r).where(*self._where(r, sight, query))
        return counted, Order((), (), r.c.pk)

    def _persons(self, query: Query, sight: Sight, is_after: bool) -> tuple[Select[Any], Order]:
        r = resource.alias("r")
        order = of_persons(r, query.sort)
        found = (
            select(r.c.person_id, *order.labelled)
            .where(*self._persons_where(r, sight, query))
            .group_by(r.c.person_id)
        )
        if is_after:
            # Among whole groups where they are sorted by one of theirs.
            found = found.having(order.after()) if order.columns else found.where(order.after())
        return found.order_by(*order.order_by).limit(bindparam("count", type_=Integer)), order

    def _where(self, r: Any, sight: Sight, kept: Query) -> list[Any]:
        query, visible = with_slots(kept, _bind), self._on(sight)
        found = self._of_anybody if query.persons is None else self._of_persons
        return [*found(r, query, visible), visible(r, query.type)]

    def _of_anybody(self, r: Any, query: Query, visible: Visible) -> list[Any]:
        type_id = self._index.type_id(query.type)
        begun = lead(query.criteria)
        each = At(
            r=r,
            visible=visible,
            is_of_few=any(map(_is_of_persons, query.criteria)),
            of_type=type_id,
        )
        sought = replace(each, type_id=type_id)
        met = (self._criteria.expression(sought if c is begun else each, c) for c in query.criteria)
        return [r.c.type_id == type_id, r.c.deleted.is_(False), *met]

    def _of_persons(self, r: Any, query: Query, visible: Visible) -> list[Any]:
        """Begins at ids, at the list of what is theirs, or of what of it meets a criterion."""
        persons, type_id = query.persons or (), self._index.type_id(query.type)
        is_theirs = also_about(r, persons, is_own=query.is_own)
        each = At(r=r, visible=visible, persons=persons, of_type=type_id)
        if any(isinstance(c, Ids) for c in query.criteria):
            met = (self._criteria.expression(each, c) for c in query.criteria)
            return [r.c.type_id == type_id, r.c.deleted.is_(False), is_theirs, *met]
        begun = first_of(query.criteria, self._criteria.guarded, self._index)
        first = replace(each, listed=first_in, type_id=type_id)
        if begun is None:
            is_theirs = self._theirs(each, query, type_id)
        # What refers to one visit is few, each looked at; what is of a code may be a whole chart.
        is_few = isinstance(begun, Reference)
        each = (
            replace(each, persons=None, is_of_few=True) if is_few else replace(each, listed=also_in)
        )
        return [
            no_place(r.c.type_id) == type_id,
            r.c.deleted.is_(False),
            is_theirs,
            *(self._criteria.expression(first if c is begun else each, c) for c in query.criteria),
        ]

    def _theirs(self, each: At, query: Query, type_id: int) -> Any:
        """Begins at the list of what is theirs, of the type and the time that is asked for."""

        def asked(own: Any) -> list[Any]:
            at = replace(each, r=own)
            times = [c for c in query.criteria if isinstance(c, LastUpdated)]
            met = (self._criteria.expression(at, c) for c in times)
            return [own.c.type_id == type_id, *met]

        rows = records_of(each.r, each.persons or (), is_own=query.is_own, asked=asked)
        return first_in(each.r.c.pk, rows)

    def _on(self, sight: Sight) -> Visible:
        return lambda r, type_name: self._visible(sight, r.name, type_name=type_name)

    def _persons_where(self, r: Any, sight: Sight, kept: Query) -> list[Any]:
        query, visible = with_slots(kept, _bind), self._on(sight)
        patient = self._index.type_id("Patient")
        where = [r.c.type_id == patient, r.c.deleted.is_(False), visible(r, query.type)]
        if query.persons is not None:
            where.append(r.c.person_id.in_(query.persons))
        begun = leading(query.criteria) if query.persons is None else None
        for position, criterion in enumerate(query.criteria):
            if criterion.param in GOLDEN_ALONE:
                continue
            other = resource.alias(f"r{position}")
            is_theirs = [
                other.c.type_id == patient,
                other.c.deleted.is_(False),
                visible(other, query.type),
            ]
            is_joined = isinstance(criterion, Chain | Has)
            if criterion is begun:
                # Begin at its index rows: the others are asked of the few persons found there.
                met: Any = other.c.pk.in_(self._criteria.resources(begun, patient))
                found = select(other.c.person_id).where(met, *is_theirs)
                where.append(r.c.person_id.in_(found))
            elif is_joined and query.persons is None:
                sought = At(r=other, visible=visible, type_id=patient)
                met = self._criteria.expression(sought, criterion)
                found = select(other.c.person_id).where(met, *is_theirs)
                where.append(r.c.person_id.in_(found))
            else:
                where.append(self._one_meets(r, other, criterion, visible, is_theirs))
        return where

    def _one_meets(
        self, r: Any, other: Any, criterion: Criterion, visible: Visible, is_theirs: list[Any]
    ) -> Any:
        """Whether a record of the person meets a criterion, which may be another than `r`."""
        # References are those of all records: none is there only where no record has one.
        asked, is_none = criterion, False
        if isinstance(criterion, Missing) and criterion.kind == "ref" and criterion.is_missing:
            asked, is_none = replace(criterion, is_missing=False), True
        met = self._criteria.expression(At(r=other, visible=visible), asked)
        same = other.c.person_id == r.c.person_id
        one = exists(select(other.c.pk).where(same, met, *is_theirs).correlate(r))
        return not_(one) if is_none else one


def _paged(
    r: Any, query: Query, where: list[Any], *, is_after: bool, is_listed: bool
) -> tuple[Select[Any], Order]:
    """A page of what meets some conditions, in order; `is_listed`: a list of keys is one."""
    order = of_resources(r, query.sort)
    page = current(r).where(*where).add_columns(*order.labelled)
    if is_after:
        pk = no_range(r.c.pk) if is_listed else r.c.pk
        as_of = bindparam("as_of", type_=BigInteger)
        page = page.where(replace(order, tie=pk).after(), pk <= as_of)
    return page.order_by(*order.order_by).limit(bindparam("count", type_=Integer)), order


def _is_of_persons(criterion: Criterion) -> bool:
    """Whether a criterion leaves the resources of some persons, found before."""
    if isinstance(criterion, Chain):
        return all(n.type == "Patient" and n.persons is not None for n in criterion.targets)
    return isinstance(criterion, About)


def _bind(value: Any) -> Any:
    """A parameter of a kept statement; the value itself in one that is not kept."""
    return bindparam(value.name, type_=_TYPES[value.kind]) if isinstance(value, Slot) else value
