"""Acts about Consents and their receipts in the database; the caller opens the transaction."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import orjson
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.consents.model import JUDGING, Act, Done, Receipt, Verdicts
from hie.consents.tables import consent_act, consent_receipt
from hie.db import Database
from hie.keystore import KeyKind, KeyStore

_TABLE: Final = "consent_act"
_CHUNK: Final = 500


class ActRepository:
    """Keeps acts, notes sealed under the key of the record concerned."""

    def __init__(self, db: Database, keys: KeyStore) -> None:
        self._db = db
        self._keys = keys

    def next_id(self) -> int:
        """A number for an act that is not yet kept."""
        return self._db.next_pk()

    async def add(self, conn: AsyncConnection, done: Sequence[Done]) -> None:
        """Keep acts."""
        if not done:
            return
        keys = await self._keys.for_owners(conn, KeyKind.RECORD, {one.record_id for one in done})
        rows = []
        for one in done:
            key = keys[one.record_id]
            note = key.seal(
                orjson.dumps(dict(one.note)), table=_TABLE, column="note", row=str(one.id)
            )
            rows.append(
                {
                    "id": one.id,
                    "consent_id": one.consent_id,
                    "version": one.version,
                    "act": one.act.value,
                    "content_hash": one.content_hash,
                    "at_us": one.at_us,
                    "actor": one.actor[:200],
                    "record_id": one.record_id,
                    "task_id": one.task_id,
                    "key_id": key.id,
                    "note": note,
                }
            )
        await conn.execute(insert(consent_act), rows)

    async def verdicts(self, conn: AsyncConnection, consent_ids: Collection[str]) -> Verdicts:
        """What was verified and rejected of these Consents."""
        c, wanted = consent_act.c, sorted(set(consent_ids))
        found: dict[tuple[str, bytes], Act] = {}
        for start in range(0, len(wanted), _CHUNK):
            rows = await conn.execute(
                select(c.consent_id, c.content_hash, c.act)
                .where(
                    c.consent_id.in_(wanted[start : start + _CHUNK]),
                    c.act.in_([act.value for act in JUDGING]),
                    c.content_hash.is_not(None),
                )
                .order_by(c.id)
            )
            found |= {(row.consent_id, bytes(row.content_hash)): Act(row.act) for row in rows}
        return Verdicts(found)

    async def having(
        self, conn: AsyncConnection, consent_ids: Collection[str], act: Act
    ) -> frozenset[tuple[str, int]]:
        """Which versions of these Consents an act is kept of."""
        c, wanted = consent_act.c, sorted(set(consent_ids))
        found: set[tuple[str, int]] = set()
        for start in range(0, len(wanted), _CHUNK):
            rows = await conn.execute(
                select(c.consent_id, c.version).where(
                    c.consent_id.in_(wanted[start : start + _CHUNK]), c.act == act.value
                )
            )
            found |= {(row.consent_id, row.version) for row in rows}
        return frozenset(found)

    async def of(
        self, conn: AsyncConnection, consent_ids: Collection[str]
    ) -> dict[str, list[Done]]:
        """The acts about each of these Consents, oldest first, their notes opened."""
        c, wanted = consent_act.c, sorted(set(consent_ids))
        found: dict[str, list[Done]] = {}
        for start in range(0, len(wanted), _CHUNK):
            listed = wanted[start : start + _CHUNK]
            rows = (
                await conn.execute(
                    select(consent_act).where(c.consent_id.in_(listed)).order_by(c.id)
                )
            ).all()
            for row in rows:
                note = await self._opened(conn, row.key_id, row.note, row.id)
                found.setdefault(row.consent_id, []).append(
                    Done(
                        id=row.id,
                        consent_id=row.consent_id,
                        version=row.version,
                        act=Act(row.act),
                        at_us=row.at_us,
                        actor=row.actor,
                        record_id=row.record_id,
                        content_hash=row.content_hash,
                        task_id=row.task_id,
                        note=note,
                    )
                )
        return found

    async def _opened(
        self, conn: AsyncConnection, key_id: int, sealed: bytes, row: int
    ) -> Mapping[str, str]:
        key = (await self._keys.kept(conn, [key_id])).get(key_id)
        if key is None:
            return {}  # the record was erased, and its key with it
        opened: dict[str, str] = orjson.loads(
            key.open(sealed, table=_TABLE, column="note", row=str(row))
        )
        return opened


async def owe(conn: AsyncConnection, consent_id: str, version: int, now_us: int) -> None:
    """Note that a version's receipt is to be made; one that is noted stays as it is."""
    c = consent_receipt.c
    known = select(c.version).where(c.consent_id == consent_id, c.version == version)
    if (await conn.execute(known)).first() is None:
        await conn.execute(
            insert(consent_receipt).values(consent_id=consent_id, version=version, asked_us=now_us)
        )


async def owed(conn: AsyncConnection, before_us: int, limit: int) -> list[Receipt]:
    """Receipts owed since before that time and still to be made, the longest owed first."""
    c = consent_receipt.c
    rows = await conn.execute(
        select(consent_receipt)
        .where(c.made_us.is_(None), c.asked_us <= before_us)
        .order_by(c.asked_us, c.consent_id, c.version)
        .limit(limit)
    )
    return [Receipt(**row) for row in rows.mappings()]


async def made(conn: AsyncConnection, receipt: Receipt) -> None:
    """Note that a receipt was made."""
    c = consent_receipt.c
    await conn.execute(
        update(consent_receipt)
        .where(c.consent_id == receipt.consent_id, c.version == receipt.version)
        .values(made_us=receipt.made_us, document_id=receipt.document_id, sha256=receipt.sha256)
    )


async def cancel(conn: AsyncConnection, receipt: Receipt) -> None:
    """Forget a receipt that can no more be made: what it is about was erased."""
    c = consent_receipt.c
    await conn.execute(
        delete(consent_receipt).where(
            c.consent_id == receipt.consent_id, c.version == receipt.version
        )
    )


async def receipts(
    conn: AsyncConnection, consent_ids: Collection[str]
) -> dict[tuple[str, int], Receipt]:
    """The receipts of these Consents by id and version, made or owed."""
    c, wanted = consent_receipt.c, sorted(set(consent_ids))
    found: dict[tuple[str, int], Receipt] = {}
    for start in range(0, len(wanted), _CHUNK):
        rows = await conn.execute(
            select(consent_receipt).where(c.consent_id.in_(wanted[start : start + _CHUNK]))
        )
        found |= {(r["consent_id"], r["version"]): Receipt(**r) for r in rows.mappings()}
    return found
