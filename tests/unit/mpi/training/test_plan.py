"""What `config/mpi/training.toml` and `gold.csv` may say, and how their faults are told."""

from pathlib import Path

import pytest

from hie.kernel.errors import HieError
from mpi.training.plan import load_plan
from mpi.training.suite import load_suite
from tests.support.mpi import SETTINGS
from tests.support.tree import ROOT

FOLDER = ROOT / "config" / "mpi"
HEADER = "pair,record_id,category,truth,given,family,birth_date"


def test_the_committed_plan_can_be_used():
    plan = load_plan(FOLDER)
    assert len(plan.rules) >= 2
    assert 0 < plan.recall < 1
    assert 0 <= plan.gates.changed < 0.1


@pytest.mark.parametrize(
    ("line", "written", "fault"),
    [
        ('rules = ["birth", "name", "ssn"]', 'rules = ["birth", "shoe"]', "`rules`: expected comp"),
        ("recall = 0.75", 'recall = "much"', "`recall`: expected a number"),
        ("changed = 0.02", "", "`gates.changed`: expected a number"),
        ("worth = 5.0", "worth = [", "must be TOML"),
    ],
)
def test_a_fault_of_the_plan_names_its_key(line: str, written: str, fault: str, tmp_path: Path):
    text = (FOLDER / "training.toml").read_text(encoding="utf-8")
    assert line in text
    (tmp_path / "training.toml").write_text(text.replace(line, written), encoding="utf-8")
    with pytest.raises(HieError, match=fault):
        load_plan(tmp_path)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (["1,1a,a,same,Ann,Quin,1980-01-01", "2,2a,a,same,Ann,Quin,1980-01-01"], "two rows of one"),
        (["1,1a,a,perhaps,Ann,Quin,1980-01-01", "1,1b,a,perhaps,Ann,Quin,1980-01-01"], "`same` or"),
    ],
)
def test_a_fault_of_the_known_pairs_names_the_pair(rows: list[str], fault: str, tmp_path: Path):
    path = tmp_path / "gold.csv"
    path.write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8")
    with pytest.raises(HieError, match=fault):
        load_suite(path, SETTINGS)
