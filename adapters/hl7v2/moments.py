"""When what a message says was so: the event time that decides which version is the later one.

The order is the sender's own, so a time without an offset counts as one all the same: times of
one source are only compared with each other, and none of this is shown to anybody.
Spec: HL7 v2.8.2 chapter 3 (EVN-2), chapter 4 (OBR-22), chapter 2 (MSH-7)
"""

from collections.abc import Sequence
from datetime import UTC
from typing import Final

from adapters.hl7v2.context import Context
from adapters.hl7v2.mapmodel import Place
from adapters.hl7v2.temporal import TemporalError, date_time, moment_us

#: Where a rule that names no `at` looks.
DEFAULT_AT: Final = ("EVN-2", "MSH-7")
_SENT: Final = Place(segment="MSH", field=7)
_HAPPENED: Final = Place(segment="EVN", field=6)


def event_time(context: Context, places: Sequence[Place]) -> int:
    """The first time of day that stands at one of the places, µs; else when the hub got it."""
    for place in places:
        found = _moment(context, place)
        if found is not None:
            return found
    return context.journal[1]


def sent_time(context: Context) -> int:
    """MSH-7 in µs; else when the hub got the message."""
    return event_time(context, (_SENT,))


def said_since(context: Context, places: Sequence[Place]) -> str:
    """Since when it is so, to be shown: a FHIR dateTime, a date where no offset is known.

    When the event happened (EVN-6) counts before when it was recorded; "" where nothing says.
    """
    for place in (_HAPPENED, *places):
        text = context.value(place.segment, place.field, place.component or 1)
        try:
            if text:
                return date_time(text, context.zone)
        except TemporalError:
            continue  # the field's own map says so
    return ""


def _moment(context: Context, place: Place) -> int | None:
    segment = context.find(place.segment)
    raw = segment.field(place.field) if segment is not None else ""
    if not raw:
        return None
    key = ("moment", place.component, raw)
    if key not in context.memo:
        text = context.value(place.segment, place.field, place.component or 1)
        context.memo[key] = _read(text, context) if text else None
    found: int | None = context.memo[key]
    return found


def _read(text: str, context: Context) -> int | None:
    try:
        return moment_us(text, context.zone or UTC)
    except TemporalError:
        return None  # the field's own map says so
