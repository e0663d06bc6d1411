"""What our maps read and write, as flat facts: which field goes to which element of which type."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.hl7v2.mapmodel import Maps, Row, SegmentMap
from docs.guide.rows import Path_, path_of

_PLACE = re.compile(r"([A-Z][A-Z0-9]{2})-(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One field read into one element.

    Attributes:
        url: of the extension it goes into, if it does.
        map: the segment map that says so.
    """

    type: str
    path: Path_
    url: str
    map: str

    @property
    def text(self) -> str:
        """`Patient.name`."""
        return ".".join((self.type, *self.path)) if self.path != ("*",) else f"{self.type}.*"


@dataclass(slots=True)
class Claims:
    """All that the maps say.

    Attributes:
        reads: by segment and field, what it becomes.
        constants: by resource type, paths that tables set without reading.
        looks: by segment and field, what else it is used for.
        runs: by trigger, segment and resource type of the maps that run.
        links: by trigger, resource type and element of the references set.
    """

    reads: dict[tuple[str, int], set[Claim]] = field(default_factory=lambda: defaultdict(set))
    constants: dict[str, set[Path_]] = field(default_factory=lambda: defaultdict(set))
    looks: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    runs: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    links: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))


def claims_of(maps: Maps) -> Claims:
    """The claims of every segment map that a message runs."""
    claims = Claims()
    types: dict[str, set[str]] = defaultdict(set)
    for message in maps.messages:
        for rule in message.resources:
            for part in rule.parts:
                types[part].add(rule.type)
            _note_rule(claims, maps, message.triggers, rule)
        for segment, number in message.read:
            claims.looks[segment, number].add("the hub itself")
    for name, made in types.items():
        segment_map = maps.segments[name]
        into = _target(name)
        for kind in made | ({into} if into else set()):
            _note_map(claims, segment_map, kind)
    return claims


def _target(name: str) -> str:
    """The resource a map is for, where its name says one: `Medication` of `RXE[Medication]`."""
    found = re.search(r"\[([A-Z][A-Za-z]+)", name)
    return found[1] if found else ""


def _note_rule(claims: Claims, maps: Maps, triggers: tuple[str, ...], rule: Any) -> None:
    links = {(rule.type, path_of(path)[0]) for path in rule.refs}
    for part in rule.parts:
        segment_map = maps.segments[part]
        links |= {
            (rule.type, (*path_of(segment_map.into), *path_of(p))[0]) for p in segment_map.refs
        }
    for trigger in triggers:
        claims.runs[trigger] |= {(maps.segments[part].segment, rule.type) for part in rule.parts}
        claims.runs[trigger] |= {(maps.segments[p].segment, _target(p)) for p in rule.parts}
        claims.runs[trigger] |= {
            (row.place.segment, rule.type)
            for part in rule.parts
            for row in maps.segments[part].rows
            if row.place is not None and row.place.segment
        }
        claims.links[trigger] |= links
    for key in rule.keys:
        for segment, number in _PLACE.findall(" ".join(key)):
            claims.looks[segment, int(number)].add(f"key of {rule.type}")


def _note_map(claims: Claims, segment_map: SegmentMap, kind: str) -> None:
    into = path_of(segment_map.into)
    if into[:1] == ("contained",):
        # What is contained is a resource itself, of the type a constant of the map names.
        into = ()
        kind = next((str(r.value) for r in segment_map.rows if r.to == "resourceType"), kind)
    for segment, number in _PLACE.findall(segment_map.when):
        claims.looks[segment, int(number)].add(f"condition of {segment_map.name}")
    for row in segment_map.rows:
        _note_row(claims, segment_map, row, kind, into)


def _note_row(claims: Claims, segment_map: SegmentMap, row: Row, kind: str, into: Path_) -> None:
    path = (*into, *path_of(row.to))
    inner = list(_leaves(row.shape))
    url = next((v for p, v in inner if p[-1:] == ("url",) and isinstance(v, str)), "")
    fixed = row.value if row.value is not None else row.default
    claims.constants[kind] |= {(*path, *p) for p, _ in inner}
    claims.constants[kind] |= {(*path, *p) for p, _ in _leaves(row.fill or None)}
    if fixed is not None:
        claims.constants[kind] |= {path} | {(*path, *p) for p, _ in _leaves(fixed)}
    for segment, number in _PLACE.findall(row.when):
        claims.looks[segment, int(number)].add(f"condition of {kind}.{'.'.join(path)}")
    if row.place is None:
        return
    read = {path, *((*path, *p) for p, v in inner if isinstance(v, str) and v.startswith("$"))}
    places = {(row.place.segment or segment_map.segment, row.place.field)}
    if row.companion:
        places.add((segment_map.segment, row.companion))
    for place in places:
        claims.reads[place] |= {
            Claim(type=kind, path=found, url=url, map=segment_map.name) for found in read
        }


def _leaves(node: Any) -> Iterator[tuple[Path_, Any]]:
    """The leaves of a JSON template with their paths."""
    if isinstance(node, Mapping):
        for name, child in node.items():
            for path, leaf in _leaves(child):
                yield (*path_of(name), *path), leaf
    elif isinstance(node, list | tuple):
        for child in node:
            yield from _leaves(child)
    elif node is not None:
        yield (), node
