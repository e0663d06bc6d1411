"""What patients and their proxies do themselves about who may see in whose place.

An adult appoints somebody and gives them a word of acceptance; either side ends it; both are told
how it stands. A minor hides what no parent is to see. What staff record is for staff to change.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import MINOR_FAILURE, record_of
from hie.flow.proxies import TYPE, Proxies
from hie.flow.relationships import Amended, Change, Standing, Wanted
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId
from hie.proxies import repository
from hie.proxies.book import Detail
from hie.proxies.model import is_proxy, relationship_of
from hie.proxies.repository import Sealed

#: The kind of a relationship that patients make themselves.
APPOINTED: Final = "appointed"
#: Random bytes of a word of acceptance: 80 bits.
_WORD_BYTES: Final = 10
#: Days in which an appointment is accepted, or it is void.
ACCEPT_WITHIN_US: Final = 7 * 86_400 * 1_000_000
_NOT_YOURS: Final = "there is no such relationship, or it is not yours to change"


@dataclass(frozen=True, slots=True, kw_only=True)
class Appointed:
    """A fresh appointment; `word` is seen this once."""

    standing: Standing
    word: str


class Appointing:
    """Appoints, accepts, ends, tells."""

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies

    async def appoint(self, ctx: RequestContext, wanted: Wanted) -> Appointed:
        """Let somebody see in the patient's place, once they accept.

        Args:
            ctx: of the patient's own token.
            wanted: whom and how far; kind and person are the request's.

        Raises:
            HieError: FORBIDDEN in another's place, or for who is not certainly of age; INVALID
                for a scope or label that is none.
        """
        patient = _oneself(ctx)
        proxies = self._proxies
        wanted = replace(wanted, person=patient, kind=APPOINTED, proxy=None)
        word = secrets.token_hex(_WORD_BYTES)
        async with proxies.db.transaction() as conn:
            found = proxies.required(ctx, wanted)
            found = replace(found, person=await proxies.mpi.resolve(conn, patient))
            verdict = await proxies.stand_ins.verdict(conn, found, ctx.now_us)
            if verdict.rights is None:
                text = "an adult appoints a proxy; for a minor, staff record parents and guardians"
                raise HieError(Category.FORBIDDEN, text)
            detail = Detail(name=wanted.name, telecom=wanted.telecom, code_hash=_hashed(word))
            found = replace(found, accepted_us=None)
            standing = await proxies.keep(conn, ctx, found, detail)
        return Appointed(standing=standing, word=word)

    async def accept(self, ctx: RequestContext, relationship: str, word: str) -> Standing:
        """Accept an appointment, as the person whose token it is.

        Raises:
            HieError: FORBIDDEN in another's place; NOT_FOUND for another word, another's
                relationship, or one that was accepted or is void: all alike, and on record.
        """
        proxy = _oneself(ctx)
        proxies = self._proxies
        async with proxies.db.transaction() as conn:
            found = await repository.sealed(conn, relationship, is_locked=True)
            detail = await self._awaiting(conn, ctx, found, word)
            if found is not None and detail is not None:
                person = await proxies.mpi.resolve(conn, proxy)
                if person != found.plain.person:
                    await proxies.book.change(
                        conn,
                        found,
                        detail=replace(detail, code_hash=""),
                        proxy_id=person,
                        accepted_us=ctx.now_us,
                        vouched_us=ctx.now_us,
                    )
                    return await proxies.told(conn, ctx, relationship, "accept", "")
        await self._refuse(ctx, relationship)
        raise HieError(Category.NOT_FOUND, _NOT_YOURS)

    async def end(self, ctx: RequestContext, relationship: str) -> Standing:
        """End a relationship, from either side.

        A minor does not end a parent's; the parent does. Who acts in the patient's place ends
        that alone by which they act.

        Raises:
            HieError: NOT_FOUND for one that is not the caller's to end, CONFLICT where it was.
        """
        proxies = self._proxies
        async with proxies.db.transaction() as conn:
            found = await repository.sealed(conn, relationship, is_locked=True)
            if found is not None and await self._may_end(conn, ctx, found):
                why = Amended(why="ended over FHIR")
                return await proxies.changed(conn, ctx, found, Change.END, why)
        await self._refuse(ctx, relationship)
        raise HieError(Category.NOT_FOUND, _NOT_YOURS)

    async def mine(self, ctx: RequestContext, patient_id: str) -> list[Standing]:
        """Who may see in the place of the patient whose token it is; on record.

        A proxy is told of the own relationship alone.

        Raises:
            HieError: NOT_FOUND for anybody else.
        """
        own = await self._own(ctx, patient_id)
        proxies = self._proxies
        async with proxies.db.transaction() as conn:
            found = await repository.of_person(conn, own)
            if is_proxy(ctx.caller):
                acting = relationship_of(ctx.caller)
                found = [one for one in found if one.plain.id == acting]
            standing = await proxies.standing(conn, found, ctx.now_us)
            await proxies.record_event(conn, ctx, "E", "operation", set(own[:1]), "", "proxies")
        return standing

    async def acting_for(self, ctx: RequestContext, patient_id: str) -> list[Standing]:
        """In whose place the patient whose token it is may see; on record for each.

        Raises:
            HieError: NOT_FOUND for anybody else, or in another's place.
        """
        if is_proxy(ctx.caller):
            raise HieError(Category.NOT_FOUND, _NOT_YOURS)
        own = await self._own(ctx, patient_id)
        proxies = self._proxies
        async with proxies.db.transaction() as conn:
            found = await repository.by_proxy(conn, own)
            standing = await proxies.standing(conn, found, ctx.now_us)
            persons = {str(one.shown.plain.person) for one in standing} | set(own[:1])
            await proxies.record_event(conn, ctx, "E", "operation", persons, "", "acting for")
        return standing

    async def _own(self, ctx: RequestContext, patient_id: str) -> list[str]:
        """The ids of the person whose token it is, the one of now first."""
        if ctx.caller.patient is None or ctx.caller.patient != patient_id:
            raise HieError(Category.NOT_FOUND, _NOT_YOURS)
        async with self._proxies.db.reading() as conn:
            person = await self._proxies.mpi.resolve(conn, ctx.caller.patient)
        return list(dict.fromkeys([str(person), str(ctx.caller.patient)]))

    async def _awaiting(
        self, conn: AsyncConnection, ctx: RequestContext, found: Sealed | None, word: str
    ) -> Detail | None:
        """The detail of an appointment that this word accepts; None where it does not."""
        if found is None or found.plain.accepted_us is not None or found.plain.ended_us is not None:
            return None
        (shown,) = await self._proxies.book.open(conn, [found])
        is_right = hmac.compare_digest(shown.detail.code_hash, _hashed(word))
        is_void = ctx.now_us > found.plain.recorded_us + ACCEPT_WITHIN_US
        return shown.detail if is_right and not is_void else None

    async def _may_end(self, conn: AsyncConnection, ctx: RequestContext, found: Sealed) -> bool:
        caller, plain = ctx.caller, found.plain
        if caller.patient is None:
            return False
        if is_proxy(caller):
            return relationship_of(caller) == plain.id
        person = await self._proxies.mpi.resolve(conn, caller.patient)
        kind = self._proxies.stand_ins.policy.kinds.get(plain.kind)
        is_patients_own = kind is not None and kind.needs_acceptance
        return person == plain.proxy or (person == plain.person and is_patients_own)

    async def _refuse(self, ctx: RequestContext, relationship: str) -> None:
        """Put an attempt on record, for whose token it was."""
        record = record_of(
            ctx,
            "U",
            "update",
            outcome=MINOR_FAILURE,
            person_id=ctx.caller.patient,
            resource_type=TYPE,
            resource_id=relationship,
            detail={"reason": "not theirs to change, or another word"},
        )
        async with self._proxies.db.transaction() as conn:
            await self._proxies.audit.append(conn, [record])


def _oneself(ctx: RequestContext) -> PersonId:
    """The patient who acts for oneself.

    Raises:
        HieError: FORBIDDEN for anybody else, and in another's place.
    """
    if ctx.caller.patient is None or is_proxy(ctx.caller):
        raise HieError(Category.FORBIDDEN, "this takes a patient's own token")
    return ctx.caller.patient


def _hashed(word: str) -> str:
    # 80 random bits: a plain hash cannot be guessed backwards.
    return hashlib.sha256(word.strip().lower().encode()).hexdigest()
