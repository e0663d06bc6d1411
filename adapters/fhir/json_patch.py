"""JSON Patch on a FHIR resource: its operations in order, all or none (pure).

Numbers keep the text they were written in; `test` compares them as numbers. What an operation
may copy is bounded, or ten of them would make a gigabyte.
Spec: RFC 6902, RFC 6901, https://hl7.org/fhir/R4/http.html#patch
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NoReturn

from hie.kernel.errors import Category, HieError, Issue

MEDIA_TYPE: Final = "application/json-patch+json"
MOST_OPERATIONS: Final = 1_000
#: JSON values that the `copy` operations of one patch may make in all.
MOST_COPIED: Final = 100_000
#: How deep a value may come to stand.
MOST_DEPTH: Final = 200
_INDEX: Final = re.compile(r"^(?:0|[1-9][0-9]{0,8})$")
_TILDE: Final = re.compile(r"~(?![01])")

#: Where a value stands: an object and a member's name, or an array and a position.
_Place = tuple[Any, Any]


def json_patch(document: Any, patch: Any) -> Any:
    """The document as patched; `document` itself is not changed.

    Args:
        document: parsed JSON.
        patch: parsed JSON; an array of operations.

    Raises:
        HieError: INVALID for what is no JSON Patch, BUSINESS_RULE where an operation does not
            fit the document or a `test` fails, TOO_LARGE beyond the bounds. The text says
            which operation, counted from 1.
    """
    if not isinstance(patch, list):
        raise HieError(Category.INVALID, "a JSON Patch is an array of operations")
    if len(patch) > MOST_OPERATIONS:
        text = f"a JSON Patch may have {MOST_OPERATIONS} operations"
        raise HieError(Category.TOO_LARGE, text)
    run = _Run(document)
    for number, operation in enumerate(patch, start=1):
        run.step(number, operation)
    return run.holder[0]


class _Run:
    """One patch under way; the document is the only entry of `holder`."""

    def __init__(self, document: Any) -> None:
        self.holder: list[Any] = [_copied(document)]
        self._left = MOST_COPIED
        self._number = 0

    def step(self, number: int, operation: Any) -> None:
        """Carry out one operation."""
        self._number = number
        if not isinstance(operation, Mapping):
            self._malformed("expected an object with `op` and `path`")
        name = operation.get("op")
        act = _OPERATIONS.get(name) if isinstance(name, str) else None
        if act is None:
            self._malformed(f"`op`: expected one of {', '.join(_OPERATIONS)}")
        act(self, operation)

    def add(self, operation: Mapping[str, Any]) -> None:
        """Put a value where the path says."""
        self._put(self._tokens(operation, "path"), self._value(operation))

    def remove(self, operation: Mapping[str, Any]) -> None:
        """Take away what is there."""
        self._take(self._tokens(operation, "path"))

    def replace(self, operation: Mapping[str, Any]) -> None:
        """Put a value in the place of another."""
        tokens = self._tokens(operation, "path")
        container, key = self._existing(tokens)
        container[key] = self._fit(tokens, self._value(operation))

    def move(self, operation: Mapping[str, Any]) -> None:
        """Take a value away and put it elsewhere."""
        source, target = self._tokens(operation, "from"), self._tokens(operation, "path")
        if target[: len(source)] == source:
            if target == source:
                self._existing(source)
                return
            self._malformed("a value cannot be moved into itself")
        self._put(target, self._take(source))

    def copy(self, operation: Mapping[str, Any]) -> None:
        """Put a value a second time."""
        target = self._tokens(operation, "path")
        container, key = self._existing(self._tokens(operation, "from"))
        self._left -= _size(container[key])
        if self._left < 0:
            text = f"a JSON Patch may copy {MOST_COPIED} values"
            raise HieError(Category.TOO_LARGE, text)
        self._put(target, _copied(container[key]))

    def test(self, operation: Mapping[str, Any]) -> None:
        """Go on only where the value is as stated."""
        container, key = self._existing(self._tokens(operation, "path"))
        if not _is_same(container[key], self._value(operation)):
            self._unfit("the value is not the one that `test` states")

    def _tokens(self, operation: Mapping[str, Any], member: str) -> list[str]:
        pointer = operation.get(member)
        is_pointer = isinstance(pointer, str) and (pointer == "" or pointer.startswith("/"))
        if not is_pointer or _TILDE.search(str(pointer)):
            self._malformed(f"`{member}`: expected a JSON Pointer, `/name/0/family`")
        parts = str(pointer).split("/")[1:]
        return [part.replace("~1", "/").replace("~0", "~") for part in parts]

    def _value(self, operation: Mapping[str, Any]) -> Any:
        if "value" not in operation:
            self._malformed("`value` is required")
        return _copied(operation["value"])

    def _put(self, tokens: Sequence[str], value: Any) -> None:
        container, key = self._place(tokens, is_new=True)
        value = self._fit(tokens, value)
        if isinstance(container, list) and container is not self.holder:
            container.insert(key, value)
        else:
            container[key] = value

    def _take(self, tokens: Sequence[str]) -> Any:
        container, key = self._existing(tokens)
        if container is self.holder:
            self._unfit("the whole document cannot be taken away")
        return container.pop(key)

    def _fit(self, tokens: Sequence[str], value: Any) -> Any:
        if len(tokens) + depth(value) > MOST_DEPTH:
            self._unfit(f"a value may stand {MOST_DEPTH} deep")
        return value

    def _existing(self, tokens: Sequence[str]) -> _Place:
        return self._place(tokens, is_new=False)

    def _place(self, tokens: Sequence[str], *, is_new: bool) -> _Place:
        """Where a pointer leads; the last step of a new value may lead just behind the end."""
        container: Any = self.holder
        key: Any = 0
        for position, step in enumerate(tokens, start=1):
            container = container[key]
            key = self._key(container, step, is_new=is_new and position == len(tokens))
        return container, key

    def _key(self, container: Any, step: str, *, is_new: bool) -> Any:
        if isinstance(container, dict):
            if step not in container and not is_new:
                self._unfit("the path leads to nothing")
            return step
        if not isinstance(container, list):
            self._unfit("the path leads into a value that is no object or array")
        if step == "-" and is_new:
            return len(container)
        if not _INDEX.match(step):
            self._unfit("the path leads into an array: expected a position")
        index = int(step)
        if index > len(container) - (0 if is_new else 1):
            self._unfit("the path leads beyond the end of an array")
        return index

    def _malformed(self, text: str) -> NoReturn:
        self._fail(Category.INVALID, text, "structure")

    def _unfit(self, text: str) -> NoReturn:
        self._fail(Category.BUSINESS_RULE, text, "processing")

    def _fail(self, category: Category, text: str, code: str) -> NoReturn:
        told = f"operation {self._number}: {text}"
        raise HieError(category, told, [Issue(text=told, code=code)])


_OPERATIONS: Final[Mapping[str, Callable[[_Run, Mapping[str, Any]], None]]] = {
    "add": _Run.add,
    "remove": _Run.remove,
    "replace": _Run.replace,
    "move": _Run.move,
    "copy": _Run.copy,
    "test": _Run.test,
}


def _copied(node: Any) -> Any:
    """A deep copy; numbers are values and stay what they are."""
    if isinstance(node, dict):
        return {name: _copied(child) for name, child in node.items()}
    if isinstance(node, list):
        return [_copied(child) for child in node]
    return node


def depth(node: Any) -> int:
    """How many values stand inside each other, the innermost included."""
    level, deepest = [node], 0
    while level:
        deepest += 1
        level = [child for found in level for child in _inside(found)]
    return deepest


def _inside(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _size(node: Any) -> int:
    """JSON values at and below a node."""
    stack, count = [node], 0
    while stack:
        found = stack.pop()
        count += 1
        if isinstance(found, dict):
            stack += found.values()
        elif isinstance(found, list):
            stack += found
    return count


def _is_same(one: Any, other: Any) -> bool:
    """Equality of RFC 6902, 4.6: numbers by value, objects in any order."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | Decimal) and isinstance(other, int | Decimal):
        return one == other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(v, other[n]) for n, v in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return type(one) is type(other) and one == other
