"""Segment maps compiled to functions: done once at start, run for every message."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.hl7v2.conditions import Condition, Gate, KeyPart, Reads, condition, gate
from adapters.hl7v2.context import Context
from adapters.hl7v2.datatypes import Tools
from adapters.hl7v2.er7 import Segment
from adapters.hl7v2.mapmodel import Match, Row, SegmentMap
from adapters.hl7v2.rows import RowRunner, compile_row
from adapters.hl7v2.shapes import Linker, element, linker, merge, setter, shape, takes_many
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson

#: Ends an `into` whose n-th segment fills the n-th entry of a list of the resource.
_NTH: Final = "[n]"
#: Puts a constant into an object.
Fixed = Callable[[FhirJson], None]


@dataclass(frozen=True, slots=True)
class Link:
    """A reference that tables ask for.

    Attributes:
        put: sets it in its owner; gives the Reference.
        rule: to which rule's draft.
        is_all: to every draft of the rule in the same group.
        is_everything: to every other draft of the message.
        is_needed: its owner may not be without it.
    """

    put: Linker
    rule: str
    is_all: bool = False
    is_everything: bool = False
    is_needed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """A `Match`, compiled."""

    match: Match
    link: Linker
    back: Linker | None
    mine: KeyPart
    theirs: KeyPart


@dataclass(slots=True)
class Pending:
    """A reference to set once every draft is known.

    Attributes:
        owner: the object that gets it.
        position: place of the segment whose own draft is meant first.
        segment: its name.
        drop: takes `owner` out again, for one that may not be without the reference.
    """

    owner: FhirJson
    link: Link
    position: int
    segment: str
    drop: Callable[[], None] | None = None


@dataclass(slots=True)
class Making:
    """One resource while it is made."""

    resource: FhirJson
    pending: list[Pending] = field(default_factory=list)
    slots: dict[tuple[str, str], FhirJson] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRunner:
    """A compiled segment map.

    Attributes:
        shut: tells segments that `when` is not for at a glance.
        rows: place of the field in the cut segment, 0 = none of its own; what to do with it.
        reads: fields of its own segment it uses; False = only the first repetition of them.
        reads_elsewhere: fields of other segments that its rows take.
        defaults: what puts in what a new resource needs.
        links: references of what it makes; those of the resource itself are the rule's to set.
    """

    map: SegmentMap
    when: Condition | None
    shut: Gate | None
    rows: tuple[tuple[int, RowRunner], ...]
    constants: tuple[Fixed, ...]
    defaults: tuple[Fixed, ...]
    reads: Mapping[int, bool]
    reads_elsewhere: Reads
    links: tuple[Link, ...]

    def applies(self, segment: Segment, context: Context) -> bool:
        """Stand at a segment; whether the map is for it."""
        context.segment = segment
        if self.when is None:
            return True
        return not (self.shut and self.shut(segment.fields)) and self.when(context)

    def run(self, segment: Segment, making: Making, context: Context) -> bool:
        """Map one segment the map applies to; whether it said anything."""
        if self.map.into:
            return self._run_into(segment, making, context)
        return self._fill(segment, making.resource, context)

    def _fill(self, segment: Segment, target: FhirJson, context: Context) -> bool:
        fields = segment.fields
        count = len(fields)
        context.target = target
        wrote = False
        for n, row in self.rows:
            if not n:
                row("", fields, target, context)
            elif n < count and (raw := fields[n]) and row(raw, fields, target, context):
                wrote = True
        if wrote:
            for put in self.constants:
                put(target)
        return wrote

    def _run_into(self, segment: Segment, making: Making, context: Context) -> bool:
        made: FhirJson = {}
        wrote = self._fill(segment, made, context)
        if not wrote or any(name not in made for name in self.map.needs):
            return False
        target = self._target(segment, making, context)
        merge(target, made)
        for link in self.links:
            drop = _remover(making.resource, self.map.into, target) if link.is_needed else None
            making.pending.append(Pending(target, link, segment.position, segment.name, drop))
        return True

    def _nth(self, name: str, making: Making) -> FhirJson:
        """The entry of the n-th segment this map is run on."""
        own = self.map.name
        number = making.counts[own] = making.counts.get(own, -1) + 1
        entries: list[FhirJson] = making.resource.setdefault(name, [])
        entries += ({} for _ in range(number + 1 - len(entries)))
        return entries[number]

    def _target(self, segment: Segment, making: Making, context: Context) -> FhirJson:
        """The element of `into` this segment fills: its own, or that of its slot."""
        into, slot = self.map.into, self.map.slot
        if into.endswith(_NTH):
            return self._nth(into.removesuffix(_NTH), making)
        if not takes_many(into):
            return element(into)(making.resource)
        text = context.text(segment.field(slot)) if slot else ""
        known = making.slots.get((into, text)) if text else None
        if known is not None:
            return known
        target: FhirJson = {}
        holder, _, name = into.removesuffix("[]").rpartition(".")
        owner = element(holder)(making.resource) if holder else making.resource
        owner.setdefault(name, []).append(target)
        if text:
            making.slots[into, text] = target
        return target


def _remover(resource: FhirJson, into: str, target: FhirJson) -> Callable[[], None]:
    name = into.removesuffix("[]")

    def drop() -> None:
        entries = resource.get(name)
        if isinstance(entries, list):
            entries[:] = [entry for entry in entries if entry is not target]
            if not entries:
                del resource[name]

    return drop


def compile_segment(segment_map: SegmentMap, tools: Tools) -> SegmentRunner:
    """The runner of a segment map.

    Raises:
        HieError: INVALID, naming the map and the row, when a row cannot be compiled.
    """
    runners: list[tuple[int, RowRunner]] = []
    reads: dict[int, bool] = dict.fromkeys(segment_map.ignored, True)
    elsewhere: set[tuple[str, int]] = set()
    when, looked_at = condition(segment_map.when)
    for number, row in enumerate(segment_map.rows, start=1):
        try:
            condition_of_row, found = condition(row.when)
            looked_at |= found
            if row.value is None and row.default is None:
                runners.append(compile_row(row, segment_map, condition_of_row, tools))
                _note_reads(row, segment_map, reads, elsewhere)
        except HieError as error:
            text = f"[{segment_map.name}] row {number}: {error.text}"
            raise HieError(Category.INVALID, text) from error
    if segment_map.slot:
        reads[segment_map.slot] = True
    # What a condition looks at in its own segment has been taken note of; elsewhere it is for
    # the map of that segment to say so.
    for name, n in looked_at:
        if name == segment_map.segment:
            reads.setdefault(n, False)
    return SegmentRunner(
        map=segment_map,
        when=when,
        shut=gate(segment_map.when, segment_map.segment),
        rows=tuple(runners),
        constants=_fixed(segment_map, "value"),
        defaults=_fixed(segment_map, "default"),
        reads=reads,
        reads_elsewhere=frozenset(elsewhere),
        links=tuple(
            Link(linker(path), rule, is_needed=path in segment_map.needs)
            for path, rule in segment_map.refs.items()
        ),
    )


def _fixed(segment_map: SegmentMap, kind: str) -> tuple[Fixed, ...]:
    rows = [(row, getattr(row, kind)) for row in segment_map.rows]
    return tuple(_fixed_row(row, value) for row, value in rows if value is not None)


def _fixed_row(row: Row, value: Any) -> Fixed:
    put, unless, make = setter(row.to), row.unless.split(), shape(value)

    def run(target: FhirJson) -> None:
        if not any(name in target for name in unless):
            put(target, make(None, None))

    return run


def _note_reads(
    row: Row, segment_map: SegmentMap, reads: dict[int, bool], elsewhere: set[tuple[str, int]]
) -> None:
    """Remember which fields a row uses, and whether it takes every repetition."""
    if row.place is None:
        return
    if row.place.segment and row.place.segment != segment_map.segment:
        elsewhere.add((row.place.segment, row.place.field))
        return
    many = row.is_whole or takes_many(row.to)
    reads[row.place.field] = reads.get(row.place.field, False) or many
    for n in filter(None, (row.companion, *row.also)):
        reads.setdefault(n, False)
