"""Tells readers whose records may be incomplete: the sources that are late.

Who is told of whom depends on the caller, the law and the clock alone - on no patient's records
or consents. So a notice says the same whether a source has anything about the person asked for
or not, and whether that is hidden or not: it never tells of withholding.
"""

from typing import Final, Protocol

from adapters.sources import SourceRegistry
from hie.db import Database
from hie.feeds import repository
from hie.kernel.clock import SECOND_US, Clock, instant
from hie.kernel.context import RequestContext
from hie.kernel.errors import Issue
from hie.kernel.ids import SourceId

#: For so long an answer of the table is good; the watch looks less often.
_KEPT_US: Final = 10 * SECOND_US


class Reach(Protocol):
    """Which sources a caller could see something of (`consent.service`)."""

    def reaches(self, ctx: RequestContext, source_id: SourceId, label_mask: int) -> bool:
        """Whether a caller could, by law and purpose, whatever the patients say."""
        ...


class Labels(Protocol):
    """The labels that everything of a source carries (`consent.labels`)."""

    def of_source(self, source_id: str) -> int:
        """Their mask."""
        ...


class PartialNotices:
    """Says whose records may be incomplete, as the table of watched sources has it."""

    def __init__(
        self, db: Database, sources: SourceRegistry, reach: Reach, labels: Labels, clock: Clock
    ) -> None:
        self._db = db
        self._sources = sources
        self._reach = reach
        self._labels = labels
        self._clock = clock
        self._late: dict[str, int] = {}
        self._read_us = -_KEPT_US

    async def of(self, ctx: RequestContext) -> tuple[Issue, ...]:
        """One warning for each late source this caller could see, by its id; mostly none."""
        return tuple(
            self._issue(source_id, late_us)
            for source_id, late_us in sorted((await self._late_now()).items())
            if self._reach.reaches(ctx, SourceId(source_id), self._labels.of_source(source_id))
        )

    async def _late_now(self) -> dict[str, int]:
        # From the table: another process may be the one that watches.
        now_us = self._clock.now_us()
        if now_us - self._read_us >= _KEPT_US:
            async with self._db.reading() as conn:
                rows = await repository.watched(conn)
            self._late = {key: row.late_us for key, row in rows.items() if row.late_us is not None}
            self._read_us = now_us
        return self._late

    def _issue(self, source_id: str, late_us: int) -> Issue:
        source = self._sources.by_id(source_id)
        name = source.organization.name if source else source_id
        text = (
            f"{name} has sent nothing when it was expected to, since {instant(late_us)}: what it "
            "knows may be missing here, about anybody"
        )
        return Issue(text=text, code="incomplete", severity="warning")
