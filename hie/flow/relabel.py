"""Labelling by new lists what was labelled by old ones, beside a working hub.

The lists that rows are labelled by are kept (`label_lists`). Where the lists of today differ,
every version of every resource is looked at again in portions of a transaction each; stopped,
the work goes on where it was. Until a resource had its turn it counts as having every label
that the change may bring it (`Pending`): nothing is ever shown by a weaker label. What new codes
bring to current versions is found in the search index at once, so that only the labels of new
words, and of older versions, have to wait.

Parts come before what takes over their labels (`consent.takes`), so that one pass is enough.
A label goes only if nothing brings it any more and the version says that nobody raised it.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from consent.changes import EVERYTHING, Gains, digest_of, gains, packed, snapshot, unpacked
from hie.db import Database, is_passing
from hie.flow.afresh import Afresh
from hie.flow.labelling import Labelling
from hie.flow.owing import Progress, everywhere, over
from hie.store.index import SearchIndex
from hie.store.label_job import HeldLists, JobRow, LabelJob
from hie.store.marks import Marks
from hie.store.residual import Pending

#: Resources of one transaction: on SQLite others wait for it, some 30 ms.
PORTION: Final = 50
#: What was written so long before a job began counts as written while it was under way: the
#: longest transaction, and clocks that differ.
MARGIN_US: Final = 600 * 1_000_000
_LOCK: Final = "relabel"
#: Before a portion is tried again that another transaction stood in the way of, in seconds.
_PAUSE: Final = 0.05


class Relabel:
    """Keeps the labels of rows and the lists in step.

    Args:
        db: the database.
        labelling: has the lists of today; gains what is pending, for what is written meanwhile.
        marks, index: labels of rows, and the numbers of types.
        now_us: the time.
        on_pending: told what is pending, whenever that changes: every read is to heed it.
    """

    def __init__(
        self,
        db: Database,
        labelling: Labelling,
        marks: Marks,
        index: SearchIndex,
        now_us: Callable[[], int],
        on_pending: Callable[[Pending | None], None],
    ) -> None:
        self._db = db
        self._labeller = labelling.labeller
        self._labelling = labelling
        self._marks = marks
        self._afresh = Afresh(labelling.labeller, marks)
        self._job = LabelJob()
        self._index = index
        self._now_us = now_us
        self._on_pending = on_pending
        self._lists = snapshot(labelling.labeller.sensitivity)
        self._digest = digest_of(self._lists)
        self._stages = self._types_by_rank()
        # Another process goes by other lists since some time after this.
        self._agreed_us = now_us()
        self._is_behind = False
        #: Whether a start begins the work where it is due: a hub's does, a command's does not.
        self.begins = False
        #: As last looked at; what a gauge shows.
        self.last = Progress()

    def _types_by_rank(self) -> list[list[int]]:
        takes = self._labeller.takes
        stages: list[list[int]] = [[] for _ in range(takes.last + 1)]
        for name in self._index.types:
            stages[takes.rank(name)].append(self._index.type_id(name))
        return stages

    # Beginning

    async def start(self, conn: AsyncConnection) -> None:
        """Compare rows and lists in a transaction, before anything is served; begin if need be.

        A hub without resources takes the lists as they are. A command that does not begin the
        work (`begins`) takes every resource for what the change may make it.
        """
        held, job = await self._whole(conn)
        is_held = held is not None and held.digest == self._digest
        is_under_way = job is not None and not job.is_ahead
        if held is None and not is_under_way and not (await self._extent(conn, 0))[0]:
            await self._keep(conn)
        elif self.begins:
            await self._begin_if_due(conn, held, job)
        elif not is_held and not (is_under_way and job and job.digest == self._digest):
            await self.follow(conn)
            self._labelling.on_written = self._note_written
            self._heed(everywhere(self._owed(held, job)))
            return
        await self.follow(conn)

    async def _note_written(self, conn: AsyncConnection) -> None:
        """A command with other lists than the hub's wrote something: it has another turn."""
        await self._job.note_stale(conn, self._agreed_us)

    async def _begin_if_due(
        self, conn: AsyncConnection, held: HeldLists | None, job: JobRow | None
    ) -> None:
        if job is not None and job.digest == self._digest:
            await self._resume(conn, held, job)
        elif job is not None and not job.is_ahead:
            # Rows it has been at may have lost what these lists bring.
            await self._begin(conn, self._owed(held, job))
        elif held is None or held.digest != self._digest:
            await self._begin(conn, self._owed(held, None))
        elif held.stale_since_us is not None:
            await self._catch_up(conn, EVERYTHING, held.stale_since_us)

    async def is_due(self) -> bool:
        """Whether these lists are not those that everything is labelled by."""
        async with self._db.reading() as conn:
            held = await self._job.lists(conn)
        return held is None or held.digest != self._digest

    async def again(self) -> None:
        """Begin to look at every resource again, whatever the lists are."""
        async with self._db.transaction() as conn:
            held, job = await self._whole(conn)
            await self._begin(conn, self._owed(held, job))
            await self.follow(conn)

    async def ahead(self) -> None:
        """Begin to raise what these lists will raise, while the hub still goes by others.

        What was begun that way goes on; what is in force already is no work.
        """
        async with self._db.transaction() as conn:
            held, job = await self._whole(conn)
            is_known = held is not None and held.digest == self._digest
            if is_known or (job is not None and job.digest == self._digest):
                return
            await self._begin(conn, self._owed(held, job), is_ahead=True)

    async def _whole(self, conn: AsyncConnection) -> tuple[HeldLists | None, JobRow | None]:
        return (
            await self._job.lists(conn, is_whole=True),
            await self._job.read(conn, is_whole=True),
        )

    def _owed(self, held: HeldLists | None, job: JobRow | None) -> Gains:
        """What rows may gain: those labelled by the lists held, and by those of a job's begin."""
        table = self._labeller.table
        found = gains(unpacked(held.lists) if held else None, self._lists, table)
        if job is not None and not job.is_ahead:
            found |= gains(unpacked(job.lists), self._lists, table)
            found |= Gains(by_codes=job.older_mask, by_rest=job.current_mask)
        return found

    async def _resume(self, conn: AsyncConnection, held: HeldLists | None, job: JobRow) -> None:
        """Go on with a job; one done ahead still owes what was written since it began."""
        if job.is_ahead:
            since = job.started_us - MARGIN_US if self._is_through(job) else 0
            await self._begin(conn, self._owed(held, None), since_us=since)

    async def _catch_up(
        self, conn: AsyncConnection, owed: Gains, since_us: int, job: JobRow | None = None
    ) -> None:
        """Look once more at what was written since then, lest another process had other lists."""
        await self._keep(conn)
        await self._begin(conn, owed, since_us=max(since_us - MARGIN_US, 1), before=job)

    def _is_through(self, job: JobRow) -> bool:
        return job.stage >= len(self._stages)

    async def _begin(
        self,
        conn: AsyncConnection,
        owed: Gains,
        *,
        is_ahead: bool = False,
        since_us: int = 0,
        before: JobRow | None = None,
    ) -> None:
        """Begin a job; `before` is the one it is a part of, whose counts go on."""
        total, last = await self._extent(conn, since_us)
        await self._job.begin(
            conn,
            JobRow(
                digest=self._digest,
                lists=packed(self._lists),
                is_ahead=is_ahead,
                stage=0,
                done_pk=0,
                last_pk=last,
                since_us=since_us,
                current_mask=owed.by_rest,
                older_mask=owed.by_codes | owed.by_rest,
                done=before.done if before else 0,
                total=total + (before.done if before else 0),
                raised=before.raised if before else 0,
                lowered=before.lowered if before else 0,
                started_us=before.started_us if before else self._now_us(),
            ),
        )
        if owed.systems:
            await self._raise_coded(conn, owed)

    async def _raise_coded(self, conn: AsyncConnection, owed: Gains) -> None:
        """Give current versions what new codes bring them, by the index of what they say."""
        by_mask: dict[tuple[int, str], tuple[set[int], set[str]]] = {}
        for param, system, code in await self._marks.coded(conn, owed.systems):
            if mask := self._labeller.code(system, code) & owed.by_codes:
                params, codes = by_mask.setdefault((mask, system), (set(), set()))
                params.add(param)
                codes.add(code)
        for (mask, system), (params, codes) in by_mask.items():
            pks = await self._marks.with_code(conn, sorted(params), system, sorted(codes))
            await self._marks.raise_all(conn, pks, mask, self._labelling.takers)

    async def _extent(self, conn: AsyncConnection, since_us: int) -> tuple[int, int]:
        types = [type_id for stage in self._stages for type_id in stage]
        return await self._marks.extent(conn, types, since_us)

    # What counts meanwhile

    async def follow(self, conn: AsyncConnection) -> None:
        """Look at how far it is; another process may have begun it, or come to the end."""
        held, job = await self._job.lists(conn), await self._job.read(conn)
        known = {held.digest} if held is not None else set()
        if job is not None and not job.is_ahead:
            known = {job.digest}
        self._is_behind = bool(known) and self._digest not in known
        if not self._is_behind:
            self._agreed_us = self._now_us()
        self.last = self._progress(job)
        self._heed(self._pending(job) if job is not None and not job.is_ahead else None)

    def _heed(self, pending: Pending | None) -> None:
        self._labelling.pending = pending
        self._on_pending(pending)

    def _pending(self, job: JobRow) -> Pending:
        stages = self._stages
        return Pending(
            passed=tuple(t for stage in stages[: job.stage] for t in stage),
            later=tuple(t for stage in stages[job.stage + 1 :] for t in stage),
            done_pk=job.done_pk,
            last_pk=job.last_pk,
            since_us=job.since_us,
            current_mask=job.current_mask,
            older_mask=job.older_mask,
        )

    def lag_seconds(self) -> float:
        """How long what waits has been waiting; 0 where nothing does."""
        return 0.0 if self.last.is_over else (self._now_us() - self.last.since_us) / 1e6

    # Working

    async def work(
        self, seconds: float, tell: Callable[[int, int], None] = lambda done, total: None
    ) -> Progress:
        """Look at resources again for some time, or to the end; how far that came.

        Another process at it is left alone; one that stands in the way of a portion makes it
        come again.

        Args:
            seconds: after so long no new portion is begun.
            tell: called after every portion with resources done and total.
        """
        until = time.monotonic() + seconds
        last = self.last
        if self._is_behind and self.begins:
            async with self._db.transaction() as conn:
                await self._job.note_stale(conn, self._agreed_us)
        while time.monotonic() < until:
            try:
                async with self._db.transaction() as conn:
                    job, is_mine = await self._portion(conn)
            except DBAPIError as error:
                if not is_passing(error):
                    raise
                await asyncio.sleep(_PAUSE)
                continue
            if job is not None:
                last = self._progress(job)
                tell(last.done, last.total)
            if not is_mine:
                break
            await self._look()
            await asyncio.sleep(0)  # writers go on between two portions
        await self._look()
        return self.last if not self.last.is_over else over(last)

    async def _look(self) -> None:
        async with self._db.reading() as conn:
            await self.follow(conn)

    async def _portion(self, conn: AsyncConnection) -> tuple[JobRow | None, bool]:
        """One portion; the job after it, and whether something is left for this process."""
        if not await self._db.try_hold(conn, [_LOCK]):
            return None, False
        job = await self._job.read(conn)
        if job is None or job.digest != self._digest:
            return None, False  # no work, or that of a process with other lists
        if self._is_through(job):
            if job.is_ahead:
                return job, False
            return job, await self._end(conn, job)
        found = await self._marks.portion(
            conn,
            self._stages[job.stage],
            after=job.done_pk,
            last=job.last_pk,
            since_us=job.since_us,
            limit=PORTION,
        )
        if not found:
            await self._job.next_stage(conn)
            return job, True
        raised = lowered = 0
        for one, mask, versions in await self._afresh.labelled(conn, found, is_ahead=job.is_ahead):
            changes = [(one.label_mask, mask)]
            changes += [(v.label_mask, versions[v.version]) for v in one.versions]
            raised += any(new & ~old for old, new in changes)
            lowered += any(old & ~new for old, new in changes)
            if any(old != new for old, new in changes):
                await self._marks.keep(conn, one, mask, versions)
        counted = {"done": len(found), "raised": raised, "lowered": lowered}
        await self._job.advance(conn, found[-1].pk, counted)
        return await self._job.read(conn), True

    async def _end(self, conn: AsyncConnection, job: JobRow) -> bool:
        """Every resource had its turn; whether what was written meanwhile is to have another."""
        held = await self._job.lists(conn)
        if held is not None and held.stale_since_us is not None:
            await self._catch_up(conn, EVERYTHING, held.stale_since_us, job)
            return True
        if job.since_us == 0:
            await self._catch_up(conn, Gains(), job.started_us, job)
            return True
        await self._keep(conn)
        return False

    def _progress(self, job: JobRow | None) -> Progress:
        if job is None:
            return Progress()
        return Progress(
            done=job.done,
            total=job.total,
            raised=job.raised,
            lowered=job.lowered,
            is_over=job.is_ahead and self._is_through(job),
            since_us=job.started_us,
        )

    async def _keep(self, conn: AsyncConnection) -> None:
        """Every row is labelled by the lists of today."""
        await self._job.end(conn)
        await self._job.keep(conn, self._digest, packed(self._lists))
