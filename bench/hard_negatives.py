"""Pairs of two humans that look like one, by category: `python -m bench.hard_negatives`.

The categories, what the two share and how many pairs there are of each are fixed here, before
any threshold: change them only together with a reason in the log. Every pair is decided as the
index does, by the committed model and the committed thresholds.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from bench.machine import machine_line, print_table
from hie.kernel.ids import PersonId, SourceRecordId
from mpi.blocking import blocking_keys
from mpi.decide import Matcher, decide, judge_person
from mpi.demographics import Demographics
from mpi.model import Outcome
from mpi.names import is_close
from mpi.normalize import Normalizer
from mpi.settings import MpiSettings, load_mpi_settings

ROOT = Path(__file__).resolve().parents[1]
SEED: Final = 4_004
PAIRS: Final = 400
TODAY: Final = date(2026, 1, 31)
_SSN = "http://hl7.org/fhir/sid/us-ssn"
_SURNAMES = (
    "Smith", "Garcia", "Nguyen", "Okafor", "Kowalski", "Patel",
    "Haddad", "Lindqvist", "Moreau", "Castellano", "Brown", "Lopez",
)  # fmt: skip
_STREETS = (
    "Orchard", "Mill", "Quarry", "Chestnut", "Harbor", "Prospect",
    "Summer", "Franklin", "Liberty", "Walnut",
)  # fmt: skip
_MIDDLES = (
    "Ann", "Lee", "James", "Marie", "Ruth", "Paul",
    "Grace", "Jean", "Rose", "Alan", "Lynn", "Dean",
)  # fmt: skip

Human = dict[str, Any]


class People:
    """Draws humans; the same seed draws the same."""

    def __init__(self, given_names: Iterator[str] | list[str], seed: int = SEED) -> None:
        self.rng = random.Random(seed)
        self._names = sorted(name for name in given_names if len(name) >= 4)
        self._rhymes = [
            (one, other)
            for n, one in enumerate(self._names)
            for other in self._names[n + 1 :]
            if one[0] != other[0] and is_close(one, other)
        ]

    def human(self, first_year: int = 1930, last_year: int = 2024) -> Human:
        """Anybody."""
        rng = self.rng
        born = date(rng.randint(first_year, last_year), rng.randint(1, 12), rng.randint(2, 28))
        return {
            "given": rng.choice(self._names).title(),
            "middle": rng.choice(_MIDDLES),
            "family": rng.choice(_SURNAMES),
            "suffix": "",
            "born": born.isoformat(),
            "gender": rng.choice(("male", "female")),
            "line": f"{rng.randint(1, 900)} {rng.choice(_STREETS)} Street",
            "zip": f"0{rng.randint(1001, 2791):04d}",
            "phone": f"617{rng.randint(2, 9)}{rng.randint(10, 49):02d}{rng.randint(1000, 9999)}",
            "ssn": f"{rng.randint(100, 665)}{rng.randint(10, 99)}{rng.randint(1000, 9999)}",
        }

    def other_name(self, name: str) -> str:
        """Another given name."""
        return self.rng.choice([n for n in self._names if n != name.lower()]).title()

    def rhyme(self) -> tuple[str, str]:
        """Two given names a letter apart."""
        one, other = self.rng.choice(self._rhymes)
        return one.title(), other.title()


def _twins(people: People, first_year: int, last_year: int, **changed: Any) -> tuple[Human, Human]:
    one = people.human(first_year, last_year)
    other = one | {"given": people.other_name(one["given"]), "ssn": people.human()["ssn"]}
    other["middle"] = people.rng.choice(_MIDDLES)
    return one, other | {k: v(one) if callable(v) else v for k, v in changed.items()}


def _rhyming(people: People) -> tuple[Human, Human]:
    one, other = _twins(people, 1990, 2024)
    one["given"], other["given"] = people.rhyme()
    return one, other


def _rare(people: People) -> tuple[Human, Human]:
    """Names in no list: `Qayden` and `Xayden`."""
    one, other = _twins(people, 2009, 2024)
    rest = one["given"][1:] + "yn"
    return one | {"given": "Q" + rest}, other | {"given": "X" + rest}


def _exchanged(pair: tuple[Human, Human], *places: int) -> tuple[Human, Human]:
    """The pair with first name and surname in each other's field, of those at these places."""
    one, other = (
        human | {"given": human["family"], "family": human["given"]} if place in places else human
        for place, human in enumerate(pair)
    )
    return one, other


def _no_number(pair: tuple[Human, Human]) -> tuple[Human, Human]:
    return pair[0] | {"ssn": ""}, pair[1] | {"ssn": ""}


def _no_middle(pair: tuple[Human, Human]) -> tuple[Human, Human]:
    return pair[0] | {"middle": ""}, pair[1] | {"middle": ""}


def _women(pair: tuple[Human, Human]) -> tuple[Human, Human]:
    return pair[0] | {"gender": "female"}, pair[1] | {"gender": "female"}


def _nameless_twin(people: People) -> tuple[Human, Human]:
    one, other = _twins(people, 2024, 2025)
    return one | {"middle": ""}, other | {"given": "BABY BOY", "middle": "", "ssn": ""}


def _namesake(people: People, years: int, **changed: Any) -> tuple[Human, Human]:
    """A parent, and a child of the same whole name at the same home."""
    parent = people.human(1935, 1985)
    year = int(parent["born"][:4]) + years
    child = parent | {"born": f"{year}{people.human()['born'][4:]}"}
    child["ssn"] = people.human()["ssn"]
    return parent, child | {k: v(parent) if callable(v) else v for k, v in changed.items()}


def _father_and_son(people: People, **changed: Any) -> tuple[Human, Human]:
    father, son = _namesake(people, people.rng.randint(17, 45), **changed)
    return father | {"gender": "male"}, son | {"gender": "male"}


#: What the two are, and how a pair of them is drawn.
CATEGORIES: Final[Mapping[str, Callable[[People], tuple[Human, Human]]]] = {
    "twins: children": lambda p: _twins(p, 2009, 2024),
    "twins: adults at one home": lambda p: _twins(p, 1950, 2005),
    "twins: no middle names, no SSN": lambda p: _no_middle(_twins(p, 2009, 2024, ssn="")),
    "twins: names a letter apart": _rhyming,
    "twins: rare names a letter apart": _rare,
    "twins: under their mother's SSN": lambda p: _twins(p, 2020, 2024, ssn=lambda one: one["ssn"]),
    "twins: one without address": lambda p: _twins(p, 1990, 2024, line="", zip="", phone=""),
    "twins: one picked under the other's SSN": lambda p: _twins(
        p, 1950, 2000, ssn=lambda one: one["ssn"], middle=""
    ),
    "twins: one nameless": _nameless_twin,
    "father and son": _father_and_son,
    "father and son: no SSN": lambda p: _father_and_son(p, ssn=""),
    "father and son: one birthday": lambda p: _father_and_son(
        p, born=lambda one: f"{int(one['born'][:4]) + 30}{one['born'][4:]}"
    ),
    "father and son: the father's SSN": lambda p: _father_and_son(p, ssn=lambda one: one["ssn"]),
    "father and son: the father's SSN, no birth date": lambda p: _father_and_son(
        p, born="", ssn=lambda one: one["ssn"]
    ),
    "father and son: moved out": lambda p: _father_and_son(p, line="77 Elm Road", zip="02138"),
    "father and son: no birth date": lambda p: _father_and_son(p, born="", ssn=""),
    "mother and daughter": lambda p: _women(_namesake(p, 25)),
    "mother and daughter: no birth date, no middle name": lambda p: _no_middle(
        _women(_namesake(p, 25, born="", ssn=""))
    ),
    # Stated exception of the guard (ADR 0023): nothing in the two records tells them apart.
    "mother and daughter of one whole name: no birth date": lambda p: _women(
        _namesake(p, 25, born="", ssn="")
    ),
    "brother and sister": lambda p: _namesake(
        p, 2, given=lambda one: p.other_name(one["given"]), gender="female", ssn=""
    ),
    "spouse's SSN": lambda p: _namesake(
        p, 3, given=lambda one: p.other_name(one["given"]), ssn=lambda one: one["ssn"]
    ),
    "namesakes": lambda p: _namesake(
        p, 1, line="77 Elm Road", zip="02138", phone="6172348871", middle=""
    ),
    # Found among the wrong links of a synthetic town, so last: those above are drawn as before.
    "twins: names a letter apart, one's names exchanged": lambda p: _exchanged(
        _no_number(_rhyming(p)), 1
    ),
    "twins: the names of both exchanged": lambda p: _exchanged(
        _no_middle(_no_number(_twins(p, 2009, 2024))), 0, 1
    ),
}


def fhir(human: Human) -> dict[str, Any]:
    """The human as a FHIR Patient."""
    given = [name for name in (human["given"], human["middle"]) if name]
    made: dict[str, Any] = {
        "name": [{"family": human["family"], "given": given}],
        "gender": human["gender"],
        "birthDate": human["born"],
    }
    if human["line"]:
        made["address"] = [{"line": [human["line"]], "city": "Concord", "postalCode": human["zip"]}]
    if human["phone"]:
        made["telecom"] = [{"system": "phone", "value": human["phone"]}]
    if human["ssn"]:
        made["identifier"] = [{"system": _SSN, "value": human["ssn"]}]
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What became of the pairs of one category.

    Attributes:
        linked: without a human: wrong.
        hidden: neither linked nor shown to a human.
        reasons: why the others were left to a human.
    """

    pairs: int
    linked: int
    hidden: int
    reasons: Mapping[str, int]


def measure(settings: MpiSettings, pairs: int = PAIRS) -> dict[str, Rates]:
    """Decide so many pairs of each category."""
    matcher, normalizer = Matcher(settings), Normalizer(settings.forms, settings.defaults)
    people = People(list(settings.given_names))
    found = {}
    for category, draw in CATEGORIES.items():
        outcomes: Counter[tuple[Outcome, str]] = Counter()
        for _ in range(pairs):
            one, other = (normalizer.demographics(fhir(h), TODAY) for h in draw(people))
            outcomes[_decided(one, other, matcher, settings)] += 1
        found[category] = Rates(
            pairs=pairs,
            linked=sum(n for (outcome, _), n in outcomes.items() if outcome is Outcome.LINK),
            hidden=sum(n for (outcome, _), n in outcomes.items() if outcome is Outcome.NEW),
            reasons=Counter(
                {
                    reason: n
                    for (outcome, reason), n in outcomes.items()
                    if outcome is Outcome.REVIEW
                }
            ),
        )
    return found


def _decided(
    one: Demographics, other: Demographics, matcher: Matcher, settings: MpiSettings
) -> tuple[Outcome, str]:
    model = settings.model
    keys = [
        {key.value for key in blocking_keys(d, model.keys, _hash, model.keys_per_record)}
        for d in (one, other)
    ]
    if keys[0].isdisjoint(keys[1]):
        return Outcome.NEW, "not compared"
    pair = matcher.pair(SourceRecordId("one"), one, other)
    judged = judge_person(PersonId("one"), [pair], model.thresholds)
    decision = decide([judged], model.thresholds)
    return decision.outcome, decision.reason


def _hash(*parts: str) -> int:
    return hash(parts)


def main() -> None:
    """Print the table."""
    settings = load_mpi_settings(ROOT / "config" / "mpi")
    print(f"{machine_line()}; model {settings.model.version}; {PAIRS} pairs each, seed {SEED}\n")
    rows = [
        [
            category,
            f"{rates.linked / rates.pairs:.2%}",
            f"{rates.hidden / rates.pairs:.2%}",
            ", ".join(f"{reason} {n}" for reason, n in Counter(rates.reasons).most_common(4)),
        ]
        for category, rates in measure(settings).items()
    ]
    print_table(
        "Two humans that look like one", ["two humans", "linked", "hidden", "stopped by"], rows
    )


if __name__ == "__main__":
    main()
