"""What external judges find, and the findings that are known with their reasons."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KNOWN = Path(__file__).with_name("known.csv")
_POSITION = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class Subject:
    """One resource that the hub serves or makes.

    Attributes:
        name: where it comes from, `adt_a01:patient`.
        is_converted: made of a message, not served.
    """

    name: str
    resource: dict[str, Any]
    is_converted: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """One remark of a judge.

    Attributes:
        place: the element, without positions.
    """

    judge: str
    severity: str
    place: str
    text: str
    subject: str


def place_of(expression: str) -> str:
    """An expression without positions in lists."""
    return _POSITION.sub("", expression)


@dataclass(frozen=True, slots=True)
class Known:
    """A remark that is right to stay, and why; patterns match from the beginning."""

    judge: str
    severity: str
    place: re.Pattern[str]
    text: re.Pattern[str]
    reason: str

    def covers(self, found: Found) -> bool:
        """Whether a remark is this one."""
        return (
            self.judge == found.judge
            and self.severity == found.severity
            and self.place.fullmatch(found.place) is not None
            and self.text.match(found.text) is not None
        )


def read_known() -> list[Known]:
    """The table of known findings."""
    with KNOWN.open(encoding="utf-8", newline="") as lines:
        return [
            Known(
                judge=row["judge"],
                severity=row["severity"],
                place=re.compile(row["place"]),
                text=re.compile(row["text"]),
                reason=row["reason"],
            )
            for row in csv.DictReader(line for line in lines if not line.startswith("#"))
        ]


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to.

    Attributes:
        unlisted: remarks no row covers; the run has failed where there are any.
        covered: how often each row counted.
    """

    unlisted: tuple[Found, ...]
    covered: Counter[Known]

    def stale(self, known: Iterable[Known]) -> list[Known]:
        """Rows that covered nothing: what they excuse is gone."""
        return [row for row in known if not self.covered[row]]


def compare(found: Iterable[Found], known: Sequence[Known]) -> Report:
    """Each remark against the table; the first row that covers it counts."""
    unlisted: list[Found] = []
    covered: Counter[Known] = Counter()
    for each in found:
        row = next((row for row in known if row.covers(each)), None)
        if row is None:
            unlisted.append(each)
        else:
            covered[row] += 1
    return Report(tuple(unlisted), covered)
