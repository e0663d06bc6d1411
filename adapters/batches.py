"""The journal's row of a batch: what came together, and how far it was taken.

Its messages are journaled one by one, each with its place in the batch; so a batch that was
taken half, when the hub stopped, is taken to its end without taking any message twice.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import select, update

from adapters.journal import Journal
from adapters.port import Wire
from adapters.tables import inbound_batch, inbound_message
from hie.db import Database
from hie.kernel.clock import Clock
from hie.kernel.envelope import Finding
from hie.kernel.ids import MessageId, SourceId
from hie.keystore import KeyStore

_TABLE = "inbound_batch"


class Batches:
    """Opens, resumes and settles batches."""

    def __init__(self, db: Database, journal: Journal, keys: KeyStore, clock: Clock) -> None:
        self._db = db
        self._journal = journal
        self._keys = keys
        self._clock = clock

    def new_id(self) -> int:
        """The key of a batch to come."""
        return self._db.next_pk()

    async def open(
        self, batch_id: int, source_id: SourceId, wire: Wire, header: bytes, name: str = ""
    ) -> dict[int, MessageId]:
        """Make the batch's row; where there is one, the messages already taken, by number.

        Args:
            batch_id: from `new_id`.
            source_id: who sent it.
            wire: how it came.
            header: its first FHS or BHS; empty where it has none. Kept sealed.
            name: of the file it came in. Kept sealed.
        """
        t = inbound_batch.c
        async with self._db.transaction() as conn:
            if (await conn.execute(select(t.pk).where(t.pk == batch_id))).first() is not None:
                m = inbound_message.c
                rows = await conn.execute(
                    select(m.batch_number, m.pk).where(m.batch_pk == batch_id)
                )
                return {number: MessageId(pk) for number, pk in rows}
            key, wrapped = self._keys.fresh()
            row = {"table": _TABLE, "row": str(batch_id)}
            await conn.execute(
                inbound_batch.insert().values(
                    pk=batch_id,
                    source_id=source_id,
                    wire=wire.value,
                    received_us=self._clock.now_us(),
                    messages=0,
                    refused=0,
                    findings="[]",
                    wrapped=wrapped,
                    header=key.seal(header, column="header", **row),
                    name=key.seal(name.encode("utf-8", "surrogateescape"), column="name", **row),
                )
            )
        return {}

    async def answer(self, message_id: MessageId) -> bytes:
        """What a message of the batch was answered with."""
        async with self._db.reading() as conn:
            found = await self._journal.get(conn, message_id)
        return found.answer if found else b""

    async def settle(
        self, batch_id: int, *, messages: int, refused: int, findings: Sequence[Finding]
    ) -> None:
        """Every message of the batch has its answer."""
        async with self._db.transaction() as conn:
            await conn.execute(
                update(inbound_batch)
                .where(inbound_batch.c.pk == batch_id)
                .values(
                    settled_us=self._clock.now_us(),
                    messages=messages,
                    refused=refused,
                    findings=json.dumps([asdict(found) for found in findings]),
                )
            )
