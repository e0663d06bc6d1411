"""The rows that say by which lists everything is labelled, and how far a re-label is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from sqlalchemy import delete, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.store.tables import label_job, label_lists

_ID = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """How far labelling by other lists is; the columns of `label_job`.

    Attributes:
        lists: deflated JSON, see `consent.changes`.
        is_ahead: the hub does not go by these lists yet.
        stage: the rank of the types that it is at.
        current_mask, older_mask: what current and older versions may gain.
    """

    digest: str
    lists: bytes
    is_ahead: bool
    stage: int
    done_pk: int
    last_pk: int
    since_us: int
    current_mask: int
    older_mask: int
    done: int
    total: int
    raised: int
    lowered: int
    started_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLists:
    """The lists that every row is labelled by.

    Attributes:
        stale_since_us: but for what was written since then, by a process with other lists.
    """

    digest: str
    lists: bytes
    stale_since_us: int | None = None


class LabelJob:
    """Reads and writes these rows, in the caller's transaction."""

    async def lists(self, conn: AsyncConnection, *, is_whole: bool = False) -> HeldLists | None:
        """What every row was labelled by; None where nobody knows.

        The lists themselves, a megabyte with compiled ones, only where `is_whole`; else empty.
        """
        c = label_lists.c
        lists = c.lists if is_whole else literal(b"").label("lists")
        row = (await conn.execute(select(c.digest, c.stale_since_us, lists))).first()
        if row is None:
            return None
        return HeldLists(digest=row.digest, lists=row.lists, stale_since_us=row.stale_since_us)

    async def note_stale(self, conn: AsyncConnection, since_us: int) -> None:
        """Say that rows have been written by other lists since then."""
        known = label_lists.c.stale_since_us
        await conn.execute(
            update(label_lists)
            .where(or_(known.is_(None), known > since_us))
            .values(stale_since_us=since_us)
        )

    async def keep(self, conn: AsyncConnection, digest: str, lists: bytes) -> None:
        """Say that every row is labelled by these lists."""
        await conn.execute(delete(label_lists))
        await conn.execute(insert(label_lists).values(id=_ID, digest=digest, lists=lists))

    async def read(self, conn: AsyncConnection, *, is_whole: bool = False) -> JobRow | None:
        """The job under way, if any; its lists only where `is_whole`, else empty."""
        columns = [c for c in label_job.c if c.name not in ("id", "lists")]
        lists = label_job.c.lists if is_whole else literal(b"").label("lists")
        row = (await conn.execute(select(*columns, lists))).mappings().first()
        return JobRow(**dict(row)) if row is not None else None

    async def begin(self, conn: AsyncConnection, job: JobRow) -> None:
        """Put a job in the place of the one there is."""
        await conn.execute(delete(label_job))
        await conn.execute(insert(label_job).values(id=_ID, **asdict(job)))

    async def end(self, conn: AsyncConnection) -> None:
        """No job is under way."""
        await conn.execute(delete(label_job))

    async def advance(self, conn: AsyncConnection, done_pk: int, more: Mapping[str, int]) -> None:
        """A portion is through; `more` is added to the columns of these names."""
        values = {name: label_job.c[name] + count for name, count in more.items()}
        await conn.execute(update(label_job).values(done_pk=done_pk, **values))

    async def next_stage(self, conn: AsyncConnection) -> None:
        """Go on with the types that take over labels from those that are through."""
        await conn.execute(update(label_job).values(stage=label_job.c.stage + 1, done_pk=0))
