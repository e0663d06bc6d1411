"""Checks of one segment's fields, compiled from its definition.

Only what can be wrong is looked at: required fields, repetitions, dates, times and numbers,
and coded values. Lengths are not checked: hardly a sender keeps them.
Spec: HL7 v2.8.2 chapter 2A (data types).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Final

from adapters.hl7v2.er7 import NULL, Delimiters, Segment

_LONG, _SHORT, _FEBRUARY = "(?:0[13578]|1[02])", "(?:0[469]|11)", "02"
_DAYS: Final = ((_LONG, r"[12]\d|3[01]"), (_SHORT, r"[12]\d|30"), (_FEBRUARY, r"[12]\d"))
_DAY: Final = "(?:" + "|".join(f"{month}(?:0[1-9]|{days})" for month, days in _DAYS) + ")"
_MONTH: Final = "(?:0[1-9]|1[0-2])"
_CLOCK: Final = r"(?:[01]\d|2[0-3])(?:[0-5]\d(?:[0-5]\d(?:\.\d{1,6})?)?)?"
_ZONE: Final = r"(?:[+-](?:0\d|1[0-4])[0-5]\d)?"

#: Data type to the form of its value and the words for it.
FORMS: Final[Mapping[str, tuple[re.Pattern[str], str]]] = MappingProxyType(
    {
        "DT": (re.compile(rf"\d{{4}}(?:{_DAY}|{_MONTH})?"), "a date (YYYYMMDD)"),
        "TM": (re.compile(f"{_CLOCK}{_ZONE}"), "a time (HHMMSS)"),
        "TS": (
            re.compile(rf"\d{{4}}(?:{_DAY}(?:{_CLOCK})?|{_MONTH})?{_ZONE}"),
            "a time stamp (YYYYMMDDHHMMSS)",
        ),
        "DTM": (
            re.compile(rf"\d{{4}}(?:{_DAY}(?:{_CLOCK})?|{_MONTH})?{_ZONE}"),
            "a time stamp (YYYYMMDDHHMMSS)",
        ),
        "NM": (re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)"), "a number"),
        "SI": (re.compile(r"\d+"), "a sequence number"),
    }
)
#: Of a composite's components only these are looked at: validity periods and the like.
_DATED: Final = frozenset({"DT", "TS", "DTM"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """What the standard says about a field.

    Attributes:
        datatype: `CX`; `varies` for OBX-5.
        components: data types of its components, first to last; () for a simple type.
        table: code of the table its (first) value is of; empty for none.
        values: that table's values; empty = not checked.
    """

    number: int
    is_required: bool
    repeats: bool
    datatype: str
    components: tuple[str, ...] = ()
    table: str = ""
    values: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong in a segment: a rule's name and the place; 0 = not that deep."""

    rule: str
    field: int
    repetition: int = 0
    component: int = 0
    detail: str = ""

    @property
    def steps(self) -> tuple[int, int, int]:
        """Field, repetition, component."""
        return self.field, self.repetition, self.component


@dataclass(frozen=True, slots=True)
class _Test:
    component: int
    holds: Callable[[str], object]
    rule: str
    detail: str


@dataclass(frozen=True, slots=True)
class _Check:
    """The tests of one field.

    Attributes:
        place: in the cut line.
        passes: settles the usual value without cutting it; None where components are tested.
        least: separators that a value must have before the first test can fail.
    """

    place: int
    passes: Callable[[str], object] | None
    least: int
    tests: tuple[_Test, ...]


class SegmentCheck:
    """All checks of one segment of one version."""

    def __init__(self, specs: Sequence[FieldSpec], *, shift: int = 0) -> None:
        """Compile the definition.

        Args:
            specs: the fields in order.
            shift: 1 for MSH, whose first field is the separator itself.
        """
        self._shift = shift
        kept = [spec for spec in specs if spec.number > 2 * shift]
        self._end = max((spec.number for spec in specs), default=0) - shift + 1
        self._required = tuple(spec.number - shift for spec in kept if spec.is_required)
        self._single = tuple(spec.number - shift for spec in kept if not spec.repeats)
        checks = [check for spec in kept if (check := _compile(spec, shift))]
        self._plain = tuple((c.place, c.passes, c) for c in checks if c.passes)
        self._deep = tuple((c.place, c.least, c) for c in checks if not c.passes)
        varying = [spec.number for spec in kept if spec.datatype == "varies"]
        self._varying = varying[0] if varying else 0

    def troubles(self, segment: Segment, marks: Delimiters) -> Sequence[Trouble]:
        """What is wrong in a segment of this kind; nearly always nothing."""
        fields = segment.fields
        size = len(fields)
        found = [n for n in self._required if n >= size or not fields[n]]
        troubles = [Trouble("required-field", n + self._shift) for n in found]
        for check in self._suspects(fields, size, marks.component):
            troubles += _failures(check, self._shift, fields[check.place], marks)
        if self._varying:
            troubles += self._value(fields, marks)
        if size > self._end:
            extra = (n for n in range(self._end, size) if fields[n])
            troubles += [Trouble("field-unexpected", n + self._shift) for n in islice(extra, 1)]
        # MSH-2 is the list of separators itself.
        if marks.repetition and segment.raw.count(marks.repetition) > self._shift:
            troubles += self._repeated(fields, marks)
        return troubles

    def _suspects(self, fields: Sequence[str], size: int, component: str) -> list[_Check]:
        """The checks whose field does not pass at first sight."""
        found = []
        for place, passes, check in self._plain:
            if place >= size:
                break
            raw = fields[place]
            if raw and not passes(raw):
                found.append(check)
        for place, least, check in self._deep if component else ():
            if place >= size:
                break
            if fields[place].count(component) >= least:
                found.append(check)
        return found

    def _value(self, fields: Sequence[str], marks: Delimiters) -> Iterable[Trouble]:
        """OBX-5, whose type stands in OBX-2."""
        place = self._varying
        if place >= len(fields) or fields[2] not in FORMS:
            return ()
        pattern, words = FORMS[fields[2]]
        if not fields[place] or pattern.fullmatch(fields[place]):
            return ()
        test = _Test(1, pattern.fullmatch, "datatype", words)
        return _failures(_Check(place, None, 0, (test,)), 0, fields[place], marks)

    def _repeated(self, fields: Sequence[str], marks: Delimiters) -> Iterator[Trouble]:
        for place in self._single:
            if place < len(fields) and marks.repetition in fields[place]:
                yield Trouble("field-repeats", place + self._shift, 2)


def _compile(spec: FieldSpec, shift: int) -> _Check | None:
    place = spec.number - shift
    form = FORMS.get(spec.datatype)
    if form:
        test = _Test(1, form[0].fullmatch, "datatype", form[1])
        return _Check(place, form[0].fullmatch, 0, (test,))
    tests = [
        _Test(n, FORMS[kind][0].fullmatch, "datatype", FORMS[kind][1])
        for n, kind in enumerate(spec.components, 1)
        if kind in _DATED
    ]
    if spec.values:
        is_value = spec.values.__contains__
        tests.append(_Test(1, is_value, "table-value", spec.table))
        if len(tests) == 1:
            return _Check(place, is_value, 0, tuple(tests))
    if not tests:
        return None
    return _Check(place, None, min(test.component for test in tests) - 1, tuple(tests))


def _failures(check: _Check, shift: int, raw: str, marks: Delimiters) -> Iterator[Trouble]:
    """Every test of a field on every repetition."""
    repetitions = raw.split(marks.repetition) if marks.repetition else [raw]
    for repetition, text in enumerate(repetitions, 1):
        parts = text.split(marks.component) if marks.component else [text]
        size = len(parts)
        for test in check.tests:
            leaf = parts[test.component - 1] if test.component <= size else ""
            if not leaf or test.holds(leaf) or leaf == NULL:
                continue
            first = leaf.partition(marks.subcomponent)[0] if marks.subcomponent else leaf
            if first and not test.holds(first):
                component = test.component if size > 1 else 0
                number = check.place + shift
                yield Trouble(test.rule, number, repetition, component, test.detail)
