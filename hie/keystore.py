"""Data keys in the database, each wrapped by a key-encryption key.

One key per source record (bodies, documents, demographics), one per person (audit detail),
one for the hub itself; a journal row carries its own. Erasing a person deletes rows here.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import (
    Column,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import KEY_BYTES, DataKey, KeyRing
from hie.db import Database, Key, metadata
from hie.kernel.errors import Category, HieError

CACHED_KEYS = 20_000

data_key = Table(
    "data_key",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("kind", String(8), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    UniqueConstraint("kind", "owner"),
)


# Built once: making a statement costs more than running it.
_OF_OWNERS = select(data_key.c.id, data_key.c.owner, data_key.c.wrapped).where(
    data_key.c.kind == bindparam("kind"),
    data_key.c.owner.in_(bindparam("owners", expanding=True)),
)
_WITH_IDS = select(data_key).where(data_key.c.id.in_(bindparam("ids", expanding=True)))
#: The same for PostgreSQL, one text for any number of them: the driver's connections keep a
#: hundred statements prepared, and a list of another length were another statement.
_OF_OWNERS_PG = text(
    "SELECT id, owner, wrapped FROM data_key WHERE kind = :kind "
    "AND owner = ANY(CAST(:owners AS text[]))"
)
_WITH_IDS_PG = text(
    "SELECT id, kind, owner, wrapped FROM data_key WHERE id = ANY(CAST(:ids AS bigint[]))"
)
_INSERT = data_key.insert()


class KeyKind(StrEnum):
    """Whose data a key seals."""

    RECORD = "record"
    PERSON = "person"
    SYSTEM = "system"


class KeyStore:
    """Finds, makes and caches data keys."""

    def __init__(self, db: Database, ring: KeyRing) -> None:
        self._db = db
        self._ring = ring
        self._by_id: OrderedDict[int, DataKey] = OrderedDict()
        self._ids: OrderedDict[tuple[str, str], int] = OrderedDict()
        # INVARIANT: a key made in an open transaction is known to that transaction alone; were
        # it cached and the transaction rolled back, later data would be sealed and lost.
        self._pending: WeakKeyDictionary[object, dict[tuple[str, str], DataKey]] = (
            WeakKeyDictionary()
        )

    async def for_owner(self, conn: AsyncConnection, kind: KeyKind, owner: str) -> DataKey:
        """The owner's key, made in this transaction where there is none."""
        return (await self.for_owners(conn, kind, [owner]))[owner]

    async def for_owners(
        self, conn: AsyncConnection, kind: KeyKind, owners: Iterable[str]
    ) -> dict[str, DataKey]:
        """Every owner's key; at most one read and one insert."""
        wanted = list(dict.fromkeys(owners))
        pending = self._pending.get(_transaction(conn), {})
        found = {
            o: key
            for o in wanted
            if (key := pending.get((kind.value, o)) or self._cached(kind, o)) is not None
        }
        missing = [o for o in wanted if o not in found]
        if not missing:
            return found
        of_owners = _OF_OWNERS_PG if conn.dialect.name == "postgresql" else _OF_OWNERS
        rows = await conn.execute(of_owners, {"kind": kind.value, "owners": missing})
        for key_id, owner, wrapped in rows:
            found[owner] = self._remember(kind, owner, self._unwrap(key_id, wrapped))
        if fresh := [o for o in wanted if o not in found]:
            found |= await self._make(conn, kind, fresh)
        return found

    def make(self, conn: AsyncConnection, kind: KeyKind, owner: str) -> dict[str, Any]:
        """A key for an owner that has none: the caller knows, and holds others off.

        Returns:
            The row of `data_key`, which the caller inserts before the transaction ends.
        """
        key, row = self._new(kind, owner)
        self._keep(conn, {(kind.value, owner): key})
        return row

    async def by_ids(self, conn: AsyncConnection, ids: Iterable[int]) -> dict[int, DataKey]:
        """The keys with these ids.

        Raises:
            HieError: GONE when a key was destroyed: its data is erased.
        """
        wanted = set(ids)
        pending = {key.id: key for key in self._pending.get(_transaction(conn), {}).values()}
        missing = [i for i in wanted if i not in self._by_id and i not in pending]
        with_ids = _WITH_IDS_PG if conn.dialect.name == "postgresql" else _WITH_IDS
        for start in range(0, len(missing), 500):
            rows = await conn.execute(with_ids, {"ids": missing[start : start + 500]})
            for key_id, kind, owner, wrapped in rows:
                self._remember(kind, owner, self._unwrap(key_id, wrapped))
        try:
            return {i: pending.get(i) or self._by_id[i] for i in wanted}
        except KeyError as error:
            raise HieError(Category.GONE, "the key of this record was destroyed") from error

    async def by_id(self, conn: AsyncConnection, key_id: int) -> DataKey:
        """The key with this id."""
        return (await self.by_ids(conn, [key_id]))[key_id]

    async def owner_of(self, conn: AsyncConnection, key_id: int) -> str:
        """Whose key it is; "" for one that is not there."""
        rows = await conn.execute(select(data_key.c.owner).where(data_key.c.id == key_id))
        return rows.scalar() or ""

    async def refuse_lost(self, key_file: Path) -> None:
        """Refuse a key file made just now for a database that was sealed with another.

        Raises:
            HieError: INVALID; the new file is gone again.
        """
        async with self._db.reading() as conn:
            if (await conn.execute(select(data_key.c.id).limit(1))).first() is None:
                return
        await asyncio.to_thread(key_file.unlink)
        text = f"`HIE_KEY_FILE`: `{key_file}` is missing and the database is sealed: put it back"
        raise HieError(Category.INVALID, text)

    def fresh(self) -> tuple[DataKey, bytes]:
        """A new key outside the table, and its wrapped form to store beside what it seals."""
        secret = secrets.token_bytes(KEY_BYTES)
        return DataKey(0, secret), self._ring.wrap(secret, place="carried")

    def carried(self, wrapped: bytes) -> DataKey:
        """The key that `fresh` wrapped."""
        return DataKey(0, self._ring.unwrap(wrapped, place="carried"))

    def _cached(self, kind: str, owner: str) -> DataKey | None:
        key_id = self._ids.get((kind, owner))
        return self._by_id.get(key_id) if key_id is not None else None

    def _unwrap(self, key_id: int, wrapped: bytes) -> DataKey:
        return DataKey(key_id, self._ring.unwrap(wrapped, place=f"data_key|{key_id}"))

    async def _make(
        self, conn: AsyncConnection, kind: KeyKind, owners: list[str]
    ) -> dict[str, DataKey]:
        made: dict[str, DataKey] = {}
        rows = []
        for owner in owners:
            made[owner], row = self._new(kind, owner)
            rows.append(row)
        await conn.execute(_INSERT, rows)
        self._keep(conn, {(kind.value, owner): key for owner, key in made.items()})
        return made

    def _new(self, kind: KeyKind, owner: str) -> tuple[DataKey, dict[str, Any]]:
        key = DataKey(self._db.next_pk(), secrets.token_bytes(KEY_BYTES))
        wrapped = self._ring.wrap(key.secret, place=f"data_key|{key.id}")
        return key, {"id": key.id, "kind": kind.value, "owner": owner, "wrapped": wrapped}

    def _keep(self, conn: AsyncConnection, made: dict[tuple[str, str], DataKey]) -> None:
        self._pending.setdefault(_transaction(conn), {}).update(made)

    def _remember(self, kind: str, owner: str, key: DataKey) -> DataKey:
        self._by_id[key.id] = key
        self._ids[(kind, owner)] = key.id
        while len(self._by_id) > CACHED_KEYS:
            self._by_id.popitem(last=False)
        while len(self._ids) > CACHED_KEYS:
            self._ids.popitem(last=False)
        return key


def _transaction(conn: AsyncConnection) -> object:
    """The open transaction, as an object that dies with it."""
    return conn.sync_connection.get_transaction() if conn.sync_connection else conn
