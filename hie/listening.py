"""The HL7 v2 wires of a hub: listeners, what they hand to, back-pressure, deferred answers."""

import asyncio
from typing import Final

from adapters.batches import Batches
from adapters.hl7v2.batch_intake import BatchIntake
from adapters.hl7v2.deferred import ApplicationAcknowledger
from adapters.hl7v2.frame import FrameLimits
from adapters.hl7v2.intake import Hl7Intake
from adapters.hl7v2.judge import IntakeSettings, Judge
from adapters.hl7v2.meters import DeliveryMeters, IntakeMeters, measure_receivers
from adapters.hl7v2.query_desk import QueryDesk
from adapters.hl7v2.receive import MllpReceiver, ReceiverSettings
from adapters.hl7v2.tls import TlsSettings
from adapters.pressure import Backlog, Gate
from hie.kernel.clock import SECOND_US
from hie.services import Services
from hie.web import Metrics

#: How long the rows of delivered acknowledgements are kept.
_DELIVERED_SECONDS: Final = 30 * 24 * 3600


class Wires:
    """Everything HL7 v2 that listens or is listened to."""

    def __init__(self, services: Services, metrics: Metrics) -> None:
        self._services = services
        settings, limits = services.settings, services.settings.limits
        judge = Judge(
            services.config.sources,
            services.config.conformer,
            lambda trigger: QueryDesk.speaks(trigger) or services.mapper.supports(trigger),
            IntakeSettings(
                message_bytes=limits.message_bytes,
                processing_ids=frozenset("P" if settings.is_production else "PTD"),
            ),
        )
        self.gate = Gate()
        self.intake = BatchIntake(
            Hl7Intake(
                judge,
                services.journal,
                services.clock,
                meters=IntakeMeters(metrics),
                gate=self.gate,
                desk=self._desk(judge),
            ),
            Batches(services.db, services.journal, services.keys, services.clock),
            services.config.sources,
            judge.rules,
            services.clock,
            limits.message_bytes,
        )
        self.backlog = Backlog(
            self.gate, self._waiting, high=limits.backlog_high, low=limits.backlog_low
        )
        tls = TlsSettings(
            certificate=settings.tls.certificate,
            private_key=settings.tls.private_key,
            authorities=settings.tls.client_authorities,
        )
        self.receivers = [self._receiver("mllp", settings.listen.mllp_port, None)]
        if settings.tls.certificate:
            self.receivers.append(self._receiver("mllps", settings.listen.mllps_port, tls))
        self.acknowledger = ApplicationAcknowledger(
            services.journal.outbox,
            services.config.sources,
            services.clock,
            tls,
            DeliveryMeters(metrics),
        )
        measure_receivers(metrics, self.receivers, self.gate, self.backlog)
        self._tasks: list[asyncio.Task[None]] = []

    def _desk(self, judge: Judge) -> QueryDesk:
        services = self._services
        return QueryDesk(
            judge.rules,
            services.config.queries,
            services.domains,
            services.queries,
            is_open=not services.settings.is_production,
        )

    async def start(self) -> None:
        """Listen, and deliver what waits.

        Raises:
            OSError: a port is taken or a certificate cannot be read.
        """
        notify = self._services.journal.on_written

        def written() -> None:
            notify()
            self.backlog.written()

        self._services.journal.on_written = written
        await self.backlog.look()
        for receiver in self.receivers:
            await receiver.start()
        self._tasks = [
            asyncio.create_task(self.backlog.run(), name="backlog"),
            asyncio.create_task(self.acknowledger.run(), name="acknowledger"),
        ]

    async def stop(self) -> None:
        """Read no more and answer what came whole; what is not delivered waits. Twice is fine."""
        for receiver in self.receivers:
            await receiver.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def tidy(self) -> None:
        """Forget acknowledgements that were delivered long ago."""
        before_us = self._services.clock.now_us() - _DELIVERED_SECONDS * SECOND_US
        await self._services.journal.outbox.forget(before_us)

    async def _waiting(self, most: int) -> int:
        async with self._services.db.surveying() as conn:
            return await self._services.journal.backlog_up_to(conn, most)

    def _receiver(self, name: str, port: int, tls: TlsSettings | None) -> MllpReceiver:
        limits = self._services.settings.limits
        settings = ReceiverSettings(
            name=name,
            host=self._services.settings.listen.host,
            port=port,
            tls=tls,
            limits=FrameLimits(payload_bytes=limits.message_bytes),
            connections=limits.connections,
            connections_each=limits.connections_each,
            idle_seconds=limits.idle_seconds,
            keepalive_seconds=limits.keepalive_seconds,
            frame_seconds=limits.frame_seconds,
            held_bytes=limits.held_bytes,
        )
        return MllpReceiver(self.intake, settings, self.gate)
