"""https://hl7.org/fhir/R4/http.html#mime-type"""

import pytest

from fhir_server import negotiate
from fhir_server.operations.export import NDJSON_TYPES
from hie.kernel.errors import Category, HieError


@pytest.mark.parametrize(
    ("accept", "format_param"),
    [
        (None, None),
        ("", None),
        ("*/*", None),
        ("application/fhir+json", None),
        ("application/fhir+json; fhirVersion=4.0", None),
        ("application/json;q=0.5, application/fhir+xml", None),
        ("text/html,application/xhtml+xml,*/*;q=0.8", None),
        ("application/fhir+xml", "json"),
        (None, "application/fhir+json"),
        (None, "application/fhir json"),  # a plus that was not escaped
        (None, "application/json"),
    ],
)
def test_json_of_r4_is_given(accept: str | None, format_param: str | None):
    negotiate.require_json_accepted(accept, format_param)


@pytest.mark.parametrize(
    ("accept", "format_param"),
    [
        ("application/fhir+xml", None),
        ("application/fhir+json; fhirVersion=3.0", None),
        ("application/fhir+json;q=0", None),
        ("application/fhir+json;q=0.0", None),
        ("image/png", None),
        ("application/fhir+json", "xml"),
        ("application/fhir+json", "ttl"),
    ],
)
def test_anything_else_is_not_acceptable(accept: str | None, format_param: str | None):
    with pytest.raises(HieError) as raised:
        negotiate.require_json_accepted(accept, format_param)
    assert raised.value.category is Category.NOT_ACCEPTABLE


@pytest.mark.parametrize(
    ("accept", "format_param"),
    [
        ("application/fhir+ndjson", None),
        ("application/ndjson;q=0.9", None),
        (None, "application/fhir ndjson"),
        ("text/html", "ndjson"),
    ],
)
def test_what_an_address_gives_besides_is_taken_from_either(
    accept: str | None, format_param: str | None
):
    negotiate.require_json_accepted(accept, format_param, NDJSON_TYPES)


@pytest.mark.parametrize(
    ("content_type", "is_taken"),
    [
        ("application/fhir+json", True),
        ("application/json; charset=UTF-8", True),
        ("application/fhir+json; fhirVersion=4.0", True),
        ("application/fhir+json; fhirVersion=5.0", False),
        ("application/fhir+json; charset=iso-8859-1", False),
        ("application/fhir+xml", False),
        ("text/plain", False),
        (None, False),
    ],
)
def test_bodies_are_fhir_json_of_r4_in_utf8(content_type: str | None, is_taken: bool):
    if is_taken:
        negotiate.require_json_content(content_type)
        return
    with pytest.raises(HieError) as raised:
        negotiate.require_json_content(content_type)
    assert raised.value.category is Category.UNSUPPORTED_MEDIA


def test_a_form_is_a_form():
    negotiate.require_form_content("application/x-www-form-urlencoded; charset=utf-8")
    with pytest.raises(HieError):
        negotiate.require_form_content("application/fhir+json")


@pytest.mark.parametrize(
    ("prefer", "name", "value"),
    [
        ("handling=lenient", "handling", "lenient"),
        ("return=minimal, handling=lenient", "return", "minimal"),
        ("return=minimal; handling=strict", "handling", "strict"),
        ('return="OperationOutcome"', "return", "operationoutcome"),
        ("respond-async", "return", None),
        (None, "return", None),
    ],
)
def test_preferences_are_read_one_by_one(prefer: str | None, name: str, value: str | None):
    assert negotiate.preference(prefer, name) == value


@pytest.mark.parametrize(
    ("header", "is_fresh"),
    [('W/"3"', True), ('"3"', True), ('W/"2", W/"3"', True), ('W/"33"', False), (None, False)],
)
def test_a_version_the_client_has_is_fresh(header: str | None, is_fresh: bool):
    assert negotiate.is_fresh(header, "3") is is_fresh


@pytest.mark.parametrize(
    ("header", "takes"),
    [("gzip, deflate", True), ("gzip;q=0", False), ("br", False), (None, False), ("*", True)],
)
def test_gzip_is_sent_to_those_who_take_it(header: str | None, takes: bool):
    assert negotiate.takes_gzip(header) is takes


def test_times_of_http_are_in_gmt():
    assert negotiate.http_date(1_769_851_800_123_456) == "Sat, 31 Jan 2026 09:30:00 GMT"
