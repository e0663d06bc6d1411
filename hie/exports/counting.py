"""What of a finished job the caller may see now: what its manifest tells.

What was hidden since the list was made is not counted, and a file with nothing else is not
named: the manifest is what it would be had it never been there.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Final

from hie.db import Database
from hie.exports.files import HOLDINGS_AT_ONCE, Files
from hie.exports.model import Job, Part
from hie.exports.repository import ExportBook
from hie.store.residual import Residual

#: Jobs of up to so many resources are counted anew each time their manifest is asked for.
COUNTED: Final = 20_000


class Counting:
    """Looks through lists without opening a body."""

    def __init__(self, db: Database, book: ExportBook, files: Files) -> None:
        self._db = db
        self._book = book
        self._files = files

    async def parts(self, residual: Residual, job: Job) -> tuple[Part, ...]:
        """The files with something for the caller, by type and number."""
        async with self._db.reading() as conn:
            listed = await self._book.parts(conn, job)
        if job.listed <= COUNTED:
            return await self._counted(residual, job, listed)
        return await self._present(residual, job, listed)

    async def _counted(
        self, residual: Residual, job: Job, listed: Sequence[Part]
    ) -> tuple[Part, ...]:
        """The files with the number of their resources that the caller may see now."""
        counts: dict[tuple[int, int], int] = {}
        for batch in sorted({part.batch for part in listed}):
            async for seen in self._seen(residual, job, batch, None):
                for type_id, pks in seen:
                    counts[batch, type_id] = counts.get((batch, type_id), 0) + len(pks)
        found = (replace(p, count=counts.get((p.batch, p.type_id), 0)) for p in listed)
        return tuple(part for part in found if part.count)

    async def _present(
        self, residual: Residual, job: Job, listed: Sequence[Part]
    ) -> tuple[Part, ...]:
        """The files that have anything the caller may see now; how much is not said."""
        found: set[tuple[int, int]] = set()
        for batch in sorted({part.batch for part in listed}):
            missing = {part.type_id for part in listed if part.batch == batch}
            async for seen in self._seen(residual, job, batch, missing):
                here = {type_id for type_id, _ in seen}
                found |= {(batch, type_id) for type_id in here}
                missing -= here
                if not missing:
                    break
        return tuple(replace(p, count=None) for p in listed if (p.batch, p.type_id) in found)

    async def _seen(
        self, residual: Residual, job: Job, batch: int, types: set[int] | None
    ) -> AsyncIterator[list[tuple[int, tuple[int, ...]]]]:
        """What of a batch may be seen, by type, some entries at a time."""
        after = -1
        while True:
            async with self._db.surveying() as conn:
                holdings = await self._book.holdings(
                    conn, job, batch, after=after, limit=HOLDINGS_AT_ONCE
                )
                wanted = None if types is None else frozenset(types)
                seen = await self._files.visible(conn, residual, job, holdings, wanted)
            yield [pair for content in seen.contents.values() for pair in content.items()]
            if len(holdings) < HOLDINGS_AT_ONCE:
                return
            after = holdings[-1].seq
