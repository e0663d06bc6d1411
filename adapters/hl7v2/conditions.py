"""The small language of `when` and `keys` in the tables, compiled to functions.

A condition is terms joined by ` & `: `PV1-45` (has a value), `!PV1-45` (has none), `RXC` (the
segment is there), `PV1-2 = P`, `PV1-2 != P`, `OBX-2 in ED RP`, `OBX-2 !in ED RP`; in place of a
term may stand several joined by ` | `, one of which must hold. A part of a key
is a word taken as it stands, `OBX-4` (must have a value), `OBX-4?` (may be empty), `OBR-3:EI`,
`PV1-19:CX` (system and value), `PID-3:own` (the source's own number), `OBX-3:code` (code or text)
or `@patient` (the key of that draft).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from adapters.hl7v2.context import Context, Parts
from adapters.hl7v2.er7 import NULL
from adapters.hl7v2.identifiers import cx_key, ei_key, identifier_of
from adapters.hl7v2.mapmodel import Place
from hie.kernel.envelope import SourceIdentifier
from hie.kernel.errors import Category, HieError

Condition = Callable[[Context], bool]
#: Segment name and field number a condition looks at.
Reads = frozenset[tuple[str, int]]
#: Whether a condition cannot hold, told from the fields of a cut segment.
Gate = Callable[[Sequence[str]], bool]
#: One part of a key; () = it has no value.
KeyPart = Callable[[Context], tuple[str, ...]]
#: Finds the key of the nearest draft of a rule; () = none.
KeyOf = Callable[[Context, str], tuple[str, ...]]

_TERM: Final = re.compile(
    r"^(?P<not>!)?(?P<segment>[A-Z][A-Z0-9]{2})(?:-(?P<field>\d+)(?:\.(?P<part>\d+))?)?"
    r"(?:\s+(?P<op>=|!=|in|!in)\s+(?P<values>.+))?$"
)
_KEY: Final = re.compile(
    r"^(?P<segment>[A-Z][A-Z0-9]{2})-(?P<field>\d+)(?:\.(?P<part>\d+))?"
    r"(?::(?P<kind>CX|EI|own|code))?(?P<maybe>\?)?$"
)


def condition(text: str) -> tuple[Condition | None, Reads]:
    """The condition of a `when`, None for an empty one, and what it looks at.

    Raises:
        HieError: INVALID when a term is none of the above.
    """
    if not text:
        return None, frozenset()
    terms = [_either(term.strip()) for term in text.split(" & ")]
    reads = frozenset(read for _, found in terms for read in found)
    if len(terms) == 1:
        return terms[0][0], reads
    checks = [check for check, _ in terms]
    return (lambda context: all(check(context) for check in checks)), reads


def _either(text: str) -> tuple[Condition, Reads]:
    """A term, or several of which one must hold."""
    terms = [_term(term.strip()) for term in text.split(" | ")]
    if len(terms) == 1:
        return terms[0]
    checks = [check for check, _ in terms]
    reads = frozenset(read for _, found in terms for read in found)
    return (lambda context: any(check(context) for check in checks)), reads


def gate(text: str, segment: str) -> Gate | None:
    """What tells from a cut segment alone that a condition on it does not hold; None for nothing.

    Most rules of a group look at most of its segments in vain: this makes looking cheap.

    Args:
        text: the condition.
        segment: name of the segment it is put to.
    """
    found = [_TERM.match(term.strip()) for term in text.split(" & ") if " | " not in term]
    shuts = [
        (int(term["field"]), _shut(term))
        for term in found
        if term and term["segment"] == segment != "MSH" and term["field"] and _is_plain(term)
    ]
    return partial(_is_shut, shuts) if shuts else None


def _is_plain(term: re.Match[str]) -> bool:
    """Whether a term looks at a field as a whole, or compares its first component."""
    return term["part"] is None or (term["part"] == "1" and bool(term["op"]))


def _is_shut(shuts: Sequence[tuple[int, Callable[[str], bool]]], fields: Sequence[str]) -> bool:
    count = len(fields)
    for n, shut in shuts:  # noqa: SIM110 - a generator costs more than it saves
        if shut(fields[n] if n < count else ""):
            return True
    return False


def _shut(term: re.Match[str]) -> Callable[[str], bool]:
    """Whether the raw text of a field is enough to say that a term does not hold."""
    if not term["op"]:
        return _says if term["not"] else (lambda raw: not _says(raw))
    values, wanted = frozenset(_values(term)), term["op"] in ("=", "in")

    def shut(raw: str) -> bool:
        if not raw or raw.isalnum():
            return (raw in values) is not wanted
        # Nobody escapes the letters, digits and dashes of a code.
        return wanted and not any(value in raw for value in values)

    return shut


def _says(raw: str) -> bool:
    return bool(raw) and raw != NULL and bool(raw.strip())


def _values(term: re.Match[str]) -> list[str]:
    return term["values"].split() if "in" in term["op"] else [term["values"]]


def _term(text: str) -> tuple[Condition, Reads]:
    found = _TERM.match(text)
    if not found:
        raise HieError(Category.INVALID, f"`when`: `{text}` must be a term such as `PV1-2 = P`")
    name = found["segment"]
    if not found["field"]:
        wanted = not found["not"]
        return (lambda context: (context.find(name) is not None) is wanted), frozenset()
    field, part = int(found["field"]), int(found["part"] or 0)
    reads = frozenset({(name, field)})
    if not found["op"]:
        wanted = not found["not"]
        return (lambda context: _has_value(context, name, field, part) is wanted), reads
    given = _values(found)
    wanted = found["op"] in ("=", "in")
    return _one_of(Place(segment=name, field=field, component=part), given, wanted=wanted), reads


def _one_of(place: Place, given: Iterable[str], *, wanted: bool) -> Condition:
    """Whether a value is one of those given, or is not."""
    values = frozenset(given)
    name, field, part = place.segment, place.field, place.component or 1

    def check(context: Context) -> bool:
        segment = context.find(name)
        raw = segment.field(field) if segment is not None else ""
        if part == 1 and (not raw or raw.isalnum()):  # nothing to cut: most codes
            return (raw in values) is wanted
        return (context.value(name, field, part) in values) is wanted

    return check


def _has_value(context: Context, name: str, field: int, part: int) -> bool:
    if part:
        return bool(context.value(name, field, part))
    segment = context.find(name)
    return segment is not None and _says(segment.field(field))


def key(parts: Iterable[str], key_of: KeyOf, anchor: str) -> KeyPart:
    """A business key; () where one of its parts has no value.

    Args:
        parts: as in the table.
        key_of: finds the key of another draft.
        anchor: the segment each resource is made of. Parts before the first that reads it are
            the same for all its neighbours and worked out once.
    """
    compiled = [_key_part(part, key_of) for part in parts]
    own = next((n for n, part in enumerate(compiled) if anchor in part.segments), len(compiled))
    outer, inner = compiled[:own], compiled[own:]
    names = frozenset(name for part in outer for name in part.segments)

    def build(context: Context) -> tuple[str, ...]:
        node = context.node
        # Where the neighbours of the resource stand: its own group, or the one around it.
        is_here = not names.isdisjoint(node.segments)
        memo_key = ("key", id(outer), id(node if is_here else node.parent))
        first: tuple[str, ...] | None = context.memo.get(memo_key)
        if first is None:
            first = context.memo[memo_key] = _joined(outer, context)
        if not first:
            return ()
        if not inner:
            return first
        last = _joined(inner, context)
        return first + last if last else ()

    return build


@dataclass(frozen=True, slots=True)
class _Part:
    make: KeyPart
    is_maybe: bool = False
    segments: frozenset[str] = frozenset()


def _joined(parts: Iterable[_Part], context: Context) -> tuple[str, ...]:
    found: list[str] = []
    for part in parts:
        values = part.make(context)
        if not values and not part.is_maybe:
            return ()
        found += values or ("",)
    return tuple(found)


def _key_part(text: str, key_of: KeyOf) -> _Part:
    if text.startswith("@"):
        rule = text[1:]
        return _Part(lambda context: key_of(context, rule))
    found = _KEY.match(text)
    if not found:
        return _Part(lambda _context: (text,))
    name, field, kind = found["segment"], int(found["field"]), found["kind"]
    make = _KINDS[kind](name, field) if kind else _text_part(name, field, int(found["part"] or 0))
    return _Part(make, bool(found["maybe"]), frozenset({name}))


def _text_part(name: str, field: int, part: int) -> KeyPart:
    def make(context: Context) -> tuple[str, ...]:
        text = context.value(name, field, part)
        return (text,) if text else ()

    return make


def _first_raw(context: Context, name: str, field: int) -> str:
    segment = context.find(name)
    raw = segment.field(field) if segment is not None else ""
    return raw.split(context.repetition_mark, 1)[0]


def _cx_part(name: str, field: int) -> KeyPart:
    def make(context: Context) -> tuple[str, ...]:
        raw = _first_raw(context, name, field)
        return (cx_key(raw, context) or ()) if raw else ()

    return make


def _ei_part(name: str, field: int) -> KeyPart:
    def make(context: Context) -> tuple[str, ...]:
        raw = _first_raw(context, name, field)
        return (ei_key(raw, context) or ()) if raw else ()

    return make


def _code_part(name: str, field: int) -> KeyPart:
    def make(context: Context) -> tuple[str, ...]:
        parts = Parts(_first_raw(context, name, field), context)
        code = parts(1) or parts(4)
        text = "" if code else parts(2) or parts(9)
        return (code or text, parts(3)) if code or text else ()

    return make


def _own_part(name: str, field: int) -> KeyPart:
    def make(context: Context) -> tuple[str, ...]:
        found = own_identifier(context, name, field)
        return (found.system, found.value) if found else ()

    return make


_KINDS: Final[dict[str, Callable[[str, int], KeyPart]]] = {
    "CX": _cx_part,
    "EI": _ei_part,
    "code": _code_part,
    "own": _own_part,
}


def own_identifier(
    context: Context, name: str, field: int, system: str = ""
) -> SourceIdentifier | None:
    """The identifier of a repeating CX field that the source itself keeps.

    Args:
        context: the message's.
        name: the segment, `PID`.
        field: where the list stands, 3.
        system: the authority to look for; empty = the source's own.

    Returns:
        The one of that authority; else the medical record number; else the first.
    """
    segment = context.find(name)
    raw = segment.field(field) if segment is not None else ""
    wanted = system or context.source.own_authority
    found: list[SourceIdentifier] = []
    if context.segment is None:
        context.segment, context.field = segment, field  # where findings stand
    for part in raw.split(context.repetition_mark):
        identifier = identifier_of(part, context, is_own=True)
        if identifier is not None:
            if identifier.system == wanted and identifier.type == "MR":
                return identifier  # nothing ranks higher
            found.append(identifier)
    ranked = sorted(found, key=lambda item: (item.system != wanted, item.type != "MR"))
    return ranked[0] if ranked else None
