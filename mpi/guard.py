"""The person-level guard: what no score may overrule.

Fellegi-Sunter adds up evidence and so links twins (all but the first name agree) and a father
and son of one name. Chance is the score's business; the guard asks what no score can know:
whether the two can be two members of one family, or one record under another's number. Its
reasons stop automatic links only; they never hide a pair from a steward.

A reason that says evidence is lacking (`Veto.is_lack`) stops a link only where no record of
the person could be checked.

Each easing below says whom it could confuse and why it does not.
"""

from collections.abc import Collection, Sequence
from itertools import product

from mpi.compare import Comparison
from mpi.levels import Birth, First, Household, Last, Middle, Name, Number, Same, Veto

#: Parents are older than their children by at least this many years.
GENERATION_YEARS = 12

_FIRST_AGREES = frozenset({First.EXACT, First.NICKNAME, First.TYPO})
_LAST_AGREES = frozenset({Last.EXACT, Last.PART, Last.TYPO})
_MIDDLE_AGREES = frozenset({Middle.EXACT, Middle.INITIAL})
_SLIPS = frozenset({Birth.SWAPPED, Birth.EDIT})
_BIRTH_AGREES = _SLIPS | {Birth.EXACT}
#: What first name, birth date, SSN and surname answer, each where it is there.
_OWN = (
    (Veto.FIRST_NAME, Veto.TWIN),
    (Veto.BIRTH_DATE, Veto.GENERATION),
    (Veto.SSN,),
    (Veto.SURNAME,),
)
_ANSWERS = {
    there: frozenset(
        veto for vetoes, is_there in zip(_OWN, there, strict=True) if is_there for veto in vetoes
    )
    for there in product((False, True), repeat=len(_OWN))
}
_CROSSED = frozenset({Name.SWAPPED, Name.SWAPPED_TYPO})
_HOME = frozenset({Household.ADDRESS_AND_PHONE, Household.ADDRESS})
_OTHER_NUMBERS = frozenset({Number.DIFFERS, Number.NEAR})
#: Who lives together, and may be of one family.
ONE_HOME = frozenset({Household.ADDRESS_AND_PHONE, Household.ADDRESS, Household.PHONE})


def vetoes(comparison: Comparison, *, has_placeholder: bool = False) -> tuple[Veto, ...]:
    """Why the two records must not be linked without a human; empty when nothing speaks against.

    Args:
        comparison: of the two records.
        has_placeholder: one of the names is a placeholder, such as a newborn's.
    """
    found = [
        _name_veto(comparison, has_placeholder=has_placeholder),
        _surname_veto(comparison),
        _birth_veto(comparison),
        Veto.SSN if _is_number_conflict(comparison) else None,
        Veto.SUFFIX if comparison.suffix is Same.DIFFERS else None,
        Veto.BIRTH_ORDER if comparison.birth_order is Same.DIFFERS else None,
        Veto.SEX if _is_sex_conflict(comparison) else None,
        Veto.SAME_AUTHORITY if comparison.identifier is Same.DIFFERS else None,
    ]
    return tuple(veto for veto in found if veto)


def may_be_family(first: First | None, last: Last | None, born: Birth | None, gap: int) -> bool:
    """Whether the guard could see twins or a father and son, whatever else the records hold.

    Args:
        first: how the first names agree.
        last: how the surnames agree.
        born: how the birth dates agree.
        gap: years between these.
    """
    if last not in _LAST_AGREES:
        return False
    return born in _BIRTH_AGREES or (gap >= GENERATION_YEARS and first in _FIRST_AGREES)


def answers(comparison: Comparison) -> frozenset[Veto]:
    """What a record without veto answers of the reasons found with others of its person.

    Where the first name is there to the letter, another record's typing error in it is the
    person's own; so is one in the birth date. With both, a wrong SSN is, where the right one
    is there as well or the two live together. Of another surname any record with a surname
    knows; one without could be of either.
    """
    is_name = comparison.first is First.EXACT
    is_birth = comparison.birth is Birth.EXACT
    is_number = comparison.ssn is Number.EXACT or (is_name and _is_one_at_home(comparison))
    return _ANSWERS[is_name, is_birth, is_name and is_birth and is_number, bool(comparison.last)]


def combined(
    per_record: Sequence[tuple[Veto, ...]], answered: Collection[Veto]
) -> tuple[Veto, ...]:
    """The vetoes of a person from those of its records, in the order of `Veto`.

    One contradiction anywhere counts, unless a record answers it, and so does another surname;
    any other lack counts only where every record is lacking.

    Args:
        per_record: the vetoes found with each record.
        answered: by records without veto, see `answers`.
    """
    found = {veto for vetoes_found in per_record for veto in vetoes_found}
    is_checked = any(all(not v.is_lack for v in vetoes_found) for vetoes_found in per_record)
    if is_checked:
        found = {veto for veto in found if veto is Veto.SURNAME or not veto.is_lack}
    return tuple(veto for veto in Veto if veto in found and veto not in answered)


# Names


def _name_veto(comparison: Comparison, *, has_placeholder: bool) -> Veto | None:
    if has_placeholder or comparison.first is None:
        if _is_all_but_first_name(comparison) or _is_own_number(comparison):
            return None
        return Veto.PLACEHOLDER_NAME if has_placeholder else Veto.NO_FIRST_NAME
    if _is_first_name_agreed(comparison):
        return None
    if comparison.first is First.INITIAL:
        # Twins often share an initial, so it needs something that twins do not share.
        is_backed = _has_number(comparison) or comparison.middle is Middle.EXACT
        return None if is_backed else Veto.NO_FIRST_NAME
    return Veto.TWIN if _could_be_twins(comparison) else Veto.FIRST_NAME


def _is_first_name_agreed(comparison: Comparison) -> bool:
    first = comparison.first
    if first is First.EXACT or _is_own_number(comparison):
        return True
    if _could_be_twins(comparison) and _are_told_apart(comparison):
        return _has_number(comparison) and first in _FIRST_AGREES
    if first in _FIRST_AGREES:
        return True
    if comparison.name is Name.SWAPPED_TYPO:
        # In whichever field it stands, a name a letter off may be the twin's: of a child, and
        # where both are names that parents give.
        return not comparison.has_child and not comparison.has_two_first_names
    if first is First.GARBLED:
        # A child's garbled name may be the twin's: Kayedn is nearer to Kayden than to Jayden.
        return not comparison.has_minor
    return first is First.RIVAL and _is_one_of_two_names_mistyped(comparison)


def _are_told_apart(comparison: Comparison) -> bool:
    """Whether two first names that are not the same may be two children's.

    Ellie G and Danielle E have a short form in the list, but two middle names. And no list of
    names is whole: of a child, a name one letter off is taken for a misspelt one only where
    the middle names agree.
    """
    is_child = comparison.has_child and comparison.first is First.TYPO
    return comparison.middle is Middle.DIFFERS or (
        is_child and comparison.middle not in _MIDDLE_AGREES
    )


def _is_one_of_two_names_mistyped(comparison: Comparison) -> bool:
    """Whether `Mark` for `Mary` is one person after all.

    An SSN alone does not say so: newborn twins are both registered with their mother's.
    """
    has_both = comparison.ssn is Number.EXACT and comparison.middle is Middle.EXACT
    return has_both or comparison.identifier is Same.SAME


def _is_all_but_first_name(comparison: Comparison) -> bool:
    """Whether surname, middle name or initial and birth date agree, of adults.

    It could be a twin who shares the initial: three in a hundred people are twins, two in
    three of those of one sex, one in fifteen of those of one initial. Newborns, whose first
    name is missing as a rule, are no adults.
    """
    return (
        comparison.last is Last.EXACT
        and comparison.middle in _MIDDLE_AGREES
        and comparison.birth is Birth.EXACT
        and comparison.sex is not Same.DIFFERS
        and not comparison.has_minor
    )


def _is_own_number(comparison: Comparison) -> bool:
    """Whether a whole SSN and the birth date agree, of adults, and not under two real names.

    Children are registered with a parent's number, so they are not taken. A spouse has
    another birth date. A twin picked from the list by mistake has another real name.
    """
    return (
        comparison.ssn is Number.EXACT
        and comparison.birth is Birth.EXACT
        and not comparison.has_minor
        and (not comparison.has_two_first_names or _is_no_twin(comparison))
        and comparison.sex is not Same.DIFFERS
        and comparison.middle is not Middle.DIFFERS
    )


def _is_no_twin(comparison: Comparison) -> bool:
    """Whether neither name agrees at one home: who would be a twin there has the surname."""
    return comparison.last is Last.DIFFERS and comparison.household in _HOME


def _surname_veto(comparison: Comparison) -> Veto | None:
    """A lack: a surname changes, but with it not all else; middle name, home or number stay.

    Of a man with another surname the middle name is not enough: he is a namesake of one birth
    date sooner than married. Nor is a child's home: of twins whose names were typed into each
    other's field, the one name that agrees is the surname.
    """
    if comparison.last in _LAST_AGREES or comparison.name in _CROSSED:
        return None
    is_other_man = comparison.is_male and comparison.last is Last.DIFFERS
    is_backed = (
        _has_number(comparison)
        or comparison.email is Same.SAME
        or (comparison.household in ONE_HOME and not comparison.has_child)
        or (comparison.middle in _MIDDLE_AGREES and not is_other_man)
    )
    return None if is_backed and comparison.birth in (Birth.EXACT, None) else Veto.SURNAME


def _could_be_twins(comparison: Comparison) -> bool:
    return (
        comparison.birth in _BIRTH_AGREES
        and (comparison.last in _LAST_AGREES or comparison.name is Name.SWAPPED_TYPO)
        and _may_share_a_home(comparison)
    )


def _may_share_a_home(comparison: Comparison) -> bool:
    return comparison.household is None or comparison.household in ONE_HOME


# Birth date, sex, numbers


def _birth_veto(comparison: Comparison) -> Veto | None:
    birth, gap = comparison.birth, comparison.year_gap or 0
    if birth is None:
        return None if _is_known_undated(comparison) else Veto.NO_BIRTH_DATE
    is_record_number = comparison.identifier is Same.SAME
    if gap >= GENERATION_YEARS and not (birth is Birth.EDIT and is_record_number):
        is_one_name = comparison.first in _FIRST_AGREES and comparison.last in _LAST_AGREES
        is_family = is_one_name and _may_share_a_home(comparison)
        return Veto.GENERATION if is_family else Veto.BIRTH_DATE
    if birth in _BIRTH_AGREES or _is_date_mistaken(comparison):
        return None
    return Veto.BIRTH_DATE


def _is_date_mistaken(comparison: Comparison) -> bool:
    """Whether the birth date is wrong in one of the two: the whole name says one person.

    With it a number of one's own: under a parent's number a generation lies between, under a
    spouse's or a twin's another first name stands. Or year and home: nobody there has the same
    name and year of birth.
    """
    is_one_name = comparison.first is First.EXACT and comparison.last in _LAST_AGREES
    if not is_one_name or comparison.middle is Middle.DIFFERS:
        return False
    is_year = comparison.birth is Birth.PART and not comparison.year_gap
    is_home = comparison.name is Name.EXACT and comparison.household in _HOME
    return _has_number(comparison) or (is_year and is_home)


def _is_known_undated(comparison: Comparison) -> bool:
    """Whether a number, or name and home, say one person where one has no birth date.

    A son registered under his father's SSN bears his name as well, so of men the SSN alone is
    not enough; nor is it, for the same reason, where the birth dates are a generation apart.
    A mistyped one, a digit off, needs the name beside it: brothers and sisters may have been
    given neighbouring numbers.
    """
    is_one_name = comparison.first is First.EXACT and comparison.last in _LAST_AGREES
    is_ssn = comparison.ssn is Number.EXACT or (comparison.ssn is Number.EDIT and is_one_name)
    is_own_ssn = is_ssn and (not comparison.is_male or comparison.suffix is Same.SAME)
    return comparison.identifier is Same.SAME or is_own_ssn or _is_woman_at_home(comparison)


def _is_woman_at_home(comparison: Comparison) -> bool:
    """Whether first, middle and last name and home of two women agree, the known one adult.

    Sons bear their father's whole name; a mother and her daughter hardly ever share first and
    middle name, and a girl whose age is known is not taken for a woman.
    """
    return (
        comparison.is_female
        and comparison.name is Name.EXACT
        and comparison.middle in _MIDDLE_AGREES
        and comparison.household in _HOME
        and not comparison.has_child
    )


def _is_number_conflict(comparison: Comparison) -> bool:
    """Whether two SSNs are two people's.

    Two slips apart they are one, mistyped, where first name and birth date agree to the letter:
    brothers and sisters may have been given neighbouring numbers, but not one first name.
    """
    is_anchored = comparison.first is First.EXACT and comparison.birth is Birth.EXACT
    if comparison.ssn is Number.NEAR and is_anchored and not comparison.is_new_year:
        return False
    return comparison.ssn in _OTHER_NUMBERS and not _is_one_at_home(comparison)


def _is_one_at_home(comparison: Comparison) -> bool:
    """Whether all but the SSN says one person: a spouse's or a guarantor's is a common error.

    No two people who share a home, a telephone or an e-mail address share a first name too and
    are born on one day, or share both names and are born on days that are a slip of the pen
    apart; but those to whom a registrar gave the first of January, for want of a birth date,
    may.
    """
    is_day = comparison.birth is Birth.EXACT and not comparison.is_new_year
    is_slip = comparison.birth in _SLIPS and (comparison.year_gap or 0) < GENERATION_YEARS
    return (
        comparison.first is First.EXACT
        and (is_day or (is_slip and comparison.last in _LAST_AGREES))
        and (comparison.household in ONE_HOME or comparison.email is Same.SAME)
        and comparison.middle is not Middle.DIFFERS
        and comparison.sex is not Same.DIFFERS
    )


def _has_number(comparison: Comparison) -> bool:
    """Whether a number that belongs to one person agrees."""
    return comparison.identifier is Same.SAME or comparison.ssn is Number.EXACT


def _is_sex_conflict(comparison: Comparison) -> bool:
    """Brother and sister of one birth date are told apart by this; a number overrules it.

    So do the first name and the home or the middle name: no brother and sister share those.
    """
    is_backed = comparison.household in _HOME or comparison.middle in _MIDDLE_AGREES
    is_own = comparison.first is First.EXACT and is_backed
    return comparison.sex is Same.DIFFERS and not is_own and not _has_number(comparison)
