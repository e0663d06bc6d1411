"""THE DOOR: every read of patient data passes here, and nothing reaches records around it.

decide -> read with the rules joined -> recheck -> audit -> serve. What is hidden is answered
exactly as what does not exist. No method returns before its audit rows are committed; when
they cannot be, it raises and nothing leaves.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import Description
from hie.db import Database
from hie.disclosure import Disclosures
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.searching import Searches
from hie.sight import Sight
from hie.store.chronicle import VersionPlace
from hie.store.criterion import Criterion, DateValue, LastUpdated, Prefix
from hie.store.naming import names_somebody
from hie.store.query import Page, Query, Served, Sort
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual

#: What a source calls its resources to their types and ids (`hie.store.writer`).
OwnNames = Callable[[AsyncConnection, str, Iterable[str]], Awaitable[Mapping[str, tuple[str, str]]]]
PATIENT: Final = "Patient"
_NEWEST: Final = Query(type=PATIENT, sort=(Sort(param="_lastUpdated", is_descending=True),))


class Door:
    """Reads for callers."""

    def __init__(
        self,
        db: Database,
        repository: ResourceRepository,
        sight: Sight,
        searches: Searches,
        disclosures: Disclosures,
        names: OwnNames,
    ) -> None:
        self._db = db
        self._repository = repository
        self._sight = sight
        self._searches = searches
        self._disclosures = disclosures
        self._names = names

    async def read(self, ctx: RequestContext, type_name: str, resource_id: str) -> Served:
        """The current version.

        Raises:
            HieError: NOT_FOUND when hidden or absent; GONE when deleted.
        """
        residual = self._sight.residual(ctx)
        async with self._db.reading() as conn:
            served = await self._current(conn, ctx, residual, type_name, resource_id)
            if served is None:
                own = await self._own(conn, ctx, type_name, resource_id)
                if own is not None:
                    served = await self._current(conn, ctx, residual, type_name, own)
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
        since_us: int = 0,
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
        recent = [served for served in versions if served.last_updated_us >= since_us]
        page = recent[:count]
        persons = {served.person_id for served in page}
        await self._disclosures.record(
            ctx, "R", "history-instance", persons, type_name, resource_id, shown=page
        )
        following = page[-1].version if len(recent) > count else None
        return Page(matches=tuple(page), next_cursor=following)

    async def history_of_type(
        self,
        ctx: RequestContext,
        type_name: str,
        count: int,
        cursor: str | None = None,
        since_us: int = 0,
    ) -> Page:
        """Versions of all resources of a type, newest first.

        Of type Patient: the golden Patients as they are now, the last changed first.

        Raises:
            HieError: INVALID for a cursor that is none.
        """
        if type_name == PATIENT:
            query = replace(_NEWEST, count=count, cursor=cursor, criteria=_since(since_us))
            page = await self._searched(ctx, [query])
        else:
            residual = self._sight.residual(ctx)
            after = _place(cursor) if cursor else None
            async with self._db.reading() as conn:
                found = await self._repository.chronicle.versions(
                    conn, residual, type_name, since_us=since_us, after=after, count=count
                )
                await self._sight.recheck(conn, ctx, found.served)
            following = found.end.written() if found.end else None
            page = Page(matches=found.served, next_cursor=following)
        persons = {served.person_id for served in page.matches}
        await self._disclosures.record(
            ctx, "R", "history-type", persons, type_name, shown=page.matches
        )
        return page

    async def search(
        self, ctx: RequestContext, query: Query, keep: Callable[[Served], bool] | None = None
    ) -> Page:
        """One page of what the caller may see of a search on one type.

        Args:
            ctx: the request.
            query: what is searched for.
            keep: what of the page is told; the rest is not disclosed, nor on record as such.
        """
        page = await self._searched(ctx, [query], keep)
        await self._tell(ctx, "search-type", query.type, [query], page)
        return page

    async def search_types(self, ctx: RequestContext, queries: Sequence[Query]) -> Page:
        """The same of a search on several types: one query each, alike in all but criteria."""
        page = await self._searched(ctx, queries)
        await self._tell(ctx, "search-system", "", queries, page)
        return page

    async def _searched(
        self,
        ctx: RequestContext,
        queries: Sequence[Query],
        keep: Callable[[Served], bool] | None = None,
    ) -> Page:
        residual = self._sight.residual(ctx)
        async with self._db.reading() as conn:
            page = await self._searches.page(conn, residual, ctx.caller, queries)
            if keep is not None:  # before the recheck, which notes what must be told of it
                page = replace(page, matches=tuple(filter(keep, page.matches)))
            await self._sight.recheck(conn, ctx, [*page.matches, *page.included])
        return page

    async def _tell(
        self,
        ctx: RequestContext,
        subtype: str,
        type_name: str,
        queries: Sequence[Query],
        page: Page,
    ) -> None:
        """Put a page on record before it leaves."""
        shown = [*page.matches, *page.included]
        persons = {served.person_id for served in shown if served.person_id}
        if any(not served.person_id for served in page.matches):
            persons.add("")
        detail = _described(queries)
        await self._disclosures.record(
            ctx, "E", subtype, persons, type_name, detail=detail, shown=shown
        )

    async def _current(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        residual: Residual,
        type_name: str,
        resource_id: str,
    ) -> Served | None:
        if type_name == PATIENT:
            return await self._sight.patient(conn, ctx, residual, resource_id)
        return await self._repository.read(conn, residual, type_name, resource_id)

    async def _own(
        self, conn: AsyncConnection, ctx: RequestContext, type_name: str, resource_id: str
    ) -> str | None:
        """The id of what one of the caller's feeds calls so; nobody else's names count."""
        name = f"{type_name}/{resource_id}"
        for source in sorted(ctx.caller.sources):
            found = (await self._names(conn, source, [name])).get(name)
            if found is not None:
                return found[1]
        return None

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


def _described(queries: Sequence[Query]) -> dict[str, str]:
    """What was asked, for the sealed detail of the audit row.

    Not where the page began: that place holds the key of the newest resource of all, which who
    may read this row may not know of.
    """
    asked = [asdict(replace(query, cursor=query.cursor and "later")) for query in queries]
    text = json.dumps(asked[0] if len(asked) == 1 else asked, default=str)
    return {"query": Description(text) if names_somebody(queries) else text}


def _since(since_us: int) -> tuple[Criterion, ...]:
    if not since_us:
        return ()
    value = DateValue(prefix=Prefix.GE, lo_us=since_us, hi_us=since_us + 1)
    return (LastUpdated(values=(value,)),)


def _place(cursor: str) -> VersionPlace:
    try:
        return VersionPlace.read(cursor)
    except ValueError as error:
        raise HieError(Category.INVALID, "the page link does not fit this history") from error


def _number(cursor: str) -> int:
    try:
        return int(cursor)
    except ValueError as error:
        raise HieError(Category.INVALID, "the page link does not fit this history") from error
