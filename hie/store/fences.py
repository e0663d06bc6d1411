"""Where a database is to begin a search, for those that cannot know it.

PostgreSQL plans a prepared statement once for all values. Without the values it takes one code
for as rare as another, and what it takes for rare changes with each survey of its tables. What
is known here - few persons are asked for - is said so that no plan can turn it around: a list
made first (`first_in`) and no other column to begin at (`no_place`). SQLite plans by what is
written anyway.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    CompoundSelect,
    Select,
    String,
    Text,
    TypeDecorator,
    bindparam,
    func,
    or_,
    select,
    union_all,
)
from sqlalchemy import exists as sql_exists
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from hie.store.tables import compartment, resource

#: The name of the list that `among` is bound by.
AMONG: Final = "among"
Rows = Select[Any] | CompoundSelect[Any]
#: Conditions on an alias of `resource`.
Asked = Callable[[Any], Sequence[ColumnElement[bool]]]


def _whatever(_: Any) -> Sequence[ColumnElement[bool]]:
    return ()


def in_records(r: Any, persons: Sequence[Any]) -> ColumnElement[bool]:
    """Whether a resource is in the compartment of one of these persons: a list made first.

    As "is theirs, or is among those about them" it is a question of no one index, and was
    answered by looking at every resource.
    """
    found: ColumnElement[bool] = r.c.pk.in_(records_of(r, persons))
    return found


def records_of(
    r: Any, persons: Sequence[Any], *, is_own: bool = False, asked: Asked = _whatever
) -> Rows:
    """The keys of what is about these persons, or (`is_own`) their own alone.

    Args:
        r: the alias whose statement it is to stand in.
        persons: whom it is about.
        is_own: leave out what is another's own.
        asked: of their own, what is asked of each before it is in the list; of the few that
            are about others as well, nothing is.
    """
    own = resource.alias(f"{r.name}_own")
    theirs = select(own.c.pk).where(own.c.person_id.in_(persons), *asked(own))
    if is_own:
        return theirs
    shared = select(compartment.c.resource_pk).where(compartment.c.person_id.in_(persons))
    return union_all(theirs, shared)


def is_there(rows: Select[Any]) -> ColumnElement[bool]:
    """EXISTS of what is asked of each row that was found already, never turned into a join."""
    return sql_exists(rows.offset(0))


def first_in(pk: Any, rows: Rows) -> ColumnElement[bool]:
    """Whether a key is in a list that is made first, and that the search begins at.

    PostgreSQL takes an array for ten keys, whatever its statistics say: few enough to look
    each up by the primary key, and to look at nothing else. A list asks nothing of the row.
    """
    array = func.array(rows.scalar_subquery())
    return _ByDatabase(pk.in_(rows), pk == func.any(array))


def also_in(pk: Any, rows: Rows) -> ColumnElement[bool]:
    """Whether a key that was found by another list is in this one, which is made once."""
    listed = pk.in_(rows)
    return _ByDatabase(listed, listed.is_(True))  # as a condition alone it would become a join


def also_about(r: Any, persons: Sequence[Any], *, is_own: bool) -> ColumnElement[bool]:
    """Whether a resource that was found by a list is about one of these persons."""
    is_theirs = no_place(r.c.person_id).in_(persons)
    if is_own:
        return _ByDatabase(r.c.person_id.in_(persons), is_theirs)
    shared = select(compartment.c.person_id).where(
        compartment.c.resource_pk == r.c.pk, compartment.c.person_id.in_(persons)
    )
    return _ByDatabase(in_records(r, persons), or_(is_theirs, is_there(shared.correlate(r))))


def among(pk: Any) -> ColumnElement[bool]:
    """Whether a key is in the list of numbers that is bound as `AMONG`."""
    listed = bindparam(AMONG, type_=_Keys())
    each = func.json_each(listed).table_valued("value")
    return _ByDatabase(pk.in_(select(each.c.value)), pk == func.any(listed))


class _Keys(TypeDecorator[list[int]]):
    """A list of keys in one value: as long as it is, the statement stays the same."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        is_array = dialect.name == "postgresql"
        return dialect.type_descriptor(ARRAY(BigInteger) if is_array else Text())

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return value if dialect.name == "postgresql" else json.dumps(value)


class _ByDatabase(FunctionElement[bool]):
    """A condition in two forms: for SQLite and for PostgreSQL."""

    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:
        """Itself: it is a condition already, and SQLite enters no index by `(...) = 1`."""
        return self


@compiles(_ByDatabase)
def _first_form(element: Any, compiler: Any, **options: Any) -> str:
    first, _ = element.clauses  # no parentheses: SQLite's parser bears only so many
    return str(compiler.process(first, **options))


@compiles(_ByDatabase, "postgresql")
def _second_form(element: Any, compiler: Any, **options: Any) -> str:
    _, second = element.clauses
    return f"({compiler.process(second, **options)})"


class no_place(FunctionElement[Any]):  # noqa: N801 - named as it is called in a statement
    """A column at whose values PostgreSQL begins no search."""

    inherit_cache = True

    def __init__(self, column: Any) -> None:
        super().__init__(column)
        self.type = column.type


@compiles(no_place)
def _as_it_is(element: Any, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(no_place, "postgresql")
def _blunt(element: Any, compiler: Any, **options: Any) -> str:
    nothing = "|| ''" if isinstance(element.type, String) else "+ 0"
    return f"({compiler.process(element.clauses, **options)} {nothing})"


class no_range(FunctionElement[Any]):  # noqa: N801 - as above
    """A key at whose ranges SQLite begins no search: a list of keys stands beside it."""

    inherit_cache = True

    def __init__(self, column: Any) -> None:
        super().__init__(column)
        self.type = column.type


@compiles(no_range)
def _as_value(element: Any, compiler: Any, **options: Any) -> str:
    return f"(+{compiler.process(element.clauses, **options)})"


@compiles(no_range, "postgresql")
def _as_column(element: Any, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))
