"""The sequencer: gives audit rows their places in the chain, and signs its end.

One process at a time chains: it holds the lease, and the lease's row is locked while a batch
is given its places, so two sequencers can never give the same place twice.
"""

import asyncio
import uuid
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.chain import ChainState, SignedHead, sign
from hie.audit.chained import ChainTable, Lease
from hie.audit.heads import HeadsFile
from hie.audit.syslog import HeadsSyslog
from hie.db import Database
from hie.kernel.clock import SECOND_US
from hie.kernel.errors import Category, HieError

BATCH = 500  # rows in one transaction: below 50 ms on SQLite
LEASE_US = 5 * SECOND_US
PUBLISH_EVERY_US = 10 * SECOND_US
#: A syslog that could not be reached is tried again after this.
RESEND_US = 30 * SECOND_US
#: Heads sent at once; the latest covers those before it.
MOST_SENT = 100
_log = structlog.get_logger(__name__)


class Sequencer:
    """Gives audit rows their places in the chain and signs what the chain has become.

    Args:
        key: signs tree heads.
        heads: file outside the database for published heads; None = keep them in it only.
        publish_every_us: at most one published head in this time; 0 = one for each batch.

    Attributes:
        syslog: is sent published heads, too; None = none is. One that is down holds nothing up.
        unsent: since when (microseconds) it has not been reached; None while it is.
    """

    def __init__(
        self,
        db: Database,
        key: Ed25519PrivateKey,
        heads: Path | None = None,
        publish_every_us: int = PUBLISH_EVERY_US,
    ) -> None:
        self._db = db
        self._table = ChainTable(db)
        self._key = key
        self._public = key.public_key()
        self._file = HeadsFile(heads) if heads else None
        self._in_file: int | None = None
        self._publish_every_us = publish_every_us
        self._holder = uuid.uuid4().hex
        self.syslog: HeadsSyslog | None = None
        self.unsent: int | None = None
        self._sent: int | None = None
        self._send_from_us = 0

    async def chain(self, now_us: int) -> int:
        """Chain what waits; how many rows. Nothing while another process holds the lease.

        Raises:
            HieError: FAULT when the stored end of the chain is not what the hub signed.
        """
        total = 0
        is_file_behind = self._in_file is None
        while await self._has_work(now_us):
            async with self._db.transaction() as conn:
                count = await self._chain_batch(conn, now_us)
            if count is None:
                return total  # who chains sends the heads, too
            total += count
            is_file_behind = True
        if is_file_behind:
            await self._export()
        if is_file_behind or self.unsent is not None:
            await self._send(now_us)
        return total

    async def close(self, now_us: int) -> None:
        """Chain the rest, publish its head and let the lease go."""
        self._publish_every_us = 0
        await self.chain(now_us)
        async with self._db.transaction() as conn:
            lease = await self._table.lease(conn, is_locked=True)
            if lease and lease.holder == self._holder:
                await self._table.save_lease(conn, self._held(lease.state, lease.signed, 0))

    async def _has_work(self, now_us: int) -> bool:
        async with self._db.reading() as conn:
            if await self._table.waiting(conn, 1):
                return True
            lease = await self._table.lease(conn)
            return lease is not None and await self._is_due(conn, lease.state, now_us)

    async def _is_due(self, conn: AsyncConnection, state: ChainState, now_us: int) -> bool:
        last = await self._table.last_published(conn)
        if last is None:
            return state.size > 0
        # A clock that went back holds no head up: that it did is to be seen.
        is_soon = 0 <= now_us - last.at_us < self._publish_every_us
        return state.size > last.size and not is_soon

    async def _chain_batch(self, conn: AsyncConnection, now_us: int) -> int | None:
        """Rows chained; None when another process chains."""
        lease = await self._claim(conn, now_us)
        if lease is None:
            return None
        waiting = await self._table.waiting(conn, BATCH)
        state, hashes = lease.state.append(stored for _, stored in waiting)
        if waiting:
            await self._table.mark(conn, [pk for pk, _ in waiting], lease.state.size, hashes)
        signed = sign(state.head(now_us), self._key)
        await self._table.save_lease(conn, self._held(state, signed, now_us + LEASE_US))
        if await self._is_due(conn, state, now_us):
            await self._table.publish(conn, signed)
        return len(waiting)

    async def _claim(self, conn: AsyncConnection, now_us: int) -> Lease | None:
        lease = await self._table.lease(conn, is_locked=True)
        if lease is None:
            await self._begin(conn, now_us)
            lease = await self._table.lease(conn, is_locked=True)
        if lease is None or not lease.is_trusted(self._public):
            text = "the end of the audit chain was altered: run `hie audit verify`"
            raise HieError(Category.FAULT, text)
        is_taken = lease.holder != self._holder and lease.expires_us > now_us
        return None if is_taken else lease

    async def _begin(self, conn: AsyncConnection, now_us: int) -> None:
        if await self._table.count(conn):
            if await self._table.lease(conn) is not None:
                return  # another process began meanwhile
            text = "the audit chain has rows but no end: run `hie audit verify`"
            raise HieError(Category.FAULT, text)
        signed = sign(ChainState().head(now_us), self._key)
        await self._table.create_lease(conn, self._held(ChainState(), signed, 0))

    def _held(self, state: ChainState, signed: SignedHead, until_us: int) -> Lease:
        return Lease(holder=self._holder, expires_us=until_us, state=state, signed=signed)

    async def _export(self) -> None:
        """Append to the file what is published and not yet in it; after the commit."""
        if self._file is None:
            return
        if self._in_file is None:
            written, _ = await asyncio.to_thread(self._file.read)
            self._in_file = max((signed.head.size for signed in written), default=-1)
        async with self._db.reading() as conn:
            heads = await self._table.published(conn, above=self._in_file)
        if heads:
            await asyncio.to_thread(self._file.append, heads, self._public)
            self._in_file = heads[-1].head.size

    async def _send(self, now_us: int) -> None:
        """Send what is published and not yet sent; of what was before our start, the last head."""
        if self.syslog is None or now_us < self._send_from_us:
            return
        async with self._db.reading() as conn:
            heads = await self._table.published(
                conn, above=-1 if self._sent is None else self._sent
            )
        heads = heads if self._sent is not None else heads[-1:]
        if not heads:
            return
        try:
            await self.syslog.send(heads[-MOST_SENT:])
        except OSError as error:
            if self.unsent is None:
                _log.warning("audit.syslog_unreachable", error=type(error).__name__)
            self.unsent = now_us if self.unsent is None else self.unsent
            self._send_from_us = now_us + RESEND_US
            return
        self._sent, self.unsent, self._send_from_us = heads[-1].head.size, None, 0
