"""Subscriptions of a hub: their service, their loop, their websockets and their figures."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from fhir_server.search.parse import SearchParser
from fhir_server.settings import FhirSettings
from hie.auth.standing import Standing
from hie.courier import Courier
from hie.flow.changed import VersionPairs
from hie.kernel.clock import SECOND_US
from hie.services import Services
from hie.store.query import Query
from hie.subscriptions.bindings import Bindings
from hie.subscriptions.deliver import Deliverer
from hie.subscriptions.desk import Desk
from hie.subscriptions.endpoint import Endpoints
from hie.subscriptions.panel_log import PanelLog
from hie.subscriptions.panels import Panels
from hie.subscriptions.policy import Delivery
from hie.subscriptions.publish import EventPublisher
from hie.subscriptions.service import Subscriptions
from hie.subscriptions.socket import Sockets
from hie.web import Metrics

WEBSOCKET_PATH: Final = "/subscriptions/websocket"
_POLL_SECONDS: Final = 0.5
_COUNT_SECONDS: Final = 5.0


def panels_of(services: Services) -> Panels:
    """What loads panels; the commands of `hie` use it without a hub."""
    return Panels(
        services.db,
        services.identities,
        services.glances,
        services.placer,
        PanelLog(services.db, services.keys),
        services.audit,
        services.clock,
        services.config.subscriptions.limits.panel_rows,
    )


class Subscribing:
    """Serves and delivers subscriptions; the loop runs between `start` and `stop`."""

    def __init__(self, services: Services, metrics: Metrics, pace: Delivery | None = None) -> None:
        self._services = services
        self.book = services.subscriptions
        config, policy = services.config, services.config.subscriptions
        desk, bindings = self._desk(services), Bindings()
        self.sockets = Sockets(services.db, desk, bindings, services.clock)
        self.service = Subscriptions(
            services.db,
            desk,
            services.glances,
            bindings,
            services.disclosures,
            config.topics,
            policy,
            services.clock,
            f"{services.settings.listen.websocket}{WEBSOCKET_PATH}",
            panels_of(services),
        )
        pairs = VersionPairs(services.repository)
        self.publisher = EventPublisher(
            services.db, self.book, services.changes, config.topics, pairs
        )
        self._endpoints = Endpoints(policy.endpoints)
        self._join_delivery(desk, pace or policy.delivery)
        self._keep_seconds = policy.delivery.keep_seconds
        self._counts: Mapping[tuple[str, str], tuple[int, int]] = {}
        self._measure(metrics)
        self._running: list[asyncio.Task[None]] = []

    def _desk(self, services: Services) -> Desk:
        parser = SearchParser(services.config.index, FhirSettings(), services.config.vocabulary)

        def read(type_name: str, params: tuple[tuple[str, str], ...], now_us: int) -> Query:
            return parser.parse(type_name, params, now_us=now_us).query

        return Desk(
            services.db,
            self.book,
            services.glances,
            Standing(services.db, services.directory, services.clock, services.stand_ins),
            services.config.topics,
            read,
            services.clock,
            services.settings.listen.fhir,
        )

    def _join_delivery(self, desk: Desk, pace: Delivery) -> None:
        services = self._services
        self._deliverer = Deliverer(
            services.db,
            desk,
            self.publisher,
            self._endpoints,
            services.tasks,
            services.clock,
            pace,
        )
        self.courier: Courier[str] = Courier(
            "subscription",
            self._deliverer.look,
            self._deliverer.deliver,
            services.clock,
            poll_seconds=_POLL_SECONDS,
            rest_seconds=pace.first_retry_seconds,
        )
        services.changes.on_kept = self.courier.wake

    def start(self) -> None:
        """Begin to publish and deliver."""
        self._running = [
            asyncio.create_task(self.courier.run(), name="subscriptions"),
            asyncio.create_task(self._count(), name="subscription figures"),
        ]

    async def stop(self) -> None:
        """Send no more; what is not delivered waits. May be called twice."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running = []
        await self._endpoints.close()

    async def tidy(self) -> None:
        """Forget events that were delivered long ago."""
        before_us = self._services.clock.now_us() - int(self._keep_seconds * SECOND_US)
        async with self._services.db.transaction() as conn:
            await self.book.forget(conn, before_us)

    async def _count(self) -> None:
        while True:
            with suppress(SQLAlchemyError, OSError):  # the figures of a moment ago stay
                async with self._services.db.reading() as conn:
                    self._counts = await self.book.counts(conn)
            await asyncio.sleep(_COUNT_SECONDS)

    def _measure(self, metrics: Metrics) -> None:
        settled = metrics.counter(
            "hie_subscription_notifications_total",
            "Notifications to rest-hooks by what became of them.",
            "kind",
            "outcome",
        )
        self._deliverer.on_settled = settled.inc
        metrics.gauge(
            "hie_subscription_websockets",
            "Websockets that are open.",
            lambda: self.sockets.count,
        )
        metrics.family(
            "hie_subscription_events",
            "Events that are not delivered; those without a number may be nobody's to see.",
            ("state",),
            self._by_state,
        )
        metrics.gauge(
            "hie_subscription_event_age_seconds",
            "How long the oldest event that is not delivered has waited.",
            self._oldest,
        )

    def _by_state(self) -> Mapping[tuple[str, ...], float]:
        found: dict[tuple[str, ...], float] = {}
        for (_, state), (count, _) in self._counts.items():
            found[state,] = found.get((state,), 0.0) + count
        return found

    def _oldest(self) -> float:
        oldest_us = min((at_us for _, at_us in self._counts.values()), default=None)
        if oldest_us is None:
            return 0.0
        return (self._services.clock.now_us() - oldest_us) / SECOND_US
