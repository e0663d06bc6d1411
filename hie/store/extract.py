"""Elements of a resource to search values: the converters (pure).

A converter reads what it finds by its shape and passes over what has none it knows, because a
feed may hold anything. Beside its values a token or reference has faces, the values that its
modifiers ask for, under parameter numbers of their own: `TEXT`, `OF_TYPE`, `LOGICAL`.
Spec: https://hl7.org/fhir/R4/search.html#table
"""

import math
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

import jellyfish

from hie.kernel.fhir import FhirJson, split_reference
from hie.store import blind, dates
from hie.store.numbers import number, number_range, sampled_range
from hie.store.query import StringMode

Kind = Literal[
    "token",
    "date",
    "string",
    "number",
    "quantity",
    "uri",
    "ref",
    "blind",
    "text",
    "composite",
    "place",
]

#: Added to the number of a token parameter: the texts of its codes, for `:text`.
TEXT: Final = 10_000
#: Added to the number of a reference parameter: references by identifier, for `:identifier`,
#: and by the address of another server; always keyed hashes.
LOGICAL: Final = 10_000
#: Added to the number of a token parameter: identifiers with their type, for `:of-type`.
OF_TYPE: Final = 20_000
#: Widths of the index columns; longer values are cut alike when stored and when asked for.
TOKEN_WIDTH: Final = 200
UNIT_WIDTH: Final = 100
STRING_WIDTH: Final = 300
#: The system of the code of a Money.
CURRENCIES: Final = "urn:iso:std:iso:4217"


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
        value: of string (folded, or `=` and the text as written), uri, and text: as written,
            patient data, of which only a keyed hash is stored.
        target: of ref: type and id.
        keys: of blind: clear texts, patient data; only their keyed hashes are stored.
        parts: of composite: the values of its components, which stand together.
        at: of place: its unit vector from the middle of the earth.
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
    parts: tuple["IndexValue", ...] = ()
    at: tuple[float, float, float] | None = None


class Field(NamedTuple):
    """What a converter must know of the parameter it fills."""

    param: str
    param_id: int
    system: str = ""
    is_contact: bool = False
    is_blind: bool = False
    is_person: bool = False
    public: frozenset[str] = frozenset()


Convert = Callable[[Field, Any], Iterator[IndexValue]]


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
    if isinstance(value, dict) and not field.is_contact:
        for text in _texts(value):
            yield IndexValue(field.param, field.param_id + TEXT, "text", value=text)
        if "value" in value and "type" in value:
            yield from _of_type(field, value)


def _texts(value: FhirJson) -> Iterable[str]:
    """The texts of a CodeableConcept, Coding or Identifier, each once."""
    holder = value.get("type") if "value" in value else value
    if not isinstance(holder, dict):
        return ()
    shown = [holder.get("text"), holder.get("display")]
    codings = holder.get("coding")
    if isinstance(codings, list):
        shown += [part.get("display") for part in codings if isinstance(part, dict)]
    return dict.fromkeys([t for t in shown if isinstance(t, str) and t.strip()])


def _of_type(field: Field, identifier: FhirJson) -> Iterator[IndexValue]:
    """Rows of an Identifier by the coding of its type and its value."""
    kind, value = identifier["type"], _text(identifier, "value")
    codings = kind.get("coding") if isinstance(kind, dict) else None
    for coding in codings if isinstance(codings, list) and value else ():
        code = _text(coding, "code") if isinstance(coding, dict) else ""
        if not code:
            continue
        system, number = _text(coding, "system"), field.param_id + OF_TYPE
        if field.is_blind:
            key = blind.of_type_key(system, code, value)
            yield IndexValue(field.param, number, "blind", keys=(key,))
        else:
            typed = of_type_code(code, value)
            yield IndexValue(field.param, number, "token", system[:TOKEN_WIDTH], typed)


def of_type_code(code: str, value: str) -> str:
    """A clear identifier as its `:of-type` row holds it, beside the system of its type."""
    return f"{code}|{value}"[:TOKEN_WIDTH]


def deceased(field: Field, patient: Any) -> Iterator[IndexValue]:
    """The row of a Patient: whether it is known to have died, `true` or `false`."""
    stated = patient.get("deceasedBoolean")
    is_known = stated is True or isinstance(patient.get("deceasedDateTime"), str)
    yield IndexValue(field.param, field.param_id, "token", code="true" if is_known else "false")


def known(field: Field, value: Any) -> Iterator[IndexValue]:
    """The row of what is said either as a boolean or more exactly."""
    code = "false" if value is False else "true"
    yield IndexValue(field.param, field.param_id, "token", code=code)


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


def moments(field: Field, value: Any) -> Iterator[IndexValue]:
    """Rows of a dateTime kept as keyed hashes, found to the second."""
    if isinstance(value, str) and dates.span(value) is not None:
        keys = blind.moment_keys(value)
        yield IndexValue(field.param, field.param_id, "blind", keys=keys)


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


def texts(field: Field, value: Any) -> Iterator[IndexValue]:
    """The row of free text of a record: one keyed hash, asked for through `sp_text`."""
    if isinstance(value, str) and value.strip():
        yield IndexValue(field.param, field.param_id, "text", value=value)


def sounds(field: Field, value: Any) -> Iterator[IndexValue]:
    """Rows of a name by how its words sound."""
    for sound in sounds_of(value) if isinstance(value, str) else ():
        if field.is_blind:
            yield IndexValue(field.param, field.param_id, "blind", keys=(f"f:{sound}",))
        else:
            yield IndexValue(field.param, field.param_id, "string", value=f"={sound}")


def sounds_of(text: str) -> tuple[str, ...]:
    """How the words of a name sound, once each; () where it has no letters."""
    words = (jellyfish.metaphone(word) for word in blind.fold(text).split())
    return tuple(dict.fromkeys(sound for sound in words if sound))


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
    """Rows of a Quantity, Money, Range or SampledData: by its coded unit, and the printed one."""
    if not isinstance(value, dict):
        return
    found = sampled_range(value) if "origin" in value else number_range(value)
    if not found:
        return
    unit = value
    if "value" not in value:
        unit = value.get("origin") or value.get("low") or value.get("high") or {}
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


def _text(value: FhirJson, name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


def uris(field: Field, value: Any) -> Iterator[IndexValue]:
    """Rows of a uri, url, oid or canonical; one that names a version also without it."""
    if not isinstance(value, str) or not value:
        return
    if field.is_blind:
        keys = (blind.elsewhere_key(value),)
        yield IndexValue(field.param, field.param_id, "blind", keys=keys)
        return
    yield IndexValue(field.param, field.param_id, "uri", value=value)
    plain, _, version = value.partition("|")
    if version and plain:
        yield IndexValue(field.param, field.param_id, "uri", value=plain)


def refs(field: Field, value: Any) -> Iterator[IndexValue]:
    """Rows of a Reference: to a resource of the hub, by identifier, to another server.

    A reference to the resource's own Patient has no row: `resource.person_id` says it, and
    follows merges. What is contained is no resource of the hub and has none either. The
    identifier of what may be hidden has none: it would be found where the reference is not shown.
    """
    if not isinstance(value, dict):
        return
    literal, identifier = _text(value, "reference"), value.get("identifier")
    target = split_reference(literal)
    keys: tuple[str, ...] = ()
    is_own = target is not None and field.is_person and target[0] == "Patient"
    if target is None:
        keys += (blind.elsewhere_key(literal),) if "://" in literal else ()
    elif not is_own:
        yield IndexValue(field.param, field.param_id, "ref", target=target)
    is_shown = target is None or is_own or target[0] in field.public
    if is_shown and isinstance(identifier, dict) and (number := _text(identifier, "value")):
        keys += blind.token_keys(_text(identifier, "system"), number)
    if keys:
        yield IndexValue(field.param, field.param_id + LOGICAL, "blind", keys=keys)


def places(field: Field, value: Any) -> Iterator[IndexValue]:
    """The row of the position of a Location."""
    if not isinstance(value, dict):
        return
    latitude, longitude = number(value.get("latitude")), number(value.get("longitude"))
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return
    at = unit_vector(float(latitude), float(longitude))
    yield IndexValue(field.param, field.param_id, "place", at=at)


def unit_vector(latitude: float, longitude: float) -> tuple[float, float, float]:
    """A place on the earth, in degrees, as the unit vector from its middle.

    Two places are 2 R asin(c / 2) apart, c being the distance of their vectors: a search near
    a place needs no trigonometry of the database.
    """
    north, east = math.radians(latitude), math.radians(longitude)
    return (
        math.cos(north) * math.cos(east),
        math.cos(north) * math.sin(east),
        math.sin(north),
    )


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
#: The same where a row of the table says `as`: instead of those of its type.
CONVERTERS_AS: Final[dict[str, tuple[Convert, Kind]]] = {
    "contact": (tokens, "token"),
    "canonical": (uris, "uri"),
    "deceased": (deceased, "token"),
    "known": (known, "token"),
    "moment": (moments, "date"),
    "place": (places, "place"),
    "sound": (sounds, "string"),
    "text": (texts, "text"),
}
