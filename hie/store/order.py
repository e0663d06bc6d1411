"""In what order a search is told, and where a page begins: a keyset, never an offset.

The keys are the values sorted by and, always last, one that no two rows share; so each row has
one place, and a page begins right behind the last row of the page before it, whatever was
written meanwhile. Text is compared by code points on every database, for the same search has
one order. Only `hie.store.repository` uses this file.
Spec: https://hl7.org/fhir/R4/search.html#sort
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, String, and_, bindparam, func, not_, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from hie.store import query as q
from hie.store.tables import sp_date, sp_string, sp_token

Expr = ColumnElement[bool]
#: What stands in for a missing text, so that it comes last in either direction.
_LAST_TEXT: Final = "\U0010ffff"
_FIRST_TEXT: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The place of one row: its sort values, and what no other row has."""

    values: tuple[Any, ...] = ()
    tie: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """Where a page begins.

    Attributes:
        key: behind this place.
        as_of: the greatest primary key when the first page was read; what is newer stays out.
    """

    key: Key
    as_of: int


class _Binary(FunctionElement[str]):
    """A text that compares by its code points."""

    inherit_cache = True
    type = String()


@compiles(_Binary)
def _plain(element: Any, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(_Binary, "postgresql")
def _collated(element: Any, compiler: Any, **options: Any) -> str:
    return f'({compiler.process(element.clauses, **options)}) COLLATE "C"'


@dataclass(frozen=True, slots=True)
class Order:
    """The sort keys of one statement.

    Attributes:
        columns: what is sorted by.
        directions: of each, whether it is descending.
        tie: the key that breaks every tie.
    """

    columns: tuple[Any, ...]
    directions: tuple[bool, ...]
    tie: Any

    @property
    def labelled(self) -> list[Any]:
        """The sort values as columns of the result: `sort0` and so on."""
        return [column.label(f"sort{n}") for n, column in enumerate(self.columns)]

    @property
    def order_by(self) -> list[Any]:
        """ORDER BY, ending in the key that breaks every tie."""
        keys = zip(self.columns, self.directions, strict=True)
        return [c.desc() if down else c.asc() for c, down in keys] + [self.tie.asc()]

    def after(self) -> Expr:
        """Rows behind a place, whose values `bound_after` gives."""
        ways: list[Expr] = []
        equal: list[Expr] = []
        for n, (column, down) in enumerate(zip(self.columns, self.directions, strict=True)):
            value = bindparam(f"after{n}", type_=column.type)
            ways.append(and_(*equal, column < value if down else column > value))
            equal.append(column == value)
        tie = bindparam("after_tie", type_=self.tie.type)
        return or_(*ways, and_(*equal, self.tie > tie))

    def keys(self, row: Any) -> tuple[Any, ...]:
        """The sort values of a row."""
        return tuple(getattr(row, f"sort{n}") for n in range(len(self.columns)))


def bound_after(after: After) -> dict[str, Any]:
    """The values of a statement that begins behind a place."""
    values = {f"after{n}": value for n, value in enumerate(after.key.values)}
    return {**values, "after_tie": after.key.tie, "as_of": after.as_of}


def of_resources(r: Any, sort: Sequence[q.Sort]) -> Order:
    """The order of resources; unsorted, they come as they were first stored."""
    columns = tuple(_column(r, key) for key in sort)
    return Order(columns, tuple(key.is_descending for key in sort), r.c.pk)


def of_persons(r: Any, sort: Sequence[q.Sort]) -> Order:
    """The order of persons, over their visible records `r`, grouped; unsorted, by their ids.

    A golden Patient was updated when the last of its records was. By what else it says no
    database can sort, for it is put together for each caller: the parser refuses that.
    """
    by_name = {"_id": _Binary(r.c.person_id), "_lastUpdated": func.max(r.c.last_updated_us)}
    columns = tuple(by_name[key.param] for key in sort)
    return Order(columns, tuple(key.is_descending for key in sort), r.c.person_id)


def _column(r: Any, key: q.Sort) -> Any:
    if key.param == "_id":
        return _Binary(r.c.id)
    if key.param == "_lastUpdated":
        return r.c.last_updated_us
    return _value(r, key)


def _value(r: Any, key: q.Sort) -> Any:
    """The least (greatest when descending) value of a parameter; without one, it comes last."""
    pick = func.max if key.is_descending else func.min
    if key.kind == "date":
        column = sp_date.c.hi_us if key.is_descending else sp_date.c.lo_us
        absent = q.MIN_US if key.is_descending else q.MAX_US
        return func.coalesce(_picked(r, key, sp_date, pick(column)), absent)
    last = _FIRST_TEXT if key.is_descending else _LAST_TEXT
    if key.kind == "token":
        found = _picked(r, key, sp_token, pick(_Binary(sp_token.c.code)))
    else:
        # Beside its folded text a string has one as written, behind `=`.
        is_folded = not_(sp_string.c.value.startswith("="))
        found = _picked(r, key, sp_string, pick(_Binary(sp_string.c.value)), is_folded)
    return _Binary(func.coalesce(found, last))


def _picked(r: Any, key: q.Sort, table: Any, value: Any, *which: Expr) -> Any:
    theirs = (table.c.resource_pk == r.c.pk, table.c.param_id.in_(key.param_ids))
    return select(value).where(*theirs, *which).correlate(r).scalar_subquery()
