"""How often a source is expected to speak, and since when its silence is too long (pure).

Silence counts in the time the source is expected to speak in: neither its quiet hours nor its
quiet days bring it any closer to being late.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from adapters.table_reader import TableReader
from hie.kernel.clock import EPOCH, SECOND_US, micros

DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_INTERVAL: Final = re.compile(r"^([1-9]\d{0,3})([smhd])$")
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_HOURS: Final = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$")
#: Longest interval: silence beyond a month is nobody's expectation.
_MOST_US: Final = 31 * 86_400 * SECOND_US


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a source says of its own pace.

    Attributes:
        interval_us: the longest silence that is no alarm.
        quiet_hours: (from, to) in the source's time zone; may cross midnight.
        quiet_days: of the week, 0 = Monday.
        zone: the source's time zone.
    """

    interval_us: int
    quiet_hours: tuple[tuple[time, time], ...] = ()
    quiet_days: frozenset[int] = frozenset()
    zone: ZoneInfo

    def late_us(self, last_us: int, now_us: int) -> int | None:
        """When a source that spoke last at `last_us` became late; None while it is not.

        Args:
            last_us: its last message, or since when it is watched.
            now_us: the time of asking.
        """
        left, at = self.interval_us, last_us
        while at < now_us:
            until, is_quiet = self._piece(at)
            end = min(until, now_us)
            if not is_quiet:
                if at + left < end:
                    return at + left
                left -= end - at
            at = end
        return None

    def _piece(self, at_us: int) -> tuple[int, bool]:
        """The end of the stretch that `at_us` is in, and whether it is a quiet one."""
        local = (EPOCH + timedelta(microseconds=at_us)).astimezone(self.zone)
        midnight = datetime.combine(local.date() + timedelta(days=1), time(), self.zone)
        if local.weekday() in self.quiet_days:
            return _after(midnight, at_us), True
        edges = {edge for span in self.quiet_hours for edge in span}
        following = sorted(edge for edge in edges if edge > local.time())
        end = datetime.combine(local.date(), following[0], self.zone) if following else midnight
        return _after(end, at_us), self._is_quiet(local.time())

    def _is_quiet(self, at: time) -> bool:
        return any(
            begin <= at < end if begin < end else at >= begin or at < end
            for begin, end in self.quiet_hours
        )


def _after(moment: datetime, at_us: int) -> int:
    """The moment in microseconds; never before `at_us`, whatever the clocks do that night."""
    return max(micros(moment.astimezone(UTC)), at_us + SECOND_US)


def read_expected(table: TableReader, zone_name: str) -> Expected | None:
    """The `[expected]` table of a source's file; None where it states no interval.

    Its faults are noted with the table.
    """
    text = table.text("interval", form=_INTERVAL, kind="a number with s, m, h or d, such as `15m`")
    days = table.names("quiet_days")
    hours = sorted(table.names("quiet_hours"))
    spans = [_span(found) for name in hours if (found := _HOURS.match(name))]
    if not days <= set(DAYS):
        table.fault("quiet_days", f"a list of {', '.join(DAYS)}")
    if len(spans) < len(hours) or any(begin == end for begin, end in spans):
        table.fault("quiet_hours", "a list of times such as `22:00-06:00`")
    if (days or hours) and not text:
        table.fault("interval", "given where there are quiet hours or days")
    if len(days) == len(DAYS):
        table.fault("quiet_days", "fewer than all days")
    if not text or table.faults:
        return None
    found = _INTERVAL.match(text)
    interval_us = int(found[1]) * _UNITS[found[2]] * SECOND_US if found else 0
    if interval_us > _MOST_US:
        table.fault("interval", "31 days at most")
    return Expected(
        interval_us=interval_us,
        quiet_hours=tuple(spans),
        quiet_days=frozenset(DAYS.index(day) for day in days),
        zone=ZoneInfo(zone_name or "UTC"),
    )


def _span(found: re.Match[str]) -> tuple[time, time]:
    return time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
