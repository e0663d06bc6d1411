"""The deterministic pack: combinations of fields that identify a person on their own.

Each has a published probability of collision, the chance that two persons share it; with the
prior it becomes bits, so that a hit and a score speak one language.
Spec: CMS Patient Matching Proposal 3.4.0 (draft), tables 2, 2-H, 2-I and 3.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from mpi.compare import Comparison, is_a_day_apart, last4
from mpi.demographics import Address, Demographics
from mpi.levels import Birth, First, Household, Last, Number, Same
from mpi.names import edits, sounds_alike
from mpi.settings import Combination, Forms

#: §V.E: no fuzzy agreement on shorter strings.
SHORTEST_FUZZY = 5
_PLACES = frozenset(
    {
        Household.ADDRESS_AND_PHONE,
        Household.ADDRESS,
        Household.PHONE,
        Household.STREET,
        Household.ZIP,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A combination that a pair satisfies.

    Attributes:
        collision: the chance that two persons share these values.
        is_fuzzy: one field agreed but for one edit or one day.
    """

    id: str
    collision: float
    is_fuzzy: bool = False

    def bits(self, prior_bits: float) -> float:
        """The hit as log2 odds, on the scale of the score."""
        return prior_bits - math.log2(self.collision)


class Pack:
    """The combinations of a model, ready to ask.

    Args:
        combinations: of the model and of the site.
        forms: say which identifiers are which.
    """

    def __init__(self, combinations: Sequence[Combination], forms: Forms) -> None:
        self._combinations = tuple(combinations)
        self._forms = forms
        # The same fields agree again and again: a few hundred sets make all the answers.
        self._found = lru_cache(maxsize=10_000)(self._look)

    def best_hit(
        self, one: Demographics, other: Demographics, comparison: Comparison
    ) -> Hit | None:
        """The satisfied combination that the fewest pairs of persons share."""
        if not _has_more_than_a_name(one, other, comparison):
            return None
        exact = _exact_fields(one, other, comparison, self._forms)
        # A combination has two fields or more, and at most one of them is fuzzy.
        if not exact:
            return None
        return self._found(exact, _fuzzy_fields(one, other, comparison) - exact)

    def may_hit(self, possible: frozenset[str]) -> bool:
        """Whether a combination could be satisfied where no other field agrees, even nearly."""
        return any(combination.fields <= possible for combination in self._combinations)

    def _look(self, exact: frozenset[str], fuzzy: frozenset[str]) -> Hit | None:
        hits = (_hit(combination, exact, fuzzy) for combination in self._combinations)
        return min((h for h in hits if h), key=lambda h: (h.collision, h.id), default=None)


def _hit(combination: Combination, exact: frozenset[str], fuzzy: frozenset[str]) -> Hit | None:
    missing = combination.fields - exact
    if not missing:
        return Hit(id=combination.id, collision=combination.exact)
    # Table 2: at most one field of a combination may be satisfied by fuzzy comparison.
    if len(missing) == 1 and fuzzy and missing <= fuzzy & combination.fuzzy_fields:
        return Hit(id=combination.id, collision=combination.fuzzy, is_fuzzy=True)
    return None


def _has_more_than_a_name(one: Demographics, other: Demographics, comparison: Comparison) -> bool:
    """Whether the two may share what every combination needs beside names and birth date."""
    return (
        comparison.household in _PLACES
        or comparison.email is Same.SAME
        or comparison.identifier is Same.SAME
        or comparison.ssn is not None
        or bool(one.itin and other.itin)
    )


def _exact_fields(
    one: Demographics, other: Demographics, comparison: Comparison, forms: Forms
) -> frozenset[str]:
    agree = {
        # Nicknames are handled before the comparison, so a short form is exact (table 3).
        "first": comparison.first in (First.EXACT, First.NICKNAME),
        "last": comparison.last is Last.EXACT,
        "birth": len(one.birth_date) == 10 and one.birth_date == other.birth_date,
        "phone": _meet(one.phones, other.phones),
        "email": _meet(one.emails, other.emails),
        "ssn": comparison.ssn is Number.EXACT,
        "last4": comparison.ssn is not None and not last4(one).isdisjoint(last4(other)),
        "itin4": _meet([n[-4:] for n in one.itin], [n[-4:] for n in other.itin]),
        "zip": _meet(_zips(one), _zips(other)),
        "street": any(_is_street(a, b) for a, b in product(one.addresses, other.addresses)),
    }
    fields = [field for field, is_equal in agree.items() if is_equal]
    return frozenset(fields) | _numbers(one, other, forms)


def _zips(demographics: Demographics) -> list[str]:
    return [a.zip5 for a in demographics.addresses if a.zip5]


def _meet(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    return bool(ours and theirs) and not set(ours).isdisjoint(theirs)


def _numbers(one: Demographics, other: Demographics, forms: Forms) -> set[str]:
    fields: set[str] = set()
    if not one.identifiers or not other.identifiers:
        return fields
    ours = {(i.system, i.value) for i in one.identifiers}
    for identifier in other.identifiers:
        if (identifier.system, identifier.value) not in ours:
            continue
        fields.add("identifier")
        if identifier.system in forms.mbi_systems:
            fields.add("mbi")
        elif identifier.type in forms.legal_types:
            fields.add("legal_id")
        elif identifier.type in forms.member_types:
            fields.add("member_id")
    return fields


def _fuzzy_fields(one: Demographics, other: Demographics, comparison: Comparison) -> frozenset[str]:
    agree = {
        "first": comparison.first is First.TYPO and _one_edit(one.given, other.given),
        "last": comparison.last is Last.TYPO and _one_edit(one.surnames, other.surnames),
        "birth": comparison.birth is Birth.EDIT
        and is_a_day_apart(one.birth_date, other.birth_date),
        "zip": _meet(_zips(one), _zips(other)),
        "street": any(
            a.house == b.house and a.zip5 == b.zip5 != "" and _one_edit((a.street,), (b.street,))
            for a, b in product(one.addresses, other.addresses)
        ),
    }
    return frozenset(field for field, is_equal in agree.items() if is_equal)


def _one_edit(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    return any(
        min(len(a), len(b)) >= SHORTEST_FUZZY and (sounds_alike(a, b) or edits(a, b) <= 1)
        for a, b in product(ours, theirs)
    )


def _is_street(one: Address, other: Address) -> bool:
    is_line = one.house == other.house and one.street == other.street != ""
    is_unit = not (one.unit and other.unit) or one.unit == other.unit
    return is_line and is_unit and one.zip5 == other.zip5 != ""
