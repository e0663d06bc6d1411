"""Writes config/mpi/gold.csv: invented pairs of known truth, by category, from seeds fixed here.

.venv/bin/python -m tests.support.gold
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.support.people import (
    ORDINARY,
    Desk,
    Sighting,
    Town,
    father_and_son_pairs,
    ordinary_pairs,
    pairs_with_two_mistakes,
    twin_pairs,
)
from tests.support.tree import ROOT

FILE = ROOT / "config" / "mpi" / "gold.csv"
COLUMNS = """
    pair record_id category truth given middle family maiden suffix birth_date birth_order sex
    ssn phone email street city zip mrn authority
"""
HEADER = COLUMNS.split()
PER_MISTAKE, TWICE, FAMILIES, NEIGHBOURS = 20, 120, 200, 60
INTRODUCTION = """\
# Pairs of records of known truth: what a linkage model is judged by before it decides. Every human
# here is invented; tests/support/gold.py drew them, from seeds fixed before any threshold was.
# Two rows are a pair. `same` = one person, seen twice, with the mistake that names the category.
"""


def pairs() -> Iterator[tuple[str, str, Sighting, Sighting]]:
    """Category, truth and two records of every pair."""
    for one, other in ordinary_pairs(seed=901, count=len(ORDINARY) * PER_MISTAKE):
        yield other.kind, "same", one, other
    for one, other in pairs_with_two_mistakes(seed=902, count=TWICE):
        yield "two-mistakes", "same", one, other
    for one, other in twin_pairs(seed=903, count=FAMILIES):
        yield "twins", "different", one, other
    for one, other in father_and_son_pairs(seed=904, count=FAMILIES):
        yield "father-and-son", "different", one, other
    yield from _strangers(905)


def _strangers(seed: int) -> Iterator[tuple[str, str, Sighting, Sighting]]:
    """People who share a name, and people who share a home."""
    town = Town(seed)
    desk = Desk(town)
    for _ in range(NEIGHBOURS):
        one = town.human()
        namesake = replace(town.human(sex=one.sex), given=one.given, family=one.family)
        yield "namesakes", "different", desk.see(one, "a"), desk.see(namesake, "b")
    for _ in range(NEIGHBOURS):
        one = town.human()
        other = town.relative(one, birth_date=town.date(1935, 2022))
        yield "one-home", "different", desk.see(one, "a"), desk.see(other, "b")


def rows() -> Iterator[list[str]]:
    """The rows of the file; pairs of one category stand together."""
    found = sorted(pairs(), key=lambda pair: (pair[1] != "same", pair[0]))
    for number, (category, truth, one, other) in enumerate(found, start=1):
        for side, sighting in (("a", one), ("b", other)):
            said = _attributes(sighting.patient)
            said |= {"pair": str(number), "record_id": f"{number}{side}"}
            said |= {"category": category, "truth": truth}
            yield [said.get(name, "") for name in HEADER]


def _attributes(patient: dict[str, Any]) -> dict[str, str]:
    names = patient.get("name") or [{}]
    given = [*names[0].get("given", []), "", ""]
    home = (patient.get("address") or [{}])[0]
    said = {
        "given": given[0],
        "middle": given[1],
        "family": names[0].get("family", ""),
        "maiden": next((n["family"] for n in names[1:] if n.get("use") == "maiden"), ""),
        "suffix": (names[0].get("suffix") or [""])[0],
        "birth_date": patient.get("birthDate", ""),
        "birth_order": str(patient.get("multipleBirthInteger", "")),
        "sex": patient.get("gender", ""),
        "street": (home.get("line") or [""])[0],
        "city": home.get("city", ""),
        "zip": home.get("postalCode", ""),
    }
    for telecom in patient.get("telecom", []):
        said[telecom["system"]] = telecom["value"]
    for identifier in patient.get("identifier", []):
        if identifier["system"].endswith("us-ssn"):
            said["ssn"] = identifier["value"]
        else:
            said |= {"mrn": identifier["value"], "authority": identifier["system"]}
    return said


def text() -> str:
    """The whole file."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows())
    return INTRODUCTION + out.getvalue()
