"""Reads the code systems and value sets of config/, and what the concept maps lead to.

`config/fhir/terminology/` holds FHIR CodeSystem and ValueSet resources: `*.json` one a file,
`*.ndjson` one a line. Those of R4 and US Core are written by `docs/vocabulary.py`; an operator
adds own ones beside them. Each concept map of `config/terminology/` is a value set too,
`urn:hie:valueset:<map>`: the codes that messages come to.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import orjson

from adapters.terminology import Terminology
from fhir_server.terminology.model import CodeSystem, Include, ValueSet
from fhir_server.terminology.read import read_code_system, read_value_set
from fhir_server.terminology.vocabulary import Vocabulary
from hie.kernel.errors import Category, HieError, Issue

#: Begins the url of the value set of a concept map.
MAP_URL: Final = "urn:hie:valueset:"


def load_vocabulary(folder: Path, maps: Terminology) -> Vocabulary:
    """The vocabulary of a folder of FHIR resources and the concept maps.

    Raises:
        HieError: INVALID; one issue per fault, each with file, line and what was expected.
    """
    systems, value_sets = _resources(folder, _stamps(folder))
    return Vocabulary(systems, [*value_sets, *_of_maps(maps)])


def _stamps(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What tells one state of the files from another."""
    files = sorted(path for path in folder.glob("*") if path.suffix in (".json", ".ndjson"))
    return tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files)


# A process reads unchanged files once, however many hubs it makes.
@lru_cache(maxsize=4)
def _resources(
    folder: Path, _stamps: tuple[tuple[str, int, int], ...]
) -> tuple[tuple[CodeSystem, ...], tuple[ValueSet, ...]]:
    systems: list[CodeSystem] = []
    value_sets: list[ValueSet] = []
    faults: list[str] = []
    seen: dict[tuple[str, str], str] = {}
    for place, text in _texts(folder):
        found = _read(text)
        if found is None:
            faults.append(f"{place}: expected a CodeSystem or ValueSet with `id`, `url`, its codes")
            continue
        key = (type(found).__name__, found.url)
        if seen.setdefault(key, place) != place:
            faults.append(f"{place}: `url` is the same as in {seen[key]}")
        if isinstance(found, CodeSystem):
            systems.append(found)
        else:
            value_sets.append(found)
    if faults:
        issues = [Issue(text=fault, code="invalid") for fault in faults]
        raise HieError(Category.INVALID, "; ".join(faults), issues)
    return tuple(systems), tuple(value_sets)


def _texts(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The resources with where each stands."""
    for path in sorted(folder.glob("*.json")):
        yield path.name, path.read_bytes()
    for path in sorted(folder.glob("*.ndjson")):
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            if line.strip():
                yield f"{path.name}:{number}", line


def _read(text: bytes) -> CodeSystem | ValueSet | None:
    try:
        resource: Any = orjson.loads(text)
        if resource["resourceType"] == "CodeSystem":
            return read_code_system(resource)
        return read_value_set(resource) if resource["resourceType"] == "ValueSet" else None
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None


def _of_maps(maps: Terminology) -> Iterator[ValueSet]:
    """The value set of each concept map that leads to codes with a system."""
    for name in sorted(maps.names):
        by_system: dict[str, dict[str, str]] = {}
        for _, concept in maps.map(name).items():
            if concept.system and concept.target:
                by_system.setdefault(concept.system, {})[concept.target] = concept.display
        if by_system:
            includes = tuple(
                Include(
                    system=system,
                    codes=tuple(codes),
                    displays={code: display for code, display in codes.items() if display},
                )
                for system, codes in by_system.items()
            )
            yield ValueSet(id=name, url=f"{MAP_URL}{name}", name=name, includes=includes)
