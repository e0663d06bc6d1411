"""Pairs that cannot come to anything, told by a few of their fields.

Most pairs that share a key are strangers: neighbours, namesakes, people born on one day. Their
names and birth dates weigh so little that the best of all the rest would not make a human look
at them. The sieve adds up the most they could reach, and gives up as soon as that is too
little; what it lets through is compared in full, so that no result changes.
"""

from collections.abc import Mapping
from functools import lru_cache

from mpi.combinations import Pack
from mpi.compare import Comparer, Names, birth, ssn, year_gap
from mpi.demographics import Demographics
from mpi.guard import ONE_HOME, may_be_family
from mpi.household import household
from mpi.levels import COMPARISONS, Birth, First, Last, Number, Same
from mpi.settings import Level, LinkageModel

#: Bits by which the most a pair can reach may be wrong: sums are rounded in another order.
_ROUNDING = 1e-6
#: Levels at which a field of a combination may agree, exactly or nearly.
_FIRST = frozenset({First.EXACT, First.NICKNAME, First.TYPO})
_LAST = frozenset({Last.EXACT, Last.TYPO})
_BIRTH = frozenset({Birth.EXACT, Birth.EDIT})
#: Fields of combinations, in the order in which `_could_hit` says whether they may agree.
_FIELDS: tuple[tuple[str, ...], ...] = (
    ("first",),
    ("last",),
    ("birth",),
    ("ssn", "last4"),
    ("identifier", "mbi", "legal_id", "member_id"),
    ("phone",),
    ("email",),
    ("itin4",),
)


class Sieve:
    """Tells hopeless pairs.

    Args:
        model: weights, thresholds and combinations.
        comparer: compares names and identifiers.
        pack: the combinations, ready to ask.
    """

    def __init__(self, model: LinkageModel, comparer: Comparer, pack: Pack) -> None:
        self._comparer = comparer
        thresholds = model.thresholds
        self._review = thresholds.review - _ROUNDING
        self._family = min(thresholds.family, thresholds.review) - _ROUNDING
        self._prior = model.prior_bits
        bits = {name: _bits(model.levels[name]) for name in COMPARISONS}
        self._most = {name: max(0.0, *levels.values()) for name, levels in bits.items()}
        # How rare an agreed name is weighs at most so much on top.
        self._name = {
            level: weight
            + sum(rule.most for rule in model.frequencies.values() if level in rule.levels)
            for level, weight in bits["name"].items()
        }
        self._birth, self._sex, self._household = bits["birth"], bits["sex"], bits["household"]
        self._ssn, self._identifier = bits["ssn"], bits["identifier"]
        self._pack = pack
        self._may_hit = lru_cache(maxsize=None)(self._look)

    def is_hopeless(self, one: Demographics, other: Demographics) -> bool:
        """Whether no human would be shown the two: too few bits, and no combination."""
        names, *_ = self._comparer.names(one, other)
        born = birth(one.birth_date, other.birth_date)
        number, identifier = ssn(one, other), self._comparer.identifier(one, other)
        bits = (
            self._prior
            + self._name.get(names.name, 0.0)
            + self._birth.get(born, 0.0)
            + self._ssn.get(number, 0.0)
            + self._identifier.get(identifier, 0.0)
            + self._rest(one, other)
        )
        gap = year_gap(one.birth_date, other.birth_date) or 0
        least = self._family if may_be_family(names.first, names.last, born, gap) else self._review
        if bits + self._most["household"] >= least:
            place = household(one, other)
            if place is not None and place not in ONE_HOME:
                least = self._review
            if bits + self._household.get(place, 0.0) >= least:
                return False
        return not self._could_hit(one, other, names, born, (number, identifier))

    def _rest(self, one: Demographics, other: Demographics) -> float:
        """The most that the fields could weigh that are not compared here, where both hold one."""
        most = self._most
        bits = 0.0
        if one.sex and other.sex:
            bits += self._sex.get(Same.SAME if one.sex == other.sex else Same.DIFFERS, 0.0)
        if one.middle and other.middle:
            bits += most["middle"]
        if one.suffix and other.suffix:
            bits += most["suffix"]
        if one.birth_order and other.birth_order:
            bits += most["birth_order"]
        if one.emails and other.emails:
            bits += most["email"]
        if one.mothers and other.mothers:
            bits += most["mother"]
        return bits

    def _could_hit(
        self,
        one: Demographics,
        other: Demographics,
        names: Names,
        born: Birth | None,
        numbers: tuple[Number | None, Same | None],
    ) -> bool:
        """Whether the two may satisfy a combination."""
        return self._may_hit(
            names.first in _FIRST,
            names.last in _LAST,
            born in _BIRTH,
            numbers[0] is not None,
            numbers[1] is Same.SAME,
            not set(one.phones).isdisjoint(other.phones),
            bool(one.emails and other.emails),
            bool(one.itin and other.itin),
        )

    def _look(self, *agree: bool) -> bool:
        fields = zip(_FIELDS, agree, strict=True)
        possible = {name for names, may_agree in fields if may_agree for name in names}
        return self._pack.may_hit(frozenset({"street", "zip", *possible}))


def _bits(levels: Mapping[str, Level]) -> dict[str | None, float]:
    return {level: weight.bits for level, weight in levels.items()}
