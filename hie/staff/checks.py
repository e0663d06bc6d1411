"""What a request brings, held against its route: role, fields, version, key (pure)."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from hie.kernel.clock import micros
from hie.kernel.context import Caller
from hie.kernel.errors import Category, HieError, Issue
from hie.staff.model import (
    FLAG,
    LIST,
    NUMBER,
    OBJECT,
    OBJECTS,
    REAL,
    ROLES,
    TEXT,
    TIME,
    Field,
    Needs,
    Route,
)
from hie.staff.problem import VersionRequiredError, at, invalid

_WHOLE: Final = re.compile(r"^-?[0-9]{1,18}$")
_DECIMAL: Final = re.compile(r"^-?[0-9]{1,9}(\.[0-9]{1,6})?$")
_KEY: Final = re.compile(r"^[A-Za-z0-9._:-]{8,200}$")
_TAG: Final = re.compile(r'^"(?P<version>[0-9a-f]{20})"$')
LONGEST_MEMBER: Final = 64
_ID: Final = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
_MISSING: Final = object()


def require_role(route: Route, caller: Caller) -> None:
    """Refuse a caller whose token does not open the route.

    Raises:
        HieError: FORBIDDEN, with the scope that would.
    """
    roles = ROLES[route.area]
    scopes = [f"staff/{route.area}.{role}" for role in roles[roles.index(route.role) :]]
    held = {f"{s.level}/{s.resource}.{s.actions}" for s in caller.scopes}
    if caller.patient is not None or not held.intersection(scopes):
        text = f"`{route.name}` needs a token with the scope `{scopes[0]}`"
        raise HieError(Category.FORBIDDEN, text)
    if route.is_personal and not (caller.user or "").strip():
        text = f"`{route.name}` is about persons: the token must name the user who looks"
        raise HieError(Category.FORBIDDEN, text)


def version_of(route: Route, headers: Mapping[str, str]) -> str | None:
    """The version of the task the client saw.

    Raises:
        VersionRequiredError: the route needs one, and none was sent.
        HieError: INVALID for one that is none of this API.
    """
    sent = headers.get(Needs.VERSION.value)
    if sent is None:
        if Needs.VERSION in route.needs:
            raise VersionRequiredError
        return None
    found = _TAG.match(sent.strip())
    if found is None:
        raise invalid([at("#/header/If-Match", "expected one ETag as this API gave it")])
    return found["version"]


def key_of(route: Route, headers: Mapping[str, str]) -> str:
    """The client's own key of a request that must happen once; "" where none is needed.

    Raises:
        HieError: INVALID when it is missing or no key.
    """
    if Needs.KEY not in route.needs:
        return ""
    sent = headers.get(Needs.KEY.value, "")
    if not _KEY.match(sent):
        text = "expected a key of the client's own, 8 to 200 letters, digits, `.`, `_`, `:`, `-`"
        raise invalid([at("#/header/Idempotency-Key", text)])
    return sent


def ids_of(sent: Mapping[str, str]) -> dict[str, str]:
    """The ids of a path.

    Raises:
        HieError: INVALID for what cannot be one.
    """
    issues = [
        at(f"#/path/{name}", "expected an id as this API gave it")
        for name, value in sent.items()
        if not _ID.match(value)
    ]
    if issues:
        raise invalid(issues)
    return dict(sent)


def query_of(route: Route, sent: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The parameters of a query, read.

    Raises:
        HieError: INVALID, with one issue per fault.
    """
    issues: list[Issue] = []
    gathered: dict[str, list[str]] = {}
    for name, value in sent:
        gathered.setdefault(name, []).append(value)
    known = {each.name: each for each in route.query}
    for name in gathered:
        if name not in known:
            issues.append(
                at("#/query", f"unknown parameter; known are {', '.join(known) or 'none'}")
            )
    found = {}
    for each in route.query:
        values = gathered.get(each.name)
        raw: Any = _MISSING
        if values is not None:
            raw = values if each.kind == LIST else _from_text(each, values[-1])
        found[each.name] = _read(each, raw, f"#/query/{each.name}", issues)
    if issues:
        raise invalid(issues)
    return found


def body_of(fields: Sequence[Field], sent: Any) -> dict[str, Any]:
    """The members of a body, read.

    Raises:
        HieError: INVALID, with one issue per fault.
    """
    issues: list[Issue] = []
    found = _members(fields, sent, "#/body", issues)
    if issues:
        raise invalid(issues)
    return found


def _members(fields: Sequence[Field], sent: Any, place: str, issues: list[Issue]) -> dict[str, Any]:
    if not isinstance(sent, dict):
        issues.append(at(place, "expected a JSON object"))
        return {}
    known = {each.name for each in fields}
    if set(sent) - known:
        issues.append(at(place, f"unknown member; known are {', '.join(sorted(known)) or 'none'}"))
    return {
        each.name: _read(each, sent.get(each.name, _MISSING), f"{place}/{each.name}", issues)
        for each in fields
    }


def _from_text(each: Field, value: str) -> Any:
    """A parameter of a query as the JSON value it stands for; unreadable ones as they are."""
    if each.kind == NUMBER and _WHOLE.match(value):
        return int(value)
    if each.kind == REAL and _DECIMAL.match(value):
        return float(value)
    return {"true": True, "false": False}.get(value, value) if each.kind == FLAG else value


def _read(each: Field, value: Any, place: str, issues: list[Issue]) -> Any:
    if value is _MISSING or value is None:
        if each.is_required:
            issues.append(at(place, f"expected: {each.text}", "required"))
        return each.default
    fault = _CHECKS[each.kind](each, value)
    if fault:
        issues.append(at(place, fault))
        return each.default
    if each.kind == TIME:
        return _microseconds(value)
    if each.kind == OBJECTS:
        return [
            _members(each.fields, one, f"{place}/{number}", issues)
            for number, one in enumerate(value)
        ]
    if each.kind == OBJECT and each.fields:
        return _members(each.fields, value, place, issues)
    return value


def _text_fault(each: Field, value: Any) -> str:
    if not isinstance(value, str):
        return "expected a text"
    if "\x00" in value:
        return "expected no NUL character"
    if each.choices and value not in each.choices:
        return f"expected one of {', '.join(each.choices)}"
    if each.is_required and not value.strip():
        return f"expected: {each.text}"
    return f"expected at most {each.most} characters" if len(value) > each.most else ""


def _number_fault(each: Field, value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (each.kind == NUMBER and not isinstance(value, int)):
        return "expected a whole number" if each.kind == NUMBER else "expected a number"
    if value < each.least or (each.most and value > each.most):
        return f"expected {each.least} to {each.most}"
    return ""


def _flag_fault(_: Field, value: Any) -> str:
    return "" if isinstance(value, bool) else "expected true or false"


def _time_fault(_: Field, value: Any) -> str:
    try:
        return "" if _microseconds(value) >= 0 else "expected a time since 1970"
    except (ValueError, TypeError, AttributeError, OverflowError):
        return "expected a time with its zone, such as `2026-01-31T09:30:00Z`"


def _list_fault(each: Field, value: Any) -> str:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return "expected an array of texts"
    if any("\x00" in one or len(one) > LONGEST_MEMBER for one in value):
        return f"expected texts of at most {LONGEST_MEMBER} characters, without NUL"
    if each.is_required and not value:
        return f"expected: {each.text}"
    if each.choices and not set(value) <= set(each.choices):
        return f"expected some of {', '.join(each.choices)}"
    return f"expected at most {each.most} members" if len(value) > each.most else ""


def _objects_fault(each: Field, value: Any) -> str:
    if not isinstance(value, list):
        return "expected an array of objects"
    if each.is_required and not value:
        return f"expected: {each.text}"
    return f"expected at most {each.most} members" if len(value) > each.most else ""


def _object_fault(_: Field, value: Any) -> str:
    return "" if isinstance(value, dict) else "expected a JSON object"


_CHECKS: Final[Mapping[str, Callable[[Field, Any], str]]] = {
    TEXT: _text_fault,
    NUMBER: _number_fault,
    REAL: _number_fault,
    FLAG: _flag_fault,
    TIME: _time_fault,
    LIST: _list_fault,
    OBJECTS: _objects_fault,
    OBJECT: _object_fault,
}


def _microseconds(value: str) -> int:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return micros(moment)
