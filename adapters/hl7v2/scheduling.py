"""When a visit is booked: the time of an appointment and of each service and resource in it.

An instant needs an offset. Where none is known the date is kept as a requested period and the
instant marked as unknown, which R4 asks of every appointment that is neither proposed nor
cancelled.
Spec: HL7 v2.8.2 10.6 (SCH, AIS, AIG, AIL, AIP); https://hl7.org/fhir/R4/appointment.html
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Final

from adapters.hl7v2 import temporal
from adapters.hl7v2.context import Context
from adapters.hl7v2.durations import Length, moved, unit_of
from adapters.hl7v2.quantities import number
from hie.kernel.fhir import FhirJson

#: Where the beginning of the whole appointment stands, the best first: segment, field, component.
_BEGINNINGS: Final = (("TQ1", 7, 0), ("SCH", 11, 4))
#: Statuses in which R4 wants no time of an appointment (constraint app-3).
_TIMELESS: Final = frozenset({"proposed", "cancelled", "waitlist"})
_ABSENT: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_Read = Callable[[str, Context], str | None]


def _safely(read: Callable[[str, Context], str | None]) -> _Read:
    def reading(text: str, context: Context) -> str | None:
        try:
            return read(text, context) if text else None
        except temporal.TemporalError:
            context.report("datatype", "must be a date or time, `YYYYMMDD[HHMM[SS]][+/-ZZZZ]`")
            return None

    return reading


_instant: Final = _safely(lambda text, context: temporal.instant(text, context.zone))
_date_time: Final = _safely(lambda text, context: temporal.date_time(text, context.zone))


def scheduled(raw: str, context: Context) -> FhirJson | None:
    """A Period of the start of a resource (AIS-4) and its duration, three fields further on."""
    start = _date_time(context.text(raw), context)
    return _span(start, context.field + 3, context) if start else None


def scheduled_offset(raw: str, context: Context) -> FhirJson | None:
    """A Period of an offset (AIS-5) to the start of the appointment, and the duration behind it."""
    start = _shifted(raw, context, _date_time)
    return _span(start, context.field + 2, context) if start else None


def _span(start: str, at: int, context: Context) -> FhirJson:
    length = _field_length(at, context)
    end = moved(start, length) if length else None
    return {"start": start, "end": end} if end else {"start": start}


def _shifted(raw: str, context: Context, read: _Read) -> str | None:
    beginning = _beginning(context, read)
    offset = _length(context.text(raw), context.field + 1, context)
    return moved(beginning, offset) if beginning and offset else None


def _field_length(at: int, context: Context) -> Length | None:
    segment = context.segment
    return _length(context.text(segment.field(at)), at + 1, context) if segment else None


def _length(amount: str, unit_at: int, context: Context) -> Length | None:
    """A number and the unit in a field of the current segment; minutes unless it says."""
    raw = context.segment.field(unit_at) if context.segment is not None else ""
    unit = unit_of(raw, context) if raw else "min"
    value = number(amount)
    return (value, unit) if value is not None and value > 0 and unit else None


def _stand_at_beginning(context: Context) -> None:
    """Stand where the beginning was read, so that a finding names that place."""
    for name, field, component in _BEGINNINGS:
        if context.value(name, field, component):
            context.segment, context.field = context.find(name), field
            return


def _beginning(context: Context, read: _Read) -> str | None:
    found = (read(context.value(*place), context) for place in _BEGINNINGS)
    return next((start for start in found if start), None)


def slot_start(raw: str, context: Context) -> str | None:
    """An instant of the start of a resource; None, reported, where no offset is known."""
    given = context.text(raw)
    found = _instant(given, context)
    if found is None and temporal.has_time(given):
        context.report("no-time-zone", "has no offset and the source no time zone; no instant")
    return found


def slot_end(raw: str, context: Context) -> str | None:
    """The instant a resource's start and duration lead to."""
    start, length = slot_start(raw, context), _field_length(context.field + 3, context)
    return moved(start, length) if start and length else None


def finish_appointment(_raw: str, context: Context) -> None:
    """Complete start, end and length of the Appointment being made from each other."""
    made = context.target
    _complete(made)
    if "start" in made and "end" in made and _is_before(made["end"], made["start"]):
        del made["end"]  # FHIR takes no period that ends before it begins
        _stand_at_beginning(context)
        context.report("period", "ends before it begins; the end is left out")
    # What an earlier message left open is known now.
    context.nulls |= {f"_{name}" for name in ("start", "end") if name in made}
    if made.get("status", "") in _TIMELESS:
        _both_or_none(made)
        return
    if "start" in made:
        context.nulls.add("requestedPeriod")
    else:
        _request(made, context)
    for name in ("start", "end"):
        if name not in made:
            made[f"_{name}"] = _unknown()


def _is_before(one: str, other: str) -> bool:
    return datetime.fromisoformat(one) < datetime.fromisoformat(other)


def _complete(made: FhirJson) -> None:
    if "minutesDuration" not in made:
        return
    length: Length = (Decimal(made["minutesDuration"]), "min")
    if "start" in made and "end" not in made:
        end = moved(made["start"], length)
        made |= {"end": end} if end else {}
    elif "end" in made and "start" not in made:
        start = moved(made["end"], length, back=True)
        made |= {"start": start} if start else {}


def _both_or_none(made: FhirJson) -> None:
    """A cancelled visit needs no times, but R4 takes one only with the other (app-2)."""
    for name, other in (("start", "end"), ("end", "start")):
        if name in made and other not in made:
            made[f"_{other}"] = _unknown()


def _unknown() -> FhirJson:
    return {"extension": [{"url": _ABSENT, "valueCode": "unknown"}]}


def _request(made: FhirJson, context: Context) -> None:
    start = _beginning(context, _date_time)
    if start:
        _stand_at_beginning(context)
        made["requestedPeriod"] = [{"start": start}]
        context.nulls |= {"start", "end"}
        given = next(filter(None, (context.value(*place) for place in _BEGINNINGS)), "")
        if temporal.has_time(given):
            context.report("no-time-zone", "has no offset and the source no time zone; date kept")
        else:
            context.report("datatype", "has no time of day; date kept as the one asked for")
