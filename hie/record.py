"""Whole records of persons, through the same door: decide, read, recheck, audit, then serve."""

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.db import Database
from hie.disclosure import Disclosures
from hie.golden import GoldenPatients
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.sight import Sight
from hie.store.query import Page, Served
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual


class Records:
    """Reads records for callers."""

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
        residual = self._sight.residual(ctx)
        async with self._db.reading() as conn:
            patient = await self._sight.patient(conn, ctx, residual, person_id)
            if patient is not None and patient.source_id:
                patient = await self._golden.of(conn, residual, patient.person_id)
            if patient is None:
                matches: list[Served] = []
                following = None
            else:
                matches, following = await self._record_of(conn, residual, patient, count, cursor)
            await self._sight.recheck(conn, ctx, matches)
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


def _phase(cursor: str) -> tuple[str, int]:
    phase, _, after = cursor.partition(":")
    if phase not in ("m", "s") or not after.isdigit():
        raise HieError(Category.INVALID, "the page link does not fit this operation")
    return phase, int(after)
