"""RFC 7396, with examples in its manner."""

import pytest

from adapters.fhir.merge_patch import merge_patch

ROWS = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ({"a": "b"}, {"a": {"c": 1}}, {"a": {"c": 1}}),
]


@pytest.mark.parametrize(("document", "patch", "expected"), ROWS)
def test_members_are_put_in_the_place_of_others_and_null_takes_away(document, patch, expected):
    before = repr(document)
    assert merge_patch(document, patch) == expected
    assert repr(document) == before
