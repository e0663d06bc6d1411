"""Two records side by side: the level of agreement of every field.

Only values that both records hold are compared; a field that one of them lacks has no
level. The values that agreed are kept, because agreement on a rare one weighs more.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import lru_cache
from itertools import product

import jellyfish
from nicknames import NickNamer, name_triplets

from mpi.demographics import Address, Demographics
from mpi.levels import Birth, First, Household, Last, Middle, Name, Number, Same

#: Strings at least this alike (Jaro-Winkler) may be one, misspelt.
CLOSE = 0.92
#: Shorter names are not compared by distance: `Jo` and `Al` are one edit from everything.
SHORTEST_FUZZY = 4
#: Longer names may be two edits apart.
TWO_EDITS_FROM = 8

_VOWELS = re.compile(r"[aeiouy]+")
_SILENT = re.compile(r"(?<=[^aeiouy])h|h$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What comparing two records gave; None where one of them lacks the field.

    Attributes:
        agreed_first, agreed_last: the value both hold, where it agrees exactly.
        year_gap: years between the birth dates.
        has_minor: one of the two may be registered with a parent's numbers.
        is_female: both are recorded as women.
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
    is_female: bool = False

    def level(self, comparison: str) -> StrEnum | None:
        """The level of a comparison by its name in the model."""
        level: StrEnum | None = getattr(self, comparison)
        return level


class GivenNames:
    """What is known of given names: short forms, and which strings are names at all."""

    def __init__(self, given_names: Iterable[str]) -> None:
        self._nicknames = NickNamer()
        known = {name for triplet in name_triplets() for name in (triplet.name1, triplet.name2)}
        self._known = known.union(given_names)
        self._formal = lru_cache(maxsize=20_000)(self._look_up)

    def is_short_form(self, one: str, other: str) -> bool:
        """Whether one name is a short form of the other.

        Two short forms of one name are not taken: the list has `Maria` and `Marie` for one.
        """
        return one in self._formal(other) or other in self._formal(one)

    def are_rivals(self, one: str, other: str) -> bool:
        """Whether both are names of their own, so that a twin may well bear the other.

        Two spellings of one sound (`Sara`, `Sarah`) are no rivals; `Jayden` and `Kayden` are.
        """
        return one in self._known and other in self._known and not sounds_alike(one, other)

    def are_known(self, one: str, other: str) -> bool:
        """Whether both are given names: then neither is the other, garbled."""
        return one in self._known and other in self._known

    def _look_up(self, name: str) -> frozenset[str]:
        return frozenset(self._nicknames.canonicals_of(name))


class Comparer:
    """Compares demographics field by field.

    Args:
        names: what is known of given names.
        single_types: kinds of identifier that an authority gives a person one of.
    """

    def __init__(self, names: GivenNames, single_types: Collection[str]) -> None:
        self._names = names
        self._single_types = single_types

    def compare(self, one: Demographics, other: Demographics) -> Comparison:
        """The levels of every field; which record comes first makes no difference."""
        first, agreed_first = self._first(one.given, other.given)
        last, agreed_last = _last(one, other)
        name = _name(first, last)
        if name in _MAY_BE_SWAPPED and (swapped := _swapped(one, other)):
            name = swapped
            if swapped is Name.SWAPPED:
                first, last = First.EXACT, Last.EXACT
        return Comparison(
            name=name,
            first=first,
            last=last,
            middle=_middle(one.middle, other.middle),
            birth=_birth(one.birth_date, other.birth_date),
            sex=_same(one.sex, other.sex),
            suffix=_suffix(one.suffix, other.suffix),
            birth_order=_same(one.birth_order, other.birth_order),
            household=_household(one, other),
            email=_overlap(one.emails, other.emails),
            ssn=_ssn(one, other),
            identifier=self._identifier(one, other),
            mother=_mother(one.mothers, other.mothers),
            agreed_first=agreed_first,
            agreed_last=agreed_last,
            year_gap=_year_gap(one.birth_date, other.birth_date),
            is_female=one.sex == other.sex == "f",
            has_minor=one.is_minor or other.is_minor,
        )

    def _first(self, ours: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[First | None, str]:
        if not ours or not theirs:
            return None, ""
        for name in ours:
            if name in theirs and len(name) > 1:
                return First.EXACT, name
        best = min((self._pair(a, b) for a, b in product(ours, theirs)), key=_FIRSTS.index)
        return best, ""

    def _pair(self, one: str, other: str) -> First:
        if len(one) == 1 or len(other) == 1:
            return First.INITIAL if one[0] == other[0] else First.DIFFERS
        if self._names.is_short_form(one, other):
            return First.NICKNAME
        if sounds_alike(one, other):
            return First.TYPO
        if not is_close(one, other):
            is_garbled = not self._names.are_known(one, other) and is_garbled_form(one, other)
            return First.GARBLED if is_garbled else First.DIFFERS
        return First.RIVAL if self._names.are_rivals(one, other) else First.TYPO

    def _identifier(self, one: Demographics, other: Demographics) -> Same | None:
        ours = {(i.system, i.value) for i in one.identifiers}
        if any((i.system, i.value) in ours for i in other.identifiers):
            return Same.SAME
        single = {i.system for i in one.identifiers if i.type in self._single_types}
        conflict = any(
            i.system in single and i.type in self._single_types for i in other.identifiers
        )
        return Same.DIFFERS if conflict else None


_FIRSTS = list(First)  # best first
_NAMES: dict[tuple[First, Last], Name] = {
    (First.EXACT, Last.EXACT): Name.EXACT,
    (First.EXACT, Last.TYPO): Name.LAST_TYPO,
    (First.EXACT, Last.PART): Name.LAST_PART,
    (First.EXACT, Last.DIFFERS): Name.FIRST_ONLY,
    (First.NICKNAME, Last.EXACT): Name.NICKNAME,
    (First.NICKNAME, Last.PART): Name.BOTH_TYPO,
    (First.NICKNAME, Last.TYPO): Name.BOTH_TYPO,
    (First.TYPO, Last.EXACT): Name.FIRST_TYPO,
    (First.TYPO, Last.PART): Name.BOTH_TYPO,
    (First.TYPO, Last.TYPO): Name.BOTH_TYPO,
    (First.GARBLED, Last.EXACT): Name.FIRST_TYPO,
    (First.GARBLED, Last.PART): Name.BOTH_TYPO,
    (First.GARBLED, Last.TYPO): Name.BOTH_TYPO,
    (First.INITIAL, Last.EXACT): Name.INITIAL,
    (First.RIVAL, Last.EXACT): Name.LAST_ONLY,
    (First.DIFFERS, Last.EXACT): Name.LAST_ONLY,
    (First.RIVAL, Last.PART): Name.LAST_CLOSE,
    (First.RIVAL, Last.TYPO): Name.LAST_CLOSE,
    (First.DIFFERS, Last.PART): Name.LAST_CLOSE,
    (First.DIFFERS, Last.TYPO): Name.LAST_CLOSE,
    (First.INITIAL, Last.PART): Name.LAST_CLOSE,
    (First.INITIAL, Last.TYPO): Name.LAST_CLOSE,
    (First.NICKNAME, Last.DIFFERS): Name.FIRST_CLOSE,
    (First.TYPO, Last.DIFFERS): Name.FIRST_CLOSE,
    (First.EXACT, Last.PART): Name.LAST_PART,
}


_MAY_BE_SWAPPED = frozenset(
    {
        None,
        Name.FIRST_CLOSE,
        Name.LAST_CLOSE,
        Name.LAST_ALONE,
        Name.FIRST_ALONE,
        Name.NONE,
        Name.FIRST_ONLY,
        Name.LAST_ONLY,
    }
)


def _name(first: First | None, last: Last | None) -> Name | None:
    """The joint level; a record without one of the two cannot be compared on names."""
    if first is None:
        return Name.LAST_ALONE if last in (Last.EXACT, Last.TYPO) else None
    if last is None:
        return Name.FIRST_ALONE if first in (First.EXACT, First.NICKNAME, First.TYPO) else None
    return _NAMES.get((first, last), Name.NONE)


def is_close(one: str, other: str) -> bool:
    """Whether two strings may be one, misspelt."""
    if min(len(one), len(other)) < SHORTEST_FUZZY:
        return False
    if jellyfish.jaro_winkler_similarity(one, other) >= CLOSE:
        return True
    edits = 1 if min(len(one), len(other)) < TWO_EDITS_FROM else 2
    return jellyfish.damerau_levenshtein_distance(one, other) <= edits


def is_garbled_form(one: str, other: str) -> bool:
    """Whether a string that is no name may be a name, misread: two edits from five letters on."""
    if min(len(one), len(other)) < 5 or abs(len(one) - len(other)) > 2:
        return False
    return jellyfish.damerau_levenshtein_distance(one, other) <= 2


@lru_cache(maxsize=50_000)
def sounds_alike(one: str, other: str) -> bool:
    """Whether two names are spellings of one: same consonants, same vowels by their sound."""
    return one.isascii() and other.isascii() and _skeleton(one) == _skeleton(other)


def _skeleton(name: str) -> tuple[str, str]:
    """Consonants as heard, and the first letter of each group of vowels.

    A final e and an h after a consonant are silent; a final a or o is heard, also in a group.
    """
    heard = _SILENT.sub("", name.replace("ph", "f"))
    heard = heard[:-1] if heard.endswith("e") and len(heard) > 3 else heard
    groups = _VOWELS.findall(heard)
    vowels = "".join(group[0] for group in groups).replace("y", "i")
    if groups and len(groups[-1]) > 1 and heard[-1] in "ao":
        vowels += heard[-1]
    return jellyfish.metaphone(_VOWELS.sub("a", heard)), vowels


def _last(one: Demographics, other: Demographics) -> tuple[Last | None, str]:
    if not one.surnames or not other.surnames:
        return None, ""
    for name in one.surnames:
        if name in other.surnames:
            return Last.EXACT, name
    ours, theirs = {*one.surnames, *one.surname_parts}, {*other.surnames, *other.surname_parts}
    if not ours.isdisjoint(theirs):
        return Last.PART, ""
    if any(is_close(a, b) for a, b in product(one.surnames, other.surnames)):
        return Last.TYPO, ""
    return Last.DIFFERS, ""


def _swapped(one: Demographics, other: Demographics) -> Name | None:
    """Whether each record has the other's first name as surname, or one of them has."""
    ours, theirs = (*one.surnames, *one.surname_parts), (*other.surnames, *other.surname_parts)
    is_ours = any(len(name) > 1 and name in theirs for name in one.given)
    is_theirs = any(len(name) > 1 and name in ours for name in other.given)
    if is_ours and is_theirs:
        return Name.SWAPPED
    is_ours_close = is_ours or any(is_close(a, b) for a, b in product(one.given, theirs))
    is_theirs_close = is_theirs or any(is_close(a, b) for a, b in product(other.given, ours))
    if is_ours_close and is_theirs_close:
        return Name.SWAPPED_TYPO
    return Name.CROSSED if is_ours_close or is_theirs_close else None


def _middle(ours: tuple[str, ...], theirs: tuple[str, ...]) -> Middle | None:
    if not ours or not theirs:
        return None
    if any(len(name) > 1 and name in theirs for name in ours):
        return Middle.EXACT
    pairs = [(a, b) for a, b in product(ours, theirs) if a[0] == b[0]]
    if any(len(a) == 1 or len(b) == 1 or is_close(a, b) for a, b in pairs):
        return Middle.INITIAL
    return Middle.DIFFERS


def _birth(ours: str, theirs: str) -> Birth | None:
    if not ours or not theirs:
        return None
    if len(ours) < 10 or len(theirs) < 10:
        shorter = min(len(ours), len(theirs))
        return Birth.PART if ours[:shorter] == theirs[:shorter] else Birth.DIFFERS
    if ours == theirs:
        return Birth.EXACT
    if ours == f"{theirs[:4]}-{theirs[8:]}-{theirs[5:7]}":
        return Birth.SWAPPED
    if is_a_day_apart(ours, theirs) or jellyfish.damerau_levenshtein_distance(ours, theirs) <= 1:
        return Birth.EDIT
    parts = zip(ours.split("-"), theirs.split("-"), strict=True)
    return Birth.PART if sum(a == b for a, b in parts) == 2 else Birth.DIFFERS


def is_a_day_apart(ours: str, theirs: str) -> bool:
    """Whether two full dates are neighbours (CMS: birth date with a tolerance of one day)."""
    if ours[:2] != theirs[:2]:
        return False
    return abs((date.fromisoformat(ours) - date.fromisoformat(theirs)).days) == 1


def _year_gap(ours: str, theirs: str) -> int | None:
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


def _ssn(one: Demographics, other: Demographics) -> Number | None:
    if one.ssn and other.ssn:
        if not set(one.ssn).isdisjoint(other.ssn):
            return Number.EXACT
        pairs = product(one.ssn, other.ssn)
        is_edit = any(jellyfish.damerau_levenshtein_distance(a, b) == 1 for a, b in pairs)
        return Number.EDIT if is_edit else Number.DIFFERS
    ours, theirs = last4(one), last4(other)
    if not ours or not theirs:
        return None
    return Number.DIFFERS if ours.isdisjoint(theirs) else Number.LAST4


def last4(demographics: Demographics) -> frozenset[str]:
    """The last four digits of every SSN, whether it was sent whole or not."""
    return frozenset((*demographics.ssn_last4, *(ssn[-4:] for ssn in demographics.ssn)))


def _household(one: Demographics, other: Demographics) -> Household | None:
    phone = _overlap(one.phones, other.phones)
    place = min(
        (_place(a, b) for a, b in product(one.addresses, other.addresses)),
        key=_HOUSEHOLDS.index,
        default=None,
    )
    if phone is Same.SAME:
        is_home = place is Household.ADDRESS
        return Household.ADDRESS_AND_PHONE if is_home else Household.PHONE
    return place or (Household.NONE if phone else None)


_HOUSEHOLDS = list(Household)


def _place(one: Address, other: Address) -> Household:
    is_zip = one.zip5 == other.zip5 != ""
    is_city = one.city != "" and (one.city == other.city or is_close(one.city, other.city))
    is_near = is_zip or is_city or _is_edit(one.zip5, other.zip5)
    is_street = one.street != "" != other.street and (
        one.street == other.street or is_close(one.street, other.street)
    )
    is_apart = one.unit != "" != other.unit and one.unit != other.unit
    if is_street and not is_apart:
        is_house = one.house == other.house
        if is_house and is_near:
            return Household.ADDRESS
        if is_house or is_near:
            return Household.STREET
    if is_zip:
        return Household.ZIP
    return Household.NEAR if is_near else Household.NONE


def _is_edit(one: str, other: str) -> bool:
    return one != "" != other and jellyfish.damerau_levenshtein_distance(one, other) <= 1


def is_same_address(one: Address, other: Address) -> bool:
    """Whether two addresses are one: same number, same or misspelt street, same place."""
    return _place(one, other) is Household.ADDRESS
