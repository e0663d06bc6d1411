"""https://hl7.org/fhir/R4/search.html: which values of an element can be searched."""

from decimal import Decimal

import pytest

from hie.store.extract import (
    LOGICAL,
    OF_TYPE,
    TEXT,
    Field,
    clear_string,
    date_ranges,
    numbers,
    places,
    quantities,
    refs,
    sounds,
    strings,
    tokens,
    uris,
)
from hie.store.numbers import MAX_NUMBER, number_range
from hie.store.paths import compile_path
from hie.store.query import StringMode

FIELD = Field("p", 7)


def walk(path, resource):
    first, step = compile_path(path)
    return list(step(resource[first])) if first in resource else []


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("name.family", ["Ash", "Birch"]),
        ("name.given", ["Ann", "B", "Cy"]),
        ("telecom[system=phone].value", ["1"]),
        ("telecom[system=phone]", [{"system": "phone", "value": "1"}]),
        ("extension[url=http://x.org/a.b].valueCode", ["z"]),
        ("gender.nothing", []),
        ("absent.family", []),
    ],
)
def test_a_path_enters_lists_and_keeps_what_its_filter_names(path: str, found):
    resource = {
        "name": [{"family": "Ash", "given": ["Ann", "B"]}, {"family": "Birch", "given": ["Cy"]}],
        "telecom": [{"system": "phone", "value": "1"}, {"system": "email", "value": "2"}],
        "extension": [{"url": "http://x.org/a.b", "valueCode": "z"}, {"url": "other"}],
        "gender": "male",
    }
    assert walk(path, resource) == found


@pytest.mark.parametrize("path", ["", "a..b", "a.", "a[b]", "a b", ".a"])
def test_what_is_no_path_is_refused(path: str):
    with pytest.raises(ValueError):
        compile_path(path)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("final", [("urn:fixed", "final")]),
        (True, [("", "true")]),
        ({"system": "s", "code": "c"}, [("s", "c")]),
        ({"code": "c"}, [("", "c")]),
        (
            {
                "coding": [{"system": "s", "code": "a"}, {"code": "b"}, {"display": "x"}],
                "text": "t",
            },
            [("s", "a"), ("", "b")],
        ),
        ({"system": "urn:mrn", "value": "17"}, [("urn:mrn", "17")]),
        ({"text": "only text"}, []),
        ({"coding": "not a list"}, []),
        (17, []),
        ([], []),
    ],
)
def test_tokens_are_read_by_the_shape_of_the_element(value, found):
    field = Field("p", 7, system="urn:fixed")
    assert [(v.system, v.code) for v in tokens(field, value) if v.kind == "token"] == found


def test_a_contact_is_a_token_without_a_system():
    field = Field("phone", 7, is_contact=True)
    (found,) = tokens(field, {"system": "phone", "value": "+1 617 555 0101"})
    assert (found.system, found.code) == ("", "6175550101")


def test_a_blind_token_has_keys_and_nothing_in_clear():
    (found,) = tokens(Field("identifier", 7, is_blind=True), {"system": "urn:mrn", "value": "17"})
    assert found.kind == "blind"
    assert found.keys == ("v:17", "s:urn:mrn|17")
    assert (found.system, found.code, found.value) == ("", "", "")


def test_tokens_are_cut_to_the_column():
    (found,) = tokens(FIELD, {"system": "s" * 300, "code": "c" * 300})
    assert (len(found.system), len(found.code)) == (200, 200)


@pytest.mark.parametrize(
    "value", ["2020-01-01", {"start": "2020"}, {"event": ["2020"]}, {"repeat": {"count": 1}}, 3, {}]
)
def test_whatever_stands_where_a_date_should_is_read_or_passed_over(value):
    assert len(list(date_ranges(FIELD, value))) == (
        0 if value in (3, {}, {"repeat": {"count": 1}}) else 1
    )


def test_a_blind_date_has_keys_alone():
    (found,) = date_ranges(Field("birthdate", 7, is_blind=True), "1980-05")
    assert found.keys == ("d:1980", "d:1980-05", "o:1980-05")
    assert (found.lo_us, found.hi_us) == (0, 0)
    assert list(date_ranges(Field("birthdate", 7, is_blind=True), {"start": "1980"})) == []


def test_a_clear_string_is_kept_folded_and_as_written():
    assert [v.value for v in strings(FIELD, "Saint Mary's")] == ["saint marys", "=Saint Mary's"]
    assert list(strings(FIELD, "  ")) == []
    assert clear_string("A-B", StringMode.STARTS) == "ab"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("1.50"), (Decimal("1.50"), Decimal("1.50"))),
        (3, (Decimal(3), Decimal(3))),
        ({"value": Decimal(5), "comparator": "<"}, (-MAX_NUMBER, Decimal(5))),
        ({"value": Decimal(5), "comparator": ">="}, (Decimal(5), MAX_NUMBER)),
        ({"low": {"value": 1}, "high": {"value": 2}}, (Decimal(1), Decimal(2))),
        ({"low": {"value": 1}}, (Decimal(1), MAX_NUMBER)),
        ({"unit": "mg"}, None),
        (True, None),
        ("5", None),
        (Decimal("1e40"), (MAX_NUMBER, MAX_NUMBER)),
        (Decimal("NaN"), None),
    ],
)
def test_numbers_are_ranges_and_comparators_leave_an_end_open(value, expected):
    assert number_range(value) == expected


def test_a_quantity_is_found_by_its_code_and_by_its_printed_unit():
    value = {"value": 5, "unit": "mmHg", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}
    assert [(v.system, v.code) for v in quantities(FIELD, value)] == [
        ("http://unitsofmeasure.org", "mm[Hg]"),
        ("", "mmHg"),
    ]


@pytest.mark.parametrize(
    ("value", "units"),
    [
        ({"value": 5, "unit": "kg", "system": "u", "code": "kg"}, [("u", "kg")]),
        ({"value": 5, "unit": "kg"}, [("", "kg")]),
        ({"value": 5}, [("", "")]),
        ({"value": 5, "currency": "USD"}, [("urn:iso:std:iso:4217", "USD")]),
        ({"low": {"value": 5, "system": "u", "code": "a"}}, [("u", "a")]),
        ({}, []),
        (5, []),
    ],
)
def test_each_unit_of_a_quantity_is_one_row(value, units):
    assert [(v.system, v.code) for v in quantities(FIELD, value)] == units


def test_uris_and_numbers_are_kept_as_they_are():
    assert [v.value for v in uris(FIELD, "http://x/q")] == ["http://x/q"]
    assert [v.value for v in uris(FIELD, "http://x/q|1")] == ["http://x/q|1", "http://x/q"]
    assert list(uris(FIELD, 1)) == []
    assert [(v.lo, v.hi) for v in numbers(FIELD, Decimal("0.5"))] == [
        (Decimal("0.5"), Decimal("0.5"))
    ]


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        ("Encounter/e1", ("Encounter", "e1")),
        ("Encounter/e1/_history/2", ("Encounter", "e1")),
        ("http://elsewhere.org/Encounter/e1", None),
        ("urn:uuid:1", None),
        ("#contained", None),
        (None, None),
    ],
)
def test_references_to_resources_of_the_hub_have_a_row(reference, target):
    found = [v.target for v in refs(FIELD, {"reference": reference}) if v.kind == "ref"]
    assert found == ([target] if target else [])


def test_the_subject_needs_no_row_where_it_is_a_patient():
    field = Field("subject", 7, is_person=True)
    assert list(refs(field, {"reference": "Patient/p1"})) == []
    assert [v.target for v in refs(field, {"reference": "Group/g1"})] == [("Group", "g1")]


def test_texts_of_a_concept_are_a_face_of_its_codes():
    concept = {
        "text": "Glucose in blood",
        "coding": [
            {"system": "s", "code": "a", "display": "Glucose in blood"},
            {"system": "s", "code": "b", "display": "Glucose"},
        ],
    }
    found = [v.value for v in tokens(FIELD, concept) if v.param_id == FIELD.param_id + TEXT]
    assert found == ["Glucose in blood", "Glucose"]
    assert [v.kind for v in tokens(FIELD, {"text": "only words"})] == ["text"]


def test_an_identifier_is_found_with_the_coding_of_its_type():
    identifier = {
        "type": {"coding": [{"system": "t", "code": "MR"}], "text": "Chart number"},
        "system": "s",
        "value": "17",
    }
    clear = [v for v in tokens(FIELD, identifier) if v.param_id == FIELD.param_id + OF_TYPE]
    assert [(v.system, v.code) for v in clear] == [("t", "MR|17")]
    blind = tokens(FIELD._replace(is_blind=True), identifier)
    keyed = [v for v in blind if v.param_id == FIELD.param_id + OF_TYPE]
    assert [(v.kind, v.keys) for v in keyed] == [("blind", ("o:t|MR|17",))]


def test_what_a_reference_names_otherwise_is_kept_as_keys_alone():
    reference = {
        "reference": "http://elsewhere.org/Patient/7",
        "identifier": {"system": "s", "value": "17"},
    }
    (found,) = refs(FIELD, reference)
    assert (found.kind, found.param_id) == ("blind", FIELD.param_id + LOGICAL)
    assert found.keys == ("u:http://elsewhere.org/Patient/7", "v:17", "s:s|17")


def test_sampled_data_is_the_range_of_its_samples():
    sampled = {
        "origin": {"value": 10, "unit": "mV"},
        "factor": 2,
        "data": "1 E -3 U",
        "upperLimit": 9,
    }
    (found,) = quantities(FIELD, sampled)
    assert (found.lo, found.hi, found.code) == (Decimal(4), Decimal(28), "mV")


def test_names_that_sound_alike_meet():
    def sounds_of_name(text: str) -> set[str]:
        return {v.value for v in sounds(FIELD, text)}

    assert sounds_of_name("Smith Catherine") == sounds_of_name("Smyth Katherine")
    assert sounds_of_name("Smith") != sounds_of_name("Jones")


def test_a_place_is_a_unit_vector_and_no_place_is_none():
    (found,) = places(FIELD, {"latitude": Decimal("90"), "longitude": Decimal("12.5")})
    assert found.at == pytest.approx((0, 0, 1))
    assert list(places(FIELD, {"latitude": 91, "longitude": 0})) == []
    assert list(places(FIELD, {"latitude": 1})) == []


@pytest.mark.parametrize(
    ("reference", "is_found"),
    [("Observation/o1", False), ("Patient/p1", False), ("Practitioner/d1", True), ("#c", True)],
)
def test_the_identifier_of_what_may_be_hidden_is_no_way_to_find_who_names_it(reference, is_found):
    field = FIELD._replace(public=frozenset({"Practitioner"}))
    named = {"reference": reference, "identifier": {"system": "urn:a", "value": "17"}}
    kinds = [value.kind for value in refs(field, named)]
    assert ("blind" in kinds) is is_found
