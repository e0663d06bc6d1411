"""How often: repeat patterns (RPT of TQ1-3, RI of the old TQ) to FHIR Timing and Dosage.

Spec: HL7 v2.8.2 2.A.66 (RPT), v2.5.1 2.A.81 (TQ), tables 0335, 0528;
https://hl7.org/fhir/R4/datatypes.html#Timing
"""

import re
from decimal import Decimal
from typing import Final

from adapters.hl7v2 import temporal
from adapters.hl7v2.context import Context, Parts
from adapters.hl7v2.durations import as_duration, length_of, lettered, seconds_of
from adapters.hl7v2.quantities import composite_quantity, number
from hie.kernel.fhir import FhirJson

#: `Q6H`: every six hours; `Q2J135`: every second week on Monday, Wednesday, Friday; `5ID`.
_EVERY: Final = re.compile(r"^Q(\d{1,3})([SMHDWL])$", re.IGNORECASE | re.ASCII)
_ON_DAYS: Final = re.compile(r"^Q(\d{1,2})J([1-7]{1,7})$", re.IGNORECASE | re.ASCII)
_TIMES_A_DAY: Final = re.compile(r"^(\d{1,2})(?:ID|XD)$", re.IGNORECASE | re.ASCII)
_LETTERS: Final = {"S": "s", "M": "min", "H": "h", "D": "d", "W": "wk", "L": "mo"}
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_AS_NEEDED: Final = re.compile(r"\bPRN", re.IGNORECASE)
#: RPT.2: the day of the week from Monday.
_DAY_OF_WEEK: Final = "DW"
#: `X3`: three times in all.
_TIMES: Final = re.compile(r"X(\d{1,4})", re.IGNORECASE | re.ASCII)
#: A patient has at most so many instructions for one medicine.
_DOSAGES: Final = 20


def timing(raw: str, context: Context) -> FhirJson | None:
    """A Timing: the code and text of the pattern, and its rhythm where the table knows it."""
    parts = Parts(raw, context)
    pattern, text = parts(1), parts(1, 2)
    found = _coded(pattern, text, context)
    repeat = _rhythm(pattern, context) if pattern else {}
    if "period" not in repeat:
        repeat = {**_period(parts, context), **repeat}
    if len(parts) > 2:
        _refine(repeat, parts, context)
    if repeat:
        found["repeat"] = repeat
    return found or None


def _coded(pattern: str, text: str, context: Context) -> FhirJson:
    if not text and not pattern:
        return {}
    concept: FhirJson = {"text": text or pattern}
    known = context.terminology.map("repeat-code").translate(_bare(pattern)) if pattern else None
    if known and known.target:
        concept = {"coding": [known.coding()], **concept}
    return {"code": concept}


def _bare(pattern: str) -> str:
    """The pattern without its PRN."""
    return _AS_NEEDED.sub("", pattern).strip()


def _rhythm(pattern: str, context: Context) -> FhirJson:
    word = _bare(pattern) or pattern
    every, on_days = _EVERY.match(word), _ON_DAYS.match(word)
    if every and int(every[1]):
        unit = _LETTERS[every[2].upper()]
        return {"frequency": 1, "period": Decimal(every[1]), "periodUnit": unit}
    if on_days and int(on_days[1]):
        days = [_DAYS[int(day) - 1] for day in dict.fromkeys(on_days[2])]
        return {"period": Decimal(on_days[1]), "periodUnit": "wk", "dayOfWeek": days}
    times = _TIMES_A_DAY.match(word)
    if times and int(times[1]):
        return {"frequency": int(times[1]), "period": Decimal(1), "periodUnit": "d"}
    return _known_rhythm(word, context)


def _known_rhythm(word: str, context: Context) -> FhirJson:
    concept = context.terminology.map("repeat-pattern").translate(word)
    context.answered(concept)
    if concept is None:
        context.unmapped("repeat-pattern", word, component=1)
        return {}
    if not concept.target:
        return {}
    frequency, period, unit, *when = concept.target.split("/")
    found: FhirJson = {"frequency": int(frequency), "period": Decimal(period), "periodUnit": unit}
    return {**found, "when": when} if when else found


def _period(parts: Parts, context: Context) -> FhirJson:
    """The rhythm of RPT.5 and RPT.6, for a pattern that has none of its own."""
    length = length_of(parts(5), parts(6), context) if len(parts) > 5 else None
    if length is None:
        return {}
    return {"frequency": 1, "period": length[0], "periodUnit": length[1]}


def _refine(repeat: FhirJson, parts: Parts, context: Context) -> None:
    """Add the days of the week (RPT.2-4) and the event with its offset (RPT.8-10)."""
    if parts(2) == _DAY_OF_WEEK:
        days = [_DAYS[int(n) - 1] for n in (parts(3), parts(4)) if n in tuple("1234567")]
        if days:
            repeat["dayOfWeek"] = list(dict.fromkeys(days))
    if event := parts(8):
        concept = context.terminology.map("event-period").translate(event)
        context.answered(concept)
        if concept is None:
            context.unmapped("event-period", event, component=8)
        elif concept.target:
            # Exactly this event, whatever the pattern says of events in general.
            repeat["when"] = [concept.target]
    length = length_of(parts(9), parts(10), context) if "when" in repeat else None
    seconds = seconds_of(length) if length else None
    if seconds is not None and seconds % 60 == 0:
        repeat["offset"] = seconds // 60


def as_needed(raw: str, context: Context) -> bool | None:
    """True where the pattern or priority says PRN; None otherwise."""
    return True if _AS_NEEDED.search(Parts(raw, context)(1)) else None


def period_of(raw: str, context: Context) -> FhirJson | None:
    """A Timing.repeat of a relative time (TQ1-5): once every so long."""
    parts = Parts(raw, context)
    length = length_of(parts(1), parts(2), context)
    return {"frequency": 1, "period": length[0], "periodUnit": length[1]} if length else None


def per_time(raw: str, context: Context) -> FhirJson | None:
    """The Quantity of time that an amount is given per (RXE-22), `H8` or `8 hours`."""
    text = context.text(raw)
    length = lettered(text)
    if length is None:
        first, _, rest = text.partition(" ")
        length = length_of(first, rest, context) or length_of("1", text, context)
    return as_duration(length) if length else None


def old_dosages(raw: str, context: Context) -> list[FhirJson] | None:
    """Dosages of the repetitions of a TQ (RXE-1, ORC-7), one each.

    The amount (TQ.1) of the first is left to the order, which says it better.
    """
    parts = [part for part in raw.split(context.repetition_mark) if part][:_DOSAGES]
    found = [_old_dosage(part, context) for part in parts]
    for place, dosage in enumerate(found if len(found) > 1 else (), start=1):
        dosage["sequence"] = place
        amount = Parts(parts[place - 1], context).raw(1) if place > 1 else ""
        dose = composite_quantity(amount, context) if amount else None
        if dose:
            dosage["doseAndRate"] = [{"doseQuantity": dose}]
    return found if any(found) else None


def _old_dosage(raw: str, context: Context) -> FhirJson:
    parts = Parts(raw, context)
    found: FhirJson = {}
    if text := parts.whole(8):
        found["text"] = text
    if condition := parts.whole(7):
        found["additionalInstruction"] = [{"text": condition}]
    timed = _old_timing(parts, context)
    if timed:
        found["timing"] = timed
    if _AS_NEEDED.search(parts(2)) or _AS_NEEDED.search(parts(6)):
        found["asNeededBoolean"] = True
    return found


def _old_timing(parts: Parts, context: Context) -> FhirJson:
    pattern = parts(2)
    found = _coded(pattern, "", context)
    repeat = _rhythm(pattern, context) if pattern else {}
    times = [time for part in parts(2, 2).split(",") if (time := _time(part))]
    if times:
        repeat.pop("when", None)  # the hours themselves say it better, and FHIR takes one of both
        repeat["timeOfDay"] = times
    repeat |= _old_bounds(parts, context)
    if length := lettered(parts(11)):
        repeat |= {"duration": length[0], "durationUnit": length[1]}
    total = number(parts(12))
    if total is not None and total > 0 and total == int(total):
        repeat["count"] = int(total)
    return {**found, "repeat": repeat} if repeat else found


def _old_bounds(parts: Parts, context: Context) -> FhirJson:
    """From when to when (TQ.4, TQ.5), else for how long or how often (TQ.3)."""
    ends = {"start": _date_time(parts(4), context), "end": _date_time(parts(5), context)}
    found: FhirJson = {}
    if any(ends.values()):
        found["boundsPeriod"] = {name: end for name, end in ends.items() if end}
    elif length := lettered(parts(3)):
        found["boundsDuration"] = as_duration(length)
    times = _TIMES.fullmatch(parts(3))
    if times and int(times[1]):
        found["count"] = int(times[1])
    return found


def _time(text: str) -> str:
    try:
        return temporal.time_only(text) if text else ""
    except temporal.TemporalError:
        return ""


def _date_time(text: str, context: Context) -> str:
    try:
        return temporal.date_time(text, context.zone) if text else ""
    except temporal.TemporalError:
        context.report("datatype", "must be a date or time")
        return ""
