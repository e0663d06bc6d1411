"""Consents in effect: compiled when they change, turned to a residual when somebody asks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.confine import Reach, confined
from consent.enforce import RowFacts, recheck, recheck_rows
from consent.evaluate import Law, decide, in_words
from consent.from_fhir.directive import ConsentReader
from consent.model import (
    UNNAMED,
    AccessRequest,
    Decision,
    Directive,
    Effect,
    Obligation,
    ResourceFacts,
    Rule,
)
from consent.repository import ConsentRepository
from consent.rules import rule_rows
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson, split_reference
from hie.kernel.ids import OrganizationId
from hie.store.residual import Residual


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


class Standing(StrEnum):
    """What becomes of a Consent that somebody records."""

    EFFECTIVE = "effective"
    AWAITS_VERIFICATION = "awaits-verification"  # stored, but changes nothing yet
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who records a Consent.

    Attributes:
        source_id: a feed, or the name of the place where staff and patients record.
        is_trusted: the patient, or a privacy officer: their word is the verification.
        records: source records the writer may speak about; None = any.
    """

    source_id: str
    is_trusted: bool = False
    records: frozenset[str] | None = None


def writing_rule(
    writer: Writer,
    directive: Directive,
    *,
    subject: str,
    recorded_by: str | None = None,
    replaced: Directive | None = None,
    is_verified: bool,
) -> Standing:
    """Whether a Consent may be recorded, and whether it takes effect at once.

    Args:
        writer: who records it.
        directive: the Consent, read.
        subject: the source record it is about.
        recorded_by: source of the version it replaces or deletes; None = it is new.
        replaced: that version, read; to lose one of its denies is to widen.
        is_verified: it says that the patient verified it, and the regime takes such a word.
    """
    is_own = recorded_by is None or recorded_by == writer.source_id
    is_about_own = writer.records is None or subject in writer.records
    if not is_own or not is_about_own:
        return Standing.REFUSED
    widens = directive.widens or bool(_denials(replaced) - _denials(directive))
    if writer.is_trusted or is_verified or not widens:
        return Standing.EFFECTIVE
    return Standing.AWAITS_VERIFICATION


def _denials(directive: Directive | None) -> frozenset[Rule]:
    """What a directive denies, wherever it says so."""
    rules = directive.rules if directive else ()
    return frozenset(
        replace(rule, path="/", note="") for rule in rules if rule.effect is Effect.DENY
    )


def is_verified(consent: FhirJson) -> bool:
    """Whether a Consent says that the patient, or who speaks for them, verified it."""
    found = consent.get("verification")
    return isinstance(found, list) and any(
        isinstance(entry, dict) and entry.get("verified") is True for entry in found
    )


@dataclass(frozen=True, slots=True)
class HubDirectory:
    """Who references mean, by the hub's own directory.

    Attributes:
        identified: the hub id of (type, identifier system, value).
        sources_of: the feeds of an organisation.
    """

    identified: Callable[[str, str, str], str]
    sources_of: Callable[[OrganizationId], frozenset[str]]

    def grantee(self, reference: FhirJson) -> str | None:
        """`Type/<hub id>` of a literal reference, or of an identifier with its type."""
        literal = split_reference(str(reference.get("reference", "")))
        if literal is not None:
            return "/".join(literal)
        identifier = reference.get("identifier")
        named = identifier if isinstance(identifier, dict) else {}
        system, value = named.get("system"), named.get("value")
        kind = reference.get("type", "Organization")
        if "reference" in reference or not (isinstance(system, str) and isinstance(value, str)):
            return None
        return f"{kind}/{self.identified(str(kind), system, value)}"

    def sources(self, organization: str) -> frozenset[str]:
        """The feeds of `Organization/<hub id>`; none of anything else."""
        kind, _, found = organization.partition("/")
        if kind != "Organization":
            return frozenset()
        return frozenset(self.sources_of(OrganizationId(found)))


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
        self._repository = repository
        self._directory = directory
        self._trusted = frozenset(trusted_sources)
        self._attests = attests
        self._reader = ConsentReader(law.settings, law.labels)

    def residual(
        self, ctx: RequestContext, action: str = "access", *, break_glass: str | None = None
    ) -> Residual:
        """What the database must still decide for a request.

        Raises:
            HieError: FORBIDDEN when the purpose needs a stated reason and none is given.
        """
        request = access_request(ctx, action, break_glass=break_glass)
        if self.law.needs_reason(request):
            text = f"purpose `{request.purpose}` needs a stated reason"
            raise HieError(Category.FORBIDDEN, text)
        return self.law.residual(request)

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

    def directive(self, consent: Recorded) -> Directive:
        """A recorded Consent, read; without rules while it awaits verification."""
        read = self._reader.directive(
            consent.resource,
            consent_id=consent.id,
            version=consent.version,
            directory=self._directory,
        )
        attested = self._is_attested(consent.source_id, consent.resource)
        is_in_effect = consent.source_id in self._trusted or attested or not read.widens
        if is_in_effect:
            return read
        return Directive(
            consent_id=consent.id, version=consent.version, ignored="awaits-verification"
        )

    def may_replace(self, source_id: str, old: Recorded, new: FhirJson | None) -> bool:
        """Whether a source may put `new` (None = nothing) in the place of a Consent.

        Only who recorded it may, and a denial in effect is taken back by a version that the
        patient, or who speaks for them, verified - never by leaving it out or deleting it.
        """
        replaced = self.directive(old)
        directive = Directive(consent_id=old.id)
        if new is not None:
            directive = self._reader.directive(
                new, consent_id=old.id, version=old.version + 1, directory=self._directory
            )
        standing = writing_rule(
            Writer(source_id=source_id, is_trusted=source_id in self._trusted),
            directive,
            subject="",
            recorded_by=old.source_id,
            replaced=replaced,
            is_verified=new is not None and self._is_attested(source_id, new),
        )
        is_lost = bool(_denials(replaced) - _denials(directive))
        return standing is Standing.EFFECTIVE or (
            standing is Standing.AWAITS_VERIFICATION and not is_lost
        )

    def _is_attested(self, source_id: str, consent: FhirJson) -> bool:
        """Whether a source says that the patient verified a Consent, and its word counts."""
        takes_word = self.law.settings.regime.trusts_attested and self._attests(source_id)
        return takes_word and is_verified(consent)

    async def recompile(
        self,
        conn: AsyncConnection,
        person_id: str,
        consents: Sequence[Recorded],
        reaches: Mapping[str, Reach] | None = None,
    ) -> None:
        """Replace a person's rows by those of these Consents, in the caller's transaction.

        Args:
            conn: open write transaction.
            person_id: whose rows.
            consents: every current Consent of the person, and those of others that bind.
            reaches: by Consent id, of those that do not reach everything.
        """
        narrow = reaches or {}
        directives = [
            confined(directive, narrow[consent.id]) if consent.id in narrow else directive
            for consent in consents
            for directive in [self.directive(consent)]
        ]
        rows = [row for directive in directives for row in rule_rows(directive)]
        await self._repository.replace(conn, person_id, rows)

    async def recheck(
        self, conn: AsyncConnection, ctx: RequestContext, leaving: Sequence[ResourceFacts]
    ) -> tuple[Obligation, ...]:
        """What an answer must carry with it, once everything in it is permitted.

        Raises:
            HieError: FAULT when something in it is denied.
        """
        persons = {facts.person_id for facts in leaving if facts.person_id}
        directives = await self._repository.load(conn, persons)
        return recheck(access_request(ctx, "access"), leaving, directives, self.law)

    async def recheck_rows(
        self, conn: AsyncConnection, ctx: RequestContext, rows: Mapping[RowFacts, Sequence[str]]
    ) -> tuple[Obligation, ...]:
        """`recheck` of many resources: ids by what their rows have in common.

        Raises:
            HieError: FAULT when something is denied.
        """
        persons = {row.person_id for row in rows if row.person_id}
        directives = await self._repository.load(conn, persons)
        return recheck_rows(access_request(ctx, "access"), rows, directives, self.law)

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


def access_request(
    ctx: RequestContext, action: str, *, break_glass: str | None = None
) -> AccessRequest:
    """The request of a caller; a patient's names nobody whom a consent could mean."""
    caller = ctx.caller
    grantees: frozenset[str] = frozenset()
    if caller.organization is not None and caller.patient is None:
        user = caller.user or ""
        person = user if user.startswith("Practitioner/") else UNNAMED
        names = {f"Organization/{name}" for name in caller.grantees | {caller.organization}}
        grantees = frozenset(names | {person})
    return AccessRequest(
        grantees=grantees,
        purpose=caller.purpose,
        action=action,
        now_us=ctx.now_us,
        own_sources=frozenset(caller.sources),
        self_person=caller.patient,
        is_steward=caller.is_steward,
        break_glass=break_glass,
    )
