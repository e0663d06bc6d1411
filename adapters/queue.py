"""Which waiting messages a worker takes: oldest first, none of a patient another worker is at.

INVARIANT: messages of one partition are worked off one after the other in the order they were
journaled, by however many workers. A worker holds the partitions of what it takes until its
transaction ends; when it dies, the database lets go of them and nothing it did remains. A
message that speaks of several patients needs all of their partitions, and until it is taken
everything behind it in any of them waits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Integer, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.journal import Journal
from adapters.message import Message, State
from adapters.tables import inbound_message
from hie.db import Database

#: How far a worker looks behind messages of patients that others are at.
WINDOW: Final = 512
_T = inbound_message.c
_HEADS = (
    select(_T.pk, _T.partition, _T.partitions)
    .where(_T.state == State.RECEIVED.value)
    .order_by(_T.pk)
    .limit(bindparam("count", type_=Integer))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """What a worker may work off until its transaction ends.

    Attributes:
        is_blocked: others wait, behind patients that other workers are at.
    """

    messages: tuple[Message, ...]
    is_blocked: bool = False


class Queue:
    """Hands waiting messages to the workers of several processes."""

    def __init__(self, db: Database, journal: Journal) -> None:
        self._db = db
        self._journal = journal

    async def reserve(self, conn: AsyncConnection, limit: int) -> Reserved:
        """The next messages nobody is at, with their partitions, in an open write transaction."""
        heads = (await conn.execute(_HEADS, {"count": WINDOW})).all()
        taken: list[int] = []
        mine: set[str] = set()
        blocked: set[str] = set()
        for start in range(0, len(heads), limit):
            part = heads[start : start + limit]
            new = {key for row in part for key in _keys(row)} - mine - blocked
            held = await self._db.try_hold(conn, new)
            mine |= held
            blocked |= new - held
            taken += _free(part, blocked)
            if len(taken) >= limit:
                break
        return Reserved(
            messages=tuple(await self._read(conn, taken[:limit])) if taken else (),
            is_blocked=bool(heads) and not taken,
        )

    async def _read(self, conn: AsyncConnection, pks: Sequence[int]) -> list[Message]:
        """Those that still wait, now that nobody else can take them."""
        rows = await conn.execute(
            select(inbound_message)
            .where(_T.pk.in_(pks), _T.state == State.RECEIVED.value)
            .order_by(_T.pk)
        )
        return [await self._journal.to_work_off(conn, row) for row in rows.all()]


def _keys(row: Any) -> tuple[str, ...]:
    return (row.partition, *(row.partitions or "").split())


def _free(rows: Iterable[Any], blocked: set[str]) -> list[int]:
    """The messages behind nothing that is blocked; what is behind one of those is blocked too."""
    found = []
    for row in rows:
        keys = _keys(row)
        if blocked.isdisjoint(keys):
            found.append(row.pk)
        else:
            blocked.update(keys)
    return found
