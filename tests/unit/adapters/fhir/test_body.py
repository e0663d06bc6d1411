"""FHIR JSON read strictly: https://hl7.org/fhir/R4/json.html."""

import copy
import pickle
from decimal import Decimal

import pytest

from adapters.fhir.body import Limits, Written, member, parse_body
from hie.kernel.errors import Category, HieError

LIMITS = Limits(body_bytes=10_000, depth=10)
CANARY = "Zzcanary"


def refused(body):
    with pytest.raises(HieError) as caught:
        parse_body(body, LIMITS)
    error = caught.value
    assert CANARY not in f"{error.text} {error.issues}"
    return error


@pytest.mark.parametrize(
    "number", ["72.50", "1e5", "0.000000001", "-0.0", "1E400", "12345678901234567890.10"]
)
def test_a_number_prints_as_it_was_written(number):
    parsed = parse_body(f'{{"resourceType":"X","value":{number}}}'.encode(), LIMITS)
    assert str(parsed["value"]) == number
    assert parsed["value"] == Decimal(number)


def test_a_number_keeps_its_text_through_copies():
    number = Written("1e5")
    assert [str(copy.deepcopy(number)), str(pickle.loads(pickle.dumps(number)))] == ["1e5"] * 2


def test_integers_stay_integers():
    assert parse_body(b'{"resourceType":"X","n":[0,-7,2147483647]}', LIMITS)["n"] == [
        0,
        -7,
        2147483647,
    ]


def test_a_byte_order_mark_is_dropped():
    assert parse_body(b'\xef\xbb\xbf{"resourceType":"X"}', LIMITS) == {"resourceType": "X"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"resourceType":"X"',
        b'{"resourceType":"X"} trailing',
        b"[]",
        b'"text"',
        b"null",
        b"{}",
        b'{"resourceType":7}',
        b'{"resourceType":"X","v":NaN}',
        b'{"resourceType":"X","v":-Infinity}',
        b'{"resourceType":"X","v":1e999999999999999999999}',
        b'{"resourceType":"X","v":' + b"1" * 5000 + b"}",
        b'{"resourceType":"X","v":"\xe9"}',  # Latin-1
        b'{"resourceType":"X","v":"raw\x01control"}',
        b"[" * 9_000,
        '{"resourceType":"X"}'.encode("utf-16"),
    ],
)
def test_what_is_not_one_json_object_of_a_resource_is_invalid(body):
    assert refused(body).category is Category.INVALID


def test_a_body_over_the_limit_is_too_large():
    assert refused(b" " * 10_001).category is Category.TOO_LARGE


def test_a_property_named_twice_is_refused_with_its_place():
    error = refused(
        b'{"resourceType":"Bundle","entry":[{},{"resource":{"name":[{"family":"'
        + CANARY.encode()
        + b'","family":"b"}]}}]}'
    )
    assert error.issues[0].expression == ("Bundle.entry[1].resource.name[0]",)


def test_a_property_named_twice_is_refused_though_both_are_equal():
    refused(b'{"resourceType":"X","a":1,"a":1}')


@pytest.mark.parametrize("escape", [r"\u0000", r"\u0001", r"\u001F", r"\ud800", r"\uDFFF"])
def test_controls_and_half_surrogates_are_refused_with_their_place(escape):
    error = refused(f'{{"resourceType":"Patient","name":[{{"family":"{escape}"}}]}}'.encode())
    assert error.issues[0].expression == ("Patient.name[0].family",)


@pytest.mark.parametrize("escape", [r"\t", r"\n", r"\r", r"\u0009", r"\u000a", r"\ud83d\ude00"])
def test_tabs_line_ends_and_whole_surrogate_pairs_are_taken(escape):
    parse_body(f'{{"resourceType":"X","v":"{escape}"}}'.encode(), LIMITS)


def test_a_forbidden_character_in_a_property_name_is_refused():
    refused(rb'{"resourceType":"X","a\u0000b":1}')


@pytest.mark.parametrize(("levels", "is_taken"), [(9, True), (10, False)])
def test_the_depth_limit_counts_objects_and_arrays(levels, is_taken):
    body = b'{"resourceType":"X","v":' + b"[" * levels + b"]" * levels + b"}"
    if is_taken:
        parse_body(body, LIMITS)
    else:
        assert refused(body).issues[0].expression == ("X",)


def test_brackets_in_strings_are_not_depth():
    parse_body(b'{"resourceType":"X","v":"' + b"[{" * 50 + b'"}', LIMITS)


def test_a_name_that_fhir_could_not_have_is_not_repeated_in_a_path():
    assert member("Patient", "birthDate") == "Patient.birthDate"
    assert member("Patient", f"{CANARY} 1970") == "Patient.children()"
