"""Consents in effect: compiled when they change, turned to a residual when somebody asks."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.carried import Carried
from consent.confine import Reach
from consent.directory import HubDirectory
from consent.enforce import Built, RowFacts, ground_of, recheck, recheck_rows
from consent.evaluate import Law, decide, in_words
from consent.from_fhir.directive import ConsentReader
from consent.grantees import is_plain, names_of
from consent.grounds import Grounds
from consent.model import (
    AccessRequest,
    Decision,
    Directive,
    Obligation,
    ResourceFacts,
)
from consent.repository import ConsentRepository, Ending
from consent.rules import rule_rows
from consent.several import Said, groups_named, several
from consent.writing import Standing, Writer, denials, is_verified, writing_rule
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.store.residual import Pending, Residual

__all__ = [
    "ConsentService",
    "Explanation",
    "HubDirectory",
    "LookUp",
    "Recorded",
    "Standing",
    "Writer",
    "access_request",
    "is_verified",
    "writing_rule",
]


class Recorded(Protocol):
    """A Consent as the store gives it back; `source_id` recorded it."""

    @property
    def id(self) -> str:
        """The Consent's id."""
        ...

    @property
    def version(self) -> int:
        """Its current version."""
        ...

    @property
    def source_id(self) -> str:
        """Who recorded it."""
        ...

    @property
    def resource(self) -> FhirJson:
        """The Consent, its references pointing to hub ids."""
        ...


class Looked(Protocol):
    """A resource as the store gives it back."""

    @property
    def is_deleted(self) -> bool:
        """Whether it is gone."""
        ...

    @property
    def resource(self) -> FhirJson:
        """Its JSON, references pointing to hub ids."""
        ...


#: Current resources by (type, id), whoever may see them.
LookUp = Callable[
    [AsyncConnection, Iterable[tuple[str, str]]],
    Awaitable[Mapping[tuple[str, str], Looked]],
]


async def _nothing(
    _conn: AsyncConnection, _wanted: Iterable[tuple[str, str]]
) -> Mapping[tuple[str, str], Looked]:
    return {}


class ConsentService:
    """The consent decision for the rest of the hub.

    Args:
        law: regime, hard rules, labels.
        repository: the compiled rows.
        directory: who the references of a Consent mean.
        trusted_sources: where patients and privacy officers record: needs no verification.
        attests: whether a source's word that the patient verified a Consent counts, where the
            regime takes such a word at all; nobody's does unless said so.
    """

    def __init__(
        self,
        law: Law,
        repository: ConsentRepository,
        directory: HubDirectory,
        trusted_sources: Iterable[str] = (),
        attests: Callable[[str], bool] = lambda _source: False,
    ) -> None:
        self.law = law
        self.grounds = Grounds()
        self.carried = Carried()
        self._repository = repository
        self._directory = directory
        self._trusted = frozenset(trusted_sources)
        self._attests = attests
        self._pending: Pending | None = None
        self._reader = ConsentReader(law.settings, law.labels)
        #: Finds the groups that Consents name; the composition root gives it.
        self.look_up: LookUp = _nothing

    @property
    def rows(self) -> ConsentRepository:
        """The compiled rows, and what they are compiled by."""
        return self._repository

    def residual(self, ctx: RequestContext, action: str = "access") -> Residual:
        """What the database must still decide for a request.

        Raises:
            HieError: FORBIDDEN when the purpose needs a stated reason and none is given.
        """
        request = access_request(ctx, action)
        if self.law.needs_reason(request):
            text = (
                f"purpose `{request.purpose}` needs a stated reason: ask with `Patient/$match`, "
                "then open the record with `$break-glass`"
            )
            raise HieError(Category.FORBIDDEN, text)
        return replace(self.law.residual(request), pending=self._pending)

    def heed(self, pending: Pending | None) -> None:
        """Take resources for more sensitive than they are labelled, from the next residual on."""
        self._pending = pending

    def reaches(self, ctx: RequestContext, source_id: str, label_mask: int) -> bool:
        """Whether a caller could see anything of a source, by law and purpose alone.

        No patient's consent is looked at, so the answer tells nothing about anybody.

        Args:
            ctx: the request.
            source_id: a feed.
            label_mask: what everything from it is labelled: a hard label there needs a consent
                of its own from each patient, and such a source is not spoken of.
        """
        request = access_request(ctx, "access")
        if source_id in request.own_sources or request.self_person is not None:
            return True
        is_confined = not request.grantees or self.law.needs_reason(request)
        return not is_confined and not any(label_mask & bit for bit in self.law.hard_bits)

    def directive(self, consent: Recorded, *, is_verified: bool = False) -> Directive:
        """A recorded Consent, read; without rules while it awaits verification.

        Args:
            consent: as the store gives it back.
            is_verified: the patient or a privacy officer verified just this content.
        """
        return self._said(consent, is_verified, self._directory).directive

    def _said(self, consent: Recorded, is_verified: bool, directory: HubDirectory) -> Said:
        read = self._reader.directive(
            consent.resource, consent_id=consent.id, version=consent.version, directory=directory
        )
        attested = self._is_attested(consent.source_id, consent.resource)
        is_trusted = is_verified or consent.source_id in self._trusted
        if not (is_trusted or attested) and read.widens:
            read = Directive(
                consent_id=consent.id, version=consent.version, ignored="awaits-verification"
            )
        return Said(
            source_id=consent.source_id,
            resource=consent.resource,
            directive=read,
            is_trusted=is_trusted,
            is_attested=attested,
        )

    def may_replace(
        self,
        source_id: str,
        old: Recorded,
        new: FhirJson | None,
        *,
        verified: tuple[bool, bool] = (False, False),
    ) -> bool:
        """Whether a source may put `new` (None = nothing) in the place of a Consent.

        Only who recorded it may, and a denial in effect is taken back by a version that the
        patient, or who speaks for them, verified - never by leaving it out or deleting it.
        `verified`: whether the patient or a privacy officer verified the old and the new.
        """
        replaced = self.directive(old, is_verified=verified[0])
        directive = Directive(consent_id=old.id)
        if new is not None:
            directive = self._reader.directive(
                new, consent_id=old.id, version=old.version + 1, directory=self._directory
            )
        standing = writing_rule(
            Writer(source_id=source_id, is_trusted=verified[1] or source_id in self._trusted),
            directive,
            subject="",
            recorded_by=old.source_id,
            replaced=replaced,
            is_verified=new is not None and self._is_attested(source_id, new),
        )
        is_lost = bool(denials(replaced) - denials(directive))
        return standing is Standing.EFFECTIVE or (
            standing is Standing.AWAITS_VERIFICATION and not is_lost
        )

    def _is_attested(self, source_id: str, consent: FhirJson) -> bool:
        """Whether a source says that the patient verified a Consent, and its word counts."""
        takes_word = self.law.settings.regime.trusts_attested and self._attests(source_id)
        return takes_word and is_verified(consent)

    async def hold(self, conn: AsyncConnection, persons: Sequence[str]) -> None:
        """Let nobody else compile the rows of these persons until the transaction ends.

        Two who compile at once would each miss what the other has not committed, and a Consent
        that was just withdrawn would go on speaking.

        Args:
            conn: open write transaction.
            persons: in order, so that two who wait for each other's are rare.
        """
        await self._repository.hold(conn, persons)

    async def recompile(
        self,
        conn: AsyncConnection,
        person_id: str,
        consents: Sequence[Recorded],
        reaches: Mapping[str, Reach] | None = None,
        verified: Collection[str] = (),
    ) -> None:
        """Replace a person's rows by those of these Consents, in the caller's transaction.

        Args:
            conn: open write transaction.
            person_id: whose rows.
            consents: every current Consent of the person, and those of others that bind.
            reaches: by Consent id, of those that do not reach everything.
            verified: ids of those whose content the patient or a privacy officer verified.
        """
        directives = await self.together(conn, consents, reaches or {}, verified)
        rows = [row for directive in directives for row in rule_rows(directive)]
        await self._repository.replace(conn, person_id, rows)

    async def together(
        self,
        conn: AsyncConnection,
        consents: Sequence[Recorded],
        reaches: Mapping[str, Reach],
        verified: Collection[str] = (),
    ) -> tuple[Directive, ...]:
        """What these Consents come to together, as `recompile` writes it down; same arguments."""
        groups = await self._groups(conn, [consent.resource for consent in consents])
        directory = replace(self._directory, groups=groups)
        said = [self._said(consent, consent.id in verified, directory) for consent in consents]
        return several(said, reaches, self.law.settings, directory)

    async def _groups(
        self, conn: AsyncConnection, naming: Sequence[FhirJson]
    ) -> dict[str, FhirJson]:
        """The groups that resources name, and those within them."""
        found: dict[str, FhirJson] = {}
        left = groups_named(naming)
        while left:
            stored = await self.look_up(conn, sorted(left))
            new = {f"{kind}/{key}": one for (kind, key), one in stored.items()}
            found |= {name: one.resource for name, one in new.items() if not one.is_deleted}
            inner = groups_named(one.resource for one in new.values())
            left = frozenset(one for one in inner if "/".join(one) not in found) - left
        return found

    async def in_effect(
        self, conn: AsyncConnection, persons: Iterable[str]
    ) -> dict[str, tuple[Directive, ...]]:
        """The directives in effect of each person, as they were compiled."""
        return await self._repository.load(conn, persons)

    async def ending(
        self, conn: AsyncConnection, from_us: int, to_us: int, limit: int
    ) -> list[Ending]:
        """Consents in effect that end by themselves in [from, to), the soonest first."""
        return await self._repository.ending(conn, from_us, to_us, limit)

    async def recheck(
        self, conn: AsyncConnection, ctx: RequestContext, leaving: Sequence[ResourceFacts]
    ) -> tuple[Obligation, ...]:
        """What an answer must carry with it, once everything in it is permitted.

        Raises:
            HieError: FAULT when something in it is denied.
        """
        persons = {facts.person_id for facts in leaving if facts.person_id}
        directives = await self._repository.load(conn, persons)
        note = partial(self._note, ctx)
        return recheck(access_request(ctx, "access"), leaving, directives, self.law, note)

    async def recheck_rows(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        rows: Mapping[RowFacts, Sequence[str]],
        built: Mapping[str, Built] | None = None,
    ) -> tuple[Obligation, ...]:
        """`recheck` of many resources: ids by what their rows have in common.

        `built`: the golden Patients beside them, by person; their records passed the predicate:
        why, and what they must carry, is noted.

        Raises:
            HieError: FAULT when something is denied.
        """
        golden = built or {}
        persons = {row.person_id for row in rows if row.person_id}
        directives = await self._repository.load(conn, persons | golden.keys())
        request, note = access_request(ctx, "access"), partial(self._note, ctx)
        for person, one in golden.items():
            note(person, ground_of(request, person, one, directives.get(person, ()), self.law))
        return recheck_rows(request, rows, directives, self.law, note)

    def _note(self, ctx: RequestContext, person: str, decision: Decision) -> None:
        """Remember why something may leave, and what must leave with it."""
        self.grounds.keep(ctx, person, decision.reasons)
        self.carried.keep(ctx, decision)

    async def explain(
        self, conn: AsyncConnection, request: AccessRequest, facts: ResourceFacts
    ) -> "Explanation":
        """Why a request may or may not see a resource, in words."""
        directives: tuple[Directive, ...] = ()
        if facts.person_id:
            loaded = await self._repository.load(conn, [facts.person_id])
            directives = loaded.get(facts.person_id, ())
        decision = decide(request, facts, directives, self.law)
        staff, patient = in_words(decision, self.law)
        return Explanation(decision=decision, staff=staff, patient=patient)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision, and its reasons in words for staff and for the patient."""

    decision: Decision
    staff: tuple[str, ...]
    patient: tuple[str, ...]


def access_request(ctx: RequestContext, action: str) -> AccessRequest:
    """The request of a caller; a patient's names nobody whom a consent could mean."""
    caller = ctx.caller
    grantees: frozenset[str] = frozenset()
    if caller.organization is not None and caller.patient is None:
        user = caller.user or ""
        places = (f"Organization/{name}" for name in caller.grantees | {caller.organization})
        # A user's name is the client's word: it says nothing of a place or a role.
        is_person = user.startswith("Practitioner/") and is_plain(user)
        grantees = names_of(places, user if is_person else None, caller.roles)
    return AccessRequest(
        grantees=grantees,
        purpose=caller.purpose,
        action=action,
        now_us=ctx.now_us,
        own_sources=frozenset(caller.sources),
        self_person=caller.patient,
        withheld_mask=caller.withheld_mask,
        is_steward=caller.is_steward,
        break_glass=caller.break_glass,
    )
