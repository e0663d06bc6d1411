"""How right the linker is on public sets, by models fitted once without their truth.

The figures are floors: `python -m bench.accuracy` prints what is reached, by category. Thresholds
are those of `config/mpi/linkage.toml`, one for all sets.
"""

import subprocess
from pathlib import Path

import pytest

from bench.accuracy import Figures, measure, settings_for, with_weights
from bench.datasets import DataSet, all_sets, census
from mpi.offline.link import train
from tests.conftest import IS_LONG
from tests.support.mpi import SETTINGS
from tests.support.tree import ROOT

SETS = {data.name: data for data in all_sets()}
FEBRL = [name for name in SETS if name.startswith("febrl")]
CENSUS_PYTHON = ROOT / ".venv-census" / "bin" / "python"
only_long = pytest.mark.skipif(not IS_LONG, reason="HIE_TEST_LONG=1 trains and simulates a census")


def trained(data: DataSet, folder: Path) -> Figures:
    """Figures of a set by a model fitted to it here and now."""
    records = data.records(SETTINGS, folder)
    fitted = train(records, SETTINGS, lambda *_: None, "fitted")
    assert fitted.is_fitted
    return measure(data, with_weights(SETTINGS, fitted.model), folder)


def assert_febrl(found: Figures):
    assert found.scorer.f1 >= (0.985 if "without" in found.name else 0.995)
    assert found.links.precision >= 0.999
    assert found.shown >= 0.98


@pytest.mark.parametrize("name", FEBRL)
def test_febrl_is_found_and_never_linked_wrongly(tmp_path, name):
    found = measure(SETS[name], settings_for(SETS[name], SETTINGS), tmp_path)
    assert_febrl(found)
    assert found.scorer.f1 >= (0.985 if "without" in name else 0.997)
    assert found.links.recall >= (0.55 if "without" in name else 0.78)


@pytest.mark.parametrize("name", ["RLdata500", "RLdata10000"])
def test_names_and_birth_dates_alone_are_enough_to_find_and_not_to_link_wrongly(tmp_path, name):
    found = measure(SETS[name], settings_for(SETS[name], SETTINGS), tmp_path)
    assert found.scorer.f1 >= 0.93
    assert found.links.precision >= 0.999


def test_the_hubs_own_weights_find_them_too_by_the_prior_of_the_file(tmp_path):
    found = measure(SETS["RLdata10000"], SETTINGS, tmp_path)
    assert found.scorer.f1 >= 0.93
    assert found.links.precision >= 0.999
    assert found.links.recall >= 0.58


@only_long
@pytest.mark.parametrize("name", FEBRL)
def test_febrl_is_found_by_a_model_fitted_to_it(tmp_path, name):
    assert_febrl(trained(SETS[name], tmp_path))


@only_long
def test_names_and_birth_dates_are_enough_for_a_model_fitted_to_them(tmp_path):
    found = trained(SETS["RLdata10000"], tmp_path)
    assert found.scorer.f1 >= 0.93
    assert found.links.precision >= 0.999


@pytest.fixture(scope="module")
def censuses(tmp_path_factory) -> DataSet:
    """Two simulated censuses of one town, with households and twins."""
    assert CENSUS_PYTHON.exists(), "run `make census` first"
    path = tmp_path_factory.mktemp("census") / "census.csv"
    subprocess.run([CENSUS_PYTHON, ROOT / "bench" / "census_people.py", path], check=True)
    return census(path)


@only_long
@pytest.mark.parametrize("is_fitted_here", [False, True], ids=["committed model", "fitted here"])
def test_a_census_with_families_is_linked_almost_whole_and_almost_never_wrongly(
    tmp_path, censuses, is_fitted_here
):
    committed = settings_for(censuses, SETTINGS)
    found = (
        trained(censuses, tmp_path) if is_fitted_here else measure(censuses, committed, tmp_path)
    )
    assert found.scorer.f1 >= 0.98
    assert found.links.f1 >= 0.95
    assert found.links.precision >= 0.999
    assert found.links.recall >= 0.89
    assert found.shown >= 0.99
