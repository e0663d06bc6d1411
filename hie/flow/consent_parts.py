"""What the consent desk, its list and its receipts work with, handed in once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.validation_policy import Verdict
from consent.labels import Labeller
from consent.model import Directive
from consent.service import ConsentService
from hie.audit.repository import AuditLog
from hie.consents.repository import ActRepository
from hie.crypto import KeyRing
from hie.db import Database
from hie.disclosure import Disclosures
from hie.flow.directory import Directory
from hie.flow.place import Placer
from hie.flow.privacy import PrivacyFields
from hie.flow.verification import Verifications
from hie.kernel.clock import Clock
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId
from hie.store.index import SearchIndex
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual
from hie.tasks.service import Tasks
from mpi.service import Mpi

#: Why a Consent that its own status ended has no rules.
_OVER: Final = frozenset({"not-active"})
#: Judges the structure of a resource; `fhir_server.judge`, handed in by services.py.
Judge = Callable[[FhirJson, str], Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The collaborators."""

    db: Database
    ring: KeyRing
    clock: Clock
    mpi: Mpi
    index: SearchIndex
    consent: ConsentService
    repository: ResourceRepository
    placer: Placer
    privacy: PrivacyFields
    audit: AuditLog
    disclosures: Disclosures
    acts: ActRepository
    verifications: Verifications
    tasks: Tasks
    directory: Directory
    labeller: Labeller
    verdict: Judge
    bases: tuple[str, ...] = ()

    def reads(self, consent_id: str, version: int, resource: FhirJson) -> Directive:
        """What the decision reads in a Consent that somebody verified."""
        draft = Draft(consent_id, version, "", resource)
        return self.consent.directive(draft, is_verified=True)

    def is_over(self, consent: FhirJson) -> bool:
        """Whether a Consent's own status says that it does not hold."""
        return self.reads("", 1, consent).ignored in _OVER

    async def body(self, conn: AsyncConnection, person: PersonId, consent_id: str) -> bytes:
        """A Consent as the patient is served it; for whoever puts that on record."""
        own = Residual(self_person=person)
        served = await self.repository.read(conn, own, "Consent", consent_id)
        return served.body if served else b""


@dataclass(frozen=True, slots=True)
class Draft:
    """A Consent as the decision reads one, stored or not."""

    id: str
    version: int
    source_id: str
    resource: FhirJson
