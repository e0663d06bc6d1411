"""Messages put back in the queue or closed by a person: which, who, when, why, what came of it.

INVARIANT: a message goes back only from the states its caller names, in one statement that
checks them: two people who replay the same message at once replay it once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.message import State
from adapters.port import Wire
from adapters.tables import inbound_message, replay
from hie.crypto import DataKey
from hie.db import Database
from hie.kernel.ids import MessageId
from hie.keystore import KeyKind, KeyStore

_T, _R = inbound_message.c, replay.c
_CHUNK: Final = 500
_CONCLUDE = (
    update(replay)
    .where(_R.message_pk == bindparam("b_message_pk"), _R.outcome == "")
    .values(outcome=bindparam("b_outcome"), settled_us=bindparam("b_settled_us"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which journaled HL7 v2 messages are meant; empty parts say nothing.

    Attributes:
        ids: exactly these.
        since_us, until_us: received in this time; the end is not part of it.
        stage: where they stopped: `parse`, `map`, `identify`, `store`.
        reason: words of the reason they stopped for.
        states: where they are on their way.
    """

    ids: tuple[MessageId, ...] = ()
    source_id: str = ""
    since_us: int | None = None
    until_us: int | None = None
    stage: str = ""
    reason: str = ""
    states: tuple[State, ...] = (State.PARKED,)

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing but a state: that would be everything."""
        times = (self.since_us, self.until_us)
        return times == (None, None) and not (
            self.ids or self.source_id or self.stage or self.reason
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How many messages of one source stopped at one stage for one reason."""

    source_id: str
    state: str
    stage: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A message as it is listed: nothing of its content."""

    id: MessageId
    source_id: str
    received_us: int
    trigger: str
    state: State
    stage: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What a person does to messages.

    Attributes:
        run: groups what was done at once.
        action: `replay`, `discard` or `restore`.
        to: the state they are in from then on.
        why: in the person's words; sealed.
    """

    run: int
    action: str
    to: State
    actor: str
    why: str
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chained:
    """One deed in a message's history; `outcome` is empty until it is worked off."""

    run: int
    action: str
    actor: str
    why: str
    at_us: int
    from_state: str
    from_stage: str
    from_reason: str
    outcome: str


class Replays:
    """Reads and writes what people did to messages."""

    def __init__(self, db: Database, keys: KeyStore) -> None:
        self._db = db
        self._keys = keys

    async def counts(self, conn: AsyncConnection, wanted: MessageFilter) -> list[Found]:
        """The messages meant, counted by source, stage and reason; the most first."""
        by = (_T.source_id, _T.state, _T.stage, _T.reason)
        number = func.count().label("number")
        query = _filtered(select(*by, number), wanted).group_by(*by).order_by(number.desc(), *by)
        return [
            Found(source_id=source, state=state, stage=stage, reason=reason, count=count)
            for source, state, stage, reason, count in await conn.execute(query)
        ]

    async def listed(
        self, conn: AsyncConnection, wanted: MessageFilter, *, limit: int, after: int = 0
    ) -> list[Listed]:
        """The messages meant, oldest first, from behind `after`."""
        columns = (_T.pk, _T.source_id, _T.received_us, _T.trigger, _T.state, _T.stage, _T.reason)
        query = _filtered(select(*columns), wanted).where(_T.pk > after)
        return [
            Listed(
                id=MessageId(row.pk),
                source_id=row.source_id,
                received_us=row.received_us,
                trigger=row.trigger,
                state=State(row.state),
                stage=row.stage,
                reason=row.reason,
            )
            for row in await conn.execute(query.order_by(_T.pk).limit(limit))
        ]

    async def apply(
        self,
        conn: AsyncConnection,
        message_ids: Sequence[MessageId],
        states: Sequence[State],
        deed: Deed,
    ) -> list[MessageId]:
        """Do it to those of the messages that are in one of the states; which those were."""
        done: list[MessageId] = []
        for start in range(0, len(message_ids), _CHUNK):
            part = message_ids[start : start + _CHUNK]
            query = select(_T.pk, _T.state, _T.stage, _T.reason).where(
                _T.pk.in_(part),
                _T.state.in_([state.value for state in states]),
                _T.wire != Wire.FHIR.value,
            )
            rows = (await conn.execute(query.with_for_update(skip_locked=True))).all()
            if rows:
                await self._change(conn, rows, deed)
                done += [MessageId(row.pk) for row in rows]
        return done

    async def _change(self, conn: AsyncConnection, rows: Sequence[Any], deed: Deed) -> None:
        key = (await self._keys.for_owners(conn, KeyKind.SYSTEM, [""]))[""]
        await conn.execute(replay.insert(), [self._row(row, deed, key) for row in rows])
        await conn.execute(
            update(inbound_message)
            .where(_T.pk.in_([row.pk for row in rows]))
            .values(
                state=deed.to.value,
                **({"stage": "", "reason": ""} if deed.to is State.RECEIVED else {}),
            )
        )

    def _row(self, row: Any, deed: Deed, key: DataKey) -> dict[str, Any]:
        pk = self._db.next_pk()
        return {
            "pk": pk,
            "message_pk": row.pk,
            "run": deed.run,
            "action": deed.action,
            "at_us": deed.at_us,
            "actor": deed.actor[:200],
            "from_state": row.state,
            "from_stage": row.stage,
            "from_reason": row.reason,
            "outcome": "" if deed.to is State.RECEIVED else deed.to.value,
            "settled_us": None if deed.to is State.RECEIVED else deed.at_us,
            "key_id": key.id,
            "why": key.seal(deed.why.encode(), table="replay", column="why", row=str(pk)),
        }

    async def conclude(
        self, conn: AsyncConnection, outcomes: Sequence[tuple[MessageId, State]], at_us: int
    ) -> None:
        """Note what became of messages that were replayed; in the transaction that made it so."""
        rows = [
            {"b_message_pk": pk, "b_outcome": state.value, "b_settled_us": at_us}
            for pk, state in outcomes
        ]
        if rows:
            await conn.execute(_CONCLUDE, rows)

    async def outcomes(self, conn: AsyncConnection, run: int) -> dict[str, int]:
        """How many messages of one deed came to what; "" = they wait."""
        query = select(_R.outcome, func.count()).where(_R.run == run).group_by(_R.outcome)
        return {row[0]: row[1] for row in await conn.execute(query)}

    async def history(self, conn: AsyncConnection, message_id: MessageId) -> list[Chained]:
        """What was done to a message, first to last."""
        query = select(replay).where(_R.message_pk == message_id).order_by(_R.pk)
        rows = (await conn.execute(query)).all()
        keys = await self._keys.by_ids(conn, {row.key_id for row in rows})
        return [
            Chained(
                run=row.run,
                action=row.action,
                actor=row.actor,
                why=keys[row.key_id]
                .open(row.why, table="replay", column="why", row=str(row.pk))
                .decode(),
                at_us=row.at_us,
                from_state=row.from_state,
                from_stage=row.from_stage,
                from_reason=row.from_reason,
                outcome=row.outcome,
            )
            for row in rows
        ]


def _filtered(query: Select[Any], wanted: MessageFilter) -> Select[Any]:
    query = query.where(
        _T.state.in_([state.value for state in wanted.states]), _T.wire != Wire.FHIR.value
    )
    if wanted.ids:
        query = query.where(_T.pk.in_(wanted.ids))
    if wanted.source_id:
        query = query.where(_T.source_id == wanted.source_id)
    if wanted.since_us is not None:
        query = query.where(_T.received_us >= wanted.since_us)
    if wanted.until_us is not None:
        query = query.where(_T.received_us < wanted.until_us)
    if wanted.stage:
        query = query.where(_T.stage == wanted.stage)
    if wanted.reason:
        query = query.where(_T.reason.contains(wanted.reason, autoescape=True))
    return query
