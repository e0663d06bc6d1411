"""How often and how long: repeat patterns of orders (TQ1-3, TQ.2) to FHIR Timing.

Spec: HL7 v2.8.2 2.A.66 (RPT), table 0335; https://hl7.org/fhir/R4/datatypes.html#Timing
"""

import re
from decimal import Decimal
from typing import Final

from adapters.hl7v2.context import Context, Parts
from adapters.hl7v2.quantities import number
from hie.kernel.fhir import FhirJson

#: `Q6H`: every six hours. Letters of table 0335 to FHIR units.
_EVERY: Final = re.compile(r"^Q(\d{1,3})([SMHDWL])$", re.IGNORECASE | re.ASCII)
_LETTERS: Final = {"S": "s", "M": "min", "H": "h", "D": "d", "W": "wk", "L": "mo"}
_UNITS: Final = frozenset({"s", "min", "h", "d", "wk", "mo", "a"})
_AS_NEEDED: Final = re.compile(r"\bPRN", re.IGNORECASE)


def timing(raw: str, context: Context) -> FhirJson | None:
    """A Timing: the pattern's text, and its rhythm where the table of patterns knows it."""
    parts = Parts(raw, context)
    pattern, text = parts(1), parts(1, 2)
    found: FhirJson = {"code": {"text": text or pattern}} if text or pattern else {}
    repeat = _rhythm(pattern, context) if pattern else {}
    if not repeat:
        repeat = _period(parts(5), parts(6))
    if repeat:
        found["repeat"] = repeat
    return found or None


def _rhythm(pattern: str, context: Context) -> FhirJson:
    every = _EVERY.match(pattern)
    if every and int(every[1]):
        unit = _LETTERS[every[2].upper()]
        return {"frequency": 1, "period": Decimal(every[1]), "periodUnit": unit}
    word = _AS_NEEDED.split(pattern)[0].strip() or pattern
    concept = context.terminology.map("repeat-pattern").translate(word)
    if concept is None:
        context.unmapped("repeat-pattern", word, component=1)
        return {}
    if not concept.target:
        return {}
    frequency, period, unit, *when = concept.target.split("/")
    found: FhirJson = {"frequency": int(frequency), "period": Decimal(period), "periodUnit": unit}
    return {**found, "when": when} if when else found


def _period(quantity: str, unit: str) -> FhirJson:
    value = number(quantity)
    if value is None or value <= 0 or unit not in _UNITS:
        return {}
    return {"frequency": 1, "period": value, "periodUnit": unit}


def as_needed(raw: str, context: Context) -> bool | None:
    """True where the pattern says PRN; None otherwise."""
    return True if _AS_NEEDED.search(Parts(raw, context)(1)) else None
