"""What comparing two records can say: the levels of each comparison, vetoes and grades."""

from enum import StrEnum


class First(StrEnum):
    """How two first names agree."""

    EXACT = "exact"
    NICKNAME = "nickname"
    TYPO = "typo"
    GARBLED = "garbled"  # two edits apart, and one of them no name at all
    INITIAL = "initial"
    RIVAL = "rival"  # close in letters, but two names that parents do give to twins
    DIFFERS = "differs"


class Last(StrEnum):
    """How two surnames agree."""

    EXACT = "exact"
    PART = "part"
    TYPO = "typo"
    DIFFERS = "differs"


class Name(StrEnum):
    """First name and surname together: they are not independent."""

    EXACT = "exact"
    NICKNAME = "nickname"
    FIRST_TYPO = "first-typo"
    LAST_TYPO = "last-typo"
    BOTH_TYPO = "both-typo"
    SWAPPED = "swapped"
    SWAPPED_TYPO = "swapped-typo"
    CROSSED = "crossed"  # the one's first name is the other's surname, the rest differs
    LAST_PART = "last-part"
    INITIAL = "initial"
    FIRST_ONLY = "first-only"
    LAST_ONLY = "last-only"
    FIRST_CLOSE = "first-close"  # the first name, misspelt or short, and no surname
    LAST_CLOSE = "last-close"  # the surname or a part of it, misspelt, and no first name
    LAST_ALONE = "last-alone"  # one of the records has no first name
    FIRST_ALONE = "first-alone"  # one of the records has no surname
    NONE = "none"


class Middle(StrEnum):
    """How further given names agree."""

    EXACT = "exact"
    INITIAL = "initial"
    DIFFERS = "differs"


class Birth(StrEnum):
    """How two birth dates agree."""

    EXACT = "exact"
    SWAPPED = "swapped"  # month and day
    EDIT = "edit"  # one digit, two neighbours transposed, or the day before or after
    PART = "part"  # the year, and month or day; or one date is partial
    DIFFERS = "differs"


class Household(StrEnum):
    """Address, telephone and ZIP as one piece of evidence: who lives together shares all."""

    ADDRESS_AND_PHONE = "address-and-phone"
    ADDRESS = "address"
    PHONE = "phone"
    STREET = "street"  # the street, and the house or the place
    ZIP = "zip"
    NEAR = "near"  # the city, or a ZIP code one digit off
    NONE = "none"


class Number(StrEnum):
    """How two numbers of one kind agree."""

    EXACT = "exact"
    EDIT = "edit"
    NEAR = "near"  # two slips apart: mistyped twice, or the next in line
    LAST4 = "last4"
    DIFFERS = "differs"


class Same(StrEnum):
    """A comparison with two outcomes."""

    SAME = "same"
    DIFFERS = "differs"


#: The comparisons of the model, in the order they are explained, and the levels of each.
COMPARISONS: dict[str, type[StrEnum]] = {
    "name": Name,
    "middle": Middle,
    "birth": Birth,
    "sex": Same,
    "suffix": Same,
    "birth_order": Same,
    "household": Household,
    "email": Same,
    "ssn": Number,
    "identifier": Same,
    "mother": Same,
}

#: The evidence that two people of one household agree as well, and its only level: no
#: comparison of its own, but what the others say of a household taken together.
FAMILY, EXPECTED = "family", "expected"

#: Levels whose weights must fall in this order; levels in no order may stand anywhere. A rare
#: misspelling may well weigh more than a common name in full.
ORDERS: dict[str, tuple[tuple[StrEnum, ...], ...]] = {
    "name": (
        (Name.EXACT, Name.INITIAL, Name.LAST_ONLY, Name.NONE),
        (Name.EXACT, Name.LAST_ALONE, Name.LAST_ONLY, Name.LAST_CLOSE, Name.NONE),
        (Name.EXACT, Name.FIRST_ALONE, Name.FIRST_ONLY, Name.FIRST_CLOSE, Name.NONE),
    ),
    "middle": ((Middle.EXACT, Middle.INITIAL, Middle.DIFFERS),),
    "birth": ((Birth.EXACT, Birth.EDIT, Birth.PART, Birth.DIFFERS),),
    "household": (
        (Household.ADDRESS, Household.STREET, Household.ZIP, Household.NEAR, Household.NONE),
        (Household.ADDRESS_AND_PHONE, Household.PHONE, Household.NONE),
    ),
    "ssn": (
        (Number.EXACT, Number.EDIT, Number.NEAR, Number.DIFFERS),
        (Number.LAST4, Number.DIFFERS),
    ),
} | {name: ((Same.SAME, Same.DIFFERS),) for name, levels in COMPARISONS.items() if levels is Same}


#: Fields that a combination of the deterministic pack may name, and those that may be fuzzy.
COMBINED = frozenset(
    {"first", "last", "birth", "street", "zip", "phone", "email", "ssn", "last4", "itin4", "mbi",
     "legal_id", "member_id", "identifier"}
)  # fmt: skip
FUZZY = frozenset({"first", "last", "birth", "street"})


class Veto(StrEnum):
    """Why a pair must not be linked without a human, however high its score."""

    FIRST_NAME = "first-name"
    BIRTH_DATE = "birth-date"
    TWIN = "twin"
    GENERATION = "generation"
    SUFFIX = "suffix"
    SSN = "ssn"
    BIRTH_ORDER = "birth-order"
    SEX = "sex"
    SAME_AUTHORITY = "same-authority"
    # The next four say that evidence is lacking, not that it speaks against.
    SURNAME = "surname"
    PLACEHOLDER_NAME = "placeholder-name"
    NO_FIRST_NAME = "no-first-name"
    NO_BIRTH_DATE = "no-birth-date"

    @property
    def is_lack(self) -> bool:
        """Whether the pair could not be checked, rather than failed the check."""
        return self in _LACKS


_LACKS = frozenset({Veto.SURNAME, Veto.PLACEHOLDER_NAME, Veto.NO_FIRST_NAME, Veto.NO_BIRTH_DATE})


class MatchGrade(StrEnum):
    """FHIR match-grade: http://hl7.org/fhir/R4/valueset-match-grade.html."""

    CERTAIN = "certain"
    PROBABLE = "probable"
    POSSIBLE = "possible"
    CERTAINLY_NOT = "certainly-not"
