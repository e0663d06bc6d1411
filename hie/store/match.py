"""Criteria met by index values in memory: the golden Patient is in no index table (pure)."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from hie.store import query as q
from hie.store.index import IndexValue
from hie.store.query import Criterion, Prefix, Served


def matches(values: Sequence[IndexValue], served: Served, criteria: Sequence[Criterion]) -> bool:
    """Whether a resource with these index values meets every criterion.

    Kinds that a Patient is not searched by (numbers, quantities, URIs) are taken as met: the
    database asked them of its source records.
    """
    return all(_meets(values, served, criterion) for criterion in criteria)


def _meets(values: Sequence[IndexValue], served: Served, criterion: Criterion) -> bool:
    if isinstance(criterion, q.Ids):
        return served.id in criterion.values
    if isinstance(criterion, q.LastUpdated):
        at = served.last_updated_us
        return any(in_range(at, at + 1, v.prefix, v.lo_us, v.hi_us) for v in criterion.values)
    test = _TESTS.get(type(criterion))
    if test is None:
        return True
    rows = [v for v in values if v.param_id in criterion.param_ids]
    return test(rows, criterion)


def _token(rows: Collection[IndexValue], criterion: Any) -> bool:
    met = any(
        (asked.system is None or asked.system == (row.system or ""))
        and (asked.code is None or asked.code == row.code)
        for row in rows
        for asked in criterion.values
    )
    return met is not criterion.is_not


def _keyed(rows: Collection[IndexValue], criterion: Any) -> bool:
    held = {key for row in rows for key in row.keys}
    return (not held.isdisjoint(criterion.keys)) is not criterion.is_not


def _date(rows: Collection[IndexValue], criterion: Any) -> bool:
    return any(
        in_range(row.lo_us, row.hi_us, asked.prefix, asked.lo_us, asked.hi_us)
        for row in rows
        for asked in criterion.values
    )


def _missing(rows: Collection[IndexValue], criterion: Any) -> bool:
    return (not rows) is criterion.is_missing


_TESTS: dict[type, Callable[[Collection[IndexValue], Any], bool]] = {
    q.Token: _token,
    q.Keyed: _keyed,
    q.Date: _date,
    q.Missing: _missing,
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
