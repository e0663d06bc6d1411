"""Elements of a resource by the kit's paths: nested, of a choice, of a slice, of an extension."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.us_core.build import Resource

EXTENSION = re.compile(r"extension\.where\(url='([^']+)'\)\.(\w+)")
CHOICE = re.compile(r"[A-Z]\w*$")
Slices = Sequence[Mapping[str, Any]]


def at(node: Any, path: str) -> list[Any]:
    """The values at a path; lists are entered, `effective` and `value[x]` mean any type."""
    if found := EXTENSION.match(path):
        url, name = found.groups()
        return [e[name] for e in node.get("extension", ()) if e["url"] == url and name in e]
    head, _, rest = path.partition(".")
    values = list(_children(node, head))
    return [deeper for value in values for deeper in at(value, rest)] if rest else values


def _children(node: Any, head: str) -> Iterator[Any]:
    if not isinstance(node, dict):
        return
    plain = head.removesuffix("[x]")
    for name, value in node.items():
        is_choice = name.startswith(plain) and CHOICE.fullmatch(name[len(plain) :])
        if name == head or (is_choice and (head.endswith("[x]") or plain not in node)):
            yield from value if isinstance(value, list) else [value]


def has_element(resource: Resource, path: str, slices: Slices, value: str | None = None) -> bool:
    """Whether a must-support element is there, in the slice its path names."""
    nodes: list[Any] = [resource]
    done = ""
    for part in path.split("."):
        name, _, slice_name = part.partition(":")
        nodes = [child for node in nodes for child in at(node, name)]
        done = f"{done}.{part}" if done else part
        if slice_name and slice_name != name:
            told = next(s["told_by"] for s in slices if s["id"].partition(".")[2] == done)
            nodes = [node for node in nodes if is_in_slice(node, told)]
    return bool(nodes) if value is None else value in nodes


def has_slice(resource: Resource, path: str, told: Mapping[str, Any]) -> bool:
    """Whether a slice has at least one member."""
    if told["type"] == "type":
        return bool(at(resource, path.removesuffix("[x]") + told["code"]))
    return any(is_in_slice(node, told) for node in at(resource, path))


def is_in_slice(node: Any, told: Mapping[str, Any]) -> bool:
    """Whether a node has what tells the members of a slice."""
    if told["type"] == "value":
        return all(one["value"] in at(node, one["path"]) for one in told["values"])
    targets = at(node, told["path"]) if told["path"] else [node]
    if told["type"] == "requiredBinding":
        wanted = {(one["system"], one["code"]) for one in told["values"]}
        return any(wanted & codes(target) for target in targets)
    if told["type"] == "patternIdentifier":
        return any(target.get("system") == told["system"] for target in targets)
    return any((told["system"], told["code"]) in codes(target) for target in targets)


def codes(node: Any) -> set[tuple[str, str]]:
    """System and code of a CodeableConcept's codings, or of a Coding."""
    found = node.get("coding", [node])
    return {(one.get("system", ""), one.get("code", "")) for one in found}
