"""The most recent resources of each kind: one kind is what shares a coding (pure).

Two concepts are equivalent when they share a coding, and so are two that share one each with a
third; a concept without codings is known by its text. The time is that of care; of a period its
end counts, as it does where a search is sorted from the newest.
Spec: https://hl7.org/fhir/R4/observation-operation-lastn.html
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Final

import orjson

from hie.kernel.fhir import FhirJson
from hie.store import blind
from hie.store.index import SearchIndex
from hie.store.query import MIN_US, Served

#: The kind of what says nothing of its kind.
_NONE: Final = ("", "")


def latest(found: Sequence[Served], element: str, most: int, index: SearchIndex) -> list[Served]:
    """The newest of each kind, the kind of the newest first.

    Args:
        found: resources of types that have the element.
        element: the concept that says of which kind a resource is, `code` or `type`.
        most: of each kind.
        index: says when a resource is of.
    """
    parsed = [orjson.loads(one.body) for one in found]
    kinds = _kinds([body.get(element) for body in parsed])
    order = sorted(range(len(found)), key=lambda n: (-_time(parsed[n], index), found[n].id))
    groups: dict[int, list[Served]] = defaultdict(list)
    for n in order:
        group = groups[kinds[n]]
        if len(group) < most:
            group.append(found[n])
    return [one for group in groups.values() for one in group]


def _time(resource: FhirJson, index: SearchIndex) -> int:
    period = index.clinical_period(resource)
    return period[1] if period else MIN_US


def _kinds(concepts: Sequence[Any]) -> list[int]:
    """A number for each concept, the same for those that are equivalent."""
    parents = list(range(len(concepts)))

    def root(n: int) -> int:
        while parents[n] != n:
            parents[n] = parents[parents[n]]
            n = parents[n]
        return n

    first: dict[Hashable, int] = {}
    for n, concept in enumerate(concepts):
        for face in _faces(concept):
            parents[root(n)] = root(first.setdefault(face, n))
    return [root(n) for n in range(len(concepts))]


def _faces(concept: Any) -> Iterator[Hashable]:
    """What a concept is known by: its codings, or else its text."""
    held = concept if isinstance(concept, dict) else {}
    codings = [c for c in held.get("coding", ()) if isinstance(c, dict) and c.get("code")]
    for coding in codings:
        yield coding.get("system", ""), coding["code"]
    if not codings:
        text = held.get("text")
        yield (blind.fold(text),) if isinstance(text, str) and blind.fold(text) else _NONE
