"""What Splink saw often is believed; what it hardly saw stays near the model trained from."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpi.levels import ORDERS, Birth
from mpi.settings import Level
from mpi.training.blend import Estimate, Rested, blended, drawn, ordered

BASE = {
    "exact": Level(m=0.9, u=1e-4),
    "part": Level(m=0.05, u=1e-2),
    "differs": Level(m=0.05, u=0.98),
}
ORDER = ((Birth.EXACT, Birth.PART, Birth.DIFFERS),)
MANY = Rested(strangers=1e6, matches=1e5)
share = st.floats(min_value=1e-9, max_value=0.999)


@pytest.mark.parametrize(
    ("learnt", "observations", "base", "expected"),
    [
        (0.5, 1e9, 0.01, 0.5),  # so many observations that the base is forgotten
        (0.5, 0, 0.01, 0.01),  # none: the base
        (0.0, 100, 0.05, 5 / 200),  # (0 + 5) / (100 + 5 / 0.05)
        (0.1, 100, 0.05, 15 / 200),  # (10 + 5) / 200
    ],
)
def test_a_share_is_drawn_towards_the_base(learnt, observations, base, expected):
    assert drawn(learnt, observations, base, worth=5) == pytest.approx(expected, rel=1e-6)


@given(share, st.floats(0, 1e9), share)
def test_a_drawn_share_lies_between_what_was_learnt_and_the_base(learnt, observations, base):
    found = drawn(learnt, observations, base, worth=5)
    assert min(learnt, base) * 0.999999 <= found <= max(learnt, base) * 1.000001


def test_levels_seen_often_take_what_was_learnt():
    learnt = {
        "exact": Estimate(m=0.7, u=2e-4),
        "part": Estimate(m=0.2, u=0.02),
        "differs": Estimate(m=0.1, u=0.9798),
    }
    found = blended(learnt, BASE, MANY, 5, ORDER)
    for name, estimate in learnt.items():
        assert found[name].bits == pytest.approx(math.log2(estimate.m / estimate.u), abs=0.1)


def test_a_level_that_nobody_shows_keeps_its_weight():
    learnt = {"exact": Estimate(m=0.9, u=1e-4), "differs": Estimate(m=0.1, u=0.9999)}
    found = blended(learnt, BASE, MANY, 5, ORDER)
    assert found["part"].bits == pytest.approx(BASE["part"].bits)


def test_a_level_that_nobody_shows_weighs_no_more_than_a_better_one():
    learnt = {"exact": Estimate(m=0.01, u=0.5), "differs": Estimate(m=0.001, u=0.5)}
    found = blended(learnt, BASE, MANY, 5, ORDER)
    assert found["part"].bits == pytest.approx(found["exact"].bits)


def test_a_comparison_that_nobody_shows_stays_as_it_was():
    assert blended({}, BASE, Rested(strangers=1e6), 5, ORDER) == BASE
    assert blended({}, BASE, Rested(matches=1e6), 5, ORDER) == BASE


def test_pairs_of_one_person_among_the_strangers_are_taken_off():
    learnt = {"exact": Estimate(m=0.9, u=3e-4)}
    clean = blended(learnt, BASE, MANY, 5, ORDER)["exact"]
    # 1 in 5,000 of the random pairs was one person's, and nine of ten of those agreed exactly.
    rested = Rested(strangers=1e6, matches=1e5, left=2e-4)
    less = blended(learnt, BASE, rested, 5, ORDER)["exact"]
    assert clean.u == pytest.approx(3e-4, rel=0.05)
    assert less.u == pytest.approx(1.2e-4, rel=0.05)


@given(st.fixed_dictionaries({name: st.tuples(share, share) for name in BASE}))
def test_ordered_levels_weigh_less_the_less_they_agree(drawn_levels):
    levels = {name: Level(m=m, u=u) for name, (m, u) in drawn_levels.items()}
    found, _ = ordered(levels, ORDER)
    bits = [found[name].bits for name in ("exact", "part", "differs")]
    assert all(one >= other - 1e-6 for one, other in pairwise(bits))


@given(share, share, st.sampled_from([0.0, 1e-300, 0.9999999, 1.0]))
def test_no_level_becomes_certain_or_impossible(base_m, base_u, learnt):
    base = {"exact": Level(m=base_m, u=base_u)}
    found = blended({"exact": Estimate(m=learnt, u=learnt)}, base, MANY, 5, ())["exact"]
    # As a model file writes them, with six digits.
    assert 0 < float(f"{found.m:.6g}") < 1
    assert 0 < float(f"{found.u:.6g}") < 1


def test_levels_in_order_are_left_alone():
    found, pooled = ordered(BASE, ORDERS["birth"])
    assert (found, pooled) == (BASE, [])
