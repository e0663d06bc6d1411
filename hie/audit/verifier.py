"""The verifier: follows the audit chain from its first row and names the first fault."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hie.audit.chain import ChainedRow, Checker, Heads, Tamper, TamperKind, TreeHead, classify
from hie.audit.heads import HeadsFile
from hie.audit.repository import ChainTable
from hie.db import Database

PAGE = 2_000
#: How far behind a broken link another row's place is looked for; it only names the fault.
LOOK_AHEAD = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What following the whole chain showed.

    Attributes:
        size: rows found whole, from the first on.
        unchained: rows that still wait for the sequencer.
        heads: signed heads compared, in the database and in the file.
        tamper: the first fault; None when the trail is whole.
    """

    size: int
    unchained: int
    heads: int
    tamper: Tamper | None

    @property
    def is_whole(self) -> bool:
        """Whether nothing was found wrong."""
        return self.tamper is None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """Everything a trail is held against: the heads and what is already wrong with them."""

    heads: tuple[TreeHead, ...]
    faults: tuple[Tamper, ...]
    size: int
    chained: int
    unchained: int


class Verifier:
    """Reads the trail from its first row and reports the first fault.

    Args:
        key: the public half of the sequencer's key.
        heads: the file of published heads, if there is one.
        page: rows read at a time.
    """

    def __init__(
        self, db: Database, key: Ed25519PublicKey, heads: Path | None = None, page: int = PAGE
    ) -> None:
        self._db = db
        self._table = ChainTable(db)
        self._public = key
        self._file = HeadsFile(heads) if heads else None
        self._page = page

    async def verify(self) -> Verification:
        """Follow the chain to its end; may run beside a working hub."""
        evidence = await self._gather()
        checker = Checker(Heads.of(evidence.heads))
        found = await self._follow(checker, evidence)
        if checker.broken:
            found = await self._named(checker.broken, checker.state.chain_hash, evidence)
        faults = [*evidence.faults, *([found] if found else [])]
        return Verification(
            size=checker.state.size,
            unchained=evidence.unchained,
            heads=len(evidence.heads),
            tamper=min(faults, key=lambda fault: fault.seq, default=None),
        )

    async def _gather(self) -> _Evidence:
        # The file before the database: what a working hub adds in between is then newer.
        exported, unreadable = await asyncio.to_thread(self._file.read) if self._file else ([], 0)
        async with self._db.reading() as conn:
            lease = await self._table.lease(conn)
            claimed = [*exported, *await self._table.published(conn)]
            chained = await self._table.count(conn)
            unchained = await self._table.count_unchained(conn)
            waiting = await self._table.unchained(conn, self._page)
        genuine = [signed.head for signed in claimed if signed.is_genuine(self._public)]
        faults = [
            Tamper(seq=max(signed.head.size - 1, 0), kind=TamperKind.FORGED_HEAD)
            for signed in claimed
            if not signed.is_genuine(self._public)
        ]
        if lease and lease.is_trusted(self._public):
            genuine.append(lease.signed.head)
        elif lease or chained or genuine or unreadable:
            faults.append(Tamper(seq=max(chained - 1, 0), kind=TamperKind.FORGED_HEAD))
        size = max((head.size for head in genuine), default=0)
        if unreadable:
            faults.append(Tamper(seq=max(size - 1, 0), kind=TamperKind.FORGED_HEAD))
        if any(row.actual != row.stored for row in waiting):
            faults.append(Tamper(seq=chained, kind=TamperKind.EDITED))
        return _Evidence(
            heads=tuple(genuine),
            faults=tuple(faults),
            size=size,
            chained=chained,
            unchained=unchained,
        )

    async def _follow(self, checker: Checker, evidence: _Evidence) -> Tamper | None:
        """The first fault of the rows that were there when we began."""
        while checker.state.size < evidence.chained:
            async with self._db.reading() as conn:
                rows = await self._table.chained(conn, checker.state.size, self._page)
            for row in rows[: evidence.chained - checker.state.size]:
                if checker.state.size >= evidence.size:
                    return Tamper(seq=row.seq, kind=TamperKind.FORK)  # no head covers it
                if fault := checker.take(row):
                    return fault
            if not rows:
                break
        if fault := checker.finish():
            return fault
        if checker.state.size < evidence.chained:  # rows beside the one in their place
            return Tamper(seq=checker.state.size, kind=TamperKind.FORK)
        return None

    async def _named(self, broken: ChainedRow, previous: bytes, evidence: _Evidence) -> Tamper:
        """The fault of a row whose link is broken, named for what was done."""
        async with self._db.reading() as conn:
            rest = await self._table.chained(conn, broken.seq + 1, LOOK_AHEAD)
        missing = evidence.size - evidence.chained
        return Tamper(seq=broken.seq, kind=classify(previous, broken, rest, missing))
