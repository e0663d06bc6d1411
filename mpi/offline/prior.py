"""The prior of a file: how many of its pairs are of one human, whoever they are.

Weights say what an agreement means; they belong to a kind of records, and a model brings them.
How many duplicates there are belongs to the file: a list of ten thousand of which every second
human stands there twice has a hundred times the prior of a state's index. So it is estimated
from the file's own pairs, without truth: each counts as the chance, by the prior assumed, that it
is of one human, and the sum gives the next prior, until the two agree (expectation maximisation
with the weights held fast).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from mpi.offline.blocks import Longs, distinct

#: About so many pairs are compared; of more, every second, third, ... stands for all.
SAMPLE = 20_000
#: One number is told from fewer records than hundreds of weights are.
FEWEST_RECORDS, FEWEST_PAIRS = 200, 100
#: Evidence is counted in steps of so many bits.
_STEP = 0.1
_MOST_ROUNDS = 500
#: Rounds end when the prior moves by less than this many bits.
_CLOSE = 1e-4
#: At most every second pair is of one human, and at least one pair is.
_MOST_SHARE = 0.5

Evidence = Mapping[float, float]


def prior_of(
    count: int,
    batches: Sequence[Longs],
    evidence: Callable[[int, int], float],
    assumed: float,
) -> float:
    """The prior in bits; the assumed one where the file is too small to say.

    Args:
        count: records of the file.
        batches: the pairs that share a key; the others are of two humans.
        evidence: of two records, in bits without the prior.
        assumed: prior of the model, where the search begins.
    """
    step = 1 + sum(map(len, batches)) // SAMPLE
    pairs = list(_every(batches, step))
    if count < FEWEST_RECORDS or len(pairs) < FEWEST_PAIRS:
        return assumed
    found = Counter(round(evidence(one, other) / _STEP) * _STEP for one, other in pairs)
    return settled({bits: times * step for bits, times in found.items()}, count, assumed)


def settled(evidence: Evidence, count: int, assumed: float) -> float:
    """The prior that expects as many pairs of one human as it says there are.

    Args:
        evidence: how many pairs have so many bits of evidence.
        count: records of the file.
        assumed: where the search begins.
    """
    all_pairs = count * (count - 1) / 2
    prior = assumed
    for _ in range(_MOST_ROUNDS):
        expected = sum(times * _chance(bits + prior) for bits, times in evidence.items())
        share = min(max(expected, 1.0) / all_pairs, _MOST_SHARE)
        before, prior = prior, math.log2(share / (1 - share))
        if abs(prior - before) < _CLOSE:
            break
    return prior


def _chance(bits: float) -> float:
    return 1 / (1 + math.exp2(-max(min(bits, 500.0), -500.0)))


def _every(batches: Iterable[Longs], step: int) -> Iterator[tuple[int, int]]:
    """One pair in so many, of each batch; the same ones for the same file."""
    for number, batch in enumerate(batches):
        yield from distinct(batch)[number % step :: step]
