"""Bulk exports of a hub: their desk, their worker, their clean-up and their figures."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from fhir_server.operations.export_asked import ExportFilters
from fhir_server.search.results import Shown
from hie.exports.collect import Collector
from hie.exports.desk import Exports
from hie.exports.files import Files
from hie.exports.members import Members
from hie.exports.model import State
from hie.exports.repository import ExportBook
from hie.exports.worker import ExportWorker
from hie.kernel.clock import SECOND_US
from hie.services import Services
from hie.store.query import Served
from hie.web import Metrics

_POLL_SECONDS: Final = 5.0


class Exporting:
    """The desk, and between `start` and `stop` a worker."""

    def __init__(self, services: Services, metrics: Metrics) -> None:
        self._clock = services.clock
        self.book = ExportBook(services.db, services.keys)
        self.desk = self._join_desk(services)
        self.worker = self._join_worker(services)
        self.desk.on_begun = self.worker.notify
        self._counts: Mapping[str, tuple[int, int]] = {}
        self._measure(metrics)
        self._running: list[asyncio.Task[None]] = []

    def _join_desk(self, services: Services) -> Exports:
        subsets = services.config.subsets

        def cut(served: Served, names: tuple[str, ...]) -> Served:
            return subsets.served(served, Shown(count=0, elements=names))

        files = Files(
            services.db,
            self.book,
            services.repository.listing,
            services.repository,
            services.golden,
            services.config.index,
            services.sight,
            services.audit,
            services.clock,
        )
        return Exports(
            services.db,
            self.book,
            files,
            Members(services.repository, services.sight),
            services.config.index,
            services.sight,
            services.disclosures,
            services.audit,
            services.tokens,
            services.ring,
            services.clock,
            cut,
        )

    def _join_worker(self, services: Services) -> ExportWorker:
        index = services.config.index
        collector = Collector(
            services.db,
            self.book,
            services.repository.listing,
            services.repository,
            services.golden,
            index,
            services.sight,
            ExportFilters(index, services.config.vocabulary),
        )
        return ExportWorker(services.db, self.book, collector, services.tokens, services.clock)

    def start(self) -> None:
        """Work jobs off from now on."""
        self._running = [
            asyncio.create_task(self.worker.run(), name="exports"),
            asyncio.create_task(self._count(), name="export figures"),
        ]

    async def stop(self) -> None:
        """Work no more; a job that is not done goes on where it is. May be called twice."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running = []

    async def tidy(self) -> None:
        """Forget jobs that expired or were taken away."""
        await self.book.forget(self._clock.now_us())

    async def _count(self) -> None:
        while True:
            with suppress(SQLAlchemyError, OSError):  # the figures of a moment ago stay
                self._counts = await self.book.counts()
            await asyncio.sleep(_POLL_SECONDS)

    def _measure(self, metrics: Metrics) -> None:
        resources = metrics.counter(
            "hie_export_resources_total", "Resources of bulk exports: listed, and sent.", "stage"
        )
        self.worker.on_listed = lambda count: resources.inc("listed", by=count)
        self.desk.on_sent = lambda count: resources.inc("sent", by=count)
        metrics.family(
            "hie_exports",
            "Bulk exports by state, until they are forgotten.",
            ("state",),
            lambda: {(state,): float(count) for state, (count, _) in self._counts.items()},
        )
        metrics.gauge(
            "hie_export_age_seconds", "How long the oldest export is worked on.", self._age
        )

    def _age(self) -> float:
        _, oldest_us = self._counts.get(State.WORKING.value, (0, 0))
        return (self._clock.now_us() - oldest_us) / SECOND_US if oldest_us else 0.0
