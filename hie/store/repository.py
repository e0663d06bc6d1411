"""Read path of the repository: the residual's predicate on every alias, before LIMIT.

Reached through `hie.access` (and by `consent` and `flow` for what they own); whoever else
wants a resource asks the door.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import MessageId, PersonId, SourceId
from hie.keystore import KeyStore
from hie.padding import padded
from hie.store.chronicle import Chronicle
from hie.store.criteria import Criteria
from hie.store.index import SearchIndex
from hie.store.linked import LinkedResources
from hie.store.listing import Listing
from hie.store.loader import Rows
from hie.store.masking import Masking
from hie.store.order import After, Key, bound_after
from hie.store.origins import VersionOrigin
from hie.store.predicate import Visibility, bound, shape_of
from hie.store.query import Query, Served
from hie.store.residual import Residual
from hie.store.searches import Built, SearchStatements
from hie.store.serving import ResourceServer
from hie.store.statements import Statements
from hie.store.tables import resource, resource_version
from hie.store.veil import Veil
from hie.store.walks import Pace, Walks

MAX_VERSION = 2**31 - 1
#: Source records in one IN list.
_PERSONS_AT_ONCE = 256
#: Resources in one, and versions looked at of each beside its first.
_AT_ONCE = 256
_LATEST = 100
_PACE = Pace()
_NEWEST = select(func.max(resource.c.pk))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A page of resources in order.

    Attributes:
        keys: the place of each.
        end: where the next page begins; None on the last.
    """

    served: tuple[Served, ...]
    keys: tuple[Key, ...]
    end: Key | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPersons:
    """A page of persons in order, with the place of each; `is_more`: a page follows."""

    persons: tuple[str, ...]
    keys: tuple[Key, ...]
    is_more: bool


class ResourceRepository(ResourceServer):
    """Reads resources for a residual.

    Args:
        security: label mask to the codings of `meta.security`, JSON joined by commas.
        masking: what is left of a resource without some of its references.
        pace: of searches that name nobody.
    """

    def __init__(  # noqa: PLR0913 - what a read is made of
        self,
        keys: KeyStore,
        index: SearchIndex,
        visibility: Visibility,
        criteria: Criteria,
        security: Callable[[int], bytes],
        masking: Masking,
        *,
        pace: Pace = _PACE,
    ) -> None:
        super().__init__(keys, index, security, Veil(index, visibility, masking))
        self._statements = Statements(index, visibility)
        self._searches = SearchStatements(index, visibility, criteria)
        self._walks = Walks(self._searches, criteria, index, pace)
        #: Follows references, for what a page includes.
        self.linked = LinkedResources(self, index, visibility)
        #: Tells what became of the resources of a type.
        self.chronicle = Chronicle(self, index, visibility)
        #: Makes the lists of exports.
        self.listing = Listing(self, index, visibility, criteria)

    async def read(
        self, conn: AsyncConnection, residual: Residual, type_name: str, resource_id: str
    ) -> Served | None:
        """The current version, a tombstone where it is deleted, or None: hidden or absent."""
        values = {"type_id": self._index.type_id(type_name), "id": resource_id}
        query = self._statements.read(shape_of(residual))
        rows = (await conn.execute(query, {**values, **bound(residual)})).all()
        served = await self.serve(conn, residual, rows)
        return served[0] if served else None

    async def versions(  # noqa: PLR0913 - one history, narrowed by keywords
        self,
        conn: AsyncConnection,
        residual: Residual,
        type_name: str,
        resource_id: str,
        *,
        only: int | None = None,
        before: int | None = None,
        count: int = 100,
    ) -> list[Served]:
        """Versions of a resource, newest first; the current person's rules hold for all."""
        first = only if only is not None else 1
        last = only if only is not None else (before - 1 if before is not None else MAX_VERSION)
        values = {
            "type_id": self._index.type_id(type_name),
            "id": resource_id,
            "first": first,
            "last": last,
            "count": count,
        }
        query = self._statements.versions(shape_of(residual))
        found: list[Served] = []
        while True:
            rows = (await conn.execute(query, {**values, **bound(residual)})).all()
            found += await self.serve(conn, residual, rows)
            if len(rows) < count or len(found) >= count:
                return found[:count]
            values["last"] = rows[-1].version - 1

    async def origins(
        self, conn: AsyncConnection, type_name: str, resource_id: str, limit: int = 100
    ) -> list[VersionOrigin]:
        """Which messages a resource's versions came from, newest first; [] for no such resource.

        Columns only: no body is opened. Whoever shows it to somebody puts that on record.
        """
        r, v = resource.c, resource_version.c
        rows = await conn.execute(
            select(v.version, v.last_updated_us, v.source_id, v.message_id, r.person_id)
            .join(resource, r.pk == v.resource_pk)
            .where(r.type_id == self._index.type_id(type_name), r.id == resource_id)
            .order_by(v.version.desc())
            .limit(limit)
        )
        return [_origin(row) for row in rows]

    async def origins_of(
        self, conn: AsyncConnection, type_name: str, resource_ids: Sequence[str]
    ) -> dict[str, list[VersionOrigin]]:
        """The same of several, oldest first: of each the first version and the latest ones.

        Versions of which the words are an earlier one's (a merge, a move) are left out.
        """
        r, v = resource.c, resource_version.c
        found: dict[str, list[VersionOrigin]] = {}
        for start in range(0, len(resource_ids), _AT_ONCE):
            some = padded(resource_ids[start : start + _AT_ONCE])
            rows = await conn.execute(
                select(r.id, v.version, v.last_updated_us, v.source_id, v.message_id, r.person_id)
                .join(resource, r.pk == v.resource_pk)
                .where(r.type_id == self._index.type_id(type_name), r.id.in_(some))
                .where(or_(v.version == 1, v.version > r.version - _LATEST))
                .where(v.body_version == v.version)
                .order_by(r.id, v.version)
            )
            for row in rows:
                found.setdefault(row.id, []).append(_origin(row))
        return found

    async def search(
        self, conn: AsyncConnection, residual: Residual, query: Query, after: After | None = None
    ) -> Found:
        """One page of a search over a type other than Patient, from behind a place."""
        rows, order = await self._walks.page(conn, residual, query, after)
        page = rows[: query.count]
        served = tuple(await self.serve(conn, residual, page))
        keys = {row.id: Key(values=order.keys(row), tie=row.pk) for row in page}
        return Found(
            served=served,
            keys=tuple(keys[one.id] for one in served),
            end=keys[page[-1].id] if len(rows) > len(page) else None,
        )

    async def persons(
        self, conn: AsyncConnection, residual: Residual, query: Query, after: After | None = None
    ) -> FoundPersons:
        """Persons whom a Patient search finds through records the caller may see, paged.

        Each criterion may be met by another record of the same person.
        """
        built = self._searches.persons(query, residual, is_after=after is not None)
        rows = await self._behind(conn, built, residual, query.count, after)
        page = rows[: query.count]
        return FoundPersons(
            persons=tuple(row.person_id for row in page),
            keys=tuple(Key(values=built.order.keys(row), tie=row.person_id) for row in page),
            is_more=len(rows) > query.count,
        )

    async def _behind(
        self,
        conn: AsyncConnection,
        built: Built,
        residual: Residual,
        count: int,
        after: After | None,
    ) -> Rows:
        """The rows of a page, and one more where there is one."""
        place = {} if after is None else bound_after(after)
        values = {**built.values, **place, **bound(residual), "count": count + 1}
        rows: Rows = (await conn.execute(built.statement, values)).all()
        return rows

    async def newest(self, conn: AsyncConnection) -> int:
        """The greatest primary key there is: what is stored later has a greater one."""
        return int((await conn.execute(_NEWEST)).scalar_one() or 0)

    async def count(self, conn: AsyncConnection, residual: Residual, query: Query) -> int:
        """How many resources of a search over a type other than Patient the caller may see."""
        built = self._searches.count(query, residual)
        counted = await conn.execute(built.statement, {**built.values, **bound(residual)})
        return int(counted.scalar_one())

    async def patients(
        self, conn: AsyncConnection, residual: Residual, persons: Sequence[str]
    ) -> dict[str, list[Served]]:
        """Source records (Patient resources) of persons that the caller may see."""
        if not persons:
            return {}
        listed = padded(persons)
        query = self._statements.patients(shape_of(residual), len(listed))
        values = {f"person_{n}": person for n, person in enumerate(listed)}
        rows = (await conn.execute(query, {**values, **bound(residual)})).all()
        found: dict[str, list[Served]] = {}
        for served in await self.serve(conn, residual, rows):
            found.setdefault(served.person_id, []).append(served)
        return found

    async def patient_persons(
        self, conn: AsyncConnection, residual: Residual, records: Sequence[str]
    ) -> dict[str, str]:
        """The person of each of these source records that the caller may see."""
        query = self._statements.patient_persons
        found: dict[str, str] = {}
        for start in range(0, len(records), _PERSONS_AT_ONCE):
            listed = padded(records[start : start + _PERSONS_AT_ONCE])
            values = {f"record_{n}": record for n, record in enumerate(listed)}
            rows = await conn.execute(
                query(shape_of(residual), len(listed)), {**values, **bound(residual)}
            )
            found |= {row.id: row.person_id for row in rows}
        return found

    async def own_person(
        self, conn: AsyncConnection, residual: Residual, record: str, sources: Collection[str]
    ) -> str | None:
        """The person of a source record, where it is of one of these sources and may be seen."""
        if not sources:
            return None
        query = self._statements.patient_persons(shape_of(residual), 1)
        rows = await conn.execute(query, {"record_0": record, **bound(residual)})
        return next((str(row.person_id) for row in rows if row.source_id in sources), None)


def _origin(row: Any) -> VersionOrigin:
    return VersionOrigin(
        version=row.version,
        last_updated_us=row.last_updated_us,
        source_id=SourceId(row.source_id),
        message_id=MessageId(row.message_id),
        person_id=PersonId(row.person_id) if row.person_id else None,
    )
