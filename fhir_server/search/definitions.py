"""Value sets and code systems that the hub carries, read and searched as resources are (pure).

They are files of `config/`, not stored: everybody whose scopes let the type be read sees them, and
nobody writes them. A search tells them first, in the order of their urls, then what is stored.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import orjson

from fhir_server.search.params import refused
from fhir_server.terminology import render
from fhir_server.terminology.vocabulary import Vocabulary
from hie.kernel.fhir import FhirJson
from hie.store.index import SearchIndex
from hie.store.match import Seen, is_found
from hie.store.query import LastUpdated, Page, Query, Served

#: Types of which definitions are carried.
CARRIED: Final = frozenset({"ValueSet", "CodeSystem"})
_VERSION_LENGTH: Final = 16
#: Begins a position behind definitions shown, and one within what is stored.
_HERE: Final = "d:"
_STORED: Final = "s:"


class _Nobody:
    """Nothing refers to a definition, and none refers to anything."""

    def of_type(self, _: str, /) -> Iterable[Seen]:
        """Nothing."""
        return ()


_NOBODY: Final = _Nobody()


class Definitions:
    """What the hub carries, by type.

    Args:
        resources: each with id and url.
        index: what they are found by.
    """

    def __init__(self, resources: Iterable[FhirJson], index: SearchIndex) -> None:
        found: dict[str, dict[str, Seen]] = {name: {} for name in CARRIED}
        for resource in resources:
            seen = _seen(resource, index)
            found[seen.served.type].setdefault(seen.served.id, seen)
        self._seen: Mapping[str, Mapping[str, Seen]] = found

    def get(self, type_name: str, name: str) -> Served | None:
        """The definition of an id; None where none is carried."""
        found = self._seen.get(type_name, {}).get(name)
        return found.served if found else None

    def find(self, query: Query) -> tuple[Served, ...]:
        """The definitions that meet every criterion of a search, in the order of their urls."""
        if any(isinstance(criterion, LastUpdated) for criterion in query.criteria):
            return ()  # nobody knows when
        every = self._seen.get(query.type, {}).values()
        return tuple(seen.served for seen in every if is_found(seen, query, _NOBODY))


def _seen(resource: FhirJson, index: SearchIndex) -> Seen:
    body = orjson.dumps(resource)
    digest = hashlib.blake2b(body, digest_size=_VERSION_LENGTH // 2).hexdigest()
    served = Served(
        type=resource["resourceType"],
        id=resource["id"],
        version=digest,
        last_updated_us=0,
        body=body,
    )
    return Seen(served=served, values=index.values(resource), names=frozenset({served.id}))


def _resources(vocabulary: Vocabulary) -> Iterator[FhirJson]:
    yield from map(render.value_set, vocabulary.value_sets)
    yield from map(render.code_system, vocabulary.code_systems)


@lru_cache(maxsize=8)
def definitions_of(vocabulary: Vocabulary, index: SearchIndex) -> Definitions:
    """The definitions of a vocabulary, indexed once for all requests."""
    return Definitions(_resources(vocabulary), index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """A page that begins among the definitions, or behind them.

    Attributes:
        here: the definitions on this page.
        total: of all that were found.
        begin: how many stood before this page.
        rest: what is asked of the store to fill the page; of 0 resources it gives the total.
    """

    here: tuple[Served, ...]
    total: int
    begin: int
    rest: Query

    def joined(self, stored: Page, query: Query) -> Page:
        """The page: definitions first; what is stored follows on it or on the next."""
        shown = self.begin + len(self.here)
        cursor = None if stored.next_cursor is None else f"{_STORED}{stored.next_cursor}"
        has_more = shown < self.total or (self.rest.count == 0 and bool(stored.total))
        if query.count and has_more:
            cursor = f"{_HERE}{shown}"
        total = self.total + (stored.total or 0) if query.is_total_wanted else None
        return replace(
            stored, matches=(*self.here, *stored.matches), next_cursor=cursor, total=total
        )


def shelf_of(query: Query, found: Sequence[Served]) -> Shelf:
    """Where a page of a search stands.

    Args:
        query: its cursor is one of `Shelf.joined`; None = the first page.
        found: the definitions that meet it.

    Raises:
        HieError: INVALID for an order: what is carried has a place before what is stored.
    """
    if query.sort:
        text = f"no order is offered of {query.type}: definitions come by url, then what is stored"
        raise refused("_sort", text, "not-supported")
    cursor = query.cursor or f"{_HERE}0"
    is_behind = cursor.startswith(_STORED)
    begin = len(found) if is_behind else min(int(cursor.removeprefix(_HERE)), len(found))
    here = tuple(found[begin : begin + query.count])
    rest = query.count - len(here)
    asked = replace(
        query,
        count=rest,
        cursor=cursor.removeprefix(_STORED) if is_behind else None,
        is_total_wanted=query.is_total_wanted or rest == 0,
    )
    return Shelf(here=here, total=len(found), begin=begin, rest=asked)
