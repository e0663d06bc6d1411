"""The part of FHIRPath that names places in a resource, for FHIRPath Patch (pure).

What a patch may use: member steps, `[n]`, `first() last() single()`, `extension('url')`,
`ofType(Type)`, and `where(...)` whose criteria compare a path with a literal by `=` or `!=`, or
say `path.exists()`, joined by `and`. Anything else is refused rather than guessed.
Spec: https://hl7.org/fhir/R4/fhirpatch.html, http://hl7.org/fhirpath/N1
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Protocol

from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson

MOST_CHARACTERS: Final = 1_000
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*|`[A-Za-z0-9_]+`)"
    r"|(?P<text>'(?:[^'\\]|\\.)*')"
    r"|(?P<number>[0-9]+(?:\.[0-9]+)?)"
    r"|(?P<date>@[0-9T:.+Z-]+)"
    r"|(?P<sign>!=|[.\[\]()=$]))"
)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
_PICKS: Final = frozenset({"first", "last", "single"})
_REFUSED: Final = (
    "expected a path of elements, `[n]`, `where(element = 'value')`, `extension('url')`, "
    "`ofType(Type)`, `first()`, `last()` or `single()`"
)


class Element(Protocol):
    """What must be known of an element of a type (`fhir_server.validate.elements`)."""

    @property
    def type(self) -> str:
        """FHIR type of an object, "" for a primitive."""
        ...

    @property
    def choice(self) -> str:
        """`value` of `valueQuantity`; "" where there is no choice."""
        ...

    @property
    def is_list(self) -> bool:
        """Whether it may repeat."""
        ...


#: Elements of a type by JSON name; ValueError for a type that is not known.
Elements = Callable[[str], Mapping[str, Element]]


@dataclass(frozen=True, slots=True)
class Place:
    """One element of a resource: a member of an object, or one entry of a member's list.

    Attributes:
        type: its FHIR type; "" for a primitive and where it is not known.
    """

    holder: FhirJson
    name: str
    index: int | None
    type: str

    @property
    def value(self) -> Any:
        """What stands there."""
        found = self.holder.get(self.name)
        return found if self.index is None or found is None else found[self.index]

    @property
    def value_list(self) -> list[Any]:
        """The list it is an entry of."""
        found: list[Any] = self.holder[self.name]
        return found


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path.

    Attributes:
        kind: `member`, `at`, `first`, `last`, `single`, `extension`, `ofType` or `where`.
        argument: its name, position, URL or type; the criteria of a `where`.
    """

    kind: str
    argument: Any = None


#: Steps from the element, `=`, `!=` or `exists`, and the literal.
_Criterion = tuple[tuple[Step, ...], str, Any]


class Schema:
    """Which elements a type has."""

    def __init__(self, elements: Elements) -> None:
        self._elements = elements

    def of(self, type_name: str) -> Mapping[str, Element]:
        """The elements of a type; empty where it is not known."""
        try:
            return self._elements(type_name) if type_name else {}
        except ValueError:
            return {}

    def member(self, place_type: str, value: FhirJson, name: str) -> str:
        """The JSON name of an element: of a choice the one that is there, else as named."""
        if name in value:
            return name
        found = (n for n, e in self.of(place_type).items() if e.choice == name and n in value)
        return next(found, name)

    def child_type(self, place_type: str, member: str, value: Any) -> str:
        """The type of a member's value; of a resource the one it names."""
        if isinstance(value, dict) and isinstance(value.get("resourceType"), str):
            return str(value["resourceType"])
        element = self.of(place_type).get(member)
        return element.type if element else ""


def parse(path: str) -> tuple[Step, ...]:
    """The steps of a path; the first names the resource's type.

    Raises:
        HieError: INVALID for what is no such path.
    """
    if len(path) > MOST_CHARACTERS:
        raise HieError(Category.INVALID, f"a path may have {MOST_CHARACTERS} characters")
    return _Parser(path).whole()


def places(root: FhirJson, steps: tuple[Step, ...], schema: Schema) -> list[Place]:
    """The elements a path leads to, in document order.

    Args:
        root: the resource.
        steps: as parsed.
        schema: what is known of types.
    """
    type_name = str(root.get("resourceType", ""))
    start = Place({"root": root}, "root", None, type_name)
    if steps and steps[0] == Step("member", type_name):
        steps = steps[1:]
    return _walk([start], steps, schema)


def _walk(found: list[Place], steps: tuple[Step, ...], schema: Schema) -> list[Place]:
    for step in steps:
        if step.kind == "member":
            found = [child for place in found for child in _children(place, step.argument, schema)]
        elif step.kind == "where":
            found = [p for p in found if all(_holds(p, c, schema) for c in step.argument)]
        elif step.kind == "extension":
            found = [
                child
                for place in found
                for child in _children(place, "extension", schema)
                if isinstance(child.value, dict) and child.value.get("url") == step.argument
            ]
        elif step.kind == "ofType":
            found = [p for p in found if _is_of(p, step.argument)]
        else:
            found = _picked(found, step)
    return found


def _picked(found: list[Place], step: Step) -> list[Place]:
    if step.kind == "at":
        return found[step.argument : step.argument + 1]
    if step.kind == "single" and len(found) > 1:
        raise HieError(Category.BUSINESS_RULE, "`single()`: the path leads to several elements")
    return found[-1:] if step.kind == "last" else found[:1]


def _children(place: Place, name: str, schema: Schema) -> Iterator[Place]:
    value, member = place.value, name
    if isinstance(value, dict):
        member = schema.member(place.type, value, name)
        holder = value
    elif place.index is None and name in ("extension", "id"):
        # What belongs to a primitive stands beside it.
        holder = place.holder.get(f"_{place.name}") or {}
    else:
        return
    found = holder.get(member)
    for index, one in enumerate(found) if isinstance(found, list) else [(None, found)]:
        if one is not None:
            child = (
                "Extension" if name == "extension" else schema.child_type(place.type, member, one)
            )
            yield Place(holder, member, index, child)


def _is_of(place: Place, type_name: str) -> bool:
    """Whether an element is of a type: by its choice's name, or by what it is."""
    is_named = place.name.endswith(type_name[:1].upper() + type_name[1:])
    return place.type == type_name or (not place.type and is_named)


def _holds(place: Place, criterion: _Criterion, schema: Schema) -> bool:
    steps, sign, literal = criterion
    found = [p.value for p in _walk([place], steps, schema)]
    if sign == "exists":
        return bool(found)
    # FHIRPath: nothing compared with something is nothing, so the criterion does not hold.
    return len(found) == 1 and (_is_equal(found[0], literal) is (sign == "="))


def _is_equal(value: Any, literal: Any) -> bool:
    if isinstance(value, bool) or isinstance(literal, bool):
        return value is literal
    if isinstance(value, int | Decimal) and isinstance(literal, Decimal):
        return value == literal
    return isinstance(value, str) and value == literal


class _Parser:
    """Reads one path."""

    def __init__(self, path: str) -> None:
        self._tokens = list(_tokens(path))
        self._at = 0

    def whole(self) -> tuple[Step, ...]:
        """All of it."""
        steps = self._path()
        if self._at < len(self._tokens) or not steps or _asks(steps):
            raise _refused()
        return steps

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _next(self, kind: str, text: str = "") -> str:
        found = self._peek()
        if found[0] != kind or (text and found[1] != text):
            raise _refused()
        self._at += 1
        return found[1]

    def _has(self, text: str, kind: str = "sign") -> bool:
        if self._peek() != (kind, text):
            return False
        self._at += 1
        return True

    def _path(self) -> tuple[Step, ...]:
        steps = list(self._step())
        while True:
            if self._has("."):
                steps += self._step()
            elif self._has("["):
                steps.append(Step("at", int(self._whole_number())))
                self._next("sign", "]")
            else:
                return tuple(steps)

    def _whole_number(self) -> str:
        number = self._next("number")
        if "." in number or len(number) > 9:
            raise _refused()
        return number

    def _step(self) -> list[Step]:
        if self._has("$"):
            self._next("name", "this")
            return []
        name = self._next("name").strip("`")
        if not self._has("("):
            return [Step("member", name)]
        step = self._function(name)
        self._next("sign", ")")
        return [step]

    def _function(self, name: str) -> Step:
        if name in _PICKS:
            return Step(name)
        if name == "extension":
            return Step("extension", _unescaped(self._next("text")))
        if name in ("ofType", "as"):
            return Step("ofType", self._next("name"))
        if name == "where":
            criteria = [self._criterion()]
            while self._has("and", "name"):
                criteria.append(self._criterion())
            return Step("where", tuple(criteria))
        if name == "exists":
            return Step("exists")
        raise _refused()

    def _criterion(self) -> _Criterion:
        steps = self._path()
        if steps and steps[-1].kind == "exists" and not _asks(steps[:-1]):
            return steps[:-1], "exists", None
        for sign in ("=", "!="):
            if self._has(sign) and not _asks(steps):
                return steps, sign, self._literal()
        raise _refused()

    def _literal(self) -> Any:
        kind, text = self._peek()
        self._at += 1
        if kind == "text":
            return _unescaped(text)
        if kind == "number":
            return Decimal(text)
        if kind == "date":
            return text[1:]
        if kind == "name" and text in ("true", "false"):
            return text == "true"
        raise _refused()


def _asks(steps: tuple[Step, ...]) -> bool:
    """Whether a path is a question, which leads to no element."""
    return any(step.kind == "exists" for step in steps)


def _tokens(path: str) -> Iterator[tuple[str, str]]:
    at, text = 0, path.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _refused()
        at = found.end()
        kind = str(found.lastgroup)
        yield kind, found[kind]


def _unescaped(quoted: str) -> str:
    def plain(found: re.Match[str]) -> str:
        code = found[1]
        if len(code) == 5:
            return chr(int(code[1:], 16))
        return _ESCAPED.get(code, code)

    return _ESCAPE.sub(plain, quoted[1:-1])


def _refused() -> HieError:
    return HieError(Category.INVALID, _REFUSED)
