"""Repeat patterns, durations and dates moved by them."""

from decimal import Decimal
from typing import Any

import pytest

from adapters.hl7v2.durations import moved
from tests.support.mapping import NOWHERE, converted


def every(period: str, unit: str, frequency: int = 1, **more: object) -> dict[str, object]:
    return {"frequency": frequency, "period": Decimal(period), "periodUnit": unit, **more}


@pytest.mark.parametrize(
    ("raw", "repeat"),
    [
        ("BID", every("1", "d", 2)),
        ("Q6H", every("6", "h")),
        ("Q30M", every("30", "min")),
        ("Q2L", every("2", "mo")),
        ("QOD", every("2", "d")),
        ("6ID", every("1", "d", 6)),
        ("PRNQ4H", every("4", "h")),
        ("Q6H PRN", every("6", "h")),
        ("Q1J135", {"period": Decimal(1), "periodUnit": "wk", "dayOfWeek": ["mon", "wed", "fri"]}),
        ("QHS", every("1", "d", when=["HS"])),
        ("^^^^8^h", every("8", "h")),
        ("^^^^2^day", every("2", "d")),
        ("BID^DW^1^3", every("1", "d", 2, dayOfWeek=["mon", "wed"])),
        ("TID^^^^^^^AC^30^min", every("1", "d", 3, when=["AC"], offset=30)),
        ("QD^^^^^^^PCM", every("1", "d", when=["PCM"])),
        ("QD^^^^^^^IC", every("1", "d")),
        ("ONCE", None),
        ("PRN", None),
    ],
)
def test_a_pattern_is_a_rhythm(raw, repeat):
    found = converted("timing", raw)
    assert isinstance(found, dict)
    assert found.get("repeat") == repeat


@pytest.mark.parametrize(
    ("raw", "code"),
    [("BID", "BID"), ("Q6H", "Q6H"), ("DAILY", "QD"), ("Q6H PRN", "Q6H"), ("Q5H", None)],
)
def test_a_pattern_everybody_knows_has_a_code(raw, code):
    found = converted("timing", raw)
    assert isinstance(found, dict)
    assert found["code"]["text"] == raw
    assert [c["code"] for c in found["code"].get("coding", [])] == ([code] if code else [])


def test_the_text_of_a_pattern_is_the_senders():
    found = converted("timing", "BID&twice a day&L")
    assert isinstance(found, dict)
    assert found["code"]["text"] == "twice a day"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("7^d", (7, "d")),
        ("2^W&week", (2, "wk")),
        ("17^Hr&ucum", (17, "h")),
        ("30^D&day&ISO+", (30, "d")),
        ("1.5^h", (Decimal("1.5"), "h")),
        ("3^mon", (3, "mo")),
        ("90&min", (90, "min")),
        ("0^d", None),
        ("some^d", None),
        ("5^furlong", None),
    ],
)
def test_a_duration_is_in_units_of_time(raw, expected):
    found = converted("duration", raw)
    if expected is None:
        assert found is None
        return
    value, unit = expected
    assert found == {
        "value": Decimal(value),
        "unit": unit,
        "system": "http://unitsofmeasure.org",
        "code": unit,
    }


@pytest.mark.parametrize(
    ("raw", "companion", "expected"),
    [
        ("30", "", 30),
        ("60", "s", 1),
        ("1.5", "h^hours", 90),
        ("1", "D^day^ISO+", 1440),
        ("45^min", "", 45),
        ("45", "MIN^Minutes", 45),
        ("90", "s", None),
        ("x", "", None),
        ("2", "mo", None),
    ],
)
def test_minutes_are_whole_ones(raw, companion, expected):
    assert converted("minutes", raw, companion=companion) == expected


@pytest.mark.parametrize(
    ("moment", "length", "back", "expected"),
    [
        ("2026-03-01", ("7", "d"), False, "2026-03-08"),
        ("2026-03-01", ("1", "wk"), True, "2026-02-22"),
        ("2026-03-01", ("8", "h"), False, None),
        ("2026-03", ("7", "d"), False, None),
        ("2026-03-01T08:00:00-05:00", ("90", "min"), False, "2026-03-01T09:30:00-05:00"),
        ("2026-03-01T00:30:00+01:00", ("1", "h"), True, "2026-02-28T23:30:00+01:00"),
        ("2026-03-01", ("1", "mo"), False, None),
        ("9999-12-31", ("1", "d"), False, None),
    ],
)
def test_a_moment_is_moved_only_where_that_is_exact(moment, length, back, expected):
    value, unit = length
    assert moved(moment, (Decimal(value), unit), back=back) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("H8", (8, "h")),
        ("D1", (1, "d")),
        ("8 hours", (8, "h")),
        ("day", (1, "d")),
        ("each moon", None),
    ],
)
def test_an_amount_is_given_per_so_much_time(raw, expected):
    found = converted("per-time", raw)
    assert (found is None) is (expected is None)
    if expected:
        assert isinstance(found, dict)
        assert (found["value"], found["code"]) == expected


def old(raw: str, **options: Any) -> dict[str, Any]:
    """The one Dosage of a TQ."""
    found = converted("TQ-dosages", raw, **options)
    assert isinstance(found, list)
    (dosage,) = found
    assert isinstance(dosage, dict)
    return dosage


def test_the_old_timing_has_bounds_times_and_words():
    raw = "1&TAB^BID&0800,2000^D5^20260101^20260106^S^if hungry^With water^^^M10^8"
    dosage = old(raw)
    repeat = dosage["timing"]["repeat"]
    assert repeat["timeOfDay"] == ["08:00:00", "20:00:00"]
    assert repeat["boundsPeriod"] == {"start": "2026-01-01", "end": "2026-01-06"}
    assert (repeat["duration"], repeat["durationUnit"], repeat["count"]) == (10, "min", 8)
    assert dosage["text"] == "With water"
    assert dosage["additionalInstruction"] == [{"text": "if hungry"}]
    assert "sequence" not in dosage


def test_so_many_times_is_a_count_and_for_ever_is_none():
    times, always = old("^Q8H^X6"), old("^Q8H^INDEF")
    assert times["timing"]["repeat"]["count"] == 6
    assert "boundsDuration" not in always["timing"]["repeat"]


def test_an_empty_timing_is_none():
    assert converted("TQ-dosages", "1&TAB") is None
    assert converted("timing", "^^^^^^^") is None


def test_without_a_zone_the_old_timing_has_dates():
    found = old("^QD^^202601010800", source=NOWHERE)
    assert found["timing"]["repeat"]["boundsPeriod"] == {"start": "2026-01-01"}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("125.00&USD", {"value": Decimal("125.00"), "currency": "USD"}),
        ("40", {"value": Decimal(40)}),
        ("12^eur", {"value": Decimal(12), "currency": "EUR"}),
        ("12&USD^DC", {"value": Decimal(12), "currency": "USD"}),
        ("-5&US", {"value": Decimal(-5)}),
        ("free", None),
    ],
)
def test_money_has_the_currency_that_is_named(raw, expected):
    assert converted("money", raw) == expected
