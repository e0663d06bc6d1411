"""What the door did, on record: committed before the first byte leaves, or nothing leaves."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NoReturn

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import MINOR_FAILURE, SERIOUS_FAILURE, AuditRecord, record_of
from hie.audit.repository import AuditLog
from hie.db import Database, GroupWriter
from hie.kernel.clock import Clock
from hie.kernel.context import Caller, RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.store.query import Served

#: The one answer to what is hidden and to what does not exist.
NOT_FOUND: Final = "there is no such resource, or it is not yours to see"
#: Ids that one audit row names of one type and source record; more are counted.
MOST_NAMED: Final = 500


class Disclosures:
    """Writes the audit rows of reads and refusals; rows of one moment share a commit."""

    def __init__(self, db: Database, log: AuditLog, clock: Clock) -> None:
        self._audit: GroupWriter[Sequence[AuditRecord], None] = GroupWriter(db, self._append)
        self._log = log
        self._clock = clock

    async def close(self) -> None:
        """Wait for rows that are being written."""
        await self._audit.close()

    async def refused(
        self, *, request_id: str, caller: Caller | None, interaction: str, status: int
    ) -> None:
        """Leave a trace of a request that ended in 401 or 403, before it is answered."""
        record = AuditRecord(
            recorded_us=self._clock.now_us(),
            action="E",
            subtype="110126",
            outcome=SERIOUS_FAILURE,
            organization=caller.organization if caller else None,
            user=caller.user if caller else None,
            purpose=caller.purpose if caller else "",
            request_id=request_id,
            token_id=caller.token_id if caller else "",
            detail={"reason": f"{interaction or 'request'} refused with {status}"},
        )
        await self._audit.submit([record])

    async def refuse(
        self, ctx: RequestContext, subtype: str, type_name: str, resource_id: str
    ) -> NoReturn:
        """Record the attempt, then answer as if there were nothing."""
        record = record_of(
            ctx,
            "R",
            subtype,
            outcome=MINOR_FAILURE,
            resource_type=type_name,
            resource_id=resource_id,
            detail={"reason": "hidden or absent"},
        )
        await self._audit.submit([record])
        raise HieError(Category.NOT_FOUND, NOT_FOUND)

    async def record(  # noqa: PLR0913, PLR0917 - the columns of an audit row
        self,
        ctx: RequestContext,
        action: str,
        subtype: str,
        persons: set[str],
        type_name: str,
        resource_id: str = "",
        detail: FhirJson | None = None,
        shown: Sequence[Served] = (),
    ) -> None:
        """One row per person touched, or one that nobody was.

        `shown` is what left, which touches whom else it is about, too: each row says which
        resources of its person did, and of which source records, so that they can be corrected
        when two humans were taken for one.
        """
        further = {p for one in shown if one.further for p in further_of(ctx.caller, one)}
        records = [
            record_of(
                ctx,
                action,
                subtype,
                person_id=person or None,
                resource_type=type_name,
                resource_id=resource_id,
                detail={**(detail or {}), **shown_of(person, shown)},
            )
            for person in sorted(persons | further) or [""]
        ]
        await self._audit.submit(records)

    async def _append(
        self, conn: AsyncConnection, batches: Sequence[Sequence[AuditRecord]]
    ) -> list[None]:
        await self._log.append(conn, [record for batch in batches for record in batch])
        return [None] * len(batches)


def further_of(caller: Caller, one: Served) -> set[str]:
    """Whom else something that leaves is about.

    Not of a caller's own panel: it has thousands of members, who were told of when it was made.
    """
    if one.type == "Group" and one.source_id in caller.sources:
        return set()
    return {person for person, _ in one.further}


def shown_of(person: str, served: Sequence[Served]) -> FhirJson:
    """What left of a person, by source record and type: `[record, type, count, ids]`."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in served:
        if one.person_id == person and person and not one.is_deleted:
            for record in one.built_of or (one.source_record_id,):
                found[record, one.type].append(one.id)
        for other, record in one.further:
            if other == person:
                found[record, one.type].append(one.id)
    if not found:
        return {}
    lines = [
        [record, kind, len(ids), sorted(set(ids))[:MOST_NAMED]]
        for (record, kind), ids in sorted(found.items())
    ]
    return {"shown": lines}
