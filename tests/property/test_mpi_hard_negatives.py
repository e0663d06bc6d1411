"""Two humans that look like one, by category; the categories and rates are the bench's."""

import pytest

from bench.hard_negatives import CATEGORIES, PAIRS, Rates, measure
from tests.conftest import IS_LONG
from tests.support.mpi import SETTINGS


@pytest.fixture(scope="module")
def rates() -> dict[str, Rates]:
    """What became of every category, with the committed model and thresholds."""
    return measure(SETTINGS, PAIRS if IS_LONG else 60)


def linked(rates: dict[str, Rates], kind: str) -> float:
    """Share of the pairs of a kind that were linked."""
    of_kind = [r for category, r in rates.items() if category.startswith(kind)]
    return sum(r.linked for r in of_kind) / sum(r.pairs for r in of_kind)


def test_of_twins_hardly_any_are_linked(rates: dict[str, Rates]):
    assert linked(rates, "twins") <= 0.005
    assert max(r.linked / r.pairs for c, r in rates.items() if c.startswith("twins")) <= 0.01


def test_no_father_is_linked_to_his_son(rates: dict[str, Rates]):
    assert linked(rates, "father and son") <= 0.001


@pytest.mark.parametrize(
    "kind", ["mother and daughter:", "brother and sister", "spouse", "namesakes"]
)
def test_no_others_of_a_family_are_linked(rates: dict[str, Rates], kind: str):
    assert linked(rates, kind) == 0


@pytest.mark.parametrize("kind", ["twins", "father and son", "mother and daughter", "spouse"])
def test_none_that_a_human_might_take_for_one_is_hidden(rates: dict[str, Rates], kind: str):
    assert {c for c, r in rates.items() if c.startswith(kind) and r.hidden} == set()


def test_every_pair_stopped_says_why(rates: dict[str, Rates]):
    for category in CATEGORIES:
        found = rates[category]
        assert found.pairs == found.linked + found.hidden + sum(found.reasons.values())
        assert all(found.reasons)
