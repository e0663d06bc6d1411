"""Consents as patients and staff record, change, revoke and replace them.

One transaction each: the Consent, the papers it rests on, the act, the audit row. What is
refused is audited with its reason. A version is never changed, a Consent never deleted.
Who may: docs/adr/0043.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.service import Standing
from hie.audit.event import MINOR_FAILURE, record_of
from hie.consents import repository as receipts
from hie.consents.content import bare, with_subject
from hie.consents.model import OFFICE_PLACE, Act, Done, patient_place
from hie.flow.consent_parts import Parts
from hie.flow.consent_rules import (
    CONSENT,
    NO_SUCH,
    Kept,
    Wish,
    require_allowed,
    require_kept,
    require_party,
    require_references,
    require_sound,
    require_within,
)
from hie.flow.placement import Origin, Placement
from hie.flow.privacy import Spoken
from hie.flow.verification import Known
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.ids import MessageId, PersonId, SourceRecordId
from hie.store.loader import Stored


class ConsentDesk:
    """Records what patients and staff wish."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def keep(self, ctx: RequestContext, wish: Wish) -> Kept:
        """Record a wish.

        Raises:
            HieError: nothing is recorded but the refused attempt.
        """
        is_new = wish.consent_id is None
        wish = replace(wish, withheld_mask=ctx.caller.withheld_mask)
        action, subtype = ("C", "create") if is_new else ("U", "update")
        async with self.audited(ctx, action, subtype, wish.person, wish.consent_id or ""):
            require_sound(self._parts, wish)
            async with self._parts.db.transaction() as conn:
                return await self._kept(conn, ctx, wish)

    @asynccontextmanager
    async def audited(
        self, ctx: RequestContext, action: str, subtype: str, person: str, consent_id: str
    ) -> AsyncIterator[None]:
        """Puts on record what is refused inside, with its reason."""
        try:
            yield
        except HieError as error:
            record = record_of(
                ctx,
                action,
                subtype,
                outcome=MINOR_FAILURE,
                person_id=person or None,
                resource_type=CONSENT,
                resource_id=consent_id,
                detail={"reason": error.text},
            )
            async with self._parts.db.transaction() as conn:
                await self._parts.audit.append(conn, [record])
            raise

    async def own(self, conn: AsyncConnection, person: PersonId, consent_id: str) -> Stored:
        """A Consent about a person.

        Raises:
            HieError: NOT_FOUND where there is none, or it is about somebody else.
        """
        found = await self._parts.repository.load(conn, [(CONSENT, consent_id)])
        stored = found.get((CONSENT, consent_id))
        if stored is None or stored.is_deleted or stored.person_id != person:
            raise HieError(Category.NOT_FOUND, NO_SUCH)
        return stored

    async def _kept(self, conn: AsyncConnection, ctx: RequestContext, wish: Wish) -> Kept:
        parts = self._parts
        await parts.db.serialize(conn, f"consents {wish.person}")
        records = await parts.mpi.records_of(conn, wish.person)
        old = None
        if wish.consent_id is not None:
            old = await self.own(conn, wish.person, wish.consent_id)
            require_party(old, wish)
        placed = await self._drafted(conn, wish, records, old)
        repeated = await self._repeated(conn, wish, placed)
        if repeated is not None:
            return repeated
        known = await parts.verifications.known(conn, [placed.id])
        require_allowed(self._parts, wish, placed, old, known)
        replaced = await self._replaced(conn, wish, placed)
        version = 1 if old is None else old.version + 1
        act = self._act_of(wish, old, placed)
        if act is Act.RESTORED:
            await self._require_revoked(conn, placed.id)
        done = [self.act(ctx, wish, placed, version, act)]
        is_vouched = await self._vouch(conn, ctx, wish, placed, old, known)
        written = await self._place(conn, ctx, wish, placed, old)
        if written and wish.is_trusted and not is_vouched:
            await self._vouch_for(conn, ctx, wish, placed, version)
        if not written:
            return await self._answer(conn, wish, placed.id, is_created=False)
        await parts.acts.add(conn, done)
        await receipts.owe(conn, placed.id, version, ctx.now_us)
        kept = await self._answer(conn, wish, placed.id, is_created=old is None)
        if kept.standing is Standing.EFFECTIVE:
            require_kept(parts, wish, placed, replaced)
            await self.supersede(conn, ctx, wish, placed.id, replaced)
        await self._record(conn, ctx, wish, act, [f"{CONSENT}/{placed.id}/_history/{version}"])
        return kept

    async def _vouch(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        wish: Wish,
        placed: Placement,
        old: Stored | None,
        known: Known,
    ) -> bool:
        """Keep that a content is vouched for, before it is placed; whether in its new version.

        Where nothing new is said there may be no new version: then it is of the one that stands.
        """
        if not wish.is_trusted:
            return False
        hash_of = self._parts.verifications.hash_of
        if old is None or hash_of(old.resource) != hash_of(placed.resource):
            version = 1 if old is None else old.version + 1
            await self._vouch_for(conn, ctx, wish, placed, version)
            return True
        if not known.covers(placed.id, placed.resource):
            await self._vouch_for(conn, ctx, wish, placed, old.version)
        return False

    async def _vouch_for(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        wish: Wish,
        placed: Placement,
        version: int,
    ) -> None:
        verified = replace(
            self.act(ctx, wish, placed, version, Act.VERIFIED),
            content_hash=self._parts.verifications.hash_of(placed.resource),
        )
        await self._parts.acts.add(conn, [verified])

    async def _replaced(self, conn: AsyncConnection, wish: Wish, placed: Placement) -> list[Stored]:
        """The Consents whose place it takes: each as if it were changed to the new one."""
        replaced = [await self.own(conn, wish.person, one) for one in wish.supersedes]
        for one in replaced:
            require_party(one, wish)
            require_within(self._parts, wish, placed, one)
        return replaced

    async def _drafted(
        self,
        conn: AsyncConnection,
        wish: Wish,
        records: Sequence[SourceRecordId],
        old: Stored | None,
    ) -> Placement:
        """The Consent under its id and record, its references checked."""
        if not records or (wish.record is not None and wish.record not in records):
            text = "expected a record of this person"
            raise HieError(Category.BUSINESS_RULE, text, [Issue(text=text, code="not-found")])
        record = wish.record or records[0]
        if old is not None and old.source_record_id:
            record = SourceRecordId(old.source_record_id)
        ever = await self._parts.mpi.ever_of(conn, wish.person)
        own = {wish.person, *records, *ever}
        resource = with_subject(bare(wish.resource), own, record)
        await require_references(self._parts, conn, wish, resource)
        return Placement(
            type=CONSENT,
            id=wish.consent_id or self._id_of(wish, record),
            resource=resource,
            owner=record,
        )

    def _id_of(self, wish: Wish, record: str) -> str:
        key = wish.key or (str(self._parts.acts.next_id()),)
        return self._parts.ring.blind("id", patient_place(record), CONSENT, *key)

    async def _repeated(self, conn: AsyncConnection, wish: Wish, placed: Placement) -> Kept | None:
        """What the same request was answered before; None where it is new."""
        if wish.consent_id is not None or not wish.key:
            return None
        heads = await self._parts.repository.versions_of(conn, [(CONSENT, placed.id)])
        return await self._answer(conn, wish, placed.id, is_created=True) if heads else None

    def _act_of(self, wish: Wish, old: Stored | None, placed: Placement) -> Act:
        if old is None:
            return Act.RECORDED
        was, now = self._parts.is_over(old.resource), self._parts.is_over(placed.resource)
        if was == now:
            return Act.CHANGED
        return Act.REVOKED if now else Act.RESTORED

    async def _require_revoked(self, conn: AsyncConnection, consent_id: str) -> None:
        """Refuse to put in force again what another Consent took the place of."""
        acts = (await self._parts.acts.of(conn, [consent_id])).get(consent_id, [])
        turned = [one.act for one in acts if one.act not in (Act.VERIFIED, Act.EXPIRED)]
        if turned and turned[-1] is Act.SUPERSEDED:
            text = "another Consent took its place: record a new one"
            raise HieError(Category.CONFLICT, text, [Issue(text=text, code="conflict")])

    def act(
        self, ctx: RequestContext, wish: Wish, placed: Placement, version: int, act: Act
    ) -> Done:
        """The row that says who did what."""
        superseded = {"supersedes": " ".join(wish.supersedes)} if wish.supersedes else {}
        return Done(
            id=self._parts.acts.next_id(),
            consent_id=placed.id,
            version=version,
            act=act,
            at_us=ctx.now_us,
            actor=wish.actor,
            record_id=str(placed.owner),
            note={**wish.note, **superseded},
        )

    async def _place(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        wish: Wish,
        placed: Placement,
        old: Stored | None,
    ) -> bool:
        """Write the Consent and its papers; whether there is a new version."""
        place = patient_place(str(placed.owner)) if wish.is_patients_word else OFFICE_PLACE
        source = place if old is None else old.source_id
        origin = Origin(source_id=type(place)(source), message_id=MessageId(0), now_us=ctx.now_us)
        own = {wish.person, str(placed.owner)}
        # A form that releases HIV results says as much as they do.
        mask = self._parts.labeller.labels(placed.resource).mask
        filed = [
            replace(
                paper,
                owner=placed.owner,
                label_mask=mask,
                resource=with_subject(paper.resource, own, str(placed.owner)),
            )
            for paper in wish.papers
        ]
        spoken = Spoken(
            origin=origin,
            records=(SourceRecordId(str(placed.owner)),),
            placements=[placed, *filed],
            is_restated=True,
        )
        groups = await self._parts.privacy.carried_out(conn, [spoken])
        results = await self._parts.placer.place_all(conn, groups)
        return any(w.is_changed and w.id == placed.id for r in results for w in r.written)

    async def supersede(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        wish: Wish,
        by: str,
        replaced: Sequence[Stored],
    ) -> None:
        """End the Consents that another takes the place of, in the same transaction."""
        for one in replaced:
            if one.id == by or self._parts.is_over(one.resource):
                continue
            ended = replace(
                wish,
                consent_id=one.id,
                resource={**one.resource, "status": "inactive"},
                supersedes=(),
                papers=(),
                version=None,
                note={"superseded_by": by},
            )
            await self.end(conn, ctx, ended, one, Act.SUPERSEDED)

    async def end(
        self, conn: AsyncConnection, ctx: RequestContext, wish: Wish, old: Stored, act: Act
    ) -> None:
        """Write the version in which a Consent no more holds."""
        record = SourceRecordId(str(old.source_record_id))
        placed = Placement(type=CONSENT, id=old.id, resource=bare(wish.resource), owner=record)
        version = old.version + 1
        await self._vouch_for(conn, ctx, replace(wish, note={}, supersedes=()), placed, version)
        await self._parts.acts.add(conn, [self.act(ctx, wish, placed, version, act)])
        await self._place(conn, ctx, wish, placed, old)
        await receipts.owe(conn, old.id, version, ctx.now_us)
        await self._record(conn, ctx, wish, act, [f"{CONSENT}/{old.id}/_history/{version}"])

    async def _answer(
        self, conn: AsyncConnection, wish: Wish, consent_id: str, *, is_created: bool
    ) -> Kept:
        parts = self._parts
        stored = await self.own(conn, wish.person, consent_id)
        heads = await parts.repository.versions_of(conn, [(CONSENT, consent_id)])
        known = await parts.verifications.known(conn, [consent_id])
        is_verified = known.covers(consent_id, stored.resource)
        read = parts.consent.directive(stored, is_verified=is_verified)
        standing = Standing.EFFECTIVE
        if read.ignored == Standing.AWAITS_VERIFICATION.value:
            standing = Standing.AWAITS_VERIFICATION
        elif parts.is_over(stored.resource):
            standing = Standing.NOT_ACTIVE
        return Kept(
            consent_id=consent_id,
            version=stored.version,
            last_updated_us=heads[CONSENT, consent_id].last_updated_us,
            standing=standing,
            is_created=is_created,
            body=await parts.body(conn, wish.person, consent_id),
        )

    async def _record(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        wish: Wish,
        act: Act,
        stored: Sequence[str],
    ) -> None:
        action, subtype = ("C", "create") if act is Act.RECORDED else ("U", "update")
        resource_id = stored[0].split("/")[1]
        reason = wish.note.get("reason", "")
        detail = {"stored": list(stored), "act": act.value} | ({"reason": reason} if reason else {})
        record = record_of(
            ctx,
            action,
            subtype,
            person_id=wish.person,
            resource_type=CONSENT,
            resource_id=resource_id,
            detail=detail,
        )
        await self._parts.audit.append(conn, [record])
