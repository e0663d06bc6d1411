"""Lawful erasure in the journal: what no source record's key ever sealed.

A message that was worked off is under its record's key and goes with it. Here is the rest: what
was parked, refused or closed before anybody knew whose it was but bears the person's number, what
staff wrote when they put messages of the person back, the head and the name of a batch.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.message import State
from adapters.sealing import unseal
from adapters.tables import inbound_batch, inbound_message, replay
from hie.crypto import KeyRing
from hie.keystore import KeyKind, KeyStore

T = TypeVar("T")
_CHUNK: Final = 500
_M = inbound_message.c
#: States in which nobody will find out any more whose a message is, unless a person sees to it.
_AT_REST: Final = (State.PARKED, State.REFUSED, State.KEPT, State.DISCARDED)


class JournalErasure:
    """Takes a person out of the journal, in the transaction that destroyed their keys."""

    def __init__(self, ring: KeyRing, keys: KeyStore) -> None:
        self._ring = ring
        self._keys = keys

    async def unclaimed(
        self, conn: AsyncConnection, *, after: int, limit: int, since_us: int | None = None
    ) -> list[tuple[int, bytes]]:
        """Messages at rest under keys of their own, in the order they came: id and content.

        `since_us`: those alone that came to rest since.
        """
        query = select(_M.pk, _M.wrapped, _M.payload).where(
            _M.state.in_([state.value for state in _AT_REST]),
            _M.wrapped_by.is_(None),
            _M.pk > after,
        )
        if since_us is not None:
            query = query.where(_M.settled_us >= since_us)
        rows = await conn.execute(query.order_by(_M.pk).limit(limit))
        return [
            (row.pk, unseal(self._keys.carried(row.wrapped), "payload", row.pk, row.payload))
            for row in rows
        ]

    async def forget(
        self,
        conn: AsyncConnection,
        numbers: Iterable[tuple[str, str]],
        unclaimed: Sequence[int],
        messages: Collection[int],
        key_id: int,
    ) -> None:
        """Make unreadable what is left of somebody.

        Args:
            conn: open write transaction.
            numbers: identifiers of theirs, each with the source that sent it.
            unclaimed: messages at rest that tell of them.
            messages: the messages that told of them.
            key_id: a key that was destroyed: what is put under it reads as erased.
        """
        parted = [
            self._ring.blind("partition", f"{source}|{number}") for source, number in set(numbers)
        ]
        told = set(messages)
        for some in _chunks(parted):
            alone = or_(_M.partitions.is_(None), _M.partitions == "")
            told |= await self._close(conn, and_(_M.partition.in_(some), alone), key_id)
        for pks in _chunks(unclaimed):
            told |= await self._close(conn, _M.pk.in_(pks), key_id)
        for pks in _chunks(sorted(told)):
            await self._forget_reasons(conn, pks)
            await self._forget_batches(conn, pks)

    async def _close(
        self, conn: AsyncConnection, which: ColumnElement[bool], key_id: int
    ) -> set[int]:
        """Some messages at rest: their own keys are taken out."""
        theirs = and_(
            _M.state.in_([state.value for state in _AT_REST]), which, _M.wrapped_by.is_(None)
        )
        pks = set((await conn.execute(select(_M.pk).where(theirs))).scalars())
        await conn.execute(
            update(inbound_message).where(theirs).values(wrapped_by=key_id, wrapped=b"")
        )
        return pks

    async def _forget_reasons(self, conn: AsyncConnection, pks: Sequence[int]) -> None:
        key = await self._keys.for_owner(conn, KeyKind.SYSTEM, "")
        found = await conn.execute(select(replay.c.pk).where(replay.c.message_pk.in_(pks)))
        for pk in found.scalars().all():
            blank = key.seal(b"", table="replay", column="why", row=str(pk))
            changed = update(replay).where(replay.c.pk == pk)
            await conn.execute(changed.values(key_id=key.id, why=blank))

    async def _forget_batches(self, conn: AsyncConnection, pks: Sequence[int]) -> None:
        """Of batches that told of nobody else."""
        query = select(_M.batch_pk).where(_M.pk.in_(pks), _M.batch_pk.is_not(None)).distinct()
        for batch in (await conn.execute(query)).scalars().all():
            others = select(func.count()).where(_M.batch_pk == batch, _M.pk.not_in(pks))
            if (await conn.execute(others)).scalar_one() == 0:
                which = update(inbound_batch).where(inbound_batch.c.pk == batch)
                await conn.execute(which.values(header=b"", name=b""))


def _chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    return (values[at : at + _CHUNK] for at in range(0, len(values), _CHUNK))
