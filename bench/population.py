"""A synthetic state of any size, streamed: households, moves, marriages, twins, mistyped records.

Names are drawn with falling shares, so that the commonest surname has about one person in 110
as in the Census, and blocking meets the full keys that a real state has.
"""

import random
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, product
from pathlib import Path
from typing import Any, Final

from hie.kernel.fhir import FhirJson

ROOT = Path(__file__).resolve().parents[1]
AUTHORITIES = tuple(f"urn:oid:2.16.840.1.113883.19.7.{n}" for n in range(1, 9))
SSN = "http://hl7.org/fhir/sid/us-ssn"


def _words(text: str) -> list[str]:
    return text.split()


_ONSETS = [
    "b",
    "br",
    "c",
    "ch",
    "cl",
    "d",
    "dr",
    "f",
    "fl",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "kr",
    "l",
    "m",
    "mc",
    "n",
    "p",
    "pr",
    "qu",
    "r",
    "s",
    "sch",
    "sh",
    "st",
    "t",
    "th",
    "tr",
    "v",
    "w",
    "z",
]
_VOWELS = _words("a e i o u ai ea ie oo ou")
_CODAS = _words("ck d dt ff l ll lm m n nd ng nn r rd rk rr s st t tt x z")
_TAILS = ("", "son", "er", "man", "ley", "ski", "ez", "ini", "berg", "ton", "well", "wood")
_KINDS = _words("Street Avenue Road Lane Drive Court")
#: One in so many persons is kept, to be asked for later.
KEPT = 20
RECORDS_PER_PERSON = 1.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Somebody:
    """What is true of a person."""

    number: int
    first: str
    middle: str
    last: str
    birth: str
    sex: str
    line: str
    city: str
    zip5: str
    phone: str
    ssn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """One source's record of a person.

    Attributes:
        person: the number of the person it is really about.
        system, value: the source's own identifier.
    """

    person: int
    system: str
    value: str
    patient: FhirJson


class Population:
    """Persons and their records, the same for one seed."""

    def __init__(self, seed: int = 1) -> None:
        self._rng = random.Random(seed)
        self._firsts = _Drawn(_given_names(), self._rng, exponent=0.75)
        self._lasts = _Drawn(_surnames(), self._rng, exponent=0.7)
        self._streets = _Drawn(_surnames()[-2_000:], self._rng, exponent=0.5)
        self._kept: list[Somebody] = []
        self._persons = 0
        self._numbers = 0

    def records(self, persons: int) -> Iterator[Registered]:
        """Records of so many persons, household by household, 1.15 a person."""
        while self._persons < persons:
            for one in self._household():
                if one.number % KEPT == 0:
                    self._kept.append(one)
                yield self._registered(one, self._patient(one))
                if self._rng.random() < RECORDS_PER_PERSON - 1:
                    yield self.again(one)

    def again(self, one: Somebody) -> Registered:
        """Another record of a person, as another desk typed it."""
        return self._registered(one, self._patient(self._mistyped(one)))

    def sampled(self, count: int) -> list[Somebody]:
        """Some of the persons whose records were given, the same ones for one seed."""
        return self._rng.sample(self._kept, min(count, len(self._kept)))

    def newcomer(self) -> Somebody:
        """A person nobody has a record of yet."""
        return self._household()[0]

    def _household(self) -> list[Somebody]:
        rng = self._rng
        zip_number = int(rng.random() ** 1.5 * 600)
        line = self._line()
        last, phone = self._lasts.draw(), self._phone()
        size = rng.choices((1, 2, 3, 4, 5), (28, 34, 16, 15, 7))[0]
        made: list[Somebody] = []
        for place in range(size):
            made.append(
                Somebody(
                    number=self._next(),
                    first=self._firsts.draw(),
                    middle=rng.choice("ABCDEFGHJKLMNPRSTW") if rng.random() < 0.7 else "",
                    last=last if rng.random() < 0.85 else self._lasts.draw(),
                    birth=self._birth(place),
                    sex=rng.choice(("female", "male")),
                    line=line,
                    city=f"Town {zip_number // 3}",
                    zip5=f"{zip_number + 1001:05d}",
                    phone=phone if rng.random() < 0.5 else self._phone(),
                    ssn=self._ssn(),
                )
            )
        if size >= 4 and rng.random() < 0.1:  # twins
            made[-1] = replace(made[-1], birth=made[-2].birth, last=made[-2].last)
        return made

    def _mistyped(self, one: Somebody) -> Somebody:
        for share, make in MISTAKES:
            if self._rng.random() < share:
                one = replace(one, **make(self, one))
        return one

    def first_typo(self, one: Somebody) -> dict[str, Any]:
        """A letter left out, added or exchanged with its neighbour."""
        return {"first": self._typo(one.first)}

    def last_typo(self, one: Somebody) -> dict[str, Any]:
        """The same in the surname."""
        return {"last": self._typo(one.last)}

    def married(self, one: Somebody) -> dict[str, Any]:
        """Another surname."""
        return {"last": self._lasts.draw()}

    def moved(self, one: Somebody) -> dict[str, Any]:
        """Another home."""
        return {"line": self._line(), "zip5": f"{self._rng.randint(1001, 1600):05d}"}

    def new_phone(self, one: Somebody) -> dict[str, Any]:
        """Another telephone."""
        return {"phone": self._phone()}

    def _registered(self, one: Somebody, patient: FhirJson) -> Registered:
        self._numbers += 1
        system = AUTHORITIES[self._numbers % len(AUTHORITIES)]
        value = f"M{self._numbers:08d}"
        patient["identifier"].append(
            {"system": system, "value": value, "type": {"coding": [{"code": "MR"}]}}
        )
        return Registered(person=one.number, system=system, value=value, patient=patient)

    def _patient(self, one: Somebody) -> FhirJson:
        given = [one.first, one.middle] if one.middle else [one.first]
        return {
            "resourceType": "Patient",
            "identifier": [{"system": SSN, "value": one.ssn}] if one.ssn else [],
            "name": [{"family": one.last, "given": given}],
            "gender": one.sex,
            "birthDate": one.birth,
            "telecom": [{"system": "phone", "value": one.phone}],
            "address": [{"line": [one.line], "city": one.city, "postalCode": one.zip5}],
        }

    def _typo(self, text: str) -> str:
        place = self._rng.randrange(1, max(2, len(text)))
        kind = self._rng.randrange(3)
        if kind == 0:
            return text[:place] + text[place + 1 :]
        if kind == 1:
            return text[:place] + self._rng.choice("aeinorst") + text[place:]
        return text[: place - 1] + text[place : place + 1] + text[place - 1] + text[place + 1 :]

    def _birth(self, place: int) -> str:
        year = self._rng.randint(1935, 1995) if place < 2 else self._rng.randint(1996, 2020)
        return f"{year}-{self._rng.randint(1, 12):02d}-{self._rng.randint(1, 28):02d}"

    def _line(self) -> str:
        kind = self._rng.choice(_KINDS)
        return f"{self._rng.randint(1, 999)} {self._streets.draw()} {kind}"

    def _phone(self) -> str:
        area, exchange = self._rng.randint(201, 989), self._rng.randint(220, 540)
        return f"({area}) {exchange}-{self._rng.randint(0, 9999):04d}"

    def _ssn(self) -> str:
        if self._rng.random() < 0.4:
            return ""
        area, group = self._rng.randint(1, 665), self._rng.randint(1, 99)
        return f"{area:03d}-{group:02d}-{self._rng.randint(1, 9999):04d}"

    def _next(self) -> int:
        self._persons += 1
        return self._persons


class _Drawn:
    """Values drawn with shares that fall as a power of their place."""

    def __init__(self, values: Sequence[str], rng: random.Random, *, exponent: float) -> None:
        self._values = values
        self._random = rng.random
        self._sums = list(accumulate((n + 5) ** -exponent for n in range(len(values))))

    def draw(self) -> str:
        """One of the values."""
        return self._values[bisect(self._sums, self._random() * self._sums[-1])]


def _given_names() -> list[str]:
    lines = (ROOT / "config" / "mpi" / "given_names.csv").read_text().splitlines()
    names = [line.title() for line in lines if line and not line.startswith("#") and line != "name"]
    random.Random(7).shuffle(names)
    return names


def _surnames() -> list[str]:
    """Some 40,000 made-up surnames."""
    heads = [f"{a}{b}{c}".title() for a, b, c in product(_ONSETS, _VOWELS, _CODAS)]
    names = [f"{head}{tail}" for head in heads for tail in _TAILS]
    random.Random(7).shuffle(names)
    return names[:40_000]


def _month_day(_: Population, one: Somebody) -> dict[str, Any]:
    """Month and day exchanged, where that is a date."""
    year, month, day = one.birth.split("-")
    return {"birth": f"{year}-{day}-{month}"} if day <= "12" else {}


def _other_day(_: Population, one: Somebody) -> dict[str, Any]:
    return {"birth": f"{one.birth[:-1]}{int(one.birth[-1]) % 8 + 1}"}


#: What another desk does to a record: share of the records, and how.
MISTAKES: Final[tuple[tuple[float, Callable[[Population, Somebody], dict[str, Any]]], ...]] = (
    (0.08, Population.first_typo),
    (0.08, Population.last_typo),
    (0.03, Population.married),
    (0.06, lambda _, one: {"first": one.first[:3]}),
    (0.25, lambda _, one: {"middle": ""}),
    (0.04, _other_day),
    (0.01, _month_day),
    (0.18, Population.moved),
    (0.22, Population.new_phone),
    (0.55, lambda _, one: {"ssn": ""}),
    (0.01, lambda _, one: {"first": one.last, "last": one.first}),
)
