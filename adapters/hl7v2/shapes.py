"""Element paths and shapes of the tables, compiled to functions.

A path is `gender`, `period.start`, `name[]` (append, once each) or `dosage[0].text`. A shape is
FHIR JSON in which `"$"` stands for the converted value and `"$2"` for the text of component 2.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from adapters.hl7v2.context import Parts
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson

Setter = Callable[[FhirJson, Any], None]
Shape = Callable[[Any, Any], Any]
#: Sets a link to a draft; gives the Reference it stands in, None for a plain URL.
Linker = Callable[[FhirJson, str], FhirJson | None]

_STEP: Final = re.compile(r"^(?P<name>[A-Za-z_][A-Za-z0-9]*)(?P<list>\[(?P<index>\d?)\])?$")
_PART: Final = re.compile(r"^\$(\d+)$")
_APPEND: Final = -1
#: A step into JSON: element name, and None, a list position or _APPEND.
_Step = tuple[str, int | None]


def top_of(path: str) -> str:
    """The top-level element of a path."""
    return re.split(r"[.\[]", path, maxsplit=1)[0]


def takes_many(path: str) -> bool:
    """Whether a path appends, so that every repetition has a place."""
    return path.endswith("[]")


def setter(path: str) -> Setter:
    """Puts a value where `path` says, unless something is there already.

    Raises:
        HieError: INVALID when `path` is no such path.
    """
    if path == "*":
        return _spread
    *inner, (name, position) = [_step(text, path) for text in path.split(".")]
    if position not in (None, _APPEND) or any(at == _APPEND for _, at in inner):
        raise HieError(Category.INVALID, f"`{path}`: `[]` may only end a path, `[0]` may not")
    put = _appender(name) if position == _APPEND else _putter(name)
    if not inner:
        return put

    def deep(target: FhirJson, value: Any) -> None:
        put(descend(target, inner), value)

    return deep


def linker(path: str) -> Linker:
    """Puts a link to a draft where `path` says: a Reference, beside any display, or a plain URL.

    Raises:
        HieError: INVALID when `path` is no element path.
    """
    if path.endswith("url"):
        return setter(path)
    *inner, (name, position) = [_step(text, path) for text in path.split(".")]
    if position is not None and position != _APPEND:
        entry = element(path)

        def meet(target: FhirJson, link: str) -> FhirJson:
            reference = entry(target)
            reference["reference"] = link
            return reference

        return meet
    if position is None:

        def join(target: FhirJson, link: str) -> FhirJson:
            holder = descend(target, inner) if inner else target
            reference: FhirJson = holder.setdefault(name, {})
            reference["reference"] = link
            return reference

        return join

    def add(target: FhirJson, link: str) -> FhirJson:
        # Drafts are each linked once, so there is no need to look for the same one.
        reference: FhirJson = {"reference": link}
        descend(target, inner).setdefault(name, []).append(reference)
        return reference

    return add


def element(path: str) -> Callable[[FhirJson], FhirJson]:
    """Finds the object at a path such as `contained[0]`, making what is missing."""
    steps = [_step(text, path) for text in path.split(".")]
    return lambda target: descend(target, steps)


def descend(target: FhirJson, steps: list[_Step]) -> FhirJson:
    """The object the steps lead to; objects and list entries on the way are made."""
    for name, position in steps:
        if position is None:
            target = target.setdefault(name, {})
            continue
        entries: list[FhirJson] = target.setdefault(name, [])
        while len(entries) <= position:
            entries.append({})
        target = entries[position]
    return target


def merge(target: FhirJson, found: FhirJson) -> None:
    """Add the elements of `found`: lists grow, what is set already stays."""
    for name, value in found.items():
        if name not in target:
            target[name] = value
        elif isinstance(value, list) and isinstance(target[name], list):
            target[name] += [item for item in value if item not in target[name]]


def copied(node: Any) -> Any:
    """A copy of JSON that shares nothing that can change."""
    if isinstance(node, dict):
        return {name: copied(child) for name, child in node.items()}
    return [copied(child) for child in node] if isinstance(node, list) else node


def shape(template: Any) -> Shape:
    """The template with the value in place of `$`; entries whose `$n` is empty are left out.

    The function takes the value and the `Parts` that `$n` reads; None where there is no `$n`.
    """
    if isinstance(template, str):
        part = _PART.match(template)
        if part:
            n = int(part[1])
            return lambda _value, parts: parts(n)
        return (lambda value, _parts: value) if template == "$" else lambda _value, _parts: template
    if isinstance(template, list):
        entries = [shape(entry) for entry in template]
        return lambda value, parts: [made(value, parts) for made in entries]
    if isinstance(template, dict):
        return _object(template)
    return lambda _value, _parts: template


def _object(template: dict[str, Any]) -> Shape:
    """A shape that is an object; built anew each time, so that no resource shares it."""
    if not any(isinstance(entry, dict | list) or "$" in str(entry) for entry in template.values()):
        return lambda _value, _parts: template.copy()
    items = [(name, shape(entry)) for name, entry in template.items()]
    if not parts_of(template):
        return lambda value, parts: {name: make(value, parts) for name, make in items}

    def build(value: Any, parts: Parts) -> FhirJson:
        made = ((name, make(value, parts)) for name, make in items)
        return {name: entry for name, entry in made if entry is not None and entry != ""}

    return build


def parts_of(template: Any) -> tuple[int, ...]:
    """The component numbers a shape asks for."""
    if isinstance(template, str):
        part = _PART.match(template)
        return (int(part[1]),) if part else ()
    if isinstance(template, list | dict):
        entries = template.values() if isinstance(template, dict) else template
        return tuple(n for entry in entries for n in parts_of(entry))
    return ()


def _step(text: str, path: str) -> _Step:
    found = _STEP.match(text)
    if not found:
        raise HieError(Category.INVALID, f"`{path}` must be an element path such as `name[]`")
    if not found["list"]:
        return found["name"], None
    return found["name"], int(found["index"]) if found["index"] else _APPEND


def _putter(name: str) -> Setter:
    def put(target: FhirJson, value: Any) -> None:
        if name not in target:
            target[name] = value

    return put


def _appender(name: str) -> Setter:
    def append(target: FhirJson, value: Any) -> None:
        entries: list[Any] = target.setdefault(name, [])
        if not entries or value not in entries:
            entries.append(value)

    return append


def _spread(target: FhirJson, value: FhirJson) -> None:
    merge(target, value)
