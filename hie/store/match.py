"""What each criterion of a search means, on index values in memory (pure).

This is the definition that the SQL of `hie.store.criteria` follows. The hub itself asks it of
golden Patients, which are in no index table (`matches`); whoever holds all that a caller may
see can ask it of any search (`is_found`).
Spec: https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from hie.store import blind
from hie.store import query as q
from hie.store.index import IndexValue
from hie.store.query import Criterion, Prefix, Served

Rows = Sequence[IndexValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A resource as a caller sees it.

    Attributes:
        values: its index values; of a golden Patient its own, and the references of every
            record it is built of.
        persons: whom it is about, its own person first.
        names: ids that references to it may have: its own, and of a golden Patient those of
            its records.
    """

    served: Served
    values: Rows
    persons: tuple[str, ...] = ()
    names: frozenset[str]


class World(Protocol):
    """All that a caller may see."""

    def of_type(self, type_name: str, /) -> Iterable[Seen]:
        """The resources of a type; of Patient the golden ones."""
        ...


def matches(values: Rows, served: Served, criteria: Sequence[Criterion]) -> bool:
    """Whether a golden Patient with these index values meets every criterion.

    What is asked by references is taken as met: the database asked it of the Patient's records,
    of each of which the references hold.
    """
    seen = Seen(
        served=served, values=values, persons=(served.person_id,), names=frozenset({served.id})
    )
    return all(_is_by_reference(c) or _meets(seen, c, _NOTHING) for c in criteria)


def is_found(seen: Seen, query: q.Query | q.Nested, world: World) -> bool:
    """Whether a resource is one that a search, or the far end of a chain, asks for."""
    if seen.served.type != query.type or not _is_about(seen, query.persons, is_own=query.is_own):
        return False
    return all(_meets(seen, criterion, world) for criterion in query.criteria)


class _Nothing:
    def of_type(self, _: str, /) -> Iterable[Seen]:
        return ()


_NOTHING: Final = _Nothing()


def _is_by_reference(criterion: Criterion) -> bool:
    if isinstance(criterion, q.Missing):
        return criterion.kind == "ref"
    return isinstance(criterion, q.Reference | q.Chain | q.Has)


def _meets(seen: Seen, criterion: Criterion, world: World) -> bool:
    whole = _WHOLES.get(type(criterion))
    if whole is not None:
        return whole(seen, criterion, world)
    test, rows = _TESTS[type(criterion)], _rows(seen, getattr(criterion, "param_ids", ()))
    is_met = any(test(row, criterion) for row in rows)
    return is_met is not getattr(criterion, "is_not", False)


def _is_updated(seen: Seen, criterion: Any, _: World) -> bool:
    at = seen.served.last_updated_us
    return any(in_range(at, at + 1, v.prefix, v.lo_us, v.hi_us) for v in criterion.values)


def _refers(seen: Seen, criterion: Any, world: World) -> bool:
    named = _with_records(criterion.values, world)
    rows = _rows(seen, criterion.param_ids)
    return any(_points_to(row, named) and _is_shown(row, seen, world) for row in rows)


def _rows(seen: Seen, params: Sequence[int]) -> list[IndexValue]:
    return [value for value in seen.values if value.param_id in params]


def _is_about(seen: Seen, persons: Sequence[str] | None, *, is_own: bool) -> bool:
    own = seen.persons[:1] if is_own else seen.persons
    return persons is None or not set(own).isdisjoint(persons)


def _is_joined(seen: Seen, criterion: Any, world: World) -> bool:
    if isinstance(criterion, q.Has):
        others = (o for o in world.of_type(criterion.of.type) if _leads(o, criterion, seen))
        return any(is_found(other, criterion.of, world) for other in others)
    return any(
        _leads(seen, criterion, target) and is_found(target, nested, world)
        for nested in criterion.targets
        for target in world.of_type(nested.type)
    )


def _leads(source: Seen, criterion: q.Chain | q.Has, target: Seen) -> bool:
    """Whether the reference that a criterion goes by leads from one resource to the other."""
    if target.served.type == "Patient" and criterion.person:
        return _is_about(source, [target.served.id], is_own=criterion.person == "first")
    return any(
        row.target is not None
        and row.target[0] == target.served.type
        and row.target[1] in target.names
        for row in _rows(source, criterion.param_ids)
    )


def _is_missing(seen: Seen, criterion: Any, world: World) -> bool:
    rows = _rows(seen, (*criterion.param_ids, *criterion.logical_ids))
    has = any(_is_shown(row, seen, world) for row in rows)
    return (has or (criterion.is_person and bool(seen.persons))) is not criterion.is_missing


def _is_shown(row: IndexValue, seen: Seen, world: World) -> bool:
    """Whether a row is none of a reference to what is hidden, which is not shown either."""
    if row.target is None:
        return True
    kind, key = row.target
    is_own = kind == "Patient" and key == seen.served.source_record_id
    return is_own or any(key in other.names for other in world.of_type(kind))


def _with_records(values: Sequence[q.ReferenceValue], world: World) -> list[q.ReferenceValue]:
    """References asked for; those to a Patient by every record it is built of."""
    named = []
    for value in values:
        if not value.types or "Patient" in value.types:
            for patient in world.of_type("Patient"):
                if value.id in patient.names:
                    named += [q.ReferenceValue(types=("Patient",), id=i) for i in patient.names]
        named.append(value)
    return named


def _points_to(row: IndexValue, values: Sequence[q.ReferenceValue]) -> bool:
    return row.target is not None and any(
        row.target[1] == value.id and (not value.types or row.target[0] in value.types)
        for value in values
    )


def _token(row: IndexValue, criterion: Any) -> bool:
    return any(_is_token(row, asked) for asked in criterion.values)


def _is_token(row: IndexValue, asked: q.TokenValue) -> bool:
    if row.target is not None:
        return asked.code == row.target[1] and asked.system in (None, row.target[0])
    return asked.system in (None, row.system) and asked.code in (None, row.code)


def _keyed(row: IndexValue, criterion: Any) -> bool:
    return not set(criterion.keys).isdisjoint(row.keys)


def _date(row: IndexValue, criterion: Any) -> bool:
    return any(_is_date(row, asked) for asked in criterion.values)


def _is_date(row: IndexValue, asked: q.DateValue) -> bool:
    return in_range(row.lo_us, row.hi_us, asked.prefix, asked.lo_us, asked.hi_us)


def _string(row: IndexValue, criterion: Any) -> bool:
    test: dict[q.StringMode, Callable[[str], bool]] = {
        q.StringMode.STARTS: row.value.startswith,
        q.StringMode.CONTAINS: row.value.__contains__,
        q.StringMode.EXACT: row.value.__eq__,
    }
    return any(map(test[criterion.mode], criterion.values))


def _text(row: IndexValue, criterion: Any) -> bool:
    return not set(criterion.keys).isdisjoint(blind.text_keys(row.value))


def _number(row: IndexValue, criterion: Any) -> bool:
    return any(_is_number(row, asked) for asked in criterion.values)


def _is_number(row: IndexValue, asked: q.NumberValue) -> bool:
    return in_range(row.lo, row.hi, asked.prefix, asked.lo, asked.hi)


def _quantity(row: IndexValue, criterion: Any) -> bool:
    return any(_is_quantity(row, asked) for asked in criterion.values)


def _is_quantity(row: IndexValue, asked: q.QuantityValue) -> bool:
    unit = q.TokenValue(system=asked.system, code=asked.code)
    return _is_token(row, unit) and _is_number(row, asked.number)


def _uri(row: IndexValue, criterion: Any) -> bool:
    return row.value in criterion.values or any(
        row.value.startswith(f"{address}/") for address in criterion.below
    )


def _near(row: IndexValue, criterion: Any) -> bool:
    at = row.at or (0.0, 0.0, 0.0)
    return any(
        sum((a - b) ** 2 for a, b in zip(at, place.at, strict=True)) <= place.reach**2
        for place in criterion.values
    )


def _composite(row: IndexValue, criterion: Any) -> bool:
    return any(_is_composed(row.parts, asked) for asked in criterion.values)


def _is_composed(parts: Rows, asked: q.CompositeValue) -> bool:
    first, second, *third = parts
    is_third = asked.third is None or _is_number(third[0], asked.third)
    return is_third and _is_token(first, asked.first) and _is_second(second, asked.second)


def _is_second(part: IndexValue, asked: Any) -> bool:
    if isinstance(asked, str):
        return asked in blind.text_keys(part.value)
    test: dict[type, Callable[[IndexValue, Any], bool]] = {
        q.QuantityValue: _is_quantity,
        q.NumberValue: _is_number,
        q.DateValue: _is_date,
        q.TokenValue: _is_token,
    }
    return test[type(asked)](part, asked)


_WHOLES: Final[dict[type, Callable[[Seen, Any, World], bool]]] = {
    q.Ids: lambda seen, c, _: seen.served.id in c.values,
    q.LastUpdated: _is_updated,
    q.About: lambda seen, c, _: _is_about(seen, c.persons, is_own=not c.is_any),
    q.Chain: _is_joined,
    q.Has: _is_joined,
    q.Missing: _is_missing,
    q.Reference: _refers,
}
_TESTS: Final[dict[type, Callable[[IndexValue, Any], bool]]] = {
    q.Token: _token,
    q.Keyed: _keyed,
    q.Date: _date,
    q.String: _string,
    q.Text: _text,
    q.Number: _number,
    q.Quantity: _quantity,
    q.Uri: _uri,
    q.Near: _near,
    q.Composite: _composite,
}


def in_range(lo: Any, hi: Any, prefix: Prefix, value_lo: Any, value_hi: Any) -> bool:
    """A range compared with the asked one, as `Prefix` defines it."""
    inside = lo >= value_lo and hi <= value_hi
    above, below = hi > value_hi, lo < value_lo
    by_prefix = {
        Prefix.EQ: inside,
        Prefix.NE: not inside,
        Prefix.GT: above,
        Prefix.LT: below,
        Prefix.GE: above or inside,
        Prefix.LE: below or inside,
        Prefix.SA: lo >= value_hi,
        Prefix.EB: hi <= value_lo,
        Prefix.AP: lo < value_hi and hi > value_lo,
    }
    return bool(by_prefix[prefix])
