"""A FHIR request body, read strictly (pure).

Numbers keep the text they were written in; a property given twice, a lone surrogate, a
control character or a body nested too deep is refused, because two readers would see two
different resources.
Spec: https://hl7.org/fhir/R4/json.html, RFC 8259.
"""

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn, Self

from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson

_MEMBER: Final = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
#: Escapes that may write what FHIR strings must not hold: C0 controls and surrogates.
_SUSPECT: Final = re.compile(rb"\\u(00[01]|[dD][89a-fA-F])")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))
#: Digits, a sign included, that surely fit into 64 bits.
_SURE_DIGITS: Final = 18
_MOST_DIGITS: Final = 100
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one request.

    Attributes:
        depth: objects and arrays inside each other.
        entries: entries of a Bundle.
    """

    body_bytes: int = 20 * 1024 * 1024
    depth: int = 100
    entries: int = 5_000


class Written(Decimal):
    """A number that prints as it was written: `1e5`, `0.000000001`, `72.50`."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        """The number of a JSON text."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return (type(self), (self.text,))


class _Repeated(dict[str, Any]):
    """An object that named a property twice."""


def parse_body(body: bytes, limits: Limits) -> FhirJson:
    """The resource in a request body.

    Args:
        body: UTF-8 JSON; a byte order mark is dropped.
        limits: bounds.

    Raises:
        HieError: TOO_LARGE, or INVALID with the place where it is known.
    """
    parsed = parse_json(body, limits)
    if not isinstance(parsed, dict):
        _refuse("a FHIR body is one JSON object", "structure")
    if not isinstance(parsed.get("resourceType"), str):
        _refuse("`resourceType` is required: the name of a FHIR resource type", "required")
    return parsed


def parse_json(body: bytes, limits: Limits) -> Any:
    """Any JSON, as strictly; a JSON Patch is an array.

    Raises:
        HieError: TOO_LARGE, or INVALID with the place where it is known.
    """
    if len(body) > limits.body_bytes:
        raise HieError(Category.TOO_LARGE, f"a body may have {limits.body_bytes} bytes")
    return _load(body.removeprefix(codecs.BOM_UTF8), limits)


def member(path: str, name: str) -> str:
    """A FHIRPath one element further; a name that FHIR could not have is not repeated."""
    return f"{path}.{name}" if _MEMBER.match(name) else f"{path}.children()"


def _load(body: bytes, limits: Limits) -> Any:
    repeated = False

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        made = dict(pairs)
        if len(made) == len(pairs):
            return made
        repeated = True
        return _Repeated(made)

    try:
        text = body.decode("utf-8")
        parsed = json.loads(
            text,
            object_pairs_hook=members,
            parse_float=Written,
            parse_int=_integer,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError as error:
        text = f"the body is not UTF-8 at byte {error.start}"
        raise HieError(Category.INVALID, text, [Issue(text=text, code="structure")]) from error
    except json.JSONDecodeError as error:
        text = f"the body is not JSON at line {error.lineno}, column {error.colno}"
        raise HieError(Category.INVALID, text, [Issue(text=text, code="structure")]) from error
    except (RecursionError, InvalidOperation, ValueError) as error:
        text = "the body is nested too deep or holds a number beyond all bounds"
        raise HieError(Category.INVALID, text, [Issue(text=text, code="structure")]) from error
    is_suspect = _SUSPECT.search(body) is not None
    if repeated or is_suspect or not _is_shallow(body, limits.depth):
        _inspect(parsed, limits.depth)
    return parsed


def _integer(text: str) -> int | Written:
    if len(text) > _MOST_DIGITS:
        raise ValueError
    # What 64 bits do not hold, and a zero below zero, would not be written again as it was.
    return Written(text) if len(text) > _SURE_DIGITS or text == "-0" else int(text)


def _no_constant(_: str) -> NoReturn:
    raise ValueError


def _is_shallow(body: bytes, depth: int) -> bool:
    """Whether the body is surely not nested deeper; brackets in strings may cost the proof.

    Each round takes away the innermost one or two levels.
    """
    brackets = body.translate(None, _NO_BRACKETS)
    for _ in range(depth // 2):
        if not brackets:
            return True
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    return not brackets


def _inspect(parsed: Any, depth: int) -> None:
    """Find and name what makes the body ambiguous."""
    root = parsed.get("resourceType") if isinstance(parsed, dict) else None
    start = root if isinstance(root, str) and _MEMBER.match(root) else "$this"
    for path, node, level in _nodes(parsed, start):
        if level > depth:
            _refuse(f"a body may be nested {depth} deep", "structure", start)
        if isinstance(node, _Repeated):
            _refuse("an object names a property twice", "structure", path)
        if isinstance(node, dict) and any(_FORBIDDEN.search(name) for name in node):
            _refuse("a property name holds a forbidden character", "structure", path)
        if isinstance(node, str) and _FORBIDDEN.search(node):
            _refuse("the value holds a control character or half a surrogate pair", "value", path)


def _nodes(parsed: Any, start: str) -> Iterator[tuple[str, Any, int]]:
    stack: list[tuple[str, Any, int]] = [(start, parsed, 1)]
    while stack:
        path, node, level = stack.pop()
        yield path, node, level
        if isinstance(node, dict):
            stack += [(member(path, name), child, level + 1) for name, child in node.items()]
        elif isinstance(node, list):
            stack += [(f"{path}[{n}]", child, level + 1) for n, child in enumerate(node)]


def _refuse(text: str, code: str, expression: str = "") -> NoReturn:
    issue = Issue(text=text, code=code, expression=(expression,) if expression else ())
    raise HieError(Category.INVALID, text, [issue])
