"""Elements of a resource to search values: the path language and the converters.

A path is dotted element names below the resource; lists are entered, choice types are named
in full (`valueQuantity`), and `[name=text]` after a name keeps the elements that hold that
text. Paths are compiled once; a converter reads what it finds by its shape and passes over
what has none it knows, because a feed may hold anything.
Spec: https://hl7.org/fhir/R4/search.html#table
"""

import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

from hie.kernel.fhir import FhirJson, split_reference
from hie.store import blind, dates
from hie.store.query import StringMode

Kind = Literal["token", "date", "string", "number", "quantity", "uri", "ref", "blind"]

SEGMENT: Final = re.compile(r"(?P<name>\w+)(\[(?P<key>\w+)=(?P<text>[^\]]*)\])?(\.|$)")
#: Widths of the index columns; longer values are cut alike when stored and when asked for.
TOKEN_WIDTH: Final = 200
UNIT_WIDTH: Final = 100
STRING_WIDTH: Final = 300
#: Bounds of an open range of numbers.
MAX_NUMBER: Final = Decimal(10) ** 19
#: The system of the code of a Money.
CURRENCIES: Final = "urn:iso:std:iso:4217"

#: From the value of a path's first element to the values at its end.
Walk = Callable[[Any], Iterable[Any]]


class IndexValue(NamedTuple):
    """One row of a search index table.

    A named tuple, for it is made some ten times for every resource stored: a frozen
    dataclass of this width takes four times as long.

    Attributes:
        kind: which table it belongs to; `blind` are rows of keyed hashes.
        system: of token and quantity; "" where there is none.
        code: of token and quantity (the unit).
        lo_us: with `hi_us`, the range of a date.
        lo: with `hi`, the range of a number or quantity.
        value: of string (folded, or `=` and the text as written) and uri.
        target: of ref: type and id.
        keys: of blind: clear texts, patient data; only their keyed hashes are stored.
    """

    param: str
    param_id: int
    kind: Kind
    system: str = ""
    code: str = ""
    lo_us: int = 0
    hi_us: int = 0
    lo: Decimal | None = None
    hi: Decimal | None = None
    value: str = ""
    target: tuple[str, str] | None = None
    keys: tuple[str, ...] = ()

    @property
    def is_blind(self) -> bool:
        """Whether only keyed hashes of `keys` may be stored."""
        return self.kind == "blind"


class Field(NamedTuple):
    """What a converter must know of the parameter it fills."""

    param: str
    param_id: int
    system: str = ""
    is_contact: bool = False
    is_blind: bool = False
    is_person: bool = False


Convert = Callable[[Field, Any], Iterator[IndexValue]]


def compile_path(path: str) -> tuple[str, Walk]:
    """The path's first element name, and the walk from its value to the path's end.

    Raises:
        ValueError: the text is not a path.
    """
    segments, at = [], 0
    while at < len(path):
        found = SEGMENT.match(path, at)
        if found is None:
            raise ValueError(path)
        segments.append(found)
        at = found.end()
    if not segments or path.endswith("."):
        raise ValueError(path)
    walk: Walk = _items
    for found in reversed(segments[1:]):
        walk = _child(found["name"], _kept(found, walk))
    return segments[0]["name"], _kept(segments[0], walk)


def _items(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else (value,)


def _kept(found: re.Match[str], then: Walk) -> Walk:
    key, text = found["key"], found["text"]
    if key is None:
        return then

    def keep(value: Any) -> Iterable[Any]:
        return then([v for v in _items(value) if isinstance(v, dict) and v.get(key) == text])

    return keep


def _child(name: str, then: Walk) -> Walk:
    def enter(value: Any) -> Iterable[Any]:
        if isinstance(value, dict):
            inner = value.get(name)
            return () if inner is None else then(inner)
        if not isinstance(value, list):
            return ()
        inners = (v.get(name) for v in value if isinstance(v, dict))
        return [leaf for inner in inners if inner is not None for leaf in then(inner)]

    return enter


def tokens(field: Field, value: Any) -> Iterator[IndexValue]:
    """Rows of a code, Coding, CodeableConcept, Identifier, ContactPoint, boolean or string."""
    for system, code in _codes(field, value):
        if field.is_blind:
            keys = blind.token_keys(system, code)
            yield IndexValue(field.param, field.param_id, "blind", keys=keys)
        else:
            yield IndexValue(
                field.param, field.param_id, "token", system[:TOKEN_WIDTH], code[:TOKEN_WIDTH]
            )


def _codes(field: Field, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, bool):
        yield "", "true" if value else "false"
    elif isinstance(value, str):
        yield field.system, value
    elif isinstance(value, dict):
        codings = value.get("coding")
        for part in codings if isinstance(codings, list) else (value,):
            if isinstance(part, dict):
                yield from _coded(field, part)


def _coded(field: Field, part: FhirJson) -> Iterator[tuple[str, str]]:
    code = _text(part, "code") or _text(part, "value")
    if code and field.is_contact:
        yield "", blind.contact(code)
    elif code:
        yield _text(part, "system"), code


def date_ranges(field: Field, value: Any) -> Iterator[IndexValue]:
    """Rows of a date, dateTime, instant, Period or Timing."""
    span = date_span(value)
    if span is None:
        return
    if field.is_blind:
        if isinstance(value, str):
            keys = blind.date_keys(value)
            yield IndexValue(field.param, field.param_id, "blind", keys=keys)
    else:
        yield IndexValue(field.param, field.param_id, "date", lo_us=span[0], hi_us=span[1])


def date_span(value: Any) -> tuple[int, int] | None:
    """The range [lo, hi) in µs of a date, dateTime, instant, Period or Timing; else None."""
    if isinstance(value, str):
        return dates.span(value)
    if not isinstance(value, dict):
        return None
    if "event" in value or "repeat" in value:
        return dates.timing_span(value)
    return dates.period_span(value)


def strings(field: Field, value: Any) -> Iterator[IndexValue]:
    """Rows of a string: folded, and as written for `:exact`; both cut to the column."""
    if not isinstance(value, str) or not value.strip():
        return
    if field.is_blind:
        yield IndexValue(field.param, field.param_id, "blind", keys=blind.string_keys(value))
        return
    for mode in (StringMode.STARTS, StringMode.EXACT):
        yield IndexValue(field.param, field.param_id, "string", value=clear_string(value, mode))


def clear_string(value: str, mode: StringMode) -> str:
    """A clear string as its rows hold it: folded, or after `=` (which folding removes) exact."""
    text = f"={value}" if mode is StringMode.EXACT else blind.fold(value)
    return text[:STRING_WIDTH]


def numbers(field: Field, value: Any) -> Iterator[IndexValue]:
    """Rows of a number or a Range of numbers."""
    found = number_range(value)
    if found:
        yield IndexValue(field.param, field.param_id, "number", lo=found[0], hi=found[1])


def quantities(field: Field, value: Any) -> Iterator[IndexValue]:
    """Rows of a Quantity, Money or Range: by its coded unit, and by the printed one."""
    found = number_range(value)
    if not found or not isinstance(value, dict):
        return
    unit = value if "value" in value else value.get("low") or value.get("high")
    for system, code in _units(unit if isinstance(unit, dict) else {}):
        yield IndexValue(
            field.param,
            field.param_id,
            "quantity",
            system[:TOKEN_WIDTH],
            code[:UNIT_WIDTH],
            lo=found[0],
            hi=found[1],
        )


def _units(quantity: FhirJson) -> Iterator[tuple[str, str]]:
    code, printed = _text(quantity, "code"), _text(quantity, "unit")
    currency = _text(quantity, "currency")
    if currency:
        yield CURRENCIES, currency
    else:
        yield (_text(quantity, "system") if code else ""), code or printed
        if code and printed not in ("", code):
            yield "", printed


def number_range(value: Any) -> tuple[Decimal, Decimal] | None:
    """The closed range of a number, a Quantity (with its comparator) or a Range."""
    if isinstance(value, dict):
        if "low" in value or "high" in value:
            low, high = number_range(value.get("low")), number_range(value.get("high"))
            return (low[0] if low else -MAX_NUMBER), (high[1] if high else MAX_NUMBER)
        exact = _number(value.get("value"))
        if exact is None:
            return None
        comparator = value.get("comparator", "")
        lo = -MAX_NUMBER if comparator in ("<", "<=") else exact
        return lo, MAX_NUMBER if comparator in (">", ">=") else exact
    exact = _number(value)
    return None if exact is None else (exact, exact)


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | float):
        return None
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    return number if number.is_finite() and abs(number) <= MAX_NUMBER else None


def _text(value: FhirJson, name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


def uris(field: Field, value: Any) -> Iterator[IndexValue]:
    """Rows of a uri, url, oid or canonical."""
    if isinstance(value, str) and value:
        yield IndexValue(field.param, field.param_id, "uri", value=value)


def refs(field: Field, value: Any) -> Iterator[IndexValue]:
    """Rows of a Reference to a resource of the hub.

    A reference to the resource's own Patient has no row: `resource.person_id` says it, and
    follows merges.
    """
    literal = value.get("reference") if isinstance(value, dict) else None
    target = split_reference(literal) if isinstance(literal, str) else None
    if target and not (field.is_person and target[0] == "Patient"):
        yield IndexValue(field.param, field.param_id, "ref", target=target)


#: Converter and index table by FHIR search type.
CONVERTERS: Final[dict[str, tuple[Convert, Kind]]] = {
    "token": (tokens, "token"),
    "date": (date_ranges, "date"),
    "string": (strings, "string"),
    "number": (numbers, "number"),
    "quantity": (quantities, "quantity"),
    "uri": (uris, "uri"),
    "reference": (refs, "ref"),
}
