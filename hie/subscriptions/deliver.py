"""Delivers to rest-hooks: each subscription in its own order, each event at least once.

Nothing is sent, not even a connection made, for an event that its subscriber may not see. The
disclosure is on record before the first byte; what breaks after that is sent again.
"""

from collections.abc import Callable, Iterable
from typing import Final

import structlog

from hie.db import Database
from hie.kernel.clock import SECOND_US, Clock
from hie.kernel.context import RequestContext
from hie.kernel.errors import HieError
from hie.subscriptions.desk import Desk, Letter
from hie.subscriptions.endpoint import Endpoints
from hie.subscriptions.model import Kind, Status, Subscription
from hie.subscriptions.policy import Delivery
from hie.subscriptions.publish import EventPublisher
from hie.tasks.model import TaskKind
from hie.tasks.service import Tasks

#: Another process waits for so long, beyond the time the endpoint has, before it tries.
_CLAIM_SECONDS: Final = 5
#: Failed tries before a subscription is told to be in error.
_TOLERATED: Final = 3
#: Between two looks at whether those who asked may still ask, in seconds.
_SWEEP_SECONDS: Final = 5.0
ENDED: Final = "the subscriber may ask no more, or the time it asked for is over"
_log = structlog.get_logger(__name__)


class Deliverer:
    """Publishes what was written and delivers it to rest-hooks."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once
        self,
        db: Database,
        desk: Desk,
        publisher: EventPublisher,
        endpoints: Endpoints,
        tasks: Tasks,
        clock: Clock,
        pace: Delivery,
    ) -> None:
        self._db = db
        self._desk = desk
        self._book = desk.book
        self._publisher = publisher
        self._endpoints = endpoints
        self._tasks = tasks
        self._clock = clock
        self._pace = pace
        self._swept_us = 0
        #: Called with the kind of a notification and what became of it.
        self.on_settled: Callable[[str, str], None] = lambda _kind, _outcome: None

    async def look(self) -> Iterable[tuple[str, int]]:
        """Publish what is new; the subscriptions with something to send, and from when on."""
        now_us = self._clock.now_us()
        if not self._swept_us and self._db.is_sqlite:
            # One process works on SQLite: what another had claimed, it did not finish.
            async with self._db.transaction() as conn:
                await self._book.release(conn, now_us)
        await self._publisher.publish()
        if now_us - self._swept_us >= _SWEEP_SECONDS * SECOND_US:
            self._swept_us = now_us
            await self._sweep()
        async with self._db.reading() as conn:
            return await self._book.lanes(conn, now_us)

    async def deliver(self, subscription_id: str) -> None:
        """Send what is due for one subscription, in order, until something stops it."""
        while True:
            async with self._db.reading() as conn:
                one = await self._book.get(conn, subscription_id)
            now_us = self._clock.now_us()
            if one is None or one.status is Status.OFF or one.due_us > now_us:
                return
            ctx = await self._desk.context(one)
            if ctx is None:
                await self.end(one, ENDED)
                return
            kind = await self._next(one, ctx, now_us)
            if kind is None or not await self._claimed(one, now_us):
                return
            if not await self._try(one, ctx, kind):
                return

    async def end(self, one: Subscription, reason: str) -> None:
        """Turn a subscription off; what waits for it is forgotten in time."""
        async with self._db.transaction() as conn:
            now_us = self._clock.now_us()
            await self._book.set_status(conn, one, Status.OFF, now_us=now_us, error=reason)
        _log.info("subscription.off", reason=reason)

    async def _next(self, one: Subscription, ctx: RequestContext, now_us: int) -> Kind | None:
        """What is to be sent; None when all that waited is not the subscriber's to see."""
        if one.status is Status.REQUESTED:
            return Kind.HANDSHAKE
        if await self._desk.has_news(one, ctx):
            return Kind.EVENT
        is_due = one.heartbeat_us is not None and one.heartbeat_us <= now_us
        return Kind.HEARTBEAT if is_due else None

    async def _claimed(self, one: Subscription, now_us: int) -> bool:
        seconds = one.terms.channel.timeout_seconds * 2 + _CLAIM_SECONDS
        return await self._book.claim(one, now_us + seconds * SECOND_US)

    async def _try(self, one: Subscription, ctx: RequestContext, kind: Kind) -> bool:
        """Try once; whether there may be more to send."""
        letter: Letter | None = None
        try:
            await self._endpoints.reach(one.terms.channel)
            if kind is Kind.EVENT:
                await self._desk.settle(one, ctx, one.terms.channel.max_count)
                letter = await self._desk.letter(
                    one, ctx, one.delivered, one.terms.channel.max_count
                )
                body = letter.body if letter else None
                if letter and body is not None:
                    await self._desk.disclose(one, ctx, letter)
            else:
                body = self._desk.plain(one, kind)
        except HieError as error:
            await self._failed(one, kind, error.text)
            return False
        if body is not None:
            verdict = await self._endpoints.post(one.terms.channel, body)
            if not verdict.is_taken:
                await self._failed(one, kind, verdict.reason)
                return False
            self.on_settled(kind.value, "delivered")
        await self._succeeded(one, letter, has_spoken=body is not None)
        return kind is not Kind.HEARTBEAT

    async def _succeeded(
        self, one: Subscription, letter: Letter | None, *, has_spoken: bool
    ) -> None:
        now_us = self._clock.now_us()
        async with self._db.transaction() as conn:
            if letter is not None:
                await self._book.delivered(conn, one, letter.last, now_us)
            await self._book.reached(conn, one, now_us)
            if has_spoken:
                await self._book.set_status(conn, one, Status.ACTIVE, now_us=now_us, error="")

    async def _failed(self, one: Subscription, kind: Kind, reason: str) -> None:
        """Try again later; a handshake is asked for again by the subscriber."""
        now_us = self._clock.now_us()
        self.on_settled(kind.value, "failed")
        since_us = one.failing_us or now_us
        if kind is Kind.HANDSHAKE:
            async with self._db.transaction() as conn:
                await self._book.set_status(conn, one, Status.ERROR, now_us=now_us, error=reason)
            return
        if now_us - since_us > self._pace.give_up_seconds * SECOND_US:
            await self._give_up(one, reason)
            return
        factor = 2.0 ** min(one.attempts, 16)
        seconds = min(self._pace.first_retry_seconds * factor, self._pace.longest_retry_seconds)
        async with self._db.transaction() as conn:
            await self._book.postpone(conn, one, now_us + int(seconds * SECOND_US), now_us)
            if one.attempts + 1 >= _TOLERATED:
                await self._book.set_status(conn, one, Status.ERROR, now_us=now_us, error=reason)

    async def _give_up(self, one: Subscription, reason: str) -> None:
        """Turn it off: staff hear of it."""
        await self.end(one, reason)
        async with self._db.transaction() as conn:
            await self._tasks.open(
                conn,
                TaskKind.NOTICE,
                ("subscription", one.id),
                now_us=self._clock.now_us(),
                topic="subscription",
                detail={"subscription": one.id, "reason": reason},
            )
        _log.warning("subscription.given_up", reason=reason)

    async def _sweep(self) -> None:
        """Turn off what may ask no more, whether or not anything happens."""
        async with self._db.reading() as conn:
            live = await self._book.live(conn)
        for one in live:
            if await self._desk.context(one) is None:
                await self.end(one, ENDED)
