"""The composition root: the only place where the hub's objects are made and joined."""

import asyncio
from datetime import time as TimeOfDay  # noqa: N812 - a time of day, not the module
from functools import cache
from typing import Any

import orjson
import structlog
from aiohttp import web

from adapters.fhir.body import Limits as BodyLimits
from adapters.fhir.bundle import Planner
from adapters.fhir.plan import PlanSettings
from adapters.fhir.receive import FhirReceiver
from adapters.hl7v2.charset import codec_of
from adapters.hl7v2.conform import Conformer
from adapters.hl7v2.frame import FrameLimits
from adapters.hl7v2.http import Handler, hl7_handler
from adapters.hl7v2.intake import Hl7Intake
from adapters.hl7v2.judge import IntakeSettings, Judge
from adapters.hl7v2.mapper import Mapper
from adapters.hl7v2.maps import load_maps
from adapters.hl7v2.receive import MllpReceiver, ReceiverSettings
from adapters.hl7v2.rules import load_rules
from adapters.hl7v2.tls import TlsSettings
from adapters.journal import Journal
from adapters.sources import SourceRegistry, load_sources
from consent.evaluate import Law
from consent.labels import Labeller
from consent.repository import ConsentRepository
from consent.service import ConsentService, HubDirectory
from consent.settings import load_consent_settings
from fhir_server import outcome, routes, validate
from fhir_server.settings import FhirSettings
from hie import migrations
from hie.access import Door
from hie.audit.event import Hub as HubName
from hie.audit.repository import AuditLog
from hie.audit.sequencer import Sequencer
from hie.audit.verifier import Verifier
from hie.auth.model import Grant
from hie.auth.service import TokenService
from hie.crypto import KeyRing
from hie.db import Database
from hie.disclosure import Disclosures
from hie.flow.carry import FhirFlow
from hie.flow.directory import Directory
from hie.flow.ingest import Ingest
from hie.flow.place import Origin, Placer
from hie.flow.resolve import Resolver
from hie.flow.writer import SourceWriter
from hie.golden import GoldenPatients
from hie.jobs import Job, Jobs
from hie.kernel.clock import Clock, SystemClock
from hie.kernel.errors import HieError
from hie.kernel.ids import MessageId, SourceId
from hie.keystore import KeyStore
from hie.overview import Overview
from hie.settings import Settings
from hie.store.criteria import Criteria
from hie.store.index import SearchIndex, load_index
from hie.store.predicate import Visibility
from hie.store.repository import ResourceRepository
from hie.store.writer import ResourceWriter
from hie.web import Metrics
from hie.web import setup as setup_web
from hie.worker import Worker
from mpi.service import Mpi
from mpi.settings import load_mpi_settings
from mpi.survivorship import Survivorship

VERSION = "0.1.0"
#: Whom the hub itself writes as: organisations of the source files.
HUB_SOURCE = SourceId("hub")
STOP_SECONDS = 20.0
_log = structlog.get_logger(__name__)


class Config:
    """Everything read from config/: data, checked, with no connection open."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.config
        self.sources: SourceRegistry = load_sources(
            folder / "sources", allow_adhoc=not settings.is_production
        )
        self.index: SearchIndex = load_index(folder / "fhir")
        self.mapper = Mapper(load_maps(folder))
        for source in self.sources.all():
            self.mapper.check(source)
        self.conformer = Conformer(load_rules(folder / "hl7v2" / "conformance.toml"))
        self.conformer.rules.check(self.sources.all(), codec_of)
        self.consent = load_consent_settings(folder, settings.regime)
        self.mpi = load_mpi_settings(folder / "mpi")


class Hub:
    """One hub: services over a database, and listeners while it serves.

    `async with hub:` opens the database (and migrates it); `start` begins to listen and to
    work; leaving the block stops both, in-flight messages first.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.config = Config(settings)
        self._is_key_file_new = not settings.key_file.exists()
        self.ring = KeyRing.load_or_create(settings.key_file)
        self.db = Database(settings.database_url, self.clock)
        self.keys = KeyStore(self.db, self.ring)
        self._join_store()
        self._join_flow()
        self._join_edges()

    def _join_store(self) -> None:
        config, index = self.config, self.config.index
        self.directory = Directory(self.ring, config.sources)
        self.labeller = Labeller(config.consent.sensitivity)
        self.consent = ConsentService(
            Law(config.consent),
            ConsentRepository(self.db, index.type_id, index.type_name),
            HubDirectory(self.directory.identified, self.directory.sources_of),
        )
        security = _security(self.labeller)
        self.repository = ResourceRepository(
            self.keys,
            index,
            Visibility({name: index.type_id(name) for name in index.types}),
            Criteria(index, self.ring),
            security,
        )
        self.writer = ResourceWriter(
            self.db,
            self.keys,
            self.ring,
            index,
            lambda coding: self.labeller.table.knows([coding]),
        )
        self.mpi = Mpi(self.db, self.ring, self.keys, config.mpi)
        self.golden = GoldenPatients(
            self.repository, index, Survivorship(config.mpi.survivorship), security
        )
        base = f"http://{self.settings.listen.host}:{self.settings.listen.http_port}/fhir"
        self.audit = AuditLog(self.db, self.keys, HubName(address=base))
        heads = self.settings.home / "audit" / "heads.jsonl"
        signing = self.ring.audit_signing_key()
        self.sequencer = Sequencer(self.db, signing, heads)
        self.verifier = Verifier(self.db, signing.public_key(), heads)
        self.disclosures = Disclosures(self.db, self.audit, self.clock)
        self.door = Door(
            self.db, self.repository, self.consent, self.mpi, self.golden, self.disclosures
        )
        self.tokens = TokenService(self.db, self.audit, self.directory, self.clock)

    def _join_flow(self) -> None:
        config = self.config
        self.journal = Journal(self.db, self.ring, self.keys, self.clock)
        self.placer = Placer(
            self.mpi,
            self.labeller,
            config.index,
            self.repository,
            self.writer,
            self.consent,
        )
        ingest = Ingest(
            config.sources,
            config.mapper,
            self.placer,
            self.journal,
            self.audit,
            self.keys,
            self.ring,
            config.index,
            self.directory,
            self.clock,
        )
        self.worker = Worker(self.db, self.journal, ingest)
        self.journal.on_written = self.worker.notify
        resolver = Resolver(
            self.repository, self.writer, config.index, self.mpi, self.directory, self.ring
        )
        self._carry = FhirFlow(
            self.db,
            config.sources,
            self.placer,
            resolver,
            self.repository,
            self.writer,
            self.journal,
            self.audit,
            validate.validate,
            outcome.refusal,
            self.clock,
        )
        self.overview = Overview(self.db, self.journal, self.mpi, self.repository, self.verifier)

    def _join_edges(self) -> None:
        settings = self.settings
        judge = Judge(
            self.config.sources,
            self.config.conformer,
            self.config.mapper.supports,
            IntakeSettings(
                message_bytes=settings.limits.message_bytes,
                processing_ids=frozenset("P" if settings.is_production else "PTD"),
            ),
        )
        self.intake = Hl7Intake(judge, self.journal, self.clock)
        self.receivers: list[MllpReceiver] = [
            MllpReceiver(self.intake, self._receiver_settings(settings.listen.mllp_port, None))
        ]
        if settings.tls.certificate:
            tls = TlsSettings(
                certificate=settings.tls.certificate,
                private_key=settings.tls.private_key,
                authorities=settings.tls.client_authorities,
            )
            self.receivers.append(
                MllpReceiver(self.intake, self._receiver_settings(settings.listen.mllps_port, tls))
            )
        self.metrics = Metrics()
        self.jobs = Jobs(
            [
                Job("audit-chain", 1.0, self._chain, 30.0),
                Job("mpi-learn", TimeOfDay(hour=3), self._learn, 3600.0),
                Job("token-expiry", TimeOfDay(hour=4), self.tokens.forget_expired, 60.0),
            ],
            self.metrics,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        self.http_port = settings.listen.http_port

    def _receiver_settings(self, port: int, tls: TlsSettings | None) -> ReceiverSettings:
        limits = self.settings.limits
        return ReceiverSettings(
            host=self.settings.listen.host,
            port=port,
            tls=tls,
            limits=FrameLimits(payload_bytes=limits.message_bytes),
            connections=limits.connections,
            idle_seconds=limits.idle_seconds,
        )

    async def _chain(self) -> None:
        await self.sequencer.chain(self.clock.now_us())

    async def _learn(self) -> None:
        async with self.db.transaction() as conn:
            await self.mpi.learn(conn)

    async def __aenter__(self) -> "Hub":
        await migrations.upgrade(self.db)
        if self._is_key_file_new:
            await self.keys.refuse_lost(self.settings.key_file)
        async with self.db.reading() as conn:
            for source_id in await self.journal.sources(conn):
                self.directory.learn(source_id)
        async with self.db.transaction() as conn:
            await self.mpi.start(conn, now_us=self.clock.now_us())
        await self._keep_organizations()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await self.disclosures.close()
        await self.journal.close()
        await self.db.close()

    async def _keep_organizations(self) -> None:
        """One Organization per identifier of the source files, as the files say now."""
        origin = Origin(source_id=HUB_SOURCE, message_id=MessageId(0), now_us=self.clock.now_us())
        async with self.db.transaction() as conn:
            await self.placer.place(conn, origin, self.directory.placements())

    async def issue_token(
        self,
        *,
        scope: str,
        organization: str = "",
        purpose: str = "TREAT",
        patient: str = "",
        user: str = "",
        ttl_seconds: int = 3600,
    ) -> str:
        """A bearer token, stored and audited.

        Raises:
            HieError: INVALID or NOT_FOUND; nothing was issued.
        """
        grant = Grant(
            scopes=scope,
            organization=organization,
            purpose=purpose,
            patient=patient,
            user=user,
            ttl_seconds=ttl_seconds,
        )
        async with self.db.transaction() as conn:
            return (await self.tokens.issue(conn, grant)).bearer

    async def start(self) -> None:
        """Listen, work off what waits, run the jobs.

        Raises:
            HieError, OSError: a port is taken or a certificate cannot be read; nothing runs.
        """
        for receiver in self.receivers:
            await receiver.start()
        await self._start_http()
        self._tasks = [asyncio.create_task(self.worker.run(), name="worker")]
        self.worker.notify()
        self.jobs.start()
        _log.info("hub.started", http_port=self.http_port, mllp_port=self.receivers[0].port)

    async def stop(self) -> None:
        """Stop listening, finish what is in flight, stop working; may be called twice."""
        for receiver in self.receivers:
            await receiver.stop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self.worker.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
            self._tasks = []
            await self.jobs.stop()
            await self.sequencer.close(self.clock.now_us())
            _log.info("hub.stopped")

    async def _start_http(self) -> None:
        settings = self.settings
        app = web.Application(client_max_size=settings.limits.body_bytes)
        base = f"http://{settings.listen.host}:{self.http_port}/fhir"
        planner = Planner(
            PlanSettings(
                bases=(base,),
                types=frozenset(self.config.index.types),
                limits=BodyLimits(body_bytes=settings.limits.body_bytes),
            )
        )
        receiver = FhirReceiver(self.journal, planner, self._carry)
        routes.setup(
            app,
            door=self.door,
            writer=SourceWriter(receiver, base),
            token_checker=self.tokens,
            index=self.config.index,
            settings=FhirSettings(
                base_url=base,
                default_count=settings.limits.search_count,
                max_count=settings.limits.search_count_max,
                max_body_bytes=settings.limits.body_bytes,
                software_version=VERSION,
            ),
            clock=self.clock,
            sealer=self.ring.sealing_key("cursor"),
            watcher=self.disclosures,
        )
        handler = hl7_handler(self.intake, message_bytes=settings.limits.message_bytes)
        app.router.add_post("/hl7v2", self._with_token(handler))
        setup_web(app, self.metrics, {"database": self._check_database})
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, settings.listen.host, self.http_port)
        await site.start()

    def _with_token(self, handler: Handler) -> Handler:
        """In production a message over HTTP needs a bearer token: MSH alone proves nobody."""

        async def handle(request: web.Request) -> web.Response:
            _, _, bearer = request.headers.get("Authorization", "").partition(" ")
            try:
                await self.tokens.check(bearer)
            except HieError:
                text = "expected a bearer token of a registered source\n"
                return web.Response(status=401, text=text, headers={"WWW-Authenticate": "Bearer"})
            return await handler(request)

        return handle if self.settings.is_production else handler

    async def _check_database(self) -> bool:
        async with self.db.reading() as conn:
            await self.journal.backlog(conn)
        return all(not task.done() for task in self._tasks)


def _security(labeller: Labeller) -> Any:
    """Label mask to the codings of `meta.security`, JSON joined by commas; kept per mask."""

    @cache
    def codings(mask: int) -> bytes:
        return b",".join(orjson.dumps(coding) for coding in labeller.codings(mask))

    return codings
