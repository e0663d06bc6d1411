"""Who lives in the demo's state: households, drawn from a seed and nothing else."""

import random
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta

from hie.demo.lists import Lists, Town
from hie.demo.world import Address, Case, Demographics, Person

#: No Social Security number begins with 900; taxpayer numbers do, with groups 70 to 88.
_AREA = "900"
_OLDER = 60
_GROWN = 20
#: Exchanges that are services (N11) or the film industry's (555); nobody's home number.
_NOT_EXCHANGES = frozenset({211, 311, 411, 511, 555, 611, 711, 811, 911})


def plain_letters(text: str) -> str:
    """`text` without accents, for wires and places that know ASCII only."""
    folded = unicodedata.normalize("NFKD", text)
    return (
        "".join(c for c in folded if not unicodedata.combining(c))
        .encode("ascii", "ignore")
        .decode()
    )


def settle(lists: Lists) -> tuple[Person, ...]:
    """Everybody, numbered, by household; cases are given, records are not yet made."""
    people = _Settler(lists).settle()
    return _give_cases(people, lists)


def new_address(lists: Lists, town: Town, rng: random.Random) -> Address:
    """An address in a town."""
    unit = f"Apt {rng.randint(1, 12)}{rng.choice('ABCD')}" if rng.random() < 0.25 else ""
    street = f"{rng.choice(lists.places.streets)} {rng.choice(lists.places.kinds)}"
    return Address(
        street=f"{rng.randint(3, 980)} {street}", unit=unit, town=town.name, zip_code=town.zip_code
    )


class _Settler:
    """Draws households one after another from one stream of chance."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists
        self._rng = random.Random(f"{lists.plan.seed}:people")
        self._families = list(lists.names.family)
        self._rng.shuffle(self._families)
        self._people: list[Person] = []
        self._numbers = 0
        self._household = 0
        self._phone = ""
        self._address = Address(street="", unit="", town="", zip_code="")
        self._area = ""

    def settle(self) -> list[Person]:
        self._heroine()
        kinds: Mapping[str, Callable[[], None]] = {
            "single": self._single,
            "couple": self._couple,
            "family": self._family,
            "single_parent": self._single_parent,
            "twins": self._twins,
            "father_son": self._father_son,
            "newborn": self._newborn,
        }
        for kind, count in self._lists.plan.households.items():
            for _ in range(count):
                self._move_in()
                kinds[kind]()
        return self._people

    # -- households ---------------------------------------------------------------------

    def _heroine(self) -> None:
        plan = self._lists.plan.heroine
        self._move_in("bayside-general")
        person = self._add(plan.family, plan.sex, plan.birth_date, given=plan.given)
        truth = replace(person.truth, middle=plan.middle, email="rosalind.quimby@mail.example")
        self._people[-1] = replace(
            person, case=Case.FIVE_SOURCES, truth=truth, conditions=plan.conditions
        )

    def _single(self) -> None:
        self._add(self._name(), self._sex(), self._born(19, 92))

    def _couple(self) -> None:
        self._parents(self._rng.randint(27, 84))

    def _family(self) -> None:
        father, _ = self._parents(self._rng.randint(29, 50))
        self._children(father.truth.family, self._youngest_parent(), self._rng.randint(1, 3))

    def _single_parent(self) -> None:
        mother = self._add(self._name(), "female", self._born(27, 48))
        self._children(mother.truth.family, mother, self._rng.randint(1, 2))

    def _twins(self) -> None:
        father, _ = self._parents(self._rng.randint(30, 48))
        day = self._child_day(self._youngest_parent())
        first = self._sex()
        second = first if self._rng.random() < 0.75 else self._sex()
        for order, sex in enumerate((first, second), start=1):
            self._add_as(Case.TWIN, father.truth.family, sex, day, order)

    def _father_son(self) -> None:
        father, _ = self._parents(self._rng.randint(46, 74))
        index = father.number - 1
        self._people[index] = replace(
            father, case=Case.FATHER_SON, truth=replace(father.truth, suffix="Sr")
        )
        years = self._rng.randint(22, 30)
        day = father.truth.birth_date + timedelta(days=365 * years + self._rng.randint(1, 300))
        son = self._add(father.truth.family, "male", day, given=father.truth.given)
        self._people[-1] = replace(
            son,
            case=Case.FATHER_SON,
            truth=replace(son.truth, suffix="Jr", middle=father.truth.middle),
        )

    def _newborn(self) -> None:
        _, mother = self._parents(self._rng.randint(24, 38))
        day = self._lists.plan.as_of - timedelta(days=self._rng.randint(12, 70))
        # Every third birth of the demo is of twins.
        births = 2 if self._household % 3 == 0 else 1
        for order in range(1, births + 1):
            child = self._add(mother.truth.family, self._sex(), day)
            truth = replace(
                child.truth, tax_number="", email="", birth_order=order if births > 1 else 0
            )
            self._people[-1] = replace(child, case=Case.NEWBORN, mother=mother.number, truth=truth)

    # -- people -------------------------------------------------------------------------

    def _parents(self, age: int) -> tuple[Person, Person]:
        family = self._name()
        father = self._add(family, "male", self._born(age, age))
        mother = self._add(family, "female", self._born(max(22, age - 4), age))
        return father, mother

    def _children(self, family: str, parent: Person, count: int) -> None:
        days = sorted(self._child_day(parent) for _ in range(count))
        previous = days[0] - timedelta(days=365)
        for day in days:
            if day - previous >= timedelta(days=300):  # siblings, not twins
                self._add(family, self._sex(), day)
                previous = day

    def _add_as(self, case: Case, family: str, sex: str, day: date, order: int) -> None:
        person = self._add(family, sex, day)
        truth = replace(person.truth, birth_order=order)
        self._people[-1] = replace(person, case=case, truth=truth)

    def _add(self, family: str, sex: str, born: date, given: str = "") -> Person:
        band = self._band(born)
        given = given or self._given(sex, band)
        has_own_phone = band != "child" and not self._chance("shared_phone")
        has_middle = self._chance("middle_name")
        truth = Demographics(
            family=family,
            given=given,
            middle=self._rng.choice(self._lists.names.given[sex][band]) if has_middle else "",
            birth_date=born,
            sex=sex,
            address=self._address,
            phone=self._number() if has_own_phone else self._phone,
            email=self._email(given, family) if band != "child" and self._chance("email") else "",
            tax_number=self._tax_number(),
        )
        person = Person(
            number=len(self._people) + 1,
            case=Case.PLAIN,
            household=self._household,
            truth=truth,
            conditions=self._conditions(born),
        )
        self._people.append(person)
        return person

    def _youngest_parent(self) -> Person:
        home = [p for p in self._people if p.household == self._household]
        return max(home, key=lambda p: p.truth.birth_date)

    # -- facts --------------------------------------------------------------------------

    def _move_in(self, hospital: str = "") -> None:
        towns = [t for t in self._lists.places.towns if hospital in ("", t.hospital)]
        town = self._rng.choices(towns, [t.weight for t in towns])[0]
        self._household += 1
        self._address = new_address(self._lists, town, self._rng)
        self._area = town.area
        self._phone = self._number()

    def _name(self) -> str:
        if not self._families:
            return self._rng.choice(self._lists.names.family)
        return self._families.pop()

    def _given(self, sex: str, band: str) -> str:
        taken = {p.truth.given for p in self._people if p.household == self._household}
        names = [n for n in self._lists.names.given[sex][band] if n not in taken]
        return self._rng.choice(names)

    def _sex(self) -> str:
        return self._rng.choice(("female", "male"))

    def _born(self, youngest: int, oldest: int) -> date:
        days = self._rng.randint(youngest * 366, oldest * 366 + 365)
        return self._lists.plan.as_of - timedelta(days=days)

    def _child_day(self, parent: Person) -> date:
        first = parent.truth.birth_date + timedelta(days=21 * 366)
        first = max(first, self._lists.plan.as_of - timedelta(days=17 * 365))
        last = self._lists.plan.as_of - timedelta(days=400)
        return first + timedelta(days=self._rng.randint(0, max((last - first).days, 1)))

    def _band(self, born: date) -> str:
        years = (self._lists.plan.as_of - born).days // 365
        return "older" if years >= _OLDER else "adult" if years >= _GROWN else "child"

    def _conditions(self, born: date) -> tuple[str, ...]:
        years = (self._lists.plan.as_of - born).days // 365
        return tuple(
            c.code
            for c in self._lists.clinical.conditions
            if self._rng.random() * 100 < c.weight and years >= c.from_age
        )

    def _number(self) -> str:
        exchange = 555
        while exchange in _NOT_EXCHANGES:
            exchange = self._rng.randint(220, 989)
        return f"{self._area}{exchange}{self._rng.randint(1000, 9899):04d}"

    def _email(self, given: str, family: str) -> str:
        name = plain_letters(f"{given}.{family}").lower().replace("'", "")
        return f"{name}{self._rng.randint(1, 99)}@mail.example"

    def _tax_number(self) -> str:
        """The next number of an area never issued; brothers and sisters are neighbours."""
        self._numbers += 1 if self._people and self._people[-1].household == self._household else 7
        return f"{_AREA}{70 + self._numbers // 9000:02d}{1000 + self._numbers % 9000:04d}"

    def _chance(self, name: str) -> bool:
        return self._rng.random() * 100 < self._lists.plan.chances[name]


def _give_cases(people: list[Person], lists: Lists) -> tuple[Person, ...]:
    """Some grown-ups of ordinary households get something odd about their records."""
    rng = random.Random(f"{lists.plan.seed}:cases")
    day = lists.plan.as_of
    free = [p.number for p in people if p.case is Case.PLAIN and p.age_at(day) >= _GROWN]
    rng.shuffle(free)
    result = list(people)
    for name, count in lists.plan.cases.items():
        fit = [n for n in free if _fits(Case[name.upper()], people[n - 1], lists)][:count]
        for number in fit:
            free.remove(number)
            result[number - 1] = replace(people[number - 1], case=Case[name.upper()])
    return tuple(result)


def _fits(case: Case, person: Person, lists: Lists) -> bool:
    truth = person.truth
    if case is Case.MARRIED:
        return truth.sex == "female" and person.age_at(lists.plan.as_of) < 55
    if case is Case.NICKNAME:
        return truth.given in lists.names.nickname
    if case is Case.SWAPPED_DATE:
        return truth.birth_date.day <= 12 and truth.birth_date.day != truth.birth_date.month
    return True
