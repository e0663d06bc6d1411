"""How long: durations of CQ, of the letters of old TQ, and dates moved by them.

Spec: HL7 v2.8.2 2.A.15 (CQ), v2.5.1 2.A.81 (TQ.3); https://hl7.org/fhir/R4/datatypes.html#Duration
"""

import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from adapters.hl7v2.context import Context, Parts
from adapters.hl7v2.quantities import UCUM, number
from adapters.hl7v2.temporal import TemporalError, date_time
from hie.kernel.fhir import FhirJson

#: Names of units of time to UCUM's: a table of config/terminology.
TIME_UNITS: Final = "time-unit"
#: Lengths that do not depend on the calendar.
_SECONDS: Final = {"s": 1, "min": 60, "h": 3_600, "d": 86_400, "wk": 604_800}
#: `D10`, `M30`: a letter of table 0335 and how many.
_LETTERED: Final = re.compile(r"([SMHDWL])(\d{1,4})", re.IGNORECASE | re.ASCII)
_LETTERS: Final = {"S": "s", "M": "min", "H": "h", "D": "d", "W": "wk", "L": "mo"}
_HAS_TIME: Final = 10
#: A Duration's value and unit, as FHIR has them.
Length = tuple[Decimal, str]


def time_unit(text: str, context: Context) -> str:
    """The UCUM unit of time a name means; "" where it is none."""
    concept = context.terminology.map(TIME_UNITS).translate(text) if text else None
    return concept.target if concept else ""


def length_of(amount: str, unit: str, context: Context) -> Length | None:
    """A number and the name of its unit; None where either says nothing."""
    value, code = number(amount), time_unit(unit, context)
    return (value, code) if value is not None and value > 0 and code else None


def lettered(text: str) -> Length | None:
    """The length a TQ.3 or TQ.11 names, `D10`; None for what is none."""
    found = _LETTERED.fullmatch(text.strip())
    return (Decimal(found[2]), _LETTERS[found[1].upper()]) if found and int(found[2]) else None


def as_duration(length: Length) -> FhirJson:
    """A Duration, or a Quantity of time, of a length."""
    value, code = length
    return {"value": value, "unit": code, "system": UCUM, "code": code}


def _cq(raw: str, context: Context) -> Length | None:
    """The length of a CQ, of one within a component too."""
    if context.component not in raw:
        raw = raw.replace(context.sub, context.component)
    parts = Parts(raw, context)
    for name in (parts(2), parts(2, 2), parts(3), parts(5)):
        found = length_of(parts(1), name, context)
        if found:
            return found
    if parts(1) and not parts(2) and (found := lettered(parts(1))):
        return found
    context.report("datatype", "must be a number and a unit of time", component=1)
    return None


def duration(raw: str, context: Context) -> FhirJson | None:
    """A Duration of a CQ."""
    found = _cq(raw, context)
    return as_duration(found) if found else None


def duration_value(raw: str, context: Context) -> Decimal | None:
    """The number of a CQ of time."""
    found = _cq(raw, context)
    return found[0] if found else None


def duration_unit(raw: str, context: Context) -> str | None:
    """The UCUM unit of a CQ of time."""
    found = _cq(raw, context)
    return found[1] if found else None


def minutes(raw: str, context: Context) -> int | None:
    """Whole minutes of a CQ, or of a number whose unit is the companion; minutes unless it says.

    None, reported, for what is no whole number of minutes.
    """
    if context.companion or context.component not in raw:
        text = context.text(raw)
        unit = unit_of(context.companion, context) if context.companion else "min"
        value = number(text)
        found = (value, unit) if value is not None and value > 0 else None
    else:
        found = _cq(raw, context)
    seconds = seconds_of(found) if found else None
    if seconds is None or seconds % 60:
        context.report("datatype", "must be a whole number of minutes, or of a unit of time")
        return None
    return int(seconds // 60)


def unit_of(raw: str, context: Context) -> str:
    """The UCUM unit of time of a CWE, by its code, else its text; "" where it is none."""
    parts = Parts(raw, context)
    return time_unit(parts(1), context) or time_unit(parts(2), context)


def seconds_of(length: Length) -> int | None:
    """Whole seconds; None for months, years and parts of a second."""
    value, code = length
    seconds = value * _SECONDS[code] if code in _SECONDS else None
    return int(seconds) if seconds is not None and seconds == int(seconds) else None


def end_after(raw: str, context: Context) -> str | None:
    """The dateTime a CQ of time after the companion field, a start."""
    return _from_companion(raw, context, back=False)


def minutes_after(raw: str, context: Context) -> str | None:
    """The dateTime a number of minutes after the companion field; None for a bare date."""
    value = number(context.text(raw))
    given = context.text(context.companion.split(context.component, 1)[0])
    try:
        moment = date_time(given, context.zone) if given and value else ""
    except TemporalError:
        return None  # the row that takes the companion itself has said so
    return moved(moment, (value, "min")) if moment and value and value > 0 else None


def start_before(raw: str, context: Context) -> str | None:
    """The dateTime a CQ of time before the companion field, an end."""
    return _from_companion(raw, context, back=True)


def _from_companion(raw: str, context: Context, *, back: bool) -> str | None:
    length = _cq(raw, context)
    given = context.text(context.companion.split(context.component, 1)[0])
    try:
        moment = date_time(given, context.zone) if given else ""
    except TemporalError:
        return None  # the row that takes the companion itself has said so
    return moved(moment, length, back=back) if moment and length else None


def moved(moment: str, length: Length, *, back: bool = False) -> str | None:
    """A FHIR date or dateTime, later (or earlier) by a length; None where that is not exact.

    A date is moved by whole days only, so that no time of day is made up.
    """
    seconds = seconds_of(length)
    if seconds is None:
        return None
    step = timedelta(seconds=-seconds if back else seconds)
    try:
        if len(moment) > _HAS_TIME:
            return (datetime.fromisoformat(moment) + step).isoformat()
        if len(moment) < _HAS_TIME or seconds % 86_400:
            return None
        return (date.fromisoformat(moment) + step).isoformat()
    except (ValueError, OverflowError):
        return None
