"""Our scorer weighs as Splink does: match weights that Splink 5 gave, kept with its settings.

`pytest tests/golden/test_splink.py --golden-update` lets Splink weigh anew; it needs the extra
`mpi-train`. The long form of tests/integration/test_training.py asks Splink itself.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from mpi.compare import Comparison
from mpi.levels import COMPARISONS
from mpi.model_text import model_text
from mpi.score import Scorer
from mpi.settings import LinkageModel, read_model
from mpi.training.engine import Function, duckdb_engine
from mpi.training.fields import Knowledge, comparer, level_functions, term_functions
from mpi.training.splink_settings import splink_settings
from tests.support.mpi import MODEL, SETTINGS
from tests.support.splink_scores import score_both
from tests.support.training import known_pairs, shares_of

FILE = Path(__file__).parent / "splink" / "weights.json"
RULES = ["l.pair = r.pair"]


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.config.getoption("--golden-update", default=False):
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(json.dumps(made_by_splink(), indent=1) + "\n", encoding="utf-8")
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def made_by_splink() -> dict[str, Any]:
    model, knowledge = read_model(model_text(MODEL), "golden"), Knowledge.of(SETTINGS)
    pairs = known_pairs(seed=61, humans=120)
    shares = shares_of(pairs)
    functions: tuple[Function, ...] = (
        *level_functions(model, knowledge),
        *term_functions(model, knowledge),
    )
    with duckdb_engine(functions) as engine:
        scored = score_both(pairs, model, knowledge, engine, shares)
    compared = [comparer(knowledge).compare(one, other) for one, other in pairs]
    return {
        "model": model_text(model),
        "settings": splink_settings(model, RULES, has_terms=True),
        "shares": {
            f"{term}|{value}": share
            for comparison in compared
            for term, value in (
                ("first", comparison.agreed_first),
                ("last", comparison.agreed_last),
            )
            if (share := shares(term, value))
        },
        "pairs": [said(c) | {"weight": s.splinks} for c, s in zip(compared, scored, strict=True)],
    }


def said(comparison: Comparison) -> dict[str, Any]:
    """Levels and agreed names of a comparison, as JSON."""
    levels = {name: level for name in COMPARISONS if (level := comparison.level(name)) is not None}
    return {
        "levels": levels,
        "first": comparison.agreed_first,
        "last": comparison.agreed_last,
    }


def compared(pair: dict[str, Any]) -> Comparison:
    """The comparison that `said` wrote."""
    levels: dict[str, Any] = {
        name: kind(pair["levels"][name]) if name in pair["levels"] else None
        for name, kind in COMPARISONS.items()
    }
    return Comparison(
        first=None, last=None, agreed_first=pair["first"], agreed_last=pair["last"], **levels
    )


def model_of(golden: dict[str, Any]) -> LinkageModel:
    return read_model(golden["model"], "golden")


def test_our_scorer_gives_the_weights_that_splink_gave(golden):
    known: dict[str, float] = golden["shares"]
    scorer = Scorer(model_of(golden), lambda term, value: known.get(f"{term}|{value}"))
    gaps = [abs(scorer.score(compared(p)).bits - p["weight"]) for p in golden["pairs"]]
    assert len(gaps) > 300
    assert max(gaps) < 1e-9


def test_the_pairs_reach_every_part_of_the_score(golden):
    names = {pair["levels"].get("name") for pair in golden["pairs"]}
    assert {"exact", "nickname", "first-typo", "last-only", "none"} <= names
    seen = {name for pair in golden["pairs"] for name in pair["levels"]}
    assert seen >= {"birth", "household", "ssn", "email", "sex", "middle"}
    # Of common names and of rare ones, so that frequencies count both ways.
    assert {pair["first"] for pair in golden["pairs"]} - {""}
    assert min(golden["shares"].values()) < 0.0018 < max(golden["shares"].values())


def test_splink_is_handed_the_settings_it_weighed_by(golden):
    assert splink_settings(model_of(golden), RULES, has_terms=True) == golden["settings"]
