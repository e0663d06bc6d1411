"""Blind search values: the texts whose keyed hashes stand in for patient data.

The index and the search make their texts here, so that they meet: a value is stored as the
hashes of `*_keys`, and asked for by the hashes of `*_asked`. What can be asked is string
prefixes to 12 characters (texts: 24) and whole strings, `value` and `system|value` tokens,
identifiers of a type, and date ranges made of years, months and days.
"""

import unicodedata
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

from hie.kernel.clock import EPOCH
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
    inside, at_lo, at_hi = _within(lo, hi), _astride(lo), _astride(hi)
    parts: dict[Prefix, tuple[Iterator[str], ...]] = {
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
    return tuple(dict.fromkeys(key for part in parts[prefix] for key in part))


def _day(at_us: int) -> date:
    return (EPOCH + timedelta(microseconds=min(at_us, FAR_US))).date()


def _within(lo: date, hi: date) -> Iterator[str]:
    """The fewest years, months and days that fill [lo, hi): what lies wholly inside."""
    at = lo
    while at < hi:
        if at.month == at.day == 1 and (year_end := date(at.year + 1, 1, 1)) <= hi:
            yield f"d:{at.year:04d}"
            at = year_end
        elif at.day == 1 and (month_end := _next_month(at)) <= hi:
            yield f"d:{at.year:04d}-{at.month:02d}"
            at = month_end
        else:
            yield f"d:{at.isoformat()}"
            at += ONE_DAY


def _astride(boundary: date) -> Iterator[str]:
    """The imprecise dates that begin before a midnight and end after it."""
    if boundary.day != 1:
        yield f"o:{boundary.year:04d}-{boundary.month:02d}"
    if (boundary.month, boundary.day) != (1, 1):
        yield f"o:{boundary.year:04d}"


def _next_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)
