"""A page of a search over one or several types: matches in one order, total, includes.

What a search shows was decided in SQL, on every alias; here pages are joined. A page begins
right behind the last match of the page before it (`hie.store.order`), so resources that were
there at the first page and did not change since are told exactly once, however many are written
meanwhile: one that changes has another place in its next version, or none, and one that is
newer stays out. Consents are asked anew for every page.
Spec: https://hl7.org/fhir/R4/http.html#paging
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.chained import ChainedPersons, Current
from hie.golden import GoldenPatients
from hie.includes import Included, Includes
from hie.kernel.context import Caller
from hie.kernel.errors import Category, HieError
from hie.store.index import SearchIndex
from hie.store.order import After, Key
from hie.store.query import Page, Query, Served
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual

PATIENT: Final = "Patient"
#: Ties before and behind all: of primary keys, and of persons' ids, small letters and digits.
_TIES: Final[dict[bool, tuple[Any, Any]]] = {False: (-1, 2**63 - 1), True: ("", "z" * 33)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a page begins: behind a match of the type at `position` among those searched."""

    as_of: int
    position: int
    key: Key

    def written(self) -> str:
        return json.dumps([self.as_of, self.position, self.key.values, self.key.tie])

    def after(self, position: int, *, is_patient: bool) -> After:
        """Where another type goes on: of equal values the first type comes first."""
        first, last = _TIES[is_patient]
        if position == self.position:
            key = self.key
        else:
            key = replace(self.key, tie=last if position < self.position else first)
        return After(key=key, as_of=self.as_of)


@dataclass(frozen=True, slots=True)
class _Match:
    position: int
    key: Key
    served: Served


@dataclass(frozen=True, slots=True, kw_only=True)
class _Matches:
    """Matches in order; `end` is the place of the last one that was looked at, if more follow."""

    found: tuple[_Match, ...]
    end: tuple[int, Key] | None


class Searches:
    """Reads pages of searches.

    Args:
        current: follows merges.
    """

    def __init__(
        self,
        repository: ResourceRepository,
        golden: GoldenPatients,
        index: SearchIndex,
        current: Current,
    ) -> None:
        self._repository = repository
        self._golden = golden
        self._chained = ChainedPersons(repository, golden, current)
        self._includes = Includes(repository, golden, index)

    async def page(
        self, conn: AsyncConnection, residual: Residual, caller: Caller, queries: Sequence[Query]
    ) -> Page:
        """One page of what the caller may see.

        Args:
            conn: an open connection.
            residual: the caller's.
            caller: whose scopes bound what is included.
            queries: one a type, alike in sort, count, cursor, total and includes.

        Raises:
            HieError: INVALID when the cursor is not one of this search, or when a chain means
                too many Patients.
        """
        resolved = self._chained.resolved
        queries = [await resolved(conn, caller, residual, query) for query in queries]
        asked = queries[0]
        total = None
        if asked.is_total_wanted or asked.count == 0:
            total = sum([await self._count(conn, residual, query) for query in queries])
        if asked.count == 0:
            return Page(total=total)
        place = None if asked.cursor is None else _opened(asked, len(queries))
        matches = await self._matches(conn, residual, queries, place)
        served = tuple(match.served for match in matches.found)
        included = Included()
        if asked.includes and served:
            included = await self._includes.of(conn, residual, caller, served, asked.includes)
        following = None
        if matches.end is not None:
            as_of = place.as_of if place else await self._repository.newest(conn)
            following = _Place(as_of=as_of, position=matches.end[0], key=matches.end[1]).written()
        elif place is None and [query.type for query in queries] == [PATIENT]:
            total = len(served)  # IHE ITI-78 asks for it, and here it costs nothing
        return Page(
            matches=served,
            included=included.resources,
            next_cursor=following,
            total=total,
            is_cut=included.is_cut,
        )

    async def _count(self, conn: AsyncConnection, residual: Residual, query: Query) -> int:
        if query.type == PATIENT:
            return await self._golden.count(conn, residual, query)
        return await self._repository.count(conn, residual, query)

    async def _matches(
        self,
        conn: AsyncConnection,
        residual: Residual,
        queries: Sequence[Query],
        place: _Place | None,
    ) -> _Matches:
        """The matches of one page of all types, in order."""
        asked = queries[0]
        found: list[_Match] = []
        ends: list[tuple[int, Key]] = []
        for position, query in enumerate(queries):
            if place is not None and position < place.position and not asked.sort:
                continue  # all of it was told
            room = asked.count if asked.sort else max(asked.count - len(found), 1)
            one = await self._of_type(conn, residual, replace(query, count=room), position, place)
            found += one.found
            ends += [one.end] if one.end else []
            if not asked.sort and len(found) >= asked.count and (ends or len(found) > asked.count):
                break
        page = _sorted(found, asked)[: asked.count]
        if len(page) < len(found):
            return _Matches(found=tuple(page), end=(page[-1].position, page[-1].key))
        if not ends:
            return _Matches(found=tuple(page), end=None)
        is_merged = asked.sort and len(queries) > 1 and page
        last = (page[-1].position, page[-1].key) if is_merged else ends[-1]
        return _Matches(found=tuple(page), end=last)

    async def _of_type(
        self,
        conn: AsyncConnection,
        residual: Residual,
        query: Query,
        position: int,
        place: _Place | None,
    ) -> _Matches:
        is_patient = query.type == PATIENT
        after = None if place is None else place.after(position, is_patient=is_patient)
        if is_patient:
            patients = await self._golden.search(conn, residual, query, after)
            keys, served, end = patients.keys, patients.served, patients.end
        else:
            rows = await self._repository.search(conn, residual, query, after)
            keys, served, end = rows.keys, rows.served, rows.end
        matches = tuple(_Match(position, key, one) for key, one in zip(keys, served, strict=True))
        return _Matches(found=matches, end=None if end is None else (position, end))


def _sorted(found: list[_Match], asked: Query) -> list[_Match]:
    """Matches of several types in the order of the search; those of one are in it already."""
    if not asked.sort or len({match.position for match in found}) < 2:
        return found
    ordered = sorted(found, key=lambda match: (match.position, match.key.tie))
    for n, key in reversed(list(enumerate(asked.sort))):
        ordered.sort(key=lambda match, at=n: match.key.values[at], reverse=key.is_descending)  # type: ignore[misc]  # a default argument
    return ordered


def _opened(asked: Query, types: int) -> _Place:
    """The place that a cursor was written of.

    Raises:
        HieError: INVALID when it is not one of this search.
    """
    try:
        as_of, position, values, tie = json.loads(asked.cursor or "")
        fits = len(values) == len(asked.sort) and 0 <= position < types
    except (ValueError, TypeError) as error:
        raise _unfit() from error
    if not fits:
        raise _unfit()
    return _Place(as_of=as_of, position=position, key=Key(values=tuple(values), tie=tie))


def _unfit() -> HieError:
    return HieError(Category.INVALID, "the page link does not fit this search")
