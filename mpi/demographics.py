"""Who somebody is said to be, in comparable form: names, dates, numbers, addresses."""

from dataclasses import dataclass

#: Raised whenever `normalize` gives another result for the same Patient.
NORM_VERSION = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One postal address, folded.

    Attributes:
        house: house number, `12`, `12a`; empty for a PO box or where none was found.
        street: words of the street without the number, types and directions shortened.
        unit: apartment or suite.
        city: folded city name; only compared where a ZIP is missing.
        zip5: five digits, or empty.
    """

    house: str = ""
    street: str = ""
    unit: str = ""
    city: str = ""
    zip5: str = ""

    @property
    def door(self) -> str:
        """The one door it names, as a value that many may share; empty without a street."""
        if not self.street:
            return ""
        return f"{self.house}|{self.street}|{self.unit}|{self.zip5 or self.city}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifier:
    """A business identifier within its assigning authority, ready to compare."""

    system: str
    value: str
    type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demographics:
    """A Patient in comparable form: folded, split, default values taken out.

    Attributes:
        given: first names, most official first: whole (`maryann`) and first word (`mary`).
        middle: further given names and initials.
        surnames: whole surnames of every name in use: official, maiden, alias.
        surname_parts: words of the double ones among them, three letters or longer.
        suffix: `jr`, `sr`, `ii`, ...; `jr` and `ii` are told apart only by `compare`.
        birth_date: `YYYY-MM-DD`, `YYYY-MM` or `YYYY`; empty when unknown or a default.
        birth_order: position in a multiple birth; 0 when unknown.
        sex: `m`, `f`, or empty.
        phones: `+1` and ten digits, or `+` and the digits sent.
        ssn: nine digits; ssn_last4: the last four where no more was sent.
        itin: nine digits of a taxpayer number; never an SSN.
        identifiers: others, by authority, of the types that belong to one person.
        mothers: mother's maiden surname, and surname of the guardian of a newborn.
        is_placeholder: the name says that the name is not known (`BABY BOY`, `UNKNOWN`).
        is_minor: whether they may be registered with a parent's numbers; so may who has no
            birth date.
    """

    given: tuple[str, ...] = ()
    middle: tuple[str, ...] = ()
    surnames: tuple[str, ...] = ()
    surname_parts: tuple[str, ...] = ()
    suffix: str = ""
    birth_date: str = ""
    birth_order: int = 0
    sex: str = ""
    phones: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()
    ssn: tuple[str, ...] = ()
    ssn_last4: tuple[str, ...] = ()
    itin: tuple[str, ...] = ()
    identifiers: tuple[Identifier, ...] = ()
    mothers: tuple[str, ...] = ()
    is_placeholder: bool = False
    is_minor: bool = True
