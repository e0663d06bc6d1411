"""The SQL of notices: queued with the event they come from, settled one after the other."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Row, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.db import Database
from hie.kernel.clock import SECOND_US, Clock
from hie.kernel.ids import PersonId, SourceId, SourceRecordId
from hie.notify.tables import notice, notice_told

#: How long one try may take; another process waits for so long before it tries.
CLAIM_SECONDS: Final = 90
_T, _K = notice.c, notice_told.c
_CHUNK: Final = 500


class State(StrEnum):
    """How far a notice has come."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    NO_NEWS = "no-news"  # the receiver may see no difference: nothing was sent
    PARKED = "parked"  # given up; staff have a task


#: A receiver, and the way it is told by.
Address = tuple[SourceId, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One piece of news for one receiver about one record of its own."""

    pk: int
    event_id: int
    source_id: SourceId
    channel: str
    record_id: SourceRecordId
    happened_us: int
    state: State
    reason: str
    attempts: int
    created_us: int
    due_us: int

    @property
    def address(self) -> Address:
        """Whom it goes to."""
        return self.source_id, self.channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a receiver was told last of a record.

    Attributes:
        digest: of what it is known to have.
        maybe: of what was sent and not answered; None = nothing.
    """

    person_id: PersonId
    digest: str
    maybe_person_id: PersonId | None = None
    maybe: str | None = None


class NoticeBook:
    """Queues, finds and settles notices."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def queue(
        self,
        conn: AsyncConnection,
        event_id: int,
        happened_us: int,
        wanted: Iterable[tuple[Address, SourceRecordId]],
    ) -> int:
        """Queue an event's notices, in the transaction that marks it as told; how many."""
        now_us = self._clock.now_us()
        rows = [
            {
                "pk": self._db.next_pk(),
                "event_id": event_id,
                "source_id": source_id,
                "channel": channel,
                "record_id": record_id,
                "happened_us": happened_us,
                "state": State.WAITING.value,
                "reason": "",
                "attempts": 0,
                "created_us": now_us,
                "due_us": now_us,
                "settled_us": None,
            }
            for (source_id, channel), record_id in wanted
        ]
        if rows:
            await conn.execute(notice.insert(), rows)
        return len(rows)

    async def listeners(
        self, conn: AsyncConnection, record_ids: Collection[str]
    ) -> set[tuple[Address, SourceRecordId]]:
        """Who was told of these records before, and so must hear what becomes of them."""
        names = sorted(record_ids)
        found: set[tuple[Address, SourceRecordId]] = set()
        for start in range(0, len(names), _CHUNK):
            rows = await conn.execute(
                select(_K.source_id, _K.channel, _K.record_id).where(
                    _K.record_id.in_(names[start : start + _CHUNK]),
                    or_(_K.told_us.is_not(None), _K.maybe.is_not(None)),
                )
            )
            found |= {
                ((SourceId(source), channel), SourceRecordId(record))
                for source, channel, record in rows
            }
        return found

    async def heads(self) -> list[Notice]:
        """The first notice that waits for each receiver: the others wait for it."""
        first = (
            select(func.min(_T.pk))
            .where(_T.state == State.WAITING.value)
            .group_by(_T.source_id, _T.channel)
        )
        async with self._db.reading() as conn:
            rows = await conn.execute(select(notice).where(_T.pk.in_(first)).order_by(_T.pk))
            return [_notice(row) for row in rows]

    async def head(self, address: Address) -> Notice | None:
        """The first notice that waits for a receiver."""
        query = (
            select(notice)
            .where(
                _T.state == State.WAITING.value,
                _T.source_id == address[0],
                _T.channel == address[1],
            )
            .order_by(_T.pk)
            .limit(1)
        )
        async with self._db.reading() as conn:
            row = (await conn.execute(query)).first()
        return _notice(row) if row else None

    async def claim(self, one: Notice) -> bool:
        """Whether this process is the one to send it; nobody else then does for a while.

        SQLite has one process that sends; on PostgreSQL there may be several.
        """
        if self._db.is_sqlite:
            return True
        now_us = self._clock.now_us()
        async with self._db.transaction() as conn:
            done = await conn.execute(
                update(notice)
                .where(_T.pk == one.pk, _T.state == State.WAITING.value, _T.due_us <= now_us)
                .values(due_us=now_us + CLAIM_SECONDS * SECOND_US)
            )
        return int(done.rowcount) == 1

    async def told(self, conn: AsyncConnection, one: Notice) -> Told | None:
        """What its receiver was told last of its record; None = nothing yet."""
        row = (await conn.execute(select(notice_told).where(_same(one)))).first()
        if row is None:
            return None
        return Told(
            person_id=PersonId(row.person_id),
            digest=row.digest,
            maybe_person_id=PersonId(row.maybe_person_id) if row.maybe_person_id else None,
            maybe=row.maybe,
        )

    async def knows(self, conn: AsyncConnection, one: Notice, known: Told) -> None:
        """Note what the receiver knows of its record by itself, where nothing was told yet."""
        if await self.told(conn, one) is None:
            await conn.execute(notice_told.insert(), self._known(one, known))

    def _known(self, one: Notice, known: Told) -> dict[str, Any]:
        return {
            "source_id": one.source_id,
            "channel": one.channel,
            "record_id": one.record_id,
            "person_id": known.person_id,
            "digest": known.digest,
            "maybe": known.maybe,
            "maybe_person_id": known.maybe_person_id,
            "told_us": None,
        }

    async def sending(self, one: Notice, before: Told, person: PersonId, digest: str) -> None:
        """Note, before a byte leaves, that the receiver may have this from now on."""
        values: dict[str, Any] = {"maybe": digest, "maybe_person_id": person}
        async with self._db.transaction() as conn:
            done = await conn.execute(update(notice_told).where(_same(one)).values(**values))
            if not done.rowcount:
                row = self._known(one, before) | values
                await conn.execute(notice_told.insert(), row)

    async def delivered(self, one: Notice, person: PersonId, digest: str) -> None:
        """The receiver has it."""
        now_us = self._clock.now_us()
        async with self._db.transaction() as conn:
            await conn.execute(
                update(notice_told)
                .where(_same(one))
                .values(
                    person_id=person,
                    digest=digest,
                    maybe=None,
                    maybe_person_id=None,
                    told_us=now_us,
                )
            )
            await self.settle(conn, one, State.DELIVERED)

    async def settle(
        self, conn: AsyncConnection, one: Notice, state: State, reason: str = ""
    ) -> None:
        """A notice waits no more."""
        is_tried = state is not State.NO_NEWS
        await conn.execute(
            update(notice)
            .where(_T.pk == one.pk)
            .values(
                state=state.value,
                reason=reason,
                attempts=_T.attempts + int(is_tried),
                settled_us=self._clock.now_us(),
            )
        )

    async def postpone(self, one: Notice, reason: str, seconds: float) -> None:
        """Try one again later; what waits behind it waits with it."""
        due_us = self._clock.now_us() + int(seconds * SECOND_US)
        async with self._db.transaction() as conn:
            await conn.execute(
                update(notice)
                .where(_T.pk == one.pk)
                .values(attempts=_T.attempts + 1, reason=reason, due_us=due_us)
            )

    async def again(self, pks: Collection[int] = (), source_id: str = "") -> int:
        """Try parked notices once more, by number or all of a receiver; how many."""
        now_us = self._clock.now_us()
        which = _T.pk.in_(list(pks)) if pks else _T.source_id == source_id
        async with self._db.transaction() as conn:
            done = await conn.execute(
                update(notice)
                .where(which, _T.state == State.PARKED.value)
                .values(
                    state=State.WAITING.value,
                    due_us=now_us,
                    created_us=now_us,
                    attempts=0,
                    settled_us=None,
                    reason="",
                )
            )
        return int(done.rowcount)

    async def listed(self, states: Collection[State], source_id: str, limit: int) -> list[Notice]:
        """Notices in these states, newest first; of one receiver, or of all."""
        query = select(notice).where(_T.state.in_([state.value for state in states]))
        if source_id:
            query = query.where(_T.source_id == source_id)
        async with self._db.reading() as conn:
            rows = await conn.execute(query.order_by(_T.pk.desc()).limit(limit))
            return [_notice(row) for row in rows]

    async def counts(self) -> dict[tuple[str, str, str], tuple[int, int]]:
        """By receiver, channel and state what waits or is parked: how many, the oldest (µs)."""
        open_states = [State.WAITING.value, State.PARKED.value]
        by = (_T.source_id, _T.channel, _T.state)
        query = (
            select(*by, func.count(), func.min(_T.created_us))
            .where(_T.state.in_(open_states))
            .group_by(*by)
        )
        async with self._db.reading() as conn:
            rows = await conn.execute(query)
            return {(r[0], r[1], r[2]): (int(r[3]), int(r[4])) for r in rows}

    async def forget(self, before_us: int) -> int:
        """Delete the rows of what was delivered, or was no news, before then; how many."""
        done_states = [State.DELIVERED.value, State.NO_NEWS.value]
        async with self._db.transaction() as conn:
            done = await conn.execute(
                delete(notice).where(_T.state.in_(done_states), _T.settled_us < before_us)
            )
        return int(done.rowcount)


def _same(one: Notice) -> Any:
    return and_(
        _K.source_id == one.source_id,
        _K.channel == one.channel,
        _K.record_id == one.record_id,
    )


def _notice(row: Row[Any]) -> Notice:
    return Notice(
        pk=row.pk,
        event_id=row.event_id,
        source_id=SourceId(row.source_id),
        channel=row.channel,
        record_id=SourceRecordId(row.record_id),
        happened_us=row.happened_us,
        state=State(row.state),
        reason=row.reason,
        attempts=row.attempts,
        created_us=row.created_us,
        due_us=row.due_us,
    )
