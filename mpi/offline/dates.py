"""Dates as files write them, brought to `YYYY-MM-DD` by patterns such as `MM/DD/YYYY`."""

import re
from collections.abc import Callable
from datetime import date

#: What a pattern is made of. `%Y%m%d` is read as `YYYYMMDD`.
_PARTS = {
    "YYYY": r"(?P<year>\d{4})",
    "MON": r"(?P<name>[A-Za-z]{3})[A-Za-z]*\.?",
    "YY": r"(?P<short>\d{2})",
    "MM": r"(?P<month>\d{1,2})",
    "DD": r"(?P<day>\d{1,2})",
}
_COMPACT = {"MM": r"(?P<month>\d{2})", "DD": r"(?P<day>\d{2})"}
_PERCENT = {"%Y": "YYYY", "%y": "YY", "%m": "MM", "%d": "DD", "%b": "MON", "%B": "MON"}
_TOKEN = re.compile("|".join(_PARTS))
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
#: A time of day after the date is no part of it.
_TIME = r"(?:[T ]\d{1,2}:\d{2}.*)?"

Reader = Callable[[str], str]


def date_reader(pattern: str, as_of: date) -> Reader | None:
    """What reads dates written by a pattern, giving `YYYY-MM-DD` or an empty string.

    Args:
        pattern: of `YYYY`, `YY`, `MM`, `MON`, `DD` and what stands between them; or the same
            with `%Y`, `%y`, `%m`, `%b`, `%d`. A pattern without `DD` gives `YYYY-MM` or `YYYY`.
        as_of: a year of two digits is the latest one not after it.

    Returns:
        None where the pattern has no year, or one part twice.
    """
    for percent, token in _PERCENT.items():
        pattern = pattern.replace(percent, token)
    tokens = _TOKEN.findall(pattern)
    kinds = ["YYYY" if t == "YY" else "MM" if t == "MON" else t for t in tokens]
    if "YYYY" not in kinds or len(set(kinds)) < len(kinds) or kinds.count("DD") > kinds.count("MM"):
        return None
    is_compact = not _TOKEN.sub("", pattern)
    parts = _PARTS | _COMPACT if is_compact else _PARTS
    pieces, place = [], 0
    for found in _TOKEN.finditer(pattern):
        pieces += [re.escape(pattern[place : found.start()]), parts[found[0]]]
        place = found.end()
    expression = re.compile("".join([*pieces, re.escape(pattern[place:]), _TIME]), re.ASCII)
    return lambda text: _read(expression.fullmatch(text), as_of)


def _read(found: re.Match[str] | None, as_of: date) -> str:
    if found is None:
        return ""
    said = found.groupdict()
    year = int(said.get("year") or _century(said["short"], as_of))
    month = said.get("month")
    if name := said.get("name"):
        month = str(_MONTHS.index(name.lower()) + 1) if name.lower() in _MONTHS else "0"
    return joined(year, month, said.get("day"))


def _century(short: str, as_of: date) -> int:
    year = as_of.year // 100 * 100 + int(short)
    return year if year <= as_of.year else year - 100


def joined(year: int, month: str | None, day: str | None) -> str:
    """`YYYY-MM-DD` of parts, as far as they are given; empty where there is no such date."""
    try:
        date(year, int(month or 1), int(day or 1))
    except ValueError:
        return ""
    text = f"{year:04d}"
    for part in (month, day):
        if not part:
            break
        text += f"-{int(part):02d}"
    return text
