"""The OpenAPI 3.1 document of the staff API, made of its route table (pure).

Spec: https://spec.openapis.org/oas/v3.1.0
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import orjson

from hie.staff import problem
from hie.staff.model import (
    FLAG,
    LIST,
    NUMBER,
    OBJECT,
    OBJECTS,
    REAL,
    ROLES,
    TIME,
    Field,
    Needs,
    Route,
)
from hie.staff.schemas import SCHEMAS
from hie.staff.shapes import ref

VERSION: Final = "1.0.0"
ADDRESS: Final = "/staff/v1"
_PARTS: Final = re.compile(r"\{(\w+)\}")
_TITLES: Final = {row.status: row.title for row in problem.TABLE.values()} | {
    400: "The request cannot be read",
    428: "`If-Match` is missing",
}
_NEED_TEXTS: Final = {
    Needs.VERSION: "the ETag of what you change, as you saw it",
    Needs.KEY: "a key of your own: a repeat gets the first answer for a day",
}


def document(routes: Sequence[Route]) -> bytes:
    """The document, as JSON."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    content = {
        "openapi": "3.1.0",
        "info": {
            "title": "Staff API of the health information exchange hub",
            "version": VERSION,
            "description": "What stewards and privacy officers see and decide. Every person shown "
            "is on the audit trail; every decision can be taken back.",
        },
        "servers": [{"url": ADDRESS}],
        "security": [{"bearer": []}],
        "tags": [{"name": section} for section in dict.fromkeys(r.section for r in routes)],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "a token with a scope of "
                    + ", ".join(
                        f"`staff/{area}.{role}`" for area, roles in ROLES.items() for role in roles
                    ),
                }
            },
        },
    }
    return orjson.dumps(content)


def _operation(route: Route) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": f"{route.text} Needs `{scope(route)}`.".strip(),
        "tags": [route.section],
        "security": [{"bearer": [scope(route)]}],
        "parameters": _parameters(route),
        "responses": _responses(route),
    }
    if route.body:
        told["requestBody"] = {
            "required": any(each.is_required for each in route.body),
            "content": {"application/json": {"schema": _body(route.body)}},
        }
    return told


def scope(route: Route) -> str:
    """The least scope that opens a route."""
    return f"staff/{route.area}.{route.role}"


def _parameters(route: Route) -> list[dict[str, Any]]:
    found = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARTS.findall(route.path)
    ]
    found += [
        {
            "name": each.name,
            "in": "query",
            "required": each.is_required,
            "description": each.text,
            "schema": _schema(each),
        }
        for each in route.query
    ]
    found += [
        {
            "name": need.value,
            "in": "header",
            "required": True,
            "description": _NEED_TEXTS[need],
            "schema": {"type": "string"},
        }
        for need in route.needs
    ]
    return found


def _responses(route: Route) -> dict[str, Any]:
    status = "202" if route.answer == "BatchRun" and route.method == "POST" else "200"
    good = {
        "description": route.summary,
        "content": {"application/json": {"schema": ref(route.answer)}},
    }
    refusals = {400, 401, 403, *route.refusals}
    refusals |= {428, 412} if Needs.VERSION in route.needs else set()
    refusals |= {422, 409} if Needs.KEY in route.needs else set()
    refused = {
        str(code): {
            "description": _TITLES[code],
            "content": {problem.CONTENT_TYPE: {"schema": ref("Problem")}},
        }
        for code in sorted(refusals)
    }
    return {status: good, **refused}


def _body(fields: Sequence[Field]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": not fields,  # an object that lists none is taken as it is
        "properties": {each.name: {"description": each.text, **_schema(each)} for each in fields},
        "required": [each.name for each in fields if each.is_required],
    }


def _schema(each: Field) -> dict[str, Any]:
    made = _bounded(each)
    return made if each.default is None else made | {"default": each.default}


def _bounded(each: Field) -> dict[str, Any]:
    choices = {"enum": list(each.choices)} if each.choices else {}
    if each.kind in (NUMBER, REAL):
        most = {"maximum": each.most} if each.most else {}
        return {"type": each.kind, "minimum": each.least, **most}
    if each.kind == FLAG:
        return {"type": "boolean"}
    if each.kind == TIME:
        return {"type": "string", "format": "date-time"}
    if each.kind == LIST:
        return {"type": "array", "maxItems": each.most, "items": {"type": "string", **choices}}
    if each.kind == OBJECTS:
        return {"type": "array", "maxItems": each.most, "items": _body(each.fields)}
    return _body(each.fields) if each.kind == OBJECT else {
        "type": "string", "maxLength": each.most, **choices
    }  # fmt: skip
