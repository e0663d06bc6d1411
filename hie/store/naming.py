"""Whether a search may say who is meant in words (pure).

A search by ids, codes and times says nothing of anybody; one by a name, a number, a birth date
or free text may describe a human being, and is kept apart so that it can be destroyed with them.
"""

from collections.abc import Iterable, Sequence

from hie.store.criterion import Chain, Composite, Criterion, Has, Keyed, String, Text
from hie.store.query import Query


def names_somebody(queries: Sequence[Query]) -> bool:
    """Whether one of the searches asks by something that may describe a human being."""
    return any(_named(query.criteria) for query in queries)


def _named(criteria: Iterable[Criterion]) -> bool:
    return any(_is_personal(one) for one in criteria)


def _is_personal(one: Criterion) -> bool:
    match one:
        case String() | Text() | Keyed() | Composite():
            return True
        case Chain():
            return any(_named(target.criteria) for target in one.targets)
        case Has():
            return _named(one.of.criteria)
        case _:
            return False
