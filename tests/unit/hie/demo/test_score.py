"""Persons against the truth: pairs, splits, wrong joins."""

from datetime import date, datetime

import pytest

from hie.demo.score import relation, score
from hie.demo.world import Address, Case, Demographics, Person, Registration, World

HOME = Address(street="1 Heron Lane", unit="", town="Eastmarsh", zip_code="00417")


def _person(number, household, *values, given="Ann", born=date(1990, 1, 1), case=Case.PLAIN):
    truth = Demographics(family="Snow", given=given, birth_date=born, sex="female", address=HOME)
    records = tuple(
        Registration(source="a", value=value, at=datetime(2025, 1, 1), recorded=truth)  # noqa: DTZ001 - a local day
        for value in values
    )
    return Person(number=number, case=case, household=household, truth=truth, registrations=records)


def _world(*people):
    return World(as_of=datetime(2025, 6, 30), people=people, systems={"a": "urn:a"})  # noqa: DTZ001 - a local day


def _links(**persons):
    return {("a", "urn:a", value): person for value, person in persons.items()}


def test_a_perfect_hub_has_precision_and_recall_of_one():
    world = _world(_person(1, 1, "x", "y"), _person(2, 2, "z"))
    found = score(world, _links(x="p", y="p", z="q"))
    assert (found.precision, found.recall) == (1.0, 1.0)
    assert (found.people, found.registrations, found.persons) == (2, 3, 2)
    assert (found.true_pairs, found.found_pairs, found.wrong_pairs) == (1, 1, 0)
    assert not found.splits
    assert not found.wrong_joins


def test_a_split_lowers_recall_alone():
    world = _world(_person(1, 1, "x", "y", "z", case=Case.MOVED))
    found = score(world, _links(x="p", y="p", z="q"))
    assert found.recall == pytest.approx(1 / 3)  # of xy, xz, yz only xy
    assert found.precision == 1.0
    assert found.splits == {Case.MOVED: 1}
    assert found.cases == {Case.MOVED: 1}


def test_a_wrong_join_lowers_precision_and_is_named():
    twins = (_person(1, 1, "x"), _person(2, 1, "y", given="Bea"))
    found = score(_world(*twins), _links(x="p", y="p"))
    assert found.wrong_pairs == 1
    assert found.precision == 0.0
    assert found.wrong_joins == {"twins": 1}


def test_several_records_of_two_humans_are_one_wrong_join_and_many_wrong_pairs():
    people = (_person(1, 1, "v", "w"), _person(2, 2, "x", "y"))
    found = score(_world(*people), _links(v="p", w="p", x="p", y="p"))
    assert (found.found_pairs, found.wrong_pairs) == (2, 4)  # of 6 pairs, vw and xy are right
    assert found.wrong_joins == {"strangers": 1}


def test_a_registration_the_hub_does_not_know_counts_as_not_found():
    found = score(_world(_person(1, 1, "x", "y")), _links(x="p"))
    assert found.unknown == 1
    assert found.recall == 0.0
    assert not found.splits


def test_nothing_at_all_is_no_fault():
    found = score(_world(), {})
    assert (found.precision, found.recall) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (_person(2, 2, "y"), "strangers"),
        (_person(2, 1, "y", given="Bea"), "twins"),
        (_person(2, 1, "y", born=date(1960, 5, 5)), "father and son of one name"),
        (_person(2, 1, "y", given="Bea", born=date(1960, 5, 5)), "one household"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_relations_are_those_a_desk_confuses(other, expected):
    assert relation(_person(1, 1, "x"), other) == expected
