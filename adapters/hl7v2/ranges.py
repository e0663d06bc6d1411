"""Reference ranges as laboratories write them: the text always, its limits where it has some.

A range that depends on age or sex, or that is a word, stays text alone: a limit that holds for
somebody else is worse than none. FHIR's limits are inclusive and take no comparator, so the
text keeps saying what they leave out.
Spec: HL7 v2.8.2 7.4.2.7 (OBX-7); https://hl7.org/fhir/R4/observation.html (referenceRange)
"""

import re
from decimal import Decimal
from typing import Final

from adapters.hl7v2.context import Context
from adapters.hl7v2.quantities import units_of
from hie.kernel.fhir import FhirJson

_NUMBER: Final = r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))"
_BETWEEN: Final = re.compile(
    rf"{_NUMBER}\s*(?:-|to|thru|through|and|\.\.|\^)\s*{_NUMBER}", re.ASCII
)
_UPPER: Final = re.compile(
    rf"(?:<|<=|less than|below|under|up to|not more than|max(?:imum)?:?)\s*{_NUMBER}", re.ASCII
)
_LOWER: Final = re.compile(
    rf"(?:>|>=|greater than|more than|above|over|at least|min(?:imum)?:?)\s*{_NUMBER}", re.ASCII
)
_UPPER_AFTER: Final = re.compile(rf"{_NUMBER}\s*or\s+(?:less|lower|below)", re.ASCII)
_LOWER_AFTER: Final = re.compile(rf"{_NUMBER}\s*or\s+(?:more|greater|higher|above)", re.ASCII)
_EQUAL: Final = re.compile(r"\s*or\s*(?:=|equal(?:s)?(?: to)?)(?=\s|\d|$)")
#: `4,000`: a comma before three digits parts thousands; any other comma is left alone.
_THOUSANDS: Final = re.compile(r"(?<=\d),(?=\d{3}(?!\d))", re.ASCII)
_SIGNS: Final = str.maketrans(
    {"\u2013": "-", "\u2014": "-", "\u2212": "-", "\u2264": "<=", "\u2265": ">="}
)
#: Longest text looked into; a range has no more to say.
_LONGEST: Final = 60
_BRACKETS: Final = {"(": ")", "[": "]"}


def reference_range(raw: str, context: Context) -> FhirJson | None:
    """An Observation.referenceRange of OBX-7: the text, and its limits where it has some."""
    key = ("range", f"{raw}\n{context.companion}")
    found: FhirJson | None = context.shared.get(key)
    if found is None:
        text = context.text(raw)
        if not text:
            return None
        unit = units_of(context.companion, context)
        found = {**{side: {"value": value, **unit} for side, value in _limits(text, unit)}}
        found["text"] = text
        context.keep(key, found)
    return found.copy()


def _limits(text: str, unit: FhirJson) -> list[tuple[str, Decimal]]:
    """The limits a text states, `low` before `high`; [] when it states none for everybody."""
    if len(text) > _LONGEST:
        return []
    plain = _plain(text, unit)
    between = _BETWEEN.fullmatch(plain)
    if between:
        low, high = Decimal(between[1]), Decimal(between[2])
        return [("low", low), ("high", high)] if low <= high else []
    for side, forms in (("high", (_UPPER, _UPPER_AFTER)), ("low", (_LOWER, _LOWER_AFTER))):
        for form in forms:
            if one := form.fullmatch(plain):
                return [(side, Decimal(one[1]))]
    return []


def _plain(text: str, unit: FhirJson) -> str:
    """The text without brackets, thousands marks, its unit and the many ways to write a sign."""
    text = _THOUSANDS.sub("", text.translate(_SIGNS)).strip()
    if text and _BRACKETS.get(text[0]) == text[-1]:
        text = text[1:-1]
    for name in {unit.get("unit", ""), unit.get("code", "")} - {""}:
        text = text.removesuffix(name)
    text = _EQUAL.sub("=", text.strip().lower())
    return text.replace("=<", "<=").replace("=>", ">=").replace("< =", "<=").replace("> =", ">=")
