"""The rules of all Consents, compiled anew: after a change of what the compilation depends on.

Who is taken at his word stands in the sources' files, what a word means in `config/consent/`;
the rows of Consents that are stored already follow once they are compiled again. What they were
compiled by is kept: a hub that finds it changed brings them up before it serves anything.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from consent.basis import digest_of
from consent.repository import Basis, ConsentRepository
from consent.service import ConsentService
from hie.db import Database
from hie.flow.directory import Directory
from hie.flow.place import Placer
from hie.kernel.ids import PersonId
from hie.store.repository import ResourceRepository

#: Persons in one transaction: readers and writers go on between two.
_BATCH: Final = 10
#: A line in the log at least this often while a start waits, in seconds.
_TOLD_EVERY: Final = 10.0
_HERE: Final = Path(__file__).parent
#: Lock of who says what rows are compiled by: processes that start at once take turns.
_TURN: Final = "consent basis"
#: What here chooses the Consents that bind a person.
_BESIDE: Final = (_HERE / "place.py", _HERE / "verification.py")

_log = structlog.get_logger(__name__)


class ConsentRules:
    """Keeps the rows of Consents and what they are compiled by in step."""

    def __init__(
        self,
        db: Database,
        rows: ConsentRepository,
        repository: ResourceRepository,
        placer: Placer,
        digest: str,
    ) -> None:
        """Join the parts; `digest` is of what rows are compiled by today."""
        self._db = db
        self._rows = rows
        self._repository = repository
        self._placer = placer
        self._digest = digest

    async def is_due(self) -> bool:
        """Whether rows that stand were compiled by something else, or nobody knows by what."""
        async with self._db.transaction() as conn:
            await self._db.serialize(conn, _TURN)
            basis = await self._rows.basis(conn)
            if basis is None and not await self._next(conn, ""):
                await self._rows.keep_basis(conn, Basis(digest=self._digest))
                return False
        return basis is None or basis.digest != self._digest or bool(basis.doing)

    async def bring_up(self) -> int:
        """Compile what is due, from where an interrupted start left off; how many persons."""
        if not await self.is_due():
            return 0
        async with self._db.reading() as conn:
            basis = await self._rows.basis(conn)
        is_going_on = basis is not None and basis.doing == self._digest
        return await self._compile(basis.place if basis and is_going_on else "", _tell())

    async def again(self) -> int:
        """Compile the Consents of every person who has any; how many persons those are."""
        return await self._compile("", lambda _: None)

    async def _compile(self, after: str, progress: Callable[[int], None]) -> int:
        count = 0
        async with self._db.reading() as conn:
            before = await self._rows.basis(conn)
        stood = before.digest if before else ""
        while True:
            async with self._db.transaction() as conn:
                await self._db.serialize(conn, _TURN)
                found = await self._next(conn, after)
                await self._placer.recompile(conn, found)
                after = found[-1] if found else after
                doing = Basis(digest=stood, doing=self._digest, place=after)
                await self._rows.keep_basis(conn, doing if found else Basis(digest=self._digest))
            if not found:
                return count
            count += len(found)
            progress(count)

    async def _next(self, conn: AsyncConnection, after: str) -> list[PersonId]:
        found = await self._repository.persons_with(conn, "Consent", after=after, limit=_BATCH)
        return [PersonId(person) for person in found]


class Hub(Protocol):
    """What compiling needs of a hub."""

    db: Database
    consent: ConsentService
    directory: Directory
    repository: ResourceRepository
    placer: Placer


def rules_of(hub: Hub) -> ConsentRules:
    """What keeps the rows of this hub in step."""
    digest = digest_of(hub.consent.law.settings, hub.directory.standing(), _BESIDE)
    return ConsentRules(hub.db, hub.consent.rows, hub.repository, hub.placer, digest)


def _tell() -> Callable[[int], None]:
    """Says in the log how far a start is."""
    told = time.monotonic()

    def tell(count: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _TOLD_EVERY:
            told = time.monotonic()
            _log.info("consents.compiling", count=count)

    return tell
