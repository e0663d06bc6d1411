"""https://hl7.org/fhir/R4/datatypes.html#dateTime, https://hl7.org/fhir/R4/search.html#date"""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from hie.kernel.clock import micros
from hie.store.dates import period_span, span, timing_span, widened
from hie.store.query import MAX_US, MIN_US


def at(text: str) -> int:
    return micros(datetime.fromisoformat(text))


@pytest.mark.parametrize(
    ("written", "lo", "hi"),
    [
        ("2013", "2013-01-01T00:00:00Z", "2014-01-01T00:00:00Z"),
        ("2013-12", "2013-12-01T00:00:00Z", "2014-01-01T00:00:00Z"),
        ("2012-02", "2012-02-01T00:00:00Z", "2012-03-01T00:00:00Z"),
        ("2012-02-29", "2012-02-29T00:00:00Z", "2012-03-01T00:00:00Z"),
        ("2013-01-14T10:00", "2013-01-14T10:00:00Z", "2013-01-14T10:01:00Z"),
        ("2013-01-14T10:00:03Z", "2013-01-14T10:00:03Z", "2013-01-14T10:00:04Z"),
        ("2013-01-14T10:00:03.1Z", "2013-01-14T10:00:03.100Z", "2013-01-14T10:00:03.200Z"),
        ("2013-01-14T10:00:03.120-05:00", "2013-01-14T15:00:03.120Z", "2013-01-14T15:00:03.121Z"),
    ],
)
def test_a_value_is_the_range_its_precision_leaves_open(written: str, lo: str, hi: str):
    assert span(written) == (at(lo), at(hi))


def test_digits_beyond_a_microsecond_make_no_finer_range():
    assert span("2013-01-14T10:00:00.123456789Z") == (
        at("2013-01-14T10:00:00.123456Z"),
        at("2013-01-14T10:00:00.123457Z"),
    )


@pytest.mark.parametrize("written", ["9999", "9999-12", "9999-12-31"])
def test_the_last_year_ends_at_the_upper_bound(written: str):
    found = span(written)
    assert found
    assert found[1] == MAX_US


@pytest.mark.parametrize(
    "written",
    ["", "0000", "2013-13", "2013-02-30", "2013-1-1", "20130101", "2013-01-01T24:00:00Z", "today"],
)
def test_what_is_no_date_has_no_range(written: str):
    assert span(written) is None


def test_a_value_without_a_zone_is_taken_in_the_given_one():
    lo, hi = span("2013-07-01", ZoneInfo("America/New_York")) or (0, 0)
    assert lo == at("2013-07-01T04:00:00Z")
    assert hi == at("2013-07-02T04:00:00Z")


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        (
            {"start": "2013", "end": "2014"},
            (at("2013-01-01T00:00:00Z"), at("2015-01-01T00:00:00Z")),
        ),
        ({"start": "2013"}, (at("2013-01-01T00:00:00Z"), MAX_US)),
        ({"end": "2013"}, (MIN_US, at("2014-01-01T00:00:00Z"))),
        ({"start": "soon"}, None),
        ({}, None),
    ],
)
def test_an_open_end_of_a_period_is_unbounded(period, expected):
    assert period_span(period) == expected


def test_a_timing_spans_its_events_and_bounds():
    timing = {
        "event": ["2013-03-01", "2013-01-01"],
        "repeat": {"boundsPeriod": {"start": "2013-02-01", "end": "2013-04-01"}},
    }
    assert timing_span(timing) == (at("2013-01-01T00:00:00Z"), at("2013-04-02T00:00:00Z"))
    assert timing_span({"repeat": {"count": 3}}) is None


def test_approximately_is_a_tenth_of_the_distance_to_now_on_both_sides():
    # middle 150, now 1150: a tenth of 1000 is 100
    assert widened(100, 200, 1150) == (0, 300)
