"""https://hl7.org/fhir/R4/datatypes.html#primitive: what is judged without a model."""

import copy
import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fhir_server.plain import is_plain
from fhir_server.validate import elements, validate
from tests.us_core.people import charts

RESOURCES = [
    entry["resource"]
    for chart in itertools.islice(charts(1), 1)
    for entry in chart.bundle()["entry"]
]
#: Values of every format, whole and spoilt.
VALUES: list[Any] = [
    *("x", "", " ", "a  b", "a\tb", "é", "a" * 70, "true", "1", "-1", "#x", "::", "QUJD", "Q==="),
    *("2024", "2024-02-30", "2024-13", "2024-01-01T10:00", "2024-01-01T25:00:00Z", "0001-01-01"),
    *("2024-01-01T10:00:00.5+05:30", "12:00:00", "12:00", "24:61:00", "0000", "9999-12-31"),
    *("http://x.example", "http://a b", "urn:oid:1.2", "urn:uuid:x", "mailto:a@b.example"),
    *("<div>", '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'),
    *(0, -1, 1, 2**31, 2**40, 1.5, Decimal("1.50"), Decimal("1E+5"), True, False),
]


def _leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _leaves(value, (*path, key))
    elif path != ("resourceType",):
        yield path


def _is_refused(resource: dict[str, Any]) -> bool:
    try:
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    except ValidationError:
        return True
    return False


@given(st.sampled_from(RESOURCES), st.data(), st.sampled_from(VALUES))
def test_no_model_refuses_what_passes_without_one(resource, data, value):
    spoilt = copy.deepcopy(resource)
    *path, last = data.draw(st.sampled_from([*_leaves(spoilt)]))
    node = spoilt
    for key in path:
        node = node[key]
    node[last] = value
    if not validate(spoilt):
        assert not _is_refused(spoilt)


@pytest.mark.parametrize(
    "beside",
    [
        pytest.param({"_birthDate": {"id": "x"}}, id="an extension of a primitive"),
        pytest.param({"contained": [{"resourceType": "Patient"}]}, id="a resource in it"),
        pytest.param({"birthDate": "2024-02-30"}, id="a value that is not of its format"),
        pytest.param({"name": [{"period": {"start": "tomorrow"}}]}, id="one further below"),
    ],
)
def test_a_model_is_asked_wherever_it_may_know_more(beside):
    assert is_plain({"gender": "male", "birthDate": "2024-02-29"}, "Patient", elements)
    assert not is_plain({"gender": "male", **beside}, "Patient", elements)
