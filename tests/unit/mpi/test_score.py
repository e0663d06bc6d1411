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


#: A model that knows households, in which surname, address and telephone are shared.
SHARED = {
    "name": {"exact": 0.001, "last-only": 0.9, "none": 0.09},
    "household": {"address-and-phone": 0.9, "none": 0.01},
}
FAMILIES = replace(
    MODEL,
    family_bits=MODEL.prior_bits + 8.0,
    levels={
        name: {
            label: replace(level, f=SHARED.get(name, {}).get(label, 0.0))
            for label, level in levels.items()
        }
        for name, levels in MODEL.levels.items()
    },
)


def explained(odds: float, *agreed: tuple[str, str]) -> float:
    """What a household explains of what agreed, by the formula."""
    levels = FAMILIES.levels
    bits = [math.log2(levels[name][label].f / levels[name][label].u) for name, label in agreed]
    return -math.log2(1 + 2 ** (odds + sum(bits)))


def test_what_a_household_explains_is_taken_off_once():
    sister = COMPARER.compare(demographics(), demographics(given=["Ida"], born="1974-11-27"))
    plain, known = Scorer(MODEL).score(sister), Scorer(FAMILIES).score(sister)
    assert known.evidence[:-1] == plain.evidence
    last = known.evidence[-1]
    assert (last.comparison, last.level) == ("family", "expected")
    odds = MODEL.prior_bits + 8 + plain.evidence[0].term_bits
    agreed = (("name", "last-only"), ("household", "address-and-phone"))
    assert last.bits == pytest.approx(explained(odds, *agreed), abs=1e-9)
    assert last.bits < -6
    assert known.bits == pytest.approx(plain.bits + last.bits, abs=1e-9)


def test_a_household_explains_nothing_of_what_strangers_share():
    elsewhere = {"line": "3 Quarry Road", "zip5": "02138", "phone": "781-234-0000"}
    stranger = demographics(given=["Ida"], family="Rossi", **elsewhere)
    other = COMPARER.compare(demographics(), stranger)
    assert Scorer(FAMILIES).score(other) == Scorer(MODEL).score(other)


def test_one_human_at_home_stays_likelier_than_two_of_one_household():
    assert Scorer(FAMILIES).score(NORA).bits > Scorer(MODEL).score(NORA).bits - 10
    assert Scorer(FAMILIES).score(NORA).bits > THRESHOLDS.certain
