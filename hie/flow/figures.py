"""The figures of the patient index that its stewards steer by, and Prometheus watches.

They are counted by a job and kept in memory; whoever asks gets the last ones, or new ones
where those are old. Outcomes of new records are counted by day and stored, so that a month of
them is thirty short sums.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.db import Database
from hie.kernel.clock import SECOND_US, Clock
from mpi.drift import ComparisonDrift
from mpi.repository import decisions, figures, queue
from mpi.repository.decisions import ModelRow
from mpi.repository.figures import DAY_US, DayCount, Doubts, FullKeys
from mpi.repository.queue import QueueFigures
from mpi.service import Mpi

#: Figures older than this are counted again when somebody asks.
FRESH_US: Final = 60 * SECOND_US
#: How long the drift of levels is kept.
DRIFT_US: Final = 3_600 * SECOND_US
WINDOWS: Final = (1, 7, 30)
OUTCOMES: Final = ("auto", "review", "new")
_TAKEN_BACK: Final = ("undo", "unmerge")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """How old open tasks are, in seconds."""

    number: int
    p50: float
    p90: float
    oldest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The last so many days, today among them.

    Attributes:
        outcomes: per source, how many new records were linked, doubtful, new.
        decided: decisions of stewards by kind.
        answer_p50, answer_p90: seconds from question to answer; 0 where nothing was answered.
    """

    days: int
    outcomes: Mapping[str, Mapping[str, int]]
    decided: Mapping[str, int]
    answered: int
    answer_p50: float
    answer_p90: float

    @property
    def undo_rate(self) -> float:
        """Share of decisions that were taken back, of those made in the same time."""
        taken_back = sum(self.decided.get(kind, 0) for kind in _TAKEN_BACK)
        made = sum(self.decided.values()) - taken_back
        return taken_back / made if made else 0.0

    def rate(self, outcome: str, source_id: str | None = None) -> float:
        """Share of new records with an outcome, of one source or of all."""
        counted = [c for s, c in self.outcomes.items() if source_id in (None, s)]
        total = sum(sum(c.values()) for c in counted)
        return sum(c.get(outcome, 0) for c in counted) / total if total else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything at one time.

    Attributes:
        drift: of the levels of late links from the model, an hour old at most.
    """

    at_us: int
    doubts: Doubts
    queue: tuple[QueueFigures, ...]
    ages: Mapping[str, Ages]
    windows: tuple[Window, ...]
    full_keys: tuple[FullKeys, ...]
    drift: tuple[ComparisonDrift, ...]

    @property
    def duplicate_rate(self) -> float:
        """Records in possible duplicate pairs, of all records (AHIMA)."""
        doubts = self.doubts
        return doubts.doubted_records / doubts.records if doubts.records else 0.0


@dataclass(slots=True)
class _Kept:
    figures: Figures | None = None
    final: set[int] = field(default_factory=set)
    drift: tuple[ComparisonDrift, ...] = ()
    drift_us: int | None = None


class IdentityFigures:
    """Counts the index, at most once a minute."""

    def __init__(self, db: Database, mpi: Mpi, clock: Clock) -> None:
        self._db = db
        self._mpi = mpi
        self._clock = clock
        self._kept = _Kept()
        self._counting = asyncio.Lock()

    @property
    def last(self) -> Figures | None:
        """The figures counted last; None before the first time."""
        return self._kept.figures

    async def current(self) -> Figures:
        """Figures that are a minute old at most."""
        async with self._counting:
            last = self._kept.figures
            if last is not None and self._clock.now_us() - last.at_us < FRESH_US:
                return last
            return await self._count()

    async def model(self) -> ModelRow | None:
        """The model in use."""
        async with self._db.reading() as conn:
            return await decisions.model_in_use(conn)

    async def refresh(self) -> Figures:
        """Count now; the job."""
        async with self._counting:
            return await self._count()

    async def _count(self) -> Figures:
        now_us = self._clock.now_us()
        today = now_us // DAY_US
        await self._keep_days(today)
        async with self._db.surveying() as conn:
            counted = await figures.days(conn, today - max(WINDOWS) + 1)
            windows = [
                _window(
                    days,
                    [c for c in counted if c.day > today - days],
                    await figures.decided(conn, now_us - days * DAY_US),
                    await figures.answer_times(conn, now_us - days * DAY_US),
                )
                for days in WINDOWS
            ]
            self._kept.figures = Figures(
                at_us=now_us,
                doubts=await figures.doubts(conn),
                queue=tuple(await queue.figures(conn, now_us=now_us)),
                ages=_ages(await figures.ages(conn), now_us),
                windows=tuple(windows),
                full_keys=tuple(await figures.full_keys(conn)),
                drift=await self._drift(conn, now_us),
            )
        return self._kept.figures

    async def _drift(self, conn: AsyncConnection, now_us: int) -> tuple[ComparisonDrift, ...]:
        """How far late links are from the model; it opens thousands, so not every time."""
        kept = self._kept
        if kept.drift_us is None or now_us - kept.drift_us >= DRIFT_US:
            kept.drift, kept.drift_us = await self._mpi.drift.measure(conn), now_us
        return kept.drift

    async def _keep_days(self, today: int) -> None:
        """Count the days that are not over, or were not counted since they were."""
        for day in range(today - max(WINDOWS) + 1, today + 1):
            if day in self._kept.final:
                continue
            async with self._db.surveying() as conn:
                counted = await figures.count_day(conn, day)
                kept = [c for c in await figures.days(conn, day) if c.day == day]
            if _sorted(counted) != _sorted(kept):
                async with self._db.transaction() as conn:
                    await self._db.serialize(conn, "identity-figures")
                    await figures.keep_day(conn, day, counted)
            if day < today - 1:  # a message of yesterday may still be on its way
                self._kept.final.add(day)


def _window(
    days: int, counted: Iterable[DayCount], decided: Mapping[str, int], waited: Sequence[int]
) -> Window:
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    for one in counted:
        outcomes[one.source_id][one.outcome] += one.number
    ordered = sorted(waited)
    return Window(
        days=days,
        outcomes=outcomes,
        decided=decided,
        answered=len(ordered),
        answer_p50=_percentile(ordered, 0.5) / SECOND_US,
        answer_p90=_percentile(ordered, 0.9) / SECOND_US,
    )


def _ages(opened: Iterable[tuple[str, int]], now_us: int) -> dict[str, Ages]:
    """Ages by kind, and of all under `all`."""
    found: dict[str, list[int]] = defaultdict(list)
    for kind, opened_us in opened:
        for name in (kind, "all"):
            found[name].append(max(0, now_us - opened_us))
    return {
        kind: Ages(
            number=len(waited),
            p50=_percentile(sorted(waited), 0.5) / SECOND_US,
            p90=_percentile(sorted(waited), 0.9) / SECOND_US,
            oldest=max(waited) / SECOND_US,
        )
        for kind, waited in found.items()
    }


def _percentile(ordered: Sequence[int], share: float) -> int:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0


def _sorted(counted: Iterable[DayCount]) -> list[tuple[str, str, int]]:
    return sorted((c.source_id, c.outcome, c.number) for c in counted)
