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

from hie.store.criteria import Criteria
from hie.store.index import SearchIndex
from hie.store.joins import Visible, about
from hie.store.order import Order, of_persons, of_resources
from hie.store.predicate import Shape as Sight
from hie.store.predicate import Visibility, shape_of
from hie.store.query import Chain, Criterion, Has, Missing, Query
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
            "count": lru_cache(_KEPT)(self._count),
            "persons": lru_cache(_KEPT)(self._persons),
        }
        self._fresh = {"page": self._page, "count": self._count, "persons": self._persons}

    def page(self, query: Query, residual: Residual, *, is_after: bool) -> Built:
        """A page of resources: `count`, and `as_of` with the place where one begins behind it."""
        return self._built("page", query, residual, is_after=is_after)

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
        order = of_resources(r, query.sort)
        page = current(r).where(*self._where(r, sight, query)).add_columns(*order.labelled)
        if is_after:
            page = page.where(order.after(), r.c.pk <= bindparam("as_of", type_=BigInteger))
        return page.order_by(*order.order_by).limit(bindparam("count", type_=Integer)), order

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
        persons = query.persons
        return [
            r.c.type_id == self._index.type_id(query.type),
            r.c.deleted.is_(False),
            *([] if persons is None else [about(r, persons, is_own=query.is_own)]),
            *self._met(r, query, visible),
            visible(r, query.type),
        ]

    def _met(self, r: Any, query: Query, visible: Visible) -> list[Any]:
        expression = self._criteria.expression
        type_id = self._index.type_id(query.type)
        lead = self._criteria.lead(query.criteria) if query.persons is None else None
        return [
            expression(
                r,
                c,
                query.persons,
                visible,
                sought_in=type_id if c is lead else None,
                of_type=type_id,
            )
            for c in query.criteria
        ]

    def _on(self, sight: Sight) -> Visible:
        return lambda r, type_name: self._visible(sight, r.name, type_name=type_name)

    def _persons_where(self, r: Any, sight: Sight, kept: Query) -> list[Any]:
        query, visible = with_slots(kept, _bind), self._on(sight)
        patient = self._index.type_id("Patient")
        where = [r.c.type_id == patient, r.c.deleted.is_(False), visible(r, query.type)]
        if query.persons is not None:
            where.append(r.c.person_id.in_(query.persons))
        leading = self._criteria.leading(query.criteria) if query.persons is None else None
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
            if criterion is leading:
                # Begin at its index rows: the others are asked of the few persons found there.
                met: Any = other.c.pk.in_(self._criteria.resources(leading, patient))
                found = select(other.c.person_id).where(met, *is_theirs)
                where.append(r.c.person_id.in_(found))
            elif is_joined and query.persons is None:
                met = self._criteria.expression(other, criterion, None, visible, sought_in=patient)
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
        met = self._criteria.expression(other, asked, None, visible)
        same = other.c.person_id == r.c.person_id
        one = exists(select(other.c.pk).where(same, met, *is_theirs).correlate(r))
        return not_(one) if is_none else one


def _bind(value: Any) -> Any:
    """A parameter of a kept statement; the value itself in one that is not kept."""
    return bindparam(value.name, type_=_TYPES[value.kind]) if isinstance(value, Slot) else value
