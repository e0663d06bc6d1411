"""Read path of the repository: the residual's predicate on every alias, before LIMIT.

Reached through `hie.access` (and by `consent` and `flow` for what they own); whoever else
wants a resource asks the door.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, distinct, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import MessageId, PersonId, SourceId
from hie.keystore import KeyStore
from hie.store.criteria import Criteria
from hie.store.index import SearchIndex
from hie.store.origins import VersionOrigin
from hie.store.predicate import Visibility, bound, padded, shape_of
from hie.store.query import Query, Served
from hie.store.residual import Residual
from hie.store.serving import ResourceServer
from hie.store.statements import Statements, current
from hie.store.tables import resource, resource_version

MAX_VERSION = 2**31 - 1
#: Source records in one IN list.
_PERSONS_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Rows of one page: resources in order, and where the next page starts."""

    served: tuple[Served, ...]
    next_cursor: str | None


class ResourceRepository(ResourceServer):
    """Reads resources for a residual.

    Args:
        security: label mask to the codings of `meta.security`, JSON joined by commas.
    """

    def __init__(
        self,
        keys: KeyStore,
        index: SearchIndex,
        visibility: Visibility,
        criteria: Criteria,
        security: Callable[[int], bytes],
    ) -> None:
        super().__init__(keys, index, security)
        self._visibility = visibility
        self._criteria = criteria
        self._statements = Statements(index, visibility)

    async def read(
        self, conn: AsyncConnection, residual: Residual, type_name: str, resource_id: str
    ) -> Served | None:
        """The current version, a tombstone where it is deleted, or None: hidden or absent."""
        values = {"type_id": self._index.type_id(type_name), "id": resource_id}
        query = self._statements.read(shape_of(residual))
        rows = (await conn.execute(query, {**values, **bound(residual)})).all()
        served = await self.serve(conn, rows)
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
            found += await self.serve(conn, rows)
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
        return [
            VersionOrigin(
                version=row.version,
                last_updated_us=row.last_updated_us,
                source_id=SourceId(row.source_id),
                message_id=MessageId(row.message_id),
                person_id=PersonId(row.person_id) if row.person_id else None,
            )
            for row in rows
        ]

    async def search(self, conn: AsyncConnection, residual: Residual, query: Query) -> Found:
        """One page of a search over a type other than Patient."""
        r = resource.alias("r")
        base = current(r).where(*self._where(r, residual, query))
        plan = self._criteria.order(r, query)
        if query.cursor is not None:
            base = base.where(plan.after(query.cursor))
        base = base.add_columns(*plan.columns).order_by(*plan.order_by).limit(query.count + 1)
        rows = (await conn.execute(base, bound(residual))).all()
        page = rows[: query.count]
        cursor = plan.cursor(page[-1]) if len(rows) > query.count and page else None
        return Found(served=tuple(await self.serve(conn, page)), next_cursor=cursor)

    async def count(self, conn: AsyncConnection, residual: Residual, query: Query) -> int:
        """How many resources of a search the caller may see."""
        r = resource.alias("r")
        if query.type == "Patient":
            counted = select(func.count(distinct(r.c.person_id))).where(
                *self._persons_where(r, residual, query)
            )
        else:
            counted = select(func.count()).select_from(r).where(*self._where(r, residual, query))
        return int((await conn.execute(counted, bound(residual))).scalar_one())

    async def persons(
        self, conn: AsyncConnection, residual: Residual, query: Query
    ) -> tuple[list[str], str | None]:
        """Persons whom a Patient search finds through records the caller may see, paged.

        Each criterion may be met by another record of the same person.
        """
        r = resource.alias("r")
        found = (
            select(r.c.person_id)
            .where(*self._persons_where(r, residual, query))
            .distinct()
            .order_by(r.c.person_id)
            .limit(query.count + 1)
        )
        if query.cursor is not None:
            found = found.where(r.c.person_id > query.cursor)
        ids = [row.person_id for row in await conn.execute(found, bound(residual))]
        page = ids[: query.count]
        return page, page[-1] if len(ids) > query.count and page else None

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
        for served in await self.serve(conn, rows):
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

    async def compartment(
        self,
        conn: AsyncConnection,
        residual: Residual,
        person: str,
        *,
        after: int,
        count: int | None,
    ) -> tuple[list[Served], int | None]:
        """What is in a person's compartment, Patient apart, in the order it was stored."""
        query = self._statements.compartment(shape_of(residual), count is not None)
        return await self._page(conn, residual, query, person, after, count)

    async def supporting(
        self,
        conn: AsyncConnection,
        residual: Residual,
        person: str,
        *,
        after: int,
        count: int | None,
    ) -> tuple[list[Served], int | None]:
        """What visible resources of a compartment refer to outside it, once each."""
        query = self._statements.supporting(shape_of(residual), count is not None)
        return await self._page(conn, residual, query, person, after, count)

    async def _page(
        self,
        conn: AsyncConnection,
        residual: Residual,
        query: Select[Any],
        person: str,
        after: int,
        count: int | None,
    ) -> tuple[list[Served], int | None]:
        values: dict[str, Any] = {"person": person, "after": after, **bound(residual)}
        if count is not None:
            values["count"] = count + 1
        rows = (await conn.execute(query, values)).all()
        page = rows if count is None else rows[:count]
        following = page[-1].pk if len(rows) > len(page) else None
        return await self.serve(conn, page), following

    def _where(self, r: Any, residual: Residual, query: Query) -> list[Any]:
        return [
            r.c.type_id == self._index.type_id(query.type),
            r.c.deleted.is_(False),
            *self._person_filter(r, query.persons),
            *(self._criteria.expression(r, c, query.persons) for c in query.criteria),
            self._visibility.visible(shape_of(residual), r.name),
        ]

    def _person_filter(self, r: Any, persons: Sequence[str] | None) -> list[Any]:
        if persons is None:
            return []
        return [or_(r.c.person_id.in_(persons), self._shared_with(r, persons))]

    def _persons_where(self, r: Any, residual: Residual, query: Query) -> list[Any]:
        patient = self._index.type_id("Patient")
        where = [
            r.c.type_id == patient,
            r.c.deleted.is_(False),
            self._visibility.visible(shape_of(residual), r.name),
        ]
        if query.persons is not None:
            where.append(r.c.person_id.in_(query.persons))
        leading = self._criteria.leading(query.criteria) if query.persons is None else None
        for position, criterion in enumerate(query.criteria):
            other = resource.alias(f"r{position}")
            is_theirs: list[Any] = [
                other.c.type_id == patient,
                other.c.deleted.is_(False),
                self._visibility.visible(shape_of(residual), other.name),
            ]
            if criterion is leading:
                # Begin at its index rows: the others are asked of the few persons found there.
                rows = self._criteria.resources(leading, patient)
                found = select(other.c.person_id).where(other.c.pk.in_(rows), *is_theirs)
                where.append(r.c.person_id.in_(found))
            else:
                met = self._criteria.expression(other, criterion, None)
                same = other.c.person_id == r.c.person_id
                where.append(exists(select(other.c.pk).where(same, met, *is_theirs).correlate(r)))
        return where
