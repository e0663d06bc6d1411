"""Writing HL7 v2 as one sender would: its delimiters, character set, times and codes."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from hie.demo.lists import Clinician, Sender
from hie.demo.people import plain_letters

#: The assigning authority of practitioner numbers, as HD.1 to HD.3.
NPI: Final = ("NPI", "2.16.840.1.113883.4.6", "ISO")
#: Where the demo's five sources are.
ZONE: Final = ZoneInfo("America/New_York")


class Raw(str):
    """Text already encoded for the wire: delimiters in it are meant."""

    __slots__ = ()


Value = str | tuple[str, ...]


class Dialect:
    """Encodes values, components, repetitions and segments the way one sender does."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        marks = tuple(sender.delimiters)
        self._field, self._component, self._repetition = marks[:3]
        self._sub = marks[4]
        self._escapes = dict(zip(marks, "FSRET", strict=False))
        self._escape = marks[3]

    @property
    def is_old(self) -> bool:
        """Whether the sender writes version 2.3."""
        return self.sender.version == "2.3"

    # -- encoding -----------------------------------------------------------------------

    def text(self, value: str) -> Raw:
        """One leaf: escaped, folded where the sender's wire holds ASCII only."""
        if isinstance(value, Raw):
            return value
        if self.sender.codec == "ascii":
            value = plain_letters(value)
        if self.sender.is_capitals:
            value = value.upper()
        return self.exact(value)

    def exact(self, value: str) -> Raw:
        """One leaf as it is, but for escapes: a code, a unit, a digest."""
        marks, mark = self._escapes, self._escape
        return Raw("".join(f"{mark}{marks[c]}{mark}" if c in marks else c for c in value))

    def parts(self, *values: Value) -> Raw:
        """Components; a tuple is one component of subcomponents. Empty ends are cut."""
        encoded = [self._part(value) for value in values]
        while encoded and not encoded[-1]:
            encoded.pop()
        return Raw(self._component.join(encoded))

    def repeat(self, *values: str) -> Raw:
        """Repetitions; empty ones are left out."""
        return Raw(self._repetition.join(self.text(value) for value in values if value))

    def segment(self, name: str, fields: Mapping[int, str]) -> Raw:
        """A segment of numbered fields; empty ends are cut."""
        filled = {n: self.text(value) for n, value in fields.items() if value}
        last = max(filled, default=0)
        cells = [filled.get(n, "") for n in range(1, last + 1)]
        return Raw(self._field.join([name, *cells]))

    def header(self, fields: Mapping[int, str]) -> Raw:
        """MSH: fields counted as the standard does, MSH-1 being the delimiter itself."""
        rest = self.segment("MSH", {n - 1: value for n, value in fields.items() if n > 2})
        marks = Raw(self.sender.delimiters[1:])
        return Raw(f"MSH{self._field}{marks}{rest[4:]}")

    def message(self, segments: list[Raw]) -> bytes:
        """Segments as bytes in the sender's character set."""
        return "".join(f"{segment}\r" for segment in segments).encode(self.sender.codec)

    # -- data types ---------------------------------------------------------------------

    def time(self, at: datetime) -> str:
        """A time stamp to the second, with the offset where the sender writes one."""
        if not self.sender.has_offset:
            return f"{at:%Y%m%d%H%M%S}"
        return f"{at.replace(tzinfo=ZONE):%Y%m%d%H%M%S%z}"

    def day(self, day: date) -> str:
        """A date."""
        return f"{day:%Y%m%d}"

    def number(self, value: str, kind: str = "MR") -> Raw:
        """CX: a number the sender itself assigns; old systems leave the type out."""
        if self.is_old:
            return self.parts(value, "", "", self.sender.authority)
        return self.parts(value, "", "", self.sender.authority, kind)

    def entity(self, value: str) -> Raw:
        """EI: an order or document number of the sender."""
        return self.parts(value, *self.sender.authority)

    def doctor(self, doctor: Clinician) -> Raw:
        """XCN."""
        names = (doctor.number, doctor.family, doctor.given, "", "", "Dr")
        if self.is_old:
            return self.parts(*names, "", "", "NPI")
        return self.parts(*names, "", "", NPI, "L", "", "", "NPI")

    def code(self, code: str, text: str, system: str) -> Raw:
        """CE or CWE: text alone where there is no code."""
        return self.parts(self.exact(code), text, system if code else "")

    def _part(self, value: Value) -> str:
        if isinstance(value, str):
            return self.text(value)
        subs = [self.text(sub) for sub in value]
        while subs and not subs[-1]:
            subs.pop()
        return self._sub.join(subs)
