"""What a search may ask of values of which only keyed hashes are stored."""

import pytest

from hie.store.blind import (
    contact,
    date_asked,
    date_keys,
    fold,
    string_asked,
    string_keys,
    token_asked,
    token_keys,
)
from hie.store.dates import span
from hie.store.query import Prefix, StringMode


@pytest.mark.parametrize(
    ("written", "folded"),
    [
        ("Muñoz", "munoz"),
        ("O'Brien-Smith", "obriensmith"),
        ("  Van   der  Berg ", "van der berg"),
        ("STRAẞE", "strasse"),
        ("-", ""),
    ],
)
def test_folding_drops_case_accents_and_punctuation(written: str, folded: str):
    assert fold(written) == folded


@pytest.mark.parametrize("asked", ["m", "MUÑ", "munoz", "Muñoz"])
def test_a_string_is_found_by_every_prefix_of_it(asked: str):
    assert string_asked(asked, StringMode.STARTS) in string_keys("Muñoz")


@pytest.mark.parametrize("asked", ["unoz", "munozz", "n"])
def test_a_string_is_not_found_by_what_it_does_not_start_with(asked: str):
    assert string_asked(asked, StringMode.STARTS) not in string_keys("Muñoz")


def test_beyond_twelve_characters_only_the_whole_string_is_found():
    keys = string_keys("Featherstonehaugh")
    assert string_asked("featherstone", StringMode.STARTS) in keys  # 12
    assert string_asked("featherstoneh", StringMode.STARTS) not in keys  # 13
    assert string_asked("FEATHERSTONEHAUGH", StringMode.STARTS) in keys


def test_an_exact_search_minds_case_and_accents():
    keys = string_keys("Muñoz")
    assert string_asked("Muñoz", StringMode.EXACT) in keys
    assert string_asked("Munoz", StringMode.EXACT) not in keys


def test_a_string_has_at_most_fourteen_keys():
    assert len(string_keys("x" * 500)) == 14  # 12 prefixes, the folded and the exact whole


@pytest.mark.parametrize(
    ("system", "is_found"), [(None, True), ("urn:a", True), ("urn:b", False), ("", False)]
)
def test_a_token_is_found_by_value_and_by_system_and_value(system: str | None, is_found: bool):
    assert (token_asked(system, "7") in token_keys("urn:a", "7")) is is_found


def test_a_token_without_a_system_is_found_by_asking_for_none():
    assert token_asked("", "7") in token_keys(None, "7")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("+1 (617) 555-0101", "617.555.0101"),
        ("Ann@Example.org", "ann@example.org"),
        ("911", "911"),
    ],
)
def test_contacts_meet_however_they_are_written(one: str, other: str):
    assert contact(one) == contact(other)


def test_an_exact_date_is_found_by_its_year_month_and_day():
    assert date_keys("1980-05-12") == ("d:1980", "d:1980-05", "d:1980-05-12")


@pytest.mark.parametrize(
    ("prefix", "asked", "stored", "is_found"),
    [
        ("eq", "1980", "1980-05-12", True),
        ("eq", "1980-05", "1980-05-12", True),
        ("eq", "1980-05-12", "1980", False),
        ("ge", "1980-05-12", "1980-05-12", True),
        ("gt", "1980-05-12", "1980-05-12", False),
        ("gt", "1980-05-12", "1980-05", True),  # May 1980 goes on after the 12th
        ("gt", "1980-05-31", "1980-05", False),
        ("gt", "1980-05", "1980", True),
        ("lt", "1980-05-12", "1980", True),
        ("lt", "1980-01-01", "1980", False),
        ("le", "1979-12-31", "1980-01-01", False),
        ("sa", "1980-05", "1980-06-01", True),
        ("sa", "1980-05", "1980", False),
        ("eb", "1980-05", "1980-04-30", True),
        ("ne", "1980-05", "1980-05-12", False),
        ("ne", "1980-05", "1980", True),
        ("ap", "1980-05", "1980", True),
    ],
)
def test_ranges_of_dates_are_found_by_their_buckets(
    prefix: str, asked: str, stored: str, is_found: bool
):
    keys = date_asked(Prefix(prefix), *(span(asked) or (0, 0)))
    assert bool(set(keys) & set(date_keys(stored))) is is_found


def test_an_open_range_asks_for_a_bounded_number_of_keys():
    widest = max(
        len(date_asked(prefix, *(span(day) or (0, 0))))
        for prefix in Prefix
        for day in ("1850-01-01", "1980-05-12", "2100-12-31")
    )
    assert widest <= 330  # 251 years, 11 months, 31 days and the two astride, twice for ne


@pytest.mark.parametrize("year", ["0001", "9999"])
def test_years_at_the_ends_of_time_are_no_fault(year: str):
    for prefix in Prefix:
        assert isinstance(date_asked(prefix, *(span(year) or (0, 0))), tuple)
