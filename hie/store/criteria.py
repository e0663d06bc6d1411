"""Search criteria and sort orders as SQL expressions on one alias of `resource`.

With a person asked for, token and date rows are found by the person-leading index; else by
the value-leading one. Only `hie.store.repository` uses this file.
Spec: https://hl7.org/fhir/R4/search.html
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Table, and_, false, func, not_, or_, select
from sqlalchemy import exists as sql_exists

from hie.crypto import KeyRing
from hie.kernel.errors import Category, HieError
from hie.store import query as q
from hie.store.index import SearchIndex
from hie.store.tables import (
    sp_date,
    sp_number,
    sp_quantity,
    sp_ref,
    sp_string,
    sp_token,
    sp_uri,
)

Expr = ColumnElement[bool]
Persons = Sequence[str] | None
_TABLES: dict[str, Table] = {
    "token": sp_token,
    "blind": sp_token,
    "date": sp_date,
    "string": sp_string,
    "number": sp_number,
    "quantity": sp_quantity,
    "uri": sp_uri,
    "ref": sp_ref,
}
#: From this breadth on a criterion is no place to begin a search at.
_BROAD = 8
#: What stands in for a missing sort value, after or before everything.
_LAST_TEXT, _FIRST_TEXT = "\uffff", ""


@dataclass(frozen=True, slots=True)
class Order:
    """How a search is sorted, and how its pages join: a keyset, never an offset."""

    columns: tuple[Any, ...]
    directions: tuple[bool, ...]  # is descending
    pk: Any

    @property
    def order_by(self) -> list[Any]:
        """ORDER BY, ending in the key that breaks every tie."""
        keys = zip(self.columns, self.directions, strict=True)
        return [c.desc() if down else c.asc() for c, down in keys] + [self.pk.asc()]

    def cursor(self, row: Row[Any]) -> str:
        """Where the next page starts: the sort values of this page's last row."""
        return json.dumps([*(row._mapping[c.name] for c in self.columns), row.pk])  # noqa: SLF001 - its public name

    def after(self, cursor: str) -> Expr:
        """Rows that come after a cursor.

        Raises:
            HieError: INVALID when it is not a cursor of this order.
        """
        try:
            *values, pk = json.loads(cursor)
            keys = list(zip(self.columns, self.directions, values, strict=True))
        except (ValueError, TypeError) as error:
            raise HieError(Category.INVALID, "the page link does not fit this search") from error
        ways: list[Expr] = []
        equal: list[Expr] = []
        for column, down, value in keys:
            ways.append(and_(*equal, column < value if down else column > value))
            equal.append(column == value)
        return or_(*ways, and_(*equal, self.pk > pk))


class Criteria:
    """Turns criteria into expressions."""

    def __init__(self, index: SearchIndex, ring: KeyRing) -> None:
        self._index = index
        self._ring = ring

    def expression(self, r: Any, criterion: q.Criterion, persons: Persons) -> Expr:
        """Whether a resource meets a criterion.

        Args:
            r: the alias of `resource`.
            criterion: what is asked.
            persons: whose resources are asked for, to pick the index; None = anybody's.
        """
        build: dict[type, Callable[[Any, Any, Persons], Expr]] = {
            q.Token: self._token,
            q.Keyed: self._keyed,
            q.Date: self._date,
            q.String: self._string,
            q.Number: self._number,
            q.Quantity: self._quantity,
            q.Uri: self._uri,
            q.Reference: self._reference,
            q.Missing: self._missing,
            q.Ids: lambda row, c, _: row.c.id.in_(c.values),
            q.LastUpdated: self._last_updated,
        }
        return build[type(criterion)](r, criterion, persons)

    def leading(self, criteria: Sequence[q.Criterion]) -> q.Keyed | None:
        """The criterion that fewest persons meet, as far as its keys tell; None = none stands out.

        Neither database can know: a keyed hash has no prefix and no order.
        """
        keyed = [c for c in criteria if isinstance(c, q.Keyed) and not c.is_not and c.keys]
        best = min(keyed, key=_breadth, default=None)
        return best if best is not None and _breadth(best) < _BROAD else None

    def resources(self, criterion: q.Keyed, type_id: int) -> Select[Any]:
        """Primary keys of the resources of a type that meet a criterion, from the index rows."""
        return select(sp_token.c.resource_pk).where(
            sp_token.c.param_id.in_(criterion.param_ids),
            sp_token.c.type_id == type_id,
            sp_token.c.code.in_(self._hashes(criterion)),
        )

    def order(self, r: Any, query: q.Query) -> Order:
        """The sort of a query; unsorted searches come in the order they were stored."""
        columns, directions = [], []
        for n, key in enumerate(query.sort):
            if key.param == "_id":
                column = r.c.id
            elif key.param == "_lastUpdated":
                column = r.c.last_updated_us
            else:
                column = _sort_value(r, key)
            columns.append(column.label(f"sort{n}"))
            directions.append(key.is_descending)
        return Order(tuple(columns), tuple(directions), r.c.pk)

    def _token(self, r: Any, c: q.Token, persons: Persons) -> Expr:
        values = [_token_value(v) for v in c.values]
        met = self._rows(sp_token, r, c.param_ids, or_(false(), *values), persons)
        return not_(met) if c.is_not else met

    def _keyed(self, r: Any, c: q.Keyed, persons: Persons) -> Expr:
        codes = sp_token.c.code.in_(self._hashes(c))
        met = self._rows(sp_token, r, c.param_ids, codes, persons)
        return not_(met) if c.is_not else met

    def _hashes(self, c: q.Keyed) -> list[str]:
        return [self._ring.blind("sp", str(param), key) for param in c.param_ids for key in c.keys]

    def _date(self, r: Any, c: q.Date, persons: Persons) -> Expr:
        t = sp_date.c
        values = [ranges(t.lo_us, t.hi_us, v.prefix, v.lo_us, v.hi_us) for v in c.values]
        return self._rows(sp_date, r, c.param_ids, or_(false(), *values), persons)

    def _string(self, r: Any, c: q.String, _: Persons) -> Expr:
        column = sp_string.c.value
        by_mode: dict[q.StringMode, Callable[[str], Expr]] = {
            q.StringMode.STARTS: lambda v: column.startswith(v, autoescape=True),
            q.StringMode.CONTAINS: lambda v: column.contains(v, autoescape=True),
            q.StringMode.EXACT: lambda v: column == v,
        }
        values = [by_mode[c.mode](v) for v in c.values]
        return self._rows(sp_string, r, c.param_ids, or_(false(), *values))

    def _number(self, r: Any, c: q.Number, _: Persons) -> Expr:
        t = sp_number.c
        values = [ranges(t.lo, t.hi, v.prefix, v.lo, v.hi) for v in c.values]
        return self._rows(sp_number, r, c.param_ids, or_(false(), *values))

    def _quantity(self, r: Any, c: q.Quantity, _: Persons) -> Expr:
        t = sp_quantity.c
        values = [
            and_(
                ranges(t.lo, t.hi, v.number.prefix, v.number.lo, v.number.hi),
                *([t.code == v.code] if v.code is not None else []),
                *([t.system == v.system] if v.system is not None else []),
            )
            for v in c.values
        ]
        return self._rows(sp_quantity, r, c.param_ids, or_(false(), *values))

    def _uri(self, r: Any, c: q.Uri, _: Persons) -> Expr:
        return self._rows(sp_uri, r, c.param_ids, sp_uri.c.value.in_(c.values))

    def _reference(self, r: Any, c: q.Reference, _: Persons) -> Expr:
        t = sp_ref.c
        values = [
            and_(
                t.target_id == v.id,
                *(
                    [t.target_type_id.in_([self._index.type_id(name) for name in v.types])]
                    if v.types
                    else []
                ),
            )
            for v in c.values
        ]
        return self._rows(sp_ref, r, c.param_ids, or_(false(), *values))

    def _missing(self, r: Any, c: q.Missing, _: Persons) -> Expr:
        table = _TABLES[c.kind]
        has = sql_exists().where(table.c.resource_pk == r.c.pk, table.c.param_id.in_(c.param_ids))
        return not_(has) if c.is_missing else has

    def _last_updated(self, r: Any, c: q.LastUpdated, _: Persons) -> Expr:
        at = r.c.last_updated_us
        return or_(*(ranges(at, at + 1, v.prefix, v.lo_us, v.hi_us) for v in c.values))

    def _rows(
        self, table: Table, r: Any, params: Sequence[int], met: Expr, persons: Persons = None
    ) -> Expr:
        """Whether the resource has an index row that meets `met`."""
        rows = select(table.c.resource_pk).where(
            table.c.param_id.in_(params), table.c.type_id == r.c.type_id, met
        )
        if persons is not None and "person_id" in table.c:
            return r.c.pk.in_(rows.where(table.c.person_id.in_(persons)))  # type: ignore[no-any-return]
        return sql_exists(rows.where(table.c.resource_pk == r.c.pk).correlate(r))


def _breadth(criterion: q.Keyed) -> int:
    """How many may meet a criterion, as a rough magnitude, by the form of its keys."""
    widest = max(_width(key) for key in criterion.keys)
    return widest + len(criterion.keys).bit_length()


def _width(key: str) -> int:
    """Numbers and whole texts narrow most, then days, then prefixes and years."""
    kind, _, text = key.partition(":")
    if kind in ("s", "v"):
        return 0
    if kind in ("f", "x"):
        return 1
    if kind == "p":
        return max(1, 7 - len(text))
    return {10: 1, 7: 4}.get(len(text), 6)  # a day, a month, a year


def _token_value(value: q.TokenValue) -> Expr:
    parts = []
    if value.system is not None:
        parts.append(sp_token.c.system == value.system)
    if value.code is not None:
        parts.append(sp_token.c.code == value.code)
    return and_(*parts)


def _sort_value(r: Any, key: q.Sort) -> Any:
    """The least (greatest when descending) value of a parameter; without one, it comes last."""
    pick = func.max if key.is_descending else func.min
    if key.kind == "date":
        column = sp_date.c.hi_us if key.is_descending else sp_date.c.lo_us
        table, absent = sp_date, (q.MIN_US if key.is_descending else q.MAX_US)
    else:
        table = sp_token if key.kind == "token" else sp_string
        column = table.c.code if key.kind == "token" else table.c.value
        absent = _FIRST_TEXT if key.is_descending else _LAST_TEXT  # type: ignore[assignment]  # of either column
    value = (
        select(pick(column))
        .where(table.c.resource_pk == r.c.pk, table.c.param_id.in_(key.param_ids))
        .correlate(r)
        .scalar_subquery()
    )
    return func.coalesce(value, absent)


def ranges(lo: Any, hi: Any, prefix: q.Prefix, value_lo: Any, value_hi: Any) -> Expr:
    """A stored range compared with the asked one, as `Prefix` defines it."""
    inside = and_(lo >= value_lo, hi <= value_hi)
    above, below = hi > value_hi, lo < value_lo
    by_prefix: dict[q.Prefix, Expr] = {
        q.Prefix.EQ: inside,
        q.Prefix.NE: not_(inside),
        q.Prefix.GT: above,
        q.Prefix.LT: below,
        q.Prefix.GE: or_(above, inside),
        q.Prefix.LE: or_(below, inside),
        q.Prefix.SA: lo >= value_hi,
        q.Prefix.EB: hi <= value_lo,
        q.Prefix.AP: and_(lo < value_hi, hi > value_lo),
    }
    return by_prefix[prefix]
