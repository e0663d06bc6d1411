"""Two names side by side: the same, misspelt, short for each other, or of two people.

A misspelling is told from another name by knowing names: `Jayden` is no misspelt `Kayden`,
because both are names that parents give, also to twins.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from itertools import product

import jellyfish
from nicknames import NickNamer, name_triplets

from mpi.demographics import Demographics
from mpi.levels import First, Last, Middle, Name

#: Strings at least this alike (Jaro-Winkler) may be one, misspelt.
CLOSE = 0.92
#: Shorter names are not compared by distance: `Jo` and `Al` are one edit from everything.
SHORTEST_FUZZY = 4
#: Longer names may be two edits apart.
TWO_EDITS_FROM = 8
#: A string that is no name may be two edits from the name it stands for from here on.
GARBLED_FROM = 5
#: Pairs of strings kept in memory; the same names meet again and again.
_KEPT = 100_000

_VOWELS = re.compile(r"[aeiouy]+")
_SILENT = re.compile(r"(?<=[^aeiouy])h|h$")


@lru_cache(maxsize=_KEPT)
def edits(one: str, other: str) -> int:
    """How many letters were added, dropped, changed or swapped with a neighbour."""
    return jellyfish.damerau_levenshtein_distance(one, other)


@lru_cache(maxsize=_KEPT)
def is_close(one: str, other: str) -> bool:
    """Whether two strings may be one, misspelt."""
    shorter = min(len(one), len(other))
    if shorter < SHORTEST_FUZZY:
        return False
    if jellyfish.jaro_winkler_similarity(one, other) >= CLOSE:
        return True
    most = 1 if shorter < TWO_EDITS_FROM else 2
    return abs(len(one) - len(other)) <= most and edits(one, other) <= most


def is_garbled_form(one: str, other: str) -> bool:
    """Whether one string may be the other, misread: two edits from five letters on."""
    if min(len(one), len(other)) < GARBLED_FROM or abs(len(one) - len(other)) > 2:
        return False
    return edits(one, other) <= 2


@lru_cache(maxsize=_KEPT)
def sounds_alike(one: str, other: str) -> bool:
    """Whether two names are spellings of one: same consonants, same vowels by their sound."""
    return one.isascii() and other.isascii() and _skeleton(one) == _skeleton(other)


@lru_cache(maxsize=_KEPT)
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


@cache
def _nicknames() -> tuple[NickNamer, frozenset[str]]:
    """The package's list and the names in it; reading it takes 0.2 s, so once a process."""
    listed = {name for triplet in name_triplets() for name in (triplet.name1, triplet.name2)}
    return NickNamer(), frozenset(listed)


class GivenNames:
    """What is known of given names: short forms, and which strings are names at all."""

    def __init__(self, given_names: Iterable[str]) -> None:
        self._nicknames, listed = _nicknames()
        self._known = listed.union(given_names)
        self._formal = lru_cache(maxsize=20_000)(self._look_up)
        self._pair = lru_cache(maxsize=_KEPT)(self._judge)

    def is_short_form(self, one: str, other: str) -> bool:
        """Whether one name is a short form of the other.

        Two short forms of one name are not taken: the list has `Maria` and `Marie` for one.
        """
        return one in self._formal(other) or other in self._formal(one)

    def are_known(self, one: str, other: str) -> bool:
        """Whether both are given names: then neither is the other, misspelt."""
        return one in self._known and other in self._known

    def first(self, ours: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[First | None, str]:
        """How the first names agree at best; and the name both hold, where one is the same."""
        if not ours or not theirs:
            return None, ""
        for name in ours:
            if name in theirs and len(name) > 1:
                return First.EXACT, name
        if len(ours) == len(theirs) == 1:
            return self._pair(ours[0], theirs[0]), ""
        best = min((self._pair(a, b) for a in ours for b in theirs), key=_RANK.__getitem__)
        return best, ""

    def _judge(self, one: str, other: str) -> First:
        if len(one) == 1 or len(other) == 1:
            return First.INITIAL if one[0] == other[0] else First.DIFFERS
        if self.is_short_form(one, other):
            return First.NICKNAME
        if sounds_alike(one, other):
            return First.TYPO
        if is_close(one, other):
            return First.RIVAL if self.are_known(one, other) else First.TYPO
        is_garbled = not self.are_known(one, other) and is_garbled_form(one, other)
        return First.GARBLED if is_garbled else First.DIFFERS

    def _look_up(self, name: str) -> frozenset[str]:
        return frozenset(self._nicknames.canonicals_of(name))


_RANK = {level: rank for rank, level in enumerate(First)}  # best first


def last(one: Demographics, other: Demographics) -> tuple[Last | None, str]:
    """How the surnames agree at best, of every name in use; and the one both hold."""
    if not one.surnames or not other.surnames:
        return None, ""
    for name in one.surnames:
        if name in other.surnames:
            return Last.EXACT, name
    if (one.surname_parts or other.surname_parts) and not set(_words(one)).isdisjoint(
        _words(other)
    ):
        return Last.PART, ""
    return (Last.TYPO if _any_close(one.surnames, other.surnames) else Last.DIFFERS), ""


def _words(demographics: Demographics) -> tuple[str, ...]:
    return (*demographics.surnames, *demographics.surname_parts)


_JOINT: dict[tuple[First, Last], Name] = {
    (First.EXACT, Last.EXACT): Name.EXACT,
    (First.EXACT, Last.TYPO): Name.LAST_TYPO,
    (First.EXACT, Last.PART): Name.LAST_PART,
    (First.EXACT, Last.DIFFERS): Name.FIRST_ONLY,
    (First.NICKNAME, Last.EXACT): Name.NICKNAME,
    (First.NICKNAME, Last.PART): Name.BOTH_TYPO,
    (First.NICKNAME, Last.TYPO): Name.BOTH_TYPO,
    (First.NICKNAME, Last.DIFFERS): Name.FIRST_CLOSE,
    (First.TYPO, Last.EXACT): Name.FIRST_TYPO,
    (First.TYPO, Last.PART): Name.BOTH_TYPO,
    (First.TYPO, Last.TYPO): Name.BOTH_TYPO,
    (First.TYPO, Last.DIFFERS): Name.FIRST_CLOSE,
    (First.GARBLED, Last.EXACT): Name.FIRST_TYPO,
    (First.GARBLED, Last.PART): Name.BOTH_TYPO,
    (First.GARBLED, Last.TYPO): Name.BOTH_TYPO,
    (First.INITIAL, Last.EXACT): Name.INITIAL,
    (First.INITIAL, Last.PART): Name.LAST_CLOSE,
    (First.INITIAL, Last.TYPO): Name.LAST_CLOSE,
    (First.RIVAL, Last.EXACT): Name.LAST_ONLY,
    (First.RIVAL, Last.PART): Name.LAST_CLOSE,
    (First.RIVAL, Last.TYPO): Name.LAST_CLOSE,
    (First.DIFFERS, Last.EXACT): Name.LAST_ONLY,
    (First.DIFFERS, Last.PART): Name.LAST_CLOSE,
    (First.DIFFERS, Last.TYPO): Name.LAST_CLOSE,
}
_MAY_BE_SWAPPED = frozenset(
    {None, Name.FIRST_CLOSE, Name.LAST_CLOSE, Name.LAST_ALONE, Name.FIRST_ALONE, Name.NONE,
     Name.FIRST_ONLY, Name.LAST_ONLY}
)  # fmt: skip
_FIRST_ALONE = frozenset({First.EXACT, First.NICKNAME, First.TYPO})
_LAST_ALONE = frozenset({Last.EXACT, Last.TYPO})


def joint(
    one: Demographics, other: Demographics, first: First | None, surname: Last | None
) -> Name | None:
    """First name and surname as one level: they are not independent; None without either.

    `one` and `other` are looked at for names typed into each other's field; `first` and
    `surname` say how the two names agree.
    """
    if first is None:
        name = Name.LAST_ALONE if surname in _LAST_ALONE else None
    elif surname is None:
        name = Name.FIRST_ALONE if first in _FIRST_ALONE else None
    else:
        name = _JOINT.get((first, surname), Name.NONE)
    return (_swapped(one, other) or name) if name in _MAY_BE_SWAPPED else name


def _swapped(one: Demographics, other: Demographics) -> Name | None:
    """Whether each record has the other's first name as surname, or one of them has."""
    ours, theirs = _words(one), _words(other)
    is_ours = any(len(name) > 1 and name in theirs for name in one.given)
    is_theirs = any(len(name) > 1 and name in ours for name in other.given)
    if is_ours and is_theirs:
        return Name.SWAPPED
    is_ours = is_ours or _any_close(one.given, theirs)
    is_theirs = is_theirs or _any_close(other.given, ours)
    if is_ours and is_theirs:
        return Name.SWAPPED_TYPO
    return Name.CROSSED if is_ours or is_theirs else None


def _any_close(ours: Iterable[str], theirs: Sequence[str]) -> bool:
    # Loops, because most lists have one name and a generator costs more than it.
    for a in ours:
        for b in theirs:
            if is_close(a, b):
                return True
    return False


def middle(ours: tuple[str, ...], theirs: tuple[str, ...]) -> Middle | None:
    """How further given names agree at best."""
    if not ours or not theirs:
        return None
    if any(len(name) > 1 and name in theirs for name in ours):
        return Middle.EXACT
    pairs = [(a, b) for a, b in product(ours, theirs) if a[0] == b[0]]
    if any(len(a) == 1 or len(b) == 1 or is_close(a, b) for a, b in pairs):
        return Middle.INITIAL
    return Middle.DIFFERS
