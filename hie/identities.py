"""Identity questions, answered through the door: who fits a description, and which numbers.

Like every read: decide -> read with the rules joined -> recheck -> audit -> answer. What is
counted, compared, scored and told comes from source records the caller may see; an identifier
that only hidden records carry is answered as one that nobody carries. Formats are others'
business: FHIR operations and HL7 v2 queries ask here alike.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.model import ResourceFacts
from consent.service import ConsentService
from hie.audit.event import Description
from hie.db import Database
from hie.disclosure import Disclosures
from hie.fitting import Fitting
from hie.golden import GoldenPatients
from hie.kernel.context import RequestContext
from hie.kernel.envelope import SourceIdentifier
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson, split_reference
from hie.kernel.ids import PersonId
from hie.store.query import Served
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual
from mpi.ask import Fit
from mpi.levels import MatchGrade
from mpi.service import Mpi

READ: Final = "access"
#: Characters of a question kept with its audit rows.
_TOLD: Final = 2_000
#: Records looked at, newest first, for one that shows that an authority is known.
_LOOKED_AT: Final = 256
_LOOKS: Final = 8
_NOBODY: Final = "-"
_UNSEARCHABLE: Final = (
    "the description holds nothing to search by, default values left aside: expected "
    "`birthDate` with `name`, an `identifier` with its `system`, or `telecom`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A person who fits a description.

    Attributes:
        patient: the golden Patient as this caller sees it.
        records: the source records it was built from.
        fit: grade, score, and why.
    """

    patient: Served
    records: tuple[Served, ...]
    fit: Fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The persons who fit a description, best first; `total` counts those cut off too."""

    found: tuple[Candidate, ...]
    total: int


class Unknown(StrEnum):
    """Why identifiers cannot be cross-referenced."""

    SOURCE_DOMAIN = "source-domain"  # nobody known here assigns such identifiers
    TARGET_DOMAIN = "target-domain"  # the same of one that was asked for
    IDENTIFIER = "identifier"  # nobody carries it, or nobody whom the caller may see
    AMBIGUOUS = "ambiguous"  # several persons carry it: it identifies none


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossReferences:
    """The identifiers of one person.

    Attributes:
        unknown: why there is no answer; None where there is one.
        unknown_targets: places, from 0, of the targets that are unknown.
        patient: the golden Patient as this caller sees it.
        identifiers: FHIR Identifiers of the domains asked for, without the one asked by.
        patients: ids of Patients the caller may read: the golden one, then its own records.
    """

    unknown: Unknown | None = None
    unknown_targets: tuple[int, ...] = ()
    patient: Served | None = None
    identifiers: tuple[FhirJson, ...] = ()
    patients: tuple[str, ...] = ()


class Identities:
    """Answers identity questions of callers.

    Args:
        domains: identifier systems of the hub's own and its sources' authorities.
        base: the FHIR base, the domain of the hub's own ids: `<base>|Patient/<id>`.
    """

    def __init__(  # noqa: PLR0913 - joined once, in services.py
        self,
        db: Database,
        repository: ResourceRepository,
        consent: ConsentService,
        mpi: Mpi,
        golden: GoldenPatients,
        disclosures: Disclosures,
        *,
        domains: Collection[str] = (),
        base: str = "",
    ) -> None:
        self._db = db
        self._repository = repository
        self._consent = consent
        self._mpi = mpi
        self._golden = golden
        self._fitting = Fitting(repository, mpi)
        self._disclosures = disclosures
        self._domains = frozenset(domains)
        self.base = base

    # Who fits a description

    async def identify_candidates(
        self,
        ctx: RequestContext,
        patient: FhirJson,
        *,
        count: int,
        only_certain: bool = False,
    ) -> Candidates:
        """The persons whom a description may mean.

        Args:
            ctx: the request; each person told of gets an audit row.
            patient: FHIR R4 Patient with what is known.
            count: persons told of, at most.
            only_certain: only a person who fits certainly, and whom no other comes close to.

        Raises:
            HieError: BUSINESS_RULE when the description holds nothing to search by.
        """
        asked = self._mpi.questions.asked(patient, ctx.now_us)
        if not asked.keys:
            raise unsearchable()
        residual = self._consent.residual(ctx, READ)
        async with self._db.reading() as conn:
            fits, records = await self._fitting.of(conn, residual, asked)
            if only_certain:
                fits = [fit for fit in fits if fit.grade is MatchGrade.CERTAIN]
            told = fits[: max(0, count)]
            await self._recheck(conn, ctx, [r for fit in told for r in records[fit.person_id]])
        found = tuple(
            Candidate(
                patient=self._golden.build(fit.person_id, records[fit.person_id]),
                records=tuple(records[fit.person_id]),
                fit=fit,
            )
            for fit in told
        )
        persons: set[str] = {fit.person_id for fit in told}
        shown = [candidate.patient for candidate in found]
        await self._record(ctx, persons, f"$match {json.dumps(patient, default=str)}", shown)
        return Candidates(found=found, total=len(fits))

    # Which numbers

    async def cross_references(
        self, ctx: RequestContext, identifier: SourceIdentifier, targets: Sequence[str] = ()
    ) -> CrossReferences:
        """The other identifiers of whoever carries one.

        Args:
            ctx: the request; the person told of gets an audit row.
            identifier: a business identifier, or a Patient of the hub's own base.
            targets: identifier systems asked for; () = every one.
        """
        residual = self._consent.residual(ctx, READ)
        async with self._db.reading() as conn:
            answer, records = await self._crossed(conn, ctx, residual, identifier, targets)
            await self._recheck(conn, ctx, records)
        persons = {answer.patient.person_id} if answer.patient else set()
        asked = f"$ihe-pix {identifier.system}|{identifier.value} {' '.join(targets)}"
        await self._record(ctx, persons, asked, [answer.patient] if answer.patient else ())
        return answer

    async def knows_domains(self, ctx: RequestContext, systems: Sequence[str]) -> bool:
        """Whether each of these authorities is one the hub's sources or visible records name."""
        residual = self._consent.residual(ctx, READ)
        async with self._db.reading() as conn:
            return all([await self._knows(conn, residual, system) for system in systems])

    async def _crossed(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        residual: Residual,
        identifier: SourceIdentifier,
        targets: Sequence[str],
    ) -> tuple[CrossReferences, Sequence[Served]]:
        if not await self._knows(conn, residual, identifier.system):
            return CrossReferences(unknown=Unknown.SOURCE_DOMAIN), ()
        strange = [
            place
            for place, system in enumerate(targets)
            if not await self._knows(conn, residual, system)
        ]
        if strange:
            unknown = Unknown.TARGET_DOMAIN
            return CrossReferences(unknown=unknown, unknown_targets=tuple(strange)), ()
        persons = await self._carriers(conn, ctx, residual, identifier)
        if len(persons) != 1:
            unknown = Unknown.AMBIGUOUS if persons else Unknown.IDENTIFIER
            return CrossReferences(unknown=unknown), ()
        (person,) = persons
        found = await self._repository.patients(conn, residual, [person])
        records = found.get(person, [])
        if not records:
            return CrossReferences(unknown=Unknown.IDENTIFIER), ()
        return self._answer(ctx, person, records, identifier, targets), records

    async def _carriers(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        residual: Residual,
        identifier: SourceIdentifier,
    ) -> set[str]:
        """The persons of the visible records that carry an identifier."""
        if identifier.system != self.base:
            carriers = await self._mpi.questions.carriers(conn, identifier)
            # With one that is nobody's, so that no carrier is looked for as long as a hidden one.
            looked_for = [*carriers, _NOBODY]
            visible = await self._repository.patient_persons(conn, residual, looked_for)
            return set(visible.values())
        named = split_reference(identifier.value)
        if named is None or named[0] != "Patient":
            return set()
        own = await self._repository.patient_persons(conn, residual, [named[1]])
        if own and await self._is_readable(conn, ctx, residual, named[1]):
            return set(own.values())
        return {named[1]} if await self._is_active(conn, named[1]) else set()

    async def _is_active(self, conn: AsyncConnection, person: str) -> bool:
        """Whether an id is a person's who stands for itself; a merged one is deprecated."""
        try:
            return await self._mpi.resolve(conn, PersonId(person)) == person
        except HieError as error:
            if error.category is not Category.NOT_FOUND:
                raise
            return False

    async def _is_readable(
        self, conn: AsyncConnection, ctx: RequestContext, residual: Residual, record: str
    ) -> bool:
        """Whether a source record is one that the caller reads by its own id."""
        served = await self._repository.read(conn, residual, "Patient", record)
        return served is not None and _reads(ctx, served)

    def _answer(
        self,
        ctx: RequestContext,
        person: str,
        records: Sequence[Served],
        asked: SourceIdentifier,
        targets: Sequence[str],
    ) -> CrossReferences:
        golden = self._golden.build(person, records)
        standing = [served for served in records if not is_retired(served)]
        carried = {pair for served in standing for pair in _pairs(served)}
        wanted = frozenset(targets)
        identifiers = tuple(
            one
            for one in json.loads(golden.body).get("identifier", ())
            if (pair := _pair(one)) in carried
            and pair != (asked.system, asked.value)
            and (not wanted or pair[0] in wanted)
        )
        own = sorted(served.id for served in standing if _reads(ctx, served))
        is_told = not wanted or self.base in wanted or bool(identifiers)
        patients = [p for p in (person, *own) if (self.base, f"Patient/{p}") != _as_pair(asked)]
        return CrossReferences(
            patient=golden,
            identifiers=identifiers,
            patients=tuple(patients) if is_told else (),
        )

    async def _knows(self, conn: AsyncConnection, residual: Residual, system: str) -> bool:
        """Whether an authority is the hub's, a source's, or one that a visible record names.

        Of authorities no source file names so many records are looked at, newest first.
        """
        if system in self._domains or system == self.base:
            return True
        before: int | None = None
        for _ in range(_LOOKS):
            page = await self._mpi.questions.in_domain(
                conn, system, before=before, limit=_LOOKED_AT
            )
            named = sorted({record for _, record in page})
            if named and await self._repository.patient_persons(conn, residual, named):
                return True
            if len(page) < _LOOKED_AT:
                return False
            before = page[-1][0]
        return False

    # What both have in common

    async def _recheck(
        self, conn: AsyncConnection, ctx: RequestContext, records: Sequence[Served]
    ) -> None:
        """Hold the records an answer is made of against the decision itself.

        Raises:
            HieError: FAULT when the SQL let something through that the decision denies.
        """
        await self._consent.recheck(conn, ctx, [facts_of(served) for served in records])

    async def _record(
        self,
        ctx: RequestContext,
        persons: Collection[str],
        asked: str,
        shown: Sequence[Served],
    ) -> None:
        detail = {"query": Description(asked[:_TOLD])}
        await self._disclosures.record(
            ctx, "E", "operation", set(persons), "Patient", detail=detail, shown=shown
        )


def unsearchable() -> HieError:
    """The refusal of a description that holds nothing to search by."""
    issue = Issue(text=_UNSEARCHABLE, code="required", expression=("Patient",))
    return HieError(Category.BUSINESS_RULE, _UNSEARCHABLE, [issue])


def _reads(ctx: RequestContext, served: Served) -> bool:
    return served.source_id in ctx.caller.sources or ctx.caller.is_steward


def _as_pair(identifier: SourceIdentifier) -> tuple[str, str]:
    return identifier.system, identifier.value


def _pair(identifier: FhirJson) -> tuple[str, str] | None:
    """(system, value) of a FHIR Identifier in use that names its authority."""
    system, value = identifier.get("system"), identifier.get("value")
    is_used = identifier.get("use") != "old"
    if isinstance(system, str) and isinstance(value, str) and is_used:
        return system, value
    return None


def facts_of(served: Served) -> ResourceFacts:
    """What the decision about consent asks of a Patient that was read."""
    return ResourceFacts(
        type="Patient",
        id=served.id,
        source_id=served.source_id,
        person_id=served.person_id,
        source_record_id=served.source_record_id,
        label_mask=served.label_mask,
        is_partial=True,
    )


def carried(served: Served) -> list[tuple[tuple[str, str], FhirJson]]:
    """The identifiers in use of a record, each with its (system, value)."""
    identifiers = json.loads(served.body).get("identifier") or ()
    return [(pair, one) for one in identifiers if (pair := _pair(one)) is not None]


def _pairs(served: Served) -> set[tuple[str, str]]:
    return {pair for pair, _ in carried(served)}


def is_retired(served: Served) -> bool:
    """Whether the source has merged this record away: its numbers are its own no more."""
    patient = json.loads(served.body)
    return patient.get("active") is False and any(
        isinstance(link, dict) and link.get("type") == "replaced-by"
        for link in patient.get("link") or ()
    )
