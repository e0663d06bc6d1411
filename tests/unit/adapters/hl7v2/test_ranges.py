"""What a reference range says, in the many ways laboratories write it."""

from decimal import Decimal
from typing import Any

import pytest

from adapters.hl7v2.datatypes import CONVERTERS
from tests.support.mapping import context_of, converted, tools

CODED = "mmol/L^^UCUM"


def limits(raw: str) -> tuple[str, str]:
    found: Any = converted("range-text", raw)
    assert found["text"]
    low, high = (str(found.get(side, {}).get("value", "")) for side in ("low", "high"))
    return low, high


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("3.5-5.1", "3.5", "5.1"),
        ("0 - 1", "0", "1"),
        ("7.35 to 7.45", "7.35", "7.45"),
        ("7.35 TO 7.45", "7.35", "7.45"),
        ("70 and 99", "70", "99"),
        ("70..99", "70", "99"),
        ("70 thru 99", "70", "99"),
        ("70^99", "70", "99"),
        ("70\u201399", "70", "99"),
        ("(70-99)", "70", "99"),
        ("[70 - 99]", "70", "99"),
        ("4,000-11,000", "4000", "11000"),
        (".5-1.", "0.5", "1"),
        ("-2.0-2.0", "-2.0", "2.0"),
        ("-5--1", "-5", "-1"),
        ("-2 to +2", "-2", "2"),
        ("72.50-99.00", "72.50", "99.00"),
    ],
)
def test_two_ends_are_low_and_high(text, low, high):
    assert limits(text) == (low, high)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("<200", "", "200"),
        ("< 200", "", "200"),
        ("<=200", "", "200"),
        ("=<200", "", "200"),
        ("< or = 200", "", "200"),
        ("< or equal to 200", "", "200"),
        ("\u2264200", "", "200"),
        ("less than 5", "", "5"),
        ("up to 40", "", "40"),
        ("Under 40", "", "40"),
        ("40 or less", "", "40"),
        (">40", "40", ""),
        ("> 40", "40", ""),
        (">= 150", "150", ""),
        ("\u226560", "60", ""),
        ("greater than 5", "5", ""),
        ("at least 5", "5", ""),
        ("60 or above", "60", ""),
    ],
)
def test_one_end_is_the_limit_it_names(text, low, high):
    assert limits(text) == (low, high)


@pytest.mark.parametrize(
    "text",
    [
        "negative",
        "Non-reactive",
        "yellow or straw",
        "M: 13.5-17.5 F: 12.0-16.0",
        "Adult 3.5-5.1",
        "5.1-3.5",
        "3,5-5,1",
        "12-",
        "-",
        "1:128",
        "see note 3-4",
        "0.0-0.5-1.0",
        "9" * 61,
    ],
)
def test_what_does_not_hold_for_everybody_stays_text(text):
    assert converted("range-text", text) == {"text": text}


def test_limits_have_the_unit_of_the_result_and_lose_it_from_the_text():
    unit = {"unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"}
    assert converted("range-text", "3.5-5.1 mmol/L", companion=CODED) == {
        "low": {"value": Decimal("3.5"), **unit},
        "high": {"value": Decimal("5.1"), **unit},
        "text": "3.5-5.1 mmol/L",
    }


def test_an_empty_range_says_nothing():
    assert converted("range-text", " ") is None


def test_what_is_done_to_one_range_is_not_done_to_the_next():
    context = context_of()
    convert = CONVERTERS["range-text"](tools(), "")
    first, second = convert("1-2", context), convert("1-2", context)
    first["text"] = "changed"
    assert second["text"] == "1-2"
    assert convert("1-2", context)["text"] == "1-2"
