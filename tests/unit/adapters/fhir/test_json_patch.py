"""RFC 6902 with the examples of its appendix, and what keeps it bounded and exact."""

import json
from decimal import Decimal

import pytest

from adapters.fhir.body import Limits, parse_json
from adapters.fhir.json_patch import MOST_OPERATIONS, json_patch
from hie.kernel.errors import Category, HieError


def op(name, path, **more):
    return {"op": name, "path": path, **more}


@pytest.mark.parametrize(
    ("document", "patch", "wanted"),
    [
        ({"a": 1}, [op("add", "/b", value=2)], {"a": 1, "b": 2}),
        ({"a": ["x", "z"]}, [op("add", "/a/1", value="y")], {"a": ["x", "y", "z"]}),
        ({"a": ["x"]}, [op("add", "/a/-", value=["y"])], {"a": ["x", ["y"]]}),
        ({"a": 1}, [op("add", "/a", value=2)], {"a": 2}),
        ({"a": {"b": 1}}, [op("add", "/a/c", value={"d": {}})], {"a": {"b": 1, "c": {"d": {}}}}),
        ({"a": 1, "b": 2}, [op("remove", "/b")], {"a": 1}),
        ({"a": ["x", "y"]}, [op("remove", "/a/0")], {"a": ["y"]}),
        ({"a": 1}, [op("replace", "/a", value=None)], {"a": None}),
        ({"a": 1}, [op("replace", "", value={"b": 1})], {"b": 1}),
        (
            {"a": {"b": 1}, "c": {}},
            [op("move", "/c/d", **{"from": "/a/b"})],
            {"a": {}, "c": {"d": 1}},
        ),
        ({"a": [1, 2, 3]}, [op("move", "/a/2", **{"from": "/a/0"})], {"a": [2, 3, 1]}),
        ({"a": {"b": 1}}, [op("copy", "/c", **{"from": "/a"})], {"a": {"b": 1}, "c": {"b": 1}}),
        (
            {"a/b": 1, "m~n": 2},
            [op("replace", "/a~1b", value=3), op("remove", "/m~0n")],
            {"a/b": 3},
        ),
        ({"": 1}, [op("test", "/", value=1)], {"": 1}),
        ({"a": [1]}, [op("test", "/a", value=[Decimal("1.0")])], {"a": [1]}),
        (
            {"a": {"x": 1, "y": 2}},
            [op("test", "/a", value={"y": 2, "x": 1})],
            {"a": {"x": 1, "y": 2}},
        ),
        (
            {"a": 1},
            [op("add", "/b", value=1, note="unknown members are passed over")],
            {"a": 1, "b": 1},
        ),
    ],
)
def test_operations_do_what_the_standard_says(document, patch, wanted):
    before = json.dumps(document, default=str)
    assert json_patch(document, patch) == wanted
    assert json.dumps(document, default=str) == before


@pytest.mark.parametrize(
    ("patch", "category"),
    [
        ({"op": "add"}, Category.INVALID),
        ([7], Category.INVALID),
        ([op("burn", "/a")], Category.INVALID),
        ([{"op": "remove"}], Category.INVALID),
        ([op("remove", "a")], Category.INVALID),
        ([op("remove", "/a~2")], Category.INVALID),
        ([op("add", "/b")], Category.INVALID),
        ([op("move", "/o/p", **{"from": "/o"})], Category.INVALID),
        ([op("remove", "/b")], Category.BUSINESS_RULE),
        ([op("remove", "")], Category.BUSINESS_RULE),
        ([op("replace", "/b", value=1)], Category.BUSINESS_RULE),
        ([op("add", "/b/c", value=1)], Category.BUSINESS_RULE),
        ([op("add", "/a/b", value=1)], Category.BUSINESS_RULE),
        ([op("add", "/l/2", value=1)], Category.BUSINESS_RULE),
        ([op("add", "/l/01", value=1)], Category.BUSINESS_RULE),
        ([op("remove", "/l/-")], Category.BUSINESS_RULE),
        ([op("test", "/a", value="1")], Category.BUSINESS_RULE),
        ([op("test", "/a", value=True)], Category.BUSINESS_RULE),
        ([op("test", "/l", value=[])], Category.BUSINESS_RULE),
        ([op("test", "/a", value=1)] * (MOST_OPERATIONS + 1), Category.TOO_LARGE),
        # Each copy doubles what there is.
        ([op("copy", "/l/-", **{"from": "/l"})] * 40, Category.TOO_LARGE),
        ([op("copy", "/o/p", **{"from": "/o"})] * 300, Category.BUSINESS_RULE),
    ],
)
def test_what_does_not_fit_is_refused_and_names_the_operation(patch, category):
    with pytest.raises(HieError) as caught:
        json_patch({"a": 1, "l": [0], "o": {"p": 1}}, patch)
    assert caught.value.category is category
    if isinstance(patch, list) and category is not Category.TOO_LARGE:
        assert caught.value.text.startswith("operation ")


def test_an_operation_that_fails_takes_those_before_it_back():
    document = {"a": 1}
    with pytest.raises(HieError, match="operation 2"):
        json_patch(document, [op("remove", "/a"), op("remove", "/a")])
    assert document == {"a": 1}


@pytest.mark.parametrize("number", ["72.50", "1e5", "-0", "0.000000001", "12345678901234567890"])
def test_numbers_stay_as_they_were_written(number):
    body = f'[{{"op":"add","path":"/v","value":{number}}}]'.encode()
    patched = json_patch({"a": 1}, parse_json(body, Limits()))
    assert str(patched["v"]) == number
