"""Agreement levels to evidence in bits, field by field, after Fellegi and Sunter.

The score is the log2 odds that two records are one person: the prior plus, for every
comparison, log2(m / u) of its level. A missing field weighs nothing. The sum is the
explanation: every piece of evidence is kept with its weight.

Surname, home and e-mail of two people of one household agree together, so as evidence against
strangers each is counted again. Where the model knows households, one more piece of evidence
takes off what they explain: log2(1 + odds of a household against strangers), never more than 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from mpi.compare import Comparison
from mpi.levels import COMPARISONS, EXPECTED, FAMILY, MatchGrade
from mpi.settings import LinkageModel, TermFrequency, Thresholds

#: More than this is not worth a line.
_NOTHING = -0.005
#: Share of a value among the hub's own records, by field and value; None where not counted.
Shares = Callable[[str, str], float | None]


class Evidence(NamedTuple):
    """What one comparison adds; a tuple, because a score makes many of them.

    Attributes:
        bits: log2(m / u), and term_bits on top for how rare the agreed values are.
    """

    comparison: str
    level: str
    bits: float
    term_bits: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The evidence for one pair, and its sum with the prior."""

    bits: float
    evidence: tuple[Evidence, ...] = ()


class Scorer:
    """Scores comparisons by one model.

    Args:
        model: weights and shares known beforehand.
        shares: shares learnt from the hub's own records; these win.
    """

    def __init__(self, model: LinkageModel, shares: Shares | None = None) -> None:
        self._prior = model.prior_bits
        # A level's plain text and bits; reading `value` of a member costs more than the lookup.
        self._bits = {
            comparison: {level: (str(level), weight.bits) for level, weight in levels.items()}
            for comparison, levels in ((name, model.levels[name]) for name in COMPARISONS)
        }
        self._family_bits = model.family_bits
        self._family = {
            name: {level: math.log2(w.f / w.u) for level, w in levels.items() if w.f}
            for name, levels in model.levels.items()
            if model.family_bits is not None and any(weight.f for weight in levels.values())
        }
        self._terms = {
            field: _Terms(field, rule, shares) for field, rule in model.frequencies.items()
        }

    def score(self, comparison: Comparison) -> Score:
        """The evidence of a comparison, in the order of the model."""
        total, rarity, evidence = self._prior, 0.0, []
        for name, weights in self._bits.items():
            level = comparison.level(name)
            weight = weights.get(level) if level is not None else None
            if level is None or weight is None:
                continue
            text, bits = weight
            term_bits = self._term_bits(level, comparison) if name == "name" else 0.0
            total += bits + term_bits
            rarity += term_bits
            evidence.append(Evidence(comparison=name, level=text, bits=bits, term_bits=term_bits))
        if self._family_bits is not None:
            bits = self._explained(comparison, self._family_bits + rarity)
            if bits < _NOTHING:
                total += bits
                evidence.append(Evidence(comparison=FAMILY, level=EXPECTED, bits=bits))
        return Score(bits=total, evidence=tuple(evidence))

    def _explained(self, comparison: Comparison, odds: float) -> float:
        """What a household explains of the agreement: 0 bits or less.

        `odds` are those of a household before the fields are looked at, in bits, and how rare
        an agreed name is: of a household it is as rare.
        """
        for name, weights in self._family.items():
            level = comparison.level(name)
            if level is not None:
                odds += weights.get(level, 0.0)
        return -math.log2(1 + math.exp2(min(odds, 500.0)))

    def _term_bits(self, level: StrEnum, comparison: Comparison) -> float:
        agreed = {"first": comparison.agreed_first, "last": comparison.agreed_last}
        return sum(
            terms.bits(agreed[field])
            for field, terms in self._terms.items()
            if level in terms.levels
        )


class _Terms:
    """Adjustment of one field for how rare the agreed value is."""

    def __init__(self, field: str, rule: TermFrequency, shares: Shares | None) -> None:
        self.levels = rule.levels
        self._field = field
        self._rule = rule
        self._shares = shares

    def bits(self, value: str) -> float:
        learnt = self._shares(self._field, value) if self._shares else None
        share = learnt or self._rule.shares.get(value) or self._rule.rarest
        if not share or not value:
            return 0.0
        bits = math.log2(self._rule.average / share)
        return max(-self._rule.most, min(self._rule.most, bits))


def grade(bits: float, thresholds: Thresholds, *, is_vetoed: bool) -> MatchGrade:
    """The FHIR match grade of a score; what the guard stopped is `possible` at best."""
    if bits < thresholds.review:
        return MatchGrade.CERTAINLY_NOT
    if is_vetoed or bits < thresholds.probable:
        return MatchGrade.POSSIBLE
    return MatchGrade.CERTAIN if bits >= thresholds.certain else MatchGrade.PROBABLE
