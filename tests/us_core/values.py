"""Search values taken from resources, and whether a resource meets one.

Written from the standard alone: nothing here knows how the hub searches.
Spec: https://hl7.org/fhir/R4/search.html
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.us_core.build import Resource
from tests.us_core.elements import at, codes
from tests.us_core.kit import Param

#: What a hub may store by day alone, and refuse to be asked by the hour (docs/adr/0012).
BY_DAY = frozenset({"birthdate"})
DATES = frozenset({"date", "dateTime", "Period", "instant"})
TOKENS = frozenset({"CodeableConcept", "Coding", "code", "Identifier"})
PREFIX = re.compile(r"(gt|ge|lt|le)?(.+)")
Span = tuple[datetime, datetime]
EARLIEST, LATEST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def found(resource: Resource, param: Param) -> list[Any]:
    """The elements a parameter looks at."""
    return [value for path in param.paths for value in at(resource, path)]


def asked(resource: Resource, param: Param, *, with_system: bool = False) -> Iterator[str]:
    """Values that this resource must be found by."""
    for node in found(resource, param):
        if param.type in DATES:
            yield _date(node, is_by_day=param.name in BY_DAY)
        elif param.type in TOKENS:
            yield from _tokens(node, with_system=with_system)
        elif param.type == "Reference":
            yield node["reference"]
        elif param.type == "HumanName":
            yield node.get("family") or node["text"]
        elif param.type == "Address":
            yield node.get("city") or node["text"]
        else:
            yield node


def _date(node: Any, *, is_by_day: bool) -> str:
    if isinstance(node, str):
        return node[: len("2026-01-31")] if is_by_day else node
    # A day is not the whole of a period: it is found by what goes on after its start.
    return f"ge{node['start']}"


def _tokens(node: Any, *, with_system: bool) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif "value" in node:
        yield f"{node['system']}|{node['value']}" if with_system else node["value"]
    else:
        yield from (f"{system}|{code}" if with_system else code for system, code in codes(node))


def meets(resource: Resource, param: Param, text: str) -> bool:
    """Whether a resource is a right answer to a search for this value."""
    nodes = found(resource, param)
    if param.type in DATES:
        prefix, rest = PREFIX.fullmatch(text).groups()  # type: ignore[union-attr]  # it takes any text
        wanted = span(rest)
        return any(_compared(span(node), prefix or "eq", wanted) for node in nodes)
    if param.type in TOKENS:
        given = {t for node in nodes for s in (True, False) for t in _tokens(node, with_system=s)}
        return not given.isdisjoint(text.split(","))
    if param.type == "Reference":
        wanted_id = text.rsplit("/", 1)[-1]
        return any(node["reference"].rsplit("/", 1)[-1] == wanted_id for node in nodes)
    return any(part.lower().startswith(text.lower()) for node in nodes for part in _texts(node))


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, list):
        for one in node:
            yield from _texts(one)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name not in ("use", "period", "system"):
                yield from _texts(value)


def span(node: Any) -> Span:
    """The range a date, time or Period leaves open."""
    if isinstance(node, dict):
        start = span(node["start"])[0] if "start" in node else EARLIEST
        return start, span(node["end"])[1] if "end" in node else LATEST
    if len(node) > len("2026-01-31"):
        moment = datetime.fromisoformat(node.replace("Z", "+00:00"))
        return moment, moment + timedelta(seconds=1)
    parts = [int(part) for part in node.split("-")]
    year, month, day = [*parts, 1, 1][:3]
    start = datetime(year, month, day, tzinfo=UTC)
    days = {1: 366, 2: 31, 3: 1}[len(parts)]
    return start, start + timedelta(days=days)


def _compared(row: Span, prefix: str, wanted: Span) -> bool:
    inside = wanted[0] <= row[0] and row[1] <= wanted[1]
    above, below = row[1] > wanted[1], row[0] < wanted[0]
    return {
        "eq": inside,
        "gt": above,
        "ge": above or inside,
        "lt": below,
        "le": below or inside,
    }[prefix]


def around(text: str) -> dict[str, str]:
    """Per prefix a value a day away, such that the resource of `text` meets it."""
    plain = text.removeprefix("ge")
    start, _ = span(plain)
    form = "%Y-%m-%d" if "T" not in plain else "%Y-%m-%dT%H:%M:%SZ"
    before = (start - timedelta(days=1)).strftime(form)
    after = (start + timedelta(days=1)).strftime(form)
    return {"gt": f"gt{before}", "ge": f"ge{before}", "lt": f"lt{after}", "le": f"le{after}"}
