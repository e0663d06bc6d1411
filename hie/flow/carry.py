"""FHIR writes carried out: a plan becomes versions, an answer and a settled message.

A transaction is all or nothing; entries of a batch stand alone. The answer is committed with
what it answers for, so that a repeat gets it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.fhir.plan import Fault, Method, Plan, PlanKind, PlannedWrite, Target, refusal
from adapters.fhir.receive import Answer
from adapters.fhir.references import HubId, References
from adapters.journal import Journal
from adapters.message import State
from adapters.sources import SourceRegistry
from hie.audit.event import record_of
from hie.audit.repository import AuditLog
from hie.db import Database
from hie.flow.answer import Done, FhirWire, bundle, entry, headers_of, refused_entry
from hie.flow.feed import IdentityFeed, misaimed
from hie.flow.patching import Patches
from hie.flow.place import Placer
from hie.flow.placement import Origin
from hie.flow.privacy import PrivacyFields, Spoken
from hie.flow.refusals import Attempt, Refusals
from hie.flow.resolve import Resolver
from hie.flow.tried import tried
from hie.flow.writes import (
    after_deletes,
    aims_of,
    aliases_of,
    audited,
    issue_in,
    own_names,
    placements_of,
    require_distinct,
    require_versions,
    status_of,
    tagged,
)
from hie.kernel.clock import Clock
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId, PersonId, SourceId
from hie.log import frames_of
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual
from hie.store.writer import ResourceWriter, Written
from mpi.model import Identified

_ACTIONS: Final = {Method.POST: "c", Method.PUT: "u", Method.PATCH: "u", Method.DELETE: "d"}
_FAULTY: Final = frozenset({"error", "fatal"})
_log = structlog.get_logger(__name__)


class FhirFlow:
    """Carries plans out."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once, in app.py
        self,
        db: Database,
        sources: SourceRegistry,
        placer: Placer,
        resolver: Resolver,
        repository: ResourceRepository,
        writer: ResourceWriter,
        journal: Journal,
        audit: AuditLog,
        privacy: PrivacyFields,
        wire: FhirWire,
        feed: IdentityFeed,
        clock: Clock,
        bases: tuple[str, ...] = (),
    ) -> None:
        self._db = db
        self._sources = sources
        self._placer = placer
        self._resolver = resolver
        self._repository = repository
        self._writer = writer
        self._journal = journal
        self._audit = audit
        self._refusals = Refusals(repository, audit)
        self._privacy = privacy
        self._validate = wire.validate
        self._refused = wire.refuse
        self._tell = wire.tell
        self._patches = Patches(repository, resolver, wire.elements)
        self._feed = feed
        self._clock = clock
        self._bases = bases

    async def carry_out(
        self,
        message_id: MessageId,
        source_id: SourceId,
        plan: Plan,
        context: RequestContext,
        returns: str = "",
    ) -> Answer:
        """The answer, after everything - the answer included - is committed in the journal.

        Raises:
            HieError: nothing of the plan is stored; the message is settled as refused.
        """
        origin = Origin(source_id=source_id, message_id=message_id, now_us=self._clock.now_us())
        work = _Work(origin=origin, context=context, returns=returns)
        try:
            faults = [*plan.faults, *self._faults(plan, work)]
            if plan.kind is PlanKind.BATCH:
                return await self._batch(plan, faults, work)
            return await self._whole(plan, faults, work)
        except HieError as error:
            await self._refuse(error, work, plan)
            raise
        except Exception:
            # A defect of the hub: the row must not stay open, and a repeat is tried afresh.
            await self._refuse(HieError(Category.FAULT, "the hub failed"), work)
            raise

    async def _whole(self, plan: Plan, faults: Sequence[Fault], work: "_Work") -> Answer:
        """Everything in one transaction, the answer in it."""
        if faults:
            raise refusal(faults)

        async def once() -> Answer:
            async with self._db.transaction() as conn:
                done = await self._apply(conn, plan, work)
                answer = await self._answer(conn, plan, done, work)
                await self._settle(conn, work.origin.message_id, answer)
            return answer

        return await tried(once)

    def _faults(self, plan: Plan, work: "_Work") -> list[Fault]:
        """What scopes and structure say against entries."""
        caller = work.context.caller
        faults = list(self._feed.faults(plan, caller.sources))
        for write in plan.writes:
            if not caller.may(write.type, _ACTIONS[write.method]):
                text = f"the token's scopes do not allow to write `{write.type}`"
                issue = Issue(text=text, code="forbidden", expression=(write.expression,))
                faults.append(
                    Fault(position=write.position, category=Category.FORBIDDEN, issue=issue)
                )
            elif write.resource is not None:
                faults += self._judged(write, work)
        return faults

    def _judged(self, write: PlannedWrite, work: "_Work") -> list[Fault]:
        """What is wrong with a resource; what is merely doubtful is kept for the answer."""
        verdict = self._validate(write.resource or {}, work.origin.source_id)
        work.labels[write.position] = verdict.labels
        found = [issue_in(issue, write) for issue in (*verdict.issues, *misaimed(write))]
        work.warnings[write.position] = [i for i in found if i.severity not in _FAULTY]
        return [
            Fault(position=write.position, category=Category.BUSINESS_RULE, issue=issue)
            for issue in found
            if issue.severity in _FAULTY
        ]

    async def _apply(self, conn: AsyncConnection, plan: Plan, work: "_Work") -> dict[int, Done]:
        """Identify, resolve, place and audit; what became of each write, by position.

        Raises:
            HieError: the transaction must be rolled back.
        """
        origin = work.origin
        await self._db.serialize(conn, origin.source_id)
        plan, aims = await self._patched(conn, plan, work)
        plan = tagged(plan, work.labels)
        references = References(plan, self._bases)
        targets = references.targets() | own_names(plan)
        found = await self._resolver.known(conn, origin, targets, aims_of(plan))
        known = after_deletes(plan, found)
        ids = {w.name: self._id_of(origin, w, found, known) for w in plan.writes} | aims
        kept = {w.name for w in plan.writes if w.condition in known and w.method is Method.POST}
        records = await self._identify(conn, origin, plan, ids, kept)
        ids |= {name: ("Patient", one.source_record_id) for name, one in records.items()}
        require_distinct(plan, ids, known)
        resolved = references.resolve(known, ids)
        if resolved.faults:
            raise refusal(resolved.faults)
        merges = await self._feed.merges(conn, origin, plan, resolved.resources)
        before = await self._repository.versions_of(conn, ids.values())
        require_versions(plan, ids, before, origin)
        spoken = Spoken(
            origin=origin,
            records=tuple(found.source_record_id for found in records.values()),
            placements=placements_of(plan, ids, kept, resolved.resources, records),
            is_restated=True,
        )
        (placed,) = await self._placer.place_all(
            conn, await self._privacy.carried_out(conn, [spoken])
        )
        await self._writer.remember_aliases(conn, origin.source_id, aliases_of(plan, ids))
        touched = await self._feed.carry_out(conn, origin, merges)
        await self._feed.removed(conn, origin, plan, ids)
        await self._record(conn, work, plan, placed.written, placed.persons | touched)
        after = await self._repository.versions_of(conn, ids.values())
        return {
            w.position: Done(
                hub_id=ids[w.name],
                status=status_of(w, before.get(ids[w.name])),
                head=after.get(ids[w.name]),
                warnings=tuple(work.warnings.get(w.position, ())),
            )
            for w in plan.writes
        }

    def _id_of(
        self,
        origin: Origin,
        write: PlannedWrite,
        before: Mapping[Target, HubId],
        after: Mapping[Target, HubId],
    ) -> HubId:
        """Where a write goes: a delete by what is there before it, the rest by what is after."""
        known = before if write.method is Method.DELETE else after
        return self._resolver.id_of(origin, write, known)

    async def _patched(
        self, conn: AsyncConnection, plan: Plan, work: "_Work"
    ) -> tuple[Plan, dict[str, HubId]]:
        """The plan with patches as updates, and the Patients that conditions are aimed at."""
        aims = await self._feed.aims(conn, work.origin, plan)
        patched = await self._patches.applied(conn, work.origin, plan, aims)
        before = {w.name: w for w in plan.writes}
        fresh = [w for w in patched.writes if before[w.name].method is Method.PATCH]
        if faults := [fault for write in fresh for fault in self._judged(write, work)]:
            raise refusal(faults)
        return patched, aims

    async def _identify(
        self,
        conn: AsyncConnection,
        origin: Origin,
        plan: Plan,
        ids: Mapping[str, HubId],
        kept: set[str],
    ) -> dict[str, Identified]:
        """Patients of the plan as source records, by the write's name."""
        found = {}
        for write in plan.writes:
            if write.type != "Patient" or write.resource is None or write.name in kept:
                continue
            if one := await self._feed.replaced(conn, origin, write, ids[write.name]):
                found[write.name] = one
                continue
            own, known = await self._feed.filed(conn, origin, write, ids[write.name])
            one = await self._placer.identify(
                conn, origin, write.resource, own, may_update=True, record_id=known
            )
            record = one.source_record_id
            if write.target is not None and await self._is_other(conn, ids[write.name], record):
                text = "the identifier belongs to another of your patients; a merge is an ADT^A40"
                issue = Issue(
                    text=text, code="conflict", expression=(f"{write.expression}.identifier",)
                )
                raise HieError(Category.CONFLICT, text, [issue])
            found[write.name] = one
        return found

    async def _is_other(self, conn: AsyncConnection, hub_id: HubId, record: str) -> bool:
        """Whether an update is aimed at a patient that is there and is not this record."""
        return hub_id[1] != record and bool(await self._repository.versions_of(conn, [hub_id]))

    async def _batch(self, plan: Plan, faults: Sequence[Fault], work: "_Work") -> Answer:
        """Each entry in a transaction of its own; the answer lists what became of each."""
        refused: dict[int, HieError] = {}
        tried_in_vain: list[Attempt] = []
        for fault in faults:
            mine = [f for f in faults if f.position == fault.position]
            refused.setdefault(fault.position, refusal(mine))
        entries: dict[int, FhirJson | None] = dict.fromkeys(plan.reads)
        for write in plan.writes:
            if write.position in refused:
                continue
            alone = Plan(kind=PlanKind.BATCH, entries=1, writes=(write,))
            try:
                entries[write.position] = await self._alone(alone, work)
            except HieError as error:
                refused[write.position] = error
                tried_in_vain.append((alone, error))
        entries |= {
            position: refused_entry(self._refused(error, work.context.request_id))
            for position, error in refused.items()
        }
        answer = bundle("batch-response", plan.entries, entries)
        async with self._db.transaction() as conn:
            await self._refusals.tell(conn, work.context, tried_in_vain)
            await self._settle(conn, work.origin.message_id, answer)
        return answer

    async def _alone(self, plan: Plan, work: "_Work") -> FhirJson:
        """One entry of a batch; what the hub fails at fails alone."""

        async def once() -> FhirJson:
            async with self._db.transaction() as conn:
                done = await self._apply(conn, plan, work)
                return await self._entry(conn, done[plan.writes[0].position], work)

        try:
            return await tried(once)
        except HieError:
            raise
        except Exception as error:
            frames, kind = frames_of(error), type(error).__name__
            _log.error("fhir.fault", request_id=work.context.request_id, error=kind, frames=frames)
            raise HieError(Category.FAULT, "the hub failed") from error

    async def _answer(
        self, conn: AsyncConnection, plan: Plan, done: Mapping[int, Done], work: "_Work"
    ) -> Answer:
        if plan.kind is PlanKind.TRANSACTION:
            entries: dict[int, FhirJson | None] = dict.fromkeys(plan.reads)
            for position, one in done.items():
                entries[position] = await self._entry(conn, one, work)
            return bundle("transaction-response", plan.entries, entries)
        one = done[plan.writes[0].position]
        headers = headers_of(one)
        if one.status == 204:
            return Answer(status=204, headers=headers)
        if work.returns == "operationoutcome":
            return Answer(status=one.status, headers=headers, body=self._told(one))
        return Answer(status=one.status, headers=headers, body=await self._body(conn, one))

    async def _entry(self, conn: AsyncConnection, done: Done, work: "_Work") -> FhirJson:
        """The entry of a response Bundle, with what the client prefers in it."""
        body = outcome = b""
        if work.returns == "representation" and done.status != 204:
            body = await self._body(conn, done)
        is_warned = any(issue.severity == "warning" for issue in done.warnings)
        if is_warned or work.returns == "operationoutcome":
            outcome = self._told(done)
        return entry(done, body, outcome)

    def _told(self, done: Done) -> bytes:
        stored = Issue(text="stored", code="informational", severity="information")
        return self._tell(done.warnings or (stored,))

    async def _body(self, conn: AsyncConnection, done: Done) -> bytes:
        """What was written, as its sender sees it."""
        sender = frozenset({done.head.source_id}) if done.head else frozenset()
        served = await self._repository.read(conn, Residual(own_sources=sender), *done.hub_id)
        return served.body if served else b""

    async def _record(
        self,
        conn: AsyncConnection,
        work: "_Work",
        plan: Plan,
        written: Sequence[Written],
        persons: frozenset[PersonId],
    ) -> None:
        stored = [f"{w.type}/{w.id}/_history/{w.version}" for w in written if w.is_changed]
        detail = {"message": work.origin.message_id, "stored": stored}
        action, subtype = audited(plan, is_new=any(w.is_created for w in written))
        await self._audit.append(
            conn,
            [
                record_of(work.context, action, subtype, person_id=person or None, detail=detail)
                for person in sorted(persons) or [PersonId("")]
            ],
        )

    async def _settle(self, conn: AsyncConnection, message_id: MessageId, answer: Answer) -> None:
        await self._journal.answer(conn, message_id, answer.encode(), State.PROCESSED)

    async def _refuse(self, error: HieError, work: "_Work", *plans: Plan) -> None:
        async with self._db.transaction() as conn:
            await self._refusals.tell(conn, work.context, [(plan, error) for plan in plans])
            await self._journal.refuse(
                conn, work.origin.message_id, error.text, self._refused(error, "").status
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One request under way.

    Attributes:
        returns: what the client prefers in the answer.
        warnings: what is doubtful about resources, by entry.
        labels: the tags their source wants them stored with, by entry.
    """

    origin: Origin
    context: RequestContext
    returns: str
    warnings: dict[int, Sequence[Issue]] = field(default_factory=dict)
    labels: dict[int, tuple[str, ...]] = field(default_factory=dict)
