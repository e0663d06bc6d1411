"""FHIR dates as the range of time their precision leaves open.

`2013` is the whole year, `2013-01-14T10:00:03.1Z` a tenth of a second: every value is
[lo, hi) in microseconds UTC. A value without a zone is taken in UTC unless told otherwise.
Spec: https://hl7.org/fhir/R4/datatypes.html#dateTime, https://hl7.org/fhir/R4/search.html#date
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from hie.kernel.clock import SECOND_US, micros
from hie.kernel.fhir import FhirJson
from hie.store.query import MAX_US, MIN_US

WRITTEN: Final = re.compile(
    r"^(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d)"
    r"(T(?P<clock>\d\d:\d\d)(:(?P<second>\d\d)(\.(?P<fraction>\d{1,9}))?)?"
    r"(?P<zone>Z|[+-]\d\d:\d\d)?)?)?)?$"
)
MINUTE_US: Final = 60 * SECOND_US
DAY: Final = timedelta(days=1)


@lru_cache(maxsize=8192)
def span(written: str, zone: tzinfo = UTC) -> tuple[int, int] | None:
    """The range of a date, dateTime or instant; None when it is not one.

    Args:
        written: `YYYY`, `YYYY-MM`, `YYYY-MM-DD` or a dateTime; minutes alone are allowed, as
            searches may write them.
        zone: taken where the value names none.
    """
    found = WRITTEN.match(written)
    if found is None:
        return None
    try:
        if found["clock"] is None:
            return _day_span(found, zone)
        start = datetime.fromisoformat(written)
        if start.tzinfo is None:
            start = start.replace(tzinfo=zone)
        lo = micros(start)
    except (ValueError, OverflowError):
        return None
    return lo, lo + _clock_width(found)


def _day_span(found: re.Match[str], zone: tzinfo) -> tuple[int, int]:
    year, month, day = int(found["year"]), int(found["month"] or 1), int(found["day"] or 1)
    start = datetime(year, month, day, tzinfo=zone)
    if found["day"]:
        end = start + DAY if (year, month, day) != (9999, 12, 31) else None
    elif found["month"] and month < 12:
        end = start.replace(month=month + 1)
    else:
        end = start.replace(year=year + 1, month=1) if year < 9999 else None
    return micros(start), MAX_US if end is None else micros(end)


def _clock_width(found: re.Match[str]) -> int:
    if found["second"] is None:
        return MINUTE_US
    digits = len(found["fraction"] or "")
    width: int = SECOND_US // 10 ** min(digits, 6)
    return width


def period_span(period: FhirJson) -> tuple[int, int] | None:
    """The range of a Period: a missing or unreadable end is open; None when both are."""
    start, end = period.get("start"), period.get("end")
    first = span(start) if isinstance(start, str) else None
    last = span(end) if isinstance(end, str) else None
    if first is None and last is None:
        return None
    return (first[0] if first else MIN_US), (last[1] if last else MAX_US)


def timing_span(timing: FhirJson) -> tuple[int, int] | None:
    """The range from a Timing's first to its last event, or of its bounds."""
    events = timing.get("event")
    written = [e for e in events if isinstance(e, str)] if isinstance(events, list) else []
    spans = [found for found in map(span, written) if found]
    repeat = timing.get("repeat")
    if isinstance(repeat, dict) and isinstance(repeat.get("boundsPeriod"), dict):
        bounds = period_span(repeat["boundsPeriod"])
        spans += [bounds] if bounds else []
    return union(spans)


def union(spans: list[tuple[int, int]]) -> tuple[int, int] | None:
    """The smallest range that holds all; None of nothing."""
    return (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else None


def widened(lo_us: int, hi_us: int, now_us: int) -> tuple[int, int]:
    """The range `ap` means: a tenth of the distance to now wider on both sides."""
    margin = abs(now_us - (lo_us + hi_us) // 2) // 10
    return max(MIN_US, lo_us - margin), min(MAX_US, hi_us + margin)
