"""The hub: its services behind listeners, with workers and jobs."""

import asyncio
from collections.abc import Iterator
from datetime import time as TimeOfDay  # noqa: N812 - a time of day, not the module
from enum import StrEnum
from pathlib import Path

import structlog
from sqlalchemy.exc import DBAPIError

from adapters.drop import DropFolder, DropSettings
from hie.alerting import Alerting
from hie.audit.syslog import HeadsSyslog
from hie.config import Config
from hie.exporting import Exporting
from hie.flow.rebuild import rules_of
from hie.jobs import Job, Jobs
from hie.kernel.clock import Clock
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import SourceId
from hie.listening import Wires
from hie.proxying import Proxying
from hie.services import Services
from hie.serving import Site
from hie.settings import Settings
from hie.staff import gauges
from hie.subscribing import Subscribing
from hie.telling import Telling
from hie.web import Metrics

STOP_SECONDS = 20.0
#: How soon a silent source is seen, and one that spoke again.
WATCH_SECONDS = 15.0
#: How soon stored records begin to be brought to a new version's form; a look where they are.
RENEW_SECONDS = 60.0
#: How old the figures of the index are that Prometheus reads.
FIGURES_SECONDS = 300.0
#: How soon an export's list is deleted once it expired or was taken away.
TIDY_SECONDS = 300.0
#: How soon a linkage model that was activated decides in this process.
MODEL_SECONDS = 3.0
#: A rebuild of the search index is begun, or gone on with, within so long.
REINDEX_SECONDS = 5.0
#: How soon this process lets go of keys that another one destroys (`hie.flow.erasure`).
KEYS_SECONDS = 1.0
#: How soon a receipt of a Consent is made, once it may be.
RECEIPT_SECONDS = 5.0
_log = structlog.get_logger(__name__)


class Role(StrEnum):
    """What one process of a hub does; one that does everything needs no other."""

    RECEIVE = "receive"  # MLLP, HL7 v2 over HTTP, drop folders: journal and answer
    WORKER = "worker"  # map, identify, store; the jobs
    API = "api"  # FHIR


class Hub(Services):
    """One hub: services behind listeners.

    `async with hub:` opens the database (and migrates it); `start` begins to listen and to
    work; leaving the block stops both, in-flight messages first.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock | None = None,
        roles: frozenset[Role] = frozenset(Role),
        config: Config | None = None,
        tag: int | None = None,
    ) -> None:
        """Join everything; nothing is opened yet.

        Args:
            settings: what the hub is told from outside.
            clock: the machine's, unless told otherwise.
            roles: what this process does.
            config: what `config/` says, where it was read before.
            tag: of this process in primary keys (`hie.db.KeySource`); None = drawn.

        Raises:
            HieError: INVALID when the work is to be split and the database is SQLite.
        """
        super().__init__(settings, clock, config, tag)
        if roles != frozenset(Role) and self.db.is_sqlite:
            text = (
                "`--role`: SQLite has one `hie serve` process; set `HIE_DATABASE_URL` to a "
                "PostgreSQL database (postgresql+asyncpg://...) to split its work"
            )
            raise HieError(Category.INVALID, text)
        self._roles = roles
        self._join_edges()

    async def __aexit__(self, *error: object) -> None:
        await self.stop()
        await super().__aexit__(*error)

    def _join_edges(self) -> None:
        self.metrics = Metrics()
        self._send_heads()
        self.wires = Wires(self, self.metrics)
        self.subscribing = Subscribing(self, self.metrics)
        self.exporting = Exporting(self, self.metrics)
        self.proxying = Proxying(self)
        beside = self.subscribing.publisher.identities
        self.telling = Telling(self, self.metrics, beside=beside)
        self.alerting = Alerting(self, self.metrics)
        self.intake = self.wires.intake
        self.receivers = self.wires.receivers
        self.relabel.begins = True
        self.jobs = Jobs(self._schedule(), self.metrics)
        self.drops = [DropFolder(self.intake, found) for found in self._drop_settings()]
        self._measure_feeds()
        self._tasks: list[asyncio.Task[None]] = []
        self._watching: list[asyncio.Task[None]] = []
        self.site = Site(
            self,
            self.intake,
            self.wires.gate,
            self.metrics,
            self._is_working,
            self.subscribing,
            self.exporting.desk,
            self.proxying,
            has_api=Role.API in self._roles,
            has_intake=Role.RECEIVE in self._roles,
        )

    def _schedule(self) -> list[Job]:
        """Which work runs when."""
        return [
            Job("audit-chain", 1.0, self._chain, 30.0),
            Job("source-watch", WATCH_SECONDS, self.watch.look, 30.0),
            Job("mpi-learn", TimeOfDay(hour=3), self.care.learn, 3600.0),
            Job("mpi-renew", RENEW_SECONDS, self._renew, 7200.0),
            Job("mpi-duplicates", TimeOfDay(hour=1), self._search, 7200.0),
            Job("acknowledgements", TimeOfDay(hour=4), self.wires.tidy, 60.0),
            Job("notices", TimeOfDay(hour=4), self.telling.tidy, 60.0),
            Job("subscriptions", TimeOfDay(hour=4), self.subscribing.tidy, 60.0),
            Job("proxy-birthdays", TimeOfDay(hour=6), self.proxying.birthdays.tell, 600.0),
            Job("exports", TIDY_SECONDS, self.exporting.tidy, 600.0),
            Job("identity-figures", FIGURES_SECONDS, self.figures.refresh, 300.0),
            Job("staff-requests", TimeOfDay(hour=4), self._forget_requests, 60.0),
            Job("search-index", REINDEX_SECONDS, self._reindex, 300.0),
            Job("relabel", REINDEX_SECONDS, self._label_again, 300.0),
            Job("consent-receipts", RECEIPT_SECONDS, self.office.receipts.work, 60.0),
            Job("consent-expiry", 3600.0, self.office.expiry.work, 300.0),
            Job("keys", KEYS_SECONDS, self._follow_keys, 30.0),
            Job("token-expiry", TimeOfDay(hour=4), self.tokens.forget_expired, 60.0),
        ]

    def _send_heads(self) -> None:
        """Signed heads of the audit trail go to a syslog, too, where one is named."""
        out, sequencer = self.settings.audit, self.sequencer
        if out.syslog is not None:
            key = self.ring.audit_signing_key().public_key()
            sequencer.syslog = HeadsSyslog(out.syslog, out.trust, key)
        text = "Whether the syslog for signed audit heads cannot be reached."
        self.metrics.gauge("hie_audit_syslog_down", text, lambda: int(sequencer.unsent is not None))

    def _measure_feeds(self) -> None:
        """Count unmapped codes and silent sources, by names of the hub's own."""
        unmapped = self.metrics.counter(
            "hie_unmapped_codes_total",
            "Codes that no concept map knows, once a message and code.",
            "source",
            "concept_map",
        )
        self.codes.on_counted = unmapped.inc
        late = self.metrics.counter("hie_source_late_total", "Times a source was late.", "source")
        self.watch.on_late = late.inc
        gauges.register(self.metrics, self.figures)
        text = "Sources silent for longer than they said."
        self.metrics.gauge("hie_late_sources", text, lambda: len(self.watch.late()))
        text = "Resources that wait to be labelled by the lists of today."
        self.metrics.gauge("hie_relabel_waiting", text, lambda: self.relabel.last.waiting)
        text = "How long the oldest of them has been waiting."
        lag = self.relabel.lag_seconds
        self.metrics.gauge("hie_relabel_lag_seconds", text, lag)

    def _drop_settings(self) -> Iterator[DropSettings]:
        """The hub's own drop folder and those of the sources."""
        drop, file_bytes = self.settings.drop, self.settings.limits.batch_bytes
        folders: list[tuple[Path, SourceId | None]] = [
            (Path(source.drop_folder), source.id)
            for source in self.config.sources.all()
            if source.drop_folder
        ]
        if drop.folder:
            folders.append((drop.folder, None))
        for folder, owner in folders:
            yield DropSettings(
                folder=folder, source_id=owner, seconds=drop.seconds, file_bytes=file_bytes
            )

    async def _chain(self) -> None:
        await self.sequencer.chain(self.clock.now_us())

    async def _search(self) -> None:
        done = await self.care.duplicates(self.settings.limits.duplicates_a_night)
        _log.info("mpi.searched", count=done.asked)

    async def _renew(self) -> None:
        done = await self.care.renew()
        if done.changed:
            _log.info("mpi.renewed", count=done.changed)

    async def _follow_keys(self) -> None:
        async with self.db.reading() as conn:
            await self.keys.follow(conn)

    async def _reindex(self) -> None:
        # No longer than the hub may wait for when it stops.
        done = await self.rebuild.work(REINDEX_SECONDS)
        if done.is_over and done.total:
            _log.info("search.reindexed", count=done.total)

    async def _label_again(self) -> None:
        before = self.relabel.last
        done = await self.relabel.work(REINDEX_SECONDS)
        if done.is_over and not before.is_over:
            _log.info("labels.renewed", count=done.total)

    async def _forget_requests(self) -> None:
        await self.site.once.forget_old()

    async def start(self) -> None:
        """Listen, work off what waits, run the jobs.

        Before anything is served the rules of Consents are brought up to what they mean today.

        Raises:
            HieError, OSError: a port is taken or a certificate cannot be read; nothing runs.
        """
        if count := await rules_of(self).bring_up():
            _log.info("consents.compiled", count=count)
        if Role.RECEIVE in self._roles:
            await self.wires.start()
        await self.site.start()
        self._watching = [asyncio.create_task(self._follow_model(), name="model")]
        if Role.RECEIVE in self._roles:
            self._watching += [asyncio.create_task(drop.run(), name="drop") for drop in self.drops]
        if Role.WORKER in self._roles:
            self._tasks = [asyncio.create_task(self.worker.run(), name="worker")]
            self.worker.notify()
            self.telling.start()
            self.alerting.start()
            self.subscribing.start()
            self.exporting.start()
            await self.watch.start()
            await self.watch.look()
            self.jobs.start()
        _log.info("hub.started", http_port=self.site.port, mllp_port=self.receivers[0].port)

    async def stop(self) -> None:
        """Stop listening, finish what is in flight, stop working; may be called twice."""
        await self.wires.stop()
        for task in self._watching:
            task.cancel()  # a file it is at is resumed at the next start
        await asyncio.gather(*self._watching, return_exceptions=True)
        self._watching = []
        await self.subscribing.sockets.close()
        await self.site.stop()
        await self.telling.stop()
        await self.alerting.stop()
        await self.subscribing.stop()
        await self.exporting.stop()
        self.worker.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
            self._tasks = []
            await self.jobs.stop()
            await self.sequencer.close(self.clock.now_us())
            _log.info("hub.stopped")

    async def _follow_model(self) -> None:
        """Take up the model that another process activated; every process of a hub looks."""
        while True:
            await asyncio.sleep(MODEL_SECONDS)
            try:
                async with self.db.reading() as conn:
                    is_new = await self.mpi.follow(conn)
                    await self.rebuild.follow(conn)
                    await self.relabel.follow(conn)
            except (HieError, DBAPIError):
                _log.exception("model.not_read")
                continue
            if is_new:
                _log.info("model.taken_up", version=self.mpi.trials.model.version)

    def _is_working(self) -> bool:
        return all(not task.done() for task in self._tasks)
