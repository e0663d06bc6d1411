"""HL7 v2 dates and times to FHIR, with no offset that nobody stated.

A time needs an offset: its own, else the one the context gives. Where there is none, the date
is kept and the time of day dropped. Seconds that FHIR demands and HL7 leaves out are zero.
Spec: HL7 v2.8.2 2.A.21-23 (DT, DTM), 2.A.75 (TM); https://hl7.org/fhir/R4/datatypes.html#dateTime
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Final

_FORM: Final = re.compile(
    r"(?P<year>\d{4})(?:(?P<month>\d\d)(?:(?P<day>\d\d)(?:(?P<hour>\d\d)(?:(?P<minute>\d\d)"
    r"(?:(?P<second>\d\d)(?P<fraction>\.\d{1,6})?)?)?)?)?)?(?P<offset>[+-]\d{4}|Z)?",
    re.ASCII,
)
_TIME: Final = re.compile(r"(\d\d)(?:(\d\d)(?:(\d\d)(\.\d{1,6})?)?)?(?:[+-]\d{4}|Z)?", re.ASCII)
#: What people write instead: `2024-01-31 10:30:00`, `10:30`.
_PUNCTUATION: Final = str.maketrans("", "", ":/T ")
_DASHED: Final = re.compile(r"^(\d{4})-(\d\d)(?:-(\d\d))?(?=$|[T ])", re.ASCII)
_OFFSET: Final = re.compile(r"(?:[+-]\d{4}|Z)$", re.ASCII)
_HOURS: Final = re.compile(r"\d{10}", re.ASCII)
_PARTS: Final = ("year", "month", "day", "hour", "minute", "second")
#: The widest offsets in use; FHIR allows no more.
_WIDEST: Final = timedelta(hours=14)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class TemporalError(ValueError):
    """Not a date or time of HL7."""


def date_time(text: str, zone: tzinfo | None) -> str:
    """A FHIR dateTime; only a date where the time of day has no offset.

    Args:
        text: TS, DTM or DT, such as `20240131`, `202401311030-0500`.
        zone: of times without an offset; None = unknown.

    Raises:
        TemporalError: `text` is no such date or time.
    """
    if len(text) == 8 and text.isascii() and text.isdigit():
        return _whole_date(text)  # most of them
    found = _read(text)
    if found["hour"] is None:
        return _date(found)
    moment = _moment(found, zone)
    return _date(found) if moment is None else _written(moment, found["fraction"])


def instant(text: str, zone: tzinfo | None) -> str | None:
    """A FHIR instant; None where the text has no time of day or no offset is known.

    Raises:
        TemporalError: `text` is no date or time.
    """
    found = _read(text)
    if found["hour"] is None:
        _date(found)
        return None
    moment = _moment(found, zone)
    return None if moment is None else _written(moment, found["fraction"])


def moment_us(text: str, zone: tzinfo) -> int | None:
    """Microseconds since 1970; None where the text has no time of day.

    Raises:
        TemporalError: `text` is no date or time.
    """
    found = _read(text)
    moment = _moment(found, zone)
    if found["hour"] is None or moment is None:
        return None
    fraction = int(float(found["fraction"] or 0) * 1_000_000)
    return int((moment - _EPOCH) / timedelta(microseconds=1)) + fraction


def date_only(text: str) -> str:
    """A FHIR date of the precision sent; any time of day is left out.

    Raises:
        TemporalError: `text` is no date or time.
    """
    if len(text) == 8 and text.isascii() and text.isdigit():
        return _whole_date(text)
    return _date(_read(text))


def time_only(text: str) -> str:
    """A FHIR time, `10:30:00`.

    Raises:
        TemporalError: `text` is no TM.
    """
    found = _TIME.fullmatch(text.translate(_PUNCTUATION))
    if not found or int(found[1]) > 23 or int(found[2] or 0) > 59 or int(found[3] or 0) > 59:
        raise TemporalError
    return f"{found[1]}:{found[2] or '00'}:{found[3] or '00'}{found[4] or ''}"


def has_time(text: str) -> bool:
    """Whether a time of day follows the date."""
    return bool(_HOURS.match(text))


def offset_of(text: str) -> tzinfo | None:
    """The offset a timestamp ends with; None when it has none or no possible one."""
    found = _OFFSET.search(text)
    return _offset(found[0]) if found else None


def _whole_date(text: str) -> str:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:])).isoformat()
    except ValueError as error:
        raise TemporalError from error


def _read(text: str) -> re.Match[str]:
    dashed = _DASHED.match(text)
    if dashed:
        text = "".join(part for part in dashed.groups() if part) + text[dashed.end() :]
        text = text.translate(_PUNCTUATION)
    found = _FORM.fullmatch(text)
    if not found:
        raise TemporalError
    return found


def _date(found: re.Match[str]) -> str:
    year, month, day = found["year"], found["month"], found["day"]
    try:
        date(int(year), int(month or 1), int(day or 1))
    except ValueError as error:
        raise TemporalError from error
    if day:
        return f"{year}-{month}-{day}"
    return f"{year}-{month}" if month else year


def _moment(found: re.Match[str], zone: tzinfo | None) -> datetime | None:
    offset = found["offset"]
    stated = _offset(offset) if offset else zone
    parts = [int(found[name] or 0) for name in _PARTS]
    parts[5] = 59 if parts[5] == 60 else parts[5]  # a leap second
    year, month, day, hour, minute, second = parts
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=stated)
    except ValueError as error:
        raise TemporalError from error
    return moment if stated is not None else None


def _written(moment: datetime, fraction: str | None) -> str:
    text = moment.isoformat()
    # isoformat ends with the offset, six characters; zones of odd seconds are before 1900.
    if len(text) > 25:
        text = moment.astimezone(UTC).isoformat()
    return f"{text[:19]}{fraction}{text[19:]}" if fraction else text


def _offset(text: str) -> tzinfo | None:
    if text == "Z":
        return UTC
    width = timedelta(hours=int(text[1:3]), minutes=int(text[3:5]))
    if width > _WIDEST or int(text[3:5]) > 59:
        return None
    return timezone(-width if text[0] == "-" else width)
