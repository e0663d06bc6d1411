"""A PID segment of a FHIR Patient, by a table: what a query is answered with. Pure.

Which field says what stands in `config/hl7v2/queries.toml`. What FHIR has no table entry for is
left out; nothing is invented.
Spec: HL7 v2.5 3.4.2 (PID); data types CX, XPN, XAD, XTN of chapter 2A.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from adapters.domains import Authority
from adapters.hl7v2.ack import escaped
from adapters.hl7v2.er7 import Delimiters
from adapters.hl7v2.query_tables import PidField, QueryTables
from hie.kernel.fhir import FhirJson

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_TIME: Final = re.compile(
    r"^(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?$"
)
#: The name of a person whose name is not told: empty, then a coded pseudo-name.
#: IHE ITI TF-2 3.9.4.2.2.6 and 3.10.4.1.2.4.
NAMELESS: Final = ("", ("", "", "", "", "", "", "S"))

#: A field's repetition: a text, or components, each a text or subcomponents.
Value = str | tuple[str | tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pen:
    """Writes segments in somebody's separators."""

    marks: Delimiters

    def segment(self, name: str, fields: Mapping[int, Iterable[Value]]) -> str:
        """A segment; fields by number, each with its repetitions."""
        last = max(fields, default=0)
        written = [self._field(fields.get(n, ())) for n in range(1, last + 1)]
        return self.marks.field.join((name, *written)).rstrip(self.marks.field)

    def _field(self, repetitions: Iterable[Value]) -> str:
        mark = self.marks.repetition
        return mark.join(self._repetition(one) for one in repetitions).rstrip(mark)

    def _repetition(self, value: Value) -> str:
        if isinstance(value, str):
            return self._text(value)
        mark, inner = self.marks.component, self.marks.subcomponent
        parts = [
            self._text(part)
            if isinstance(part, str)
            else inner.join(self._text(sub) for sub in part).rstrip(inner)
            for part in value
        ]
        return mark.join(parts).rstrip(mark)

    def _text(self, text: str) -> str:
        return escaped(_CONTROL.sub(" ", text), self.marks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Which identifiers are told, and how their domains are written.

    Attributes:
        takes: whether an identifier system is told.
        authority: how a system is written.
    """

    takes: Callable[[str], bool]
    authority: Callable[[str], Authority]

    def written(self, identifiers: Iterable[FhirJson]) -> Iterator[Value]:
        """Data type CX of each identifier that is told."""
        for one in identifiers:
            system, value = one.get("system"), one.get("value")
            if isinstance(system, str) and isinstance(value, str) and self.takes(system):
                yield (value, "", "", tuple(self.authority(system)), _type_of(one))


class PidWriter:
    """Writes PIDs by the table."""

    def __init__(self, tables: QueryTables) -> None:
        self._tables = tables
        self._kinds: Mapping[str, Callable[[FhirJson, Any, PidField], Value]] = MappingProxyType(
            {
                "XPN": lambda _, name, __: self._name(name),
                "XAD": lambda _, address, __: self._address(address),
                "XTN": lambda _, point, __: self._contact(point),
                "family": lambda _, extension, row: (str(extension.get(row.value, "")),),
                "date": lambda _, value, __: str(value).replace("-", ""),
                "time": lambda _, value, __: _time(str(value)),
                "code": lambda _, value, row: self._tables.codes[row.codes].get(str(value), ""),
                "number": lambda _, value, __: str(value),
                "flag": lambda _, value, __: "Y" if value else "N",
            }
        )

    def fields(self, patient: FhirJson, numbers: Numbers) -> dict[int, list[Value]]:
        """The fields of a Patient's PID, by number."""
        found: dict[int, list[Value]] = {}
        for row in self._tables.pid:
            if row.kind == "CX":
                values = list(numbers.written(_values(patient, row)))
            else:
                write = self._kinds[row.kind]
                values = [write(patient, value, row) for value in _values(patient, row)]
            kept = [value for value in values if any(value)]
            if kept:
                found.setdefault(row.field, []).extend(kept)
        return found

    def _code(self, table: str, value: object) -> str:
        return self._tables.codes[table].get(str(value), "")

    def _name(self, name: FhirJson) -> Value:
        given = [str(part) for part in name.get("given") or ()]
        return (
            str(name.get("family") or ("" if given else name.get("text", ""))),
            given[0] if given else "",
            " ".join(given[1:]),
            " ".join(map(str, name.get("suffix") or ())),
            " ".join(map(str, name.get("prefix") or ())),
            "",
            self._code("name-use", name.get("use")),
        )

    def _address(self, address: FhirJson) -> Value:
        lines = [str(line) for line in address.get("line") or ()]
        return (
            lines[0] if lines else "",
            " ".join(lines[1:]),
            str(address.get("city", "")),
            str(address.get("state", "")),
            str(address.get("postalCode", "")),
            str(address.get("country", "")),
            self._code("address-use", address.get("use")),
            "",
            str(address.get("district", "")),
        )

    def _contact(self, point: FhirJson) -> Value:
        kind, value = str(point.get("system", "")), str(point.get("value", ""))
        if not value:
            return ""
        equipment = self._code("telecom-system", kind)
        if kind == "email":
            return ("", "NET", equipment, value)
        return (value, self._code("telecom-use", point.get("use")), equipment)


def _values(patient: FhirJson, row: PidField) -> list[Any]:
    """What a row is about, of a Patient: each repetition of its element."""
    found = patient.get(row.element)
    if found is None:
        return []
    values = found if isinstance(found, list) else [found]
    if row.url:
        return [one for one in values if one.get("url") == row.url]
    if row.use or row.unless_use:
        return [one for one in values if _is_used(one.get("use", ""), row)]
    return values


def _is_used(use: str, row: PidField) -> bool:
    return use == row.use if row.use else use != row.unless_use


def _type_of(identifier: FhirJson) -> str:
    """CX-5, table 0203."""
    codings = (identifier.get("type") or {}).get("coding") or ()
    return str(next((c["code"] for c in codings if c.get("code")), ""))


def _time(written: str) -> str:
    """A FHIR dateTime as data type TS; empty where it is none."""
    found = _TIME.match(written)
    if not found:
        return ""
    *digits, zone = found.groups()
    offset = "" if not zone else "+0000" if zone == "Z" else zone.replace(":", "")
    return "".join(part for part in digits if part) + offset
