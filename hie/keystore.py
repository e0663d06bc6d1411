"""Data keys in the database, each wrapped by a key-encryption key.

One key per source record (bodies, documents, demographics), one per person (audit detail),
one per question that describes somebody, one for the hub itself; a journal row carries its own.
Erasing a person deletes rows here.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import DataKey, KeyRing
from hie.db import Database, Key, metadata
from hie.kernel.errors import Category, HieError
from hie.key_provider import KEY_BYTES, FileKeys
from hie.rewrap import Wrapped

CACHED_KEYS = 20_000
#: An erasure bears the time it began at: it may look at questions for hours before it dooms.
_LATE_US: Final = 24 * 3600 * 1_000_000
#: The place of keys that stand beside what they seal, not in the table here.
CARRIED: Final = "carried"

data_key = Table(
    "data_key",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("kind", String(8), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    UniqueConstraint("kind", "owner"),
)


#: Whose keys were destroyed, or will be in a moment: their keys are not remembered, for what is
#: sealed by a remembered key that is gone is lost.
erased_owner = Table(
    "erased_owner",
    metadata,
    Column("kind", String(8), primary_key=True),
    Column("owner", String(64), primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("destroyed", Integer, nullable=False),  # how many of theirs were destroyed
)

#: For `hie.rewrap`.
COLUMN: Final = Wrapped(
    name="data keys",
    table=data_key,
    pk=data_key.c.id,
    wrapped=data_key.c.wrapped,
    place=lambda key_id: f"data_key|{key_id}",
)

# Built once: making a statement costs more than running it.
_OF_OWNERS = select(data_key.c.id, data_key.c.owner, data_key.c.wrapped).where(
    data_key.c.kind == bindparam("kind"),
    data_key.c.owner.in_(bindparam("owners", expanding=True)),
)
#: Nobody destroys these keys while what they seal is written.
_HELD = _OF_OWNERS.with_for_update(read=True, key_share=True)
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
    QUESTION = "question"
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
        self._erased: set[tuple[str, str]] = set()
        self._followed_us = 0

    def blind64(self, domain: str, *parts: str) -> int:
        """Keyed hash of `parts` as a signed 64-bit integer (`KeyRing.blind64`)."""
        return self._ring.blind64(domain, *parts)

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
        rows = await conn.execute(
            self._of_owners(conn, kind, missing), {"kind": kind.value, "owners": missing}
        )
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

    async def kept(self, conn: AsyncConnection, ids: Iterable[int]) -> dict[int, DataKey]:
        """Those of the keys that are still there; what the others sealed is erased."""
        wanted = set(ids)
        pending = self._pending.get(_transaction(conn), {}).values()
        found = {key.id: key for key in pending if key.id in wanted}
        found |= {i: self._by_id[i] for i in wanted if i in self._by_id}
        missing = [i for i in wanted if i not in found]
        with_ids = _WITH_IDS_PG if conn.dialect.name == "postgresql" else _WITH_IDS
        for start in range(0, len(missing), 500):
            rows = await conn.execute(with_ids, {"ids": missing[start : start + 500]})
            for key_id, kind, owner, wrapped in rows:
                found[key_id] = self._remember(kind, owner, self._unwrap(key_id, wrapped))
        return found

    async def by_ids(self, conn: AsyncConnection, ids: Iterable[int]) -> dict[int, DataKey]:
        """The keys with these ids.

        Raises:
            HieError: GONE when a key was destroyed: its data is erased.
        """
        wanted = set(ids)
        found = await self.kept(conn, wanted)
        if len(found) < len(wanted):
            raise HieError(Category.GONE, "the key of this record was destroyed")
        return found

    async def by_id(self, conn: AsyncConnection, key_id: int) -> DataKey:
        """The key with this id."""
        return (await self.by_ids(conn, [key_id]))[key_id]

    async def kinds(self, conn: AsyncConnection) -> dict[str, int]:
        """How many keys there are of each kind."""
        query = select(data_key.c.kind, func.count().label("rows")).group_by(data_key.c.kind)
        return {row.kind: row.rows for row in await conn.execute(query)}

    async def owner_of(self, conn: AsyncConnection, key_id: int) -> str:
        """Whose key it is; "" for one that is not there."""
        rows = await conn.execute(select(data_key.c.owner).where(data_key.c.id == key_id))
        return rows.scalar() or ""

    async def refuse_lost(self) -> None:
        """Refuse keys that this database was not sealed with; a key file made just now goes again.

        Raises:
            HieError: INVALID, with what to put right.
        """
        async with self._db.reading() as conn:
            row = (await conn.execute(select(data_key).order_by(data_key.c.id).limit(1))).first()
        if row is None:
            return
        provider = self._ring.provider
        try:
            self._unwrap(row.id, row.wrapped)
        except HieError as error:
            if isinstance(provider, FileKeys) and await asyncio.to_thread(provider.take_back):
                text = f"`{provider.path}` is missing and the database is sealed: put it back"
            else:
                text = f"the keys of `{provider.name}` are not those this database was sealed with"
            raise HieError(Category.INVALID, f"`HIE_KEY_FILE`: {text}") from error

    def fresh(self) -> tuple[DataKey, bytes]:
        """A new key outside the table, and its wrapped form to store beside what it seals."""
        secret = secrets.token_bytes(KEY_BYTES)
        return DataKey(0, secret), self._ring.wrap(secret, place=CARRIED)

    def carried(self, wrapped: bytes) -> DataKey:
        """The key that `fresh` wrapped."""
        return DataKey(0, self._ring.unwrap(wrapped, place=CARRIED))

    def _of_owners(self, conn: AsyncConnection, kind: KeyKind, owners: Iterable[str]) -> Any:
        """What reads owners' keys; those of erased ones so that nobody destroys them meanwhile."""
        if conn.dialect.name != "postgresql":
            return _OF_OWNERS
        is_reader = conn.sync_connection and conn.sync_connection.get_execution_options().get(
            "postgresql_readonly"
        )
        if not is_reader and any((kind.value, owner) in self._erased for owner in owners):
            return _HELD
        return _OF_OWNERS_PG

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

    async def doom(
        self, conn: AsyncConnection, owners: Iterable[tuple[KeyKind, str]], now_us: int
    ) -> None:
        """Announce that the keys of some owners will be destroyed: every process lets go of them.

        Give the others the time to `follow` before you destroy.
        """
        known = {(row.kind, row.owner) for row in await conn.execute(select(erased_owner))}
        rows = [
            {"kind": kind.value, "owner": owner, "at_us": now_us, "destroyed": 0}
            for kind, owner in owners
            if (kind.value, owner) not in known
        ]
        if rows:
            await conn.execute(erased_owner.insert(), rows)

    async def follow(self, conn: AsyncConnection) -> None:
        """Let go of keys that another process destroys, or did."""
        recent = erased_owner.c.at_us >= self._followed_us - _LATE_US
        for row in await conn.execute(select(erased_owner).where(recent)):
            self._followed_us = max(self._followed_us, row.at_us)
            pair = (row.kind, row.owner)
            if pair not in self._erased:
                self._erased.add(pair)
                self._by_id.pop(self._ids.pop(pair, 0), None)

    async def destroy(
        self, conn: AsyncConnection, owners: Iterable[tuple[KeyKind, str]], now_us: int
    ) -> list[int]:
        """Destroy the keys of doomed owners; the ids of those there were.

        What they sealed is noise from the commit on. An owner who comes again gets a new key.
        """
        gone: list[int] = []
        for kind, owner in owners:
            is_theirs = (data_key.c.kind == kind.value, data_key.c.owner == owner)
            ids = list((await conn.execute(select(data_key.c.id).where(*is_theirs))).scalars())
            await conn.execute(delete(data_key).where(*is_theirs))
            await conn.execute(
                update(erased_owner)
                .where(erased_owner.c.kind == kind.value, erased_owner.c.owner == owner)
                .values(at_us=now_us, destroyed=erased_owner.c.destroyed + len(ids))
            )
            gone += ids
        for key_id in gone:
            self._by_id.pop(key_id, None)
        return gone

    async def owners_of(
        self, conn: AsyncConnection, kind: KeyKind, ids: Iterable[int]
    ) -> list[tuple[KeyKind, str]]:
        """The owners of those of the keys that are there and of one kind."""
        wanted = sorted(set(ids))
        owners: list[str] = []
        for start in range(0, len(wanted), 500):
            one_of = data_key.c.id.in_(wanted[start : start + 500])
            query = select(data_key.c.owner).where(one_of, data_key.c.kind == kind.value)
            owners += (await conn.execute(query)).scalars()
        return [(kind, owner) for owner in owners]

    async def is_any_of(self, conn: AsyncConnection, ids: Sequence[int]) -> bool:
        """Whether one of some keys is still there."""
        query = select(data_key.c.id).where(data_key.c.id.in_(ids)).limit(1)
        return (await conn.execute(query)).first() is not None

    async def erasures(self, conn: AsyncConnection) -> tuple[int, int]:
        """How many keys were destroyed, and when the last one was; 0 = never."""
        query = select(func.sum(erased_owner.c.destroyed), func.max(erased_owner.c.at_us))
        keys, last_us = (await conn.execute(query)).one()
        return int(keys or 0), int(last_us or 0)

    def _remember(self, kind: str, owner: str, key: DataKey) -> DataKey:
        if (str(kind), owner) in self._erased:
            return key
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
