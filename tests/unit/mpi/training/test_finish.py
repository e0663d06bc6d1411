"""A trained model is a file like the one in config/: read back, it weighs what it weighed."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpi.levels import COMPARISONS
from mpi.settings import Level, LinkageModel
from mpi.training.blend import Rested
from mpi.training.finish import finished
from mpi.training.train import Trained
from tests.support.mpi import MODEL

NOTES: dict[str, str | float] = {
    "records": 12_345,
    "random_pairs": 1_000_000,
    "seed": 7,
    "engine": "duckdb",
    "rules": "birth, name",
    "from": MODEL.version,
}
share = st.floats(min_value=1e-9, max_value=0.999)


def trained(model: LinkageModel) -> Trained:
    return Trained(model=model, rested={n: Rested() for n in COMPARISONS}, notes=NOTES, settings={})


@given(st.data(), st.floats(-40, 0))
def test_a_model_read_back_weighs_the_same(data, prior):
    levels = {
        name: {label: Level(m=data.draw(share), u=data.draw(share)) for label in found}
        for name, found in MODEL.levels.items()
    }
    model = finished(trained(replace(MODEL, levels=levels, prior_bits=prior)))
    assert model.prior_bits == pytest.approx(prior, rel=1e-5)
    for name, found in levels.items():
        for label, level in found.items():
            # Six digits of m and u leave five decimals of their logarithm.
            assert model.levels[name][label].bits == pytest.approx(level.bits, abs=1e-4)
    assert model.keys == MODEL.keys
    assert model.combinations == MODEL.combinations
    assert model.thresholds == MODEL.thresholds
    assert model.frequencies.keys() == MODEL.frequencies.keys()


def test_the_version_follows_from_the_content():
    one, again = finished(trained(MODEL)), finished(trained(MODEL))
    other = finished(trained(replace(MODEL, prior_bits=-19.0)))
    assert one.version == again.version != other.version
    assert one.version.startswith("trained-")


def test_a_file_says_where_its_numbers_come_from():
    lines = finished(trained(MODEL)).text.splitlines()
    said = " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))
    for fact in ("12,345 records", "seed 7", "birth, name", MODEL.version):
        assert fact in said


def test_no_name_of_the_trained_records_is_in_the_file():
    model = finished(trained(MODEL))
    for term, rule in MODEL.frequencies.items():
        shares = model.frequencies[term].shares
        assert set(shares) == set(rule.shares)
        assert all(math.isclose(shares[v], rule.shares[v], rel_tol=1e-5) for v in shares)
