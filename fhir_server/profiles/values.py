"""The values of a resource as a profile's elements see them (pure).

A value has an expression (FHIRPath) and, of a choice, the type its name tells. A primitive with
nothing but extensions is there too: its value is None, its extensions say why.
"""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, NamedTuple

from hie.kernel.fhir import FhirJson


class Found(NamedTuple):
    """One value of an element.

    Attributes:
        at: its expression.
        type: of a choice: `Quantity`, `dateTime`; "" elsewhere.
        shadow: `id` and `extension` of a primitive; {} elsewhere.
    """

    value: Any
    at: str
    type: str = ""
    shadow: FhirJson = {}  # noqa: RUF012 - never changed, only read


def values(node: FhirJson, name: str, at: str) -> list[Found]:
    """The values of an element of a JSON object, `value[x]` of any type."""
    if not name.endswith("[x]"):
        return _of(node, name, f"{at}.{name}", "")
    stem = name[:-3]
    held = [each.removeprefix("_") for each in node if each.startswith((stem, f"_{stem}"))]
    found: list[Found] = []
    for key in dict.fromkeys(held):
        suffix = key[len(stem) :]
        if suffix[:1].isupper():
            code = _code(suffix)
            found += _of(node, key, f"{at}.{stem}.ofType({code})", code)
    return found


def _of(node: FhirJson, key: str, at: str, type_name: str) -> list[Found]:
    held, shadow = node.get(key), node.get(f"_{key}")
    if held is None and shadow is None:
        return []
    if not isinstance(held, list) and not isinstance(shadow, list):
        return [Found(held, at, type_name, shadow if isinstance(shadow, dict) else {})]
    many = held if isinstance(held, list) else []
    shadows = shadow if isinstance(shadow, list) else []
    return [
        Found(value, f"{at}[{n}]", type_name, beside or {})
        for n, (value, beside) in enumerate(zip_longest(many, shadows))
    ]


_PRIMITIVES = frozenset(
    {"Boolean", "Integer", "String", "Decimal", "Uri", "Url", "Canonical", "Base64Binary"}
    | {"Instant", "Date", "DateTime", "Time", "Code", "Oid", "Id", "Markdown", "UnsignedInt"}
    | {"PositiveInt", "Uuid"}
)


def _code(suffix: str) -> str:
    return suffix[0].lower() + suffix[1:] if suffix in _PRIMITIVES else suffix


def inside(value: Any, path: str) -> Iterator[Any]:
    """The values at a path of names inside a value, over lists; the value itself for `$this`."""
    found = [value]
    for name in [] if path == "$this" else path.split("."):
        found = [
            deeper for each in found if isinstance(each, dict) for deeper in _flat(each.get(name))
        ]
    yield from found


def _flat(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def holds(value: Any, pattern: Any) -> bool:
    """Whether a value has at least what a pattern has; lists in any order."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            name in value and holds(value[name], part) for name, part in pattern.items()
        )
    if isinstance(pattern, list):
        return isinstance(value, list) and all(
            any(holds(each, part) for each in value) for part in pattern
        )
    return bool(value == pattern)
