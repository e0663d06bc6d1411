"""What a subscriber is told, decided when it is told, with its own eyes.

An event waits without a number. When its subscriber is about to be told, the hub looks: what the
subscriber may not see, or did not ask for, is forgotten, and the rest is numbered without gaps.
What has a number is looked at again before each try.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.db import Database
from hie.glance import Glances
from hie.kernel.clock import Clock
from hie.kernel.context import Caller, RequestContext
from hie.store.query import Served
from hie.subscriptions.bundle import Seen, notification
from hie.subscriptions.model import Content, Event, EventState, Kind, Subscription, Terms
from hie.subscriptions.narrow import (
    MOST_NUMBERS,
    Members,
    Narrowed,
    ReadSearch,
    by_number,
    is_member,
    members_of,
    narrowed,
    numbers_of,
)
from hie.subscriptions.repository import SubscriptionBook
from hie.subscriptions.topics import Topic, Topics

#: Events looked at in one transaction: below 50 ms on SQLite.
_AT_ONCE: Final = 10


class Standing(Protocol):
    """Whether who asked may still ask; `hie.auth`."""

    async def now(self, caller: Caller, /) -> Caller | None:
        """The caller with its rights of now; None once its token was revoked or is over."""
        ...

    async def bearer(self, token_id: str, /) -> Caller | None:
        """Who brings an access token that is good now, as it says; None for any other."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A notification to send.

    Attributes:
        last: the number of its last event, told or withheld.
        body: None when nothing of what has a number may be told any more.
        shown: what it tells of.
    """

    last: int
    body: bytes | None
    shown: tuple[Served, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """A subscription's filters with the members of its panels as they are now."""

    narrowed: Narrowed
    panels: tuple[tuple[Members, ...], ...]

    def has(self, person: str, at_us: int) -> bool:
        return all(any(is_member(m, person, at_us) for m in one) for one in self.panels)


class Desk:
    """Decides, numbers and writes."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once
        self,
        db: Database,
        book: SubscriptionBook,
        glances: Glances,
        standing: Standing,
        topics: Topics,
        read: ReadSearch,
        clock: Clock,
        base: str,
    ) -> None:
        self.book = book
        self.base = base
        self.standing = standing
        self._db = db
        self._glances = glances
        self._topics = topics
        self._read = read
        self._clock = clock

    def narrowed(self, terms: Terms, topic: Topic, now_us: int) -> Narrowed:
        """What filters mean.

        Raises:
            HieError: BUSINESS_RULE, one issue per fault.
        """
        return narrowed(terms, topic, self._read, now_us)

    async def context(self, one: Subscription) -> RequestContext | None:
        """The subscriber asking now; None when it may no more."""
        now_us = self._clock.now_us()
        if one.terms.end_us is not None and one.terms.end_us <= now_us:
            return None
        caller = await self.standing.now(one.caller)
        if caller is None:
            return None
        return RequestContext(caller=caller, request_id=f"subscription {one.id}", now_us=now_us)

    async def has_news(self, one: Subscription, ctx: RequestContext) -> bool:
        """Whether there is anything to tell; what its subscriber may not see is forgotten."""
        async with self._db.reading() as conn:
            undelivered = await self.book.is_untold(conn, one)
        while not undelivered:
            async with self._db.transaction() as conn:
                events = await self.book.waiting(conn, one, _AT_ONCE)
                hidden: list[int] = []
                for event, served in await self._looked(conn, ctx, one, events):
                    if served is not None:
                        undelivered = True
                        break
                    hidden.append(event.pk)
                if hidden:
                    await self.book.drop(conn, hidden)
            if len(events) < _AT_ONCE:
                break
        return undelivered

    async def settle(self, one: Subscription, ctx: RequestContext, limit: int) -> None:
        """Give numbers to at most so many events that wait and may be told."""
        async with self._db.reading() as conn:
            is_waiting = bool(await self.book.waiting(conn, one, 1))
        given = 0
        while is_waiting and given < limit:
            async with self._db.transaction() as conn:
                last = await self.book.lock(conn, one.id)
                if last is None:
                    return
                events = await self.book.waiting(conn, one, min(_AT_ONCE, limit - given))
                given += await self._number(conn, ctx, one, events, last)
            is_waiting = bool(events)

    async def _number(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        one: Subscription,
        events: Sequence[Event],
        last: int,
    ) -> int:
        """Number those that may be told, from `last` on, and forget the rest; how many are."""
        numbered: list[Event] = []
        hidden: list[int] = []
        for event, served in await self._looked(conn, ctx, one, events):
            if served is None:
                hidden.append(event.pk)
            else:
                number = last + len(numbered) + 1
                numbered.append(replace(event, number=number, focus=(served.type, served.id)))
        if hidden:
            await self.book.drop(conn, hidden)
        if numbered:
            await self.book.give_numbers(conn, numbered)
        return len(numbered)

    async def letter(
        self, one: Subscription, ctx: RequestContext, after: int, limit: int
    ) -> Letter | None:
        """What to send of the events after a number; None when there is none."""
        async with self._db.reading() as conn:
            events = await self.book.told(conn, one, since=after + 1, limit=limit)
            seen = await self._seen(conn, ctx, one, events)
        if not events:
            return None
        body = None
        if seen:
            body = notification(
                one,
                Kind.EVENT,
                base=self.base,
                now_us=self._clock.now_us(),
                content=one.terms.content,
                seen=seen,
            )
        shown = tuple(s.focus for s in seen)
        return Letter(last=events[-1].number or 0, body=body, shown=shown)

    async def past(
        self,
        one: Subscription,
        ctx: RequestContext,
        *,
        since: int,
        until: int | None,
        content: Content,
        limit: int,
    ) -> Letter:
        """Events that were told, as far as the one who asks may see them now."""
        async with self._db.reading() as conn:
            events = await self.book.told(conn, one, since=since, until=until, limit=limit)
            events = [e for e in events if e.state is not EventState.WAITING]
            seen = await self._seen(conn, ctx, one, events)
        body = notification(
            one,
            Kind.QUERY_EVENT,
            base=self.base,
            now_us=self._clock.now_us(),
            content=content,
            seen=seen,
        )
        return Letter(last=one.told, body=body, shown=tuple(s.focus for s in seen))

    def plain(self, one: Subscription, kind: Kind) -> bytes:
        """A handshake or a heartbeat."""
        return notification(one, kind, base=self.base, now_us=self._clock.now_us())

    async def disclose(self, one: Subscription, ctx: RequestContext, letter: Letter) -> None:
        """Put on record that a letter leaves; before its first byte."""
        topic = self._topics.by_url(one.terms.topic)
        kind = topic.resource if topic else "Subscription"
        told = f"subscription {one.id} up to event {letter.last}"
        await self._glances.disclose(ctx, letter.shown, kind, told)

    async def _seen(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        one: Subscription,
        events: Sequence[Event],
    ) -> list[Seen]:
        looked = await self._looked(conn, ctx, one, events)
        return [Seen(event=event, focus=served) for event, served in looked if served is not None]

    async def _looked(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        one: Subscription,
        events: Sequence[Event],
    ) -> list[tuple[Event, Served | None]]:
        """Each event with what its subscriber may see of it now."""
        if not events:
            return []
        look = await self._look(conn, ctx, one)
        return [
            (event, await self._visible(conn, ctx, look, event) if look else None)
            for event in events
        ]

    async def _look(
        self, conn: AsyncConnection, ctx: RequestContext, one: Subscription
    ) -> _Look | None:
        topic = self._topics.by_url(one.terms.topic)
        if topic is None:
            return None  # its file is gone: nobody says any more what it is about
        asked = self.narrowed(one.terms, topic, ctx.now_us)
        groups: Mapping[str, Members] = {
            name: await self._members(conn, ctx, name)
            for name in {name for names in asked.groups for name in names}
        }
        panels = tuple(tuple(groups[name] for name in names) for names in asked.groups)
        return _Look(narrowed=asked, panels=panels)

    async def _members(self, conn: AsyncConnection, ctx: RequestContext, name: str) -> Members:
        group = await self._glances.group(conn, ctx, name)
        meant = {}
        for system, value in numbers_of(group)[:MOST_NUMBERS]:
            query = self._read("Patient", (by_number(system, value),), ctx.now_us)
            if person := await self._glances.only_person(conn, ctx, query):
                meant[system, value] = person
        return members_of(group, meant)

    async def _visible(
        self, conn: AsyncConnection, ctx: RequestContext, look: _Look, event: Event
    ) -> Served | None:
        query = look.narrowed.query
        if event.records:
            return await self._moved(conn, ctx, look, event)
        served = await self._glances.find(conn, ctx, query, event.focus[1])
        if served is None or not look.has(served.person_id, event.happened_us):
            return None
        return served

    async def _moved(
        self, conn: AsyncConnection, ctx: RequestContext, look: _Look, event: Event
    ) -> Served | None:
        """The Patient that a record the subscriber may see is filed under now, if a new one."""
        now = await self._glances.whose(conn, ctx, event.records)
        moved = [
            now[record]
            for record, was in zip(event.records, event.was, strict=True)
            if record in now and now[record] != was
        ]
        asked = look.narrowed.query.persons
        wanted = None if asked is None else await self._glances.persons(conn, ctx, asked)
        for person in dict.fromkeys(moved):
            if wanted is not None and person not in wanted:
                continue
            if look.has(person, event.happened_us):
                return await self._glances.patient(conn, ctx, person)
        return None
