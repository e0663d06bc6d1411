"""The audit trail in the database: append, read back, export. Nothing here changes a row.

Records go in unchained, in the transaction of what they record; the sequencer chains them
afterwards, so that no request waits for the head of a chain.
"""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import ColumnElement, Row, Select, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.chain import (
    ChainedRow,
    ChainState,
    SignedHead,
    StoredRow,
    TreeHead,
    row_hash,
)
from hie.audit.event import AuditRecord, Hub, to_fhir
from hie.audit.merkle import HASH_BYTES, Frontier
from hie.audit.tables import audit_event, audit_head, audit_lease
from hie.crypto import DataKey
from hie.db import Database
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId
from hie.keystore import KeyKind, KeyStore

#: Owner of the key for records that touch no person.
NOBODY = "audit"
EXPORT_PAGE = 500
_CLEAR = ("recorded_us", "person_id", "organization", "action", "outcome")
_SEALED = tuple(f.name for f in fields(AuditRecord) if f.name not in _CLEAR)
_STORED = tuple(audit_event.c[f.name] for f in fields(StoredRow))
_LEASE = "chain"
_INSERT = audit_event.insert()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A record as the trail holds it.

    Attributes:
        pk: its key; a larger one was written later.
        seq: its place in the chain; None while the sequencer has not come by.
        is_erased: the person's key was destroyed; only what stands in clear is left.
    """

    pk: int
    seq: int | None
    record: AuditRecord
    is_erased: bool = False

    def to_fhir(self, hub: Hub) -> dict[str, Any]:
        """The AuditEvent, under the id `event_id` gives."""
        return to_fhir(self.record, event_id=event_id(self.pk), hub=hub)


def event_id(pk: int) -> str:
    """The FHIR id of an audit row."""
    return f"{pk:016x}"


class AuditLog:
    """Writes audit records and reads them back.

    Args:
        hub: how the hub names itself in AuditEvents.
    """

    def __init__(self, db: Database, keys: KeyStore, hub: Hub | None = None) -> None:
        self._db = db
        self._keys = keys
        self._hub = hub or Hub()

    async def append(self, conn: AsyncConnection, records: Sequence[AuditRecord]) -> None:
        """Add records to the open transaction, in order.

        Raises:
            HieError, SQLAlchemyError: nothing was recorded; what the records are about must
                not happen either.
        """
        if not records:
            return
        persons = dict.fromkeys(r.person_id for r in records if r.person_id)
        keys = await self._keys.for_owners(conn, KeyKind.PERSON, persons) if persons else {}
        if any(not record.person_id for record in records):
            keys[""] = await self._keys.for_owner(conn, KeyKind.SYSTEM, NOBODY)
        rows = [
            _row(self._db.next_pk(), record, keys[record.person_id or ""]) for record in records
        ]
        await conn.execute(_INSERT, rows)

    async def access_log(
        self,
        conn: AsyncConnection,
        persons: Sequence[PersonId],
        *,
        since_us: int = 0,
        before_pk: int | None = None,
        limit: int = 100,
    ) -> tuple[Recorded, ...]:
        """What was done to a person's record, newest first.

        Args:
            conn: an open connection.
            persons: the person and those merged into it.
            since_us: leave out what is older.
            before_pk: only what was written before this row: the last `pk` of the page before.
            limit: page size.
        """
        table = audit_event.c
        query = (
            select(audit_event)
            .where(table.person_id.in_(persons), table.recorded_us >= since_us)
            .order_by(table.pk.desc())
            .limit(limit)
        )
        if before_pk is not None:
            query = query.where(table.pk < before_pk)
        return await self._read(conn, query)

    async def rows(self, conn: AsyncConnection, pks: Sequence[int]) -> dict[int, Recorded]:
        """Rows by key; the trail loses none."""
        found: dict[int, Recorded] = {}
        for start in range(0, len(pks), EXPORT_PAGE):
            wanted = pks[start : start + EXPORT_PAGE]
            page = await self._read(conn, select(audit_event).where(audit_event.c.pk.in_(wanted)))
            found |= {recorded.pk: recorded for recorded in page}
        return found

    async def export(
        self, *, since_us: int = 0, until_us: int | None = None
    ) -> AsyncIterator[bytes]:
        """AuditEvents as NDJSON, one line each, oldest first.

        Args:
            since_us: first instant taken.
            until_us: first instant no longer taken; None = all there is.
        """
        table = audit_event.c
        query = select(audit_event).where(table.recorded_us >= since_us)
        if until_us is not None:
            query = query.where(table.recorded_us < until_us)
        query = query.order_by(table.pk).limit(EXPORT_PAGE)
        last = -1
        while True:
            async with self._db.reading() as conn:
                page = await self._read(conn, query.where(table.pk > last))
            for recorded in page:
                yield json.dumps(recorded.to_fhir(self._hub)).encode() + b"\n"
            if len(page) < EXPORT_PAGE:
                return
            last = page[-1].pk

    async def _read(self, conn: AsyncConnection, query: Select[Any]) -> tuple[Recorded, ...]:
        rows = (await conn.execute(query)).all()
        keys = await self._keys_of(conn, {row.key_id for row in rows})
        return tuple(_recorded(row, keys.get(row.key_id)) for row in rows)

    async def _keys_of(self, conn: AsyncConnection, ids: set[int]) -> dict[int, DataKey]:
        """The keys that are still there; the rest belonged to erased persons."""
        try:
            return await self._keys.by_ids(conn, ids)
        except HieError as error:
            if error.category is not Category.GONE:
                raise
            if len(ids) == 1:
                return {}
        found: dict[int, DataKey] = {}
        for key_id in ids:
            found |= await self._keys_of(conn, {key_id})
        return found


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
        """The lease; locked, no other process changes it until the transaction ends."""
        query = select(audit_lease).where(audit_lease.c.name == _LEASE)
        row = (await conn.execute(query.with_for_update() if is_locked else query)).first()
        return _lease(row) if row else None

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


def _row(pk: int, record: AuditRecord, key: DataKey) -> dict[str, Any]:
    # ASCII JSON: a query string may hold what UTF-8 cannot.
    content = json.dumps({name: getattr(record, name) for name in _SEALED}).encode()
    stored = StoredRow(
        pk=pk,
        key_id=key.id,
        sealed=key.seal(content, table="audit_event", column="sealed", row=str(pk)),
        **{name: getattr(record, name) for name in _CLEAR},
    )
    return {**asdict(stored), "row_hash": row_hash(stored)}


def _recorded(row: Row[Any], key: DataKey | None) -> Recorded:
    clear = {name: getattr(row, name) for name in _CLEAR}
    if key is None:
        record = AuditRecord(subtype="", **clear)
        return Recorded(pk=row.pk, seq=row.chain_seq, record=record, is_erased=True)
    opened = key.open(row.sealed, table="audit_event", column="sealed", row=str(row.pk))
    record = AuditRecord(**clear, **json.loads(opened))
    return Recorded(pk=row.pk, seq=row.chain_seq, record=record)


def _chained(row: Row[Any]) -> ChainedRow:
    stored = StoredRow(**{column.name: getattr(row, column.name) for column in _STORED})
    return ChainedRow(
        seq=-1 if row.chain_seq is None else row.chain_seq,
        actual=row_hash(stored),
        stored=row.row_hash,
        chain_hash=row.chain_hash,
    )


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
