"""Searches of one shape: the same statement, other values.

Building a statement takes longer than running it. A search is therefore taken apart into its
shape - the same query with a name in the place of each value - and the values; one statement
serves all searches of a shape. Of criteria whose values decide the statement's form (prefixes
of text, keyed hashes) nothing is taken apart: such a search has no shape and is built each
time. Only `hie.store.repository` uses this file (pure).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from hie.store import query as q

#: The labels that a value of it means decide the statement's form.
SECURITY: Final = "_security"
#: Longer searches are rarely asked twice alike: they would only fill the memory.
MOST_VALUES: Final = 24

Take = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of a value: what the statement calls it, and of which Python type it is."""

    name: str
    kind: type


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A search without its values.

    Attributes:
        query: with a `Slot` in the place of each value; hashable.
        values: of the slots, by name.
    """

    query: q.Query
    values: dict[str, Any]


def shape_of_query(query: q.Query) -> Shape | None:
    """The shape of a search, or None where it has none worth keeping."""
    if not all(map(_has_shape, query.criteria)):
        return None
    values: dict[str, Any] = {}

    def take(value: Any) -> Slot:
        slot = Slot(f"q{len(values)}", type(value))
        values[slot.name] = value
        return slot

    shaped = _template(query, take)
    return Shape(query=shaped, values=values) if len(values) <= MOST_VALUES else None


def with_slots(query: q.Query, fill: Take) -> q.Query:
    """A query with what `fill` makes of each slot or value, to build the statement from."""
    return _template(query, fill)


def _has_shape(criterion: q.Criterion) -> bool:
    nested: tuple[q.Nested, ...] = ()
    if isinstance(criterion, q.Chain):
        nested = criterion.targets
    elif isinstance(criterion, q.Has):
        nested = (criterion.of,)
    return (
        type(criterion) in _TEMPLATES
        and criterion.param != SECURITY
        and all(_has_shape(one) for each in nested for one in each.criteria)
    )


def _template(query: q.Query, take: Take) -> q.Query:
    return replace(
        query,
        persons=None if query.persons is None else tuple(map(take, query.persons)),
        criteria=tuple(_TEMPLATES.get(type(one), _same)(one, take) for one in query.criteria),
        # No part of the statement.
        count=0,
        cursor=None,
        is_total_wanted=False,
        includes=(),
        domains=(),
    )


def _optional(value: str | None, take: Take) -> Any:
    return None if value is None else take(value)


def _token(c: Any, take: Take) -> q.Criterion:
    values = (
        replace(v, system=_optional(v.system, take), code=_optional(v.code, take)) for v in c.values
    )
    return replace(c, values=tuple(values))  # type: ignore[no-any-return]  # of the same class


def _range(value: Any, take: Take) -> Any:
    return replace(value, lo_us=take(value.lo_us), hi_us=take(value.hi_us))


def _dated(c: Any, take: Take) -> q.Criterion:
    return replace(c, values=tuple(_range(v, take) for v in c.values))  # type: ignore[no-any-return]  # of the same class


def _plain(c: Any, take: Take) -> q.Criterion:
    return replace(c, values=tuple(map(take, c.values)))  # type: ignore[no-any-return]  # of the same class


def _reference(c: Any, take: Take) -> q.Criterion:
    values = tuple(replace(v, id=take(v.id)) for v in c.values)
    return replace(c, values=values)  # type: ignore[no-any-return]  # of the same class


def _same(c: Any, _: Take) -> q.Criterion:
    return c  # type: ignore[no-any-return]  # of the same class


def _about(c: Any, take: Take) -> q.Criterion:
    return replace(c, persons=tuple(map(take, c.persons)))  # type: ignore[no-any-return]  # of the same class


def _chain(c: Any, take: Take) -> q.Criterion:
    targets = tuple(_nested(nested, take) for nested in c.targets)
    return replace(c, targets=targets)  # type: ignore[no-any-return]  # of the same class


def _has(c: Any, take: Take) -> q.Criterion:
    return replace(c, of=_nested(c.of, take))  # type: ignore[no-any-return]  # of the same class


def _nested(nested: q.Nested, take: Take) -> q.Nested:
    return replace(
        nested,
        persons=None if nested.persons is None else tuple(map(take, nested.persons)),
        criteria=tuple(_TEMPLATES.get(type(one), _same)(one, take) for one in nested.criteria),
    )


_TEMPLATES: Final[dict[type, Callable[[Any, Take], q.Criterion]]] = {
    q.Token: _token,
    q.Date: _dated,
    q.Uri: _plain,
    q.Reference: _reference,
    q.Missing: _same,
    q.Ids: _plain,
    q.LastUpdated: _dated,
    q.About: _about,
    q.Chain: _chain,
    q.Has: _has,
}
