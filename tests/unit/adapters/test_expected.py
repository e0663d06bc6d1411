"""When a source is late: silence in the time it is expected to speak in."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.expected import Expected, read_expected
from adapters.table_reader import TableReader
from hie.kernel.clock import EPOCH, SECOND_US, micros

BOSTON = ZoneInfo("America/New_York")
MINUTE = 60 * SECOND_US


def at(text: str) -> int:
    return micros(datetime.fromisoformat(text).replace(tzinfo=BOSTON))


def local(us: int | None) -> str:
    assert us is not None
    return (EPOCH + timedelta(microseconds=us)).astimezone(BOSTON).isoformat()[:16]


def expected(interval: str = "15m", **more) -> Expected:
    table = TableReader("lab.toml [expected]", {"interval": interval, **more})
    found = read_expected(table, "America/New_York")
    assert found is not None, table.faults
    return found


def test_a_source_is_late_once_its_interval_is_over_and_not_before():
    pace = expected("15m")
    last = at("2026-03-04T10:00")
    assert pace.late_us(last, last + 15 * MINUTE) is None
    assert pace.late_us(last, last + 15 * MINUTE + 1) == last + 15 * MINUTE
    assert pace.late_us(last, last + 900 * MINUTE) == last + 15 * MINUTE
    assert pace.late_us(last, last - MINUTE) is None


def test_quiet_hours_do_not_count_as_silence():
    pace = expected("1h", quiet_hours=["22:00-06:00", "12:00-13:00"])
    last = at("2026-03-04T21:30")
    assert pace.late_us(last, at("2026-03-05T06:30")) is None
    assert local(pace.late_us(last, at("2026-03-05T09:00"))) == "2026-03-05T06:30"
    noon = at("2026-03-04T11:30")
    assert local(pace.late_us(noon, at("2026-03-04T20:00"))) == "2026-03-04T13:30"


def test_quiet_days_do_not_count_as_silence():
    pace = expected("4h", quiet_days=["saturday", "sunday"])
    friday = at("2026-03-06T22:00")
    assert pace.late_us(friday, at("2026-03-08T23:59")) is None
    assert local(pace.late_us(friday, at("2026-03-09T08:00"))) == "2026-03-09T02:00"


@pytest.mark.parametrize("day", ["2026-03-08", "2026-11-01"], ids=["spring", "autumn"])
def test_the_night_the_clocks_change_is_as_long_as_it_is(day):
    pace = expected("2h", quiet_hours=["22:00-06:00"])
    begin = at(f"{day}T00:30")
    late = pace.late_us(begin, at(f"{day}T12:00"))
    assert local(late) == f"{day}T08:00"


@given(
    st.integers(0, 60 * 24 * 14),
    st.integers(0, 60 * 24 * 40),
    st.booleans(),
    st.booleans(),
)
def test_a_source_once_late_stays_late_since_the_same_moment(start, silence, hours, days):
    more = {"quiet_hours": ["21:15-05:45"]} if hours else {}
    more |= {"quiet_days": ["sunday"]} if days else {}
    pace = expected("6h", **more)
    last = at("2026-03-01T00:00") + start * MINUTE
    found = pace.late_us(last, last + silence * MINUTE)
    later = pace.late_us(last, last + (silence + 60 * 24 * 4) * MINUTE)
    assert later is not None
    assert later >= last + 6 * 60 * MINUTE
    assert found in (None, later)


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"interval": "soon"}, "`interval` must be"),
        ({"interval": "90d"}, "31 days at most"),
        ({"interval": "1h", "quiet_hours": ["22-6"]}, "`quiet_hours` must be"),
        ({"interval": "1h", "quiet_hours": ["22:00-22:00"]}, "`quiet_hours` must be"),
        ({"interval": "1h", "quiet_days": ["Sabbath"]}, "`quiet_days` must be"),
        ({"quiet_days": ["sunday"]}, "`interval` must be given"),
    ],
)
def test_a_wrong_expectation_is_named_by_its_key(table, named):
    reader = TableReader("lab.toml [expected]", table)
    read_expected(reader, "UTC")
    assert [fault for fault in reader.faults if named in fault], reader.faults
    assert all(fault.startswith("lab.toml [expected]: ") for fault in reader.faults)


def test_a_source_that_states_no_interval_is_never_late():
    assert read_expected(TableReader("lab.toml [expected]", {}), "UTC") is None
