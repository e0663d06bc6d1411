"""Rows of segment maps compiled to functions: where a value is read, and what is made of it."""

from collections.abc import Callable
from typing import Final

from adapters.hl7v2.codes import Kept
from adapters.hl7v2.conditions import Condition, Gate, gate
from adapters.hl7v2.context import Context, Converter, Parts
from adapters.hl7v2.datatypes import CONVERTERS, Tools
from adapters.hl7v2.er7 import NULL
from adapters.hl7v2.mapmodel import Place, Row, SegmentMap
from adapters.hl7v2.shapes import Shape, parts_of, setter, shape, takes_many, top_of
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson

#: Runs one row: the field's raw text, the cut segment, the object to fill; whether it wrote.
RowRunner = Callable[[str, list[str], FhirJson, Context], bool]

_SHIFTED: Final = "MSH"
#: The `as` of a row that takes an element away instead of giving one.
CLEAR: Final = "clear"


def compile_row(
    row: Row, segment_map: SegmentMap, when: Condition | None, tools: Tools
) -> tuple[int, RowRunner]:
    """The place of a row's field in the cut segment, 0 = none of its own; and what runs it.

    Raises:
        HieError: INVALID when a key of the row names what is not there.
    """
    if row.convert == CLEAR:
        return 0, _clearing(top_of(row.to), when)
    put = _writer(row, tools)
    place = row.place
    if place is None:
        return 0, _spoken(put, when)
    if place.segment and place.segment != segment_map.segment:
        return 0, _elsewhere(row, place, put, when)
    # MSH-1 is the separator itself, so the cut line has every later field one place earlier.
    n = place.field - 1 if segment_map.segment == _SHIFTED else place.field
    if when is not None:
        when = _hastened(when, gate(row.when, segment_map.segment))
    return n, _own(row, place, put, when, clears=not segment_map.into)


def _hastened(when: Condition, shut: Gate | None) -> Condition:
    """The condition, told at a glance where the map's own segment is enough to say no."""
    if shut is None:
        return when

    def check(context: Context) -> bool:
        segment = context.segment
        return not (segment is not None and shut(segment.fields)) and when(context)

    return check


def _clearing(top: str, when: Condition | None) -> RowRunner:
    """A row that says that a stored element no more holds."""

    def run(_raw: str, _fields: list[str], target: FhirJson, context: Context) -> bool:
        if top not in target and (when is None or when(context)):
            context.nulls.add(top)
        return False

    return run


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
    fill = shape(dict(row.fill)) if row.fill else None
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
        if fill is not None:
            value = {**fill(None, None), **(value or {})}
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
        if not is_header and not is_whole:
            raw = raw.split(context.repetition_mark, 1)[0]
        # What is wrong with it is told where it stands.
        here = context.segment, context.field
        context.segment, context.field, context.companion = segment, n, ""
        put(raw, target, context)
        context.segment, context.field = here
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
