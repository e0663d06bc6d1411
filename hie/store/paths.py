"""The path language of config/fhir: from a resource to the elements a row is about (pure).

A path is dotted element names below the resource; lists are entered, choice types are named
in full (`valueQuantity`), and `[name=text]` after a name keeps the elements that hold that
text, `name` being a path itself (`item[extension.url=…]`). Paths are compiled once.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

SEGMENT: Final = re.compile(
    r"(?P<name>\w+)(\[(?P<key>\w+(\.\w+)*)=(?P<text>[^\]]*)\])?(\.|$)", re.ASCII
)

#: From the value of a path's first element to the values at its end.
Walk = Callable[[Any], Iterable[Any]]


def compile_path(path: str) -> tuple[str, Walk]:
    """The path's first element name, and the walk from its value to the path's end.

    Raises:
        ValueError: the text is not a path.
    """
    segments, at = [], 0
    while at < len(path):
        found = SEGMENT.match(path, at)
        if found is None:
            raise ValueError(path)
        segments.append(found)
        at = found.end()
    if not segments or path.endswith("."):
        raise ValueError(path)
    walk: Walk = _items
    for found in reversed(segments[1:]):
        walk = _child(found["name"], _kept(found, walk))
    return segments[0]["name"], _kept(segments[0], walk)


def whole_path(path: str) -> Walk:
    """The walk from the element that the path starts in, such as the resource, to its end.

    Raises:
        ValueError: the text is not a path.
    """
    first, walk = compile_path(path)
    return _child(first, walk)


def _items(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else (value,)


def _kept(found: re.Match[str], then: Walk) -> Walk:
    if found["key"] is None:
        return then
    key, text = whole_path(found["key"]), found["text"]

    def keep(value: Any) -> Iterable[Any]:
        return then([v for v in _items(value) if isinstance(v, dict) and text in key(v)])

    return keep


def _child(name: str, then: Walk) -> Walk:
    def enter(value: Any) -> Iterable[Any]:
        if isinstance(value, dict):
            inner = value.get(name)
            return () if inner is None else then(inner)
        if not isinstance(value, list):
            return ()
        inners = (v.get(name) for v in value if isinstance(v, dict))
        return [leaf for inner in inners if inner is not None for leaf in then(inner)]

    return enter
