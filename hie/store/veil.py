"""Leaves out of what is served the references its reader may not follow.

One question a page: which of the resources named on it may this caller know of? What stands on
the page itself was decided already, and the directory is everybody's; a source is served whole
what it sent itself. What of a resource is left then, says `hie.store.masking`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

from sqlalchemy import Integer, Select, String, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.padding import padded
from hie.store.index import SearchIndex
from hie.store.masking import Masking, named_in
from hie.store.predicate import Shape, Visibility, bound, shape_of
from hie.store.query import Served
from hie.store.residual import Residual
from hie.store.tables import resource

#: Ids in one IN list.
_AT_ONCE: Final = 256


class Veil:
    """Masks what is served, for a residual."""

    def __init__(self, index: SearchIndex, visibility: Visibility, masking: Masking) -> None:
        self._index = index
        self._visible = visibility.visible
        self._masking = masking
        self._statement = cache(self._seen_of)
        self._persons = cache(self._persons_in)
        self._records = cache(self._records_in)

    async def over(
        self, conn: AsyncConnection, residual: Residual, served: Sequence[Served]
    ) -> list[Served]:
        """The same resources, without the references this caller may not follow."""
        on_page = {f"{one.type}/{one.id}" for one in served}
        named = {
            place: asked
            for place, one in enumerate(served)
            if one.body
            and one.source_id not in residual.own_sources
            and (asked := {*self._asked(named_in(one.body) - on_page, one)})
        }
        if not named:
            return [*served]
        wanted = set().union(*named.values())
        hidden = wanted - await self.seen(conn, residual, wanted)
        left = [*served]
        for place, names in named.items() if hidden else ():
            if lost := names & hidden:
                one = served[place]
                left[place] = replace(one, body=self._masking.masked(one.body, lost))
        return left

    async def persons_seen(
        self, conn: AsyncConnection, residual: Residual, persons: set[str]
    ) -> frozenset[str]:
        """Those of some persons of whom the caller may see a Patient."""
        seen: set[str] = set()
        for some in _chunks(sorted(persons)):
            listed = padded(some)
            values: dict[str, Any] = {f"p_{n}": person for n, person in enumerate(listed)}
            query = self._persons(shape_of(residual), len(listed))
            seen |= set((await conn.execute(query, {**values, **bound(residual)})).scalars())
        return frozenset(seen)

    async def persons_of(self, conn: AsyncConnection, records: set[str]) -> dict[str, str]:
        """The person of each source record; for what was about them once, no rule is asked."""
        found: dict[str, str] = {}
        for some in _chunks(sorted(records)):
            listed = padded(some)
            values: dict[str, Any] = {f"id_{n}": record for n, record in enumerate(listed)}
            rows = await conn.execute(self._records(len(listed)), values)
            found |= {record: person for record, person in rows if person}
        return found

    def _persons_in(self, shape: Shape, count: int) -> Select[Any]:
        r = resource.alias("r")
        persons = [bindparam(f"p_{n}", type_=String) for n in range(count)]
        return (
            select(r.c.person_id)
            .where(
                r.c.type_id == self._index.type_id("Patient"),
                r.c.person_id.in_(persons),
                r.c.deleted.is_(False),
                self._visible(shape, "r", type_name="Patient"),
            )
            .distinct()
        )

    def _records_in(self, count: int) -> Select[Any]:
        r = resource.alias("r")
        records = [bindparam(f"id_{n}", type_=String) for n in range(count)]
        is_patient = r.c.type_id == self._index.type_id("Patient")
        return select(r.c.id, r.c.person_id).where(is_patient, r.c.id.in_(records))

    def _asked(self, names: set[str], one: Served) -> Iterator[str]:
        """The names that have to be asked about."""
        persons = {one.person_id, *(person for person, _ in one.further)}
        for name in names:
            kind, _, key = name.partition("/")
            is_told = self._index.is_directory(kind) or (kind == "Patient" and key in persons)
            if not is_told and self._index.has_type(kind):
                yield name

    async def seen(self, conn: AsyncConnection, residual: Residual, names: set[str]) -> set[str]:
        """Those of some resources that the caller may know of."""
        pairs = [name.split("/") for name in sorted(names)]
        seen: set[str] = set()
        for some in _chunks(pairs):
            ids = padded([key for _, key in some])
            types = padded(sorted({str(self._index.type_id(kind)) for kind, _ in some}))
            values: dict[str, Any] = {f"id_{n}": key for n, key in enumerate(ids)}
            values |= {f"type_{n}": int(number) for n, number in enumerate(types)}
            query = self._statement(shape_of(residual), len(types), len(ids))
            rows = await conn.execute(query, {**values, **bound(residual)})
            seen |= {f"{self._index.type_name(kind)}/{key}" for kind, key in rows}
        return seen

    def _seen_of(self, shape: Shape, types: int, ids: int) -> Select[Any]:
        r = resource.alias("r")
        return select(r.c.type_id, r.c.id).where(
            r.c.type_id.in_([bindparam(f"type_{n}", type_=Integer) for n in range(types)]),
            r.c.id.in_([bindparam(f"id_{n}", type_=String) for n in range(ids)]),
            self._visible(shape, "r"),
        )


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]
