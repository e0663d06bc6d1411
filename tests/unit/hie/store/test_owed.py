"""What a re-label still owes counts, in SQL as for what is written meanwhile."""

import sqlite3
from dataclasses import replace

import pytest

from hie.store.owed import bound_of, gained, owed_by
from hie.store.residual import Pending, Residual

PENDING = Pending(
    passed=(1,),
    later=(3, 4),
    done_pk=10,
    last_pk=20,
    since_us=100,
    current_mask=5,
    older_mask=7,
)


def in_sql(pending: Pending, type_id: int, pk: int, at_us: int, version: tuple[int, int]) -> int:
    """The gain of a version of a resource as the predicate counts it: body, current body."""
    owed = owed_by(Residual(pending=pending))
    body, current_body = version
    mask = gained(owed, "r") + (gained(owed, "r", "v") if body != current_body else "")
    rows = "(SELECT ? AS pk, ? AS type_id, ? AS last_updated_us, ? AS body_version) r"
    sql = f"SELECT 0{mask} FROM {rows}, (SELECT ? AS body_version) v"
    for name, value in bound_of(pending).items():
        sql = sql.replace(f":{name}", str(value))
    values = (pk, type_id, at_us, current_body, body)
    (found,) = sqlite3.connect(":memory:").execute(sql, values).fetchone()
    return int(found)


@pytest.mark.parametrize(
    ("type_id", "pk", "at_us", "expected"),
    [
        (2, 11, 100, 5),  # of the types that are at hand, not reached
        (2, 10, 100, 0),  # reached
        (2, 20, 100, 5),
        (2, 21, 100, 0),  # written since
        (2, 11, 99, 0),  # not changed since
        (1, 11, 100, 0),  # of types that are through
        (3, 5, 100, 5),  # of types that come later
        (4, 15, 100, 5),
        (3, 21, 100, 0),
    ],
)
def test_a_resource_is_pending_until_its_turn_came(type_id, pk, at_us, expected):
    assert PENDING.counted(type_id, pk, at_us) == expected
    assert in_sql(PENDING, type_id, pk, at_us, (2, 2)) == expected
    assert in_sql(PENDING, type_id, pk, at_us, (1, 2)) == (7 if expected else 0)


def test_nothing_is_in_the_predicate_where_nothing_is_owed():
    assert owed_by(Residual()) is None
    assert owed_by(Residual(pending=replace(PENDING, current_mask=0, older_mask=0))) is None
    assert gained(None, "r") == ""
