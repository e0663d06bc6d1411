"""What sources merged and moved: where a renumbered visit or account is found, and what to undo."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, String, bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.padding import padded
from hie.store.index import SearchIndex
from hie.store.tables import resource_redirect, source_move, source_move_item

_CHUNK = 500
#: How often a number is followed that was changed again and again.
_LONGEST_CHAIN = 64
_REDIRECT = resource_redirect.c
# Built once: every message runs it.
_FOLLOWING = select(_REDIRECT.type_id, _REDIRECT.id, _REDIRECT.to_id).where(
    _REDIRECT.id.in_(bindparam("ids", type_=String, expanding=True))
)
#: A resource by type and id.
Address = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A merge or move of a source, and the decision that keeps it.

    Attributes:
        survivor, retired: source records, where patients were merged.
        is_undone: it was taken back.
    """

    decision_id: int
    source_id: str
    message_id: int
    kind: str
    at_us: int
    survivor: str | None = None
    retired: str | None = None
    is_undone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A resource a move changed.

    Attributes:
        before, after: its versions.
        record: the source record it was filed under before.
    """

    type: str
    id: str
    before: int
    after: int
    record: str


class MoveLog:
    """Keeps moves, what they changed, and where renumbered resources are."""

    def __init__(self, index: SearchIndex) -> None:
        self._index = index

    async def followed(
        self, conn: AsyncConnection, wanted: Iterable[Address]
    ) -> dict[Address, Address]:
        """Where renumbered resources are now; those that were not are left out."""
        asked = {address: address for address in wanted}
        for _ in range(_LONGEST_CHAIN):
            following = await self._following(conn, set(asked.values()))
            if not following:
                break
            asked = {first: following.get(at, at) for first, at in asked.items()}
        return {first: at for first, at in asked.items() if first != at}

    async def _following(
        self, conn: AsyncConnection, wanted: set[Address]
    ) -> dict[Address, Address]:
        found: dict[Address, Address] = {}
        ids = sorted({key for _, key in wanted})
        for start in range(0, len(ids), _CHUNK):
            rows = await conn.execute(_FOLLOWING, {"ids": padded(ids[start : start + _CHUNK])})
            for type_id, key, to in rows:
                name = self._index.type_name(type_id)
                if (name, key) in wanted:
                    found[name, key] = (name, to)
        return found

    async def redirect(
        self, conn: AsyncConnection, one: Address, to: Address, decision_id: int
    ) -> None:
        """Let what asks for the one resource find the other."""
        await conn.execute(
            resource_redirect.insert().values(
                type_id=self._index.type_id(one[0]),
                id=one[1],
                to_id=to[1],
                decision_id=decision_id,
            )
        )

    async def keep(self, conn: AsyncConnection, move: Move, items: Sequence[Item]) -> None:
        """Remember a move and what it changed."""
        await conn.execute(
            source_move.insert().values(
                decision_id=move.decision_id,
                source_id=move.source_id,
                message_id=move.message_id,
                kind=move.kind,
                at_us=move.at_us,
                survivor=move.survivor,
                retired=move.retired,
            )
        )
        if items:
            await conn.execute(
                source_move_item.insert(),
                [
                    {
                        "decision_id": move.decision_id,
                        "type_id": self._index.type_id(item.type),
                        "id": item.id,
                        "before_version": item.before,
                        "after_version": item.after,
                        "from_record": item.record,
                    }
                    for item in items
                ],
            )

    async def move_of(self, conn: AsyncConnection, decision_id: int) -> Move | None:
        """The move a decision keeps, undone or not; None where it keeps none."""
        query = select(source_move).where(source_move.c.decision_id == decision_id)
        row = (await conn.execute(query)).first()
        return _as_move(row) if row else None

    async def merge_of(self, conn: AsyncConnection, retired: str) -> Move | None:
        """The merge that holds by which a source record was replaced; None where there is none."""
        c = source_move.c
        query = (
            select(source_move)
            .where(c.retired == retired, c.undone_us.is_(None))
            .order_by(c.decision_id.desc())
            .limit(1)
        )
        row = (await conn.execute(query)).first()
        return _as_move(row) if row else None

    async def moves(self, conn: AsyncConnection, source_id: str, limit: int) -> list[Move]:
        """Merges and moves, the newest first; of one source where one is named."""
        query = select(source_move).order_by(source_move.c.decision_id.desc()).limit(limit)
        if source_id:
            query = query.where(source_move.c.source_id == source_id)
        return [_as_move(row) for row in await conn.execute(query)]

    async def items(self, conn: AsyncConnection, decision_id: int) -> list[Item]:
        """What a move changed."""
        c = source_move_item.c
        rows = await conn.execute(
            select(source_move_item).where(c.decision_id == decision_id).order_by(c.type_id, c.id)
        )
        return [
            Item(
                type=self._index.type_name(row.type_id),
                id=row.id,
                before=row.before_version,
                after=row.after_version,
                record=row.from_record,
            )
            for row in rows
        ]

    async def done_again(self, conn: AsyncConnection, decision_id: int) -> None:
        """Note that a move was undone no more."""
        await conn.execute(
            update(source_move)
            .where(source_move.c.decision_id == decision_id)
            .values(undone_us=None)
        )

    async def undone(self, conn: AsyncConnection, decision_id: int, now_us: int) -> None:
        """Take a move's redirects away, and note that it was undone."""
        c = resource_redirect.c
        await conn.execute(delete(resource_redirect).where(c.decision_id == decision_id))
        await conn.execute(
            update(source_move)
            .where(source_move.c.decision_id == decision_id)
            .values(undone_us=now_us)
        )


def _as_move(row: Row[Any]) -> Move:
    return Move(
        decision_id=row.decision_id,
        source_id=row.source_id,
        message_id=row.message_id,
        kind=row.kind,
        at_us=row.at_us,
        survivor=row.survivor,
        retired=row.retired,
        is_undone=row.undone_us is not None,
    )
