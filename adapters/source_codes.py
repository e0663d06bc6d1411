"""Reads what a source's codes mean: CSV files beside its TOML file.

`config/sources/<id>/<concept map>.csv` translates codes of the concept map of that name; where
the TOML says `[codes]`, `<concept map> = "<file>"`, that file does, a path below
`config/sources/`. Columns `code,target,display,system`: the code as the source sends it, what it
becomes (empty = it has no counterpart and its text is enough), the target's words and the URI of
its code system (both may be empty where `config/terminology/<concept map>.csv` has that target).
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from adapters.table_reader import TableReader
from adapters.terminology import Concept, Terminology, read_concepts
from hie.kernel.errors import HieError
from hie.kernel.ids import SourceId

Codes = Mapping[str, Mapping[str, Concept]]


def read_codes(folder: Path, source_id: SourceId, named: TableReader) -> Codes:
    """The translations of one source, by concept map.

    Args:
        folder: `config/sources`.
        source_id: whose.
        named: the `[codes]` table; gains a fault for each file or row that cannot be used.
    """
    files = {path.stem: path for path in sorted((folder / source_id).glob("*.csv"))}
    for name in named.keys():  # noqa: SIM118 - a reader is no mapping
        path = (folder / named.text(name)).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            named.fault(name, "a CSV file below `config/sources/`")
        else:
            files[name] = path
    found: dict[str, Mapping[str, Concept]] = {}
    for name, path in files.items():
        try:
            concepts = read_concepts(path, _place(folder, path))
        except HieError as error:
            named.faults += [issue.text for issue in error.issues]
        else:
            found[name] = MappingProxyType(concepts)
    return MappingProxyType(found)


def faults_of(source_id: str, codes: Codes, terms: Terminology) -> list[str]:
    """What is wrong with translations, given the tables they are put over."""
    faults = []
    for name, concepts in codes.items():
        place = f"{source_id}/{name}.csv"
        if name not in terms.names:
            faults.append(f"`{place}`: its name must be that of a table of `config/terminology/`")
            continue
        table = terms.map(name)
        listed = ", ".join(sorted(table.targets))
        for number, concept in enumerate(concepts.values(), start=1):
            is_known = not concept.target or concept.target in table.targets
            if not is_known and table.is_closed:
                faults.append(f"`{place}`: row {number}: `target` must be one of {listed}")
            elif not is_known and not concept.system:
                text = "`system` must be the URI of the target's code system"
                faults.append(f"`{place}`: row {number}: {text}")
    return faults


def _place(folder: Path, path: Path) -> str:
    return path.resolve().relative_to(folder.resolve()).as_posix()
