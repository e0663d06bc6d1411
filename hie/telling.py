"""Telling receivers of changes of identity: the notices of a hub, their loop and their figures."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from adapters.hl7v2.tls import TlsSettings
from hie.flow.standing import StandingNumbers
from hie.kernel.clock import SECOND_US
from hie.notify.deliver import Deliverer, Desk, Pace
from hie.notify.publish import Beside, Publisher
from hie.notify.repository import NoticeBook, State
from hie.notify.ways import ways
from hie.services import Services
from hie.web import Metrics

#: How long the rows of what was delivered are kept.
_DELIVERED_SECONDS: Final = 90 * 24 * 3600
_POLL_SECONDS: Final = 5.0


class Telling:
    """Publishes and delivers notices between `start` and `stop`."""

    def __init__(
        self,
        services: Services,
        metrics: Metrics,
        pace: Pace | None = None,
        beside: Beside | None = None,
    ) -> None:
        """Join the parts.

        Args:
            services: the hub's.
            metrics: where the figures go.
            pace: of delivery.
            beside: hears of the changes of identity too, in the transaction that publishes them.
        """
        self._services = services
        self.book = NoticeBook(services.db, services.clock)
        settings = services.settings
        own = TlsSettings(
            certificate=settings.tls.certificate, private_key=settings.tls.private_key
        )
        desk = Desk(
            services.db,
            self.book,
            StandingNumbers(services.db, services.repository, services.consent),
            services.askers,
            services.disclosures,
            services.domains,
            services.ring,
            services.clock,
        )
        sources = services.config.sources
        self.deliverer = Deliverer(
            services.db,
            desk,
            Publisher(services.db, self.book, sources, services.clock, beside),
            sources,
            services.tasks,
            ways(services.domains, services.identities.base, own),
            services.clock,
            pace or Pace(processing_id="P" if settings.is_production else "T"),
        )
        self._counts: Mapping[tuple[str, str, str], tuple[int, int]] = {}
        self._measure(metrics)
        self._running: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._running = [
            asyncio.create_task(self.deliverer.run(), name="notices"),
            asyncio.create_task(self._count(), name="notice figures"),
        ]

    async def stop(self) -> None:
        """Send no more; what is not delivered waits. May be called twice."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running = []

    async def tidy(self) -> None:
        """Forget notices that were delivered long ago."""
        before_us = self._services.clock.now_us() - _DELIVERED_SECONDS * SECOND_US
        await self.book.forget(before_us)

    async def _count(self) -> None:
        while True:
            with suppress(SQLAlchemyError, OSError):  # the figures of a moment ago stay
                self._counts = await self.book.counts()
            await asyncio.sleep(_POLL_SECONDS)

    def _measure(self, metrics: Metrics) -> None:
        settled = metrics.counter(
            "hie_notices_total",
            "Notices of identity changes by what became of them.",
            "source",
            "channel",
            "outcome",
        )
        self.deliverer.on_settled = settled.inc
        metrics.family(
            "hie_notices",
            "Notices that wait or are parked.",
            ("source", "channel", "state"),
            lambda: {labels: float(count) for labels, (count, _) in self._counts.items()},
        )
        metrics.family(
            "hie_notice_age_seconds",
            "How long the oldest notice that waits has waited.",
            ("source", "channel"),
            self._ages,
        )

    def _ages(self) -> Mapping[tuple[str, ...], float]:
        now_us = self._services.clock.now_us()
        return {
            (source, channel): (now_us - oldest_us) / SECOND_US
            for (source, channel, state), (_, oldest_us) in self._counts.items()
            if state == State.WAITING.value
        }
