"""HL7 v2 escape sequences to plain text, with a bound on what they may grow to.

Spec: HL7 v2.8.2 chapter 2, section 2.7 (use of escape sequences in text fields).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: How many characters the formatting commands of one value may add, all together.
EXPANSION_LIMIT: Final = 10_000

_MOST_AT_ONCE: Final = 100
_NUMBER: Final = re.compile(r"\d{1,4}")


@dataclass(frozen=True, slots=True)
class Delimiters:
    """The characters of MSH-1 and MSH-2; an absent one is empty."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"


#: What nearly every sender uses; `er7` gives this very object for it.
STANDARD: Final = Delimiters()


def unescape(
    raw: str, delimiters: Delimiters, *, limit: int = EXPANSION_LIMIT, codec: str = "utf-8"
) -> str:
    r"""`raw` with its escape sequences replaced; unknown and unfinished ones stay as they are.

    `\.br\`, `\.sp3\` and `\.ce\` become line breaks, `\.sk3\` blanks, `\H\` and `\N\` nothing.

    Args:
        raw: text as sent.
        delimiters: the message's own.
        limit: characters that `.sp` and `.sk` may add in all; past it each adds one.
        codec: Python codec of the bytes in `\X..\`.
    """
    mark = delimiters.escape
    if not mark or mark not in raw:
        return raw
    parts = raw.split(mark)
    out = [parts[0]]
    place, last = 1, len(parts) - 1
    while place < last:
        known = _sequence(parts[place], delimiters, codec, limit)
        if known is None:
            out.append(mark + parts[place])  # its closing mark may open the next sequence
            place += 1
            continue
        limit -= len(known) if parts[place][:1] == "." else 0
        out += (known, parts[place + 1])
        place += 2
    if place == last:
        out.append(mark + parts[last])
    return "".join(out)


def _sequence(body: str, delimiters: Delimiters, codec: str, limit: int) -> str | None:
    """What stands for the sequence; None when it is not one this hub reads."""
    known = _LETTERS.get(body)
    if known is not None:
        return known(delimiters)
    if body[:1] == "X":
        return _hexadecimal(body[1:], codec)
    if body[:1] == ".":
        return _format(body[1:3], body[3:], limit)
    return None


_LETTERS: Final[dict[str, Callable[[Delimiters], str]]] = {
    "F": lambda d: d.field,
    "S": lambda d: d.component,
    "T": lambda d: d.subcomponent,
    "R": lambda d: d.repetition,
    "E": lambda d: d.escape,
    "P": lambda d: "#",
    "H": lambda d: "",
    "N": lambda d: "",
}


def _hexadecimal(digits: str, codec: str) -> str | None:
    try:
        found = bytes.fromhex(digits)
    except ValueError:
        return None
    return found.decode(codec, "replace") if found else None


def _format(command: str, count: str, limit: int) -> str | None:
    """The text commands of section 2.7.6: line breaks and blanks; indents are dropped."""
    if command in ("br", "ce"):
        return "\n"
    if command in ("in", "ti", "fi", "nf"):
        return ""
    if command not in ("sp", "sk"):
        return None
    found = _NUMBER.match(count.lstrip("+"))
    times = min(int(found[0]), _MOST_AT_ONCE) if found else 1
    return ("\n" if command == "sp" else " ") * (times if times <= limit else 1)
