"""The hub without its listeners: what serves, works and is asked by commands, made and joined."""

from functools import cache
from typing import Any, Self

import orjson

from adapters.domains import Domains
from adapters.hl7v2.deferred import AcknowledgementMaker
from adapters.journal import Journal
from adapters.queue import Queue
from consent.evaluate import Law
from consent.labels import Labeller
from consent.notices import Stamp
from consent.repository import ConsentRepository
from consent.service import ConsentService, HubDirectory
from fhir_server import outcome, validate
from fhir_server.judge import Judge
from fhir_server.search.condition import understanding
from hie import migrations
from hie.access import Door
from hie.audit.event import Hub as HubName
from hie.audit.repository import AuditLog
from hie.audit.sequencer import Sequencer
from hie.audit.verifier import Verifier
from hie.auth.model import Grant
from hie.auth.service import TokenService
from hie.config import Config
from hie.corrections.repository import NoticeRepository
from hie.crypto import KeyRing
from hie.db import Database
from hie.disclosure import Disclosures
from hie.emergencies.holding import Holding
from hie.feeds.partial import PartialNotices
from hie.feeds.watch import SourceWatch
from hie.flow.answer import FhirWire
from hie.flow.asked import Askers, QueryReader
from hie.flow.assignment import Assignments
from hie.flow.care import IndexCare
from hie.flow.carry import FhirFlow
from hie.flow.casework import Casework
from hie.flow.codes import CodeTasks
from hie.flow.consent_office import ConsentOffice
from hie.flow.corrections import Corrections
from hie.flow.deciding import Deciding
from hie.flow.desk import Desk
from hie.flow.directory import Directory
from hie.flow.erasure import erasure_of
from hie.flow.feed import IdentityFeed
from hie.flow.figures import IdentityFigures
from hie.flow.humans import Humans
from hie.flow.ingest import Ingest
from hie.flow.labelling import Labelling
from hie.flow.memory import Memory
from hie.flow.moves import SourceMoves
from hie.flow.overlays import OverlayDecisions
from hie.flow.place import Placer
from hie.flow.placement import Origin
from hie.flow.privacy import PrivacyFields
from hie.flow.relabel import Relabel
from hie.flow.replay import Replay
from hie.flow.resolve import Resolver
from hie.flow.stewards import Stewards
from hie.flow.takeback import TakeBack
from hie.glance import Glances
from hie.golden import GoldenPatients
from hie.identities import Identities
from hie.kernel.clock import Clock, SystemClock
from hie.kernel.ids import MessageId, SourceId
from hie.key_provider import provider_of
from hie.keystore import KeyStore
from hie.overview import Overview
from hie.proxies.standins import StandIns
from hie.record import Records
from hie.searching import Searches
from hie.settings import Settings
from hie.sight import Sight
from hie.store.changes import Changes
from hie.store.charts import Charts
from hie.store.criteria import Criteria
from hie.store.marks import Marks
from hie.store.moved import MoveLog
from hie.store.predicate import Visibility, visibility_of
from hie.store.rebuild import IndexRebuild
from hie.store.repository import ResourceRepository
from hie.store.writer import ResourceWriter
from hie.subscriptions.changes import ChangeLog
from hie.subscriptions.repository import SubscriptionBook, forget_patient
from hie.tasks.service import Tasks
from hie.translations.service import Translations
from hie.worker import Worker
from mpi.service import Mpi
from mpi.survivorship import Survivorship

#: Whom the hub itself writes as: organisations of the source files.
HUB_SOURCE = SourceId("hub")


class Services:
    """What a hub does over its database, without a listener; the commands of `hie` use it.

    `async with services:` opens the database and brings it to this version's schema; leaving
    the block writes what is waiting and closes it.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock | None = None,
        config: Config | None = None,
        tag: int | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        # What was read once may serve several hubs: only the mapper learns.
        self.config = config or Config(settings)
        self.mapper = self.config.mapper.fresh()
        self.ring = KeyRing(provider_of(settings.key_provider, settings.key_file))
        self.db = Database(settings.database_url, self.clock, tag)
        self.keys = KeyStore(self.db, self.ring)
        self._join_store()
        self._join_queries()
        self._join_placer()
        self._join_journal()
        self._join_flow()

    def _join_store(self) -> None:
        config, index = self.config, self.config.index
        self.directory = Directory(self.ring, config.sources)
        self.labeller = Labeller(config.consent.sensitivity)
        self.consent = ConsentService(
            Law(config.consent),
            ConsentRepository(self.db, index.type_id, index.type_name),
            HubDirectory(self.directory.identified, self.directory.sources_of),
            attests=config.sources.attests,
        )
        stamp = Stamp(self.labeller.table, self.consent.law)
        security = _security(stamp)
        visibility = visibility_of(index)
        self.repository = ResourceRepository(
            self.keys,
            index,
            visibility,
            Criteria(index, self.ring, stamp.asked),
            security,
            config.masking,
        )
        self.consent.look_up = self.repository.load
        self.writer = ResourceWriter(self.db, self.keys, self.ring, index, stamp.is_ours)
        self.mpi = Mpi(self.db, self.ring, self.keys, config.mpi)
        self.golden = GoldenPatients(
            self.repository, index, Survivorship(config.mpi.survivorship), security
        )
        self._join_readers(visibility)

    def _join_readers(self, visibility: Visibility) -> None:
        """The doors to patient data, and the trail of who passed them."""
        index = self.config.index
        self.audit = AuditLog(self.db, self.keys, HubName(address=self.settings.listen.fhir))
        heads = self.settings.home / "audit" / "heads.jsonl"
        signing = self.ring.audit_signing_key()
        self.sequencer = Sequencer(self.db, signing, heads)
        self.verifier = Verifier(self.db, signing.public_key(), heads)
        grounds = self.consent.grounds.told
        self.disclosures = Disclosures(self.db, self.audit, self.clock, grounds)
        self.sight = sight = Sight(self.repository, self.consent, self.mpi, self.golden)
        searches = Searches(self.repository, self.golden, index, sight.current)
        self.door = Door(
            self.db, self.repository, sight, searches, self.disclosures, self.writer.aliases
        )
        charts = Charts(index, visibility, self.repository)
        self.records = Records(
            self.db, self.repository, charts, searches, sight, self.golden, self.disclosures
        )
        self.identities = Identities(
            self.db,
            self.repository,
            self.consent,
            self.mpi,
            self.golden,
            self.disclosures,
            domains=self.config.sources.domains(),
            base=self.settings.listen.fhir,
        )

    def _join_queries(self) -> None:
        """Who asks, and what HL7 v2 askers are told."""
        config = self.config
        self.stand_ins = StandIns(config.proxies, Humans(self.repository))
        holding = Holding(config.consent.purposes.needs_reason, self.directory.breaks_glass)
        self.tokens = TokenService(
            self.db, self.audit, self.directory, self.clock, self.stand_ins, emergencies=holding
        )
        self.domains = Domains(config.sources)
        self.askers = Askers(self.directory)
        self.queries = QueryReader(
            self.askers,
            self.door,
            self.identities,
            config.index,
            self.clock,
            self.ring.sealing_key("query"),
            notices=self.consent.carried.issues,
            pointer_seconds=config.queries.limits.pointer_seconds,
        )

    def _join_placer(self) -> None:
        config = self.config
        rows, now_us = self.writer.rows, self.clock.now_us
        self.rebuild = IndexRebuild(self.db, config.index, self.repository, rows, now_us)
        marks = Marks(self.keys, config.index)
        self.labelling = Labelling(self.labeller, marks, config.index)
        self.relabel = Relabel(
            self.db, self.labelling, marks, config.index, now_us, self.consent.heed
        )
        self.placer = Placer(
            self.mpi,
            self.labelling,
            config.index,
            self.repository,
            self.writer,
            self.consent,
            Memory(self.repository, Changes(self.keys, config.index), config.lifecycles),
            self.tokens.revoke_of,
        )
        self.glances = Glances(self.repository, self.sight, self.golden, self.disclosures)
        self.subscriptions = SubscriptionBook(self.db, self.keys)
        self.changes = ChangeLog(self.db, self.subscriptions, config.topics)
        self.placer.on_changed = self.changes.keep

    def _join_journal(self) -> None:
        """The journal, and the tasks that staff have about its messages."""
        config = self.config
        self.journal = Journal(self.db, self.ring, self.keys, self.clock)
        # Whoever works a message off, a command too, queues what its sender wants to be told.
        self.journal.outbox.make = AcknowledgementMaker(config.sources, self.clock).make
        self.replay = Replay(self.db, self.journal.replays, self.audit, self.clock)
        self.tasks = Tasks(self.db, self.ring, self.keys)
        self.codes = CodeTasks(
            self.tasks,
            Translations(self.db, self.ring, self.keys),
            self.mapper,
            config.terminology,
            self.replay,
            self.audit,
            self.clock,
        )
        self.desk = Desk(self.tasks, self.codes, self.replay, self.mpi, self.audit, self.clock)

    def _join_flow(self) -> None:
        config = self.config
        log = MoveLog(config.index)
        corrections = Corrections(self.mpi, self.audit, NoticeRepository(self.db))
        self.moves = SourceMoves(
            self.mpi, self.placer, self.repository, log, corrections, self.ring
        )
        self.takeback = TakeBack(
            self.mpi, self.placer, self.repository, log, corrections, self.audit
        )
        deciding = Deciding(
            self.mpi,
            self.placer,
            self.takeback,
            OverlayDecisions(self.mpi, self.placer, self.repository, log),
            self.repository,
            corrections,
            self.audit,
        )
        self.stewards = Stewards(
            self.db, self.mpi, deciding, self.golden, corrections, self.audit, self.clock
        )
        self._join_staff()
        privacy = PrivacyFields(self.labeller, config.index, self.repository, self.tasks, self.ring)
        self.ingest = Ingest(
            config.sources,
            self.mapper,
            self.placer,
            self.moves,
            self.journal,
            self.audit,
            self.keys,
            self.ring,
            config.index,
            self.directory,
            self.codes,
            config.sensitivity,
            privacy,
            self.clock,
        )
        queue = Queue(self.db, self.journal)
        self.worker = Worker(self.db, self.journal, queue, self.ingest)
        self.journal.on_written = self.worker.notify
        self._join_fhir(log, privacy)
        self.watch = SourceWatch(self.db, config.sources, self.tasks, self.clock)
        self.partial = PartialNotices(
            self.db, config.sources, self.consent, self.labeller, self.clock
        )
        self.care = IndexCare(self.db, self.mpi, self.clock)
        self.overview = Overview(self.db, self.journal, self.mpi, self.repository, self.verifier)

    def _join_fhir(self, log: MoveLog, privacy: PrivacyFields) -> None:
        """What carries out the writes that come as FHIR."""
        config = self.config
        self.judge = Judge(config.profiles, config.vocabulary, config.sources)
        resolver = Resolver(
            self.repository,
            self.writer,
            config.index,
            self.mpi,
            self.directory,
            self.ring,
            understanding(config.index),
        )
        self.carry = FhirFlow(
            self.db,
            config.sources,
            self.placer,
            resolver,
            self.repository,
            self.writer,
            self.journal,
            self.audit,
            privacy,
            FhirWire(
                validate=self.judge.verdict,
                refuse=outcome.refusal,
                tell=outcome.operation_outcome,
                elements=validate.elements,
            ),
            IdentityFeed(self.mpi, self.moves, self.takeback, self.repository, log, config.sources),
            self.clock,
            self.settings.listen.bases,
        )
        self.office = ConsentOffice(self, privacy)

    def _join_staff(self) -> None:
        """What stewards look at and do short of deciding."""
        self.casework = Casework(
            self.db,
            self.mpi,
            self.ring,
            self.keys,
            self.consent,
            self.repository,
            self.golden,
            self.disclosures,
            self.audit,
        )
        self.assignments = Assignments(self.db, self.keys, self.audit)
        self.figures = IdentityFigures(self.db, self.mpi, self.clock)
        key_file, revoke = self.settings.key_file, self.tokens.revoke_of
        self.erasure = erasure_of(self, self.config.index, revoke, key_file, forget_patient)

    async def __aenter__(self) -> Self:
        await migrations.upgrade(self.db)
        await self.keys.refuse_lost()
        await self.erasure.again(self.clock.now_us())
        async with self.db.reading() as conn:
            for source_id in await self.journal.sources(conn):
                self.directory.learn(source_id)
        async with self.db.transaction() as conn:
            await self.db.serialize(conn, "start")
            await self.mpi.start(conn, now_us=self.clock.now_us())
            await self.rebuild.start(conn)
            await self.relabel.start(conn)
        await self._keep_organizations()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disclosures.close()
        await self.journal.close()
        await self.db.close()

    async def _keep_organizations(self) -> None:
        """One Organization per identifier of the source files, as the files say now."""
        origin = Origin(source_id=HUB_SOURCE, message_id=MessageId(0), now_us=self.clock.now_us())
        async with self.db.transaction() as conn:
            await self.db.serialize(conn, "start")
            await self.placer.place(conn, origin, self.directory.placements())

    async def issue_token(self, *, scope: str, **terms: Any) -> str:
        """A bearer token, stored and audited; `terms` are those of `hie.auth.model.Grant`.

        Raises:
            HieError: INVALID or NOT_FOUND; nothing was issued.
        """
        async with self.db.transaction() as conn:
            return (await self.tokens.issue(conn, Grant(scopes=scope, **terms))).bearer


def _security(stamp: Stamp) -> Any:
    """Label mask to the codings of `meta.security`, JSON joined by commas; kept per mask."""

    @cache
    def codings(mask: int) -> bytes:
        return b",".join(orjson.dumps(coding) for coding in stamp.codings(mask))

    return codings
