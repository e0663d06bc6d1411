"""Delivers notices: each receiver in its own order, each notice at least once.

A notice is written when it leaves, from what its receiver may know at that moment: a change
that was taken back meanwhile, or hidden, is never told. Before its first byte the disclosure is
on record, and that the receiver may have it now; so whatever breaks after that, it is sent
again, under the same MSH-10 as long as it says the same.
"""

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from adapters.domains import Domains
from adapters.hl7v2.notices import Stamp
from adapters.sources import Source, SourceRegistry
from hie.courier import Courier
from hie.crypto import KeyRing
from hie.db import Database
from hie.disclosure import Disclosures
from hie.flow.asked import Askers
from hie.flow.standing import StandingNumbers
from hie.kernel.clock import SECOND_US, Clock
from hie.kernel.context import RequestContext
from hie.kernel.errors import HieError
from hie.notify.news import IDENTIFIERS, News, news_of, sight_of
from hie.notify.publish import Publisher
from hie.notify.repository import Address, Notice, NoticeBook, State, Told
from hie.notify.ways import Letter, Verdict, Way, WayTo
from hie.tasks.model import TaskKind
from hie.tasks.service import Tasks
from mpi.repository import events

_log = structlog.get_logger(__name__)

_POLL_SECONDS: Final = 1.0
_LONGEST_FACTOR: Final = 120.0
_UNSUBSCRIBED: Final = "its file names no way to tell it any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often is tried and looked.

    Attributes:
        first_seconds: until the second try; each further one waits twice as long, up to
            120 times this.
        poll_seconds: between two looks at what happened.
        processing_id: MSH-11 of what is sent.
    """

    first_seconds: float = 5.0
    poll_seconds: float = _POLL_SECONDS
    processing_id: str = "P"


class Desk:
    """What a notice says and where it is put on record."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once
        self,
        db: Database,
        book: NoticeBook,
        numbers: StandingNumbers,
        askers: Askers,
        disclosures: Disclosures,
        domains: Domains,
        ring: KeyRing,
        clock: Clock,
    ) -> None:
        self.book = book
        self._db = db
        self._numbers = numbers
        self._askers = askers
        self._disclosures = disclosures
        self._domains = domains
        self._ring = ring
        self._clock = clock

    async def news(self, one: Notice, source: Source) -> News | None:
        """What the receiver may know of it now; None where its record stands for nobody."""
        async with self._db.reading() as conn:
            person = await events.person_now(conn, one.record_id)
            came_from = await events.person_before(conn, one.event_id, one.record_id)
            told = await self.book.told(conn, one)
        if person is None:
            return None
        standing = await self._numbers.of(self._context(one, source), person)
        sight = standing and sight_of(standing, one.record_id, source, self._domains)
        if not sight:
            return None
        return news_of(one.channel, sight, told, came_from, self._ring.blind)

    async def letter(self, one: Notice, news: News, processing_id: str) -> Letter:
        """The notice to send."""
        is_retired = False
        if news.is_moved:
            async with self._db.reading() as conn:
                is_retired = await events.is_retired_into(conn, news.was, news.sight.person_id)
        stamp = Stamp(
            control_id=self.control_id(one, news),
            now_us=self._clock.now_us(),
            happened_us=one.happened_us,
            processing_id=processing_id,
        )
        return Letter(news=news, stamp=stamp, is_retired=is_retired)

    async def disclose(self, one: Notice, source: Source, news: News) -> None:
        """Put on record that the receiver is told this; before the first byte leaves."""
        await self.book.sending(one, news.before, news.sight.person_id, news.digest)
        # Only numbers speak of records; the hub's ids say nothing of whose they are.
        told = news.sight.carriers if one.channel == IDENTIFIERS else {one.record_id}
        await self._disclosures.record(
            self._context(one, source, self.control_id(one, news)),
            "R",
            "disclose",
            {news.sight.person_id},
            "Patient",
            detail={
                "query": f"notice {one.channel} of event {one.event_id}",
                "shown": [
                    [record, "Patient", 1, [news.sight.person_id]] for record in sorted(told)
                ],
            },
        )

    def control_id(self, one: Notice, news: News) -> str:
        """MSH-10, at most 20 characters: the event, and what is said of it."""
        number = base64.b32encode(one.event_id.to_bytes(8, "big")).decode().rstrip("=")
        return f"{number}.{self._ring.blind('notice', one.record_id, news.digest)[:6]}"

    def _context(self, one: Notice, source: Source, request_id: str = "") -> RequestContext:
        return RequestContext(
            caller=self._askers.caller(source),
            request_id=request_id or f"notice {one.pk}",
            now_us=self._clock.now_us(),
        )


class Deliverer:
    """Publishes what was decided and delivers it, until cancelled."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once
        self,
        db: Database,
        desk: Desk,
        publisher: Publisher,
        sources: SourceRegistry,
        tasks: Tasks,
        way_to: WayTo,
        clock: Clock,
        pace: Pace | None = None,
    ) -> None:
        self._db = db
        self._desk = desk
        self._book = desk.book
        self._publisher = publisher
        self._sources = sources
        self._staff_tasks = tasks
        self._way_to = way_to
        self._clock = clock
        self._pace = pace or Pace()
        self._courier: Courier[Address] = Courier(
            "notice",
            self.look,
            self._deliver,
            clock,
            poll_seconds=self._pace.poll_seconds,
            rest_seconds=self._pace.first_seconds,
            receiver=lambda address: address[0],
        )
        #: Called with receiver, channel and what became of a notice.
        self.on_settled: Callable[[str, str, str], None] = lambda _source, _channel, _outcome: None

    async def run(self) -> None:
        """Publish and deliver until cancelled."""
        await self._courier.run()

    async def look(self) -> Iterable[tuple[Address, int]]:
        """Publish what is new; the receivers that something waits for, and since when."""
        await self._publisher.publish()
        return [(head.address, head.due_us) for head in await self._book.heads()]

    async def _deliver(self, address: Address) -> None:
        """Send what is due for one receiver, in order, until something stops it."""
        source = self._sources.by_id(address[0])
        way = self._way_to(source, address[1]) if source else None
        try:
            while (head := await self._book.head(address)) and head.due_us <= self._clock.now_us():
                if source is None or way is None:
                    await self._park(head, _UNSUBSCRIBED)
                elif not await self._try(head, source, way):
                    return
        finally:
            if way:
                await way.close()

    async def _try(self, one: Notice, source: Source, way: Way) -> bool:
        """Try one; whether the next may be tried."""
        if not await self._book.claim(one):
            return False
        if not await self._news(one, source):
            return True
        try:
            await way.reach()
            # A connection may take its time: what was taken back meanwhile is never told.
            if not (news := await self._news(one, source)):
                return True
            letter = await self._desk.letter(one, news, self._pace.processing_id)
            await self._desk.disclose(one, source, news)
            verdict = await way.send(letter)
        except HieError as error:
            return await self._failed(one, source, Verdict(is_taken=False, reason=error.text))
        if not verdict.is_taken:
            return await self._failed(one, source, verdict)
        await self._book.delivered(one, news.sight.person_id, news.digest)
        self.on_settled(one.source_id, one.channel, State.DELIVERED.value)
        return True

    async def _failed(self, one: Notice, source: Source, verdict: Verdict) -> bool:
        waited = (self._clock.now_us() - one.created_us) / SECOND_US
        if verdict.is_final or waited > source.notify.give_up_seconds:
            await self._park(one, verdict.reason)
            return True
        factor = min(2.0 ** min(one.attempts, 16), _LONGEST_FACTOR)
        await self._book.postpone(one, verdict.reason, self._pace.first_seconds * factor)
        self.on_settled(one.source_id, one.channel, "postponed")
        return False

    async def _park(self, one: Notice, reason: str) -> None:
        """Give one up: staff hear of it, once for all of a receiver's."""
        async with self._db.transaction() as conn:
            await self._book.settle(conn, one, State.PARKED, reason)
            await self._staff_tasks.open(
                conn,
                TaskKind.NOTICE,
                (one.source_id, one.channel),
                now_us=self._clock.now_us(),
                source_id=one.source_id,
                topic=one.channel,
                detail={"reason": reason},
            )
        self.on_settled(one.source_id, one.channel, State.PARKED.value)
        _log.warning("notice.parked", source=one.source_id, reason=reason)

    async def _news(self, one: Notice, source: Source) -> News | None:
        """What is new to the receiver now; None where nothing is, and the notice is settled."""
        news = await self._desk.news(one, source)
        if news is not None and news.is_new:
            return news
        async with self._db.transaction() as conn:
            if news is not None:
                known = Told(person_id=news.sight.person_id, digest=news.digest)
                await self._book.knows(conn, one, known)
            await self._book.settle(conn, one, State.NO_NEWS)
        self.on_settled(one.source_id, one.channel, State.NO_NEWS.value)
        return None
