"""Reads the profiles of config/fhir/profiles/, one a line.

Those of R4 and US Core are written by `docs/profiles.py`; others of the same form may stand
beside them.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import orjson

from fhir_server.profiles.model import Binding, Element, Profile, Type
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson

#: Begins the urls of R4's own types.
BASE: Final = "http://hl7.org/fhir/StructureDefinition/"


class Profiles:
    """All profiles, by url."""

    __slots__ = ("_by_url",)

    def __init__(self, by_url: Mapping[str, Profile]) -> None:
        self._by_url = dict(by_url)

    def all(self) -> tuple[Profile, ...]:
        """Every profile, in the order of their urls."""
        return tuple(self._by_url[url] for url in sorted(self._by_url))

    def get(self, canonical: str) -> Profile | None:
        """The profile of a url, `url` or `url|version`; None when it is not here."""
        url, _, version = canonical.partition("|")
        found = self._by_url.get(url)
        return found if found and version in ("", found.version) else None

    def base(self, type_name: str) -> Profile | None:
        """What R4 says of a resource or data type beyond structure; None = nothing."""
        return self._by_url.get(BASE + type_name)

    def by_type(self) -> dict[str, list[str]]:
        """The urls of those that say more of a type than R4 does, by type."""
        found: dict[str, list[str]] = {}
        for each in self.all():
            if not each.url.startswith(BASE):
                found.setdefault(each.type, []).append(each.url)
        return found

    def type_of(self, url: str) -> str:
        """The type of a profile's or type's url; "" when unknown."""
        found = self._by_url.get(url)
        if found is not None:
            return found.type
        return url.removeprefix(BASE) if url.startswith(BASE) else ""


def load_profiles(folder: Path) -> Profiles:
    """The profiles of a folder.

    Raises:
        HieError: INVALID; one issue per fault, each with file, line and what was expected.
    """
    files = sorted(folder.glob("*.ndjson"))
    stamps = ((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return _profiles(folder, tuple(stamps))


# A process reads unchanged files once, however many hubs it makes.
@lru_cache(maxsize=4)
def _profiles(folder: Path, _stamps: tuple[tuple[str, int, int], ...]) -> Profiles:
    found: dict[str, Profile] = {}
    faults: list[str] = []
    for place, line in _lines(folder):
        try:
            profile = _profile(orjson.loads(line))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError):
            faults.append(f"{place}: expected a profile as docs/profiles.py writes it")
            continue
        if found.setdefault(profile.url, profile) is not profile:
            faults.append(f"{place}: `url` stands in another line too")
    if faults:
        issues = [Issue(text=fault, code="invalid") for fault in faults]
        raise HieError(Category.INVALID, "; ".join(faults), issues)
    return Profiles(found)


def _lines(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.glob("*.ndjson")):
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            if line.strip():
                yield f"{path.name}:{number}", line


def _profile(told: FhirJson) -> Profile:
    root = Element(name=told["type"])
    for element in told["elements"]:
        _fill(_node(root, element["id"].split(".")[1:]), element)
    return Profile(
        url=told["url"],
        version=told["version"],
        name=told["name"],
        type=told["type"],
        root=root,
    )


def _node(root: Element, path: list[str]) -> Element:
    """The node of an element id, made with those above it where they say nothing."""
    node = root
    for part in path:
        name, _, slice_name = part.partition(":")
        node = node.children.setdefault(name, Element(name=name))
        if slice_name:
            node = _slice(node, slice_name)
    return node


def _slice(node: Element, slice_name: str) -> Element:
    for each in node.slices:
        if each.slice_name == slice_name:
            return each
    made = Element(name=node.name, slice_name=slice_name)
    node.slices.append(made)
    return made


def _fill(node: Element, told: FhirJson) -> None:
    node.min, node.max = told.get("min", 0), told.get("max")
    node.fixed, node.pattern = told.get("fixed"), told.get("pattern")
    node.types = tuple(_type(each) for each in told.get("types", ()))
    node.rules = tuple(told.get("rules", ()))
    node.is_must_support = told.get("mustSupport", False)
    if "binding" in told:
        strength, url = told["binding"]
        node.binding = Binding(value_set=url, is_required=strength == "required")
    if "slicing" in told:
        node.discriminators = tuple((kind, path) for kind, path in told["slicing"]["by"])
        node.is_closed = told["slicing"]["rules"] == "closed"


def _type(told: Mapping[str, Any]) -> Type:
    return Type(
        code=told["code"],
        profiles=tuple(told.get("profile", ())),
        targets=tuple(told.get("target", ())),
    )
