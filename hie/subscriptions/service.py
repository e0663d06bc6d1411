"""What subscribers do with their subscriptions; who may see one is decided here.

A subscription is its organisation's, or its patient's: another's is answered as one that is not
there.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.db import Database
from hie.disclosure import NOT_FOUND, Disclosures
from hie.glance import Glances
from hie.kernel.clock import SECOND_US, Clock, instant
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.subscriptions import bundle, fhir
from hie.subscriptions.bindings import Binding, Bindings
from hie.subscriptions.desk import Desk
from hie.subscriptions.endpoint import Guard
from hie.subscriptions.model import (
    ChannelType,
    Content,
    Status,
    Subscription,
    Terms,
    hears,
    owner_of,
)
from hie.subscriptions.narrow import MOST_NUMBERS, numbers_of
from hie.subscriptions.panels import Loaded, Panels, Row
from hie.subscriptions.policy import Policy
from hie.subscriptions.told import basic
from hie.subscriptions.topics import Topic, Topics

_TYPE: Final = "Subscription"
_NO_SOCKET: Final = "a websocket is bound to subscriptions whose `channel.type` is `websocket`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A subscription as a resource, and what HTTP says of it."""

    id: str
    version: str
    updated_us: int
    resource: FhirJson


class Subscriptions:
    """Creates, changes, reads and ends subscriptions; answers their operations."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once
        self,
        db: Database,
        desk: Desk,
        glances: Glances,
        bindings: Bindings,
        disclosures: Disclosures,
        topics: Topics,
        policy: Policy,
        clock: Clock,
        websocket: str,
        panels: Panels,
    ) -> None:
        self.topics = topics
        self._panels = panels
        self.websocket = websocket
        self._db = db
        self._desk = desk
        self._book = desk.book
        self._glances = glances
        self._bindings = bindings
        self._disclosures = disclosures
        self._policy = policy
        self._guard = Guard(policy.endpoints)
        self._clock = clock

    async def create(self, ctx: RequestContext, resource: FhirJson) -> Kept:
        """A new subscription; its endpoint is told of it, and then it is active.

        Raises:
            HieError: BUSINESS_RULE, one issue per fault; FORBIDDEN for who may have none.
        """
        owner = self._owner(ctx)
        terms, status = await self._terms(ctx, resource)
        now_us = ctx.now_us
        one = Subscription(
            id=secrets.token_hex(16),
            owner=owner,
            status=_first(terms, status),
            version=1,
            created_us=now_us,
            updated_us=now_us,
            terms=terms,
            caller=ctx.caller,
            due_us=now_us,
        )
        async with self._db.transaction() as conn:
            await self._db.serialize(conn, f"subscriptions {owner}")
            if len(await self._book.of_owner(conn, owner)) >= self._policy.limits.each_owner:
                most = self._policy.limits.each_owner
                raise HieError(Category.BUSINESS_RULE, f"there may be {most} subscriptions")
            await self._book.save(conn, one, is_new=True)
        await self._disclosures.record(ctx, "C", "create", set(), _TYPE, one.id)
        return _kept(one)

    async def update(
        self, ctx: RequestContext, name: str, resource: FhirJson, if_match: str
    ) -> Kept:
        """New terms; with `requested` its endpoint is told of it again.

        Raises:
            HieError: as `create`; NOT_FOUND, GONE; STALE when the version is another.
        """
        if resource.get("id") not in (None, name):
            text = "`Subscription.id`: expected the id of the address"
            raise HieError(Category.INVALID, text, [Issue(text=text, expression=(f"{_TYPE}.id",))])
        terms, status = await self._terms(ctx, resource)
        async with self._db.transaction() as conn:
            await self._book.lock(conn, name)
            old = await self._own(conn, ctx, name)
            if if_match and if_match != str(old.version):
                raise HieError(Category.STALE, "`If-Match` names a version that is not current")
            headers = fhir.with_kept_secrets(terms.channel, old.terms.channel)
            terms = replace(terms, channel=replace(terms.channel, headers=headers))
            new = replace(
                old.asked(terms, ctx.caller, _first(terms, status)),
                version=old.version + 1,
                updated_us=ctx.now_us,
                attempts=0,
                due_us=ctx.now_us,
                failing_us=None,
                heartbeat_us=None,
            )
            await self._book.save(conn, new)
        await self._disclosures.record(ctx, "U", "update", set(), _TYPE, name)
        return _kept(new)

    async def delete(self, ctx: RequestContext, name: str) -> None:
        """End a subscription; events that wait for it are forgotten.

        Raises:
            HieError: NOT_FOUND, GONE.
        """
        async with self._db.transaction() as conn:
            await self._own(conn, ctx, name)
            await self._book.remove(conn, name)
        await self._disclosures.record(ctx, "D", "delete", set(), _TYPE, name)

    async def read(self, ctx: RequestContext, name: str) -> Kept:
        """One of the caller's.

        Raises:
            HieError: NOT_FOUND, GONE.
        """
        async with self._db.reading() as conn:
            one = await self._own(conn, ctx, name)
        return _kept(one)

    async def mine(self, ctx: RequestContext) -> list[Kept]:
        """The caller's, oldest first."""
        async with self._db.reading() as conn:
            return [_kept(one) for one in await self._book.of_owner(conn, self._owner(ctx))]

    # Operations

    async def status(
        self, ctx: RequestContext, names: Sequence[str], statuses: Sequence[str]
    ) -> bytes:
        """The searchset of `$status`: of these, or of all of the caller's."""
        async with self._db.reading() as conn:
            found = await self._book.of_owner(conn, self._owner(ctx))
        told = [
            one
            for one in found
            if (not names or one.id in names) and (not statuses or one.status in statuses)
        ]
        return bundle.statuses(told, self._desk.base, ctx.now_us)

    async def status_of(self, ctx: RequestContext, name: str) -> bytes:
        """The same of one.

        Raises:
            HieError: NOT_FOUND, GONE.
        """
        async with self._db.reading() as conn:
            one = await self._own(conn, ctx, name)
        return bundle.statuses([one], self._desk.base, ctx.now_us)

    async def events(
        self, ctx: RequestContext, name: str, since: int, until: int | None, content: str
    ) -> bytes:
        """The notification of `$events`: what was told and, without `until`, what waits.

        Raises:
            HieError: NOT_FOUND, GONE; INVALID for a content that is none.
        """
        async with self._db.reading() as conn:
            one = await self._own(conn, ctx, name)
        wanted = _content(content, one)
        own = await self._desk.context(one) if one.status is not Status.OFF else None
        limit = self._policy.limits.events_page
        if own is not None and (until is None or until > one.told):
            await self._desk.settle(one, own, limit)
            async with self._db.reading() as conn:
                one = await self._own(conn, ctx, name)
        letter = await self._desk.past(
            one, ctx, since=since, until=until, content=wanted, limit=limit
        )
        await self._desk.disclose(one, ctx, letter)
        return letter.body or b""

    async def bind(self, ctx: RequestContext, names: Sequence[str]) -> FhirJson:
        """The Parameters of `$get-ws-binding-token`, for these or all of the caller's.

        Raises:
            HieError: NOT_FOUND for what is no subscription of the caller's; BUSINESS_RULE for
                one of another channel.
        """
        owner = self._owner(ctx)
        async with self._db.transaction() as conn:
            found = await self._book.of_owner(conn, owner)
            posted = {o.id for o in found if o.terms.channel.type is not ChannelType.WEBSOCKET}
            if posted.intersection(names):
                raise HieError(Category.BUSINESS_RULE, _NO_SOCKET)
            sockets = [o.id for o in found if hears(o, ctx.caller)]
            wanted = [name for name in sockets if not names or name in names]
            if {*names} - {*wanted} or not wanted:
                raise HieError(Category.NOT_FOUND, NOT_FOUND)
            seconds = int(self._policy.delivery.binding_seconds)
            binding = Binding(
                owner=owner,
                subscriptions=tuple(wanted),
                expires_us=ctx.now_us + seconds * SECOND_US,
                token_id=ctx.caller.token_id,
            )
            token = await self._bindings.issue(conn, binding, ctx.now_us)
        await self._disclosures.record(ctx, "E", "operation", set(), _TYPE)
        return {
            "resourceType": "Parameters",
            "parameter": [
                {"name": "token", "valueString": token},
                {"name": "expiration", "valueDateTime": instant(binding.expires_us)},
                *({"name": "subscription", "valueString": name} for name in wanted),
                {"name": "websocket-url", "valueUrl": self.websocket},
            ],
        }

    def told_topics(self) -> list[FhirJson]:
        """The topics there are, as Basic resources."""
        return [basic(topic) for topic in self.topics]

    async def load_panel(
        self, ctx: RequestContext, rows: Sequence[Row], title: str, group_id: str
    ) -> Loaded:
        """Make rows about people the members of a Group: `Panels.load`."""
        return await self._panels.load(ctx, rows, title=title, group_id=group_id)

    async def undo_panel(self, ctx: RequestContext, group_id: str) -> int:
        """Take the last load of a Group back: `Panels.undo`."""
        return await self._panels.undo(ctx, group_id)

    # Rules

    def _owner(self, ctx: RequestContext) -> str:
        owner = owner_of(ctx.caller)
        if not owner:
            raise HieError(Category.FORBIDDEN, "a subscription is an organisation's or a patient's")
        return owner

    async def _own(self, conn: AsyncConnection, ctx: RequestContext, name: str) -> Subscription:
        owner = self._owner(ctx)
        one = await self._book.get(conn, name)
        if one is not None and one.owner == owner:
            return one
        if await self._book.was_there(conn, name, owner):
            raise HieError(Category.GONE, "the resource was deleted")
        raise HieError(Category.NOT_FOUND, NOT_FOUND)

    async def _terms(self, ctx: RequestContext, resource: FhirJson) -> tuple[Terms, Status]:
        """What is asked for, if this caller may ask for it."""
        terms, status = fhir.read(resource, self.topics, self._policy.limits)
        topic = self.topics.by_url(terms.topic)
        if topic is None or not ctx.caller.may(topic.resource, "r"):
            kind = topic.resource if topic else _TYPE
            raise HieError(Category.FORBIDDEN, f"the token has no scope for `r` on {kind}")
        if terms.channel.type is ChannelType.REST_HOOK:
            fault = self._guard.check_url(terms.channel.endpoint)
            if fault:
                raise _refused(f"`{_TYPE}.channel.endpoint`: {fault}", f"{_TYPE}.channel.endpoint")
        if terms.end_us is not None and terms.end_us <= ctx.now_us:
            raise _refused(f"`{_TYPE}.end`: expected a time to come", f"{_TYPE}.end")
        await self._check_filters(ctx, terms, topic)
        return terms, status

    async def _check_filters(self, ctx: RequestContext, terms: Terms, topic: Topic) -> None:
        asked = self._desk.narrowed(terms, topic, ctx.now_us)
        async with self._db.reading() as conn:
            for name in {name for names in asked.groups for name in names}:
                group = await self._glances.group(conn, ctx, name)
                text = ""
                if group is None:
                    text = "a filter: expected `_in` to name a Group you may read"
                elif len(numbers_of(group)) > MOST_NUMBERS:
                    text = f"a Group with over {MOST_NUMBERS} numbers: load it by `$load-panel`"
                if text:
                    raise _refused(text, f"{_TYPE}.criteria.extension")


def _refused(text: str, place: str) -> HieError:
    issue = Issue(text=text, code="value", expression=(place,))
    return HieError(Category.BUSINESS_RULE, text, [issue])


def _first(terms: Terms, asked: Status) -> Status:
    """A websocket has no endpoint to be told: it is active at once."""
    is_socket = terms.channel.type is ChannelType.WEBSOCKET
    return Status.ACTIVE if asked is Status.REQUESTED and is_socket else asked


def _content(asked: str, one: Subscription) -> Content:
    """No more than was subscribed to."""
    levels = list(Content)
    if not asked:
        return one.terms.content
    if asked not in levels:
        text = f"`content`: expected one of {', '.join(levels)}"
        raise HieError(Category.INVALID, text, [Issue(text=text, code="value")])
    return min(Content(asked), one.terms.content, key=levels.index)


def _kept(one: Subscription) -> Kept:
    return Kept(
        id=one.id,
        version=str(one.version),
        updated_us=one.updated_us,
        resource=fhir.render(one),
    )
