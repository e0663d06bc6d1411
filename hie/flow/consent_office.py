"""Consent management joined: what patients and staff do about Consents, over the store."""

from collections.abc import Mapping
from typing import Protocol

from adapters.fhir.body import Limits
from adapters.validation_policy import Verdict
from consent.labels import Labeller
from consent.service import ConsentService
from hie.audit.repository import AuditLog
from hie.consents.forms import Form
from hie.consents.plain import PlainWords
from hie.consents.repository import ActRepository
from hie.crypto import KeyRing
from hie.db import Database
from hie.disclosure import Disclosures
from hie.flow.consent_expiry import ConsentExpiry
from hie.flow.consent_list import ConsentList
from hie.flow.consent_parts import Parts
from hie.flow.consent_questions import ConsentQuestions
from hie.flow.consent_staff import StaffConsents
from hie.flow.consent_verdicts import ConsentVerdicts
from hie.flow.consent_wire import PatientConsents
from hie.flow.consents import ConsentDesk
from hie.flow.directory import Directory
from hie.flow.place import Placer
from hie.flow.privacy import PrivacyFields
from hie.flow.receipts import Receipts
from hie.flow.verification import Verifications
from hie.kernel.clock import Clock
from hie.kernel.fhir import FhirJson
from hie.keystore import KeyStore
from hie.store.index import SearchIndex
from hie.store.repository import ResourceRepository
from hie.tasks.service import Tasks
from mpi.service import Mpi


class Addresses(Protocol):
    """What of the settings of a hub says where it is reached."""

    @property
    def bases(self) -> tuple[str, ...]:
        """Its FHIR base addresses."""
        ...


class Settings(Protocol):
    """The settings of a hub (`hie.settings`)."""

    @property
    def listen(self) -> Addresses:
        """Where it is reached."""
        ...


class Config(Protocol):
    """What a hub read from `config/` (`hie.config`)."""

    @property
    def index(self) -> SearchIndex:
        """What is searched by."""
        ...

    @property
    def plain(self) -> PlainWords:
        """Consents in plain words."""
        ...

    @property
    def forms(self) -> Mapping[str, Form]:
        """Consent forms by name."""
        ...


class Judge(Protocol):
    """Judges resources (`fhir_server.judge`)."""

    def verdict(self, resource: FhirJson, source_id: str) -> Verdict:
        """What is wrong with a resource."""
        ...


class Hub(Protocol):
    """What a hub has that consent management works with (`hie.services`)."""

    db: Database
    ring: KeyRing
    keys: KeyStore
    clock: Clock
    mpi: Mpi
    consent: ConsentService
    repository: ResourceRepository
    placer: Placer
    audit: AuditLog
    disclosures: Disclosures
    tasks: Tasks
    directory: Directory
    labeller: Labeller

    @property
    def settings(self) -> Settings:
        """Its settings."""
        ...

    @property
    def config(self) -> Config:
        """What it read."""
        ...

    @property
    def judge(self) -> Judge:
        """Says what is wrong with a resource."""
        ...


class ConsentOffice:
    """The desk, the patients' way to it, and who verifies."""

    def __init__(self, hub: Hub, privacy: PrivacyFields) -> None:
        acts = ActRepository(hub.db, hub.keys)
        self.verifications = Verifications(acts, hub.consent, hub.tasks, hub.ring)
        hub.placer.verification = self.verifications
        self.parts = Parts(
            db=hub.db,
            ring=hub.ring,
            clock=hub.clock,
            mpi=hub.mpi,
            index=hub.config.index,
            consent=hub.consent,
            repository=hub.repository,
            placer=hub.placer,
            privacy=privacy,
            audit=hub.audit,
            disclosures=hub.disclosures,
            acts=acts,
            verifications=self.verifications,
            tasks=hub.tasks,
            directory=hub.directory,
            labeller=hub.labeller,
            verdict=hub.judge.verdict,
            bases=hub.settings.listen.bases,
        )
        self.desk = ConsentDesk(self.parts)
        self.verdicts = ConsentVerdicts(self.parts, self.desk)
        self.patients = PatientConsents(self.parts, self.desk, self.verdicts, Limits())
        self.list = ConsentList(self.parts, hub.config.plain)
        self.staff = StaffConsents(self.parts, self.desk, hub.config.forms)
        self.questions = ConsentQuestions(self.parts, self.list, self.staff, hub.config.plain)
        self.receipts = Receipts(self.parts, hub.config.plain)
        self.expiry = ConsentExpiry(self.parts)
