"""Checks of one segment's fields, compiled from its definition.

A segment in the usual separators is first laid over one pattern; only what does not fit is
taken apart, to say where it departs: required fields and components, repetitions, dates,
times and numbers, lengths, and coded values.
Spec: HL7 v2.8.2 chapter 2, sections 2.5.3 to 2.5.5, and chapter 2A (data types).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from adapters.hl7v2.er7 import NULL, Segment
from adapters.hl7v2.escape import STANDARD, Delimiters
from adapters.hl7v2.field_forms import FORMS, Part, field_pattern, is_group, pattern_of

_VALUE_TYPE, _VALUE = 2, 5  # OBX-2 names the type of OBX-5


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """What the standard says about a field.

    Attributes:
        least: 1 where it must be valued.
        most: how often it may repeat; -1 without bound, 0 where it was withdrawn.
        part: what stands in it; its data type is `varies` for OBX-5.
    """

    number: int
    least: int
    most: int
    part: Part


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong in a segment: a rule's name and the place; 0 = not that deep."""

    rule: str
    field: int
    repetition: int = 0
    component: int = 0
    subcomponent: int = 0
    detail: str = ""

    @property
    def steps(self) -> tuple[int, int, int, int]:
        """Field, repetition, component, subcomponent."""
        return self.field, self.repetition, self.component, self.subcomponent


class SegmentCheck:
    """All checks of one segment of one version."""

    def __init__(
        self, name: str, specs: Sequence[FieldSpec], value_types: Mapping[str, Part], *, shift: int
    ) -> None:
        """Compile the definition.

        Args:
            name: the segment's.
            specs: the fields in order.
            value_types: what stands in a field whose type another field names.
            shift: 1 for MSH and the like, whose first field is the separator itself.
        """
        self._shift = shift
        self._specs = tuple(spec for spec in specs if spec.number > 2 * shift)
        self._end = max((spec.number for spec in specs), default=0)
        shapes = [(spec.least, spec.most, spec.part) for spec in self._specs]
        self._fits = re.compile(pattern_of(name, shapes, is_header=shift > 0)).fullmatch
        # One for each group of that pattern, in its order.
        self._groups = tuple(_fits(most, part) for _, most, part in shapes if is_group(most, part))
        varying = [spec.number for spec in self._specs if spec.part.datatype == "varies"]
        self._varying = varying[0] if varying == [_VALUE] else 0
        self._value_types = value_types
        self._value_fits: dict[str, Callable[[str], object] | None] = {}

    def troubles(self, segment: Segment, marks: Delimiters) -> Sequence[Trouble]:
        """What is wrong in a segment of this kind; nearly always nothing."""
        if (marks is STANDARD or marks == STANDARD) and self._passes(segment.raw):
            if not self._varying or self._value_passes(segment.fields):
                return ()
            return [*self._value(segment.fields, marks)]
        return [*self._searched(segment.fields, marks)]

    def _passes(self, raw: str) -> bool:
        """Whether a segment is right at first sight, but for a value of varying type."""
        found = self._fits(raw)
        if found is None:
            return False
        if found.lastindex:
            for place, content in enumerate(found.groups()[: found.lastindex]):
                if content and not self._groups[place](content):
                    return False
        return True

    def _searched(self, fields: Sequence[str], marks: Delimiters) -> Iterator[Trouble]:
        size, shift = len(fields), self._shift
        withdrawn = 0
        for spec in self._specs:
            place = spec.number - shift
            raw = fields[place] if place < size else ""
            if raw and spec.most == 0:
                withdrawn = withdrawn or (spec.number if raw != NULL else 0)
            elif raw:
                yield from _field(spec, raw, marks)
            elif spec.least:
                yield Trouble("required-field", spec.number)
        if self._varying:
            yield from self._value(fields, marks)
        if withdrawn:  # one remark a segment: who sends one such field sends several
            yield Trouble("field-withdrawn", withdrawn)
        end = self._end - shift + 1
        extra = next((n for n in range(end, size) if fields[n]), 0)
        if extra:
            yield Trouble("field-unexpected", extra + shift)

    def _value_passes(self, fields: Sequence[str]) -> bool:
        """Whether OBX-5 is of the type that OBX-2 names, at first sight."""
        if len(fields) <= _VALUE or not fields[_VALUE]:
            return True
        kind = fields[_VALUE_TYPE]
        try:
            fits = self._value_fits[kind]
        except KeyError:
            part = self._value_types.get(kind)
            if part is None:
                return True  # not remembered: senders may write anything into OBX-2
            fits = self._value_fits[kind] = _fits(-1, part) if part.is_checked else None
        return fits is None or fits(fields[_VALUE]) is not None

    def _value(self, fields: Sequence[str], marks: Delimiters) -> Iterator[Trouble]:
        part = self._value_types.get(fields[_VALUE_TYPE]) if len(fields) > _VALUE else None
        if part and part.is_checked and fields[_VALUE]:
            spec = FieldSpec(number=_VALUE, least=0, most=-1, part=part)
            yield from _field(spec, fields[_VALUE], marks)


@cache
def _fits(most: int, part: Part) -> Callable[[str], object]:
    """Whether a field's content is right; few types serve all fields."""
    return re.compile(f"(?a:{field_pattern(most, part)})").fullmatch


def _field(spec: FieldSpec, raw: str, marks: Delimiters) -> Iterator[Trouble]:
    """What is wrong in a field that is valued and may be."""
    is_text = spec.part.is_text
    repetitions = raw.split(marks.repetition) if marks.repetition else [raw]
    for number, text in enumerate(repetitions if spec.part.is_checked else (), 1):
        if not text or text == NULL:
            continue
        parts = text.split(marks.component) if marks.component and not is_text else [text]
        for rule, component, sub, detail in _components(spec.part, parts, marks):
            yield Trouble(rule, spec.number, number, component, sub, detail)
    if 0 < spec.most < len(repetitions):
        yield Trouble("field-repeats", spec.number, spec.most + 1, detail=str(spec.most))


def _components(
    part: Part, parts: Sequence[str], marks: Delimiters
) -> Iterator[tuple[str, int, int, str]]:
    """Rule, component, subcomponent and detail of all that is wrong in a repetition."""
    if not part.parts:
        found = _leaf(part, parts[0], marks)
        if found:
            yield found[0], 1 if len(parts) > 1 else 0, 0, found[1]
        return
    for number, inner in enumerate(part.parts, 1):
        text = parts[number - 1] if number <= len(parts) else ""
        if text:
            for sub, rule, detail in _subcomponents(inner, text, marks):
                # A value sent without its separators is the field's own.
                yield rule, number if len(parts) > 1 or sub else 0, sub, detail
        elif inner.is_required:
            yield "required-component", number, 0, ""


def _subcomponents(part: Part, text: str, marks: Delimiters) -> Iterator[tuple[int, str, str]]:
    """Subcomponent, rule and detail of all that is wrong in a component that is valued."""
    if not part.parts:
        if found := _leaf(part, text, marks):
            yield 0, *found
        return
    subs = text.split(marks.subcomponent) if marks.subcomponent else [text]
    for number, (inner, sub) in enumerate(zip(part.parts, subs, strict=False), 1):
        # What has parts of its own had no room for them at this depth.
        if not inner.parts and (found := _leaf(inner, sub, marks)):
            yield number if len(subs) > 1 else 0, *found


def _leaf(part: Part, text: str, marks: Delimiters) -> tuple[str, str] | None:
    """Rule and detail of what is wrong with a value; None when nothing is."""
    first = text
    if marks.subcomponent and not part.is_text:
        first = text.partition(marks.subcomponent)[0]
    if not first or first == NULL:
        return None
    form = FORMS.get(part.datatype)
    if form and not form.matches(first):
        return "datatype", form.words
    if part.values and first not in part.values:
        return "table-value", part.table
    if 0 < part.longest < len(first):
        return "field-length", str(part.longest)
    return None
