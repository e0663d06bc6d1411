"""How old somebody is, on the strict side (pure).

A birth date that is not known to the day is taken at its earliest: who may be of age is. Whoever
was born on 29 February has the birthday on the 28th where a year has no 29th.
"""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from hie.kernel.clock import EPOCH

_WRITTEN: Final = re.compile(r"^(\d{4})(?:-(\d\d)(?:-(\d\d))?)?$")
_LEAP_DAY: Final = (2, 29)


def day_at(now_us: int, zone: ZoneInfo) -> date:
    """The day it is somewhere."""
    moment: datetime = (EPOCH + timedelta(microseconds=now_us)).astimezone(UTC)
    return moment.astimezone(zone).date()


def earliest(written: Iterable[str]) -> date | None:
    """The earliest day of birth that several FHIR dates leave open; None where none is a date."""
    found = [day for day in map(_first_day, written) if day is not None]
    return min(found, default=None)


def latest(written: Iterable[str]) -> date | None:
    """The latest day of birth that they leave open."""
    found = [day for day in map(_last_day, written) if day is not None]
    return max(found, default=None)


def age_on(born: date, day: date) -> int:
    """Whole years of age on a day; below 0 before birth."""
    birthday = (born.month, born.day)
    if birthday == _LEAP_DAY and not _is_leap(day.year):
        birthday = (2, 28)
    return day.year - born.year - ((day.month, day.day) < birthday)


def _first_day(written: str) -> date | None:
    found = _WRITTEN.match(written)
    if found is None:
        return None
    try:
        return date(int(found[1]), int(found[2] or 1), int(found[3] or 1))
    except ValueError:
        return None


def _last_day(written: str) -> date | None:
    first = _first_day(written)
    if first is None or len(written) == len("2013-01-14"):
        return first
    if len(written) == len("2013"):
        return first.replace(month=12, day=31)
    if first.month == date.max.month:
        return first.replace(day=31)
    return first.replace(month=first.month + 1) - timedelta(days=1)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
