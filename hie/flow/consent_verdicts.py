"""Whether a Consent that another recorded may widen access: verified or rejected, with a reason."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.service import Standing
from hie.audit.event import record_of
from hie.consents import repository as receipts
from hie.consents.content import superseded_by
from hie.consents.model import Act, Done
from hie.flow.consent_parts import Parts
from hie.flow.consent_rules import CONSENT, Wish
from hie.flow.consents import ConsentDesk
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId
from hie.store.loader import Stored

_SETTLED: Final = "this Consent awaits no verification: read it again"


class ConsentVerdicts:
    """Takes the word of patients and privacy officers."""

    def __init__(self, parts: Parts, desk: ConsentDesk) -> None:
        self._parts = parts
        self._desk = desk

    async def judge(
        self,
        ctx: RequestContext,
        consent_id: str,
        act: Act,
        *,
        actor: str,
        note: Mapping[str, str],
        person: PersonId | None = None,
    ) -> None:
        """Verify or reject; it takes effect from the next request.

        A verification that was a mistake is taken back by a rejection, and the other way round.

        Args:
            ctx: the request.
            consent_id: which Consent.
            act: VERIFIED or REJECTED.
            actor: `patient` or `officer:<user>`.
            note: what is kept sealed: `reason`, and `by`, who acts in the patient's place.
            person: whose Consent it must be; None = anybody's.

        Raises:
            HieError: NOT_FOUND; CONFLICT where there is nothing to be said.
        """
        about = person or PersonId("")
        async with (
            self._desk.audited(ctx, "U", "verify", about, consent_id),
            self._parts.db.transaction() as conn,
        ):
            stored = await self._stored(conn, consent_id, person)
            await self._parts.db.serialize(conn, f"consents {stored.person_id}")
            await self._require_open(conn, stored, act)
            done = Done(
                id=self._parts.acts.next_id(),
                consent_id=consent_id,
                version=stored.version,
                act=act,
                at_us=ctx.now_us,
                actor=actor,
                record_id=str(stored.source_record_id),
                content_hash=self._parts.verifications.hash_of(stored.resource),
                note=note,
            )
            await self._carry_out(conn, ctx, stored, done)

    async def _stored(
        self, conn: AsyncConnection, consent_id: str, person: PersonId | None
    ) -> Stored:
        found = (await self._parts.repository.load(conn, [(CONSENT, consent_id)])).get(
            (CONSENT, consent_id)
        )
        is_there = found is not None and not found.is_deleted and found.source_record_id
        if found is None or not is_there or (person and found.person_id != person):
            raise HieError(Category.NOT_FOUND, "there is no such Consent")
        return found

    async def _require_open(self, conn: AsyncConnection, stored: Stored, act: Act) -> None:
        """Refuse a word about what awaits none, and the same word again."""
        plain = self._parts.consent.directive(stored)
        known = await self._parts.verifications.known(conn, [stored.id])
        said = known.of(stored.id, stored.resource)
        awaits = plain.ignored == Standing.AWAITS_VERIFICATION.value
        if not awaits or said is act:
            raise HieError(Category.CONFLICT, _SETTLED)

    async def _carry_out(
        self, conn: AsyncConnection, ctx: RequestContext, stored: Stored, done: Done
    ) -> None:
        parts = self._parts
        person = PersonId(str(stored.person_id))
        past = (await parts.acts.of(conn, [stored.id])).get(stored.id, [])
        note = done.note.get("reason", "")
        await parts.verifications.settle(conn, past, actor=done.actor, note=note, now_us=ctx.now_us)
        await parts.acts.add(conn, [done])
        if done.act is Act.VERIFIED:
            await receipts.owe(conn, stored.id, stored.version, ctx.now_us)
            await self._supersede(conn, ctx, stored, done, person)
        await parts.placer.recompile(conn, {person})
        record = record_of(
            ctx,
            "U",
            "verify",
            person_id=person,
            resource_type=CONSENT,
            resource_id=stored.id,
            detail={"act": done.act.value, "reason": note},
        )
        await parts.audit.append(conn, [record])

    async def _supersede(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        stored: Stored,
        done: Done,
        person: PersonId,
    ) -> None:
        """End what a Consent recorded at the desk takes the place of, now that it holds."""
        wish = Wish(person=person, resource=stored.resource, actor=done.actor, is_trusted=True)
        replaced = []
        for name in superseded_by(stored.resource):
            found = await self._parts.repository.load(conn, [(CONSENT, name)])
            one = found.get((CONSENT, name))
            if one is not None and one.person_id == person and one.source_id == stored.source_id:
                replaced.append(one)
        await self._desk.supersede(conn, ctx, wish, stored.id, replaced)
