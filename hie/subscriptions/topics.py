"""Topics: what can be subscribed to, as tables of `config/fhir/topics/` (pure but for reading).

A trigger is a condition on a resource: elements, and the codes one of which they have. It fires
when a version meets it and the version before did not, or there was none.
Spec: https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson

#: The filter every topic has: the patient is a member of that Group.
PANEL: Final = "_in"
_KEYS: Final = frozenset({"url", "title", "resource", "filters", "trigger", "on_identity"})
#: A condition: path of an element, and the codes one of which is there.
Condition = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """Something to be told of.

    Attributes:
        name: of its file; what metrics call it.
        filters: search parameters of the resource that a subscription may narrow it by.
        triggers: any of them makes an event; () for a change of identity.
    """

    name: str
    url: str
    title: str
    resource: str
    filters: tuple[str, ...]
    triggers: tuple[Condition, ...] = ()

    def fires(self, before: FhirJson | None, now: FhirJson) -> bool:
        """Whether the step from one version to the next is an event."""
        return any(
            _holds(one, now) and not (before is not None and _holds(one, before))
            for one in self.triggers
        )


class Topics:
    """The topics of this hub."""

    def __init__(self, topics: Iterable[Topic]) -> None:
        self._by_url = {topic.url: topic for topic in topics}
        self.types = frozenset(t.resource for t in self._by_url.values() if t.triggers)
        self.identity = tuple(t.url for t in self._by_url.values() if not t.triggers)

    def __iter__(self) -> Iterator[Topic]:
        return iter(self._by_url.values())

    def by_url(self, canonical: str) -> Topic | None:
        """The topic of a canonical URL, with or without `|version`."""
        return self._by_url.get(canonical.partition("|")[0])

    def about(self, type_name: str) -> list[Topic]:
        """The topics whose triggers look at a type."""
        return [t for t in self._by_url.values() if t.resource == type_name and t.triggers]


def load_topics(folder: Path) -> Topics:
    """Read every table of a folder.

    Raises:
        HieError: INVALID, naming file and key.
    """
    found: dict[str, Topic] = {}
    for path in sorted(folder.glob("*.toml")):
        topic = _read(path)
        if topic.url in found:
            raise _fault(path, "url", "an address no other topic has")
        found[topic.url] = topic
    return Topics(found.values())


def _read(path: Path) -> Topic:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HieError(Category.INVALID, f"{path.name}: expected TOML in UTF-8") from error
    for key in table.keys() - _KEYS:
        raise _fault(path, key, f"one of {', '.join(sorted(_KEYS))}")
    for key in ("url", "title", "resource"):
        if not isinstance(table.get(key), str) or not table[key]:
            raise _fault(path, key, "a text")
    is_identity = table.get("on_identity", False) is True
    triggers = tuple(_condition(path, one) for one in table.get("trigger", ()))
    if bool(triggers) == is_identity:
        raise _fault(path, "trigger", "a condition, or `on_identity = true`, not both")
    return Topic(
        name=path.stem,
        url=table["url"],
        title=table["title"],
        resource=table["resource"],
        filters=_texts(path, "filters", table.get("filters", ())),
        triggers=triggers,
    )


def _condition(path: Path, table: Mapping[str, Any]) -> Condition:
    if not table:
        raise _fault(path, "trigger", "an element and its codes")
    return {element: frozenset(_texts(path, element, codes)) for element, codes in table.items()}


def _texts(path: Path, key: str, found: Any) -> tuple[str, ...]:
    if not isinstance(found, list | tuple) or not all(isinstance(one, str) for one in found):
        raise _fault(path, key, "a list of texts")
    return tuple(found)


def _fault(path: Path, key: str, expected: str) -> HieError:
    return HieError(Category.INVALID, f"topics/{path.name}: `{key}`: expected {expected}")


def _holds(condition: Condition, resource: FhirJson) -> bool:
    return all(
        not codes.isdisjoint(_values(resource, path.split(".")))
        for path, codes in condition.items()
    )


def _values(node: Any, path: list[str]) -> Iterator[str]:
    if isinstance(node, list):
        for one in node:
            yield from _values(one, path)
    elif not path:
        if isinstance(node, str):
            yield node
    elif isinstance(node, dict) and path[0] in node:
        yield from _values(node[path[0]], path[1:])
