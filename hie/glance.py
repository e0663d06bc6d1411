"""What a subscriber may see of something that happened: decided now, told of afterwards.

Like every read: decide -> read with the rules joined -> recheck -> audit -> serve. Here the last
two steps come apart: what is not told leaves no trace, neither in what its subscriber gets nor
in the audit trail; what is told is on record before the first byte leaves (`disclose`).
"""

import json
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.disclosure import Disclosures
from hie.golden import GoldenPatients
from hie.kernel.context import RequestContext
from hie.kernel.errors import HieError
from hie.kernel.fhir import FhirJson
from hie.sight import Sight
from hie.store.query import Ids, Query, Served
from hie.store.repository import ResourceRepository


class Glances:
    """Looks with a caller's eyes."""

    def __init__(
        self,
        repository: ResourceRepository,
        sight: Sight,
        golden: GoldenPatients,
        disclosures: Disclosures,
    ) -> None:
        self._repository = repository
        self._sight = sight
        self._golden = golden
        self._disclosures = disclosures

    async def find(
        self, conn: AsyncConnection, ctx: RequestContext, query: Query, resource_id: str
    ) -> Served | None:
        """A resource, if a search of this caller's would find it now; not of type Patient."""
        if not ctx.caller.may(query.type, "r"):
            return None
        residual = self._sight.residual(ctx)
        if query.persons is not None:
            persons = [await self._sight.current(conn, residual, p) for p in query.persons]
            query = replace(query, persons=tuple(persons))
        wanted = replace(query, criteria=(Ids(values=(resource_id,)), *query.criteria), count=1)
        found = await self._repository.search(conn, residual, wanted)
        await self._sight.recheck(conn, ctx, found.served)
        return found.served[0] if found.served else None

    async def whose(
        self, conn: AsyncConnection, ctx: RequestContext, records: Sequence[str]
    ) -> dict[str, str]:
        """The persons of those source records that this caller may see."""
        if not ctx.caller.may("Patient", "r"):
            return {}
        return await self._repository.patient_persons(conn, self._sight.residual(ctx), records)

    async def patient(
        self, conn: AsyncConnection, ctx: RequestContext, person: str
    ) -> Served | None:
        """The golden Patient of a person as this caller sees it."""
        if not ctx.caller.may("Patient", "r"):
            return None
        return await self._golden.of(conn, self._sight.residual(ctx), person)

    async def persons(
        self, conn: AsyncConnection, ctx: RequestContext, asked: Sequence[str]
    ) -> frozenset[str]:
        """The persons that ids mean now, after merges."""
        residual = self._sight.residual(ctx)
        return frozenset([await self._sight.current(conn, residual, one) for one in asked])

    async def only_person(
        self, conn: AsyncConnection, ctx: RequestContext, query: Query
    ) -> str | None:
        """The person whom a search of Patients means; None for nobody, and for several."""
        found = await self._golden.search(
            conn, self._sight.residual(ctx), replace(query, count=2, is_total_wanted=False)
        )
        return found.served[0].id if len(found.served) == 1 else None

    async def group(
        self, conn: AsyncConnection, ctx: RequestContext, group_id: str
    ) -> FhirJson | None:
        """A Group the caller may see, its members pointing to persons."""
        served = await self.served_group(conn, ctx, group_id)
        if served is None:
            return None
        found: FhirJson = json.loads(served.body)
        return found

    async def served_group(
        self, conn: AsyncConnection, ctx: RequestContext, group_id: str
    ) -> Served | None:
        """The same as it is served."""
        if not ctx.caller.may("Group", "r"):
            return None
        residual = self._sight.residual(ctx)
        try:
            served = await self._repository.read(conn, residual, "Group", group_id)
        except HieError:
            return None  # the key it was sealed with is gone
        return None if served is None or served.is_deleted else served

    async def stored_group(self, conn: AsyncConnection, group_id: str) -> FhirJson | None:
        """A Group with its members as source records, for who writes it again."""
        found = await self._repository.load(conn, [("Group", group_id)])
        stored = found.get(("Group", group_id))
        return None if stored is None or stored.is_deleted else stored.resource

    async def disclose(
        self, ctx: RequestContext, shown: Sequence[Served], type_name: str, told: str
    ) -> None:
        """Put on record that these leave, and by which subscription; before the first byte."""
        await self._disclosures.record(
            ctx,
            "R",
            "disclose",
            {served.person_id for served in shown if served.person_id},
            type_name,
            detail={"query": told},
            shown=shown,
        )
