"""What is left of a resource for somebody who may not see all that it refers to (pure).

A reference is shown to who may see what it leads to; else it is dropped, as if the sender had
not written it. What leads to nothing is dropped alike, so no answer tells one from the other,
and nothing says that something was dropped: a tag that is there exactly when something is hidden
would tell that. Where an entry makes no sense without its reference (`List.entry`), the entry goes
with it; where a resource must have the element, an empty one stands in its place. A narrative
that links to what is not shown goes whole.
Spec: https://hl7.org/fhir/R4/references.html
"""

import json
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson, split_reference
from hie.store.body import dump

#: `Type/id`, in compact JSON: inside of a string its quotes would be escaped.
_NAME: Final = rb'([A-Z][A-Za-z]*/[A-Za-z0-9\-.]{1,64})(?:/_history/[^"\\]*)?'
_MEMBER: Final = re.compile(rb'"(?:reference|ur[il]|valueU(?:ri|rl|uid))":"' + _NAME + b'"')
_ATTRIBUTE: Final = re.compile(rb'(?:href|src)=\\"' + _NAME + rb'\\"')
_LINK: Final = re.compile(r'(?:href|src)="([^"]+)"')
_ADDRESSES: Final = frozenset({"uri", "url", "valueUri", "valueUrl", "valueUuid"})
#: Stands where an element must be that has nothing to say; the same whatever the reason.
_NOTHING: Final[FhirJson] = {
    "extension": [
        {
            "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
            "valueCode": "unknown",
        }
    ]
}
_GONE: Final = object()


def named_in(body: bytes) -> set[str]:
    """Every `Type/id` that a resource refers to; `body` is compact JSON."""
    found = _MEMBER.findall(body)
    if b'=\\"' in body:  # in a narrative, or in no resource
        found += _ATTRIBUTE.findall(body)
    return {name.decode() for name in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class Masking:
    """Takes references out of resources.

    Attributes:
        required: by resource type the paths of elements that must be there, on the way to a
            reference (config/fhir/required.json).
        kept: by resource type the paths of references whose entry stays, for what else it says.
    """

    required: Mapping[str, frozenset[str]]
    kept: Mapping[str, frozenset[str]]

    def masked(self, body: bytes, hidden: Collection[str]) -> bytes:
        """A resource without its references to `hidden`, each a `Type/id`.

        Numbers and the order of members stay as they are.
        """
        resource = json.loads(body, parse_float=Decimal)
        self._object(resource, "", resource["resourceType"], hidden)
        return dump(resource)

    def _node(self, node: Any, path: str, kind: str, hidden: Collection[str]) -> Any:
        if isinstance(node, dict):
            if "resourceType" in node:
                self._object(node, "", node["resourceType"], hidden)
                return node
            return self._object(node, path, kind, hidden)
        if isinstance(node, list) and node:
            left = [self._node(one, path, kind, hidden) for one in node]
            return [one for one in left if one is not _GONE] or _GONE
        return node

    def _object(self, node: FhirJson, path: str, kind: str, hidden: Collection[str]) -> Any:
        if _is_hidden(node, hidden):
            return _GONE
        is_less = False
        for name, child in [*node.items()]:
            place = _below(path, name)
            left = self._node(child, place, kind, hidden)
            if left is not _GONE:
                node[name] = left
                continue
            is_less = True
            if place in self.required.get(kind, ()):
                if path and place not in self.kept.get(kind, ()):
                    return _GONE
                node[name] = [_NOTHING] if isinstance(child, list) else _NOTHING
            elif "url" in node:
                return _GONE  # an extension is nothing without its value
            else:
                del node[name]
        return _GONE if is_less and not node.keys() - {"id"} else node


def _below(path: str, name: str) -> str:
    """The path of a member; a part within a part of the same name is one of its kind."""
    if path == name or path.endswith(f".{name}"):
        return path
    return f"{path}.{name}" if path else name


def _is_hidden(node: FhirJson, hidden: Collection[str]) -> bool:
    """Whether an element itself names something hidden."""
    for name, value in node.items():
        if not isinstance(value, str):
            continue
        if name == "reference" or name in _ADDRESSES:
            if _leads_to(value, hidden):
                return True
        elif name == "div" and any(_leads_to(link, hidden) for link in _LINK.findall(value)):
            return True
    return False


def _leads_to(link: str, hidden: Collection[str]) -> bool:
    pair = split_reference(link)
    return pair is not None and "/".join(pair) in hidden


def load_masking(folder: Path) -> Masking:
    """The masking that the tables of config/fhir describe.

    Raises:
        HieError: INVALID naming file and place.
    """
    try:
        required = json.loads((folder / "required.json").read_text(encoding="utf-8"))
        kept = tomllib.loads((folder / "masking.toml").read_text(encoding="utf-8"))["kept"]
    except (OSError, ValueError, KeyError) as error:
        text = "`config/fhir`: expected required.json, and masking.toml with a table [kept]"
        raise HieError(Category.INVALID, text) from error
    for kind, paths in kept.items():
        if unknown := {*paths} - {*required.get(kind, ())}:
            text = f"masking.toml `kept.{kind}`: expected paths of required.json in {len(unknown)}"
            raise HieError(Category.INVALID, text)
    return Masking(
        required={kind: frozenset(paths) for kind, paths in required.items() if paths},
        kept={kind: frozenset(paths) for kind, paths in kept.items()},
    )
