"""Training as it runs: Splink on DuckDB and on Spark, and what the model it learns is worth.

Long form only: it needs the extra `mpi-train` and a Java runtime, which `make test-long` installs.
"""

import math
import os
import sys
from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest

from mpi.levels import COMPARISONS
from mpi.models import Why
from mpi.redecide import lines
from mpi.settings import LinkageModel, MpiSettings
from mpi.training import gates
from mpi.training.engine import Engine, Function, duckdb_engine, spark_engine
from mpi.training.fields import Knowledge, level_functions, term_functions
from mpi.training.finish import finished
from mpi.training.plan import load_plan
from mpi.training.records import Records
from mpi.training.suite import load_suite, rates
from mpi.training.train import Trained, train
from tests.conftest import IS_LONG
from tests.support.memory_index import MemoryIndex
from tests.support.mpi import MODEL, SETTINGS, START_US, Index
from tests.support.people import population
from tests.support.splink_scores import score_both
from tests.support.training import known_pairs, shares_of, town
from tests.support.tree import ROOT

pytestmark = [
    pytest.mark.skipif(not IS_LONG, reason="trains for minutes"),
    # Splink, DuckDB and Spark warn of what is theirs to mend.
    pytest.mark.filterwarnings("ignore"),
]
KNOWLEDGE = Knowledge.of(SETTINGS)
LEVELS = level_functions(MODEL, KNOWLEDGE)
FUNCTIONS: tuple[Function, ...] = (*LEVELS, *term_functions(MODEL, KNOWLEDGE))
FOLDER = ROOT / "config" / "mpi"
PLAN = load_plan(FOLDER)
#: Humans of the towns, and random pairs: Spark starts a Python process for every step.
LARGE, SMALL = (3_000, 200_000), (400, 10_000)


def tell(text: str) -> None:
    """Show a figure under `pytest -s`."""
    sys.stdout.write(f"  {text}\n")


def learnt(engine: Engine, size: tuple[int, int]) -> Trained:
    humans, pairs = size
    records, _ = town(71, humans)
    plan = replace(PLAN, pairs=pairs, fewest_pairs=20)
    return train(records, MODEL, LEVELS, plan, engine, tell)


@pytest.fixture(scope="module")
def trained() -> LinkageModel:
    with duckdb_engine(FUNCTIONS) as engine:
        return finished(learnt(engine, LARGE))


def settings_with(model: LinkageModel) -> MpiSettings:
    return replace(SETTINGS, model=model)


def test_our_scorer_equals_splinks_match_weights_on_duckdb(trained):
    pairs = known_pairs(seed=73, humans=400)
    for model in (MODEL, trained):
        with duckdb_engine(FUNCTIONS) as engine:
            scored = score_both(pairs, model, KNOWLEDGE, engine, shares_of(pairs))
        tell(f"{len(scored)} pairs, largest gap {max(s.gap for s in scored):.1e} bits")
        assert len(scored) > 1_500
        assert max(pair.gap for pair in scored) < 1e-9


def test_duckdb_and_spark_learn_the_same_model():
    with duckdb_engine(FUNCTIONS) as engine:
        here = learnt(engine, SMALL)
    # Workers of a local Spark find the hub where this test does.
    os.environ["PYTHONPATH"] = str(ROOT)
    pairs = known_pairs(seed=74, humans=40)
    with spark_engine(FUNCTIONS, "local[2]") as engine:
        there = learnt(engine, SMALL)
        scored = score_both(pairs, MODEL, KNOWLEDGE, engine, shares_of(pairs))
    gaps = {
        f"{name}.{label}": abs(level.bits - there.model.levels[name][label].bits)
        for name in COMPARISONS
        for label, level in here.model.levels[name].items()
    }
    tell(f"largest gap of a level {max(gaps.values()):.1e} bits")
    # Both add up the same numbers, in another order.
    assert max(gaps.values()) < 1e-9
    assert math.isclose(here.model.prior_bits, there.model.prior_bits, rel_tol=1e-12)
    assert max(pair.gap for pair in scored) < 1e-9


def test_a_trained_model_links_another_town_at_least_as_well(trained):
    found = {}
    for name, model in (("committed", MODEL), ("trained", trained)):
        index = MemoryIndex(settings_with(model))
        sightings = population(75, humans=1_500)
        for sighting in sightings:
            index.add(sighting)
        human = {f"{s.source}{s.mrn}": s.human for s in sightings}
        linked = [
            human[one] == human[other]
            for members in index.members.values()
            for one, other in combinations(members, 2)
        ]
        true_pairs = sum(n * (n - 1) // 2 for n in Counter(human.values()).values())
        precision, recall = sum(linked) / len(linked), sum(linked) / true_pairs
        found[name] = 2 * precision * recall / (precision + recall)
        tell(f"{name}: precision {precision:.4f}, recall {recall:.4f}, F1 {found[name]:.4f}")
        assert precision >= 0.999
    assert found["trained"] >= found["committed"] - 0.005
    assert found["trained"] >= 0.98


def test_a_trained_model_passes_its_gates(trained):
    pairs = load_suite(FOLDER / "gold.csv", SETTINGS)
    before = rates(pairs, SETTINGS, MODEL)
    after = rates(pairs, SETTINGS, trained)
    assert gates.monotone(trained).faults == ()
    assert gates.suite(before, after, PLAN.gates).faults == ()


def test_the_same_records_and_seed_give_the_same_model():
    versions = set()
    for _ in range(2):
        with duckdb_engine(FUNCTIONS) as engine:
            versions.add(finished(learnt(engine, SMALL)).version)
    assert len(versions) == 1


async def test_an_index_teaches_a_model_that_then_decides_in_it(database):
    index = Index(database)
    async with database.transaction() as conn:
        await index.mpi.start(conn, now_us=START_US)
    for sighting in population(77, humans=300):
        await index.see(sighting.patient, sighting.mrn, sighting.source)
    records = Records()
    async with database.reading() as conn:
        async for page in index.mpi.trials.records(conn):
            for opened in page:
                records.add(opened.member.record_id, opened.demographics, opened.member.person_id)
    plan = replace(PLAN, pairs=20_000, fewest_pairs=20)
    with duckdb_engine(FUNCTIONS) as engine:
        model = finished(train(records, MODEL, LEVELS, plan, engine, tell))
    async with database.reading() as conn:
        found = await index.mpi.trials.redecide(conn, model, 300, 1, lambda *_: None)
    tell("; ".join(lines(found)))
    assert found.looked_at == 300
    assert found.changed_share < 0.1
    why = Why(actor="steward:kim", reason="learnt here")
    async with database.transaction() as conn:
        await index.mpi.models.activate(conn, model, why, now_us=START_US)
    async with database.reading() as conn:
        assert await index.mpi.follow(conn)
    assert index.mpi.trials.model.version == model.version
