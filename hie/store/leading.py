"""By which of its criteria a search begins: the one that fewest resources meet, as its form tells.

No values are looked at (pure). Where the form tells too little, `hie.store.walks` looks at the
index. Only the statements of searches use this file.
"""

from collections.abc import Sequence
from typing import Final

from hie.store import query as q
from hie.store.guarded import Guarded
from hie.store.index import SearchIndex

#: The parameter whose values the hub's own labels are, too.
SECURITY: Final = "_security"
#: From this breadth on a criterion is no place to begin a search at.
_BROAD: Final = 8
#: Values of a code that are each followed in an index of their own.
_MOST_VALUES: Final = 8
#: Where to begin a search of anybody, the best first.
_LEADING: Final[dict[type, int]] = {
    kind: rank
    for rank, kind in enumerate(
        (q.Keyed, q.Composite, q.Reference, q.Text, q.Uri, q.String, q.Near, q.Chain, q.Has)
    )
}
#: Where to begin a search of some persons' resources, the best first.
_OF_PERSONS: Final[dict[type, int]] = {
    kind: rank for rank, kind in enumerate((q.Keyed, q.Text, q.Reference, q.Token, q.Date))
}
#: What stands in compartments and is referred to about many patients all the same.
_OF_MANY: Final = frozenset({"Patient", "Device", "Group", "Schedule"})
#: What finds few by itself, or in an order of its own.
_FOUND_OTHERWISE: Final = (q.Ids, q.LastUpdated, q.About)


def leading(criteria: Sequence[q.Criterion]) -> q.Keyed | None:
    """The criterion that fewest persons meet, as far as its keys tell; None = none stands out.

    Neither database can know: a keyed hash has no prefix and no order.
    """
    keyed = [c for c in criteria if isinstance(c, q.Keyed) and not c.is_not and c.keys]
    best = min(keyed, key=_breadth, default=None)
    return best if best is not None and _breadth(best) < _BROAD else None


def lead(criteria: Sequence[q.Criterion]) -> q.Criterion | None:
    """The criterion by which to look for resources of anybody; None = one after the other.

    Few resources have one value in an identifier, a reference or a composite; many have one
    status. PostgreSQL begins where its statistics say, whatever is written; SQLite here.
    """
    led = [(rank, n) for n, c in enumerate(criteria) if (rank := _rank(c)) is not None]
    return criteria[min(led)[1]] if led else None


def first_of(
    criteria: Sequence[q.Criterion], guarded: Guarded, index: SearchIndex
) -> q.Criterion | None:
    """The criterion whose index rows are a list of some persons' resources; None = no such."""
    ranked = [
        (_OF_PERSONS[type(c)], n)
        for n, c in enumerate(criteria)
        if type(c) in _OF_PERSONS
        and not getattr(c, "is_not", False)
        and (not isinstance(c, q.Token) or is_plain(c, guarded))
        and (not isinstance(c, q.Reference) or _is_within_charts(c, index))
    ]
    return criteria[min(ranked)[1]] if ranked else None


def is_plain(c: q.Token, guarded: Guarded) -> bool:
    """Whether a token is asked of its own rows alone: of no label, beside no reference."""
    is_beside = guarded.of(c.param_ids[0], "token") is not None
    return not (c.is_not or is_beside or c.param == SECURITY)


def is_walked(query: q.Query) -> bool:
    """Whether a search names nobody and nothing by which few resources are found."""
    return (
        query.persons is None
        and lead(query.criteria) is None
        and not any(isinstance(c, _FOUND_OTHERWISE) for c in query.criteria)
    )


def codes(query: q.Query, guarded: Guarded) -> list[q.Token]:
    """The criteria whose index rows stand together by code, and are few codes each."""
    return [
        c
        for c in query.criteria
        if isinstance(c, q.Token)
        and is_plain(c, guarded)
        and all(v.code is not None for v in c.values)
        and 0 < len(c.values) * len(c.param_ids) <= _MOST_VALUES
    ]


def _is_within_charts(c: q.Reference, index: SearchIndex) -> bool:
    """Whether a reference leads to what is one patient's - a visit, an order: few refer to it.

    To a patient a whole chart refers; to who and where, and to an analyser, half a hub.
    """
    return all(
        value.types and all(t not in _OF_MANY and index.is_of_patients(t) for t in value.types)
        for value in c.values
    )


def _rank(criterion: q.Criterion) -> int | None:
    """Where a criterion stands among those to begin a search at; None = never."""
    if isinstance(criterion, q.Keyed) and (criterion.is_not or _breadth(criterion) >= _BROAD):
        return None
    return _LEADING.get(type(criterion))


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
