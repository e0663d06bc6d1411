"""THE DOOR: every read of patient data passes here, and nothing reaches records around it.

decide -> read with the rules joined -> recheck -> audit -> serve. What is hidden is answered
exactly as what does not exist. No method returns before its audit rows are committed; when
they cannot be, it raises and nothing leaves.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.db import Database
from hie.disclosure import Disclosures
from hie.golden import GoldenPatients
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId
from hie.sight import Sight
from hie.store.query import Page, Query, Served
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual


class Door:
    """Reads for callers."""

    def __init__(
        self,
        db: Database,
        repository: ResourceRepository,
        sight: Sight,
        golden: GoldenPatients,
        disclosures: Disclosures,
    ) -> None:
        self._db = db
        self._repository = repository
        self._sight = sight
        self._golden = golden
        self._disclosures = disclosures

    async def read(self, ctx: RequestContext, type_name: str, resource_id: str) -> Served:
        """The current version.

        Raises:
            HieError: NOT_FOUND when hidden or absent; GONE when deleted.
        """
        residual = self._sight.residual(ctx)
        async with self._db.reading() as conn:
            if type_name == "Patient":
                served = await self._sight.patient(conn, ctx, residual, resource_id)
            else:
                served = await self._repository.read(conn, residual, type_name, resource_id)
            await self._sight.recheck(conn, ctx, [served])
        return await self._disclose(ctx, "read", type_name, resource_id, served)

    async def vread(
        self, ctx: RequestContext, type_name: str, resource_id: str, version: str
    ) -> Served:
        """One version; whether it may be seen is decided on the current person.

        Raises:
            HieError: NOT_FOUND when hidden or absent; GONE when that version is a deletion.
        """
        residual = self._sight.residual(ctx)
        async with self._db.reading() as conn:
            if type_name == "Patient":
                current = await self._sight.patient(conn, ctx, residual, resource_id)
                served = current if current and current.version == version else None
                if served is None and current and current.source_id:
                    served = await self._version(conn, residual, type_name, resource_id, version)
            else:
                served = await self._version(conn, residual, type_name, resource_id, version)
            await self._sight.recheck(conn, ctx, [served])
        return await self._disclose(ctx, "vread", type_name, resource_id, served)

    async def history(
        self,
        ctx: RequestContext,
        type_name: str,
        resource_id: str,
        count: int,
        cursor: str | None = None,
    ) -> Page:
        """Versions, newest first; the golden Patient, which is derived, has its current one.

        Raises:
            HieError: NOT_FOUND when hidden or absent.
        """
        residual = self._sight.residual(ctx)
        async with self._db.reading() as conn:
            current = None
            if type_name == "Patient":
                current = await self._sight.patient(conn, ctx, residual, resource_id)
            if type_name == "Patient" and (current is None or not current.source_id):
                versions = [current] if current else []
            else:
                versions = await self._repository.versions(
                    conn,
                    residual,
                    type_name,
                    resource_id,
                    before=_number(cursor) if cursor else None,
                    count=count + 1,
                )
            await self._sight.recheck(conn, ctx, versions)
        if not versions and cursor is None:
            await self._disclosures.refuse(ctx, "history-instance", type_name, resource_id)
        page = versions[:count]
        persons = {served.person_id for served in page}
        await self._disclosures.record(
            ctx, "R", "history-instance", persons, type_name, resource_id, shown=page
        )
        following = page[-1].version if len(versions) > count else None
        return Page(matches=tuple(page), next_cursor=following)

    async def search(
        self, ctx: RequestContext, query: Query, keep: Callable[[Served], bool] | None = None
    ) -> Page:
        """One page of what the caller may see of a search.

        Args:
            ctx: the request.
            query: what is searched for.
            keep: what of the page is told; the rest is not disclosed, nor on record as such.
        """
        residual = self._sight.residual(ctx)
        async with self._db.reading() as conn:
            query = await self._with_current_persons(conn, ctx, residual, query)
            if query.type == "Patient":
                page = await self._golden.search(conn, residual, query)
            else:
                page = await self._search(conn, residual, query)
            await self._sight.recheck(conn, ctx, page.matches)
        if keep is not None:
            page = replace(page, matches=tuple(filter(keep, page.matches)))
        persons = {served.person_id for served in page.matches}
        await self._disclosures.record(
            ctx,
            "E",
            "search-type",
            persons,
            query.type,
            detail=_described(query),
            shown=page.matches,
        )
        return page

    async def _search(self, conn: AsyncConnection, residual: Residual, query: Query) -> Page:
        total = None
        if query.is_total_wanted or query.count == 0:
            total = await self._repository.count(conn, residual, query)
        if query.count == 0:
            return Page(total=total)
        found = await self._repository.search(conn, residual, query)
        return Page(matches=found.served, next_cursor=found.next_cursor, total=total)

    async def _version(
        self,
        conn: AsyncConnection,
        residual: Residual,
        type_name: str,
        resource_id: str,
        version: str,
    ) -> Served | None:
        if not version.isdigit() or len(version) > 9:
            return None
        found = await self._repository.versions(
            conn, residual, type_name, resource_id, only=int(version), count=1
        )
        return found[0] if found else None

    async def _with_current_persons(
        self, conn: AsyncConnection, ctx: RequestContext, residual: Residual, query: Query
    ) -> Query:
        """The query with merged persons followed, and own source records as their person."""
        if query.persons is None:
            return query
        current: list[str] = []
        for asked in query.persons:
            person = await self._sight.current(conn, residual, asked)
            record = await self._repository.read(conn, residual, "Patient", asked)
            if record and record.source_id in ctx.caller.sources:
                person = PersonId(record.person_id)
            current.append(person)
        return replace(query, persons=tuple(dict.fromkeys(current)))

    async def _disclose(
        self,
        ctx: RequestContext,
        subtype: str,
        type_name: str,
        resource_id: str,
        served: Served | None,
    ) -> Served:
        if served is None:
            await self._disclosures.refuse(ctx, subtype, type_name, resource_id)
        await self._disclosures.record(
            ctx, "R", subtype, {served.person_id}, type_name, resource_id, shown=[served]
        )
        if served.is_deleted:
            raise HieError(Category.GONE, "the resource was deleted")
        return served


def _described(query: Query) -> dict[str, str]:
    """What was asked, for the sealed detail of the audit row."""
    return {"query": json.dumps(asdict(query), default=str)}


def _number(cursor: str) -> int:
    try:
        return int(cursor)
    except ValueError as error:
        raise HieError(Category.INVALID, "the page link does not fit this history") from error
