"""https://hl7.org/fhir/R4/search.html: what is asked and what is stored meet as defined."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.params import split_escaped, unescape
from fhir_server.search.parse import SearchParser
from fhir_server.settings import FhirSettings
from hie.kernel.errors import HieError
from hie.store.blind import (
    date_asked,
    date_keys,
    fold,
    moment_asked,
    moment_keys,
    string_asked,
    string_keys,
)
from hie.store.dates import span
from hie.store.index import load_index
from hie.store.query import Prefix, Served, StringMode
from tests.support.fake_door import lies, meets

INDEX = load_index(Path(__file__).resolve().parents[2] / "config/fhir")
PARSER = SearchParser(INDEX, FhirSettings())

DAYS = st.dates(date(1850, 1, 1), date(2099, 12, 31))
#: A small window, so that ranges touch and nest often.
NEAR_DAYS = st.integers(0, 800).map(lambda n: date(1979, 1, 1) + timedelta(days=n))


def written(day: date, length: int) -> str:
    """A date to the year (4), month (7) or day (10)."""
    return day.isoformat()[:length]


DATES = st.builds(written, DAYS | NEAR_DAYS, st.sampled_from([4, 7, 10]))
NEAR_DATES = st.builds(written, NEAR_DAYS, st.sampled_from([4, 7, 10]))
#: A few seconds, minutes and hours around midnights, months and a new year, in several zones.
OFFSETS = st.sampled_from(
    [0, 1, 2, 59, 60, 61, 3_599, 3_600, 86_399, 86_400, 2_678_400, 40_000_000]
)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=-5)), timezone(timedelta(hours=14))])


def timed(seconds: int, zone: timezone, length: int) -> str:
    """A time of day to the minute (16) or second (19)."""
    at = (datetime(1979, 12, 31, tzinfo=UTC) + timedelta(seconds=seconds)).astimezone(zone)
    return at.isoformat()[:length] + at.isoformat()[19:]


TIMES = st.builds(timed, OFFSETS, ZONES, st.just(19))
ASKED_TIMES = st.builds(timed, OFFSETS, ZONES, st.sampled_from([16, 19]))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def ranged(text: str) -> tuple[int, int]:
    """The range of a date."""
    found = span(text)
    assert found
    return found


@given(st.sampled_from(Prefix), NEAR_DATES, NEAR_DATES)
def test_buckets_of_dates_find_what_their_ranges_define(prefix: Prefix, asked: str, stored: str):
    met = bool(set(date_asked(prefix, *ranged(asked))) & set(date_keys(stored)))
    assert met is lies(*ranged(stored), prefix, *ranged(asked))


@given(st.sampled_from(Prefix), DATES, DATES)
def test_buckets_hold_for_dates_far_apart(prefix: Prefix, asked: str, stored: str):
    met = bool(set(date_asked(prefix, *ranged(asked))) & set(date_keys(stored)))
    assert met is lies(*ranged(stored), prefix, *ranged(asked))


@given(TEXTS, st.integers(1, 12))
def test_every_prefix_of_a_folded_string_finds_it(text: str, length: int):
    asked = fold(text)[:length].rstrip()
    if asked:
        assert string_asked(asked, StringMode.STARTS) in string_keys(text)


@given(TEXTS, TEXTS)
def test_a_short_string_finds_only_what_starts_with_it(text: str, asked: str):
    folded = fold(asked)
    if 0 < len(folded) <= 12:
        met = string_asked(asked, StringMode.STARTS) in string_keys(text)
        assert met is fold(text).startswith(folded)


@given(TEXTS, TEXTS)
def test_an_exact_search_finds_only_the_same_text(text: str, asked: str):
    met = string_asked(asked, StringMode.EXACT) in string_keys(text)
    assert met is (text == asked)


@given(TEXTS)
def test_folding_twice_is_folding_once(text: str):
    assert fold(fold(text)) == fold(text)


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_escaped_values_come_apart_as_they_were_joined(values: list[str]):
    def escape(value: str) -> str:
        for mark in ("\\", ",", "|", "$"):
            value = value.replace(mark, f"\\{mark}")
        return value

    joined = ",".join(escape(value) for value in values)
    assert [unescape(part) for part in split_escaped(joined, ",")] == values


@given(
    st.decimals(-1000, 1000, places=2),
    st.decimals(-1000, 1000, places=2),
    st.sampled_from(Prefix),
)
def test_numbers_compare_as_numbers(stored: Decimal, asked: Decimal, prefix: Prefix):
    resource = {"resourceType": "Observation", "valueQuantity": {"value": stored}}
    query = PARSER.parse("Observation", (("value-quantity", f"{prefix}{asked}"),)).query
    served = Served(type="Observation", id="o", version="1", last_updated_us=0)
    half = Decimal("0.005")
    expected = {
        Prefix.EQ: asked - half <= stored < asked + half,
        Prefix.NE: not asked - half <= stored < asked + half,
        Prefix.GT: stored > asked,
        Prefix.LT: stored < asked,
        Prefix.GE: stored >= asked,
        Prefix.LE: stored <= asked,
        Prefix.SA: stored > asked,
        Prefix.EB: stored < asked,
    }
    if prefix in expected:
        met = meets(INDEX.values(resource), served, query.criteria[0])
        assert met is expected[prefix]


@given(
    st.sampled_from(INDEX.types),
    st.lists(
        st.tuples(
            st.sampled_from(["code", "date", "patient", "_id", "_count", "_sort", "identifier"])
            | TEXTS,
            TEXTS,
        ),
        max_size=4,
    ),
)
def test_any_query_string_is_understood_or_refused_with_issues(
    type_name: str, params: list[tuple[str, str]]
):
    try:
        issues = PARSER.parse(type_name, tuple(params)).warnings
    except HieError as error:
        issues = error.issues or ()
        is_explained = bool(issues)
    else:
        is_explained = not issues
    assert is_explained


@given(prefix=st.sampled_from(list(Prefix)), asked=ASKED_TIMES, stored=TIMES | DATES | NEAR_DATES)
def test_a_moment_is_found_as_its_time_of_day_lies(prefix: Prefix, asked: str, stored: str) -> None:
    met = bool(set(moment_asked(prefix, *ranged(asked))) & set(moment_keys(stored)))
    assert met is lies(*ranged(stored), prefix, *ranged(asked))


@given(prefix=st.sampled_from(list(Prefix)), asked=DATES | NEAR_DATES, stored=DATES | NEAR_DATES)
def test_a_moment_without_time_is_found_by_days_as_any_date(
    prefix: Prefix, asked: str, stored: str
) -> None:
    keys = set(date_asked(prefix, *ranged(asked)))
    assert bool(keys & set(moment_keys(stored))) is bool(keys & set(date_keys(stored)))


def test_a_list_of_moments_is_bounded() -> None:
    hostile = ",".join(f"ne20{n:02d}-05-12T10:11:{n % 60:02d}Z" for n in range(90))
    with pytest.raises(HieError) as raised:
        PARSER.parse("Patient", (("death-date", hostile),))
    assert raised.value.issues[0].code == "too-costly"
    assert "`death-date`" in raised.value.issues[0].text
