"""Telling the privacy office that an emergency access awaits review: a signed request over TLS.

What is told is the number of the access and when, nothing of anybody; who it is about is looked
at in the review queue, on record. An alert is queued in the transaction that opens the record
and tried until it is taken, or the access was reviewed: nobody else's word ends it.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import orjson
import structlog
from sqlalchemy.exc import SQLAlchemyError

from adapters.notify_policy import WebhookNotices
from hie.courier import Courier
from hie.emergencies import repository
from hie.kernel.clock import SECOND_US, instant
from hie.kernel.errors import HieError
from hie.notify.ways import Verdict, WebhookWay
from hie.services import Services
from hie.web import Metrics

_log = structlog.get_logger(__name__)

KIND: Final = "emergency-access-awaits-review"
_POLL_SECONDS: Final = 2.0
#: Nobody else tries an alert for so long while one process does; longer than an answer may take.
_CLAIM_US: Final = 60 * SECOND_US
#: Until the second try; each further one waits twice as long, at most so long.
_FIRST_SECONDS: Final = 5
_LONGEST_SECONDS: Final = 600
_LANE: Final = "privacy office"


class Alerting:
    """Sends alerts between `start` and `stop`, where the policy names an endpoint."""

    def __init__(self, services: Services, metrics: Metrics) -> None:
        """Join the parts."""
        self._db = services.db
        self._clock = services.clock
        self._policy = services.config.emergencies.alert
        self._courier = Courier(
            "emergency.alert",
            self._look,
            self._deliver,
            services.clock,
            poll_seconds=_POLL_SECONDS,
            rest_seconds=_FIRST_SECONDS,
        )
        self._waiting = 0
        self._task: asyncio.Task[None] | None = None
        text = "Emergency accesses that the privacy office was not told of yet."
        metrics.gauge("hie_emergency_alerts_waiting", text, lambda: self._waiting)

    def start(self) -> None:
        """Begin, where there is somebody to tell."""
        if self._policy is not None:
            self._task = asyncio.create_task(self._courier.run(), name="emergency alerts")

    async def stop(self) -> None:
        """Send no more; what was not taken waits. May be called twice."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _look(self) -> Iterable[tuple[str, int]]:
        with suppress(SQLAlchemyError, OSError):  # the figure of a moment ago stays
            async with self._db.reading() as conn:
                self._waiting, due_us = await repository.alerts_waiting(conn)
            return [] if due_us is None else [(_LANE, due_us)]
        return []

    async def _deliver(self, _lane: str) -> None:
        """Send what is due, the oldest first, until one is not taken."""
        if self._policy is None:
            return
        way = WebhookWay(self._policy)
        try:
            while await self._next(way, self._policy):
                pass
        finally:
            await way.close()

    async def _next(self, way: WebhookWay, policy: WebhookNotices) -> bool:
        """Whether the next alert was taken, and there may be another."""
        now_us = self._clock.now_us()
        async with self._db.transaction() as conn:
            found = await repository.claim_alert(conn, now_us=now_us, until_us=now_us + _CLAIM_US)
        if found is None:
            return False
        number, tries, opened_us, is_reviewed = found
        verdict = Verdict(is_taken=True)
        if not is_reviewed:
            verdict = await self._sent(way, number, opened_us)
        now_us = self._clock.now_us()
        async with self._db.transaction() as conn:
            if verdict.is_taken:
                await repository.settle_alert(conn, number, now_us)
            else:
                seconds = min(_FIRST_SECONDS * 2 ** min(tries - 1, 10), _LONGEST_SECONDS)
                await repository.put_off(conn, number, now_us + seconds * SECOND_US)
        if not verdict.is_taken:
            _log.warning("emergency.alert_waits", emergency=number, reason=verdict.reason)
        return verdict.is_taken

    async def _sent(self, way: WebhookWay, number: int, opened_us: int) -> Verdict:
        event = f"emergency-{number}"
        told = {"id": event, "kind": KIND, "number": str(number), "at": instant(opened_us)}
        try:
            return await way.post(event, self._clock.now_us(), orjson.dumps(told))
        except HieError as error:
            return Verdict(is_taken=False, reason=str(error))
