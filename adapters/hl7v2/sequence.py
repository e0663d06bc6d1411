"""The sequence number protocol: what MSH-13 says against what was expected. Pure.

    MSH-13          last accepted   what it is    MSA-4
    empty           any             missing       empty
    0               n / none        start         n + 1 / -1
    -1              any             resync        -1; the next number accepted begins anew
    m               none            next          m
    n + 1           n               next          n + 1
    m <= n          n               duplicate     n + 1
    m > n + 1       n               gap           n + 1
    anything else   n / none        unreadable    n + 1 / -1

A number counts when its message is accepted; of one that is refused MSA-4 still expects it.
Spec: HL7 v2.8.2 chapter 2, 2.10.1.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_NUMBER: Final = re.compile(r"^[+-]?\d{1,15}$")


class Kind(StrEnum):
    """What a sequence number is; those with a rule of their name's kind are remarked on."""

    NEXT = "next"
    START = "start"
    RESYNC = "resync"
    MISSING = "missing"
    DUPLICATE = "duplicate"
    GAP = "gap"
    UNREADABLE = "unreadable"

    @property
    def is_link(self) -> bool:
        """Whether the number speaks of the link, not of its message."""
        return self in (Kind.START, Kind.RESYNC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """A message's place in its source's sequence.

    Attributes:
        expected: MSA-4 where the message is refused; None = the field stays empty.
        accepted: MSA-4 where it is accepted.
        after: the last number accepted once the message is; None = none any more.
    """

    kind: Kind
    expected: int | None
    accepted: int | None
    after: int | None


def place(last: int | None, text: str) -> Numbered:
    """What `text`, MSH-13, is to a receiver whose last accepted number is `last`."""
    awaited = -1 if last is None else last + 1
    number = int(text) if _NUMBER.match(text) else None
    kind = Kind.MISSING if not text else _kind(last, number)
    if kind is Kind.MISSING:
        return Numbered(kind=kind, expected=None, accepted=None, after=last)
    if kind is Kind.RESYNC:
        return Numbered(kind=kind, expected=-1, accepted=-1, after=None)
    if kind in (Kind.NEXT, Kind.GAP):
        return Numbered(kind=kind, expected=awaited, accepted=number, after=number)
    return Numbered(kind=kind, expected=awaited, accepted=awaited, after=last)


def _kind(last: int | None, number: int | None) -> Kind:
    if number is None or number < -1:
        return Kind.UNREADABLE
    if number < 1:
        return Kind.RESYNC if number else Kind.START
    if last is None or number == last + 1:
        return Kind.NEXT
    return Kind.GAP if number > last else Kind.DUPLICATE
