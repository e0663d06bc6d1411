"""Concept maps: one table a file, `config/terminology/<name>.csv`, read once at start.

Columns `code,target,display,system`; lines that begin with `#` are notes. A row without a
target says that the code is known and has no counterpart: nothing is written and nobody is
asked. A code without a row is unmapped, which the caller reports.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson

#: Code systems that FHIR binds its own code elements to; `/sid/` names other people's.
_FHIR_OWN: Final = re.compile(r"^http://hl7\.org/fhir/(?!sid/)")
_URI: Final = re.compile(r"^[a-z][a-z0-9+.-]*:\S+$")
HEADER: Final = ["code", "target", "display", "system"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """What a code becomes.

    Attributes:
        target: the code, or a plain value such as a URI or `true`; empty = no counterpart.
        system: the target's code system URI; empty where the element's binding implies none.
        task_id: the task whose answer it is; 0 = it stands in a table.
    """

    target: str
    display: str = ""
    system: str = ""
    task_id: int = field(default=0, compare=False)

    def coding(self) -> FhirJson:
        """The target as a FHIR Coding, a new one each time."""
        coding = {"system": self.system} if self.system else {}
        coding["code"] = self.target
        if self.display:
            coding["display"] = self.display
        return coding


class ConceptMap:
    """Codes of one table to concepts."""

    __slots__ = ("_concepts", "_folded", "name")

    def __init__(self, name: str, concepts: Mapping[str, Concept]) -> None:
        self.name = name
        self._concepts = dict(concepts)
        # The first of two codes that differ in case only wins; exact matches come before.
        self._folded = {code.upper(): c for code, c in reversed(self._concepts.items())}

    def __len__(self) -> int:
        return len(self._concepts)

    def items(self) -> Iterable[tuple[str, Concept]]:
        """Codes and concepts, in the order of the table."""
        return self._concepts.items()

    def exact(self, code: str) -> Concept | None:
        """The concept of a code in exactly this case (units: `mg` is not `Mg`)."""
        return self._concepts.get(code)

    def translate(self, code: str) -> Concept | None:
        """The concept of a code, in the sender's case or any other; None when unmapped."""
        return self._concepts.get(code) or self._folded.get(code.upper())

    @property
    def is_closed(self) -> bool:
        """Whether targets are codes FHIR itself lists: no others would be valid."""
        systems = {c.system for c in self._concepts.values() if c.target}
        return bool(systems) and all(s == "" or _FHIR_OWN.match(s) for s in systems)

    @property
    def targets(self) -> Mapping[str, Concept]:
        """The concepts by target; those without one are left out."""
        return {c.target: c for c in reversed(self._concepts.values()) if c.target}

    def overlaid(self, concepts: Mapping[str, Concept]) -> "ConceptMap":
        """A copy in which `concepts`, by code, come first, whatever the case of the code.

        A target without a system has the display and system that the table knows for it.
        """
        known = self.targets
        changed = {
            code: c if c.system else replace(known.get(c.target, c), task_id=c.task_id)
            for code, c in concepts.items()
        }
        folded = {code.upper() for code in changed}
        kept = {code: c for code, c in self._concepts.items() if code.upper() not in folded}
        return ConceptMap(self.name, {**changed, **kept})


class Terminology:
    """All concept maps, by name."""

    __slots__ = ("_maps",)

    def __init__(self, maps: Mapping[str, ConceptMap]) -> None:
        self._maps = dict(maps)

    @property
    def names(self) -> frozenset[str]:
        """The names of the maps."""
        return frozenset(self._maps)

    def map(self, name: str) -> ConceptMap:
        """The map of that name.

        Raises:
            HieError: INVALID when there is none; a table names a map that has no file.
        """
        found = self._maps.get(name)
        if found is None:
            raise HieError(Category.INVALID, f"`config/terminology/{name}.csv` must exist")
        return found

    def overlaid(self, codes: Mapping[str, Mapping[str, Concept]]) -> "Terminology":
        """A copy in which a source's own codes (map name to code to concept) come first.

        Raises:
            HieError: INVALID when there is no map of that name.
        """
        changed = {name: self.map(name).overlaid(concepts) for name, concepts in codes.items()}
        return Terminology({**self._maps, **changed})


def load_terminology(folder: Path) -> Terminology:
    """The concept maps of a folder of CSV files.

    Raises:
        HieError: INVALID, naming file and row, when a table is not as described above.
    """
    return Terminology({path.stem: _load(path) for path in sorted(folder.glob("*.csv"))})


def read_concepts(path: Path, place: str) -> dict[str, Concept]:
    """The rows of one CSV file, by code.

    Args:
        path: the file.
        place: its name in errors.

    Raises:
        HieError: INVALID, one issue for each row that is wrong, naming file, row and what is
            expected; rows are counted below the header, without notes and blank lines.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        header, *rows = csv.reader(line for line in lines if line.strip() and line[0] != "#")
    except (OSError, ValueError) as error:
        raise _faulty([f"`{place}`: must be a CSV file in UTF-8 with a header"]) from error
    if header != HEADER:
        raise _faulty([f"`{place}`: the header must be `{','.join(HEADER)}`"])
    concepts: dict[str, Concept] = {}
    faults = []
    for number, row in enumerate(rows, start=1):
        if fault := _fault_of(row, concepts):
            faults.append(f"`{place}`: row {number} {fault}")
        else:
            concepts[row[0]] = Concept(target=row[1], display=row[2], system=row[3])
    if faults:
        raise _faulty(faults)
    return concepts


def _fault_of(row: list[str], concepts: Mapping[str, Concept]) -> str:
    if len(row) != len(HEADER) or not row[0]:
        return f"must have a code and {len(HEADER)} columns"
    if row[0] in concepts:
        return "repeats its code"
    if any(cell != cell.strip() for cell in row):
        return "must have no white space at the ends of its cells"
    return "must have a URI as `system`" if row[3] and not _URI.match(row[3]) else ""


def _load(path: Path) -> ConceptMap:
    return ConceptMap(path.stem, read_concepts(path, path.name))


def _faulty(faults: list[str]) -> HieError:
    return HieError(Category.INVALID, "; ".join(faults), [Issue(text=fault) for fault in faults])
