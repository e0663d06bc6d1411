"""How many pairs of a file are one human, told from the pairs' evidence."""

import math
import random
from array import array
from collections import Counter

import pytest

from mpi.offline.blocks import Longs
from mpi.offline.prior import SAMPLE, prior_of, settled

ALL_PAIRS = 10_000 * 9_999 / 2


def evidence(matches: int, strangers: int) -> Counter[float]:
    """Bits of pairs of one human and of two, spread as those of right weights are.

    Where the natural logarithms of right odds are normal, mean and spread go with each other:
    of variance v they are about v / 2 for one human, and about -v / 2 for two.
    """
    rng, variance = random.Random(1), 64.0
    counts = ((matches, variance / 2), (strangers, -variance / 2))
    return Counter(
        round(rng.gauss(mean, math.sqrt(variance)) / math.log(2), 1)
        for count, mean in counts
        for _ in range(count)
    )


@pytest.mark.parametrize("matches", [100, 1_000, 5_000])
@pytest.mark.parametrize("assumed", [-25.0, -13.0, -8.0])
def test_the_prior_is_found_wherever_the_search_begins(matches: int, assumed: float):
    found = settled(evidence(matches, 50_000), 10_000, assumed)
    assert found == pytest.approx(math.log2(matches / ALL_PAIRS), abs=0.2)


def test_a_file_of_strangers_has_the_prior_of_one_pair_at_most():
    assert settled({-40.0: 5_000.0}, 10_000, -13.0) == pytest.approx(math.log2(1 / ALL_PAIRS), 1e-6)


def test_a_file_of_one_human_has_no_more_than_even_odds():
    assert settled({60.0: ALL_PAIRS}, 10_000, -13.0) == 0.0


def batch(pairs: int) -> Longs:
    return array("Q", [number << 32 | number + 1 for number in range(pairs)])


def test_a_small_file_keeps_the_prior_of_the_model():
    assert prior_of(199, [batch(400)], lambda *_: 30.0, -20.0) == -20.0
    assert prior_of(10_000, [batch(99)], lambda *_: 30.0, -20.0) == -20.0


def test_of_a_large_file_a_sample_stands_for_all():
    asked = []

    def told(one: int, other: int) -> float:
        asked.append((one, other))
        return 40.0 if one % 7 == 0 else -40.0

    batches = [batch(3 * SAMPLE), batch(2 * SAMPLE)]
    found = prior_of(200_000, batches, told, -20.0)
    assert SAMPLE * 0.8 <= len(asked) <= SAMPLE
    expected = math.log2(5 * SAMPLE / 7 / (200_000 * 199_999 / 2))
    assert found == pytest.approx(expected, abs=0.05)
