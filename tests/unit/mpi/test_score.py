"""Scores in bits, after Fellegi and Sunter (1969): log2(m / u), summed with the prior."""

import math
from dataclasses import replace
from types import MappingProxyType

import pytest

from mpi.compare import Comparer
from mpi.levels import COMPARISONS, MatchGrade
from mpi.names import GivenNames
from mpi.score import Scorer, grade
from mpi.settings import Level
from tests.support.mpi import MODEL, SETTINGS, THRESHOLDS, demographics

COMPARER = Comparer(GivenNames(SETTINGS.given_names), SETTINGS.forms.single_types)
NORA = COMPARER.compare(demographics(), demographics())


def test_the_score_is_the_prior_plus_every_piece_of_evidence():
    score = Scorer(MODEL).score(NORA)
    assert [(e.comparison, e.level) for e in score.evidence] == [
        ("name", "exact"),
        ("birth", "exact"),
        ("sex", "same"),
        ("household", "address-and-phone"),
    ]
    levels = MODEL.levels
    agreed = ["exact", "exact", "same", "address-and-phone"]
    weights = [
        levels[comparison][level]
        for comparison, level in zip(("name", "birth", "sex", "household"), agreed, strict=True)
    ]
    expected = MODEL.prior_bits + sum(math.log2(weight.m / weight.u) for weight in weights)
    assert score.bits == pytest.approx(expected, abs=1e-9)


def test_a_missing_field_weighs_nothing():
    thin = demographics(phone=None, line=None, zip5=None, gender=None)
    score = Scorer(MODEL).score(COMPARER.compare(demographics(), thin))
    assert [e.comparison for e in score.evidence] == ["name", "birth"]


@pytest.mark.parametrize(
    ("family", "bits"),
    [
        ("Smith", math.log2(0.00068 / 0.009023)),  # -3.7: one in 111
        ("Quinlan", 0.0),
    ],
)
def test_agreement_on_a_common_surname_says_less(family: str, bits: float):
    both = demographics(family=family)
    evidence = Scorer(MODEL).score(COMPARER.compare(both, both)).evidence[0]
    assert evidence.term_bits == pytest.approx(bits)


def test_shares_learnt_from_the_hub_win_and_are_bounded():
    def share(field: str, value: str) -> float | None:
        return {("last", "smith"): 0.00068, ("first", "nora"): 1e-9}.get((field, value))

    both = demographics(family="Smith")
    evidence = Scorer(MODEL, share).score(COMPARER.compare(both, both)).evidence[0]
    # Smith is as common as the average here; Nora is so rare that the bound of 4 bits holds.
    assert evidence.term_bits == pytest.approx(0 + 4.0)


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_a_better_level_never_weighs_less_than_the_worst(comparison: str):
    bits = [level.bits for level in MODEL.levels[comparison].values()]
    assert max(bits) == bits[0] or comparison == "ssn"
    assert min(bits) == bits[-1]
    assert bits[-1] < 0 < bits[0]


def test_living_together_is_worth_at_most_ten_bits():
    assert max(level.bits for level in MODEL.levels["household"].values()) <= 10


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (THRESHOLDS.certain, MatchGrade.CERTAIN),
        (THRESHOLDS.certain - 0.01, MatchGrade.PROBABLE),
        (THRESHOLDS.probable, MatchGrade.PROBABLE),
        (THRESHOLDS.probable - 0.01, MatchGrade.POSSIBLE),
        (THRESHOLDS.review, MatchGrade.POSSIBLE),
        (THRESHOLDS.review - 0.01, MatchGrade.CERTAINLY_NOT),
    ],
)
def test_grades_begin_at_their_thresholds(bits: float, expected: MatchGrade):
    assert grade(bits, THRESHOLDS, is_vetoed=False) is expected


def test_what_the_guard_stopped_is_possible_at_best():
    assert grade(99, THRESHOLDS, is_vetoed=True) is MatchGrade.POSSIBLE
    assert grade(-99, THRESHOLDS, is_vetoed=True) is MatchGrade.CERTAINLY_NOT


def test_a_level_that_the_model_leaves_out_weighs_nothing():
    levels = dict(MODEL.levels) | {"sex": MappingProxyType({"differs": Level(m=0.01, u=0.5)})}
    score = Scorer(replace(MODEL, levels=MappingProxyType(levels))).score(NORA)
    assert "sex" not in [e.comparison for e in score.evidence]
