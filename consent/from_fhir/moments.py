"""FHIR Periods as ranges of microseconds (pure).

Spec: https://hl7.org/fhir/R4/datatypes.html#Period: the end includes all its precision leaves
open, so `2026` ends with the year.
"""

from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final

from hie.store.dates import span as moment_span

UNREADABLE: Final = "unknown-date"


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of time; None = open."""

    lo_us: int | None = None
    hi_us: int | None = None
    note: str = ""

    def within(self, outer: "Span") -> "Span":
        """What both ranges have in common."""
        los = [at for at in (self.lo_us, outer.lo_us) if at is not None]
        his = [at for at in (self.hi_us, outer.hi_us) if at is not None]
        return Span(max(los, default=None), min(his, default=None), self.note or outer.note)


#: Open on both sides.
ALWAYS: Final = Span()
_NEVER_READ: Final = Span(note=UNREADABLE)


def span(period: Any, zone: tzinfo) -> Span:
    """A Period with the ends its precision leaves open; `note` where it cannot be read.

    Args:
        period: JSON of the element; None = absent.
        zone: of the ends that name none.
    """
    if period is None:
        return ALWAYS
    if not isinstance(period, dict):
        return _NEVER_READ
    ends = [period.get(name) for name in ("start", "end")]
    spans = [moment_span(end, zone) if isinstance(end, str) else None for end in ends]
    if any(end is not None and found is None for end, found in zip(ends, spans, strict=True)):
        return _NEVER_READ
    start, end = spans
    lo_us, hi_us = start[0] if start else None, end[1] if end else None
    is_empty = lo_us is not None and hi_us is not None and lo_us >= hi_us
    return _NEVER_READ if is_empty else Span(lo_us, hi_us)
