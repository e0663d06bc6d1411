"""A linkage model learnt from records by Splink: u of strangers, m by expectation maximisation.

Splink estimates; what its estimates rest on is kept beside them. A level that the records
hardly show stays near the model trained from, and pairs of one person among the random ones
are taken off: with a million records they are as many as strangers of one name.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from hie.kernel.errors import Category, HieError
from mpi.levels import COMPARISONS, ORDERS
from mpi.settings import LinkageModel
from mpi.training.blend import LEAST, MOST, Estimate, Rested, blended, ordered
from mpi.training.engine import Engine, imported
from mpi.training.fields import NOTHING, LevelFunction
from mpi.training.plan import TrainingPlan
from mpi.training.records import Records, Rule, count_pairs, pairs_by, strangers
from mpi.training.splink_settings import (
    Json,
    prior_bits,
    probability,
    splink_settings,
    trained_levels,
)

#: Told what is being done, a line each.
Say = Callable[[str], None]
#: Pairs of a rule looked at to see how many of them hold a comparison's fields.
LOOKED_AT = 5_000
#: Strangers of whom every pair is looked at for the same.
LOOKED_SIDE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A model and how it came about.

    Attributes:
        model: not yet named: `version` and `text` are those of the model trained from.
        rested: by comparison.
        notes: facts for the model file: records, pairs, engine, rules used.
        settings: what Splink itself estimated, as it saves its models.
    """

    model: LinkageModel
    rested: Mapping[str, Rested]
    notes: Mapping[str, str | float]
    settings: Json


@dataclass(slots=True)
class _Training:
    """One run: the pieces that its steps share."""

    records: Records
    base: LinkageModel
    functions: Mapping[str, LevelFunction]
    plan: TrainingPlan
    engine: Engine
    say: Say
    rested: dict[str, Rested] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)
    left: float = 0.0

    def linker(self, table: Any, settings: Json) -> Any:
        return imported("splink").Linker(table, settings)

    def untrained(self) -> Json:
        """Settings without weights: Splink's own starting values let it find what is there."""
        settings = splink_settings(self.base, [_sql(self.plan.rules[0])], has_terms=False)
        for comparison in settings["comparisons"]:
            for level in comparison["comparison_levels"]:
                level.pop("m_probability", None)
                level.pop("u_probability", None)
        return settings


def train(
    records: Records,
    base: LinkageModel,
    functions: tuple[LevelFunction, ...],
    plan: TrainingPlan,
    engine: Engine,
    say: Say,
) -> Trained:
    """A model learnt from records.

    Args:
        records: a thousand or more; of a few hundred Splink learns nothing.
        base: the model in use; what is not learnt is taken over from it.
        functions: those that the engine was made with.
        plan: rules, sizes and seed.
        engine: where Splink computes.
        say: told what is being done.

    Raises:
        HieError: BUSINESS_RULE when fewer than two rules make enough pairs.
    """
    by_name = {function.comparison: function for function in functions}
    run = _Training(records, base, by_name, plan, engine, say)
    rules = _usable(run)
    settings = _learn_u(run)
    for comparison in settings["comparisons"]:
        for level in comparison["comparison_levels"]:
            level["fix_u_probability"] = "u_probability" in level
    linker = run.linker(engine.table(records), settings)
    _learn_prior(run, linker)
    for rule in rules:
        _learn_m(run, linker, rule)
    learnt = linker.misc.save_model_to_json()
    return Trained(
        model=_blended(run, learnt),
        rested=run.rested,
        notes={
            "records": len(records),
            "random_pairs": run.plan.pairs,
            "seed": plan.seed,
            "engine": engine.name,
            "rules": ", ".join(run.used),
            "from": base.version,
        },
        settings=learnt,
    )


def _usable(run: _Training) -> list[Rule]:
    pairs = {rule: count_pairs(run.records, rule) for rule in run.plan.rules}
    rules = [rule for rule, count in pairs.items() if count >= run.plan.fewest_pairs]
    if len(rules) < 2:
        text = (
            f"training needs two of its `rules` to make {run.plan.fewest_pairs} pairs or more: "
            "give it more records"
        )
        raise HieError(Category.BUSINESS_RULE, text)
    return rules


def _learn_u(run: _Training) -> Json:
    """Settings with u, learnt from every pair of a seeded sample of strangers."""
    began = time.perf_counter()
    sample = strangers(run.records, run.plan.same, run.plan.pairs, run.plan.seed)
    pairs = len(sample) * (len(sample) - 1) // 2
    linker = run.linker(run.engine.table(sample), run.untrained())
    # The sample is drawn by us, so that every engine sees the same one: Splink takes all of it.
    linker.training.estimate_u_using_random_sampling(
        max_pairs=pairs + 1.0, seed=run.plan.seed, min_count_per_level=None, num_chunks=1
    )
    some = list(combinations(range(min(len(sample), LOOKED_SIDE)), 2))
    for name, share in _shown(run, sample, some).items():
        run.rested[name] = Rested(strangers=share * pairs)
    run.say(f"u from {pairs:,} pairs of {len(sample):,} strangers, {_took(began)}")
    found: Json = linker.misc.save_model_to_json()
    return found


def _learn_prior(run: _Training, linker: Any) -> None:
    began = time.perf_counter()
    linker.training.estimate_probability_two_random_records_match(
        [_sql(rule) for rule in run.plan.same], recall=run.plan.recall
    )
    chance = linker.misc.save_model_to_json()["probability_two_random_records_match"]
    if not 0 < chance < 1:
        text = "no two records agree on one of the columns of `same`: nothing to learn from"
        raise HieError(Category.BUSINESS_RULE, text)
    # Of a sample without persons known, pairs of one person that `same` misses remain.
    has_persons = any(run.records.persons)
    run.left = 0.0 if has_persons else chance * (1 - run.plan.recall)
    run.say(f"prior {prior_bits(chance):.2f} bits, {_took(began)}")


def _learn_m(run: _Training, linker: Any, rule: Rule) -> None:
    began = time.perf_counter()
    pairs = min(count_pairs(run.records, rule), run.plan.block_pairs)
    session = linker.training.estimate_parameters_using_expectation_maximisation(
        _sql(rule),
        estimate_without_term_frequencies=True,
        max_pairs=run.plan.block_pairs if pairs == run.plan.block_pairs else None,
    )
    model = session.core_model_settings
    learnt = {comparison.output_column_name for comparison in model.comparisons}
    shown = _matches(
        run,
        rule,
        trained_levels(linker.misc.save_model_to_json()),
        model.probability_two_random_records_match,
    )
    for name, matches in shown.items():
        if name in learnt:
            rested = run.rested[name]
            run.rested[name] = replace(rested, matches=max(rested.matches, matches * pairs))
    run.used.append("+".join(rule))
    run.say(f"m from {pairs:,} pairs of one {' and '.join(rule)}, {_took(began)}")


def _matches(
    run: _Training, rule: Rule, learnt: Mapping[str, Mapping[str, Estimate]], chance: float
) -> dict[str, float]:
    """Of the pairs of a rule, the share that is one person's and shows each comparison."""
    pairs = list(pairs_by(run.records, rule, LOOKED_AT))
    found = dict.fromkeys(run.functions, 0.0)
    start = prior_bits(min(max(chance, LEAST), MOST))
    for one, other in pairs:
        bits, shown = start, []
        for name, function in run.functions.items():
            values = run.records.values[name]
            number = function(values[one], values[other])
            if number == NOTHING:
                continue
            shown.append(name)
            estimate = learnt[name].get(function.levels[number], Estimate())
            if name not in rule and estimate.m and estimate.u:
                bits += math.log2(estimate.m / estimate.u)
        for name in shown:
            found[name] += probability(bits) / len(pairs)
    return found


def _shown(run: _Training, records: Records, pairs: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Of some pairs, the share that shows each comparison."""
    shares = {}
    for name, function in run.functions.items():
        values = records.values[name]
        shown = sum(function(values[a], values[b]) != NOTHING for a, b in pairs)
        shares[name] = shown / len(pairs) if pairs else 0.0
    return shares


def _blended(run: _Training, settings: Json) -> LinkageModel:
    """The model of what Splink learnt, each level drawn towards the model trained from."""
    learnt = trained_levels(settings)
    levels = {}
    for name in COMPARISONS:
        rested = replace(run.rested[name], left=run.left)
        orders = ORDERS.get(name, ())
        drawn = blended(learnt[name], run.base.levels[name], rested, run.plan.worth, orders)
        levels[name], pooled = ordered(drawn, orders)
        if pooled:
            run.say(f"{name}: {', '.join(pooled)} stood in the wrong order and share a weight")
    chance = settings["probability_two_random_records_match"]
    # Splink's u is of strangers and households together.
    return replace(run.base, levels=levels, prior_bits=prior_bits(chance), family_bits=None)


def _sql(rule: Rule) -> str:
    return " AND ".join(f"l.{column} = r.{column}" for column in rule)


def _took(began: float) -> str:
    return f"{time.perf_counter() - began:.1f} s"
