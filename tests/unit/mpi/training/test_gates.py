"""A model decides only if its levels stand in order, known pairs come out as well, links stay."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpi.levels import COMPARISONS
from mpi.redecide import NEW, OWN, REVIEW, Redecided
from mpi.redecide import lines as moves
from mpi.settings import Level, LinkageModel
from mpi.training import gates
from mpi.training.difference import difference, lines
from mpi.training.plan import load_plan
from mpi.training.suite import Rates, load_suite, rates
from tests.support.mpi import MODEL, SETTINGS
from tests.support.tree import ROOT

FOLDER = ROOT / "config" / "mpi"
RULES = load_plan(FOLDER).gates


def changed(comparison: str, level: str, found: Level) -> LinkageModel:
    """The model in use with another weight for one level."""
    levels = {**MODEL.levels[comparison], level: found}
    return replace(MODEL, levels={**MODEL.levels, comparison: levels})


def rate(category: str, *, is_same: bool, linked: int, shown: int = 0) -> dict[str, Rates]:
    found = Rates(category=category, is_same=is_same, pairs=200, linked=linked, shown=shown)
    return {category: found}


def test_the_committed_model_is_in_order():
    assert gates.monotone(MODEL).is_open


@pytest.mark.parametrize(
    ("comparison", "level", "found", "fault"),
    [
        ("birth", "part", Level(m=0.9, u=1e-7), "birth: `edit` weighs less than `part`"),
        ("birth", "exact", Level(m=0.1, u=0.2), "birth: `exact` does not speak for one person"),
        ("sex", "differs", Level(m=0.9, u=0.1), "sex: `same` weighs less than `differs`"),
        ("email", "differs", Level(m=0.3, u=0.2), "email: `differs` does not speak against"),
    ],
)
def test_a_level_out_of_order_shuts_the_gate(comparison, level, found, fault):
    gate = gates.monotone(changed(comparison, level, found))
    assert not gate.is_open
    assert any(fault in text for text in gate.faults), gate.faults


@pytest.mark.parametrize(
    ("before", "after", "is_open"),
    [
        (rate("a", is_same=True, linked=200), rate("a", is_same=True, linked=199, shown=1), True),
        # one in ten lost, however many are shown instead
        (rate("a", is_same=True, linked=200), rate("a", is_same=True, linked=179, shown=21), False),
        # linked as often, but one pair vanished from review
        (rate("a", is_same=True, linked=190, shown=10), rate("a", is_same=True, linked=199), False),
        # three pairs less of all are more than one in a hundred
        (rate("a", is_same=True, linked=200), rate("a", is_same=True, linked=197, shown=3), False),
        (
            rate("twins", is_same=False, linked=0, shown=200),
            rate("twins", is_same=False, linked=0, shown=200),
            True,
        ),
        (
            rate("twins", is_same=False, linked=0, shown=200),
            rate("twins", is_same=False, linked=1, shown=199),
            False,
        ),
        (
            rate("twins", is_same=False, linked=0, shown=200),
            rate("twins", is_same=False, linked=0, shown=199),
            False,
        ),
        # fewer strangers shown is no loss
        (
            rate("namesakes", is_same=False, linked=0, shown=20),
            rate("namesakes", is_same=False, linked=0, shown=5),
            True,
        ),
    ],
)
def test_known_pairs_must_not_come_out_worse(before, after, is_open):
    assert gates.suite(before, after, RULES).is_open is is_open


def test_the_model_in_use_passes_its_own_pairs():
    pairs = load_suite(FOLDER / "gold.csv", SETTINGS)
    found = rates(pairs, SETTINGS, MODEL)
    assert gates.suite(found, found, RULES).is_open
    assert sum(rate.pairs for rate in found.values()) == len(pairs) == 980
    assert found["twins"].linked / found["twins"].pairs <= 0.005
    assert found["father-and-son"].linked == 0
    assert all(found[hard].found_share == 1 for hard in ("twins", "father-and-son"))


def test_a_model_that_sees_nothing_loses_known_pairs():
    pairs = load_suite(FOLDER / "gold.csv", SETTINGS)
    blind = replace(MODEL, prior_bits=-60.0)
    gate = gates.suite(rates(pairs, SETTINGS, MODEL), rates(pairs, SETTINGS, blind), RULES)
    assert len(gate.faults) > 10


@pytest.mark.parametrize(("changed_records", "is_open"), [(0, True), (20, True), (21, False)])
def test_few_links_may_change(changed_records: int, is_open: bool):
    found = Redecided(
        looked_at=1_000, moves={(OWN, OWN): 1_000 - changed_records, (OWN, REVIEW): changed_records}
    )
    assert gates.links(found, RULES).is_open is is_open


def test_an_empty_index_has_no_links_to_change():
    assert gates.links(Redecided(looked_at=0), RULES).is_open


def test_what_would_change_is_told_in_words():
    found = Redecided(looked_at=10, moves={(OWN, NEW): 2, (REVIEW, OWN): 3, (NEW, NEW): 5})
    told = "\n".join(moves(found))
    assert "10 records decided again, 5 come out otherwise" in told
    assert "2  links lost" in told
    assert "3  in review that would link" in told


def test_a_model_differs_from_itself_in_nothing():
    found = difference(MODEL, MODEL)
    assert {change.change_bits for change in found.levels} == {0.0}
    assert found.others == ()


@given(st.sampled_from(sorted(COMPARISONS)), st.floats(1e-6, 0.9), st.floats(1e-6, 0.9))
def test_a_difference_names_exactly_the_level_that_changed(comparison, m, u):
    level = next(iter(MODEL.levels[comparison]))
    after = changed(comparison, level, Level(m=m, u=u))
    found = {
        (change.comparison, change.level): change.change_bits
        for change in difference(MODEL, after).levels
        if abs(change.change_bits) > 1e-12
    }
    expected = Level(m=m, u=u).bits - MODEL.levels[comparison][level].bits
    assert found in ({(comparison, level): pytest.approx(expected)}, {})


def test_the_table_of_a_difference_shows_old_and_new_bits():
    told = "\n".join(lines(difference(MODEL, changed("sex", "same", Level(m=0.8, u=0.1)))))
    assert "sex.same" in told
    assert "+2.01" in told  # log2(.8 / .1) = 3.00 beside log2(.99 / .5) = 0.99
