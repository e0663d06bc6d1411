"""The verifier: follows the audit chain from its first row and names the first fault."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hie.audit.chain import (
    ChainedRow,
    Checker,
    Heads,
    SignedHead,
    Tamper,
    TamperKind,
    TreeHead,
    classify,
)
from hie.audit.chained import ChainTable
from hie.audit.heads import HeadsFile
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
        missing: published heads that only files still have. Each is in the database before it
            is in a file, so somebody removed them; the trail itself is proved all the same.
        tamper: the first fault; None when the trail is whole.
    """

    size: int
    unchained: int
    heads: int
    missing: int
    tamper: Tamper | None

    @property
    def is_whole(self) -> bool:
        """Whether nothing was found wrong."""
        return self.tamper is None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """Everything a trail is held against: the heads and what is already wrong with them.

    Attributes:
        heads: genuine ones of the database.
        exported: genuine ones found outside it.
        missing: how many of those the database no more has.
        faults: what is wrong with heads, and with rows not yet chained.
        size: rows that the largest genuine head covers.
    """

    heads: tuple[TreeHead, ...]
    exported: tuple[TreeHead, ...]
    missing: int
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

    async def verify(self, also: Sequence[Path] = (), clock_from: int = 0) -> Verification:
        """Follow the chain to its end; may run beside a working hub.

        Args:
            also: files with heads that were sent elsewhere: the hub's own form, or lines of a
                syslog that hold it.
            clock_from: rows before this number are not asked when they were recorded: a clock
                that once went back stays in the trail.
        """
        evidence = await self._gather(also)
        heads = Heads.of(evidence.heads, evidence.exported)
        checker = Checker(heads, clock_from)
        found = await self._follow(checker, evidence)
        if checker.broken and checker.dispute is None:
            found = await self._named(checker.broken, checker.state.chain_hash, evidence)
        return Verification(
            size=checker.state.size,
            unchained=evidence.unchained,
            heads=len(evidence.heads) + len(evidence.exported),
            missing=evidence.missing,
            tamper=_gravest(
                [found] if found else [],
                evidence.faults,
                self._uncovered(checker, evidence),
                _clock_faults(checker, heads, clock_from),
            ),
        )

    async def _gather(self, also: Sequence[Path]) -> _Evidence:
        # The file before the database: what a working hub adds in between is then newer.
        files = [*([self._file] if self._file else []), *map(HeadsFile, also)]
        exported, unreadable = [], 0
        for file in files:
            read, spoiled = await asyncio.to_thread(file.read)
            exported += read
            unreadable += spoiled
        async with self._db.reading() as conn:
            lease = await self._table.lease(conn)
            published = await self._table.published(conn)
            chained = await self._table.count(conn)
            unchained = await self._table.count_unchained(conn)
            waiting = await self._table.unchained(conn, self._page)
        outside = self._genuine(exported)
        genuine = self._genuine(published)
        faults = [
            Tamper(seq=max(signed.head.size - 1, 0), kind=TamperKind.FORGED_HEAD)
            for signed in (*exported, *published)
            if not signed.is_genuine(self._public)
        ]
        if lease and lease.is_trusted(self._public):
            genuine.append(lease.signed.head)
        elif lease or chained or genuine or outside or unreadable:
            faults.append(Tamper(seq=max(chained - 1, 0), kind=TamperKind.FORGED_HEAD))
        size = max((head.size for head in (*genuine, *outside)), default=0)
        if unreadable:
            faults.append(Tamper(seq=max(size - 1, 0), kind=TamperKind.FORGED_HEAD))
        if any(row.actual != row.stored for row in waiting):
            faults.append(Tamper(seq=chained, kind=TamperKind.EDITED))
        return _Evidence(
            heads=tuple(genuine),
            exported=tuple(outside),
            missing=len({head.size for head in outside} - {one.head.size for one in published}),
            faults=tuple(faults),
            size=size,
            chained=chained,
            unchained=unchained,
        )

    def _genuine(self, claimed: Iterable[SignedHead]) -> list[TreeHead]:
        return [signed.head for signed in claimed if signed.is_genuine(self._public)]

    async def _follow(self, checker: Checker, evidence: _Evidence) -> Tamper | None:
        """The first fault of the rows that were there when we began and a head covers."""
        until = min(evidence.chained, evidence.size)
        while checker.state.size < until:
            async with self._db.reading() as conn:
                rows = await self._table.chained(conn, checker.state.size, self._page)
            for row in rows[: until - checker.state.size]:
                if fault := checker.take(row):
                    return checker.dispute or fault
            if not rows:
                break
        return checker.finish()

    @staticmethod
    def _uncovered(checker: Checker, evidence: _Evidence) -> list[Tamper]:
        """Rows beyond the last head, or beside the one in their place."""
        if checker.state.size < evidence.chained:
            return [Tamper(seq=checker.state.size, kind=TamperKind.FORK)]
        return []

    async def _named(self, broken: ChainedRow, previous: bytes, evidence: _Evidence) -> Tamper:
        """The fault of a row whose link is broken, named for what was done."""
        async with self._db.reading() as conn:
            rest = await self._table.chained(conn, broken.seq + 1, LOOK_AHEAD)
        missing = evidence.size - evidence.chained
        return Tamper(seq=broken.seq, kind=classify(previous, broken, rest, missing))


def _gravest(*faults: Sequence[Tamper]) -> Tamper | None:
    """The first fault of the first kind of evidence that has any: rows, heads, ends, clocks."""
    for found in faults:
        if found:
            return min(found, key=lambda fault: fault.seq)
    return None


def _clock_faults(checker: Checker, heads: Heads, clock_from: int) -> list[Tamper]:
    found = [checker.clock, heads.clock_fault()]
    return [fault for fault in found if fault and fault.seq >= clock_from]
