"""THE DOOR: every read of patient data passes here, and nothing reaches records around it.

decide -> read with the rules joined -> recheck -> audit -> serve. What is hidden is answered
exactly as what does not exist. No method returns before its audit rows are committed; when
they cannot be, it raises and nothing leaves.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.model import ResourceFacts
from consent.service import ConsentService
from hie.db import Database
from hie.disclosure import Disclosures
from hie.golden import GoldenPatients
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId, SourceRecordId
from hie.store.query import Page, Query, Served
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual

READ = "access"


class Persons(Protocol):
    """What the door asks of the master patient index."""

    async def resolve(self, conn: AsyncConnection, person_id: PersonId) -> PersonId:
        """The person that this id means now, after merges."""
        ...

    async def ever_of(
        self, conn: AsyncConnection, person_id: PersonId
    ) -> Collection[SourceRecordId]:
        """The source records that ever were this person's."""
        ...


class Door:
    """Reads for callers."""

    def __init__(
        self,
        db: Database,
        repository: ResourceRepository,
        consent: ConsentService,
        persons: Persons,
        golden: GoldenPatients,
        disclosures: Disclosures,
    ) -> None:
        self._db = db
        self._repository = repository
        self._consent = consent
        self._persons = persons
        self._golden = golden
        self._disclosures = disclosures

    async def read(self, ctx: RequestContext, type_name: str, resource_id: str) -> Served:
        """The current version.

        Raises:
            HieError: NOT_FOUND when hidden or absent; GONE when deleted.
        """
        residual = self._consent.residual(ctx, READ)
        async with self._db.reading() as conn:
            if type_name == "Patient":
                served = await self._patient(conn, ctx, residual, resource_id)
            else:
                served = await self._repository.read(conn, residual, type_name, resource_id)
            await self._recheck(conn, ctx, [served])
        return await self._disclose(ctx, "read", type_name, resource_id, served)

    async def vread(
        self, ctx: RequestContext, type_name: str, resource_id: str, version: str
    ) -> Served:
        """One version; whether it may be seen is decided on the current person.

        Raises:
            HieError: NOT_FOUND when hidden or absent; GONE when that version is a deletion.
        """
        residual = self._consent.residual(ctx, READ)
        async with self._db.reading() as conn:
            if type_name == "Patient":
                current = await self._patient(conn, ctx, residual, resource_id)
                served = current if current and current.version == version else None
                if served is None and current and current.source_id:
                    served = await self._version(conn, residual, type_name, resource_id, version)
            else:
                served = await self._version(conn, residual, type_name, resource_id, version)
            await self._recheck(conn, ctx, [served])
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
        residual = self._consent.residual(ctx, READ)
        async with self._db.reading() as conn:
            current = None
            if type_name == "Patient":
                current = await self._patient(conn, ctx, residual, resource_id)
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
            await self._recheck(conn, ctx, versions)
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
        residual = self._consent.residual(ctx, READ)
        async with self._db.reading() as conn:
            query = await self._with_current_persons(conn, ctx, residual, query)
            if query.type == "Patient":
                page = await self._golden.search(conn, residual, query)
            else:
                page = await self._search(conn, residual, query)
            await self._recheck(conn, ctx, page.matches)
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

    async def everything(
        self,
        ctx: RequestContext,
        person_id: str,
        count: int | None = None,
        cursor: str | None = None,
    ) -> Page:
        """A person's record: the golden Patient, the compartment, then what it refers to.

        Args:
            ctx: the request.
            person_id: a person, or a source record of the caller's own.
            count: resources a page may have; None = all at once.
            cursor: where the page before ended.

        Raises:
            HieError: NOT_FOUND when hidden or absent.
        """
        residual = self._consent.residual(ctx, READ)
        async with self._db.reading() as conn:
            patient = await self._patient(conn, ctx, residual, person_id)
            if patient is not None and patient.source_id:
                patient = await self._golden.of(conn, residual, patient.person_id)
            if patient is None:
                matches: list[Served] = []
                following = None
            else:
                matches, following = await self._record_of(conn, residual, patient, count, cursor)
            await self._recheck(conn, ctx, matches)
        if patient is None:
            await self._disclosures.refuse(ctx, "operation", "Patient", person_id)
        caller = ctx.caller
        allowed = [served for served in matches if caller.may(served.type, "r")]
        await self._disclosures.record(
            ctx,
            "E",
            "operation",
            {patient.person_id, *(served.person_id for served in allowed if served.person_id)},
            "Patient",
            person_id,
            {"query": "$everything"},
            allowed,
        )
        return Page(matches=tuple(allowed), next_cursor=following)

    async def _recheck(
        self, conn: AsyncConnection, ctx: RequestContext, leaving: Sequence[Served | None]
    ) -> None:
        """Hold what is about to leave against the decision itself, resource by resource.

        The golden Patient is no stored resource: its records passed the predicate when it was
        built.

        Raises:
            HieError: FAULT when the SQL let something through that the decision denies.
        """
        facts = [
            ResourceFacts(
                type=served.type,
                id=served.id,
                source_id=served.source_id,
                person_id=served.person_id or None,
                source_record_id=served.source_record_id,
                label_mask=served.label_mask,
                is_partial=True,
            )
            for served in leaving
            if served is not None and served.source_id
        ]
        await self._consent.recheck(conn, ctx, facts)

    async def _record_of(
        self,
        conn: AsyncConnection,
        residual: Residual,
        patient: Served,
        count: int | None,
        cursor: str | None,
    ) -> tuple[list[Served], str | None]:
        """A page: `m:<pk>` pages through the compartment, `s:<pk>` through the rest."""
        phase, after = ("m", 0) if cursor is None else _phase(cursor)
        found = [patient] if cursor is None else []
        person = patient.person_id
        if phase == "m":
            room = None if count is None else max(count - len(found), 1)
            members, following = await self._repository.compartment(
                conn, residual, person, after=after, count=room
            )
            found += members
            if following is not None:
                return found, f"m:{following}"
            if count is not None and len(found) >= count:
                return found, "s:0"
            after = 0
        room = None if count is None else max(count - len(found), 1)
        supporting, following = await self._repository.supporting(
            conn, residual, person, after=after, count=room
        )
        return found + supporting, None if following is None else f"s:{following}"

    async def _search(self, conn: AsyncConnection, residual: Residual, query: Query) -> Page:
        total = None
        if query.is_total_wanted or query.count == 0:
            total = await self._repository.count(conn, residual, query)
        if query.count == 0:
            return Page(total=total)
        found = await self._repository.search(conn, residual, query)
        return Page(matches=found.served, next_cursor=found.next_cursor, total=total)

    async def _patient(
        self, conn: AsyncConnection, ctx: RequestContext, residual: Residual, patient_id: str
    ) -> Served | None:
        """The golden Patient of a person, or a source record for its source and stewards."""
        person = await self._current(conn, residual, patient_id)
        golden = await self._golden.of(conn, residual, person, asked_as=patient_id)
        if golden is not None:
            return golden
        record = await self._repository.read(conn, residual, "Patient", patient_id)
        caller = ctx.caller
        if record and (record.source_id in caller.sources or caller.is_steward):
            return record if record.is_deleted else self._golden.refer(record)
        return None

    async def _current(self, conn: AsyncConnection, residual: Residual, asked: str) -> PersonId:
        """The person an id means now; an id that is nobody's stays as it is and finds nothing.

        So does one that was merged away, for a caller who sees none of the records it stood for:
        whom a hidden patient was merged with is hidden.
        """
        try:
            person = await self._persons.resolve(conn, PersonId(asked))
        except HieError as error:
            if error.category is not Category.NOT_FOUND:
                raise
            return PersonId(asked)
        if person == asked:
            return person
        once = sorted(await self._persons.ever_of(conn, PersonId(asked)))
        visible = await self._repository.patient_persons(conn, residual, once)
        return person if person in visible.values() else PersonId(asked)

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
            person = await self._current(conn, residual, asked)
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


def _phase(cursor: str) -> tuple[str, int]:
    phase, _, after = cursor.partition(":")
    if phase not in ("m", "s") or not after.isdigit():
        raise HieError(Category.INVALID, "the page link does not fit this operation")
    return phase, int(after)
