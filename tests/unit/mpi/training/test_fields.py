"""Columns of exported records say all that their comparisons read, and nothing is lost in them."""

import pickle
from dataclasses import fields as fields_of
from itertools import pairwise

import pytest

from mpi.demographics import Demographics
from mpi.levels import COMPARISONS
from mpi.normalize import Normalizer
from mpi.training import fields
from mpi.training.fields import FIELDS, NOTHING, Knowledge, columns, level_functions, parse
from tests.conftest import IS_LONG
from tests.support.memory_index import TODAY
from tests.support.mpi import MODEL, SETTINGS, demographics
from tests.support.people import Sighting, ordinary_pairs, population, twin_pairs

KNOWLEDGE = Knowledge.of(SETTINGS)
FUNCTIONS = {function.comparison: function for function in level_functions(MODEL, KNOWLEDGE)}
COUNT = 2_000 if IS_LONG else 300


def normalized(sighting: Sighting) -> Demographics:
    return Normalizer(SETTINGS.forms, SETTINGS.defaults).demographics(sighting.patient, TODAY)


def pairs() -> list[tuple[Demographics, Demographics]]:
    """One person's records, twins', and strangers'."""
    found = [(normalized(a), normalized(b)) for a, b in ordinary_pairs(41, COUNT)]
    found += [(normalized(a), normalized(b)) for a, b in twin_pairs(42, COUNT // 4)]
    town = [normalized(sighting) for sighting in population(43, COUNT // 4)]
    return [*found, *pairwise(town)]


def test_every_comparison_of_the_model_has_a_column():
    assert list(FIELDS) == list(COMPARISONS)


def test_columns_give_the_level_that_the_whole_records_give():
    compare = fields.comparer(KNOWLEDGE).compare
    for one, other in pairs():
        whole = compare(one, other)
        ours, theirs = columns(one), columns(other)
        for name, function in FUNCTIONS.items():
            number = function(ours[name], theirs[name])
            level = whole.level(name)
            found = None if number == NOTHING else function.levels[number]
            assert found == (level.value if level is not None else None), name


def test_a_column_read_back_holds_the_fields_of_its_comparison():
    for one, _ in pairs():
        row = columns(one)
        for name, read in FIELDS.items():
            column = row[name]
            if column is None:
                assert not any(getattr(one, field) for field in read)
                continue
            back = parse(name, column)
            others = {f.name for f in fields_of(Demographics)} - set(read)
            assert all(getattr(back, field) == getattr(one, field) for field in read)
            assert all(getattr(back, f) == getattr(Demographics(), f) for f in others)


def test_an_empty_record_has_empty_columns_only():
    assert set(columns(Demographics()).values()) == {None}


@pytest.mark.parametrize("name", list(COMPARISONS))
def test_a_missing_column_gives_no_level(name: str):
    row = columns(demographics(ssn="213456781", email="n@example.org"))
    assert FUNCTIONS[name](row[name], None) == NOTHING
    assert FUNCTIONS[name](None, row[name]) == NOTHING


def test_functions_travel_to_other_processes():
    sent = pickle.loads(pickle.dumps(FUNCTIONS["name"]))
    row = columns(demographics())
    assert sent.levels[sent(row["name"], row["name"])] == "exact"


def test_agreement_on_a_name_is_told_where_its_frequency_counts():
    terms = {f.term: f for f in fields.term_functions(MODEL, KNOWLEDGE)}
    one = columns(demographics(given=["Oonagh"], family="Quinlan"))["name"]
    other = columns(demographics(given=["Oonagh"], family="Marchetti"))["name"]
    assert terms["first"](one, one) == "oonagh"
    assert terms["last"](one, one) == "quinlan"
    assert terms["first"](one, other) == "oonagh"
    assert terms["last"](one, other) == ""
    assert terms["last"](one, None) == ""
