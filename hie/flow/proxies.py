"""What staff do about who may see in whose place: record, show, stop, end, restore, review.

Each is one transaction: the relationship, what happened to it, the RelatedPerson that is served,
the tokens that end, the audit events of both persons. A clerk records; what takes rights away or
gives them back is a privacy officer's.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.labels import LabelTable
from consent.service import ConsentService
from hie.audit.event import record_of
from hie.audit.repository import AuditLog
from hie.db import Database
from hie.flow.place import Placer
from hie.flow.placement import Origin
from hie.flow.related import placement_of
from hie.flow.relationships import (
    Amended,
    Change,
    Standing,
    Wanted,
    band_of,
    given,
    refuse_stale,
    values_of,
)
from hie.kernel.context import Caller, RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import MessageId, PersonId, SourceId
from hie.proxies import repository
from hie.proxies.book import Detail, Happened, Paper, ProxyBook, with_paper
from hie.proxies.model import USER_PREFIX, Relationship
from hie.proxies.policy import unknown
from hie.proxies.repository import Sealed
from hie.proxies.standins import StandIns
from hie.store.index import SearchIndex
from hie.store.listing import Span
from hie.store.repository import ResourceRepository
from mpi.service import Mpi

#: Whom the hub itself writes as (`hie.services.HUB_SOURCE`).
OWN: Final = SourceId("hub")
TYPE: Final = "RelatedPerson"
#: Ends the tokens of a user, in the transaction.
Revoke = Callable[[AsyncConnection, str], Awaitable[None]]


class Proxies:
    """Keeps relationships for staff, and for whoever appoints (`hie.flow.appointing`)."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once
        self,
        db: Database,
        book: ProxyBook,
        stand_ins: StandIns,
        mpi: Mpi,
        repository_: ResourceRepository,
        index: SearchIndex,
        consent: ConsentService,
        labels: LabelTable,
        placer: Placer,
        audit: AuditLog,
        revoke: Revoke,
    ) -> None:
        self.db = db
        self.book = book
        self.stand_ins = stand_ins
        self.labels = labels
        self.mpi = mpi
        self.placer = placer
        self.audit = audit
        self._repository = repository_
        self._index = index
        self._consent = consent
        self._revoke = revoke

    async def record(self, ctx: RequestContext, wanted: Wanted) -> Standing:
        """A new relationship, as a paper or a person at the desk says.

        Raises:
            HieError: INVALID for a kind, scope or label that is none, or a paper that is
                missing; NOT_FOUND for an unknown person; CONFLICT where the two stand so already;
                BUSINESS_RULE for a kind of minors where the person is of age.
        """
        found = self.required(ctx, wanted)
        async with self.db.transaction() as conn:
            persons = await self._persons(conn, found)
            found = replace(found, person=persons[0], proxy=persons[1] if persons[1:] else None)
            await self.stand_ins.refuse_outgrown(conn, found, ctx.now_us, is_new=True)
            detail = with_paper(Detail(name=wanted.name, telecom=wanted.telecom), wanted.paper)
            return await self.keep(conn, ctx, found, detail, scan=wanted.scan)

    async def keep(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        found: Relationship,
        detail: Detail,
        *,
        scan: bytes = b"",
    ) -> Standing:
        """A new relationship, in the transaction, on record for both persons.

        Raises:
            HieError: CONFLICT where the two stand so already.
        """
        await self.db.serialize(conn, f"relationships {found.person}")
        for other in await repository.of_person(conn, [found.person]):
            is_same = (other.plain.kind, other.plain.proxy) == (found.kind, found.proxy)
            if is_same and found.proxy is not None and other.plain.ended_us is None:
                text = "the two stand in this relationship already: change that one"
                raise HieError(Category.CONFLICT, text)
        await self.book.add(conn, found, detail, scan)
        standing = await self.told(conn, ctx, found.id, "record", "", action="C")
        await repository.mark_told(conn, found.id, band_of(standing))
        return standing

    async def of(self, ctx: RequestContext, person_id: str) -> list[Standing]:
        """Every relationship of a person, on either side, as each stands now; on record.

        Raises:
            HieError: NOT_FOUND for an unknown person.
        """
        async with self.db.transaction() as conn:
            person = await self.mpi.resolve(conn, PersonId(person_id))
            found = await repository.about(conn, sorted({person, person_id}))
            standing = await self.standing(conn, found, ctx.now_us)
            about = {person} | {p for one in found for p in _persons(one.plain)}
            await self.record_event(conn, ctx, "R", "search-type", about, "", "")
        return standing

    async def one(self, ctx: RequestContext, relationship: str) -> tuple[Standing, list[Happened]]:
        """A relationship and what was done to it, oldest first; on record.

        Raises:
            HieError: NOT_FOUND.
        """
        async with self.db.transaction() as conn:
            found = await self.found(conn, relationship)
            standing = await self._one(conn, found, ctx.now_us)
            history = await self.book.history(conn, relationship)
            about = _persons(found.plain)
            await self.record_event(conn, ctx, "R", "read", about, relationship, "")
        return standing, history

    async def scan(self, ctx: RequestContext, relationship: str) -> tuple[Paper, bytes]:
        """The newest paper of a relationship as it was scanned; on record.

        Raises:
            HieError: NOT_FOUND for no such relationship, or none that was scanned.
        """
        async with self.db.transaction() as conn:
            found = await self.found(conn, relationship)
            scan = await self.book.scan(conn, relationship)
            (shown,) = await self.book.open(conn, [found])
            papers = [paper for paper in shown.detail.papers if paper.sha256]
            if scan is None or not papers:
                raise HieError(Category.NOT_FOUND, "no paper of this relationship was scanned")
            about = _persons(found.plain)
            await self.record_event(conn, ctx, "R", "read", about, relationship, "its paper")
        return papers[-1], scan

    async def change(
        self,
        ctx: RequestContext,
        relationship: str,
        version: str | None,
        change: Change,
        amended: Amended,
    ) -> Standing:
        """Stop, end, restore, review or amend a relationship; it holds from the next request.

        Raises:
            HieError: NOT_FOUND; STALE when it changed since it was seen; CONFLICT where it makes
                no sense; BUSINESS_RULE for more than an end, where the patient has outgrown it.
        """
        async with self.db.transaction() as conn:
            found = await self.found(conn, relationship, is_locked=True)
            refuse_stale(found.plain, version)
            return await self.changed(conn, ctx, found, change, amended)

    async def changed(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        found: Sealed,
        change: Change,
        amended: Amended,
    ) -> Standing:
        """The same in the transaction, the relationship locked."""
        plain = found.plain
        values = values_of(plain, change, amended, ctx.now_us)
        if change is Change.REVIEW:
            persons = await self._persons(conn, plain)
            values |= {"person_id": persons[0], "proxy_id": persons[1] if persons[1:] else None}
        if (after := given(plain, change, amended, values)) is not None:
            await self.stand_ins.refuse_outgrown(conn, after, ctx.now_us, is_new=False)
        detail = None
        if amended.paper is not None:
            (shown,) = await self.book.open(conn, [found])
            detail = with_paper(shown.detail, amended.paper)
            values["has_document"] = True
        await self.book.change(conn, found, detail=detail, scan=amended.scan, **values)
        if change in (Change.STOP, Change.END):
            await self._revoke(conn, f"{USER_PREFIX}{plain.id}")
        return await self.told(conn, ctx, plain.id, change.value, amended.why)

    async def preview(
        self, ctx: RequestContext, relationship: str
    ) -> tuple[Standing, Counter[str]]:
        """How many resources of each type a relationship opens now; no content, on record.

        Raises:
            HieError: NOT_FOUND.
        """
        async with self.db.transaction() as conn:
            found = await self.found(conn, relationship)
            standing = await self._one(conn, found, ctx.now_us)
            counts = await self._counted(conn, ctx, standing)
            about = {str(found.plain.person)}
            await self.record_event(conn, ctx, "E", "operation", about, relationship, "preview")
        return standing, counts

    async def found(
        self, conn: AsyncConnection, relationship: str, *, is_locked: bool = False
    ) -> Sealed:
        """One relationship.

        Raises:
            HieError: NOT_FOUND.
        """
        found = await repository.sealed(conn, relationship, is_locked=is_locked)
        if found is None:
            raise HieError(Category.NOT_FOUND, "there is no such relationship")
        return found

    async def _one(self, conn: AsyncConnection, found: Sealed, now_us: int) -> Standing:
        """A relationship as it stands now.

        Raises:
            HieError: NOT_FOUND where its person was erased.
        """
        standing = await self.standing(conn, [found], now_us)
        if not standing:
            raise HieError(Category.NOT_FOUND, "there is no such relationship")
        return standing[0]

    async def standing(
        self, conn: AsyncConnection, found: Sequence[Sealed], now_us: int
    ) -> list[Standing]:
        """Relationships with their details, as they stand now."""
        return [
            Standing(shown=shown, verdict=await self.stand_ins.verdict(conn, shown.plain, now_us))
            for shown in await self.book.open(conn, found)
        ]

    async def _counted(
        self, conn: AsyncConnection, ctx: RequestContext, standing: Standing
    ) -> Counter[str]:
        rights, person = standing.verdict.rights, standing.shown.plain.person
        if rights is None:
            return Counter()
        caller = Caller(token_id="", patient=person, withheld_mask=rights.withheld_mask)
        residual = self._consent.residual(replace(ctx, caller=caller))
        names = {
            self._index.type_id(name): name
            for name in self._index.types
            if rights.types is None or name in rights.types
        }
        span = Span(as_of_us=ctx.now_us)
        types = tuple(sorted(names))
        rows = await self._repository.listing.of_persons(conn, residual, span, types, [person])
        return Counter(names[row.type_id] for row in rows)

    async def told(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        relationship: str,
        what: str,
        why: str,
        action: str = "U",
    ) -> Standing:
        """Keep what happened, serve it, and put it on record for both persons."""
        found = await self.found(conn, relationship)
        happened = Happened(at_us=ctx.now_us, action=what, actor=_actor(ctx), words=why)
        await self.book.note(conn, found.plain, happened)
        standing = await self._one(conn, found, ctx.now_us)
        await self.serve(conn, ctx, standing)
        subtype = "create" if action == "C" else "update"
        await self.record_event(
            conn, ctx, action, subtype, _persons(found.plain), relationship, what
        )
        return standing

    async def serve(self, conn: AsyncConnection, ctx: RequestContext, standing: Standing) -> None:
        """Write the RelatedPerson under a record of the patient's."""
        records = await self.mpi.records_of(conn, standing.shown.plain.person)
        if not records:
            return  # merged away: it is served again once somebody has reviewed it
        origin = Origin(source_id=OWN, message_id=MessageId(0), now_us=ctx.now_us)
        placement = placement_of(standing, self.stand_ins.policy, records[0])
        await self.placer.place(conn, origin, [placement])

    async def record_event(  # noqa: PLR0913, PLR0917 - the columns of an audit row
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        action: str,
        subtype: str,
        persons: set[str],
        relationship: str,
        what: str,
    ) -> None:
        """Put on record what was seen of or done to a relationship, for each person."""
        records = [
            record_of(
                ctx,
                action,
                subtype,
                person_id=person,
                resource_type=TYPE,
                resource_id=relationship,
                detail={"reason": f"relationship: {what}"} if what else {},
            )
            for person in sorted(persons)
        ]
        await self.audit.append(conn, records)

    def required(self, ctx: RequestContext, wanted: Wanted) -> Relationship:
        """A relationship as it is wanted, in force from now.

        Raises:
            HieError: INVALID for a kind, scope or label that is none, or a missing paper.
        """
        policy = self.stand_ins.policy
        kind = policy.kinds.get(wanted.kind)
        if kind is None:
            raise unknown("kind", policy.kinds)
        if wanted.scope not in policy.scopes:
            raise unknown("scope", policy.scopes)
        if kind.needs_document and wanted.paper is None:
            text = f"`document`: expected, for a relationship of kind `{kind.name}` rests on one"
            raise HieError(Category.INVALID, text)
        return Relationship(
            id=self.book.fresh_id(),
            person=PersonId(wanted.person),
            proxy=PersonId(wanted.proxy) if wanted.proxy else None,
            kind=wanted.kind,
            scope=wanted.scope,
            custody=wanted.custody,
            has_document=wanted.paper is not None,
            named_mask=self.named(wanted.labels),
            recorded_us=ctx.now_us,
            vouched_us=ctx.now_us,
            from_us=wanted.from_us,
            to_us=wanted.to_us,
            accepted_us=ctx.now_us,
            stopped_us=None,
            ended_us=None,
            version=1,
        )

    def named(self, codes: Sequence[str]) -> int:
        """The bits of sensitivities that are named in so many words.

        Raises:
            HieError: INVALID for a code that is none.
        """
        try:
            return self.labels.bits(codes)
        except KeyError as error:
            raise HieError(Category.INVALID, "`labels`: expected codes of labels.toml") from error

    async def _persons(self, conn: AsyncConnection, found: Relationship) -> list[PersonId]:
        """Both persons as they are now; they must be two.

        Raises:
            HieError: NOT_FOUND; INVALID where both are one person.
        """
        named = [found.person, *([found.proxy] if found.proxy else [])]
        persons = [await self.mpi.resolve(conn, person) for person in named]
        if len(set(persons)) < len(persons):
            raise HieError(Category.INVALID, "`proxy`: expected another person than the patient")
        return persons


def _persons(found: Relationship) -> set[str]:
    return {str(person) for person in (found.person, found.proxy) if person}


def _actor(ctx: RequestContext) -> str:
    caller = ctx.caller
    return caller.user or (f"Patient/{caller.patient}" if caller.patient else caller.token_id)
