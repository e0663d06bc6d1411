"""https://hl7.org/fhir/R4/operationoutcome.html"""

import json

import pytest

from fhir_server.outcome import TABLE, http_refusal, operation_outcome, refusal
from fhir_server.validate import validate
from hie.kernel.errors import Category, HieError, Issue

#: https://hl7.org/fhir/R4/valueset-issue-type.html
ISSUE_CODES = {
    *("invalid", "structure", "required", "value", "invariant", "security", "login", "unknown"),
    *("expired", "forbidden", "suppressed", "processing", "not-supported", "duplicate"),
    *("multiple-matches", "not-found", "deleted", "too-long", "code-invalid", "extension"),
    *("too-costly", "business-rule", "conflict", "transient", "lock-error", "no-store"),
    *("exception", "timeout", "incomplete", "throttled", "informational"),
}


def test_every_category_has_its_row():
    assert set(TABLE) == set(Category)
    assert {row.code for row in TABLE.values()} <= ISSUE_CODES


@pytest.mark.parametrize("category", Category)
def test_every_refusal_is_a_valid_outcome(category: Category):
    answer = refusal(HieError(category, "`Patient.name`: expected a name"), "r1")
    assert 400 <= answer.status < 600
    assert validate(json.loads(answer.body)) == ()


@pytest.mark.parametrize(
    ("category", "status"),
    [
        (Category.INVALID, 400),
        (Category.UNAUTHENTICATED, 401),
        (Category.FORBIDDEN, 403),
        (Category.NOT_FOUND, 404),
        (Category.NOT_ACCEPTABLE, 406),
        (Category.CONFLICT, 409),
        (Category.GONE, 410),
        (Category.STALE, 412),
        (Category.TOO_LARGE, 413),
        (Category.UNSUPPORTED_MEDIA, 415),
        (Category.BUSINESS_RULE, 422),
        (Category.FAULT, 500),
        (Category.BUSY, 503),
    ],
)
def test_each_category_has_its_status(category: Category, status: int):
    assert refusal(HieError(category, "text"), "r1").status == status


def test_every_fault_is_one_issue_with_its_place():
    issues = [
        Issue(text="`a`: expected x", code="value", expression=("Patient.a",)),
        Issue(text="`b`: expected y", code="required", severity="warning"),
    ]
    told = json.loads(refusal(HieError(Category.INVALID, "two faults", issues), "r1").body)
    assert [(i["code"], i["severity"], i.get("expression")) for i in told["issue"]] == [
        ("value", "error", ["Patient.a"]),
        ("required", "warning", None),
    ]


def test_a_fault_of_the_hub_tells_only_the_request_id():
    answer = refusal(HieError(Category.FAULT, "secret detail"), "r-17")
    assert b"secret" not in answer.body
    assert json.loads(answer.body)["issue"][0]["diagnostics"] == "r-17"


def test_refusals_say_how_to_come_in_and_when_to_come_back():
    assert (
        "Bearer"
        in refusal(HieError(Category.UNAUTHENTICATED, "x"), "r").headers["WWW-Authenticate"]
    )
    assert "Retry-After" in refusal(HieError(Category.BUSY, "x"), "r").headers


@pytest.mark.parametrize("status", [404, 405, 413, 418])
def test_statuses_of_the_http_layer_are_outcomes_too(status: int):
    assert validate(json.loads(http_refusal(status))) == ()


def test_an_outcome_keeps_the_order_of_its_issues():
    body = json.loads(operation_outcome([Issue(text="1"), Issue(text="2")]))
    assert [issue["details"]["text"] for issue in body["issue"]] == ["1", "2"]
