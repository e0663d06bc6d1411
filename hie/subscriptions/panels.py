"""A subscriber's panel: rows about people become a Group, and each row hears why not.

A row is matched with the caller's eyes, certainly or not at all; whom a row means that the caller
may not see is answered as nobody. The members of the Group are source records, so that a merge
or its undoing moves them as it moves everything else.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import record_of
from hie.audit.repository import AuditLog
from hie.db import Database
from hie.flow.place import Placer
from hie.flow.placement import Origin, Placement
from hie.flow.writer import source_of
from hie.glance import Glances
from hie.identities import Identities
from hie.kernel.clock import Clock
from hie.kernel.context import RequestContext
from hie.kernel.envelope import SourceIdentifier, WriteMode
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId, SourceId
from hie.store.query import Served
from hie.subscriptions.panel_log import Load, PanelLog

_DESCRIBED: Final = ("name", "birthDate", "telecom", "address")


class Outcome(StrEnum):
    """What became of a row."""

    MATCHED = "matched"
    REPEATED = "repeated"  # an earlier row means the same person
    NOT_CERTAIN = "not-certain"  # of those the caller may see somebody may fit, none certainly
    NOT_FOUND = "not-found"  # nobody the caller may see fits, or carries the number
    TOO_LITTLE = "too-little"  # the row says nothing to look anybody up by


REASONS: Final = {
    Outcome.MATCHED: "",
    Outcome.REPEATED: "an earlier row means the same person",
    Outcome.NOT_CERTAIN: "somebody may fit, none certainly: say more, such as address or telephone",
    Outcome.NOT_FOUND: "nobody you may see fits",
    Outcome.TOO_LITTLE: "expected a number with its authority, or name and date of birth",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a panel.

    Attributes:
        name: what the subscriber calls the row.
        patient: FHIR R4 Patient with what is known.
        start, end: attribution, FHIR dates; "" = open.
    """

    name: str
    patient: FhirJson
    start: str = ""
    end: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What became of a row; `person` = the Patient it means."""

    name: str
    outcome: Outcome
    person: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A loaded panel."""

    group_id: str
    version: int
    rows: tuple[Placed, ...]


class Panels:
    """Loads panels and takes loads back."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once
        self,
        db: Database,
        identities: Identities,
        glances: Glances,
        placer: Placer,
        log: PanelLog,
        audit: AuditLog,
        clock: Clock,
        most_rows: int,
    ) -> None:
        self._db = db
        self._identities = identities
        self._glances = glances
        self._placer = placer
        self._log = log
        self._audit = audit
        self._clock = clock
        self._most_rows = most_rows

    async def load(
        self, ctx: RequestContext, rows: Sequence[Row], *, title: str = "", group_id: str = ""
    ) -> Loaded:
        """Match rows and make them the members of a Group, in place of those it had.

        Args:
            ctx: who loads; its organisation has a feed, whose Group it becomes.
            rows: in the order they are told in.
            title: the Group's name.
            group_id: of a Group of the caller's; "" = a new one.

        Raises:
            HieError: FORBIDDEN for who may not write a Group; NOT_FOUND; TOO_LARGE.
        """
        source = self._may(ctx)
        if len(rows) > self._most_rows:
            raise HieError(Category.TOO_LARGE, f"a panel has at most {self._most_rows} rows")
        if group_id:
            async with self._db.reading() as conn:
                await self._own(conn, ctx, group_id)
        placed: list[Placed] = []
        members: list[FhirJson] = []
        seen: set[str] = set()
        for row in rows:
            told, record = await self._placed(ctx, row, seen)
            placed.append(told)
            if record:
                seen.add(told.person)
                members.append(_member(record, row))
        group = _group(title, members)
        name, version = await self._write(ctx, source, group_id, group)
        return Loaded(group_id=name, version=version, rows=tuple(placed))

    async def undo(self, ctx: RequestContext, group_id: str) -> int:
        """Take the last load of a Group back; how many members it has again.

        Raises:
            HieError: NOT_FOUND where there is no such load; CONFLICT when the Group was changed
                since.
        """
        source = self._may(ctx)
        async with self._db.transaction() as conn:
            await self._db.serialize(conn, source)
            served = await self._own(conn, ctx, group_id)
            load = await self._log.last(conn, group_id)
            if load is None:
                raise HieError(Category.NOT_FOUND, "there is no load of this Group to take back")
            if str(load.version) != served.version:
                text = "the Group was changed since it was loaded: change it by FHIR"
                raise HieError(Category.CONFLICT, text)
            gone = {"resourceType": "Group", "type": "person", "actual": True}
            version = await self._place(
                conn, ctx, source, group_id, load.before or gone, is_gone=load.before is None
            )
            await self._log.undone(conn, load, self._clock.now_us())
            await self._log.moved_on(conn, load, version)
        return len((load.before or {}).get("member", ()))

    def _may(self, ctx: RequestContext) -> SourceId:
        if not (ctx.caller.may("Group", "c") and ctx.caller.may("Patient", "s")):
            text = "the token has no scope for `c` on Group and `s` on Patient"
            raise HieError(Category.FORBIDDEN, text)
        return source_of(ctx.caller)

    async def _own(self, conn: AsyncConnection, ctx: RequestContext, group_id: str) -> Served:
        served = await self._glances.served_group(conn, ctx, group_id)
        if served is None or served.source_id not in ctx.caller.sources:
            raise HieError(Category.NOT_FOUND, "there is no such Group of yours")
        return served

    async def _placed(self, ctx: RequestContext, row: Row, seen: set[str]) -> tuple[Placed, str]:
        """What becomes of a row, and the source record that stands for it."""
        try:
            found = await self._meant(ctx, row.patient)
        except HieError as error:
            if error.category is not Category.BUSINESS_RULE:
                raise
            return Placed(name=row.name, outcome=Outcome.TOO_LITTLE), ""
        if isinstance(found, Outcome):
            return Placed(name=row.name, outcome=found), ""
        person, record = found
        if person in seen:
            return Placed(name=row.name, outcome=Outcome.REPEATED, person=person), ""
        return Placed(name=row.name, outcome=Outcome.MATCHED, person=person), record

    async def _meant(self, ctx: RequestContext, patient: FhirJson) -> tuple[str, str] | Outcome:
        """The person a row certainly means, and a source record of it that the caller may see."""
        if any(patient.get(name) for name in _DESCRIBED):
            asked = {"resourceType": "Patient", **patient}
            found = await self._identities.identify_candidates(
                ctx, asked, count=1, only_certain=True
            )
            if found.found:
                best = found.found[0]
                return best.patient.id, _chosen(ctx, best.records)
            others = await self._identities.identify_candidates(ctx, asked, count=0)
            return Outcome.NOT_CERTAIN if others.total else Outcome.NOT_FOUND
        numbers = [n for one in patient.get("identifier", ()) if (n := _number(one))]
        if not numbers:
            raise HieError(Category.BUSINESS_RULE, REASONS[Outcome.TOO_LITTLE])
        meant: dict[str, str] = {}
        for number in numbers:
            crossed = await self._identities.cross_references(ctx, number)
            if crossed.patient is not None:
                meant[crossed.patient.id] = crossed.patient.built_of[0]
        return next(iter(meant.items())) if len(meant) == 1 else Outcome.NOT_FOUND

    async def _write(
        self, ctx: RequestContext, source: SourceId, group_id: str, group: FhirJson
    ) -> tuple[str, int]:
        async with self._db.transaction() as conn:
            await self._db.serialize(conn, source)
            before = None
            if group_id:
                await self._own(conn, ctx, group_id)
                before = await self._glances.stored_group(conn, group_id)
                kept = {k: v for k, v in (before or {}).items() if k not in ("member", "quantity")}
                group = {**kept, **group, "name": group.get("name") or kept.get("name", "")}
            name = group_id or secrets.token_hex(16)
            group = {k: v for k, v in group.items() if v not in ("", [])}
            version = await self._place(conn, ctx, source, name, group)
            load = Load(
                pk=0,
                group_id=name,
                source_id=source,
                at_us=self._clock.now_us(),
                version=version,
                before=before,
            )
            await self._log.keep(conn, load)
        return name, version

    async def _place(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        source: SourceId,
        name: str,
        group: FhirJson,
        *,
        is_gone: bool = False,
    ) -> int:
        origin = Origin(source_id=source, message_id=MessageId(0), now_us=self._clock.now_us())
        placement = Placement(type="Group", id=name, resource={**group, "id": name})
        if is_gone:
            placement = replace(placement, mode=WriteMode.DELETE)
        placed = await self._placer.place(conn, origin, [placement])
        written = placed.written[0]
        action, subtype = ("C", "create") if written.is_created else ("U", "update")
        record = record_of(ctx, action, subtype, resource_type="Group", resource_id=name)
        await self._audit.append(conn, [record])
        return written.version


def _group(title: str, members: Sequence[FhirJson]) -> FhirJson:
    return {
        "resourceType": "Group",
        "active": True,
        "type": "person",
        "actual": True,
        "name": title,
        "quantity": len(members),
        "member": list(members),
    }


def _member(record: str, row: Row) -> FhirJson:
    period = {k: v for k, v in (("start", row.start), ("end", row.end)) if v}
    entity = {"reference": f"Patient/{record}"}
    return {"entity": entity, **({"period": period} if period else {})}


def _chosen(ctx: RequestContext, records: Sequence[Served]) -> str:
    """The caller's own record where it has one."""
    own = [served.id for served in records if served.source_id in ctx.caller.sources]
    return min(own or [served.id for served in records])


def _number(identifier: FhirJson) -> SourceIdentifier | None:
    system, value = identifier.get("system"), identifier.get("value")
    if isinstance(system, str) and isinstance(value, str) and system and value:
        return SourceIdentifier(system=system, value=value)
    return None
