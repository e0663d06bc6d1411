"""What a re-label still owes, as a part of the predicate: until then the stricter label counts.

A resource that was labelled by other lists counts as having the labels they may have missed,
see `Pending`. While nothing is pending, nothing of this is in the predicate.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from hie.store.residual import Pending, Residual

#: What a re-label may bring, to current versions and to older ones; types passed and later.
Owed = tuple[int, int, tuple[int, ...], tuple[int, ...]]

#: Parameters of the text of `gained`.
NUMBERS: Final = ("v_done_pk", "v_last_pk", "v_since_us")


def owed_by(residual: Residual) -> Owed | None:
    """What of the pending decides the predicate's text; None = nothing is owed."""
    pending = residual.pending
    if pending is None or not (pending.current_mask or pending.older_mask):
        return None
    return pending.current_mask, pending.older_mask, pending.passed, pending.later


def bound_of(pending: Pending | None) -> Mapping[str, int]:
    """The values that a statement with such a text is run with."""
    if pending is None:
        return {}
    return dict(zip(NUMBERS, (pending.done_pk, pending.last_pk, pending.since_us), strict=True))


def gained(owed: Owed | None, r: str, v: str = "") -> str:
    """SQL: the labels that count for a resource beside its own, as ` | mask`.

    Args:
        owed: of the residual's shape; None = the text is empty.
        r: alias of `resource`.
        v: alias of `resource_version`, for a version older than the current one.
    """
    if owed is None:
        return ""
    current, older, passed, later = owed
    is_next = f"{r}.pk > :v_done_pk" + (f" AND {r}.type_id NOT {_among(passed)}" if passed else "")
    is_left = f"({is_next} OR {r}.type_id {_among(later)})" if later else is_next
    is_older = f" AND {v}.body_version <> {r}.body_version" if v else ""
    return (
        f" | CASE WHEN {r}.pk <= :v_last_pk AND {r}.last_updated_us >= :v_since_us"
        f" AND {is_left}{is_older} THEN {older if v else current} ELSE 0 END"
    )


def _among(types: Sequence[int]) -> str:
    return f"IN ({', '.join(map(str, types))})"
