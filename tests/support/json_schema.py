"""As much of JSON Schema 2020-12 as the staff API's document uses, and no more."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}
_KNOWN = {
    "$ref", "oneOf", "allOf", "type", "enum", "pattern", "format", "properties", "required",
    "items", "additionalProperties", "description", "default", "minimum", "maximum",
    "maxLength", "maxItems",
}  # fmt: skip


def faults(value: Any, schema: dict[str, Any], schemas: dict[str, Any], at: str = "#") -> list[str]:
    """Where a value is not what a schema says; `schemas` are those that `$ref` names."""
    assert set(schema) <= _KNOWN, f"{at}: unknown keywords {set(schema) - _KNOWN}"
    return list(_faults(value, schema, schemas, at))


def _faults(value: Any, schema: dict[str, Any], schemas: dict[str, Any], at: str) -> Iterator[str]:
    if "$ref" in schema:
        yield from faults(value, schemas[schema["$ref"].rsplit("/", 1)[1]], schemas, at)
    for part in schema.get("allOf", ()):
        yield from faults(value, part, schemas, at)
    if "oneOf" in schema:
        matching = [part for part in schema["oneOf"] if not faults(value, part, schemas, at)]
        if len(matching) != 1:
            yield f"{at}: {len(matching)} of oneOf match"
    yield from _plain_faults(value, schema, at)
    if isinstance(value, list) and "items" in schema:
        for number, one in enumerate(value):
            yield from faults(one, schema["items"], schemas, f"{at}/{number}")
    if isinstance(value, dict):
        yield from _member_faults(value, schema, schemas, at)


def _plain_faults(value: Any, schema: dict[str, Any], at: str) -> Iterator[str]:
    named = schema.get("type", [])
    kinds = [named] if isinstance(named, str) else named
    is_flag = isinstance(value, bool)
    if kinds and not any(
        isinstance(value, _TYPES[kind]) and (not is_flag or kind == "boolean") for kind in kinds
    ):
        yield f"{at}: {type(value).__name__} is no {kinds}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: not one of {schema['enum']}"
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{at}: does not match {schema['pattern']}"
        if schema.get("format") == "date-time":
            datetime.fromisoformat(value)


def _member_faults(
    value: dict[str, Any], schema: dict[str, Any], schemas: dict[str, Any], at: str
) -> Iterator[str]:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}/{name}: missing"
    for name, one in value.items():
        more = schema.get("additionalProperties")
        part = known.get(name, more if isinstance(more, dict) else None)
        if part is not None:
            yield from faults(one, part, schemas, f"{at}/{name}")
