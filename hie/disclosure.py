"""What the door did, on record: committed before the first byte leaves, or nothing leaves."""

import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import (
    MINOR_FAILURE,
    SERIOUS_FAILURE,
    SUCCESS,
    AuditRecord,
    Description,
    record_of,
)
from hie.audit.repository import MOST_TRACED, AuditLog
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
#: HTTP statuses from which a request was refused, and from which it broke.
FAILED: Final = 400
BROKEN: Final = 500
#: Ids as the hub makes them: keyed hashes, and numbers in hexadecimal. None is a patient's number.
_OWN_ID: Final = re.compile(r"^(?:[a-z2-7]{26}|[0-9a-f]{16}|[0-9a-f]{32}|)$")
#: FHIR's names of interactions, and the action of an event where it is not E.
_ACTIONS: Final = {
    **dict.fromkeys(("read", "vread", "history-instance", "history-type", "export-file"), "R"),
    **dict.fromkeys(("update", "patch"), "U"),
    "create": "C",
    "delete": "D",
}
_INTERACTIONS: Final = frozenset(
    {*_ACTIONS, "search-type", "search-system", "transaction", "batch"} - {"export-file"}
)
#: Decisions remembered as on record; one that is forgotten is put on record again.
MOST_DECIDED: Final = 10_000


class Disclosures:
    """Writes the audit rows of reads and refusals; rows of one moment share a commit."""

    def __init__(
        self,
        db: Database,
        log: AuditLog,
        clock: Clock,
        grounds: Callable[[RequestContext, str], FhirJson] = lambda _ctx, _person: {},
    ) -> None:
        """Join the parts; `grounds` tells why something of a person may leave."""
        self._audit: GroupWriter[Sequence[AuditRecord], None] = GroupWriter(db, self._append)
        self._log = log
        self._clock = clock
        self._grounds = grounds
        self._decided: OrderedDict[tuple[str, ...], None] = OrderedDict()
        self._told: OrderedDict[str, bool] = OrderedDict()

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
        await self._submit([record])

    async def settled(
        self,
        *,
        request_id: str,
        caller: Caller | None,
        interaction: str,
        type_name: str,
        resource_id: str,
        status: int,
    ) -> None:
        """Make sure that a request left a trace, before it is answered.

        What showed or changed a record has its own. Of a request that failed, only what was
        committed counts: the rows of work that was undone went with it.
        """
        is_on_record = self._told.pop(request_id, False)
        is_traced = self._log.traced.pop(request_id, False) is None
        if is_on_record or (is_traced and status < FAILED):
            return
        outcome = MINOR_FAILURE if FAILED <= status < BROKEN else SERIOUS_FAILURE
        record = AuditRecord(
            recorded_us=self._clock.now_us(),
            action=_ACTIONS.get(interaction, "E"),
            subtype=interaction if interaction in _INTERACTIONS else "operation",
            outcome=SUCCESS if status < FAILED else outcome,
            organization=caller.organization if caller else None,
            user=_user_of(caller),
            purpose=caller.purpose if caller else "",
            request_id=request_id,
            token_id=caller.token_id if caller else "",
            resource_type=type_name,
            resource_id=_asked_for(resource_id),
            detail={"query": interaction}
            | ({"reason": f"refused with {status}"} if status >= FAILED else {}),
        )
        await self._audit.submit([record])
        self._log.traced.pop(request_id, None)
        self._told.pop(request_id, None)

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
            resource_id=_asked_for(resource_id),
            detail={"reason": "hidden or absent"},
        )
        await self._submit([record])
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
        records: list[AuditRecord] = []
        decided: list[tuple[str, ...]] = []
        for person in sorted(persons | further) or [""]:
            grounds = self._grounds(ctx, person) if person else {}
            key = (ctx.caller.token_id, ctx.caller.purpose, person, *grounds.get("consents", ()))
            if "consents" in grounds and key not in self._decided:
                decided.append(key)
                told = {"reason": "permitted by consent", **grounds}
                records.append(record_of(ctx, "E", "AuthZ-Consent", person_id=person, detail=told))
            records.append(
                record_of(
                    ctx,
                    action,
                    subtype,
                    person_id=person or None,
                    resource_type=type_name,
                    resource_id=resource_id,
                    detail={**(detail or {}), **grounds, **shown_of(person, shown)},
                )
            )
        await self._submit(records)
        self._remember(decided)

    def _remember(self, decided: Sequence[tuple[str, ...]]) -> None:
        """Keep which decisions are on record, so that each is once as long as it holds."""
        self._decided |= dict.fromkeys(decided)
        while len(self._decided) > MOST_DECIDED:
            self._decided.popitem(last=False)

    async def _submit(self, records: Sequence[AuditRecord]) -> None:
        await self._audit.submit(records)
        self._told |= dict.fromkeys((record.request_id for record in records), True)
        while len(self._told) > MOST_TRACED:
            self._told.popitem(last=False)

    async def _append(
        self, conn: AsyncConnection, batches: Sequence[Sequence[AuditRecord]]
    ) -> list[None]:
        await self._log.append(conn, [record for batch in batches for record in batch])
        return [None] * len(batches)


def _asked_for(resource_id: str) -> str:
    """An id that led nowhere, as it is put on record: none of the hub's own may say anything."""
    return resource_id if _OWN_ID.match(resource_id) else Description(resource_id)


def _user_of(caller: Caller | None) -> str | None:
    if caller is None:
        return None
    return caller.user or (f"Patient/{caller.patient}" if caller.patient else None)


def further_of(caller: Caller, one: Served) -> set[str]:
    """Whom else something that leaves is about.

    Not of a caller's own panel: it has thousands of members, who were told of when it was made.
    """
    if one.type == "Group" and one.source_id in caller.sources:
        return set()
    return {person for person, _ in one.further}


def shown_of(person: str, served: Sequence[Served]) -> FhirJson:
    """What left of a person, by source record and type: `[record, type, count, ids]`.

    Beside it, as `labels`, the label mask of all that left together.
    """
    mask = 0
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in served:
        if one.person_id == person and person and not one.is_deleted:
            for record in one.built_of or (one.source_record_id,):
                found[record, one.type].append(one.id)
            mask |= one.label_mask
        for other, record in one.further:
            if other == person:
                found[record, one.type].append(one.id)
                mask |= one.label_mask
    if not found:
        return {}
    lines = [
        [record, kind, len(ids), sorted(set(ids))[:MOST_NAMED]]
        for (record, kind), ids in sorted(found.items())
    ]
    return {"shown": lines, "labels": mask} if mask else {"shown": lines}
