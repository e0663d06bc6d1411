"""The sieve gives up no pair that comparing in full would show to a human."""

from collections.abc import Iterable
from itertools import combinations

import pytest

from bench.accuracy import MODELS, with_weights
from mpi.decide import Matcher
from mpi.demographics import Demographics
from mpi.normalize import Normalizer
from mpi.offline.pairs import PairScorer
from mpi.settings import MpiSettings, load_model
from tests.conftest import IS_LONG
from tests.support.memory_index import TODAY
from tests.support.mpi import SETTINGS
from tests.support.people import Sighting, father_and_son_pairs, population, twin_pairs

NORMALIZER = Normalizer(SETTINGS.forms, SETTINGS.defaults)
FITTED = [
    with_weights(SETTINGS, load_model(MODELS / f"{name}.toml"))
    for name in ("febrl", "rldata", "census")
]


def town() -> list[Demographics]:
    """Records of few humans, most of whom have several, with families and mistakes."""
    sightings = population(seed=71, humans=400 if IS_LONG else 60)
    return [NORMALIZER.demographics(s.patient, TODAY) for s in sightings]


def check(settings: MpiSettings, pairs: Iterable[tuple[Demographics, Demographics]]) -> float:
    """That no hopeless pair is worth a look; the share of the pairs that were hopeless."""
    matcher = Matcher(settings)
    hopeless = total = 0
    for one, other in pairs:
        total += 1
        if matcher.is_hopeless(one, other):
            hopeless += 1
            scorer = PairScorer((one, other), matcher, settings.model.thresholds)
            assert not scorer.is_worth(scorer.edge(0, 1))
    return hopeless / total


@pytest.mark.parametrize("settings", [SETTINGS, *FITTED], ids=lambda s: s.model.version)
def test_no_pair_that_is_worth_a_look_is_given_up(settings: MpiSettings):
    share = check(settings, combinations(town(), 2))
    assert share > 0.8


def test_families_are_given_up_only_where_the_guard_sees_no_family():
    def read(sighting: Sighting) -> Demographics:
        return NORMALIZER.demographics(sighting.patient, TODAY)

    pairs = [*twin_pairs(seed=5, count=200), *father_and_son_pairs(seed=5, count=200)]
    assert check(SETTINGS, ((read(one), read(other)) for one, other in pairs)) < 0.01
