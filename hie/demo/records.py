"""How the sources know the demo's people: who is registered where, and with which mistakes."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, time, timedelta

from hie.demo.lists import Lists
from hie.demo.people import new_address, settle
from hie.demo.world import Address, Case, Demographics, Person, Registration, World

#: Cases that only show where two sources know the person.
_TWO_SOURCES = frozenset(
    {
        Case.MOVED,
        Case.MARRIED,
        Case.MISTYPED,
        Case.NICKNAME,
        Case.SWAPPED_DATE,
        Case.PLACEHOLDER,
        Case.FATHER_SON,
        Case.TWIN,
    }
)
_HOSPITAL, _LABORATORY, _PHARMACY = "hospital", "laboratory", "pharmacy"


def build_world(lists: Lists) -> World:
    """The whole world of a plan: the same lists give the same world, to the last digit."""
    settled = settle(lists)
    people = [_Registrar(lists, person).register() for person in settled]
    return World(
        as_of=datetime.combine(lists.plan.as_of, time()),
        people=_number(people, lists),
        systems={sender.source: sender.system for sender in lists.senders.values()},
    )


class _Registrar:
    """Registers one person at every source that knows the person."""

    def __init__(self, lists: Lists, person: Person) -> None:
        self._lists = lists
        self._person = person
        seed = lists.plan.seed
        self._rng = random.Random(f"{seed}:records:{person.number}")
        # People of a household go to the same places, and go there together.
        self._home = random.Random(f"{seed}:household:{person.household}")

    def register(self) -> Person:
        """The person with all registrations, oldest first; numbers are still to be given."""
        truth = self._person.truth
        if self._person.case is Case.MOVED:
            truth = replace(truth, address=self._elsewhere())
        if self._person.case is Case.MARRIED:
            truth = replace(
                truth, family=self._married_name(), former_family=self._person.truth.family
            )
        records: list[Registration] = []
        for place, source in enumerate(self._sources()):
            records.append(self._record(source, place, self._day_at(source, place), truth))
        if self._person.case is Case.DUPLICATE:
            records.append(self._second_record(records[0]))
        return replace(self._person, truth=truth, registrations=tuple(records))

    # -- where --------------------------------------------------------------------------

    def _sources(self) -> tuple[str, ...]:
        """Home hospital, other hospitals, laboratory, pharmacy: as far as they are known."""
        of_kind: dict[str, list[str]] = {_HOSPITAL: [], _LABORATORY: [], _PHARMACY: []}
        for sender in self._lists.senders.values():
            of_kind[sender.kind].append(sender.source)
        hospitals = of_kind[_HOSPITAL]
        town = self._person.truth.address.town
        home = next(t.hospital for t in self._lists.places.towns if t.name == town)
        others = [h for h in hospitals if h != home]
        self._home.shuffle(others)
        if self._person.case is Case.FIVE_SOURCES:
            return (home, *others, *of_kind[_LABORATORY], *of_kind[_PHARMACY])
        is_second = self._person.case in _TWO_SOURCES or self._chance("second_hospital")
        found = [
            home,
            *others[: int(is_second) + int(is_second and self._chance("third_hospital"))],
        ]
        if self._chance("laboratory") or self._person.case is Case.NEWBORN:
            found += of_kind[_LABORATORY]
        if self._person.conditions or self._chance("pharmacy"):
            found += of_kind[_PHARMACY]
        return tuple(found[: len(self._lists.senders) - 1])  # one person only is known to all

    def _first_day(self) -> datetime:
        as_of = self._lists.plan.as_of
        if self._person.case is Case.NEWBORN:
            return datetime.combine(self._person.truth.birth_date, time(7, 5))
        household = random.Random(f"{self._lists.plan.seed}:day:{self._person.household}")
        day = as_of - timedelta(days=household.randint(260, 640))
        return datetime.combine(day, time(household.randint(8, 15), household.randint(0, 40)))

    def _day_at(self, source: str, place: int) -> datetime:
        """When the person comes to the `place`-th source: together with the household."""
        days = 0
        if place:
            together = random.Random(
                f"{self._lists.plan.seed}:visit:{self._person.household}:{source}"
            )
            is_new = self._person.case is Case.NEWBORN
            days = (
                2 * place + together.randint(1, 2)
                if is_new
                else 12 * place + together.randint(1, 40)
            )
        return self._first_day() + timedelta(days=days, minutes=self._person.number % 17)

    # -- what is written down -----------------------------------------------------------

    def _record(self, source: str, place: int, at: datetime, truth: Demographics) -> Registration:
        written = self._mistake(place, truth)
        known = Registration(
            source=source, value="", at=at, recorded=self._as_known(written, source, place)
        )
        if self._person.case is Case.NEWBORN and place == 0:
            sex = "BOY" if truth.sex == "male" else "GIRL"
            letter = f" {'AB'[truth.birth_order - 1]}" if truth.birth_order else ""
            unnamed = replace(known.recorded, given=f"BABY {sex}{letter}", middle="")
            named_at = at + timedelta(days=2, hours=3)
            return replace(known, recorded=unnamed, corrected=known.recorded, corrected_at=named_at)
        if written != truth and self._rng.random() < 0.5:
            return replace(
                known,
                corrected=self._as_known(truth, source, place),
                corrected_at=at + timedelta(days=self._rng.randint(60, 170), hours=1),
            )
        return known

    def _mistake(self, place: int, truth: Demographics) -> Demographics:
        """What the desk of the `place`-th source believes; the first is old, the second odd."""
        before = self._person.truth
        if self._person.case in (Case.MOVED, Case.MARRIED):
            return truth if place else before
        if place != 1:
            return truth
        mistakes: Mapping[Case, Callable[[Demographics], Demographics]] = {
            Case.MISTYPED: self._mistyped,
            Case.NICKNAME: self._nicknamed,
            Case.SWAPPED_DATE: _swapped,
            Case.PLACEHOLDER: self._placeholder,
        }
        return mistakes.get(self._person.case, _unchanged)(truth)

    def _as_known(self, written: Demographics, source: str, place: int) -> Demographics:
        """`written` less what this kind of source does not ask for."""
        if self._person.case is Case.FIVE_SOURCES:
            return written
        chances = self._lists.plan.chances
        # One stream per desk: what it did not ask at first it does not know later either.
        desk = random.Random(f"{self._lists.plan.seed}:desk:{self._person.number}:{source}")
        rolls = [desk.random() for _ in range(4)]
        is_hospital = self._lists.senders[source].kind == _HOSPITAL
        chance = chances["number_at_hospital" if is_hospital else "number_elsewhere"]
        is_asked = rolls[0] * 100 < chance
        is_placeholder = written.tax_number in self._lists.plan.placeholder_ssns
        return replace(
            written,
            middle=written.middle if is_hospital else written.middle[:1],
            suffix="" if place and rolls[1] < 0.4 else written.suffix,
            former_family=written.former_family if rolls[2] < 0.5 else "",
            phone=written.phone if rolls[3] < 0.88 else "",
            email=written.email if is_hospital else "",
            tax_number=written.tax_number if is_asked or is_placeholder else "",
        )

    def _second_record(self, first: Registration) -> Registration:
        """The same person, registered in haste at the same desk: the A40 to come."""
        given = first.recorded.given
        hasty = replace(
            first.recorded,
            given=self._lists.names.nickname.get(given, given),
            middle="",
            tax_number="",
            email="",
        )
        at = first.at + timedelta(days=self._rng.randint(60, 120))
        return replace(first, at=at, recorded=hasty, corrected=None, merged_into="first")

    def _mistyped(self, truth: Demographics) -> Demographics:
        if self._rng.random() < 0.5:
            return replace(truth, family=_swap_letters(truth.family, self._rng))
        return replace(truth, given=_swap_letters(truth.given, self._rng))

    def _nicknamed(self, truth: Demographics) -> Demographics:
        return replace(truth, given=self._lists.names.nickname[truth.given])

    def _placeholder(self, truth: Demographics) -> Demographics:
        return replace(truth, tax_number=self._rng.choice(self._lists.plan.placeholder_ssns))

    def _married_name(self) -> str:
        return self._rng.choice(
            [n for n in self._lists.names.family if n != self._person.truth.family]
        )

    def _elsewhere(self) -> Address:
        town = self._person.truth.address.town
        towns = [t for t in self._lists.places.towns if t.name != town]
        return new_address(self._lists, self._rng.choice(towns), self._rng)

    def _chance(self, name: str) -> bool:
        return self._rng.random() * 100 < self._lists.plan.chances[name]


def _unchanged(truth: Demographics) -> Demographics:
    return truth


def _swapped(truth: Demographics) -> Demographics:
    born = truth.birth_date
    return replace(truth, birth_date=born.replace(month=born.day, day=born.month))


def _swap_letters(name: str, rng: random.Random) -> str:
    """`name` with two neighbouring letters exchanged, never the first: a finger slipped."""
    spots = [n for n in range(1, len(name) - 1) if name[n] != name[n + 1] and name[n].isalpha()]
    if not spots:
        return name
    n = rng.choice(spots)
    return name[:n] + name[n + 1] + name[n] + name[n + 2 :]


def _number(people: list[Person], lists: Lists) -> tuple[Person, ...]:
    """Give every registration its number: in order of time, close together for a household."""
    slots = sorted(
        (known.source, known.at, person.number, place)
        for person in people
        for place, known in enumerate(person.registrations)
    )
    last: dict[str, tuple[int, int]] = {}
    numbers: dict[tuple[int, int], str] = {}
    rng = random.Random(f"{lists.plan.seed}:numbers")
    for source, _, number, place in slots:
        household = people[number - 1].household
        before, previous = last.get(source, (10_000, 0))
        value = before + (1 if household == previous else rng.randint(2, 60))
        last[source] = (value, household)
        numbers[number, place] = lists.senders[source].number.format(value)
    return tuple(_numbered(person, numbers) for person in people)


def _numbered(person: Person, numbers: Mapping[tuple[int, int], str]) -> Person:
    first = numbers[person.number, 0]
    records = tuple(
        replace(
            known,
            value=numbers[person.number, place],
            merged_into=first if known.merged_into else "",
        )
        for place, known in enumerate(person.registrations)
    )
    return replace(person, registrations=records)
