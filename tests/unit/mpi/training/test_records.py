"""Samples are drawn by ids and seed alone, and hold no two records of one person they can tell."""

import pytest

from mpi.training.records import Records, count_pairs, in_seeded_order, pairs_by, strangers
from tests.support.mpi import demographics

SAME = (("name", "birth"),)


def records(*said: dict[str, object], persons: tuple[str, ...] = ()) -> Records:
    found = Records()
    for number, changes in enumerate(said):
        person = persons[number] if persons else ""
        found.add(f"r{number}", demographics(**changes), person)
    return found


def family(number: int) -> dict[str, object]:
    return {"family": f"Quin{'abcdefghij'[number % 10]}{'klmnopqrst'[number // 10 % 10]}"}


def test_the_order_follows_from_ids_and_seed():
    one = records(*(family(n) for n in range(50)))
    assert in_seeded_order(one, 1) == in_seeded_order(one, 1)
    assert in_seeded_order(one, 1) != in_seeded_order(one, 2)
    assert sorted(in_seeded_order(one, 1)) == list(range(50))


def test_one_record_is_taken_of_each_person():
    found = records(*(family(n) for n in range(6)), persons=("a", "a", "b", "b", "b", "c"))
    assert sorted(strangers(found, SAME, 1_000, 7).persons) == ["a", "b", "c"]


def test_records_alike_by_a_rule_count_once():
    found = records({}, {}, family(1), {"born": "1980-01-01"})
    assert len(strangers(found, SAME, 1_000, 7)) == 3


@pytest.mark.parametrize(("pairs", "taken"), [(1, 3), (10, 6), (45, 11)])
def test_a_sample_makes_the_pairs_asked_for(pairs: int, taken: int):
    # 45 pairs are those of 10 records; one more is taken, so that rounding loses none.
    found = records(*(family(n) for n in range(60)))
    assert len(strangers(found, SAME, pairs, 7)) == taken


def test_pairs_of_a_rule_agree_on_its_columns():
    found = records({}, {"family": "Other"}, {"born": "1980-01-01"}, {}, {"born": None})
    assert sorted(pairs_by(found, ("birth",), 100)) == [(0, 1), (0, 3), (1, 3)]
    assert list(pairs_by(found, ("birth", "name"), 100)) == [(0, 3)]
    assert len(list(pairs_by(found, ("birth",), 2))) == 2
    assert count_pairs(found, ("birth",)) == 3
