"""Segment maps compiled to functions: done once at start, run for every message."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.hl7v2.codes import Kept
from adapters.hl7v2.conditions import Condition, Reads, condition
from adapters.hl7v2.context import Context, Converter, Parts
from adapters.hl7v2.datatypes import CONVERTERS, Tools
from adapters.hl7v2.er7 import NULL, Segment
from adapters.hl7v2.mapmodel import Place, Row, SegmentMap
from adapters.hl7v2.shapes import (
    Shape,
    element,
    linker,
    merge,
    parts_of,
    setter,
    shape,
    takes_many,
    top_of,
)
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson

#: Runs one row: the field's raw text, the cut segment, the object to fill; whether it wrote.
RowRunner = Callable[[str, list[str], FhirJson, Context], bool]

#: Puts a constant into an object.
Fixed = Callable[[FhirJson], None]

_SHIFTED: Final = "MSH"


@dataclass(frozen=True, slots=True)
class Link:
    """A reference that tables ask for.

    Attributes:
        put: sets it in its owner.
        rule: to which rule's draft.
        is_all: to every draft of the rule in the same group, or of the message.
        is_needed: its owner may not be without it.
    """

    put: Callable[[FhirJson, str], None]
    rule: str
    is_all: bool = False
    is_needed: bool = False


@dataclass(slots=True)
class Pending:
    """A reference to set once every draft is known.

    Attributes:
        owner: the object that gets it.
        position: place of the segment whose own draft is meant first.
        drop: takes `owner` out again, for one that may not be without the reference.
    """

    owner: FhirJson
    link: Link
    position: int
    drop: Callable[[], None] | None = None


@dataclass(slots=True)
class Making:
    """One resource while it is made."""

    resource: FhirJson
    pending: list[Pending] = field(default_factory=list)
    slots: dict[tuple[str, str], FhirJson] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRunner:
    """A compiled segment map.

    Attributes:
        rows: place of the field in the cut segment, 0 = none of its own; what to do with it.
        reads: fields of its own segment it uses; False = only the first repetition of them.
        reads_elsewhere: fields of other segments.
        defaults: what puts in what a new resource needs.
        links: references of what it makes; those of the resource itself are the rule's to set.
    """

    map: SegmentMap
    when: Condition | None
    rows: tuple[tuple[int, RowRunner], ...]
    constants: tuple[Fixed, ...]
    defaults: tuple[Fixed, ...]
    reads: Mapping[int, bool]
    reads_elsewhere: Reads
    links: tuple[Link, ...]

    def applies(self, segment: Segment, context: Context) -> bool:
        """Stand at a segment; whether the map is for it."""
        context.segment = segment
        return self.when is None or self.when(context)

    def run(self, segment: Segment, making: Making, context: Context) -> bool:
        """Map one segment the map applies to; whether it said anything."""
        if self.map.into:
            return self._run_into(segment, making, context)
        return self._fill(segment, making.resource, context)

    def _fill(self, segment: Segment, target: FhirJson, context: Context) -> bool:
        fields = segment.fields
        count = len(fields)
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
            making.pending.append(Pending(target, link, segment.position, drop))
        return True

    def _target(self, segment: Segment, making: Making, context: Context) -> FhirJson:
        """The element of `into` this segment fills: its own, or that of its slot."""
        into, slot = self.map.into, self.map.slot
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
    for number, row in enumerate(segment_map.rows, start=1):
        try:
            when, looked_at = condition(row.when)
            elsewhere |= looked_at
            if row.value is None and row.default is None:
                runners.append(_row(row, segment_map, when, tools))
                _note_reads(row, segment_map, reads, elsewhere)
        except HieError as error:
            text = f"[{segment_map.name}] row {number}: {error.text}"
            raise HieError(Category.INVALID, text) from error
    when, looked_at = condition(segment_map.when)
    elsewhere |= looked_at
    if segment_map.slot:
        reads[segment_map.slot] = True
    for name, n in elsewhere:
        if name == segment_map.segment:
            reads.setdefault(n, False)
    return SegmentRunner(
        map=segment_map,
        when=when,
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
    put, unless, make = setter(row.to), row.unless, shape(value)

    def run(target: FhirJson) -> None:
        if not unless or unless not in target:
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
    if row.companion:
        reads.setdefault(row.companion, False)


def _row(
    row: Row, segment_map: SegmentMap, when: Condition | None, tools: Tools
) -> tuple[int, RowRunner]:
    put = _writer(row, tools)
    place = row.place
    if place is None:
        return 0, _spoken(put, when)
    if place.segment and place.segment != segment_map.segment:
        return 0, _elsewhere(row, place, put, when)
    # MSH-1 is the separator itself, so the cut line has every later field one place earlier.
    n = place.field - 1 if segment_map.segment == _SHIFTED else place.field
    return n, _own(row, place, put, when, clears=not segment_map.into)


#: Converts one raw value and puts it in its place; whether there was anything to put.
_Writer = Callable[[str, FhirJson, Context], bool]


def _writer(row: Row, tools: Tools) -> _Writer:
    convert = _converter(row, tools)
    plain = row.to if row.to.isalnum() else ""
    if convert is not None and plain and row.shape is None and not row.fill:
        return _plain_writer(plain, convert)
    return _shaped_writer(row, convert, plain)


def _plain_writer(name: str, convert: Converter) -> _Writer:
    """Writes a converted value as it is: most rows, so this one is short."""
    kept = f"_{name}"

    def write(raw: str, target: FhirJson, context: Context) -> bool:
        value = convert(raw, context)
        if value is None:
            return False
        if value.__class__ is Kept:
            target[kept] = value.extension()
        elif name not in target:
            target[name] = value
        return True

    return write


def _shaped_writer(row: Row, convert: Converter | None, plain: str) -> _Writer:
    put = setter(row.to)
    make: Shape | None = shape(row.shape) if row.shape is not None else None
    wanted = parts_of(row.shape) if row.shape is not None else ()
    fill: FhirJson = dict(row.fill)
    # A code no map knows is kept in the primitive's extension, where the path has one.
    keep = setter(f"_{plain}") if plain else None

    def write(raw: str, target: FhirJson, context: Context) -> bool:
        value = convert(raw, context) if convert is not None else None
        if value is None and (convert is not None or not _speaks(raw, wanted, context)):
            return False
        if value.__class__ is Kept:
            if keep is not None:
                keep(target, value.extension())
            return keep is not None
        if fill:
            value = {**fill, **(value or {})}
        if make is not None:
            value = make(value, Parts(raw, context) if wanted else None)
        put(target, value)
        return True

    return write


def _speaks(raw: str, wanted: tuple[int, ...], context: Context) -> bool:
    parts = Parts(raw, context)
    return any(parts(n) for n in wanted)


def _converter(row: Row, tools: Tools) -> Converter | None:
    if not row.convert:
        if row.shape is None:
            raise HieError(Category.INVALID, "needs `as`, `value`, `default` or a `shape`")
        return None
    factory = CONVERTERS.get(row.convert)
    if factory is None:
        raise HieError(Category.INVALID, f"`as`: `{row.convert}` must be a known converter")
    return factory(tools, row.concept)


def _spoken(put: _Writer, when: Condition | None) -> RowRunner:
    """A row that says something of its own, such as who the sender is."""

    def run(_raw: str, _fields: list[str], target: FhirJson, context: Context) -> bool:
        if when is None or when(context):
            put("", target, context)
        return False  # nothing the message says: no reason to make a resource

    return run


def _elsewhere(row: Row, place: Place, put: _Writer, when: Condition | None) -> RowRunner:
    """A row that reads the nearest segment of another kind."""
    name, n, component = place.segment, place.field, place.component
    is_header = name == _SHIFTED
    if component:
        put = _of_component(put, component)
    plain = row.to if row.to.isalnum() else ""
    is_whole = row.is_whole

    def run(_raw: str, _fields: list[str], target: FhirJson, context: Context) -> bool:
        if plain and plain in target:
            return False
        segment = context.find(name)
        raw = segment.field(n) if segment is not None else ""
        if not raw or raw == NULL or (when is not None and not when(context)):
            return False
        context.companion = ""
        if not is_header and not is_whole:
            raw = raw.split(context.repetition_mark, 1)[0]
        put(raw, target, context)
        # A neighbour's field adds to a resource, but is no reason to make one.
        return False

    return run


def _own(
    row: Row, place: Place, put: _Writer, when: Condition | None, *, clears: bool
) -> RowRunner:
    """A row that reads its own segment."""
    number, companion, is_whole = place.field, row.companion, row.is_whole
    top = top_of(row.to) if clears and not place.component else ""
    plain = row.to if row.to.isalnum() else ""
    if place.component:
        put = _of_component(put, place.component)
    put_each = _of_repetitions(put, is_many=takes_many(row.to))

    def run(raw: str, fields: list[str], target: FhirJson, context: Context) -> bool:
        if plain and plain in target:
            return False  # an earlier row has said it
        if raw == NULL:
            if top:
                context.nulls.add(top)
            return False
        if when is not None and not when(context):
            return False
        context.field = number
        context.companion = fields[companion] if 0 < companion < len(fields) else ""
        if is_whole or context.repetition_mark not in raw:
            return put(raw, target, context)
        return put_each(raw, target, context)

    return run


def _of_component(put: _Writer, n: int) -> _Writer:
    """Writes one component of the value."""

    def write(raw: str, target: FhirJson, context: Context) -> bool:
        parts = raw.split(context.component)
        return put(parts[n - 1], target, context) if n <= len(parts) else False

    return write


def _of_repetitions(put: _Writer, *, is_many: bool) -> _Writer:
    """Writes every repetition, or the first that says something."""

    def write(raw: str, target: FhirJson, context: Context) -> bool:
        wrote = False
        for repetition, part in enumerate(raw.split(context.repetition_mark), start=1):
            if part and part != NULL and (is_many or not wrote):
                context.repetition = repetition
                wrote = put(part, target, context) or wrote
        context.repetition = 1
        return wrote

    return write
