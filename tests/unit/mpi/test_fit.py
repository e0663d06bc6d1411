"""Weights fitted without truth: on pairs whose truth is known because they were made here."""

import math
import random
from collections import Counter
from collections.abc import Mapping
from functools import cache
from itertools import combinations, pairwise

import pytest

from mpi.compare import Comparer
from mpi.fit import Fitted, Fitter, Pattern, Sample, fit_sample
from mpi.levels import COMPARISONS, ORDERS
from mpi.names import GivenNames
from mpi.settings import LinkageModel
from tests.support.mpi import MODEL, SETTINGS, demographics

COMPARER = Comparer(GivenNames(SETTINGS.given_names), SETTINGS.forms.single_types)
ALL_PAIRS = 50_000_000.0

#: How the records of one human, of one household and of strangers agree.
MATCH = {
    "name": {"exact": 0.8, "first-typo": 0.1, "last-typo": 0.06, "last-only": 0.02, "none": 0.02},
    "birth": {"exact": 0.9, "edit": 0.05, "part": 0.03, "differs": 0.02},
    "sex": {"same": 0.99, "differs": 0.01},
    "household": {"address": 0.6, "street": 0.1, "near": 0.1, "none": 0.2},
}
HOUSEHOLD = {
    "name": {"last-only": 0.9, "none": 0.1},
    "birth": {"part": 0.02, "differs": 0.98},
    "sex": {"same": 0.5, "differs": 0.5},
    "household": {"address": 0.95, "street": 0.05},
}
#: Of strangers that share a key: some the name, some the birth date.
MET_BY_NAME = {
    "name": {"exact": 0.1, "last-only": 0.45, "first-only": 0.45},
    "birth": {"part": 0.003, "differs": 0.997},
    "sex": {"same": 0.5, "differs": 0.5},
    "household": {"address": 0.001, "near": 0.02, "none": 0.979},
}
MET_BY_BIRTH = MET_BY_NAME | {
    "name": {"last-only": 0.003, "first-only": 0.003, "none": 0.994},
    "birth": {"exact": 1.0},
}
STRANGERS = {
    "name": {"last-only": 0.003, "first-only": 0.003, "none": 0.994},
    "birth": {"part": 0.003, "differs": 0.997},
    "sex": {"same": 0.5, "differs": 0.5},
    "household": {"near": 0.02, "none": 0.98},
}


def drawn(ways: Mapping[str, Mapping[str, float]], count: int, seed: int) -> Counter[Pattern]:
    """So many pairs that agree in these ways."""
    rng = random.Random(seed)
    columns = [
        rng.choices(list(ways[name]), list(ways[name].values()), k=count)
        if name in ways
        else [None] * count
        for name in COMPARISONS
    ]
    return Counter(zip(*columns, strict=True))


@cache
def fitted(matches: int = 3_000, households: int = 0, seed: int = 1) -> Fitted:
    blocked = drawn(MATCH, matches, seed) + drawn(HOUSEHOLD, households, seed + 2)
    blocked += drawn(MET_BY_NAME, 18_000, seed + 1) + drawn(MET_BY_BIRTH, 2_000, seed + 4)
    sample = Sample(
        blocked=blocked,
        strangers=drawn(STRANGERS, 50_000, seed + 3),
        all_pairs=ALL_PAIRS,
        names={"first": {"maria": 40, "ida": 10, "zelda": 1}, "last": {}},
        common={"first": ["maria", "ida"], "last": []},
    )
    return fit_sample(sample, MODEL, "test")


def test_the_share_and_the_ways_of_one_human_are_found():
    found = fitted()
    assert found.matches == pytest.approx(3_000, rel=0.1)
    assert 2**found.model.prior_bits == pytest.approx(3_000 / ALL_PAIRS, rel=0.1)
    for name, ways in MATCH.items():
        for level, share in ways.items():
            assert found.model.levels[name][level].m == pytest.approx(share, abs=0.03), level


def test_rare_agreement_among_strangers_is_counted_though_no_sample_meets_it():
    found = fitted().model.levels["birth"]["exact"]
    # 2,000 of the strangers that share a key, of fifty million pairs; none in the sample.
    assert found.u == pytest.approx(2_000 / ALL_PAIRS, rel=0.2)


def test_brothers_and_sisters_are_told_from_one_human():
    found = fitted(households=9_000)
    assert found.household == pytest.approx(9_000, rel=0.15)
    assert found.matches == pytest.approx(3_000, rel=0.1)
    levels = found.model.levels
    assert levels["name"]["last-only"].m == pytest.approx(0.02, abs=0.03)
    assert levels["name"]["last-only"].f > 0.85
    assert levels["household"]["address"].f == pytest.approx(0.95, abs=0.05)
    # u is of strangers alone, who hardly ever share a home.
    assert levels["household"]["address"].u < 1e-4
    odds = math.log2(9_000 / ALL_PAIRS)
    assert found.model.family_bits == pytest.approx(odds, abs=0.3)


def test_households_share_a_birth_date_as_often_as_they_have_twins():
    levels = fitted(households=9_000).model.levels
    birth = levels["birth"]
    assert birth["exact"].f == pytest.approx(birth["exact"].u + 0.005, abs=1e-3)
    assert sum(level.f for level in birth.values()) == pytest.approx(1.0, abs=1e-6)
    assert all(level.f == 0 for level in levels["sex"].values())


def test_where_no_families_are_no_class_is_made_for_them():
    assert fitted().household == 0
    assert fitted().model.family_bits is None
    assert all(w.f == 0 for levels in fitted().model.levels.values() for w in levels.values())


def test_the_same_pairs_give_the_same_model():
    assert fitted() == fitted.__wrapped__()


@pytest.mark.parametrize("seed", [1, 9, 17])
def test_weights_fall_from_agreement_to_disagreement(seed: int):
    model: LinkageModel = fitted(matches=200, seed=seed).model
    for name, orders in ORDERS.items():
        for order in orders:
            bits = [model.levels[name][level.value].bits for level in order]
            assert all(a >= b - 1e-6 for a, b in pairwise(bits)), (name, bits)


def test_names_that_few_hold_stay_out_of_the_model():
    first = fitted().model.frequencies["first"]
    assert set(first.shares) == {"maria", "ida"}
    assert first.average == pytest.approx((40**2 + 10**2 + 1) / 51**2)
    assert 0 < first.rarest < min(first.shares.values())
    # A field that no record holds keeps what was known before.
    assert fitted().model.frequencies["last"] == MODEL.frequencies["last"]


def test_ten_records_of_one_human_do_not_write_a_rare_name_into_the_model():
    records = [demographics(family="Zoltowska", given=["Perpetua"])] * 40
    records += [
        demographics(family="Reed", given=["Ida"], born=f"19{40 + n % 50}-03-{n % 28 + 1:02d}")
        for n in range(600)
    ]
    pairs = [(n, n + 1) for n in range(len(records) - 1)]
    model = Fitter(COMPARER, MODEL).fit(records, pairs, "test").model
    assert set(model.frequencies["last"].shares) == {"reed"}
    assert set(model.frequencies["first"].shares) == {"ida"}


def test_thresholds_keys_and_rules_stay_as_they_were():
    found = fitted().model
    assert found.version == "test"
    assert (found.thresholds, found.keys, found.combinations) == (
        MODEL.thresholds, MODEL.keys, MODEL.combinations
    )  # fmt: skip


def test_a_file_too_small_to_learn_from_leaves_the_model_as_it_is():
    records = [demographics(phone=f"617-234-{n:04d}") for n in range(30)]
    found = Fitter(COMPARER, MODEL).fit(records, list(combinations(range(30), 2)), "test")
    assert (found.is_fitted, found.model) == (False, MODEL)


def test_records_are_compared_and_progress_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mpi.fit.RANDOM_PAIRS", 1_000)
    records = [
        demographics(given=[f"Ada{n % 250}"], born=f"19{n % 250 // 4:02d}-03-08", phone=None)
        for n in range(500)
    ]
    pairs = [(n, n + 250) for n in range(250)]
    told: list[tuple[str, int, int]] = []
    fitter = Fitter(COMPARER, MODEL, progress=lambda *step: told.append(step))
    found = fitter.fit(records, pairs, "test")
    assert found.is_fitted
    assert told[-1][0] == "fit"
    assert told[-1][1:] == (1_250, 1_250)
