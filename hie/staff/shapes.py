"""The words that shapes of answers are written in, as JSON Schema 2020-12 (pure)."""

from typing import Any, Final

Schema = dict[str, Any]
TEXT: Final[Schema] = {"type": "string"}
MAYBE: Final[Schema] = {"type": ["string", "null"]}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
MAYBE_TIME: Final[Schema] = {"type": ["string", "null"], "format": "date-time"}
WHOLE: Final[Schema] = {"type": "integer"}
REAL: Final[Schema] = {"type": "number"}
MAYBE_REAL: Final[Schema] = {"type": ["number", "null"]}
FLAG: Final[Schema] = {"type": "boolean"}
NUMBER: Final[Schema] = {
    "type": "string",
    "pattern": "^[0-9]{1,19}$",
    "description": "a number of the hub, as text: it has more digits than JavaScript counts",
}
MAYBE_NUMBER: Final[Schema] = {"type": ["string", "null"], "pattern": "^[0-9]{1,19}$"}
ANY: Final[Schema] = {"type": "object", "additionalProperties": True}
NEXT: Final[Schema] = {
    "type": ["string", "null"],
    "description": "address of the next page; null on the last",
}


def of(text: str = "", /, **members: Schema) -> Schema:
    """An object of which every member is always there."""
    about = {"description": text} if text else {}
    return {"type": "object", **about, "properties": members, "required": sorted(members)}


def some(text: str, members: dict[str, Schema], needed: tuple[str, ...]) -> Schema:
    """An object of which some members may be missing."""
    return {
        "type": "object",
        "description": text,
        "properties": members,
        "required": sorted(needed),
    }


def many(each: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": each}


def mapped(each: Schema) -> Schema:
    """An object of which every member is alike."""
    return {"type": "object", "additionalProperties": each}


def ref(name: str) -> Schema:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def maybe(name: str) -> Schema:
    """A reference to a schema, or null."""
    return {"oneOf": [ref(name), {"type": "null"}]}
