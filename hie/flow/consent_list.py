"""A person's Consents as staff are shown them: what holds, what waits, who did what and why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.from_fhir.moments import span
from consent.service import Standing
from hie.consents import repository as receipts
from hie.consents.content import period_of, superseded_by
from hie.consents.model import OWN, Act, Done, Receipt, is_patients_word
from hie.consents.plain import PlainWords, lines, organizations_of
from hie.flow.consent_parts import Parts
from hie.flow.consent_rules import CONSENT
from hie.flow.verification import VERIFY, Known
from hie.kernel.context import RequestContext
from hie.kernel.fhir import FhirJson, split_reference
from hie.kernel.ids import PersonId
from hie.store.loader import Stored
from hie.store.origins import VersionOrigin
from hie.tasks.model import TaskFilter, TaskKind

_MOST_WAITING: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One Consent with what it comes to now.

    Attributes:
        standing: `effective`, `awaits-verification`, `rejected`, `not-begun`, `ended`,
            `superseded`, `not-active`, or why the decision ignores it.
        why: that in plain words.
        recorded_by: `patient`, `office`, or the source.
        said: the Consent in plain words.
        acts: what was done about it, oldest first; what a source sent, too.
        receipts: of its versions, those owed too.
        updated_us: of the current version.
    """

    stored: Stored
    updated_us: int
    standing: str
    why: str
    recorded_by: str
    period: tuple[str, str]
    said: tuple[str, ...]
    supersedes: tuple[str, ...]
    acts: tuple[Done, ...]
    receipts: tuple[Receipt, ...]


class ConsentList:
    """Reads Consents for staff; every person shown is put on record."""

    def __init__(self, parts: Parts, words: PlainWords) -> None:
        self._parts = parts
        self._words = words

    async def of_person(self, ctx: RequestContext, named: str) -> tuple[PersonId, list[Shown]]:
        """Everything that was recorded about a person, the newest first.

        Raises:
            HieError: NOT_FOUND for nobody.
        """
        async with self._parts.db.reading() as conn:
            person = await self._parts.mpi.resolve(conn, PersonId(named))
            found = await self._parts.repository.of_person(conn, person, CONSENT)
            shown = await self.shown(conn, [one for one in found if one.person_id == person], ctx)
        await self._parts.disclosures.record(ctx, "E", "search-type", {person}, CONSENT)
        return person, shown

    async def one(self, ctx: RequestContext, consent_id: str) -> Shown:
        """One Consent.

        Raises:
            HieError: NOT_FOUND.
        """
        async with self._parts.db.reading() as conn:
            stored = await self.stored(conn, consent_id)
            shown = await self.shown(conn, [stored] if stored else [], ctx)
        if not shown:
            await self._parts.disclosures.refuse(ctx, "read", CONSENT, consent_id)
        person = {str(shown[0].stored.person_id)}
        await self._parts.disclosures.record(ctx, "R", "read", person, CONSENT, consent_id)
        return shown[0]

    async def versions(self, consent_id: str) -> list[VersionOrigin]:
        """When each version came, and from whom, the newest first; for whom `one` was shown."""
        async with self._parts.db.reading() as conn:
            return await self._parts.repository.origins(conn, CONSENT, consent_id)

    async def waiting(self, ctx: RequestContext) -> list[Shown]:
        """Consents that would widen access and await a verification, the longest first."""
        async with self._parts.db.reading() as conn:
            wanted = TaskFilter(kind=TaskKind.CONSENT, topic=VERIFY, limit=_MOST_WAITING)
            tasks = await self._parts.tasks.listed(conn, wanted)
            named = [t.detail.get("consent", "").removeprefix("Consent/") for t in tasks]
            found = await self._parts.repository.load(
                conn, [(CONSENT, one) for one in named if one]
            )
            shown = await self.shown(conn, [one for one in found.values() if one.person_id], ctx)
        kept = [one for one in shown if one.standing == Standing.AWAITS_VERIFICATION.value]
        await self._tell(ctx, kept)
        return sorted(kept, key=lambda one: one.updated_us)

    async def ending(self, ctx: RequestContext, until_us: int, limit: int) -> list[Shown]:
        """Consents in effect whose time is over before `until_us`, the soonest first."""
        async with self._parts.db.reading() as conn:
            found = await self._parts.consent.ending(conn, ctx.now_us, until_us, limit)
            order = {one.consent_id: one.ends_us for one in found}
            loaded = await self._parts.repository.load(conn, [(CONSENT, one) for one in order])
            shown = await self.shown(conn, list(loaded.values()), ctx)
        await self._tell(ctx, shown)
        return sorted(shown, key=lambda one: order[one.stored.id])

    async def _tell(self, ctx: RequestContext, shown: Sequence[Shown]) -> None:
        persons = {str(one.stored.person_id) for one in shown}
        await self._parts.disclosures.record(ctx, "E", "search-type", persons, CONSENT)

    async def stored(self, conn: AsyncConnection, consent_id: str) -> Stored | None:
        """A Consent about somebody; None where there is none."""
        found = await self._parts.repository.load(conn, [(CONSENT, consent_id)])
        stored = found.get((CONSENT, consent_id))
        is_there = stored is not None and not stored.is_deleted and stored.person_id
        return stored if is_there else None

    async def shown(
        self, conn: AsyncConnection, found: Sequence[Stored], ctx: RequestContext
    ) -> list[Shown]:
        """These Consents with what they come to now, the newest first."""
        ids = [one.id for one in found]
        known = await self._parts.verifications.known(conn, ids)
        acts = await self._parts.acts.of(conn, ids)
        sent = [one for one in found if not one.source_id.startswith(OWN)]
        origins = await self._parts.repository.origins_of(conn, CONSENT, [one.id for one in sent])
        for one in sent:
            brought = brought_by(one, origins.get(one.id, []))
            acts[one.id] = sorted([*brought, *acts.get(one.id, [])], key=lambda act: act.at_us)
        owed = await receipts.receipts(conn, ids)
        heads = await self._parts.repository.versions_of(conn, [(CONSENT, one) for one in ids])
        names = await names_in(self._parts, conn, [one.resource for one in found])
        shown = [
            self._shown(
                one,
                known,
                tuple(acts.get(one.id, ())),
                names,
                (heads[CONSENT, one.id].last_updated_us, ctx.now_us),
                tuple(r for (name, _), r in sorted(owed.items()) if name == one.id),
            )
            for one in found
        ]
        return sorted(shown, key=lambda one: (-one.updated_us, one.stored.id))

    def _shown(
        self,
        stored: Stored,
        known: Known,
        acts: tuple[Done, ...],
        names: Mapping[str, str],
        times: tuple[int, int],
        owed: tuple[Receipt, ...],
    ) -> Shown:
        updated_us, now_us = times
        standing = self.standing(stored, known, acts, now_us)
        is_over = self._parts.is_over(stored.resource)
        is_word = is_patients_word(stored.source_id)
        return Shown(
            stored=stored,
            updated_us=updated_us,
            standing=standing,
            why=self._words.sections["standing"].get(standing, standing),
            recorded_by="patient" if is_word else stored.source_id.removeprefix("hie:"),
            period=period_of(stored.resource),
            said=lines(stored.resource, names, self._words, is_over=is_over),
            supersedes=superseded_by(stored.resource),
            acts=acts,
            receipts=owed,
        )

    def standing(self, stored: Stored, known: Known, acts: Iterable[Done], now_us: int) -> str:
        """What a Consent comes to at a time."""
        verdict = known.of(stored.id, stored.resource)
        read = self._parts.consent.directive(stored, is_verified=verdict is Act.VERIFIED)
        if read.ignored == Standing.AWAITS_VERIFICATION.value and verdict is Act.REJECTED:
            return "rejected"
        if read.ignored == "not-active" and any(one.act is Act.SUPERSEDED for one in acts):
            return "superseded"
        if read.ignored:
            return read.ignored
        return _by_time(stored.resource, now_us, self._parts.consent.law.settings.regime.time_zone)


def brought_by(stored: Stored, origins: Iterable[VersionOrigin]) -> list[Done]:
    """What a source did about a Consent of its own, read off the versions it sent.

    Nobody's hand was in it here, so there is no row of it. Versions that came of something else
    (a merge told by another, an identity steward's word) are not its doing.
    """
    return [
        Done(
            id=0,
            consent_id=stored.id,
            version=one.version,
            act=Act.RECORDED if one.version == 1 else Act.CHANGED,
            at_us=one.last_updated_us,
            actor=f"source:{one.source_id}",
            record_id=stored.source_record_id or "",
        )
        for one in origins
        if one.source_id == stored.source_id and (one.version == 1 or one.message_id)
    ]


def _by_time(consent: FhirJson, now_us: int, zone: tzinfo) -> str:
    provision = consent.get("provision")
    period = provision.get("period") if isinstance(provision, dict) else None
    told = span(period, zone)
    if told.hi_us is not None and told.hi_us <= now_us:
        return "ended"
    if told.lo_us is not None and told.lo_us > now_us:
        return "not-begun"
    return "effective"


async def names_in(
    parts: Parts, conn: AsyncConnection, consents: Iterable[FhirJson]
) -> dict[str, str]:
    """What people call the organisations that Consents name, by reference."""
    named = {reference for one in consents for reference in organizations_of(one)}
    pairs = {pair: reference for reference in named if (pair := split_reference(reference))}
    found = await parts.repository.load(conn, [p for p in pairs if parts.index.has_type(p[0])])
    return {
        pairs[pair]: str(stored.resource["name"])
        for pair, stored in found.items()
        if isinstance(stored.resource.get("name"), str)
    }
