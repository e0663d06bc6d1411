"""FHIR writes carried out: a plan becomes versions, an answer and a settled message.

A transaction is all or nothing; entries of a batch stand alone. The answer is committed with
what it answers for, so that a repeat gets it again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.fhir.plan import Fault, Method, Plan, PlanKind, PlannedWrite, refusal
from adapters.fhir.receive import Answer
from adapters.fhir.references import HubId, References
from adapters.journal import Journal
from adapters.message import State
from adapters.sources import SourceRegistry
from hie.audit.event import record_of
from hie.audit.repository import AuditLog
from hie.db import Database
from hie.flow.answer import Done, Refuse, bundle, entry, headers_of, refused_entry
from hie.flow.feed import IdentityFeed
from hie.flow.place import Placer
from hie.flow.placement import Origin, Placement
from hie.flow.privacy import PrivacyFields, Spoken
from hie.flow.resolve import Resolver
from hie.kernel.clock import Clock
from hie.kernel.context import RequestContext
from hie.kernel.envelope import WriteMode
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId, PersonId, SourceId, SourceRecordId
from hie.store.loader import Head
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual
from hie.store.writer import ResourceWriter, Written
from mpi.model import Identified

#: Checks one resource; `fhir_server.validate`, handed in by app.py.
Validate = Callable[[FhirJson], Sequence[Issue]]
_ACTIONS = {Method.POST: "c", Method.PUT: "u", Method.DELETE: "d"}


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
        validate: Validate,
        refuse: Refuse,
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
        self._privacy = privacy
        self._validate = validate
        self._refused = refuse
        self._feed = feed
        self._clock = clock
        self._bases = bases

    async def carry_out(
        self, message_id: MessageId, source_id: SourceId, plan: Plan, context: RequestContext
    ) -> Answer:
        """The answer, after everything - the answer included - is committed in the journal.

        Raises:
            HieError: nothing of the plan is stored; the message is settled as refused.
        """
        origin = Origin(source_id=source_id, message_id=message_id, now_us=self._clock.now_us())
        faults = [*plan.faults, *self._faults(plan, context)]
        try:
            if plan.kind is PlanKind.BATCH:
                return await self._batch(origin, plan, faults, context)
            answer = await self._whole(origin, plan, faults, context)
        except HieError as error:
            await self._refuse(message_id, error)
            raise
        except Exception:
            # A defect of the hub: the row must not stay open, and a repeat is tried afresh.
            await self._refuse(message_id, HieError(Category.FAULT, "the hub failed"))
            raise
        return answer

    async def _whole(
        self, origin: Origin, plan: Plan, faults: Sequence[Fault], context: RequestContext
    ) -> Answer:
        """Everything in one transaction, the answer in it."""
        if faults:
            raise refusal(faults)
        async with self._db.transaction() as conn:
            done = await self._apply(conn, origin, plan, context)
            answer = await self._answer(conn, plan, done)
            await self._settle(conn, origin.message_id, answer)
        return answer

    def _faults(self, plan: Plan, context: RequestContext) -> list[Fault]:
        """What scopes and structure say against entries."""
        faults = list(self._feed.faults(plan, context.caller.sources))
        for write in plan.writes:
            if not context.caller.may(write.type, _ACTIONS[write.method]):
                text = f"the token's scopes do not allow to write `{write.type}`"
                issue = Issue(text=text, code="forbidden", expression=(write.expression,))
                faults.append(
                    Fault(position=write.position, category=Category.FORBIDDEN, issue=issue)
                )
            elif write.resource is not None:
                faults += [
                    Fault(
                        position=write.position,
                        category=Category.BUSINESS_RULE,
                        issue=_placed(issue, write),
                    )
                    for issue in self._validate(write.resource)
                    if issue.severity in ("error", "fatal")
                ]
        return faults

    async def _apply(
        self, conn: AsyncConnection, origin: Origin, plan: Plan, context: RequestContext
    ) -> dict[int, Done]:
        """Identify, resolve, place and audit; what became of each write, by position.

        Raises:
            HieError: the transaction must be rolled back.
        """
        await self._db.serialize(conn, origin.source_id)
        references = References(plan, self._bases)
        known = await self._resolver.known(conn, origin, references.targets())
        ids = {w.name: self._resolver.id_of(origin, w, known) for w in plan.writes}
        ids |= await self._feed.aims(conn, origin, plan)
        kept = {w.name for w in plan.writes if w.condition in known and w.method is Method.POST}
        records = await self._identify(conn, origin, plan, ids, kept)
        ids |= {name: ("Patient", found.source_record_id) for name, found in records.items()}
        resolved = references.resolve(known, ids)
        if resolved.faults:
            raise refusal(resolved.faults)
        merges = await self._feed.merges(conn, origin, plan, resolved.resources)
        before = await self._repository.versions_of(conn, ids.values())
        _check_versions(plan, ids, before, origin)
        owners = [found.source_record_id for found in records.values()]
        owner = owners[0] if len(owners) == 1 else None
        placements = [
            _placement(write, ids[write.name], resolved.resources, owner, records)
            for write in plan.writes
            if write.name not in kept
        ]
        spoken = Spoken(
            origin=origin, records=tuple(owners), placements=placements, is_restated=True
        )
        (placed,) = await self._placer.place_all(
            conn, await self._privacy.carried_out(conn, [spoken])
        )
        await self._writer.remember_aliases(conn, origin.source_id, _aliases(plan, ids))
        touched = await self._feed.carry_out(conn, origin, merges)
        await self._feed.removed(conn, origin, plan, ids)
        await self._record(conn, origin, context, placed.written, placed.persons | touched)
        after = await self._repository.versions_of(conn, ids.values())
        return {
            w.position: Done(
                hub_id=ids[w.name],
                status=_status(w, before.get(ids[w.name])),
                head=after.get(ids[w.name]),
            )
            for w in plan.writes
        }

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
            own = self._feed.number(origin, write)
            one = await self._placer.identify(conn, origin, write.resource, own, may_update=True)
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

    async def _batch(
        self, origin: Origin, plan: Plan, faults: Sequence[Fault], context: RequestContext
    ) -> Answer:
        """Each entry in a transaction of its own; the answer lists what became of each."""
        refused: dict[int, HieError] = {}
        for fault in faults:
            mine = [f for f in faults if f.position == fault.position]
            refused.setdefault(fault.position, refusal(mine))
        entries: dict[int, FhirJson] = {}
        for write in plan.writes:
            if write.position in refused:
                continue
            alone = Plan(kind=PlanKind.BATCH, entries=1, writes=(write,))
            try:
                async with self._db.transaction() as conn:
                    done = await self._apply(conn, origin, alone, context)
                entries[write.position] = entry(done[write.position])
            except HieError as error:
                refused[write.position] = error
        entries |= {
            position: refused_entry(self._refused(error, context.request_id))
            for position, error in refused.items()
        }
        answer = bundle("batch-response", plan.entries, entries)
        async with self._db.transaction() as conn:
            await self._settle(conn, origin.message_id, answer)
        return answer

    async def _answer(self, conn: AsyncConnection, plan: Plan, done: Mapping[int, Done]) -> Answer:
        if plan.kind is PlanKind.TRANSACTION:
            entries = {position: entry(one) for position, one in done.items()}
            return bundle("transaction-response", plan.entries, entries)
        one = done[plan.writes[0].position]
        headers = headers_of(one)
        if one.status == 204:
            return Answer(status=204, headers=headers)
        sender = frozenset({one.head.source_id}) if one.head else frozenset()
        served = await self._repository.read(conn, Residual(own_sources=sender), *one.hub_id)
        return Answer(status=one.status, headers=headers, body=served.body if served else b"")

    async def _record(
        self,
        conn: AsyncConnection,
        origin: Origin,
        context: RequestContext,
        written: Sequence[Written],
        persons: frozenset[PersonId],
    ) -> None:
        stored = [f"{w.type}/{w.id}/_history/{w.version}" for w in written if w.is_changed]
        detail = {"message": origin.message_id, "stored": stored}
        is_new = any(w.is_created for w in written)
        action, subtype = ("C", "create") if is_new else ("U", "update")
        await self._audit.append(
            conn,
            [
                record_of(context, action, subtype, person_id=person or None, detail=detail)
                for person in sorted(persons) or [PersonId("")]
            ],
        )

    async def _settle(self, conn: AsyncConnection, message_id: MessageId, answer: Answer) -> None:
        await self._journal.answer(conn, message_id, answer.encode(), State.PROCESSED)

    async def _refuse(self, message_id: MessageId, error: HieError) -> None:
        async with self._db.transaction() as conn:
            await self._journal.refuse(
                conn, message_id, error.text, self._refused(error, "").status
            )


def _placed(issue: Issue, write: PlannedWrite) -> Issue:
    """An issue of a resource with the place of that resource in the request."""
    expressions = tuple(
        write.expression + e[len(write.type) :] if e.startswith(write.type) else write.expression
        for e in issue.expression or ("",)
    )
    return replace(issue, expression=expressions)


def _aliases(plan: Plan, ids: Mapping[str, HubId]) -> dict[str, HubId]:
    """What the source may call each resource it has written."""
    return {
        alias: ids[write.name]
        for write in plan.writes
        for alias in write.aliases
        if write.method is not Method.DELETE
    }


def _placement(
    write: PlannedWrite,
    hub_id: HubId,
    resources: Mapping[str, FhirJson],
    owner: SourceRecordId | None,
    records: Mapping[str, Identified],
) -> Placement:
    if write.method is Method.DELETE:
        deleted = {"resourceType": write.type}
        return Placement(type=hub_id[0], id=hub_id[1], resource=deleted, mode=WriteMode.DELETE)
    return Placement(
        type=hub_id[0],
        id=hub_id[1],
        resource=resources[write.name],
        # A Patient whose new demographics a task holds, or whose number was merged away, does
        # not overwrite what is stored.
        mode=WriteMode.CREATE_IF_ABSENT
        if (found := records.get(write.name)) and (found.is_held or found.redirected_from)
        else write.draft().mode,
        owner=owner,
    )


def _check_versions(
    plan: Plan, ids: Mapping[str, HubId], before: Mapping[HubId, Head], origin: Origin
) -> None:
    """Refuse what is aimed at another's resource, a missing one, or a version gone by."""
    for write in plan.writes:
        head = before.get(ids[write.name])
        if write.method is not Method.POST and head and head.source_id != origin.source_id:
            text = "another source sent this resource; only that source may change it"
            issue = Issue(text=text, code="forbidden", expression=(write.expression,))
            raise HieError(Category.FORBIDDEN, text, [issue])
        if write.if_match and (head is None or str(head.version) != write.if_match):
            text = "`If-Match` names a version that is not current; read it again"
            issue = Issue(text=text, code="conflict", expression=(write.expression,))
            raise HieError(Category.STALE, text, [issue])


def _status(write: PlannedWrite, before: Head | None) -> int:
    if write.method is Method.DELETE:
        return 204
    return 200 if before is not None and not before.is_deleted else 201
