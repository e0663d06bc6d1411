"""Synthetic people with known truth: households, and records of them as desks mistype them.

Everything is drawn from one seed. Each record says whose it is and what happened to it.
"""

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any


def _words(text: str) -> list[str]:
    return text.split()


# Drawn with falling frequency, so that the first ones are as common as Michael and Smith.
FEMALE = _words(
    "Mary Jennifer Linda Patricia Elizabeth Susan Jessica Sarah Karen Lisa Nancy Margaret "
    "Sandra Ashley Kimberly Emily Donna Michelle Carol Amanda Melissa Deborah Stephanie "
    "Dorothy Rebecca Sharon Laura Cynthia Amy Kathleen Angela Shirley Brenda Emma Anna Pamela "
    "Nicole Samantha Katherine Christine Helen Rachel Carolyn Janet Maria Catherine Heather "
    "Diane Olivia Julie Joyce Victoria Ruth Virginia Lauren Kelly Christina Joan Evelyn Judith "
    "Andrea Hannah Megan Cheryl Jacqueline Martha Madison Teresa Gloria Sara Janice Ann "
    "Kathryn Abigail Sophia Frances Jean Alice Judy Isabella Julia Grace Amber Denise Danielle "
    "Marilyn Beverly Charlotte Natalie Theresa Diana Brittany Doris Kayla Alexis Lori Marie "
    "Oonagh Thandeka Iseult Ximena Liesel Noor Saoirse Ingeborg Perpetua Zuleika "
)
MALE = _words(
    "James Robert John Michael David William Richard Joseph Thomas Christopher Charles Daniel "
    "Matthew  Anthony Mark Donald Steven Andrew Paul Joshua Kenneth Kevin Brian George Timothy "
    "Ronald Jason Edward  Jeffrey Ryan Jacob Gary Nicholas Eric Jonathan Stephen Larry Justin "
    "Scott Brandon Benjamin Samuel  Gregory Alexander Patrick Frank Raymond Jack Dennis Jerry "
    "Tyler Aaron Jose Adam Nathan Henry Zachary  Douglas Peter Kyle Noah Ethan Jeremy Walter "
    "Christian Keith Roger Terry Austin Sean Gerald Carl  Harold Dylan Arthur Lawrence Jordan "
    "Jesse Bryan Billy Bruce Gabriel Joe Logan Alan Juan Albert Willie  Elijah Wayne Randy "
    "Vincent Mason Roy Ralph Bobby Russell Bradley Philip Eugene Jayden Kayden Aiden  Caden "
    "Oisin Thaddeus Bartholomew Ignatius Torvald Kwabena Lysander Evander Casimir Leopold "
)
STEMS = _words(
    "Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez "
    "Gonzalez Wilson Anderson Thomas Taylor Moore Jackson Martin Lee Perez Thompson White "
    "Harris Sanchez Clark Ramirez Lewis Robinson Walker Young Allen King Wright Scott Torres "
    "Nguyen Hill Flores Green Adams Nelson Baker Hall Rivera Campbell Mitchell Carter Roberts "
    "Gomez Phillips Evans Turner Diaz Parker Cruz Edwards Collins Reyes Stewart Morris Morales "
    "Murphy Cook Rogers Gutierrez Ortiz Morgan Cooper Peterson Bailey Reed Kelly Howard Ramos "
    "Kim Cox Ward Richardson Watson Brooks Chavez Wood James Bennett Gray Mendoza Ruiz Hughes "
    "Price Alvarez Castillo Sanders Patel Myers Long Ross Foster Jimenez "
)
RARE_HEADS = _words(
    "Ash Brad Cald Dun El Fen Graf Hol Ink Jarr Kess Lang Mont Nor Oak Pem Quin Rav Stan Thorn "
)
RARE_TAILS = _words(
    "ard berg brook by combe dale enko feld gate hurst  ingham ko leigh man ner owski rup sby "
    "ton wick "
)
SURNAMES = [*STEMS, *(f"{head}{tail}" for head in RARE_HEADS for tail in RARE_TAILS)]
STREETS = _words(
    "Maple Oak Cedar Pine Elm Washington Lake Hill Walnut Spring North Ridge Church Park Highland "
)
KINDS = ["Street", "Avenue", "Road", "Drive", "Lane", "Court"]
SHORT_FORMS = {
    "William": "Bill", "Robert": "Bob", "Richard": "Dick", "Elizabeth": "Liz", "Margaret": "Peggy",
    "Katherine": "Kate", "Michael": "Mike", "James": "Jim", "Thomas": "Tom", "Patricia": "Pat",
    "Jennifer": "Jenny", "Joseph": "Joe", "Daniel": "Dan", "Samuel": "Sam", "Benjamin": "Ben",
    "Christopher": "Chris", "Matthew": "Matt", "Susan": "Sue", "Deborah": "Debbie",
    "Rebecca": "Becky",
}  # fmt: skip

Patient = dict[str, Any]


def _is_one_name(one: str, other: str) -> bool:
    """Whether two given names are spellings of one, which no parents give to two children."""
    return one[:3] == other[:3] or (one[0] == other[0] and one[-2:] == other[-2:])


@dataclass(frozen=True, kw_only=True)
class Human:
    """One human as they are."""

    number: int
    given: str
    middle: str
    family: str
    sex: str
    birth_date: str
    house: int
    street: str
    zip5: str
    phone: str
    email: str = ""
    ssn: str = ""
    suffix: str = ""
    birth_order: int = 0
    maiden: str = ""
    mother: str = ""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """One record of a human: who it really is, at which source, and what went wrong."""

    human: int
    source: str
    mrn: str
    patient: Patient
    kind: str = "clean"


class Town:
    """People in households, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self._numbers = iter(range(1, 10**9))

    def skewed(self, values: list[str]) -> str:
        """One of the values, the first ones far more often."""
        return values[min(int(len(values) * self.rng.random() ** 1.8), len(values) - 1)]

    def date(self, first_year: int, last_year: int) -> str:
        """A birth date."""
        year = self.rng.randint(first_year, last_year)
        return f"{year}-{self.rng.randint(1, 12):02d}-{self.rng.randint(1, 28):02d}"

    def phone(self) -> str:
        """A number that is nobody's default."""
        exchange = self.rng.choice([n for n in range(220, 990) if n != 555])
        return f"{self.rng.choice((508, 617, 781, 978))}{exchange}{self.rng.randint(1, 9998):04d}"

    def human(self, **fixed: Any) -> Human:
        """A human living alone, but for what is fixed."""
        sex = fixed.get("sex") or self.rng.choice("mf")
        names = FEMALE if sex == "f" else MALE
        number = next(self._numbers)
        drawn: dict[str, Any] = {
            "number": number,
            "sex": sex,
            "given": self.skewed(names),
            "middle": self.rng.choice(names),
            "family": self.skewed(SURNAMES),
            "birth_date": self.date(1935, 2004),
            "house": self.rng.randint(1, 1999),
            "street": f"{self.rng.choice(STREETS)} {self.rng.choice(KINDS)}",
            "zip5": f"01{self.rng.randint(0, 299):03d}",
            "phone": self.phone(),
            "mother": self.skewed(SURNAMES),
        }
        drawn |= {
            "middle": drawn["middle"] if self.rng.random() < 0.6 else "",
            "email": f"u{number}.{self.rng.randint(10, 99)}@mail.example.org",
            "ssn": self.ssn(),
        }
        rare = {"email": 0.4, "ssn": 0.5, "phone": 0.9}
        drawn |= {field: "" for field, share in rare.items() if self.rng.random() > share}
        return Human(**{**drawn, **fixed})

    def ssn(self) -> str:
        """A number that could have been issued."""
        area, serial = self.rng.randint(1, 665), self.rng.randint(1, 9999)
        return f"{area:03d}{self.rng.randint(1, 99):02d}{serial:04d}"

    def relative(self, of: Human, **fixed: Any) -> Human:
        """A human of the same home and surname."""
        shared = {
            "family": of.family,
            "house": of.house,
            "street": of.street,
            "zip5": of.zip5,
            "phone": of.phone,
        }
        return self.human(**{**shared, "email": "", **fixed})

    def twins(self) -> tuple[Human, Human]:
        """Two children of one birth; now and then with names one letter apart."""
        one = self.human(birth_date=self.date(2005, 2024), birth_order=0, email="", ssn="")
        sex = self.rng.choice("mf")
        names = [n for n in (FEMALE if sex == "f" else MALE) if not _is_one_name(n, one.given)]
        given = self.rng.choice(names)
        if one.sex == "m" and self.rng.random() < 0.2:
            one, given, sex = replace(one, given="Jayden"), "Kayden", "m"
        other = self.relative(
            one, given=given, sex=sex, birth_date=one.birth_date, mother=one.mother, ssn=""
        )
        if self.rng.random() < 0.3:
            one, other = replace(one, birth_order=1), replace(other, birth_order=2)
        return one, other

    def father_and_son(self) -> tuple[Human, Human]:
        """Two of one name and home; the suffix is often missing."""
        father = self.human(sex="m", birth_date=self.date(1945, 1980))
        year = int(father.birth_date[:4]) + self.rng.randint(18, 40)
        birth_date = (
            f"{year}{father.birth_date[4:]}" if self.rng.random() < 0.1 else self.date(year, year)
        )
        son = self.relative(
            father, sex="m", given=father.given, middle=father.middle, birth_date=birth_date
        )
        if self.rng.random() < 0.4:
            son = replace(son, suffix="Jr")
        if self.rng.random() < 0.3:
            father = replace(father, suffix="Sr")
        return father, son


def patient(human: Human, system: str, mrn: str) -> Patient:
    """The FHIR Patient of a record without mistakes."""
    name: Patient = {
        "use": "official",
        "family": human.family,
        "given": [name for name in (human.given, human.middle) if name],
    }
    if human.suffix:
        name["suffix"] = [human.suffix]
    made: Patient = {
        "resourceType": "Patient",
        "identifier": [{"system": system, "value": mrn, "type": _type("MR")}],
        "name": [name],
        "gender": {"m": "male", "f": "female"}[human.sex],
        "birthDate": human.birth_date,
        "telecom": [],
        "address": [
            {
                "line": [f"{human.house} {human.street}"],
                "city": "Sampleton",
                "state": "MA",
                "postalCode": human.zip5,
            }
        ],
    }
    if human.phone:
        made["telecom"].append({"system": "phone", "value": human.phone, "use": "home"})
    if human.maiden:
        made["name"].append({"use": "maiden", "family": human.maiden})
    if human.email:
        made["telecom"].append({"system": "email", "value": human.email})
    if human.ssn:
        made["identifier"].append(
            {"system": "http://hl7.org/fhir/sid/us-ssn", "value": human.ssn, "type": _type("SS")}
        )
    if human.birth_order:
        made["multipleBirthInteger"] = human.birth_order
    return made


def _type(code: str) -> Patient:
    return {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": code}]}


class Desk:
    """Registers humans at sources, with or without a mistake."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._rng = town.rng
        self._mrns = iter(range(100_000, 10**9))

    def see(self, human: Human, source: str = "a", kind: str = "clean") -> Sighting:
        """A record of the human at a source; `kind` names what goes wrong, `+` between."""
        mrn = str(next(self._mrns))
        changed = human
        for mistake in kind.split("+"):
            if mistake in HUMAN_CHANGES:
                changed = HUMAN_CHANGES[mistake](self._town, changed)
        made = patient(changed, f"urn:oid:2.999.{ord(source[0])}", mrn)
        for mistake in kind.split("+"):
            if mistake in PATIENT_CHANGES:
                PATIENT_CHANGES[mistake](made)
        return Sighting(human=human.number, source=source, mrn=mrn, patient=made, kind=kind)


def typo(rng: random.Random, word: str) -> str:
    """The word with one slip of the fingers, never at its first letter."""
    place = rng.randint(1, len(word) - 1)
    letter = rng.choice("abcdefghijklmnopqrstuvwxyz")
    slips = [
        word[:place] + letter + word[place:],
        word[:place] + letter + word[place + 1 :],
        word[: place - 1] + word[place] + word[place - 1] + word[place + 1 :]
        if place > 1
        else word + letter,
        word[:place] + word[place + 1 :] if len(word) > 4 else word + letter,
    ]
    return rng.choice([slip for slip in slips if slip != word] or [word + letter])


def _moved(town: Town, human: Human) -> Human:
    new = town.human()
    return replace(human, house=new.house, street=new.street, zip5=new.zip5, phone=new.phone)


def _digit(town: Town, human: Human) -> Human:
    day = int(human.birth_date[8:])
    return replace(
        human, birth_date=f"{human.birth_date[:8]}{day + 1 if day % 10 < 8 else day - 1:02d}"
    )


def _swapped_day(_: Town, human: Human) -> Human:
    year, month, day = human.birth_date.split("-")
    return replace(human, birth_date=f"{year}-{day}-{month}") if int(day) <= 12 else human


def _nickname(_: Town, human: Human) -> Human:
    return replace(human, given=SHORT_FORMS.get(human.given, human.given))


def _married(town: Town, human: Human) -> Human:
    return replace(human, family=town.skewed(SURNAMES), maiden=human.family)


HUMAN_CHANGES: dict[str, Callable[[Town, Human], Human]] = {
    "first-name-typo": lambda town, h: replace(h, given=typo(town.rng, h.given)),
    "surname-typo": lambda town, h: replace(h, family=typo(town.rng, h.family)),
    "moved": _moved,
    "new-phone": lambda town, h: replace(h, phone=town.phone()),
    "birth-date-digit": _digit,
    "month-day-swap": _swapped_day,
    "nickname": _nickname,
    "married": _married,
    "married-without-maiden": lambda town, h: replace(_married(town, h), maiden=""),
    "hyphenated": lambda town, h: replace(h, family=f"{h.family}-{town.skewed(SURNAMES)}"),
    "default-ssn": lambda _, h: replace(h, ssn="999999999"),
    "no-middle-name": lambda _, h: replace(h, middle=""),
    "swapped-names": lambda _, h: replace(h, given=h.family, family=h.given),
    "upper-case": lambda _, h: replace(h, given=h.given.upper(), family=h.family.upper()),
    "no-email": lambda _, h: replace(h, email=""),
}


def _baby(made: Patient) -> None:
    made["name"] = [{"family": made["name"][0]["family"], "given": ["BABY BOY"]}]
    made["identifier"] = made["identifier"][:1]


def _thin(made: Patient) -> None:
    for element in ("telecom", "address"):
        made.pop(element)


def _drop_suffix(made: Patient) -> None:
    made["name"][0].pop("suffix", None)


PATIENT_CHANGES: dict[str, Callable[[Patient], None]] = {
    "baby-boy": _baby,
    "name-and-date-only": _thin,
    "no-suffix": _drop_suffix,
}

#: What registration desks do to one and the same human, day in, day out.
ORDINARY = (*HUMAN_CHANGES, "clean", "name-and-date-only")


def ordinary_pairs(seed: int, count: int) -> Iterator[tuple[Sighting, Sighting]]:
    """Two records of one human at two sources, the second with one ordinary mistake."""
    town = Town(seed)
    desk = Desk(town)
    for number in range(count):
        kind = ORDINARY[number % len(ORDINARY)]
        fixed = {"sex": "f"} if kind.startswith("married") else {}
        if kind == "nickname":
            given = town.rng.choice(list(SHORT_FORMS))
            fixed = {"given": given, "sex": "f" if given in FEMALE else "m"}
        human = town.human(**fixed)
        yield desk.see(human, "a"), desk.see(human, "b", kind)


def pairs_with_two_mistakes(seed: int, count: int) -> Iterator[tuple[Sighting, Sighting]]:
    """Two records of one human, the second with two of the mistakes."""
    town = Town(seed)
    desk = Desk(town)
    mistakes = [kind for kind in HUMAN_CHANGES if not kind.startswith("no-")]
    for _ in range(count):
        one, other = town.rng.sample(mistakes, 2)
        human = town.human()
        yield desk.see(human, "a"), desk.see(human, "b", f"{one}+{other}")


def twin_pairs(seed: int, count: int) -> Iterator[tuple[Sighting, Sighting]]:
    """A record of each of two twins."""
    town = Town(seed)
    desk = Desk(town)
    for number in range(count):
        one, other = town.twins()
        kind = ("clean", "no-email", "upper-case", "first-name-typo", "new-phone")[number % 5]
        yield desk.see(one, "a"), desk.see(other, "b", kind)


def father_and_son_pairs(seed: int, count: int) -> Iterator[tuple[Sighting, Sighting]]:
    """A record of a father and one of his son of the same name."""
    town = Town(seed)
    desk = Desk(town)
    for number in range(count):
        father, son = town.father_and_son()
        yield desk.see(father, "a"), desk.see(son, "b", ("clean", "no-suffix")[number % 2])


def population(seed: int, humans: int) -> list[Sighting]:
    """A town's records at three sources, in the order they arrive: families, twins, juniors."""
    town = Town(seed)
    desk = Desk(town)
    people: list[Human] = []
    while len(people) < humans:
        draw = town.rng.random()
        if draw < 0.03:
            people += town.twins()
        elif draw < 0.05:
            people += town.father_and_son()
        elif draw < 0.3:
            head = town.human()
            people += [
                head,
                *(town.relative(head, birth_date=town.date(1990, 2022)) for _ in range(2)),
            ]
        else:
            people.append(town.human())
    sightings = []
    for human in people:
        for source in "abc"[: town.rng.randint(1, 3)]:
            is_clean = town.rng.random() < 0.6
            kind = "clean" if is_clean else town.rng.choice(ORDINARY)
            sightings.append(desk.see(human, source, kind))
    town.rng.shuffle(sightings)
    return copy.deepcopy(sightings)
