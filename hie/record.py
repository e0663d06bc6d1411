"""Whole records of persons and visits, through the same door.

Decide, read, recheck, audit, then serve; what is hidden is answered as what does not exist.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.db import Database
from hie.disclosure import Disclosures
from hie.golden import GoldenPatients
from hie.kernel.context import Caller, RequestContext
from hie.kernel.errors import Category, HieError
from hie.searching import Searches
from hie.sight import Sight
from hie.store.charts import Around, Charts
from hie.store.portion import Choose, Marks, Portion, Wanted
from hie.store.query import Page, Query, Served
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual

#: What a person or a search may have at most to choose from; above it nothing is chosen.
MOST_CHOSEN_FROM: Final = 5_000
_AT_ONCE: Final = 500


class Records:
    """Reads records for callers."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once, in services.py
        self,
        db: Database,
        repository: ResourceRepository,
        charts: Charts,
        searches: Searches,
        sight: Sight,
        golden: GoldenPatients,
        disclosures: Disclosures,
    ) -> None:
        self._db = db
        self._repository = repository
        self._charts = charts
        self._searches = searches
        self._sight = sight
        self._golden = golden
        self._disclosures = disclosures

    async def everything(
        self, ctx: RequestContext, person_id: str, portion: Portion, cursor: str | None = None
    ) -> Page:
        """A person's record: the golden Patient, the compartment, then what it refers to.

        Args:
            ctx: the request.
            person_id: a person, one that was merged into another, or a source record of the
                caller's own.
            portion: which part of the record, and how much of it at a time.
            cursor: where the page before ended.

        Raises:
            HieError: NOT_FOUND when hidden or absent.
        """
        residual, portion = self._sight.residual(ctx), _granted(portion, ctx.caller)
        async with self._db.reading() as conn:
            patients = await self._patients(conn, ctx, residual, person_id)
            matches, following = await self._record_of(
                conn,
                residual,
                Around.PERSON,
                patients[0].person_id if patients else "",
                portion,
                cursor,
                patients,
            )
            await self._sight.recheck(conn, ctx, matches)
        if not patients:
            await self._disclosures.refuse(ctx, "operation", "Patient", person_id)
        about = {patients[0].person_id}
        await self._told(ctx, "$everything", ("Patient", person_id), matches, about)
        return Page(matches=tuple(matches), next_cursor=following)

    async def visit(
        self, ctx: RequestContext, encounter_id: str, portion: Portion, cursor: str | None = None
    ) -> Page:
        """A visit: the Encounter, its Patient, what refers to it, then what those refer to.

        Raises:
            HieError: NOT_FOUND when hidden or absent, or deleted.
        """
        residual, portion = self._sight.residual(ctx), _granted(portion, ctx.caller)
        async with self._db.reading() as conn:
            encounter = await self._repository.read(conn, residual, "Encounter", encounter_id)
            if encounter is not None and encounter.is_deleted:
                encounter = None
            golden = None
            if encounter is not None and encounter.person_id:
                golden = await self._golden.of(conn, residual, encounter.person_id)
            matches: list[Served] = []
            following = None
            if encounter is not None:
                matches, following = await self._record_of(
                    conn,
                    residual,
                    Around.VISIT,
                    encounter_id,
                    portion,
                    cursor,
                    [golden] if golden else [],
                )
            await self._sight.recheck(conn, ctx, [encounter, *matches])
        if encounter is None:
            await self._disclosures.refuse(ctx, "operation", "Encounter", encounter_id)
        about = {encounter.person_id}
        await self._told(ctx, "$everything", ("Encounter", encounter_id), matches, about)
        return Page(matches=tuple(matches), next_cursor=following)

    async def chosen(
        self, ctx: RequestContext, operation: str, query: Query, choose: Choose
    ) -> Page:
        """Of what a search finds for this caller, what `choose` keeps; only that is disclosed.

        Args:
            ctx: the request.
            operation: its name, for the audit trail.
            query: any but one of Patients; its `count` and `cursor` do not matter.
            choose: sees every match, in the order of the query.

        Raises:
            HieError: TOO_LARGE when there is more to choose from than is looked at.
        """
        residual = self._sight.residual(ctx)
        async with self._db.reading() as conn:
            asked = replace(query, count=MOST_CHOSEN_FROM + 1, cursor=None)
            page = await self._searches.page(conn, residual, ctx.caller, [asked])
            if len(page.matches) > MOST_CHOSEN_FROM:
                raise _too_many()
            told = [*choose(page.matches)]
            await self._sight.recheck(conn, ctx, told)
        await self._told(ctx, operation, (query.type, ""), told, set())
        return Page(matches=tuple(told))

    async def composed(
        self,
        ctx: RequestContext,
        operation: str,
        person_id: str,
        types: frozenset[str],
        choose: Choose,
        wanted: Wanted,
    ) -> Page:
        """A document's resources: the golden Patient, what `choose` keeps, what it needs.

        Args:
            ctx: the request.
            operation: its name, for the audit trail.
            person_id: as in `everything`.
            types: what `choose` is given to choose from, of the person's compartment.
            choose: sees every such resource, as they were stored.
            wanted: what is told beside what was chosen, where the caller may see it.

        Raises:
            HieError: NOT_FOUND when hidden or absent, TOO_LARGE as in `chosen`.
        """
        residual, caller = self._sight.residual(ctx), ctx.caller
        portion = _granted(Portion(types=types, count=_AT_ONCE), caller)
        async with self._db.reading() as conn:
            patients = await self._patients(conn, ctx, residual, person_id)
            chosen: list[Served] = []
            beside: list[Served] = []
            if patients:
                person = patients[0].person_id
                members = await self._all_members(conn, residual, person, portion)
                chosen = [*choose(members)]
                known = {(one.type, one.id) for one in chosen}
                for name, ids in sorted(wanted(chosen).items()):
                    missing = [one for one in ids if (name, one) not in known]
                    if missing and name != "Patient" and caller.may(name, "r"):
                        beside += await self._charts.named(conn, residual, name, missing)
            await self._sight.recheck(conn, ctx, [*chosen, *beside])
        if not patients:
            await self._disclosures.refuse(ctx, "operation", "Patient", person_id)
        told = [patients[0], *chosen, *beside]
        about = {patients[0].person_id}
        await self._told(ctx, operation, ("Patient", person_id), told, about)
        return Page(matches=(patients[0], *chosen), included=tuple(beside))

    async def marks(self, ctx: RequestContext, type_name: str) -> Marks:
        """What is in `meta` of the resources of a type that this caller may see."""
        residual = self._sight.residual(ctx)
        async with self._db.reading() as conn:
            marks = await self._charts.marks(conn, residual, type_name)
        await self._told(ctx, "$meta", (type_name, ""), (), set())
        return marks

    async def _patients(
        self, conn: AsyncConnection, ctx: RequestContext, residual: Residual, patient_id: str
    ) -> list[Served]:
        """The golden Patient, and the address a merge replaced where that was asked for."""
        patient = await self._sight.patient(conn, ctx, residual, patient_id)
        if patient is None or patient.is_deleted:
            return []
        if patient.id == patient.person_id:
            return [patient]
        golden = await self._golden.of(conn, residual, patient.person_id)
        if golden is None:
            return []
        # The caller's own source record is told through the golden Patient it is part of.
        return [golden] if patient.source_id else [golden, patient]

    async def _record_of(  # noqa: PLR0913, PLR0917 - whose record, which part, where it goes on
        self,
        conn: AsyncConnection,
        residual: Residual,
        around: Around,
        key: str,
        portion: Portion,
        cursor: str | None,
        first: Sequence[Served],
    ) -> tuple[list[Served], str | None]:
        """A page: `m:<pk>` pages through the members, `s:<pk>` through what is beyond them."""
        phase, after = ("m", 0) if cursor is None else _phase(cursor)
        if not key:
            return [], None
        found: list[Served] = []
        if cursor is None and portion.has("Patient"):
            found = [one for one in first if portion.is_since(one.last_updated_us)]
        if portion.count is not None and len(found) >= portion.count:
            return found, "m:0"
        if phase == "m":
            room = _room(portion, found)
            members, following = await self._charts.members(
                conn, residual, around, key, room, after
            )
            found += members
            if following is not None:
                return found, f"m:{following}"
            if portion.count is not None and len(found) >= portion.count:
                return found, "s:0"
            after = 0
        room = _room(portion, found)
        others, following = await self._charts.beyond(conn, residual, around, key, room, after)
        return found + others, None if following is None else f"s:{following}"

    async def _all_members(
        self, conn: AsyncConnection, residual: Residual, person: str, portion: Portion
    ) -> list[Served]:
        found: list[Served] = []
        after: int | None = 0
        while after is not None:
            page, after = await self._charts.members(
                conn, residual, Around.PERSON, person, portion, after
            )
            found += page
            if len(found) > MOST_CHOSEN_FROM:
                raise _too_many()
        return found

    async def _told(
        self,
        ctx: RequestContext,
        operation: str,
        asked: tuple[str, str],
        told: Sequence[Served],
        about: set[str],
    ) -> None:
        """Put on record what leaves: one row per person touched."""
        persons = about | {served.person_id for served in told if served.person_id}
        detail: dict[str, Any] = {"query": operation}
        await self._disclosures.record(
            ctx, "E", "operation", persons - {""}, *asked, detail=detail, shown=told
        )


def _granted(portion: Portion, caller: Caller) -> Portion:
    """The portion within the caller's scopes: what they do not grant is not counted either."""
    if caller.may("*", "r"):
        return portion
    granted = {scope.resource for scope in caller.scopes if caller.may(scope.resource, "r")}
    types = granted if portion.types is None else portion.types & granted
    return replace(portion, types=frozenset(types))


def _room(portion: Portion, found: Sequence[Served]) -> Portion:
    """What of a page is left."""
    if portion.count is None:
        return portion
    return replace(portion, count=portion.count - len(found))


def _phase(cursor: str) -> tuple[str, int]:
    phase, _, after = cursor.partition(":")
    if phase not in ("m", "s") or not after.isdigit():
        raise HieError(Category.INVALID, "the page link does not fit this operation")
    return phase, int(after)


def _too_many() -> HieError:
    text = f"more than {MOST_CHOSEN_FROM} resources to choose from: narrow the question"
    return HieError(Category.TOO_LARGE, text)
