"""Whether the tables name elements that FHIR R4 has: paths, shapes, constants, references (pure).

A misspelt element would not fail anywhere: it would be written, and no reader would look there.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from adapters.hl7v2.mapmodel import Maps, ResourceRule, Row, SegmentMap
from adapters.sources import Source
from hie.kernel.errors import Category, HieError, Issue

_STEP: Final = re.compile(r"^(?P<name>_?[A-Za-z][A-Za-z0-9]*)(?P<index>\[[\dn]?\])?$")
_NAMED: Final = re.compile(r"^\[(\w+\[[^\]]+\])\] ")
#: The converter names its elements itself.
_ITSELF: Final = "*"
#: A resource inside another: of which type it is, the rows say.
_ANY: Final = "Resource"
_PRIMITIVE: Final = {"id": "string", "extension": "Extension*"}

#: Type to element to its type, with `*` behind that of a list.
Elements = Mapping[str, Mapping[str, str]]


def load_elements(path: Path) -> Elements:
    """The elements of every FHIR type, of `config/fhir/elements.json`.

    Raises:
        HieError: INVALID when the file is not that table.
    """
    try:
        found: Elements = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        text = f"`{path.name}`: must be the JSON that `make docs` writes"
        raise HieError(Category.INVALID, text) from error
    return found


def faults_of_maps(maps: Maps, elements: Elements) -> list[str]:
    """Every element the tables name and FHIR does not have; by table and row."""
    faults: dict[str, None] = {}
    seen: set[tuple[str, str]] = set()
    for rule in _rules(maps):
        faults |= dict.fromkeys(_rule_faults(rule, elements))
        for part in rule.parts:
            segment_map = maps.segments.get(part)
            if segment_map is not None and (rule.type, part) not in seen:
                seen.add((rule.type, part))
                faults |= dict.fromkeys(_map_faults(segment_map, rule.type, elements))
    return list(faults)


def in_files(faults: Iterable[str], folder: Path) -> list[str]:
    """Faults of segment maps with the names of the files they stand in, below `folder`."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.toml"))}
    found = []
    for fault in faults:
        named = _NAMED.match(fault)
        places = [name for name, text in texts.items() if named and f'["{named[1]}"]' in text]
        found.append(f"`{places[0]}` {fault}" if places else fault)
    return found


def faults_of_source(source: Source, maps: Maps, elements: Elements) -> list[str]:
    """The same of the rows a source puts before those of a map.

    Args:
        source: its file has been read, its rows compiled.
        maps: the tables with the source's rows.
        elements: of FHIR.
    """
    faults: dict[str, None] = {}
    for name, added in source.overrides.get("rows", {}).items():
        types = {rule.type for rule in _rules(maps) if name in rule.parts}
        place = f"{source.id}.toml [overrides.rows.{name}]"
        rows = maps.segments[name].rows[: len(added)]
        for type_name in sorted(types):
            target = _target(maps.segments[name], type_name, elements)
            faults |= dict.fromkeys(_rows_faults(place, rows, target, elements))
    return list(faults)


def _rules(maps: Maps) -> Iterator[ResourceRule]:
    for message in maps.messages:
        yield from message.resources


def _rule_faults(rule: ResourceRule, elements: Elements) -> Iterator[str]:
    place = f"resource rule [{rule.name}]"
    if rule.type not in elements:
        yield f"{place}: `type` must be a resource type of FHIR R4"
        return
    for path in rule.refs:
        yield from _path_faults(f"{place} `refs`", path, rule.type, elements)
    for name in rule.needs:
        yield from _path_faults(
            f"{place} `needs`", name.split("[")[0], rule.type, elements, is_strict=False
        )


def _map_faults(segment_map: SegmentMap, type_name: str, elements: Elements) -> Iterator[str]:
    place = f"[{segment_map.name}] of {type_name}"
    target = _target(segment_map, type_name, elements)
    if not target:
        yield from _path_faults(f"{place} `into`", segment_map.into, type_name, elements)
        return
    yield from _rows_faults(place, segment_map.rows, target, elements)
    for path in segment_map.refs:
        yield from _path_faults(f"{place} `refs`", path, target, elements)


def _target(segment_map: SegmentMap, type_name: str, elements: Elements) -> str:
    """The type of what the rows fill; "" where `into` leads nowhere."""
    if not segment_map.into:
        return type_name
    found = ""
    for found, _ in _walk(segment_map.into, type_name, elements):
        if not found:
            return ""
    if found != _ANY:
        return found
    said = (row.value for row in segment_map.rows if row.to == "resourceType")
    return next((str(value) for value in said if value), _ANY)


def _rows_faults(place: str, rows: Sequence[Row], target: str, elements: Elements) -> Iterator[str]:
    for number, row in enumerate(rows, start=1):
        at = f"{place} row {number}"
        if row.to == _ITSELF or target == _ANY:
            continue
        faults = list(_path_faults(f"{at} `to`", row.to, target, elements))
        yield from faults
        if faults:
            continue
        *_, (found, _) = _walk(row.to, target, elements)
        for key, made in (("shape", row.shape), ("value", row.value), ("default", row.default)):
            yield from _made_faults(f"{at} `{key}`", made, found, elements)
        filled = row.fill if row.shape is None else {}
        yield from _made_faults(f"{at} `fill`", dict(filled), found, elements)


def _path_faults(
    place: str, path: str, type_name: str, elements: Elements, *, is_strict: bool = True
) -> Iterator[str]:
    """The first step of a path that leads nowhere, or is a list where it is none."""
    at = type_name
    steps = path.split(".")
    for position, (step, (found, is_list)) in enumerate(
        zip(steps, _walk(path, type_name, elements), strict=False), start=1
    ):
        name, _, index = step.partition("[")
        if not found:
            yield f"{place}: `{path}`: `{name}` must be an element of {at}"
            return
        if index and not is_list:
            yield f"{place}: `{path}`: `{name}` of {at} must have no `[]`: it is one value"
        elif is_list and not index and is_strict and position < len(steps):
            yield f"{place}: `{path}`: `{name}` of {at} must have an index: it is a list"
        at = found


def _walk(path: str, type_name: str, elements: Elements) -> Iterator[tuple[str, bool]]:
    """Type of each step and whether it is a list; ("", False) where there is none, and the end."""
    at = type_name
    for step in path.split("."):
        found = _STEP.match(step)
        kind = _element(at, found["name"], elements) if found else ""
        yield kind.removesuffix("*"), kind.endswith("*")
        at = kind.removesuffix("*")
        if not at:
            return


def _element(type_name: str, name: str, elements: Elements) -> str:
    """The type of an element; of a primitive's `_name` that of its extensions."""
    if type_name == _ANY:
        return _ANY
    if name == "resourceType":
        return "code" if type_name[:1].isupper() else ""
    known = elements.get(type_name, _PRIMITIVE if type_name == "_" else {})
    if name.startswith("_"):
        kind = known.get(name[1:], "")
        return "" if not kind or kind.removesuffix("*") in elements else "_"
    return known.get(name, "")


def _made_faults(place: str, made: Any, type_name: str, elements: Elements) -> Iterator[str]:
    """Elements of a piece of JSON that its type does not have."""
    if isinstance(made, list):
        for item in made:
            yield from _made_faults(place, item, type_name, elements)
        return
    if not isinstance(made, dict) or type_name == _ANY:
        return
    inner = str(made.get("resourceType", type_name))
    for name, value in made.items():
        kind = _element(inner, name, elements)
        if not kind:
            yield f"{place}: `{name}` must be an element of {inner}"
            continue
        if isinstance(value, list) != kind.endswith("*") and not _is_open(value):
            told = "a list" if kind.endswith("*") else "one value, not a list"
            yield f"{place}: `{name}` of {inner} must be {told}"
        yield from _made_faults(place, value, kind.removesuffix("*"), elements)


def _is_open(value: Any) -> bool:
    """Whether the value is put in later, so that its form is not known here."""
    return isinstance(value, str) and value.startswith("$")


def refuse(faults: Iterable[str]) -> None:
    """Raise what is wrong with the tables, if anything is.

    Raises:
        HieError: INVALID, one issue per fault.
    """
    found = list(faults)
    if found:
        issues = [Issue(text=fault) for fault in found]
        raise HieError(Category.INVALID, "; ".join(found), issues)
