"""Pairs of records as a mixture of one human, one household and strangers, fitted by EM.

The three classes agree independently field by field; of a household, all fields but those
that a family shares agree as of strangers, birth dates but for twins. Pairs that share no
blocking key are strangers; a random few of them stand for all. So rare agreement among
strangers, which a sample hardly meets, is counted where it is found: among the pairs that
share a key.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mpi.levels import COMPARISONS, Birth

#: What a household shares, and how it agrees where the fit starts; the rest is as of strangers.
_FAMILY: dict[str, dict[str, float]] = {
    "name": {"last-only": 0.75, "last-close": 0.1, "last-part": 0.02, "none": 0.08},
    "household": {
        "address-and-phone": 0.4, "address": 0.4, "phone": 0.1, "street": 0.06, "zip": 0.02,
    },
    "email": {"same": 0.3, "differs": 0.7},
    "mother": {"same": 0.5, "differs": 0.5},
}  # fmt: skip
#: Of two members of one household, how many are born on one day: twins.
_TWINS = 0.005
#: A level that the start does not name.
_UNNAMED = 0.003
#: Rounds end when the share of matches moves by less than this part of itself.
_CLOSE = 1e-5
#: A class is a household's if this much of it agrees on surname and this much on the home.
_LEAST_SURNAME, _LEAST_HOME = 0.5, 0.3
#: Where families are rarer than this for each match, the class has taken up misspelt matches.
_LEAST_FAMILIES = 0.25
_SURNAMES = ("last-only", "last-close", "last-part", "last-alone", "exact")
_HOMES = ("address-and-phone", "address", "phone")

Shares = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """What was fitted: per class its share of all pairs, and how it agrees.

    Attributes:
        match, other: comparison, then level, to its probability for the records of one human,
            and of two strangers.
        family: the same for two of one household, of the comparisons in which they differ from
            strangers; empty where there are none to tell apart.
        household_share: 0 where there are no households to tell apart.
    """

    match_share: float
    household_share: float
    match: Shares
    other: Shares
    family: Shares
    rounds: int


class Mixture:
    """The mixture of one file.

    Args:
        blocked: patterns of the pairs that share a key, and how often each occurs.
        strangers: patterns of pairs drawn at random among those that share no key.
        all_pairs: how many pairs there are in all.
        pseudo: added to the count of every level, in pairs of the samples.
    """

    def __init__(
        self,
        blocked: Mapping[tuple[str | None, ...], int],
        strangers: Mapping[tuple[str | None, ...], int],
        *,
        all_pairs: float,
        pseudo: float,
    ) -> None:
        self._slots = {
            (name, level.value): slot
            for slot, (name, level) in enumerate(
                (name, level) for name, levels in COMPARISONS.items() for level in levels
            )
        }
        self._columns = [
            [self._slots[name, level.value] for level in levels]
            for name, levels in COMPARISONS.items()
        ]
        self._blocked = [
            (self._numbered(p), count) for p, count in sorted(blocked.items(), key=repr)
        ]
        self._random = [
            (self._numbered(p), count) for p, count in sorted(strangers.items(), key=repr)
        ]
        self._all = max(all_pairs, 2.0)
        self._pseudo = pseudo
        shared = sum(blocked.values())
        drawn = max(sum(strangers.values()), 1)
        # How many pairs without a common key each drawn one stands for.
        self._scale = max((self._all - shared) / drawn, 1.0)
        self._apart = [count * self._scale for count in self._counted(self._random)]

    def fit(self, start: Mapping[str, Mapping[str, float]], most_rounds: int) -> Classes:
        """The classes that make the pairs likeliest.

        Args:
            start: comparison, then level, to m where the fit starts.
            most_rounds: bound on the work.
        """
        with_family = self._run(start, most_rounds, has_family=True)
        if self._has_families(with_family):
            return self._classes(with_family)
        return self._classes(self._run(start, most_rounds, has_family=False))

    def _run(
        self, start: Mapping[str, Mapping[str, float]], most_rounds: int, *, has_family: bool
    ) -> "_State":
        shared = self._counted(self._blocked)
        both = [a + 0.8 * b for a, b in zip(self._apart, shared, strict=True)]
        stranger = self._spread(both, self._pseudo * self._scale)
        blocked = sum(count for _, count in self._blocked)
        state = _State(
            match=self._started(start),
            stranger=stranger,
            family=self._started(_FAMILY, stranger) if has_family else None,
            match_share=0.2 * blocked / self._all,
            family_share=0.2 * blocked / self._all if has_family else 0.0,
        )
        for _ in range(most_rounds):
            before = state.match_share
            self._round(state)
            state.rounds += 1
            if abs(state.match_share - before) < _CLOSE * before:
                break
        return state

    def _round(self, state: "_State") -> None:
        """Expectation: of which class each pattern is. Maximisation: what the classes look like."""
        match, family = [0.0] * len(self._slots), [0.0] * len(self._slots)
        strangers = list(self._apart)
        matches = families = 0.0
        weigh = state.weigher()
        for slots, count in self._blocked:
            of_match, of_family = weigh(slots)
            of_match, of_family = of_match * count, of_family * count
            matches += of_match
            families += of_family
            rest = count - of_match - of_family
            for slot in slots:
                match[slot] += of_match
                family[slot] += of_family
                strangers[slot] += rest
        least = 0.5 / self._all
        state.match_share = max(matches / self._all, least)
        state.match = self._spread(match)
        state.stranger = self._spread(strangers, self._pseudo * self._scale)
        if state.family is not None:
            state.family_share = max(families / self._all, least)
            state.family = self._spread(family)
            self._keep_strange(state.family, state.stranger)

    def _keep_strange(self, family: list[float], stranger: Sequence[float]) -> None:
        for name, column in zip(COMPARISONS, self._columns, strict=True):
            if name not in _FAMILY:
                for slot in column:
                    family[slot] = stranger[slot]
        for level in Birth:
            family[self._slots["birth", level.value]] *= 1 - _TWINS
        family[self._slots["birth", Birth.EXACT.value]] += _TWINS

    def _has_families(self, state: "_State") -> bool:
        family = state.family or []
        seen = {slot for slots, _ in self._blocked for slot in slots}
        if not any(self._slots["household", level] in seen for level in _HOMES):
            return False
        if state.family_share < _LEAST_FAMILIES * state.match_share:
            return False
        surname = sum(family[self._slots["name", level]] for level in _SURNAMES)
        home = sum(family[self._slots["household", level]] for level in _HOMES)
        return surname >= _LEAST_SURNAME and home >= _LEAST_HOME

    def _numbered(self, pattern: tuple[str | None, ...]) -> tuple[int, ...]:
        return tuple(
            self._slots[name, level]
            for name, level in zip(COMPARISONS, pattern, strict=True)
            if level is not None
        )

    def _counted(self, pairs: Sequence[tuple[tuple[int, ...], int]]) -> list[float]:
        counts = [0.0] * len(self._slots)
        for slots, count in pairs:
            for slot in slots:
                counts[slot] += count
        return counts

    def _spread(self, counts: Sequence[float], pseudo: float | None = None) -> list[float]:
        """Counts to shares within each comparison."""
        pseudo = self._pseudo if pseudo is None else pseudo
        shares = [0.0] * len(counts)
        for column in self._columns:
            total = sum(counts[slot] for slot in column) + pseudo * len(column)
            for slot in column:
                shares[slot] = (counts[slot] + pseudo) / total
        return shares

    def _started(
        self, start: Mapping[str, Mapping[str, float]], rest: Sequence[float] | None = None
    ) -> list[float]:
        shares = [0.0] * len(self._slots)
        for name, column in zip(COMPARISONS, self._columns, strict=True):
            named = start.get(name)
            levels = [level.value for level in COMPARISONS[name]]
            if named is None:
                values = [rest[slot] if rest else 1.0 for slot in column]
            else:
                values = [max(named.get(level, _UNNAMED), _UNNAMED) for level in levels]
            for slot, value in zip(column, values, strict=True):
                shares[slot] = value / sum(values)
        return shares

    def _classes(self, state: "_State") -> Classes:
        return Classes(
            match_share=state.match_share,
            household_share=state.family_share,
            match=self._named(state.match),
            other=self._named(state.stranger),
            family=self._of_households(state.family),
            rounds=state.rounds,
        )

    def _of_households(self, family: Sequence[float] | None) -> Shares:
        """How households agree, where otherwise than strangers."""
        named = self._named(family) if family is not None else {}
        return {name: levels for name, levels in named.items() if name in (*_FAMILY, "birth")}

    def _named(self, shares: Sequence[float]) -> Shares:
        return {
            name: {
                level.value: shares[slot]
                for level, slot in zip(COMPARISONS[name], column, strict=True)
            }
            for name, column in zip(COMPARISONS, self._columns, strict=True)
        }


@dataclass(slots=True, kw_only=True)
class _State:
    """Where a fit stands; per slot the probability of its level within the class."""

    match: list[float]
    stranger: list[float]
    family: list[float] | None
    match_share: float
    family_share: float
    rounds: int = 0

    def weigher(self) -> "_Weigher":
        """Computes, for the slots of a pattern, how likely it is a match, and a household."""
        return _Weigher(self)


class _Weigher:
    """The expectation step for one pattern, relative to strangers."""

    def __init__(self, state: _State) -> None:
        rest = 1 - state.match_share - state.family_share
        self._match = [math.log(m / u) for m, u in zip(state.match, state.stranger, strict=True)]
        self._prior = math.log(state.match_share / rest)
        self._family: list[float] | None = None
        if state.family is not None:
            pairs = zip(state.family, state.stranger, strict=True)
            self._family = [math.log(f / u) for f, u in pairs]
            self._family_prior = math.log(state.family_share / rest)

    def __call__(self, slots: tuple[int, ...]) -> tuple[float, float]:
        match = self._prior + sum(map(self._match.__getitem__, slots))
        odds = math.exp(min(match, 500.0))
        if self._family is None:
            return odds / (1 + odds), 0.0
        family = self._family_prior + sum(map(self._family.__getitem__, slots))
        family_odds = math.exp(min(family, 500.0))
        total = 1 + odds + family_odds
        return odds / total, family_odds / total
