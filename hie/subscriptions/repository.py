"""The SQL of subscriptions and of the events that wait for them."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Row, and_, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.db import Database
from hie.kernel.context import Caller, Scope
from hie.kernel.ids import OrganizationId, PersonId
from hie.keystore import KeyKind, KeyStore
from hie.proxies.model import USER_PREFIX
from hie.proxies.repository import standing_in
from hie.subscriptions.model import (
    Channel,
    ChannelType,
    Content,
    Event,
    EventState,
    Status,
    Subscription,
    Terms,
)
from hie.subscriptions.tables import subscription, subscription_binding, subscription_event

_S, _E = subscription.c, subscription_event.c
_LIVE: Final = (Status.REQUESTED.value, Status.ACTIVE.value, Status.ERROR.value)
# Built once: every write runs it.
_LIVE_TOPICS: Final = select(_S.topic).where(_S.status.in_(_LIVE), _S.deleted.is_(False)).distinct()
_OPEN: Final = (EventState.WAITING.value, EventState.TOLD.value)


class SubscriptionBook:
    """Keeps subscriptions and their events."""

    def __init__(self, db: Database, keys: KeyStore) -> None:
        self._db = db
        self._keys = keys

    # Subscriptions

    async def save(self, conn: AsyncConnection, one: Subscription, *, is_new: bool = False) -> None:
        """Store a subscription, new or changed by its owner: what it asks for and as whom."""
        key = await self._keys.for_owner(conn, KeyKind.SYSTEM, "")
        text = json.dumps(asdict(one.terms)).encode()
        caller = one.caller
        values = {
            "status": one.status.value,
            "version": one.version,
            "updated_us": one.updated_us,
            "topic": one.terms.topic,
            "channel": one.terms.channel.type.value,
            "key_id": key.id,
            "terms": key.seal(text, table="subscription", column="terms", row=one.id),
            "token_id": caller.token_id,
            "organization": caller.organization,
            "user_name": caller.user,
            "roles": " ".join(sorted(caller.roles)) or None,
            "patient": caller.patient,
            "purpose": caller.purpose,
            "scopes": " ".join(f"{s.level}/{s.resource}.{s.actions}" for s in caller.scopes),
            "attempts": one.attempts,
            "due_us": one.due_us,
            "failing_us": one.failing_us,
            "heartbeat_us": one.heartbeat_us,
            "error": one.error,
            "end_us": one.terms.end_us,
        }
        if is_new:
            kept = {"id": one.id, "owner": one.owner, "created_us": one.created_us}
            counts = {"told": 0, "delivered": 0, "deleted": False}
            await conn.execute(subscription.insert().values(**values, **kept, **counts))
        else:
            await conn.execute(update(subscription).where(_S.id == one.id).values(**values))

    async def get(self, conn: AsyncConnection, subscription_id: str) -> Subscription | None:
        """A subscription that was not deleted."""
        found = await self._found(conn, _S.id == subscription_id, _S.deleted.is_(False))
        return found[0] if found else None

    async def of_owner(self, conn: AsyncConnection, owner: str) -> list[Subscription]:
        """Somebody's subscriptions, oldest first."""
        return await self._found(conn, _S.owner == owner, _S.deleted.is_(False))

    async def live(self, conn: AsyncConnection) -> list[Subscription]:
        """Those that are not off."""
        return await self._found(conn, _S.status.in_(_LIVE), _S.deleted.is_(False))

    async def live_to(self, conn: AsyncConnection, topic: str) -> list[str]:
        """The ids of those to a topic that are not off."""
        where = (_S.topic == topic, _S.status.in_(_LIVE), _S.deleted.is_(False))
        return list((await conn.execute(select(_S.id).where(*where))).scalars())

    async def everyone(self, conn: AsyncConnection) -> list[Subscription]:
        """Every subscription, for staff."""
        return await self._found(conn, _S.deleted.is_(False))

    async def live_topics(self, conn: AsyncConnection) -> set[str]:
        """The topics somebody has a subscription to that is not off."""
        return set((await conn.execute(_LIVE_TOPICS)).scalars())

    async def set_status(
        self, conn: AsyncConnection, one: Subscription, status: Status, *, now_us: int, error: str
    ) -> None:
        """A step of its status, which makes a version; nothing when it stands there already.

        Nor when its owner changed it meanwhile: what was found out is not about the new terms.
        """
        is_step = or_(_S.status != status.value, _S.error != error)
        await conn.execute(
            update(subscription)
            .where(_S.id == one.id, _S.version == one.version, is_step)
            .values(status=status.value, error=error, version=_S.version + 1, updated_us=now_us)
        )

    async def remove(self, conn: AsyncConnection, subscription_id: str) -> None:
        """Delete one and what waits for it; a trace that it was there remains."""
        await conn.execute(
            update(subscription)
            .where(_S.id == subscription_id)
            .values(deleted=True, status=Status.OFF.value, terms=b"")
        )
        await conn.execute(delete(subscription_event).where(_E.subscription_id == subscription_id))

    async def was_there(self, conn: AsyncConnection, subscription_id: str, owner: str) -> bool:
        """Whether an owner had a subscription that is deleted."""
        query = select(_S.id).where(
            _S.id == subscription_id, _S.owner == owner, _S.deleted.is_(True)
        )
        return (await conn.execute(query)).first() is not None

    async def _found(self, conn: AsyncConnection, *where: Any) -> list[Subscription]:
        rows = (
            await conn.execute(select(subscription).where(*where).order_by(_S.created_us, _S.id))
        ).all()
        keys = await self._keys.by_ids(conn, {row.key_id for row in rows})
        return [self._subscription(row, keys[row.key_id]) for row in rows]

    def _subscription(self, row: Row[Any], key: Any) -> Subscription:
        text = key.open(row.terms, table="subscription", column="terms", row=row.id)
        return Subscription(
            id=row.id,
            owner=row.owner,
            status=Status(row.status),
            version=row.version,
            created_us=row.created_us,
            updated_us=row.updated_us,
            terms=_terms(json.loads(text)),
            caller=_caller(row),
            told=row.told,
            delivered=row.delivered,
            attempts=row.attempts,
            due_us=row.due_us,
            failing_us=row.failing_us,
            heartbeat_us=row.heartbeat_us,
            error=row.error,
        )

    # Delivery

    async def lanes(self, conn: AsyncConnection, now_us: int) -> list[tuple[str, int]]:
        """Endpoints there is something to send to, and when."""
        waits = exists().where(_E.subscription_id == _S.id, _E.state.in_(_OPEN))
        rows = await conn.execute(
            select(_S.id, _S.due_us).where(
                _S.channel == ChannelType.REST_HOOK.value,
                _S.deleted.is_(False),
                or_(
                    _S.status == Status.REQUESTED.value,
                    and_(
                        _S.status.in_(_LIVE),
                        or_(waits, _S.heartbeat_us <= now_us),
                        # A failed handshake is asked for again by the subscriber. Where what
                        # failed was withdrawn since, no try is counted and what comes is tried.
                        or_(
                            _S.status != Status.ERROR.value,
                            _S.failing_us.is_not(None),
                            _S.attempts == 0,
                        ),
                    ),
                ),
            )
        )
        return [(row.id, row.due_us) for row in rows]

    async def stirring(self, conn: AsyncConnection, names: Sequence[str]) -> dict[str, int]:
        """Of these, the number of the last event, plus one where more wait."""
        waits = exists().where(_E.subscription_id == _S.id, _E.state == EventState.WAITING.value)
        rows = await conn.execute(select(_S.id, _S.told, waits).where(_S.id.in_(names)))
        return {row[0]: int(row[1]) + int(row[2]) for row in rows}

    async def claim(self, one: Subscription, until_us: int) -> bool:
        """Have a try to oneself; False where another process has it."""
        async with self._db.transaction() as conn:
            done = await conn.execute(
                update(subscription)
                .where(_S.id == one.id, _S.due_us == one.due_us, _S.attempts == one.attempts)
                .values(due_us=until_us, attempts=_S.attempts + 1)
            )
        return bool(done.rowcount)

    async def release(self, conn: AsyncConnection, now_us: int) -> None:
        """Give up the claims of a process that is no more; tries that failed wait as before."""
        await conn.execute(
            update(subscription)
            .where(_S.due_us > now_us, _S.failing_us.is_(None))
            .values(due_us=now_us)
        )

    async def postpone(
        self, conn: AsyncConnection, one: Subscription, due_us: int, now_us: int
    ) -> None:
        """Try again later, what waits behind waits with it."""
        await conn.execute(
            update(subscription)
            .where(_S.id == one.id, _S.version == one.version)
            .values(due_us=due_us, failing_us=func.coalesce(_S.failing_us, now_us))
        )

    async def reached(self, conn: AsyncConnection, one: Subscription, now_us: int) -> None:
        """Its endpoint answered: no try has failed since."""
        seconds = one.terms.channel.heartbeat_seconds
        await conn.execute(
            update(subscription)
            .where(_S.id == one.id)
            .values(
                attempts=0,
                due_us=now_us,
                failing_us=None,
                heartbeat_us=now_us + seconds * 1_000_000 if seconds else None,
            )
        )

    # Events

    async def queue(self, conn: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
        """Events for subscriptions, without a number yet."""
        if rows:
            waiting = {"state": EventState.WAITING.value, "number": None, "settled_us": None}
            await conn.execute(
                subscription_event.insert(),
                [{"pk": self._db.next_pk(), **waiting, **row} for row in rows],
            )

    async def lock(self, conn: AsyncConnection, subscription_id: str) -> int | None:
        """Number events alone until the transaction ends; the last number given."""
        # An update takes the row on PostgreSQL; SQLite has one writer.
        await conn.execute(
            update(subscription).where(_S.id == subscription_id).values(told=_S.told)
        )
        return await conn.scalar(
            select(_S.told).where(_S.id == subscription_id, _S.deleted.is_(False))
        )

    async def is_untold(self, conn: AsyncConnection, one: Subscription) -> bool:
        """Whether an event has a number and was not delivered."""
        query = select(_E.pk).where(_E.subscription_id == one.id, _E.state == EventState.TOLD.value)
        return (await conn.execute(query.limit(1))).first() is not None

    async def waiting(self, conn: AsyncConnection, one: Subscription, limit: int) -> list[Event]:
        """Events whose telling is not decided, in order."""
        return await self._events(
            conn, limit, _E.subscription_id == one.id, _E.state == EventState.WAITING.value
        )

    async def told(
        self,
        conn: AsyncConnection,
        one: Subscription,
        *,
        since: int,
        until: int | None = None,
        limit: int,
    ) -> list[Event]:
        """Events with a number from `since` to `until`, both included, in order."""
        where = [_E.subscription_id == one.id, _E.number >= since]
        where += [_E.number <= until] if until is not None else []
        return await self._events(conn, limit, *where)

    async def give_numbers(self, conn: AsyncConnection, events: Sequence[Event]) -> None:
        """Number events, and keep the last number with their subscription."""
        for one in events:
            await conn.execute(
                update(subscription_event)
                .where(_E.pk == one.pk)
                .values(state=EventState.TOLD.value, number=one.number, focus_id=one.focus[1])
            )
        last = events[-1]
        await conn.execute(
            update(subscription).where(_S.id == last.subscription_id).values(told=last.number)
        )

    async def drop(self, conn: AsyncConnection, pks: Collection[int]) -> None:
        """Forget events that are not told: nothing says that they were there."""
        await conn.execute(delete(subscription_event).where(_E.pk.in_(list(pks))))

    async def delivered(
        self, conn: AsyncConnection, one: Subscription, number: int, now_us: int
    ) -> None:
        """Its subscriber has everything up to a number."""
        await conn.execute(
            update(subscription_event)
            .where(
                _E.subscription_id == one.id,
                _E.number <= number,
                _E.state == EventState.TOLD.value,
            )
            .values(state=EventState.DELIVERED.value, settled_us=now_us)
        )
        await conn.execute(
            update(subscription)
            .where(_S.id == one.id, _S.delivered < number)
            .values(delivered=number)
        )

    async def forget(self, conn: AsyncConnection, before_us: int) -> int:
        """Delete events of that age, whether anybody took them or not; how many."""
        done = await conn.execute(delete(subscription_event).where(_E.happened_us < before_us))
        return int(done.rowcount)

    async def counts(self, conn: AsyncConnection) -> dict[tuple[str, str], tuple[int, int]]:
        """By subscription and state what is not delivered: how many, the oldest (µs)."""
        by = (_E.subscription_id, _E.state)
        rows = await conn.execute(
            select(*by, func.count(), func.min(_E.happened_us))
            .where(_E.state.in_(_OPEN))
            .group_by(*by)
        )
        return {(row[0], row[1]): (int(row[2]), int(row[3])) for row in rows}

    async def _events(self, conn: AsyncConnection, limit: int, *where: Any) -> list[Event]:
        query = select(subscription_event).where(*where).order_by(_E.number, _E.pk).limit(limit)
        return [_event(row) for row in await conn.execute(query)]


async def forget_patient(conn: AsyncConnection, person: str) -> None:
    """Take out the subscriptions of a patient, of whoever stood in, and in whose place they stood.

    Their terms, events and tokens; while it is still known for whom the person stands in.
    """
    users = [f"{USER_PREFIX}{one}" for one in await standing_in(conn, person)]
    theirs = or_(_S.patient == person, _S.owner.in_(users))
    found = (await conn.execute(select(_S.id, _S.owner).where(theirs))).all()
    ids, owners = [row.id for row in found], {row.owner for row in found}
    await conn.execute(delete(subscription_event).where(_E.subscription_id.in_(ids)))
    await conn.execute(delete(subscription_binding).where(subscription_binding.c.owner.in_(owners)))
    await conn.execute(delete(subscription).where(_S.id.in_(ids)))


def _event(row: Row[Any]) -> Event:
    return Event(
        pk=row.pk,
        subscription_id=row.subscription_id,
        focus=(row.type, row.focus_id),
        happened_us=row.happened_us,
        records=tuple(row.records.split()),
        was=tuple(row.was.split()),
        number=row.number,
        state=EventState(row.state),
    )


def _caller(row: Row[Any]) -> Caller:
    """Who asked, without what is looked up anew each time."""
    return Caller(
        token_id=row.token_id,
        organization=OrganizationId(row.organization) if row.organization else None,
        user=row.user_name,
        roles=frozenset((row.roles or "").split()),
        patient=PersonId(row.patient) if row.patient else None,
        purpose=row.purpose,
        scopes=tuple(_scopes(row.scopes.split())),
    )


def _scopes(words: Iterable[str]) -> Iterable[Scope]:
    for word in words:
        level, _, rest = word.partition("/")
        kind, _, actions = rest.partition(".")
        yield Scope(level, kind, actions)


def _terms(found: dict[str, Any]) -> Terms:
    channel = found.pop("channel")
    kind, headers = ChannelType(channel.pop("type")), tuple(channel.pop("headers"))
    return Terms(
        channel=Channel(type=kind, headers=headers, **channel),
        content=Content(found.pop("content")),
        filters=tuple(found.pop("filters")),
        contact=tuple(found.pop("contact")),
        **found,
    )
