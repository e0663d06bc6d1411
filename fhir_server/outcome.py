"""Refusals as HTTP statuses and OperationOutcomes: the one error table of the FHIR wire.

Texts come from `HieError` and `Issue`, which never hold patient data; of a fault inside the
hub only the request id is told.
Spec: https://hl7.org/fhir/R4/operationoutcome.html, https://hl7.org/fhir/R4/http.html#status-codes
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import orjson

from hie.kernel.errors import Category, HieError, Issue
from hie.store.index import RenewalError

RETRY_AFTER_SECONDS: Final = 5
#: What a parameter may be called.
NAME: Final = re.compile(r"^[A-Za-z_][\w.:\-]{0,99}$")


class Row(NamedTuple):
    """Status and issue code of a category, and the headers that go with it."""

    status: int
    code: str
    headers: Mapping[str, str] = MappingProxyType({})


TABLE: Final[Mapping[Category, Row]] = MappingProxyType(
    {
        Category.INVALID: Row(400, "invalid"),
        Category.BUSINESS_RULE: Row(422, "business-rule"),
        Category.UNSUPPORTED: Row(400, "not-supported"),
        Category.NOT_ACCEPTABLE: Row(406, "not-supported"),
        Category.UNSUPPORTED_MEDIA: Row(415, "not-supported"),
        Category.TOO_LARGE: Row(413, "too-costly"),
        Category.UNAUTHENTICATED: Row(401, "login", {"WWW-Authenticate": 'Bearer realm="fhir"'}),
        Category.FORBIDDEN: Row(
            403,
            "forbidden",
            {"WWW-Authenticate": 'Bearer realm="fhir", error="insufficient_scope"'},
        ),
        Category.NOT_FOUND: Row(404, "not-found"),
        Category.GONE: Row(410, "deleted"),
        Category.CONFLICT: Row(409, "conflict"),
        Category.STALE: Row(412, "conflict"),
        Category.BUSY: Row(503, "transient", {"Retry-After": str(RETRY_AFTER_SECONDS)}),
        Category.FAULT: Row(500, "exception"),
    }
)
#: Issue codes of statuses that the HTTP layer itself gives.
HTTP_CODES: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        400: ("structure", "the request is no well-formed HTTP"),
        404: (
            "not-found",
            "no such address in this API; expected `[type]`, `[type]/[id]` or an operation, "
            "without a slash at the end; `metadata` lists what there is",
        ),
        405: ("not-supported", "this method is not supported here; `Allow` names those that are"),
        413: ("too-costly", "the request body is too large"),
        414: ("too-long", "the address is too long; search by a form, `POST [type]/_search`"),
        417: ("not-supported", "`Expect`: only `100-continue` is known"),
        431: ("too-long", "a header is too long; what is long belongs into the body"),
    }
)


class Refusal(NamedTuple):
    """What a refused request is answered with."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def refusal(error: HieError, request_id: str) -> Refusal:
    """The answer to an error; one issue per fault, or one for the whole."""
    row = TABLE[error.category]
    if error.category is Category.FAULT:
        return Refusal(row.status, row.headers, fault(request_id))
    issues = error.issues or (Issue(text=error.text, code=row.code),)
    headers = row.headers
    if isinstance(error, RenewalError):
        headers = {**headers, "Retry-After": str(error.after_seconds)}
    return Refusal(row.status, headers, operation_outcome(issues))


def fault(request_id: str) -> bytes:
    """The OperationOutcome of a fault inside the hub."""
    text = "the hub failed; nothing was changed. Tell its operator the request id"
    issue = {
        "severity": "fatal",
        "code": "exception",
        "details": {"text": text},
        "diagnostics": request_id,
    }
    return orjson.dumps({"resourceType": "OperationOutcome", "issue": [issue]})


def http_refusal(status: int) -> bytes:
    """The OperationOutcome of a status the HTTP layer itself gave."""
    code, text = HTTP_CODES.get(status, ("processing", "the request cannot be processed"))
    return operation_outcome((Issue(text=text, code=code),))


def operation_outcome(issues: Sequence[Issue]) -> bytes:
    """An OperationOutcome of at least one issue."""
    return orjson.dumps(
        {"resourceType": "OperationOutcome", "issue": [_issue(issue) for issue in issues]}
    )


def diagnosed(code: str, text: str, severity: str = "error") -> bytes:
    """The OperationOutcome of one issue whose `diagnostics` an IHE profile words."""
    issue = {"severity": severity, "code": code, "details": {"text": text}, "diagnostics": text}
    return orjson.dumps({"resourceType": "OperationOutcome", "issue": [issue]})


def _issue(issue: Issue) -> dict[str, object]:
    told: dict[str, object] = {
        "severity": issue.severity,
        "code": issue.code,
        "details": {"text": issue.text},
    }
    if issue.expression:
        told["expression"] = list(issue.expression)
    return told


def named(name: str) -> str:
    """A client's name for something, if it looks like one; else nothing of it."""
    return f"`{name}`" if NAME.match(name) else "what was given"
