"""What a recipient would see of a real record: today, and with a Consent that is only proposed.

The record is read as the decision needs it, judged by the decision itself, and counted; nothing
of what it says is told. Every preview is on record as a look at that person.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.facts import facts_of_resource
from consent.grantees import names_of
from consent.model import AccessRequest, Directive, ResourceFacts
from consent.preview import Preview, Question, Views, preview
from hie.flow.consent_parts import Draft, Parts
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.ids import PersonId, SourceRecordId
from hie.store.loader import Stored

OPERATION: Final = "$consent-preview"
#: Their source records stand in a preview for the golden one.
_PATIENT: Final = "Patient"
#: Resources of a record that are judged; a larger one is refused.
MOST: Final = 20_000
#: Id of a proposed Consent that has none.
PROPOSED: Final = "proposed"


class Previews:
    """Answers for staff and for patients.

    Args:
        parts: what the consent desk works with.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def of(self, ctx: RequestContext, question: Question) -> Preview:
        """The preview, on record before it is given.

        Raises:
            HieError: NOT_FOUND for a person that is not there or not the caller's to see,
                INVALID for a recipient nobody knows, TOO_LARGE for a record beyond `MOST`.
        """
        person = PersonId(question.person_id)
        parts = self._parts
        request = self._request(ctx, question)
        async with parts.db.reading() as conn:
            records = await parts.mpi.records_of(conn, person)
            seen = await self._seen(conn, ctx, person, records)
            is_theirs = bool(records) and ctx.caller.patient in (None, person)
            is_limited = bool(ctx.caller.withheld_mask) or not is_theirs
            before, after = await self._rules(conn, person, seen, question, is_limited=is_limited)
        if not is_theirs:
            await parts.disclosures.refuse(ctx, "operation", "Patient", question.person_id)
        found = preview(request, seen, before, after, parts.consent.law)
        await parts.disclosures.record(
            ctx, "E", "operation", {person}, "Patient", person, detail={"query": OPERATION}
        )
        return found

    def _request(self, ctx: RequestContext, question: Question) -> AccessRequest:
        """Who would ask."""
        directory = self._parts.directory
        organization = directory.resolve_organization(question.organization)
        if organization is None:
            text = "`organization`: expected one that a source file names"
            raise HieError(Category.INVALID, text, [Issue(text=text, code="not-found")])
        places = (f"Organization/{name}" for name in directory.grantees(organization))
        is_emergency = self._parts.consent.law.is_emergency(question.purpose)
        return AccessRequest(
            grantees=names_of(places, question.user or None, question.roles),
            purpose=question.purpose,
            now_us=ctx.now_us,
            own_sources=frozenset(directory.sources_of(organization)),
            break_glass=frozenset({question.person_id} if is_emergency else ()),
        )

    async def _seen(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        person: PersonId,
        records: Sequence[SourceRecordId],
    ) -> list[Views]:
        """Every resource of the person that the asker may hear of, for each it is about."""
        stored: list[Stored] = []
        for record in records:
            stored += await self._parts.repository.of_record(conn, record)
            if len(stored) > MOST:
                raise HieError(Category.TOO_LARGE, f"the record has more than {MOST} resources")
        kept = await self._told(conn, ctx, stored)
        named = {record for one in kept for record in self._records(one)}
        persons = await self._parts.mpi.person_of(conn, named - {*records})
        persons |= dict.fromkeys(records, person)
        return [self._views(one, persons) for one in kept]

    async def _told(
        self, conn: AsyncConnection, ctx: RequestContext, stored: Sequence[Stored]
    ) -> list[Stored]:
        """What of a record the asker may hear of: all, for staff; what they may read, else.

        In the patient's place by the predicate itself, which also knows of labels to come.
        """
        caller = ctx.caller
        if caller.patient is None:
            return list(stored)
        kept = [one for one in stored if caller.may(one.type, "r")]
        if not caller.withheld_mask:
            return kept
        names = {f"{one.type}/{one.id}" for one in kept if one.type != _PATIENT}
        seen = await self._parts.repository.seen(conn, self._parts.consent.residual(ctx), names)
        return [
            one
            for one in kept
            if not one.label_mask & caller.withheld_mask
            and (one.type == _PATIENT or f"{one.type}/{one.id}" in seen)
        ]

    def _records(self, one: Stored) -> tuple[SourceRecordId, ...]:
        found = self._parts.index.patients_of(one.type, one.id, one.resource)
        own = [one.source_record_id] if one.source_record_id else []
        return tuple(SourceRecordId(record) for record in dict.fromkeys([*own, *found]))

    def _views(self, one: Stored, persons: dict[SourceRecordId, PersonId]) -> list[ResourceFacts]:
        facts = facts_of_resource(
            self._parts.index,
            one.resource,
            resource_id=one.id,
            source_id=one.source_id,
            person_id=None,
            label_mask=one.label_mask,
        )
        views = {
            persons[record]: replace(facts, person_id=persons[record], source_record_id=record)
            for record in reversed(self._records(one))
            if record in persons
        }
        return list(views.values())[::-1] or [facts]

    async def _rules(
        self,
        conn: AsyncConnection,
        person: PersonId,
        seen: Sequence[Views],
        question: Question,
        *,
        is_limited: bool,
    ) -> tuple[dict[str, tuple[Directive, ...]], dict[str, tuple[Directive, ...]] | None]:
        """The consents in effect of everybody concerned, and with what is proposed.

        Who is told a part of the record (`is_limited`) is not told which ids are none.
        """
        parts = self._parts
        others = {view.person_id for views in seen for view in views if view.person_id} - {person}
        rules = await parts.consent.in_effect(conn, others)
        consents, reaches, verified = await parts.placer.consents_of(conn, person)
        if not is_limited and not {one.id for one in consents} >= {*question.withdrawn}:
            # Passed over, it would say that withdrawing changes nothing.
            text = "`withdraw`: expected ids of Consents of this person"
            raise HieError(Category.INVALID, text, [Issue(text=text, code="not-found")])
        before = await parts.consent.together(conn, consents, reaches, verified)
        if question.proposed is None and not question.withdrawn:
            return {**rules, person: before}, None
        changed, trusted = _changed(consents, verified, question)
        after = await parts.consent.together(conn, changed, reaches, trusted)
        return {**rules, person: before}, {**rules, person: after}


def _changed(
    consents: Sequence[Stored], verified: Collection[str], question: Question
) -> tuple[list[Stored | Draft], frozenset[str]]:
    """The consents as they would be, and those that the patient would have verified."""
    proposed = question.proposed
    name = str(proposed.get("id") or PROPOSED) if proposed is not None else ""
    kept: list[Stored | Draft] = [
        one for one in consents if one.id != name and one.id not in question.withdrawn
    ]
    if proposed is not None:
        kept.append(Draft(name, 1, "", proposed))
    return kept, frozenset(verified) | {name}
