"""HL7 v2 in its vertical-bar form: a lazy tokenizer that gives back every byte it was given.

Law of this file: nothing a sender wrote is dropped or changed. Only the segment borders are
found at once; fields, repetitions, components and escapes are cut when somebody asks.
Spec: HL7 v2.8.2 chapter 2, sections 2.5 (message construction) and 2.7 (escape sequences).
"""

import re
from functools import lru_cache
from typing import Final

from adapters.hl7v2 import charset as charsets
from adapters.hl7v2.escape import STANDARD, Delimiters, unescape
from hie.kernel.envelope import Finding
from hie.kernel.errors import Category, HieError, Issue

__all__ = ["NULL", "Delimiters", "Element", "Message", "Segment", "parse", "unescape"]


class _Null(str):
    __slots__ = ()


#: The explicit null, `""` on the wire: "delete what you have". Compare with `is NULL`.
NULL: Final = _Null('""')

_HEADERS: Final = frozenset({"MSH", "BHS", "FHS"})
_STANDARD: Final = "^~\\&"
_PATH: Final = re.compile(
    r"^(?P<name>[A-Za-z][A-Za-z0-9]{2})(?:\[(?P<sequence>\d+)\])?-(?P<field>\d+)"
    r"(?:\[(?P<repetition>\d+)\])?(?:\.(?P<component>\d+)(?:\.(?P<sub>\d+))?)?$"
)


class _Syntax:
    """What cutting a value needs: the delimiters and, for hexadecimal escapes, the codec."""

    __slots__ = ("codec", "component", "delimiters", "escape", "field", "repetition", "sub")

    def __init__(self, delimiters: Delimiters, codec: str) -> None:
        self.delimiters = delimiters
        self.codec = codec
        self.field = delimiters.field
        self.component = delimiters.component
        self.repetition = delimiters.repetition
        self.escape = delimiters.escape
        self.sub = delimiters.subcomponent

    def text(self, raw: str) -> str:
        """`raw` unescaped, or NULL."""
        if raw == NULL:
            return NULL
        if self.escape and self.escape in raw:
            return unescape(raw, self.delimiters, codec=self.codec)
        return raw


class Element:
    """A repetition of a field, or one of its components.

    Attributes:
        raw: the text as sent, escapes and all.
    """

    __slots__ = ("_syntax", "raw")

    def __init__(self, raw: str, syntax: _Syntax) -> None:
        self.raw = raw
        self._syntax = syntax

    def __repr__(self) -> str:
        return f"<Element of {len(self.raw)} characters>"  # never the value: it may be a name

    @property
    def is_null(self) -> bool:
        """Whether the sender wrote `""`: delete what you have."""
        return self.raw == NULL

    @property
    def text(self) -> str:
        """The whole element unescaped, component marks kept; NULL for `""`.

        Use it where the datatype has no components (ST, TX, FT): a stray `&` or `^` in a
        note is text there, which `value()` would cut off.
        """
        return self._syntax.text(self.raw)

    @property
    def components(self) -> tuple["Element", ...]:
        """All components; () when empty."""
        if not self.raw:
            return ()
        mark = self._syntax.component
        parts = self.raw.split(mark) if mark else [self.raw]
        return tuple([Element(part, self._syntax) for part in parts])

    @property
    def subs(self) -> tuple[str, ...]:
        """All subcomponents of the first component, unescaped; () when empty."""
        first = _part(self.raw, self._syntax.component, 1)
        if not first:
            return ()
        mark = self._syntax.sub
        parts = first.split(mark) if mark else [first]
        return tuple([self._syntax.text(part) for part in parts])

    def component(self, n: int) -> "Element":
        """Component `n`, 1-based; an empty element when absent."""
        return Element(_part(self.raw, self._syntax.component, n), self._syntax)

    def sub(self, n: int) -> str:
        """Subcomponent `n` of (the first component of) this element, unescaped or NULL."""
        return self.value(1, n)

    def value(self, component: int = 1, sub: int = 1) -> str:
        """One leaf, unescaped; "" when absent, NULL for `""`."""
        syntax = self._syntax
        raw = _part(_part(self.raw, syntax.component, component), syntax.sub, sub)
        return syntax.text(raw)


class Segment:
    """One segment, cut into fields when first asked.

    Attributes:
        name: `PID`; empty when the line does not begin with a three-letter segment id.
        sequence: 1-based occurrence of that name in the message.
        position: 0-based place in the message.
        raw: the line as sent, without its end.
    """

    __slots__ = ("_fields", "_shift", "_syntax", "name", "position", "raw", "sequence")

    def __init__(self, raw: str, name: str, sequence: int, position: int, syntax: _Syntax) -> None:
        self.raw = raw
        self.name = name
        self.sequence = sequence
        self.position = position
        self._syntax = syntax
        # MSH-1 is the separator itself, so every later field stands one place earlier.
        self._shift = 1 if name in _HEADERS else 0
        self._fields: list[str] | None = None

    def __repr__(self) -> str:
        return f"<Segment {self.name}[{self.sequence}]>"

    @property
    def delimiters(self) -> Delimiters:
        """The message's separators."""
        return self._syntax.delimiters

    @property
    def fields(self) -> list[str]:
        """The cut line: the name, then the raw fields. Not to be changed by callers."""
        fields = self._fields
        if fields is None:
            fields = self._fields = self.raw.split(self._syntax.field)
        return fields

    @property
    def count(self) -> int:
        """Number of the last field that was sent, empty or not."""
        return len(self.fields) - 1 + self._shift

    def field(self, n: int) -> str:
        """Raw text of field `n`; "" when absent. MSH-1 is the field separator."""
        if self._shift and n == 1:
            return self._syntax.field
        fields = self.fields
        place = n - self._shift
        return fields[place] if 0 < place < len(fields) else ""

    def reps(self, n: int) -> tuple[Element, ...]:
        """The repetitions of field `n`; () when empty."""
        raw = self.field(n)
        if not raw:
            return ()
        mark = self._syntax.repetition
        if not mark or mark not in raw or (self._shift and n <= 2):
            return (Element(raw, self._syntax),)
        return tuple([Element(part, self._syntax) for part in raw.split(mark)])

    def value(self, n: int, component: int = 1, subcomponent: int = 1, repetition: int = 1) -> str:
        """One leaf of field `n`, unescaped; "" when absent, NULL for `""`."""
        raw = self.field(n)
        if not raw or (self._shift and n <= 2):
            return raw
        syntax = self._syntax
        if repetition != 1 or syntax.repetition in raw:
            raw = _part(raw, syntax.repetition, repetition)
        if component != 1 or syntax.component in raw:
            raw = _part(raw, syntax.component, component)
        if subcomponent != 1 or syntax.sub in raw:
            raw = _part(raw, syntax.sub, subcomponent)
        return syntax.text(raw)


class Message:
    """One message, read by `parse`.

    Attributes:
        charset: the Python codec the text was read with.
        findings: what reading had to tolerate.
        segments: all segments in order, Z-segments and unreadable lines included.
    """

    __slots__ = (
        *("_ends", "_named", "_text", "_type", "charset", "delimiters", "findings", "segments"),
    )

    def __init__(
        self,
        segments: tuple[Segment, ...],
        named: dict[str, list[Segment]],
        ends: list[str],
        text: charsets.Text,
        findings: tuple[Finding, ...],
    ) -> None:
        self.segments = segments
        self.delimiters = segments[0].delimiters
        self.charset = text.codec
        self.findings = findings
        self._text = text
        self._ends = ends
        self._named = named
        header = segments[0]
        self._type = (header.value(9, 1), header.value(9, 2), header.value(9, 3))

    def first(self, name: str) -> Segment | None:
        """The first segment of that name."""
        found = self._named.get(name)
        return found[0] if found else None

    def all(self, name: str) -> tuple[Segment, ...]:
        """All segments of that name, in order."""
        return tuple(self._named.get(name, ()))

    def get(self, path: str) -> str:
        """The leaf at `PID-3[2].4.2`, `OBX[2]-5`, unescaped; "" when absent, NULL for `""`.

        Levels that are not named mean the first, so `MSH-9` is `ADT`.

        Raises:
            ValueError: `path` is not such a path.
        """
        name, sequence, n, repetition, component, sub = _steps(path)
        found = self._named.get(name, ())
        if not 0 < sequence <= len(found):
            return ""
        return found[sequence - 1].value(n, component, sub, repetition)

    def encode(self) -> bytes:
        """The message as bytes, identical to what was read."""
        lines = [s.raw + end for s, end in zip(self.segments, self._ends, strict=True)]
        return self._text.encode("".join(lines))

    @property
    def code(self) -> str:
        """MSH-9.1, `ADT`."""
        return self._type[0]

    @property
    def event(self) -> str:
        """MSH-9.2, `A01`."""
        return self._type[1]

    @property
    def trigger(self) -> str:
        """MSH-9.1 and MSH-9.2, `ADT^A01`; `ACK` alone when there is no event."""
        code, event, _ = self._type
        return f"{code}^{event}" if event else code

    @property
    def structure(self) -> str:
        """MSH-9.3 as sent, `ADT_A01`; often empty."""
        return self._type[2]

    @property
    def version(self) -> str:
        """MSH-12.1, `2.5.1`."""
        return self.segments[0].value(12)

    @property
    def control_id(self) -> str:
        """MSH-10."""
        return self.segments[0].value(10)

    @property
    def processing_id(self) -> str:
        """MSH-11.1: `P`, `T` or `D`."""
        return self.segments[0].value(11)

    @property
    def application(self) -> str:
        """MSH-3.1, the sending application."""
        return self.segments[0].value(3)

    @property
    def facility(self) -> str:
        """MSH-4.1, the sending facility."""
        return self.segments[0].value(4)


def parse(payload: bytes, charset: str | None = None) -> Message:
    """The message in a payload: one message, its first segment MSH.

    Args:
        payload: the bytes between the frame's marks; segments end with CR, LF or CRLF.
        charset: overrides MSH-18; an HL7 table 0211 code.

    Raises:
        HieError: INVALID when there is no MSH with a usable field separator. Anything else
            is read, with findings.
    """
    text = charsets.read(payload, charset)
    findings = list(text.findings)
    delimiters = _delimiters(text.body, findings)
    syntax = _Syntax(delimiters, text.codec)
    lines, ends = _lines(text.body, delimiters.field, findings)
    mark = delimiters.field
    named: dict[str, list[Segment]] = {}
    segments: list[Segment] = []
    for position, raw in enumerate(lines):
        # A segment's name has three characters and a separator or the line's end behind it.
        name = raw[:3] if raw[3:4] == mark or len(raw) == 3 else ""
        found = named.get(name)
        if found is None:
            if not (name.isalnum() and name.isascii()):
                name = ""  # what is no name must not be told as one, in findings and answers
            found = named.setdefault(name, [])
        segment = Segment(raw, name, len(found) + 1, position, syntax)
        found.append(segment)
        segments.append(segment)
    return Message(tuple(segments), named, ends, text, tuple(findings))


def _delimiters(body: str, findings: list[Finding]) -> Delimiters:
    mark = body[3:4]
    if body[:3] != "MSH" or not mark or mark.isalnum() or not mark.isprintable():
        fault = Issue(text="a message must begin with `MSH` and a separator", code="structure")
        raise HieError(Category.INVALID, fault.text, [fault])
    found = body[4:12].partition(mark)[0].partition("\r")[0].partition("\n")[0]
    if not found or found[0].isalnum():
        findings.append(charsets.note("encoding-characters", "`MSH-2` not usable, standard taken"))
        found = _STANDARD
    return _separators(mark, found)


@lru_cache(maxsize=64)
def _separators(mark: str, encoding: str) -> Delimiters:
    component, repetition, escape, subcomponent = (encoding[n : n + 1] for n in range(4))
    found = Delimiters(mark, component, repetition, escape, subcomponent)
    return STANDARD if found == STANDARD else found


def _lines(body: str, field: str, findings: list[Finding]) -> tuple[list[str], list[str]]:
    """The segments' lines and what ended each; blank lines belong to the end before them."""
    lines = body.split("\r")
    if "\n" not in body and "" not in lines[:-1]:
        ends = ["\r"] * len(lines)
        if lines[-1]:
            ends[-1] = ""
        else:
            del lines[-1], ends[-1]
        return lines, ends
    if "\n" in body:
        findings.append(charsets.note("segment-end", "segments should end with CR alone"))
    # A lone LF ends a segment only where a segment begins behind it; else it is text.
    border = re.compile(
        rf"(\r[\r\n]*|\n(?=[A-Za-z][A-Za-z0-9]{{2}}(?:[\r\n{re.escape(field)}]|\Z)))"
    )
    pieces = [*border.split(body), ""]
    lines, ends = [], []
    for line, end in zip(pieces[::2], pieces[1::2], strict=True):
        kept = line.rstrip("\n")
        if kept:
            lines.append(kept)
            ends.append(line[len(kept) :] + end)
    return lines, ends


def _part(raw: str, mark: str, n: int) -> str:
    """Part `n`, 1-based, of `raw` cut at `mark`; "" when absent."""
    if not mark or mark not in raw:
        return raw if n == 1 else ""
    parts = raw.split(mark, n)
    return parts[n - 1] if 0 < n <= len(parts) else ""


@lru_cache(maxsize=4096)
def _steps(path: str) -> tuple[str, int, int, int, int, int]:
    found = _PATH.match(path)
    if not found:
        raise ValueError("path must look like `PID-3[2].4.2`")
    numbers = [found[part] for part in ("sequence", "field", "repetition", "component", "sub")]
    sequence, field, repetition, component, sub = (int(n) if n else 1 for n in numbers)
    return found["name"], sequence, field, repetition, component, sub
