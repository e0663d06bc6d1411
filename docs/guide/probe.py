"""What the data type converters make of each component, found out by running them.

`probes.toml` names for each of the guide's data type maps the converter that does its work
here, what a value of it looks like, and where in the result the guide's elements stand.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from adapters.hl7v2 import er7
from adapters.hl7v2.context import Context
from adapters.hl7v2.datatypes import CONVERTERS, Tools
from adapters.hl7v2.mapmodel import Maps
from adapters.hl7v2.plans import tools_of
from adapters.sources import OrganizationRef, Source
from docs.guide.rows import HERE, Fate, GuideRow, Judged, Path_, Stated, guide_rows, path_of
from hie.kernel.ids import MessageId, SourceId

#: What a component holds where `probes.toml` says nothing of it.
SAMPLE: Final = "7"
_SOURCE: Final = Source(
    id=SourceId("guide"),
    name="Guide",
    organization=OrganizationRef(system="urn:x", value="1", name="Guide"),
    time_zone="America/New_York",
    own_authority="",
)

#: The leaves of a result, with their paths.
Leaves = frozenset[tuple[Path_, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How one of the guide's data type maps is tried.

    Attributes:
        convert: `as`, our converter.
        concept: its concept map.
        base: what other components hold, by number.
        samples: what the component under test holds, by number.
        under: element of the result the guide's paths begin in; `""` = its own.
        within: what the guide's paths begin with and the result does not.
        inside: the component whose subcomponents the numbers are; 0 = they are components.
        draft: type of the directory entry the guide's paths are of; `""` = the value itself.
    """

    convert: str
    concept: str = ""
    base: Mapping[int, str]
    samples: Mapping[int, str]
    under: Path_ = ()
    within: Path_ = ()
    inside: int = 0
    draft: str = ""


class Prober:
    """Runs converters on made-up values."""

    def __init__(self, maps: Maps) -> None:
        self._maps = maps
        self._tools: Tools = tools_of(maps)
        self._probes = _probes()

    def judge(self, stated: Stated) -> list[Judged]:
        """The rows of the data type maps."""
        return [self._row(row, stated) for row in guide_rows("datatypes")]

    def _row(self, row: GuideRow, stated: Stated) -> Judged:
        probe = self._probes.get(row.map)
        if probe is not None and self._is_mapped(row, probe):
            fate = Fate.PUT_RIGHT if row.is_respelt else Fate.MAPPED
            return Judged(row=row, fate=fate, where=f"`{probe.convert}`")
        if said := stated.find("datatypes", row.map, row.place, row.text):
            return Judged(row=row, fate=said[0], where=said[1])
        if probe is not None and not row.is_unresolved and (found := self._changed(row, probe)):
            where = ", ".join(sorted({".".join(path) for path, _ in found}))
            return Judged(row=row, fate=Fate.ELSEWHERE, where=where)
        return Judged(row=row, fate=Fate.OPEN)

    def _is_mapped(self, row: GuideRow, probe: Probe) -> bool:
        wanted = path_of(_inner(row.to))
        if wanted[:1] in (("$value",), ("$this",)):
            wanted = ()
        if wanted[: len(probe.within)] == probe.within:
            wanted = wanted[len(probe.within) :]
        if row.constant and row.constant != "(computed)":
            changed = self._run(probe, row.number)
        else:
            changed = self._changed(row, probe)
        under = (*probe.under, *wanted)
        return any(path[: len(under)] == under for path, _ in changed)

    def _changed(self, row: GuideRow, probe: Probe) -> Leaves:
        """What the component under test adds to the result."""
        return self._run(probe, row.number) - self._run(probe, -1)

    def _run(self, probe: Probe, number: int) -> Leaves:
        """The result with component `number` filled; 0 = all of the samples, -1 = none."""
        parts = {n: text for n, text in probe.base.items() if n != number}
        if number == -1:
            parts = dict(probe.base) if probe.base else {}
        elif number:
            parts[number] = probe.samples.get(number, SAMPLE)
        else:
            parts |= probe.samples
        mark = "&" if probe.inside else "^"
        raw = mark.join(parts.get(n, "") for n in range(1, max(parts, default=0) + 1))
        raw = "^" * (probe.inside - 1) + raw if raw else ""
        if not raw:
            return frozenset()
        message = er7.parse(b"MSH|^~\\&|A|B|C|D|20260131||ADT^A01|1|P|2.8\r")
        context = Context(message, _SOURCE, self._maps.terminology, (MessageId(7), 0))
        context.segment = message.segments[0]
        value = CONVERTERS[probe.convert](self._tools, probe.concept)(raw, context)
        if probe.draft:
            kinds = [d.resource for d in context.directory]
            value = [r for r in kinds if r["resourceType"] == probe.draft]
        return frozenset(_leaves(value))


def _inner(text: str) -> str:
    """The path inside the parentheses of a reference, where the guide has one."""
    head, mark, inner = text.partition("(")
    if not mark or not inner or "." not in inner:
        return head
    return inner.split(".", 1)[1].rstrip(")")


def _leaves(node: Any) -> Iterator[tuple[Path_, str]]:
    if isinstance(node, dict):
        for name, child in node.items():
            yield from (((*path_of(name), *path), leaf) for path, leaf in _leaves(child))
    elif isinstance(node, list):
        for position, child in enumerate(node):
            yield from ((path, f"{position}:{leaf}") for path, leaf in _leaves(child))
    elif node is not None:
        # A code kept beside its element, or a primitive.
        yield (), str(node)


def _probes() -> dict[str, Probe]:
    content = tomllib.loads((HERE / "probes.toml").read_text(encoding="utf-8"))
    found = {}
    for name, table in content.items():
        for one in name.split(" "):
            found[one] = Probe(
                convert=table["as"],
                concept=table.get("concept", ""),
                base={int(n): text for n, text in table.get("base", {}).items()},
                samples={int(n): text for n, text in table.get("samples", {}).items()},
                under=path_of(table.get("under", "")),
                within=path_of(table.get("within", "")),
                inside=table.get("inside", 0),
                draft=table.get("draft", ""),
            )
    return found
