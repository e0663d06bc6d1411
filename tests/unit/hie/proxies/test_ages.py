"""How old somebody is: birthdays, leap days, zones, dates not known to the day."""

from datetime import date
from zoneinfo import ZoneInfo

import pytest

from hie.proxies.ages import age_on, day_at, earliest, latest
from tests.support.consents import us

BOSTON = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("born", "day", "age"),
    [
        ("2010-05-17", "2028-05-16", 17),
        ("2010-05-17", "2028-05-17", 18),
        ("2010-05-17", "2023-05-16", 12),
        ("2010-05-17", "2023-05-17", 13),
        ("2008-02-29", "2026-02-27", 17),
        ("2008-02-29", "2026-02-28", 18),  # no 29th that year: not a day later
        ("2008-02-29", "2028-02-28", 19),
        ("2008-02-29", "2028-02-29", 20),
        ("2010-12-31", "2010-12-30", -1),
        ("2000-02-29", "2100-02-28", 100),  # 2100 has no leap day
    ],
)
def test_a_year_is_completed_on_the_birthday(born: str, day: str, age: int):
    assert age_on(date.fromisoformat(born), date.fromisoformat(day)) == age


@pytest.mark.parametrize(
    ("now", "day"),
    [
        ("2028-05-17T03:59:59Z", "2028-05-16"),  # 23:59:59 in summer
        ("2028-05-17T04:00:00Z", "2028-05-17"),
        ("2028-01-17T04:59:59Z", "2028-01-16"),  # an hour later in winter
        ("2028-01-17T05:00:00Z", "2028-01-17"),
    ],
)
def test_the_day_begins_at_midnight_where_the_law_holds(now: str, day: str):
    assert day_at(us(now), BOSTON) == date.fromisoformat(day)


@pytest.mark.parametrize(
    ("written", "first", "last"),
    [
        (["2010"], "2010-01-01", "2010-12-31"),
        (["2010-02"], "2010-02-01", "2010-02-28"),
        (["2012-02"], "2012-02-01", "2012-02-29"),
        (["2010-12"], "2010-12-01", "2010-12-31"),
        (["2010-05-17"], "2010-05-17", "2010-05-17"),
        (["2010-05-17", "2009"], "2009-01-01", "2010-05-17"),
        (["2010-05-17", "2010-13-01", "unknown"], "2010-05-17", "2010-05-17"),
    ],
)
def test_a_date_not_known_to_the_day_leaves_a_range_open(written: list[str], first: str, last: str):
    assert earliest(written) == date.fromisoformat(first)
    assert latest(written) == date.fromisoformat(last)


def test_no_date_at_all_is_no_age():
    assert earliest([]) is None
    assert latest(["", "10/05/2010", "2010-02-30"]) is None


def birthday_of(born: date, years: int) -> date:
    """The day on which somebody becomes so many years old."""
    try:
        return born.replace(year=born.year + years)
    except ValueError:  # born on 29 February, and that year has none
        return date(born.year + years, 2, 28)


def test_a_birthday_is_the_first_day_of_an_age():
    for born in (date(2008, 2, 29), date(2010, 12, 31), date(2011, 3, 1)):
        for years in range(1, 30):
            day = birthday_of(born, years)
            assert age_on(born, day) == years
            assert age_on(born, date.fromordinal(day.toordinal() - 1)) == years - 1
