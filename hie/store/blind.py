"""Blind search values: the texts whose keyed hashes stand in for patient data.

The index and the search make their texts here, so that they meet: a value is stored as the
hashes of `*_keys`, and asked for by the hashes of `*_asked`. What can be asked is string
prefixes to 12 characters (texts: 24) and whole strings, `value` and `system|value` tokens,
identifiers of a type, and date ranges made of years, months and days; of moments also of hours,
minutes and seconds of UTC.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Final

from hie.kernel.clock import EPOCH, SECOND_US
from hie.store import dates
from hie.store.query import Prefix, StringMode

PREFIX_LENGTH: Final = 12
#: Of texts kept once for all resources that say them.
TEXT_PREFIX_LENGTH: Final = 24
#: Domain of the keyed hashes of `sp_text`, in place of a parameter's number.
TEXTS: Final = "text"
#: The years an open range of dates is covered for; a date outside is found by eq alone.
FIRST_DAY: Final = date(1850, 1, 1)
LAST_DAY: Final = date(2101, 1, 1)
ONE_DAY: Final = timedelta(days=1)
#: How much of a moment its year, month, day, hour, minute and second are.
STEPS: Final = (4, 7, 10, 13, 16, 19)
#: What is less than a day, from the largest, and how much of a moment's text tells it.
_UNITS: Final = (
    (timedelta(hours=1), 13),
    (timedelta(minutes=1), 16),
    (timedelta(seconds=1), 19),
)
#: Beginnings of keys: of any date; of one without a time of day; of one with it, in UTC.
DATES: Final = "d"
DAYS: Final = "e"
MOMENTS: Final = "t"
#: The first second that `datetime` can hold.
_FIRST_SECOND: Final = -62_135_596_800
#: Keeps the arithmetic inside what `date` can hold (9990-01-01).
FAR_US: Final = 253_086_768_000_000_000


def fold(text: str) -> str:
    """Text without case, accents and punctuation, single-spaced: how strings compare."""
    # Twice, because folding and decomposing each make work for the other (Unicode D146).
    plain = unicodedata.normalize("NFKD", text.casefold())
    if not text.isascii():
        plain = unicodedata.normalize("NFKD", plain.casefold())
    kept = "".join(c for c in plain if c.isalnum() or c.isspace())
    return " ".join(kept.split())


def contact(value: str) -> str:
    """A telephone number as its digits without the US country code, else text without case."""
    digits = "".join(c for c in value if c.isdigit())
    if "@" in value or len(digits) < 7:
        return value.strip().casefold()
    return digits[1:] if len(digits) == 11 and digits.startswith("1") else digits


def string_keys(value: str, longest: int = PREFIX_LENGTH) -> tuple[str, ...]:
    """The keys of a stored string: its folded prefixes, its folded and its exact whole."""
    folded = fold(value)
    lengths = range(1, min(len(folded), longest) + 1)
    prefixes = dict.fromkeys(f"p:{folded[:length].rstrip()}" for length in lengths)
    return (*prefixes, f"f:{folded}", f"x:{value}") if folded else (f"x:{value}",)


def string_asked(value: str, mode: StringMode, longest: int = PREFIX_LENGTH) -> str:
    """The key that a searched string must meet.

    Beyond `longest` characters prefixes are not kept, so the folded whole must be equal.
    """
    if mode is StringMode.EXACT:
        return f"x:{value}"
    folded = fold(value)
    return f"p:{folded}" if len(folded) <= longest else f"f:{folded}"


def text_keys(value: str) -> tuple[str, ...]:
    """The keys of a text of `sp_text`; hashed under `TEXTS`; `text_own_key` among them."""
    return string_keys(value, TEXT_PREFIX_LENGTH)


def text_own_key(value: str) -> str:
    """The key whose hash is a text's name in the rows of resources: the text as written."""
    return f"x:{value}"


def text_asked(value: str, mode: StringMode) -> str:
    """The key that a searched text must meet, prefixes being kept to 24 characters."""
    return string_asked(value, mode, TEXT_PREFIX_LENGTH)


def of_type_key(system: str, code: str, value: str) -> str:
    """The key of an identifier by the coding of its type and its value, stored and searched."""
    return f"o:{system}|{code}|{value}"


def elsewhere_key(address: str) -> str:
    """The key of a uri, or of a reference to what is not of this hub, by the whole address."""
    return f"u:{address}"


def token_keys(system: str | None, code: str) -> tuple[str, ...]:
    """The keys of a stored token: by value, and by system and value."""
    return f"v:{code}", f"s:{system or ''}|{code}"


def token_asked(system: str | None, code: str) -> str:
    """The key of a searched token; system None = any, "" = none."""
    return f"v:{code}" if system is None else f"s:{system}|{code}"


def date_keys(written: str) -> tuple[str, ...]:
    """The keys of a stored date: its year, month and day, and how exactly it is known.

    `1980-05-12` has `d:1980`, `d:1980-05` and `d:1980-05-12`; `1980` has `d:1980` and
    `o:1980` (only the year is known), which ranges that begin or end within 1980 meet.
    """
    day = written[:10]
    keys = tuple(f"d:{day[:length]}" for length in (4, 7, 10) if len(day) >= length)
    return keys if len(day) == 10 else (*keys, f"o:{day}")


def date_asked(prefix: Prefix, lo_us: int, hi_us: int) -> tuple[str, ...]:
    """The keys of which a date must have one to lie as `prefix` says towards [lo, hi).

    Args:
        prefix: for AP the range is already widened.
        lo_us: a UTC midnight; times of day are cut off.
        hi_us: a UTC midnight, a day, month or year later.
    """
    lo, hi = _day(lo_us), _day(hi_us)
    before, after = _within(FIRST_DAY, min(lo, LAST_DAY)), _within(max(hi, FIRST_DAY), LAST_DAY)
    at_lo, at_hi = tuple(_astride(lo)), tuple(_astride(hi))
    return tuple(dict.fromkeys(_lies(prefix, before, _within(lo, hi), after, at_lo, at_hi)))


def moment_keys(written: str) -> tuple[str, ...]:
    """The keys of a date that may have a time of day: those of `date_keys`, and its exact place.

    `2024-03-01T10:00:30-05:00` has `t:2024` to `t:2024-03-01T15:00:30` besides; `2024-03-01` has
    `e:2024` to `e:2024-03-01`, and `o:2024-03-01`: only the day is known.
    """
    known = date_keys(written)
    span = dates.span(written) if "T" in written else None
    if span is None:
        days = tuple(f"{DAYS}:{key[2:]}" for key in known if key.startswith(f"{DATES}:"))
        return (*known, *days, f"o:{written}") if len(written) == 10 else (*known, *days)
    at = _moment(span[0]).isoformat()
    return (*known, *(f"{MOMENTS}:{at[:step]}" for step in STEPS))


def moment_asked(prefix: Prefix, lo_us: int, hi_us: int) -> tuple[str, ...]:
    """The keys of which a date must have one to lie as `prefix` says towards [lo, hi).

    As `date_asked`, of a range that begins or ends within a day, and to the second: what was
    stored with a time of day is compared by its second, what has none by its whole day.
    """
    lo, hi = _moment(lo_us), _moment(hi_us + SECOND_US - 1)
    timed = _lies(prefix, _filled(_at(FIRST_DAY), lo), _filled(lo, hi), _filled(hi, _at(LAST_DAY)))
    first, last = lo.date(), hi.date()
    begin = first if lo == _at(first) else first + ONE_DAY
    end = last if hi == _at(last) else last + ONE_DAY
    at_lo, at_hi = _astride(first, within=lo != _at(first)), _astride(last, within=hi != _at(last))
    untimed = _lies(
        prefix,
        _within(FIRST_DAY, min(first, LAST_DAY), DAYS),
        _within(begin, last, DAYS),
        _within(max(end, FIRST_DAY), LAST_DAY, DAYS),
        tuple(at_lo),
        tuple(at_hi),
    )
    return tuple(dict.fromkeys((*timed, *untimed)))


def _lies(
    prefix: Prefix,
    before: Iterator[str],
    inside: Iterator[str],
    after: Iterator[str],
    at_lo: tuple[str, ...] = (),
    at_hi: tuple[str, ...] = (),
) -> Iterator[str]:
    """The keys of the parts in which a date lies as `prefix` says."""
    parts: dict[Prefix, tuple[Iterable[str], ...]] = {
        Prefix.EQ: (inside,),
        Prefix.NE: (before, after, at_lo, at_hi),
        Prefix.GT: (after, at_hi),
        Prefix.LT: (before, at_lo),
        Prefix.GE: (inside, after, at_hi),
        Prefix.LE: (before, inside, at_lo),
        Prefix.SA: (after,),
        Prefix.EB: (before,),
        Prefix.AP: (inside, at_lo, at_hi),
    }
    return (key for part in parts[prefix] for key in part)


def _at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 - everything here is UTC


def _moment(at_us: int) -> datetime:
    """A second of UTC."""
    seconds = timedelta(seconds=max(min(at_us, FAR_US) // SECOND_US, _FIRST_SECOND))
    return (EPOCH + seconds).replace(tzinfo=None)


def _day(at_us: int) -> date:
    return (EPOCH + timedelta(microseconds=min(at_us, FAR_US))).date()


def _within(lo: date, hi: date, family: str = DATES) -> Iterator[str]:
    """The fewest years, months and days that fill [lo, hi): what lies wholly inside."""
    at = lo
    while at < hi:
        if at.month == at.day == 1 and (year_end := date(at.year + 1, 1, 1)) <= hi:
            yield f"{family}:{at.year:04d}"
            at = year_end
        elif at.day == 1 and (month_end := _next_month(at)) <= hi:
            yield f"{family}:{at.year:04d}-{at.month:02d}"
            at = month_end
        else:
            yield f"{family}:{at.isoformat()}"
            at += ONE_DAY


def _filled(lo: datetime, hi: datetime) -> Iterator[str]:
    """The same of moments: seconds, minutes and hours up to a day, whole days, and down again."""
    if lo >= hi:
        return
    begin = lo if lo == _at(lo.date()) else _at(lo.date() + ONE_DAY)
    end = _at(hi.date())
    if begin > end:
        yield from _of_day(lo, hi)
        return
    yield from _of_day(lo, begin)
    yield from _within(begin.date(), end.date(), MOMENTS)
    yield from _of_day(end, hi)


def _of_day(lo: datetime, hi: datetime) -> Iterator[str]:
    """The fewest hours, minutes and seconds that fill [lo, hi), which is less than a day."""
    at = lo
    while at < hi:
        for unit, step in _UNITS:
            if at == _cut(at, step) and at + unit <= hi:
                yield f"{MOMENTS}:{at.isoformat()[:step]}"
                at += unit
                break


def _cut(at: datetime, step: int) -> datetime:
    """The beginning of a moment's hour, minute or second."""
    if step == STEPS[-1]:
        return at
    return at.replace(second=0) if step == STEPS[-2] else at.replace(minute=0, second=0)


def _astride(boundary: date, *, within: bool = False) -> Iterator[str]:
    """The imprecise dates that begin before a midnight, or a time of its day, and end after it."""
    if within:
        yield f"o:{boundary.isoformat()}"
    if within or boundary.day != 1:
        yield f"o:{boundary.year:04d}-{boundary.month:02d}"
    if within or (boundary.month, boundary.day) != (1, 1):
        yield f"o:{boundary.year:04d}"


def _next_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)
