"""Read path of the repository: the residual's predicate on every alias, before LIMIT.

Reached through `hie.access` (and by `consent` and `flow` for what they own); whoever else
wants a resource asks the door.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, distinct, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import DataKey
from hie.kernel.fhir import FhirJson
from hie.keystore import KeyStore
from hie.store.body import decode, names_others, serve
from hie.store.criteria import Criteria
from hie.store.index import SearchIndex
from hie.store.predicate import Visibility, bound, shape_of
from hie.store.query import Query, Served
from hie.store.residual import Residual
from hie.store.statements import Statements, current
from hie.store.tables import compartment, resource

_CHUNK = 500
MAX_VERSION = 2**31 - 1
Rows = Sequence[Row[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Rows of one page: resources in order, and where the next page starts."""

    served: tuple[Served, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A current resource as the write path reads it back.

    Attributes:
        resource: parsed JSON with patients as `Patient/<source record id>`.
    """

    type: str
    id: str
    version: int
    is_deleted: bool
    source_id: str
    source_record_id: str | None
    person_id: str | None
    label_mask: int
    resource: FhirJson


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What there is to know of a current resource without opening it."""

    version: int
    last_updated_us: int
    is_deleted: bool
    source_id: str
    person_id: str | None


class ResourceRepository:
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
        self._keys = keys
        self._index = index
        self._visibility = visibility
        self._criteria = criteria
        self._security = security
        self._statements = Statements(index, visibility)

    async def read(
        self, conn: AsyncConnection, residual: Residual, type_name: str, resource_id: str
    ) -> Served | None:
        """The current version, a tombstone where it is deleted, or None: hidden or absent."""
        values = {"type_id": self._index.type_id(type_name), "id": resource_id}
        query = self._statements.read(shape_of(residual))
        rows = (await conn.execute(query, {**values, **bound(residual)})).all()
        served = await self._serve(conn, rows)
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
        rows = (await conn.execute(query, {**values, **bound(residual)})).all()
        return await self._serve(conn, rows)

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
        return Found(served=tuple(await self._serve(conn, page)), next_cursor=cursor)

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
        query = self._statements.patients(shape_of(residual))
        rows = (await conn.execute(query, {"persons": persons, **bound(residual)})).all()
        found: dict[str, list[Served]] = {}
        for served in await self._serve(conn, rows):
            found.setdefault(served.person_id, []).append(served)
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
        return await self._serve(conn, page), following

    async def load(
        self, conn: AsyncConnection, wanted: Iterable[tuple[str, str]]
    ) -> dict[tuple[str, str], Stored]:
        """Current resources by (type, id) for the write path; no rule is asked."""
        names = {(self._index.type_id(name), key): (name, key) for name, key in wanted}
        r = resource.alias("r")
        found: dict[tuple[str, str], Stored] = {}
        ids = sorted({key for _, key in names})
        for start in range(0, len(ids), _CHUNK):
            query = current(r).where(r.c.id.in_(ids[start : start + _CHUNK]))
            rows = [row for row in await conn.execute(query) if (row.type_id, row.id) in names]
            found |= {names[(s[0].type_id, s[0].id)]: s[1] for s in await self._stored(conn, rows)}
        return found

    async def versions_of(
        self, conn: AsyncConnection, wanted: Iterable[tuple[str, str]]
    ) -> dict[tuple[str, str], Head]:
        """Version, time and owner of current resources by (type, id); no rule is asked."""
        names = {(self._index.type_id(name), key): (name, key) for name, key in wanted}
        ids = sorted({key for _, key in names})
        found: dict[tuple[str, str], Head] = {}
        c = resource.c
        for start in range(0, len(ids), _CHUNK):
            rows = await conn.execute(
                select(
                    c.type_id,
                    c.id,
                    c.version,
                    c.last_updated_us,
                    c.deleted,
                    c.source_id,
                    c.person_id,
                ).where(c.id.in_(ids[start : start + _CHUNK]))
            )
            for row in rows:
                if (row.type_id, row.id) in names:
                    found[names[row.type_id, row.id]] = Head(
                        version=row.version,
                        last_updated_us=row.last_updated_us,
                        is_deleted=bool(row.deleted),
                        source_id=row.source_id,
                        person_id=row.person_id,
                    )
        return found

    async def of_person(self, conn: AsyncConnection, person: str, type_name: str) -> list[Stored]:
        """Every current resource of a type in a person's compartment; no rule is asked."""
        r = resource.alias("r")
        query = current(r).where(
            or_(r.c.person_id == person, self._shared_with(r, [person])),
            r.c.type_id == self._index.type_id(type_name),
            r.c.deleted.is_(False),
        )
        return [s for _, s in await self._stored(conn, (await conn.execute(query)).all())]

    async def count_by_type(self, conn: AsyncConnection) -> dict[str, int]:
        """How many current resources there are of each type."""
        rows = await conn.execute(
            select(resource.c.type_id, func.count())
            .where(resource.c.deleted.is_(False))
            .group_by(resource.c.type_id)
        )
        return {self._index.type_name(type_id): n for type_id, n in rows}

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

    def _shared_with(self, r: Any, persons: Sequence[str]) -> Any:
        shared = select(compartment.c.resource_pk).where(compartment.c.person_id.in_(persons))
        return r.c.pk.in_(shared)

    def _persons_where(self, r: Any, residual: Residual, query: Query) -> list[Any]:
        patient = self._index.type_id("Patient")
        where = [
            r.c.type_id == patient,
            r.c.deleted.is_(False),
            self._visibility.visible(shape_of(residual), r.name),
        ]
        if query.persons is not None:
            where.append(r.c.person_id.in_(query.persons))
        for position, criterion in enumerate(query.criteria):
            other = resource.alias(f"r{position}")
            where.append(
                r.c.person_id.in_(
                    select(other.c.person_id).where(
                        other.c.type_id == patient,
                        other.c.deleted.is_(False),
                        self._criteria.expression(other, criterion, None),
                        self._visibility.visible(shape_of(residual), other.name),
                    )
                )
            )
        return where

    async def _serve(self, conn: AsyncConnection, rows: Rows) -> list[Served]:
        keys = await self._keys.by_ids(conn, {row.key_id for row in rows})
        opened = [b"" if row.deleted else self._open(row, keys) for row in rows]
        others = await self._others(conn, rows, opened)
        return [
            Served(
                type=self._index.type_name(row.type_id),
                id=row.id,
                version=str(row.version),
                last_updated_us=row.last_updated_us,
                source_id=row.source_id,
                person_id=row.person_id or "",
                label_mask=row.label_mask,
                is_deleted=bool(row.deleted),
                body=b""
                if row.deleted
                else serve(
                    body,
                    resource_id=row.id,
                    version=str(row.version),
                    last_updated_us=row.last_updated_us,
                    security=self._security(row.label_mask),
                    persons=[row.person_id or "", *(p for p, _ in others.get(row.pk, ()))],
                ),
            )
            for row, body in zip(rows, opened, strict=True)
        ]

    async def _stored(self, conn: AsyncConnection, rows: Rows) -> list[tuple[Row[Any], Stored]]:
        keys = await self._keys.by_ids(conn, {row.key_id for row in rows})
        opened = [b"" if row.deleted else self._open(row, keys) for row in rows]
        others = await self._others(conn, rows, opened)
        return [
            (
                row,
                Stored(
                    type=self._index.type_name(row.type_id),
                    id=row.id,
                    version=row.version,
                    is_deleted=bool(row.deleted),
                    source_id=row.source_id,
                    source_record_id=row.source_record_id,
                    person_id=row.person_id,
                    label_mask=row.label_mask,
                    resource=decode(
                        body,
                        resource_id=row.id,
                        records=[
                            row.source_record_id or "",
                            *(r for _, r in others.get(row.pk, ())),
                        ],
                    )
                    if body
                    else {},
                ),
            )
            for row, body in zip(rows, opened, strict=True)
        ]

    async def _others(
        self, conn: AsyncConnection, rows: Rows, bodies: Sequence[bytes]
    ) -> dict[int, list[tuple[str, str]]]:
        """Persons and source records beyond the first, of the few bodies that name them."""
        pks = [row.pk for row, body in zip(rows, bodies, strict=True) if names_others(body)]
        found: dict[int, list[tuple[str, str]]] = {}
        for start in range(0, len(pks), _CHUNK):
            shared = await conn.execute(
                select(compartment)
                .where(compartment.c.resource_pk.in_(pks[start : start + _CHUNK]))
                .order_by(compartment.c.resource_pk, compartment.c.ordinal)
            )
            for row in shared:
                pair = (row.person_id, row.source_record_id)
                found.setdefault(row.resource_pk, []).append(pair)
        return found

    def _open(self, row: Row[Any], keys: dict[int, DataKey]) -> bytes:
        place = f"{self._index.type_name(row.type_id)}/{row.id}/{row.body_version}"
        return keys[row.key_id].open(row.body, table="resource_version", column="body", row=place)
