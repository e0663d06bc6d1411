"""The demo's ground truth: who lives in the invented state, and how each source knows them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


class Case(StrEnum):
    """What makes a person easy or hard to recognise."""

    PLAIN = "ordinary"
    FIVE_SOURCES = "known to all five sources"
    TWIN = "twins"
    FATHER_SON = "father and son of one name"
    NEWBORN = "newborn, named later"
    MOVED = "moved house"
    MARRIED = "married, new name"
    MISTYPED = "mistyped name"
    NICKNAME = "nickname"
    SWAPPED_DATE = "birth date mistyped"
    PLACEHOLDER = "placeholder SSN"
    DUPLICATE = "registered twice, merged later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where somebody lives; the state is the world's."""

    street: str
    unit: str
    town: str
    zip_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Demographics:
    """What a registration desk writes down about a person.

    Attributes:
        sex: `female` or `male`.
        former_family: an earlier family name, as an alias; empty for none.
        phone, tax_number: digits only; empty when not known. A tax number has the form of an
            SSN in a range never issued as one, or is a placeholder somebody typed for an SSN.
        birth_order: 1 or 2 for a twin, 0 otherwise.
    """

    family: str
    given: str
    middle: str = ""
    suffix: str = ""
    former_family: str = ""
    birth_date: date
    sex: str
    address: Address
    phone: str = ""
    email: str = ""
    tax_number: str = ""
    birth_order: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One source's record of one person.

    Attributes:
        value: the source's own number for the person.
        at: when the record was made, local time.
        recorded: what the source wrote down then.
        corrected: what it wrote down later, or None; `corrected_at` says when.
        merged_into: the number this record was merged into (ADT^A40), or empty.
    """

    source: str
    value: str
    at: datetime
    recorded: Demographics
    corrected: Demographics | None = None
    corrected_at: datetime | None = None
    merged_into: str = ""

    def known_at(self, at: datetime) -> Demographics:
        """What the source knows at a time: the correction once it is made."""
        if self.corrected and self.corrected_at and at >= self.corrected_at:
            return self.corrected
        return self.recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A human of the world.

    Attributes:
        number: 1-based, unique.
        household: people of one number live together.
        truth: the demographics as they are, whatever the sources say.
        conditions: ICD-10-CM codes of lasting conditions.
        mother: number of the mother of a newborn, or 0.
        registrations: oldest first.
    """

    number: int
    case: Case
    household: int
    truth: Demographics
    conditions: tuple[str, ...] = ()
    mother: int = 0
    registrations: tuple[Registration, ...] = ()

    @property
    def name(self) -> str:
        """Given and family name, as one would call the person."""
        return f"{self.truth.given} {self.truth.family}"

    def age_at(self, day: date) -> int:
        """Full years on a day."""
        born = self.truth.birth_date
        return day.year - born.year - ((day.month, day.day) < (born.month, born.day))

    def at_source(self, source: str) -> Registration | None:
        """The record in use at a source: the surviving one where two were merged."""
        mine = [r for r in self.registrations if r.source == source and not r.merged_into]
        return mine[0] if mine else None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAs:
    """A line of the truth: this number at this source is this person."""

    source: str
    system: str
    value: str
    person: int

    @property
    def key(self) -> tuple[str, str, str]:
        """Source, system and value: how the hub knows it."""
        return self.source, self.system, self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everybody, and the day the story ends. `systems`: identifier system by source."""

    as_of: datetime
    people: tuple[Person, ...]
    systems: dict[str, str]

    def truth(self) -> Iterator[KnownAs]:
        """Every number at every source with the person it means."""
        for person in self.people:
            for known in person.registrations:
                yield KnownAs(
                    source=known.source,
                    system=self.systems[known.source],
                    value=known.value,
                    person=person.number,
                )

    def person(self, number: int) -> Person:
        """The person of a number."""
        return self.people[number - 1]

    @property
    def heroine(self) -> Person:
        """The one person known to all five sources."""
        return next(p for p in self.people if p.case is Case.FIVE_SOURCES)
