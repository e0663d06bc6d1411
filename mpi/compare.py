"""Two records side by side: the level of agreement of every field.

Only values that both records hold are compared; a field that one of them lacks has no
level. The values that agreed are kept, because agreement on a rare one weighs more.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import product
from typing import NamedTuple

import jellyfish

from mpi.demographics import Demographics, Identifier
from mpi.household import household
from mpi.levels import Birth, First, Household, Last, Middle, Name, Number, Same
from mpi.names import GivenNames, is_close, joint, last, middle

#: Neighbouring days of two years.
_TURNS = frozenset({"-01-01", "-12-31"})
#: How two whole numbers agree by the slips of the pen between them.
_BY_SLIPS = {1: Number.EDIT, 2: Number.NEAR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What comparing two records gave; None where one of them lacks the field.

    Attributes:
        agreed_first, agreed_last: the value both hold, where it agrees exactly.
        year_gap: years between the birth dates.
        has_minor: one of the two may be registered with a parent's numbers.
        has_child: one of the two is known to be a minor.
        has_two_first_names: the first names are two names that parents give, and no forms of
            one.
        is_new_year: both were born on a first of January, which registrars write for unknown.
        is_female: both are recorded as women.
        is_male: one of the two is recorded as a man, and none as a woman.
    """

    name: Name | None
    first: First | None
    last: Last | None
    middle: Middle | None
    birth: Birth | None
    sex: Same | None
    suffix: Same | None
    birth_order: Same | None
    household: Household | None
    email: Same | None
    ssn: Number | None
    identifier: Same | None
    mother: Same | None
    agreed_first: str = ""
    agreed_last: str = ""
    year_gap: int | None = None
    has_minor: bool = True
    has_child: bool = False
    has_two_first_names: bool = False
    is_new_year: bool = False
    is_female: bool = False
    is_male: bool = False

    def level(self, comparison: str) -> StrEnum | None:
        """The level of a comparison by its name in the model."""
        level: StrEnum | None = getattr(self, comparison)
        return level


class Names(NamedTuple):
    """How names agree; a tuple, because every pair makes one."""

    name: Name | None
    first: First | None
    last: Last | None


class Comparer:
    """Compares demographics field by field.

    Args:
        names: what is known of given names.
        single_types: kinds of identifier that an authority gives a person one of.
        record_systems: where one without a type is of such a kind.
    """

    def __init__(
        self,
        names: GivenNames,
        single_types: Collection[str],
        record_systems: Collection[str] = frozenset(),
    ) -> None:
        self._names = names
        self._single_types = single_types
        self._record_systems = record_systems

    def compare(self, one: Demographics, other: Demographics) -> Comparison:
        """The levels of every field; which record comes first makes no difference."""
        names, agreed_first, agreed_last = self.names(one, other)
        first = names.first
        return Comparison(
            name=names.name,
            first=first,
            last=names.last,
            middle=middle(one.middle, other.middle),
            birth=birth(one.birth_date, other.birth_date),
            sex=_same(one.sex, other.sex),
            suffix=_suffix(one.suffix, other.suffix),
            birth_order=_same(one.birth_order, other.birth_order),
            household=household(one, other),
            email=_overlap(one.emails, other.emails),
            ssn=ssn(one, other),
            identifier=self.identifier(one, other),
            mother=_mother(one.mothers, other.mothers),
            agreed_first=agreed_first,
            agreed_last=agreed_last,
            year_gap=year_gap(one.birth_date, other.birth_date),
            is_female=one.sex == other.sex == "f",
            is_male="m" in (one.sex, other.sex) and "f" not in (one.sex, other.sex),
            has_minor=one.is_minor or other.is_minor,
            has_child=_is_child(one) or _is_child(other),
            has_two_first_names=self._has_two_names(one, other, names),
            is_new_year=one.birth_date.endswith("-01-01") and one.birth_date == other.birth_date,
        )

    def _has_two_names(self, one: Demographics, other: Demographics, names: Names) -> bool:
        if names.name is Name.SWAPPED_TYPO:
            crossed = (*product(one.given, other.surnames), *product(other.given, one.surnames))
            return any(a != b and self._names.are_known(a, b) for a, b in crossed if is_close(a, b))
        if names.first is First.RIVAL:
            return True
        if names.first is not First.DIFFERS:
            return False
        return any(self._names.are_known(a, b) for a in one.given for b in other.given)

    def names(self, one: Demographics, other: Demographics) -> tuple[Names, str, str]:
        """How the names agree, and the first name and the surname that both hold."""
        first, agreed_first = self._names.first(one.given, other.given)
        surname, agreed_last = last(one, other)
        name = joint(one, other, first, surname)
        if name is Name.SWAPPED:
            first, surname = First.EXACT, Last.EXACT
        return Names(name, first, surname), agreed_first, agreed_last

    def identifier(self, one: Demographics, other: Demographics) -> Same | None:
        """Whether a number of one authority agrees, or cannot be one person's."""
        if not one.identifiers or not other.identifiers:
            return None
        ours = {(i.system, i.value) for i in one.identifiers}
        if any((i.system, i.value) in ours for i in other.identifiers):
            return Same.SAME
        single = {i.system for i in one.identifiers if self._is_single(i)}
        conflict = any(i.system in single and self._is_single(i) for i in other.identifiers)
        return Same.DIFFERS if conflict else None

    def _is_single(self, identifier: Identifier) -> bool:
        if identifier.type:
            return identifier.type in self._single_types
        return identifier.system in self._record_systems


def _is_child(demographics: Demographics) -> bool:
    return demographics.is_minor and bool(demographics.birth_date)


def birth(ours: str, theirs: str) -> Birth | None:
    """How two birth dates agree."""
    if not ours or not theirs:
        return None
    if len(ours) < 10 or len(theirs) < 10:
        shorter = min(len(ours), len(theirs))
        return Birth.PART if ours[:shorter] == theirs[:shorter] else Birth.DIFFERS
    if ours == theirs:
        return Birth.EXACT
    if ours[:4] != theirs[:4] and ours[4:] != theirs[4:] and ours[4:] not in _TURNS:
        return Birth.DIFFERS  # most strangers: another year, another day, and no new year's eve
    return _full_births(ours, theirs)


def _full_births(ours: str, theirs: str) -> Birth:
    if ours == f"{theirs[:4]}-{theirs[8:]}-{theirs[5:7]}":
        return Birth.SWAPPED
    if is_a_day_apart(ours, theirs) or _slips(ours, theirs) <= 1:
        return Birth.EDIT
    parts = zip(ours.split("-"), theirs.split("-"), strict=True)
    return Birth.PART if sum(a == b for a, b in parts) == 2 else Birth.DIFFERS


def _slips(ours: str, theirs: str) -> int:
    """How many digits were added, dropped, changed or swapped with a neighbour."""
    # Not cached: numbers hardly ever meet twice.
    return jellyfish.damerau_levenshtein_distance(ours, theirs)


def is_a_day_apart(ours: str, theirs: str) -> bool:
    """Whether two full dates are neighbours (CMS: birth date with a tolerance of one day)."""
    if ours[:3] != theirs[:3] and ours[5:] not in ("01-01", "12-31"):
        return False
    return abs((date.fromisoformat(ours) - date.fromisoformat(theirs)).days) == 1


def year_gap(ours: str, theirs: str) -> int | None:
    """Years between two birth dates."""
    return abs(int(ours[:4]) - int(theirs[:4])) if ours and theirs else None


def _same(ours: str | int, theirs: str | int) -> Same | None:
    if not ours or not theirs:
        return None
    return Same.SAME if ours == theirs else Same.DIFFERS


def _suffix(ours: str, theirs: str) -> Same | None:
    # A junior is the second of his name, and signs as either.
    return Same.SAME if {ours, theirs} == {"jr", "ii"} else _same(ours, theirs)


def _overlap(ours: tuple[str, ...], theirs: tuple[str, ...]) -> Same | None:
    if not ours or not theirs:
        return None
    return Same.DIFFERS if set(ours).isdisjoint(theirs) else Same.SAME


def _mother(ours: tuple[str, ...], theirs: tuple[str, ...]) -> Same | None:
    if _overlap(ours, theirs) is not Same.DIFFERS:
        return _overlap(ours, theirs)
    is_typo = any(is_close(a, b) for a, b in product(ours, theirs))
    return Same.SAME if is_typo else Same.DIFFERS


def ssn(one: Demographics, other: Demographics) -> Number | None:
    """How two Social Security numbers agree, or what is known of them."""
    if not (one.ssn or one.ssn_last4) or not (other.ssn or other.ssn_last4):
        return None
    if one.ssn and other.ssn:
        if not set(one.ssn).isdisjoint(other.ssn):
            return Number.EXACT
        slips = min(_slips(a, b) for a, b in product(one.ssn, other.ssn))
        return _BY_SLIPS.get(slips, Number.DIFFERS)
    ours, theirs = last4(one), last4(other)
    if not ours or not theirs:
        return None
    return Number.DIFFERS if ours.isdisjoint(theirs) else Number.LAST4


def last4(demographics: Demographics) -> frozenset[str]:
    """The last four digits of every SSN, whether it was sent whole or not."""
    return frozenset((*demographics.ssn_last4, *(ssn[-4:] for ssn in demographics.ssn)))
