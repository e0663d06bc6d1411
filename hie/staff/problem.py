"""Refusals as problem details: the one error table of the staff API (pure).

Texts come from `HieError` and `Issue`, which never hold patient data; of a fault inside the
hub only the request id is told.
Spec: RFC 9457 (problem details), RFC 6585 (428), RFC 6750 (bearer tokens)
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import orjson

from hie.kernel.errors import Category, HieError, Issue

CONTENT_TYPE: Final = "application/problem+json"
_REALM: Final = 'Bearer realm="staff"'


class Row(NamedTuple):
    """Status and title of a category, what the reader can do, and headers."""

    status: int
    name: str
    title: str
    remedy: str
    headers: Mapping[str, str] = MappingProxyType({})


TABLE: Final[Mapping[Category, Row]] = MappingProxyType(
    {
        Category.INVALID: Row(
            400, "invalid", "The request cannot be read", "correct the fields named and repeat"
        ),
        Category.BUSINESS_RULE: Row(
            422, "rule", "A rule of the hub forbids it", "see `detail`; choose otherwise"
        ),
        Category.UNSUPPORTED: Row(
            400, "unsupported", "The hub does not do this", "see the list of operations"
        ),
        Category.NOT_ACCEPTABLE: Row(
            406, "not-acceptable", "Only JSON is served", "accept application/json"
        ),
        Category.UNSUPPORTED_MEDIA: Row(
            415, "unsupported-media", "Only JSON is taken", "send application/json"
        ),
        Category.TOO_LARGE: Row(413, "too-large", "The request is too large", "send less at once"),
        Category.UNAUTHENTICATED: Row(
            401, "login", "Sign in first", "send a valid token", {"WWW-Authenticate": _REALM}
        ),
        Category.FORBIDDEN: Row(
            403,
            "forbidden",
            "The token's role does not allow it",
            "ask for a token with the role named",
            {"WWW-Authenticate": f'{_REALM}, error="insufficient_scope"'},
        ),
        Category.NOT_FOUND: Row(
            404, "not-found", "There is no such thing", "check the id in the address"
        ),
        Category.GONE: Row(410, "gone", "It was erased", "nothing is left to be done"),
        Category.CONFLICT: Row(
            409, "conflict", "It stands otherwise by now", "read it again, then decide"
        ),
        Category.STALE: Row(
            412, "stale", "Somebody was faster", "read it again and send its new ETag"
        ),
        Category.BUSY: Row(
            503, "busy", "The hub is busy", "repeat in some seconds", {"Retry-After": "5"}
        ),
        Category.FAULT: Row(
            500, "fault", "The hub failed", "tell its operator the request id; nothing was changed"
        ),
    }
)
_HTTP: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        404: ("not-found", "no such address in this API; /staff/v1 lists those there are"),
        405: ("not-allowed", "this method is not supported here; `Allow` names those that are"),
        413: ("too-large", "the request body is too large"),
        417: ("invalid", "`Expect`: only `100-continue` is known"),
        428: (
            "version-required",
            "send `If-Match` with the ETag of what you change, as you saw it",
        ),
    }
)


class Problem(NamedTuple):
    """What a refused request is answered with."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class VersionRequiredError(HieError):
    """A change without the version it is based on: somebody else's would be overwritten."""

    def __init__(self) -> None:
        super().__init__(Category.INVALID, _HTTP[428][1])


def refusal(error: HieError, request_id: str) -> Problem:
    """The answer to an error."""
    if isinstance(error, VersionRequiredError):
        return Problem(428, {}, http_refusal(428, request_id))
    row = TABLE[error.category]
    is_fault = error.category is Category.FAULT
    content = {
        "type": f"/staff/v1/#{row.name}",
        "title": row.title,
        "status": row.status,
        "detail": row.remedy if is_fault else error.text,
        "remedy": row.remedy,
        "request_id": request_id,
    }
    if error.issues and not is_fault:
        content["errors"] = [_error(issue) for issue in error.issues]
    return Problem(row.status, row.headers, orjson.dumps(content))


def http_refusal(status: int, request_id: str) -> bytes:
    """The problem of a status that the HTTP layer itself gave."""
    name, text = _HTTP.get(status, ("invalid", "the request cannot be processed"))
    content = {
        "type": f"/staff/v1/#{name}",
        "title": text,
        "status": status,
        "detail": text,
        "request_id": request_id,
    }
    return orjson.dumps(content)


def at(pointer: str, text: str, code: str = "value") -> Issue:
    """A fault at a place of the request: `#/body/member`, `#/query/name`, `#/header/name`."""
    return Issue(text=text, code=code, expression=(pointer,))


def invalid(issues: Sequence[Issue]) -> HieError:
    """A refusal that lists every fault of a request."""
    place = issues[0].expression[0].rsplit("/", 1)[-1]
    return HieError(Category.INVALID, f"`{place}`: {issues[0].text}", issues)


def _error(issue: Issue) -> dict[str, str]:
    told = {"code": issue.code, "detail": issue.text}
    return told | ({"pointer": issue.expression[0]} if issue.expression else {})
