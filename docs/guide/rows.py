"""The rows of the published v2-to-FHIR guide, and what is said of those our maps leave.

Only facts are kept of the guide (v2 place, FHIR path, names of its maps, codes), in CSV files
beside this one; `stated.toml` says in our words why a row is put right or left out.
"""

import csv
import fnmatch
import re
import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent

#: Elements the guide misspells, or calls by a name R4 does not have.
_RESPELT: Final = {
    "occurneceTiming": "occurrenceTiming",
    "occurrenceTIming": "occurrenceTiming",
    "payer": "payor",
    "medication": "medicationReference",
    "occurred": "occurredDateTime",
    "valueSampedData": "valueSampledData",
}
#: Elements whose name ends in a type, `valueString`: one element, `value[x]`.
_CHOICE: Final = re.compile(
    "^(value|occurrence|onset|effective|deceased|multipleBirth|medication|performed|bounds"
    "|abatement|collected|timing|asNeeded|allowed|additive|product|rate|dose|occurred)"
    "(Quantity|CodeableConcept|String|DateTime|Time|Period|Range|Ratio|Integer|Boolean|Timing"
    "|Reference|Duration|SampledData|Attachment|Identifier|Coding|Code|Date|Age|Address"
    "|HumanName|Uri|Decimal|PositiveInt|Annotation)$"
)

#: An element path, `("participant", "period", "start")`; a choice is its stem, `value[x]`.
Path_ = tuple[str, ...]


class Fate(StrEnum):
    """What became of a row of the guide."""

    MAPPED = "mapped"
    ELSEWHERE = "mapped elsewhere"
    PUT_RIGHT = "put right"
    LEFT_OUT = "left out"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuideRow:
    """One row with a FHIR target.

    Attributes:
        map: the guide's map, `PID[Patient]`, `CX[Identifier]`, `ADT_A01`.
        place: `PID-5`, `CX.4`, `ADT_A01.PID`.
        to: the path as the guide has it.
        type: the data type map it names; of a message row, the segment map.
        codes: the vocabulary map it names; of a message row, the references it sets.
        constant: the value it assigns; `(computed)` for a formula.
        url: of the extension the row is part of.
    """

    map: str
    place: str
    to: str
    type: str = ""
    codes: str = ""
    constant: str = ""
    url: str = ""

    @property
    def segment(self) -> str:
        """`PID` of `PID-5`."""
        return re.split(r"[-.]", self.place)[0]

    @property
    def number(self) -> int:
        """5 of `PID-5` and of `CX.5`; 0 for a row about the whole."""
        found = re.search(r"[-.](\d+)", self.place)
        return int(found[1]) if found else 0

    @property
    def target(self) -> str:
        """`Patient` of `PID[Patient]`."""
        found = re.search(r"\[([A-Za-z]+)", self.map)
        return found[1] if found else ""

    @property
    def path(self) -> Path_:
        """The element path, respelt."""
        return path_of(self.to)

    @property
    def is_respelt(self) -> bool:
        """Whether R4 spells the path in another way."""
        return any(part in _RESPELT for part in _parts(self.to))

    @property
    def is_unresolved(self) -> bool:
        """Whether the guide itself names no target, only that one is wanted."""
        return "??" in self.to

    @property
    def text(self) -> str:
        """`PID-5 > name`, by which `stated.toml` names it."""
        return f"{self.place} > {self.to}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A row and what became of it.

    Attributes:
        where: the elements or the reason, for a reader.
    """

    row: GuideRow
    fate: Fate
    where: str = ""


def path_of(text: str) -> Path_:
    """A FHIR path without positions, types in parentheses and assignments."""
    return tuple(_stem(_RESPELT.get(part, part)) for part in _parts(text))


def _parts(text: str) -> list[str]:
    outer = re.sub(r"\(.*", "", text.replace("([1]", "(")).split("=")[0].split(" assign")[0]
    outer = outer.replace("_", "")
    found = (re.sub(r"\[.*?[]}]", "", part).strip() for part in outer.split("."))
    return [part for part in found if part]


def _stem(name: str) -> str:
    found = _CHOICE.match(name)
    return f"{found[1]}[x]" if found else name


@cache
def guide_rows(kind: str) -> tuple[GuideRow, ...]:
    """The rows of `segments`, `datatypes` or `messages`."""
    table = [dict(row) for row in csv.DictReader(_lines(f"{kind}.csv"))]
    if kind == "messages":
        return tuple(
            GuideRow(
                map=row["message"],
                place=row["place"],
                to=row["to"],
                type=row["map"],
                codes=row["references"],
            )
            for row in table
        )
    urls = {
        (row["map"], row["place"], row["to"].removesuffix(".url")): row["constant"]
        for row in table
        if row["to"].endswith(".url") and row["constant"].startswith("http")
    }
    return tuple(GuideRow(**row, url=_url_of(row, urls)) for row in table)


def _url_of(row: dict[str, str], urls: dict[tuple[str, str, str], str]) -> str:
    """The address of the extension a row is part of, which a row beside it assigns."""
    return next(
        (
            url
            for (name, place, to), url in urls.items()
            if (name, place) == (row["map"], row["place"]) and row["to"].startswith(to)
        ),
        "",
    )


@cache
def guide_codes() -> tuple[tuple[str, str, str, str, str], ...]:
    """Vocabulary map, code, its table, target code, target system."""
    return tuple(
        (row["map"], row["code"], row["system"], row["target"], row["target_system"])
        for row in csv.DictReader(_lines("codes.csv"))
    )


def _lines(name: str) -> list[str]:
    return (HERE / name).read_text(encoding="utf-8").splitlines()


@dataclass(slots=True)
class Stated:
    """What `stated.toml` says of rows; remembers which statements were needed.

    A section has a table a map, `"*"` for every map; a key is `PLACE`, `PLACE > path` or a
    pattern of these; a value begins with `put right: ` or `left out: `.
    """

    content: dict[str, Any]
    used: set[tuple[str, str, str]] = field(default_factory=set)

    @classmethod
    def read(cls) -> "Stated":
        """The file."""
        return cls(tomllib.loads((HERE / "stated.toml").read_text(encoding="utf-8")))

    def find(self, section: str, name: str, place: str, text: str) -> tuple[Fate, str] | None:
        """The statement about a row; the first that matches, a map's own before `*`."""
        for owner in (name, "*"):
            for pattern, said in self.content.get(section, {}).get(owner, {}).items():
                if pattern in (place, text) or _matches(text, pattern):
                    self.used.add((section, owner, pattern))
                    kind, _, reason = said.partition(": ")
                    return Fate(kind), reason
        return None

    def needless(self) -> list[str]:
        """Statements no row asked for."""
        return [
            f"[{section}.{owner}] {pattern}"
            for section, owners in self.content.items()
            if section != "tables"
            for owner, table in owners.items()
            for pattern in table
            if (section, owner, pattern) not in self.used
        ]


def _matches(text: str, pattern: str) -> bool:
    # Square brackets are part of paths here, and no sets of characters.
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))
