"""Estimates and what they rest on, to the levels of a model.

Every share is drawn towards the model trained from, which counts as a few observations. A level
that neither strangers nor one person's records show keeps its weight, as far as the order of
the levels allows: of a town whose records all name one city, nothing is learnt about cities.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mpi.fit import in_orders
from mpi.settings import Level

#: Probabilities are kept within these: a model file has six digits, and 1 is none.
LEAST, MOST = 1e-12, 0.999999

Orders = tuple[tuple[StrEnum, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rested:
    """What the estimates of a comparison rest on.

    Attributes:
        strangers: pairs of two persons that showed the comparison.
        matches: pairs of one person that did, as far as Splink could tell.
        left: share of the strangers that were one person all the same.
    """

    strangers: float = 0.0
    matches: float = 0.0
    left: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What Splink says of a level; 0 where it never saw it."""

    m: float = 0.0
    u: float = 0.0


def blended(
    learnt: Mapping[str, Estimate],
    base: Mapping[str, Level],
    rested: Rested,
    worth: float,
    orders: Orders,
) -> dict[str, Level]:
    """The levels of a comparison.

    Args:
        learnt: estimates by level.
        base: the levels of the model trained from.
        rested: what the estimates rest on.
        worth: how many observations a level of `base` counts as.
        orders: levels of which each weighs at least as much as the next.
    """
    if not rested.matches or not rested.strangers:
        return dict(base)
    found, unseen = {}, []
    for label, level in base.items():
        estimate = learnt.get(label, Estimate())
        m = drawn(estimate.m, rested.matches, level.m, worth)
        # Splink saw u of all pairs of the sample: those of one person are taken off.
        u = max(0.0, estimate.u - rested.left * estimate.m)
        found[label] = Level(m=m, u=drawn(u, rested.strangers, level.u, worth))
        if estimate.m * rested.matches < worth and u * rested.strangers < worth:
            unseen.append(label)
    for label in unseen:
        bits = _between(label, base[label].bits, found, unseen, orders)
        found[label] = _weighing(base[label], bits)
    return found


def ordered(levels: Mapping[str, Level], orders: Orders) -> tuple[dict[str, Level], list[str]]:
    """The levels with weights that fall along their orders, and which of them were changed.

    Neighbours that stand wrong take their common weight: chance, or families among the pairs,
    put them so, and neither is a reason to weigh less agreement more.
    """
    m = {label: level.m for label, level in levels.items()}
    u = {label: level.u for label, level in levels.items()}
    named = [[level.value for level in order if level.value in levels] for order in orders]
    pooled = in_orders(m, u, named)
    return {label: _level(m[label], u[label]) for label in levels}, pooled


def _level(m: float, u: float) -> Level:
    """The level of this ratio; both become smaller where m would be more than a probability."""
    return Level(m=m, u=u) if m <= MOST else Level(m=MOST, u=_probability(u * MOST / m))


def drawn(learnt: float, observations: float, base: float, worth: float) -> float:
    """A share learnt from so many observations, drawn towards one that counts as a few.

    The mean after a Gamma prior of mean `base` that saw the level `worth` times: with none
    observed the level becomes no rarer than that allows, with many the base is forgotten.
    """
    return _probability((learnt * observations + worth) / (observations + worth / base))


def _between(
    label: str, bits: float, found: Mapping[str, Level], unseen: list[str], orders: Orders
) -> float:
    """The weight, no higher than that of better levels that were seen, no lower than of worse."""
    for order in orders:
        names = [level.value for level in order]
        if label not in names:
            continue
        place = names.index(label)
        better = [found[name].bits for name in names[:place] if name not in unseen]
        worse = [found[name].bits for name in names[place + 1 :] if name not in unseen]
        bits = max(min([bits, *better]), *worse) if worse else min([bits, *better])
    return bits


def _weighing(level: Level, bits: float) -> Level:
    """The level with another weight: its u follows, or its m where u would be none."""
    if bits == level.bits:
        return level
    u = level.m / 2**bits
    if u < MOST:
        return Level(m=level.m, u=_probability(u))
    return Level(m=_probability(level.u * 2**bits), u=level.u)


def _probability(share: float) -> float:
    return min(max(share, LEAST), MOST)
