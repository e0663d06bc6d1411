"""The chain's side of the audit trail in the database: the lease, signed heads, chained rows."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import ColumnElement, Row, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.chain import (
    NOT_OURS,
    ChainedRow,
    ChainState,
    SignedHead,
    StoredRow,
    TreeHead,
    hash_found,
)
from hie.audit.merkle import HASH_BYTES, Frontier
from hie.audit.tables import audit_event, audit_head, audit_lease
from hie.db import Database

_LEASE = "chain"
_BEHIND_ALL = 2**63 - 1
_STORED = tuple(audit_event.c[f.name] for f in fields(StoredRow))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who chains, and the signed end of the chain.

    Attributes:
        holder: the process that chains until `expires_us`.
        state: as stored; ask `is_trusted` before building on it.
    """

    holder: str
    expires_us: int
    state: ChainState
    signed: SignedHead

    def is_trusted(self, key: Ed25519PublicKey) -> bool:
        """Whether the stored end of the chain is what the hub signed."""
        return self.state.is_sound and self.signed.is_genuine(key)


class ChainTable:
    """The chain's side of the trail: what the sequencer and the verifier read and write."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create_lease(self, conn: AsyncConnection, lease: Lease) -> None:
        """Store the first lease; leaves one that is there alone."""
        make = sqlite.insert if self._db.is_sqlite else postgresql.insert
        row = {"name": _LEASE, **_lease_row(lease)}
        await conn.execute(make(audit_lease).values(row).on_conflict_do_nothing())

    async def lease(self, conn: AsyncConnection, *, is_locked: bool = False) -> Lease | None:
        """The lease; locked, no other process changes it until the transaction ends.

        One that cannot be read is none: beside rows that are chained nobody builds on that.
        """
        query = select(audit_lease).where(audit_lease.c.name == _LEASE)
        row = (await conn.execute(query.with_for_update() if is_locked else query)).first()
        try:
            return _lease(row) if row else None
        except NOT_OURS:
            return None

    async def save_lease(self, conn: AsyncConnection, lease: Lease) -> None:
        """Replace the lease."""
        await conn.execute(
            audit_lease.update().where(audit_lease.c.name == _LEASE).values(_lease_row(lease))
        )

    async def waiting(self, conn: AsyncConnection, limit: int) -> list[tuple[int, bytes]]:
        """Key and row hash of rows not yet chained, oldest first."""
        query = (
            select(audit_event.c.pk, audit_event.c.row_hash)
            .where(audit_event.c.chain_seq.is_(None))
            .order_by(audit_event.c.pk)
            .limit(limit)
        )
        return [(pk, stored) for pk, stored in await conn.execute(query)]

    async def mark(
        self, conn: AsyncConnection, keys: Sequence[int], first: int, hashes: Sequence[bytes]
    ) -> None:
        """Give rows their places `first`, `first` + 1, ... and their chain hashes."""
        statement = (
            audit_event.update()
            .where(audit_event.c.pk == bindparam("key"))
            .values(chain_seq=bindparam("seq"), chain_hash=bindparam("hash"))
        )
        rows = [
            {"key": key, "seq": first + offset, "hash": chain_hash}
            for offset, (key, chain_hash) in enumerate(zip(keys, hashes, strict=True))
        ]
        await conn.execute(statement, rows)

    async def publish(self, conn: AsyncConnection, signed: SignedHead) -> None:
        """Store a head for good."""
        head = signed.head
        await conn.execute(
            audit_head.insert().values(
                tree_size=head.size,
                at_us=head.at_us,
                root=head.root,
                chain_hash=head.chain_hash,
                signature=signed.signature,
            )
        )

    async def last_published(self, conn: AsyncConnection) -> TreeHead | None:
        """The largest published head."""
        query = select(audit_head).order_by(audit_head.c.tree_size.desc()).limit(1)
        row = (await conn.execute(query)).first()
        return _head(row).head if row else None

    async def published(self, conn: AsyncConnection, above: int = -1) -> list[SignedHead]:
        """The published heads of more than `above` rows, smallest first."""
        query = select(audit_head).where(audit_head.c.tree_size > above)
        rows = await conn.execute(query.order_by(audit_head.c.tree_size))
        return [_head(row) for row in rows]

    async def chained(self, conn: AsyncConnection, first: int, limit: int) -> list[ChainedRow]:
        """Chained rows from sequence number `first` on, in order."""
        query = select(audit_event).where(audit_event.c.chain_seq >= first)
        rows = await conn.execute(query.order_by(audit_event.c.chain_seq).limit(limit))
        return [_chained(row) for row in rows]

    async def count(self, conn: AsyncConnection) -> int:
        """How many rows are chained."""
        return await self._count(conn, audit_event.c.chain_seq.is_not(None))

    async def unchained(self, conn: AsyncConnection, limit: int) -> list[ChainedRow]:
        """Rows not yet chained, oldest first; `seq` is -1."""
        query = select(audit_event).where(audit_event.c.chain_seq.is_(None))
        rows = await conn.execute(query.order_by(audit_event.c.pk).limit(limit))
        return [_chained(row) for row in rows]

    async def count_unchained(self, conn: AsyncConnection) -> int:
        """How many rows wait for the sequencer."""
        return await self._count(conn, audit_event.c.chain_seq.is_(None))

    async def _count(self, conn: AsyncConnection, condition: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(audit_event).where(condition)
        return int((await conn.execute(query)).scalar_one())


def _chained(row: Row[Any]) -> ChainedRow:
    stored = StoredRow(**{column.name: getattr(row, column.name) for column in _STORED})
    return ChainedRow(
        seq=_place(row.chain_seq),
        actual=hash_found(stored),
        stored=row.row_hash,
        chain_hash=row.chain_hash,
        recorded_us=row.recorded_us,
    )


def _place(found: Any) -> int:
    """A row's number; -1 = none yet. What is no number sorts behind all, and so is its place."""
    if found is None:
        return -1
    return found if isinstance(found, int) else _BEHIND_ALL


def _head(row: Row[Any]) -> SignedHead:
    head = TreeHead(size=row.tree_size, at_us=row.at_us, root=row.root, chain_hash=row.chain_hash)
    return SignedHead(head=head, signature=row.signature)


def _lease(row: Row[Any]) -> Lease:
    peaks = tuple(
        row.peaks[start : start + HASH_BYTES] for start in range(0, len(row.peaks), HASH_BYTES)
    )
    frontier = Frontier(size=row.tree_size, peaks=peaks)
    state = ChainState(chain_hash=row.chain_hash, frontier=frontier)
    signed = SignedHead(head=state.head(row.at_us), signature=row.signature)
    return Lease(holder=row.holder, expires_us=row.expires_us, state=state, signed=signed)


def _lease_row(lease: Lease) -> dict[str, Any]:
    return {
        "holder": lease.holder,
        "expires_us": lease.expires_us,
        "tree_size": lease.state.size,
        "at_us": lease.signed.head.at_us,
        "chain_hash": lease.state.chain_hash,
        "peaks": b"".join(lease.state.frontier.peaks),
        "signature": lease.signed.signature,
    }
