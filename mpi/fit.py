"""Weights fitted to the records themselves, without anybody saying who is who.

Every pair of records is of one human, of one household, or of strangers; which of the three
is not known, but each agrees in its own way, and expectation maximisation finds the shares and
the ways that make the pairs at hand likeliest. How one human's records agree (m) is taken from
the pairs that share a blocking key; how strangers agree (u) from the rest of those and from
pairs drawn at random that share none; the prior is over all pairs. Households are told apart
only where there are any; they keep brothers and sisters out of m.

Bounds, whatever the size of the file: `MOST_PAIRS` blocked and `RANDOM_PAIRS` random pairs are
compared, and at most `MOST_ROUNDS` rounds are run. Same input and seed, same model.
Method: Fellegi and Sunter 1969; Winkler 1988 (EM).
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType

from mpi.compare import Comparer, Comparison
from mpi.demographics import Demographics
from mpi.levels import COMPARISONS, ORDERS
from mpi.mixture import Classes, Mixture
from mpi.settings import Level, LinkageModel, TermFrequency

#: Blocked pairs compared at most; of more, an even sample stands for all.
MOST_PAIRS = 1_000_000
#: Pairs drawn at random, to see how strangers agree.
RANDOM_PAIRS = 200_000
MOST_ROUNDS = 200
#: With fewer records or pairs the committed weights know more than the file.
FEWEST_RECORDS = 500
FEWEST_PAIRS = 100
#: Names of fewer birth dates are not written into the model: they might point at somebody.
FEWEST_HOLDERS = 10
#: A level that no pair reached still may: pseudo-counts keep its weight finite.
_PSEUDO = 0.3
_LEAST, _MOST = 1e-9, 1 - 1e-9
#: Passes over orders that meet in a level; hardly anything is left to put right after them.
_MOST_PASSES = 100
#: Weights that differ by rounding only stand in order.
_EQUAL = 1 - 1e-9

#: One pair: its level per comparison, in the order of `COMPARISONS`; None where not compared.
Pattern = tuple[str | None, ...]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A model fitted to a file, and how the fit went.

    Attributes:
        model: the given one with new `levels`, `prior_bits`, `frequencies` and `version`;
            thresholds, keys and combinations are as they were. `text` is empty.
        matches: expected number of pairs of one human.
        household: expected number of pairs of one household; 0 where no such class was needed.
        rounds: of expectation maximisation.
        pooled: levels (`comparison.level`) whose fitted weights stood in the wrong order and
            were replaced by their common one.
        is_fitted: False where the file is too small to learn from: `model` is the given one.
    """

    model: LinkageModel
    matches: float
    household: float
    rounds: int
    pooled: tuple[str, ...] = ()
    is_fitted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What of a file the fit sees.

    Attributes:
        blocked: how often each pattern occurs among the pairs that share a blocking key.
        strangers: the same among pairs drawn at random that share no key.
        all_pairs: of the file; the prior is the share of matches among them.
        blocked_share: of the blocked pairs, the share that was compared.
        names: per field of `LinkageModel.frequencies`, how many records hold each name.
        common: the names of them that `FEWEST_HOLDERS` birth dates go with: ten records of one
            human are not ten holders of a rare name.
    """

    blocked: Mapping[Pattern, int]
    strangers: Mapping[Pattern, int]
    all_pairs: float
    blocked_share: float = 1.0
    names: Mapping[str, Mapping[str, int]]
    common: Mapping[str, Collection[str]]


class Fitter:
    """Fits models to records.

    Args:
        comparer: compares two records.
        model: where a fit starts, and what it leaves as it is (thresholds, keys,
            combinations).
        seed: of the pairs drawn at random.
        progress: told `fit`, how many pairs are compared, and how many there are to compare.
    """

    def __init__(
        self,
        comparer: Comparer,
        model: LinkageModel,
        *,
        seed: int = 1,
        progress: Progress = lambda _stage, _done, _all: None,
    ) -> None:
        self._comparer = comparer
        self._model = model
        self._seed = seed
        self._progress = progress

    def fit(
        self, records: Sequence[Demographics], blocked: Sequence[tuple[int, int]], version: str
    ) -> Fitted:
        """A linkage model fitted to records, unsupervised.

        Args:
            records: demographics, shared values already taken out; of records alike in every
                field one is enough.
            blocked: the pairs of places in `records` that share a blocking key, each once.
            version: of the model that comes out.

        Returns:
            The model and how the fit went. With fewer than `FEWEST_RECORDS` records or
            `FEWEST_PAIRS` blocked pairs the given model, and `is_fitted` False: say so.
        """
        if len(records) < FEWEST_RECORDS or len(blocked) < FEWEST_PAIRS:
            return Fitted(model=self._model, matches=0, household=0, rounds=0, is_fitted=False)
        sample = self._sample(records, blocked)
        return fit_sample(sample, self._model, version)

    def _sample(
        self, records: Sequence[Demographics], blocked: Sequence[tuple[int, int]]
    ) -> Sample:
        drawn = random.Random(self._seed)  # noqa: S311 - a sample, no secret
        taken = blocked if len(blocked) <= MOST_PAIRS else drawn.sample(blocked, MOST_PAIRS)
        total = len(taken) + RANDOM_PAIRS
        step = _Steps(self._progress, total)
        strangers = _strangers(len(records), {frozenset(pair) for pair in blocked}, drawn)
        met = Counter(patterns(records, taken, self._comparer, step))
        apart = Counter(patterns(records, strangers, self._comparer, step))
        self._progress("fit", total, total)
        return Sample(
            blocked=met,
            strangers=apart,
            all_pairs=len(records) * (len(records) - 1) / 2,
            blocked_share=len(taken) / len(blocked),
            names=_names(records),
            common=_common(records),
        )


def patterns(
    records: Sequence[Demographics],
    pairs: Iterable[tuple[int, int]],
    comparer: Comparer,
    step: Callable[[], None] = lambda: None,
) -> Iterator[Pattern]:
    """What comparing each pair gives."""
    for one, other in pairs:
        step()
        yield pattern(comparer.compare(records[one], records[other]))


def pattern(comparison: Comparison) -> Pattern:
    """The levels of a comparison, in the order of `COMPARISONS`."""
    return tuple(
        level.value if (level := comparison.level(name)) is not None else None
        for name in COMPARISONS
    )


def fit_sample(sample: Sample, model: LinkageModel, version: str) -> Fitted:
    """The model that makes the sample likeliest; see `Fitter.fit`."""
    mixture = Mixture(
        sample.blocked,
        sample.strangers,
        all_pairs=sample.all_pairs * sample.blocked_share,
        pseudo=_PSEUDO,
    )
    start = {name: {k: v.m for k, v in levels.items()} for name, levels in model.levels.items()}
    found = mixture.fit(start, most_rounds=MOST_ROUNDS)
    levels, pooled = _levels(found)
    strangers = 1 - found.match_share - found.household_share
    return Fitted(
        model=replace(
            model,
            version=version,
            prior_bits=math.log2(found.match_share / strangers),
            family_bits=math.log2(found.household_share / strangers) if found.family else None,
            levels=levels,
            frequencies=_frequencies(model.frequencies, sample),
            text="",
        ),
        matches=found.match_share * sample.all_pairs,
        household=found.household_share * sample.all_pairs,
        rounds=found.rounds,
        pooled=pooled,
    )


def _levels(found: Classes) -> tuple[Mapping[str, Mapping[str, Level]], tuple[str, ...]]:
    """The weights of every level, in order; levels that were pooled for it."""
    pooled: list[str] = []
    levels = {}
    for comparison in COMPARISONS:
        m, u = dict(found.match[comparison]), found.other[comparison]
        family = found.family.get(comparison, {})
        orders = [[level.value for level in order] for order in ORDERS.get(comparison, ())]
        pooled += [f"{comparison}.{level}" for level in in_orders(m, u, orders)]
        levels[comparison] = MappingProxyType(
            {
                level: Level(
                    m=_within(m[level]),
                    u=_within(u[level]),
                    f=_within(family[level]) if level in family else 0.0,
                )
                for level in m
            }
        )
    return MappingProxyType(levels), tuple(dict.fromkeys(pooled))


def _within(share: float) -> float:
    return min(max(share, _LEAST), _MOST)


def in_orders(
    m: dict[str, float], u: Mapping[str, float], orders: Sequence[Sequence[str]]
) -> list[str]:
    """Makes m/u fall along every order; the pooled levels.

    One order may undo a little of another, less each time; what is left at the end is raised.
    """
    pooled: dict[str, None] = {}
    for _ in range(_MOST_PASSES):
        changed = [level for order in orders for level in in_order(m, u, order)]
        if not changed:
            break
        pooled |= dict.fromkeys(changed)
    _lift(m, u, orders)
    return list(pooled)


def _lift(m: dict[str, float], u: Mapping[str, float], orders: Sequence[Sequence[str]]) -> None:
    """Raises what still weighs a little less than a level below it; ends, for it only raises."""
    for order in [*orders] * len(m):
        for better, worse in reversed([*pairwise(order)]):
            m[better] = max(m[better], u[better] * (m[worse] / u[worse]))


def in_order(m: dict[str, float], u: Mapping[str, float], order: Sequence[str]) -> list[str]:
    """Makes m/u fall along an order, pooling neighbours that stand wrong; the pooled levels.

    Args:
        m: by level; changed in place.
        u: by level.
        order: levels of which each is to weigh at least as much as the next.
    """
    blocks = [([level], m[level], u[level]) for level in order]
    merged: list[tuple[list[str], float, float]] = []
    for block in blocks:
        merged.append(block)
        while len(merged) > 1 and _ratio(merged[-2]) < _ratio(merged[-1]) * _EQUAL:
            last, before = merged.pop(), merged.pop()
            merged.append((before[0] + last[0], before[1] + last[1], before[2] + last[2]))
    changed = []
    for levels, m_sum, u_sum in merged:
        if len(levels) > 1:
            m.update({level: u[level] * m_sum / u_sum for level in levels})
            changed += levels
    return changed


def _ratio(block: tuple[list[str], float, float]) -> float:
    return block[1] / block[2]


def _frequencies(rules: Mapping[str, TermFrequency], sample: Sample) -> Mapping[str, TermFrequency]:
    """The rules with the shares of the file's own names."""
    fitted = {}
    for field, rule in rules.items():
        counts, common = sample.names.get(field, {}), sample.common.get(field, ())
        total = sum(counts.values())
        if not total:
            fitted[field] = rule
            continue
        # Two strangers agree on a name as often as its holders meet.
        average = sum((count / total) ** 2 for count in counts.values())
        shares = {n: c / total for n, c in sorted(counts.items()) if n in common}
        fitted[field] = replace(
            rule, average=average, shares=MappingProxyType(shares), rarest=1.5 / total
        )
    return MappingProxyType(fitted)


def _names(records: Iterable[Demographics]) -> dict[str, Counter[str]]:
    counted: dict[str, Counter[str]] = {"first": Counter(), "last": Counter()}
    for record in records:
        counted["first"].update(record.given[:1])
        counted["last"].update(record.surnames[:1])
    return counted


def _common(records: Iterable[Demographics]) -> dict[str, frozenset[str]]:
    births: dict[str, defaultdict[str, set[str]]] = {
        "first": defaultdict(set),
        "last": defaultdict(set),
    }
    for record in records:
        for part, values in (("first", record.given[:1]), ("last", record.surnames[:1])):
            for name in values if record.birth_date else ():
                if len(births[part][name]) < FEWEST_HOLDERS:
                    births[part][name].add(record.birth_date)
    return {
        part: frozenset(name for name, dates in found.items() if len(dates) == FEWEST_HOLDERS)
        for part, found in births.items()
    }


def _strangers(
    records: int, blocked: Collection[frozenset[int]], drawn: random.Random
) -> Iterator[tuple[int, int]]:
    """Pairs drawn at random that are not blocked."""
    for _ in range(RANDOM_PAIRS):
        one, other = drawn.randrange(records), drawn.randrange(records - 1)
        other += other >= one
        if frozenset((one, other)) not in blocked:
            yield one, other


class _Steps:
    """Tells progress every ten thousandth pair."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def __call__(self) -> None:
        self._done += 1
        if self._done % 10_000 == 0:
            self._progress("fit", self._done, self._total)
