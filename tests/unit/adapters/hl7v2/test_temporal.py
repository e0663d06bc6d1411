"""Dates and times: HL7 v2.8.2 2.A.21-23 to FHIR, and never an offset nobody stated."""

from datetime import UTC, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from adapters.hl7v2.temporal import (
    TemporalError,
    date_only,
    date_time,
    instant,
    offset_of,
    time_only,
)

BOSTON = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026", None, "2026"),
        ("202601", None, "2026-01"),
        ("20260131", None, "2026-01-31"),
        ("20260131", BOSTON, "2026-01-31"),
        ("202601310930", None, "2026-01-31"),
        ("202601310930", BOSTON, "2026-01-31T09:30:00-05:00"),
        ("202607310930", BOSTON, "2026-07-31T09:30:00-04:00"),
        ("2026013109", BOSTON, "2026-01-31T09:00:00-05:00"),
        ("20260131093015.125-0500", None, "2026-01-31T09:30:15.125-05:00"),
        ("20260131093015+0530", BOSTON, "2026-01-31T09:30:15+05:30"),
        ("20260131093015Z", None, "2026-01-31T09:30:15+00:00"),
        ("20260131093015+9900", None, "2026-01-31"),
        ("20260131093060", UTC, "2026-01-31T09:30:59+00:00"),
        ("2026-01-31", None, "2026-01-31"),
        ("2026-01-31T09:30:15", UTC, "2026-01-31T09:30:15+00:00"),
        ("2026-01-31 09:30", UTC, "2026-01-31T09:30:00+00:00"),
        ("20260131+0500", None, "2026-01-31"),
    ],
)
def test_a_time_has_its_own_offset_or_the_zones_or_none(text, zone, expected):
    assert date_time(text, zone) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "20261", "202613", "20260230", "00000101", "2026013124", "202601310960"),
        *(
            "20260131T",
            "yesterday",
            "20260131093015.",
            "\u0662\u0660\u0662\u0666",
            "20260131 ",
            "-2026",
        ),
    ],
)
def test_what_is_no_date_is_refused(text):
    with pytest.raises(TemporalError):
        date_time(text, UTC)


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("20260131", UTC, None),
        ("202601310930", None, None),
        ("202601310930", UTC, "2026-01-31T09:30:00+00:00"),
    ],
)
def test_an_instant_needs_a_time_and_an_offset(text, zone, expected):
    assert instant(text, zone) == expected


@pytest.mark.parametrize("text", ["20260230", "soon"])
def test_an_instant_that_is_no_time_is_refused(text):
    with pytest.raises(TemporalError):
        instant(text, UTC)


def test_a_date_leaves_the_time_of_day_out():
    assert date_only("198001021530-0500") == "1980-01-02"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("09", "09:00:00"),
        ("0930", "09:30:00"),
        ("093015.5", "09:30:15.5"),
        ("09:30", "09:30:00"),
        ("0930-0500", "09:30:00"),
    ],
)
def test_a_time_of_day_has_seconds(text, expected):
    assert time_only(text) == expected


@pytest.mark.parametrize("text", ["", "9", "24", "0960", "093061", "noon"])
def test_what_is_no_time_of_day_is_refused(text):
    with pytest.raises(TemporalError):
        time_only(text)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("20260131093000-0500", timezone(timedelta(hours=-5))),
        ("20260131093000Z", UTC),
        ("20260131093000", None),
        ("20260131093000+1500", None),
        ("20260131093000+0175", None),
    ],
)
def test_an_offset_is_read_from_the_end_of_a_timestamp(text, offset):
    assert offset_of(text) == offset


def test_an_offset_with_seconds_is_written_in_utc():
    # Amsterdam was 19 minutes and 32 seconds ahead of Greenwich until 1937.
    assert date_time("193001011200", ZoneInfo("Europe/Amsterdam")).endswith(("+00:00", "+00:20"))
