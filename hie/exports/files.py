"""Reads a file of an export: decided, put on record and written out, part by part.

Before a person's first byte leaves, one audit event says what of the job is theirs; what is
hidden at that moment leaves the list for good, so that nothing is ever sent that the event does
not name. Every part then decides anew: a consent or a token that was revoked holds from the next
part on, in the middle of a file.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import AuditRecord, record_of
from hie.audit.repository import AuditLog
from hie.db import Database
from hie.disclosure import further_of, shown_of
from hie.exports.model import DELETED, GOLDEN, Content, Holding, Job, Part
from hie.exports.repository import ExportBook
from hie.golden import GoldenPatients
from hie.kernel.clock import Clock
from hie.kernel.context import RequestContext
from hie.sight import Sight
from hie.store.index import SearchIndex
from hie.store.listing import Listing, Span
from hie.store.query import Served
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual

#: Resources of one part of a file; a part is at most this and one person's more.
PART_RESOURCES: Final = 200
HOLDINGS_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Visible:
    """What of some entries a caller may see now.

    Attributes:
        contents: by entry; an empty one has none.
        shown: by entry, without bodies, for the audit trail.
    """

    contents: Mapping[int, Content]
    shown: Mapping[int, tuple[Served, ...]]


class Files:
    """Reads the files of jobs."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once
        self,
        db: Database,
        book: ExportBook,
        listing: Listing,
        repository: ResourceRepository,
        golden: GoldenPatients,
        index: SearchIndex,
        sight: Sight,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._db = db
        self._book = book
        self._listing = listing
        self._repository = repository
        self._golden = golden
        self._index = index
        self._sight = sight
        self._audit = audit
        self._clock = clock
        self._patient = index.type_id("Patient")

    async def portions(self, job: Job, part: Part) -> AsyncIterator[list[Holding]]:
        """The entries of a file, about `PART_RESOURCES` resources at a time."""
        gathered: list[Holding] = []
        count, after = 0, -1
        while True:
            async with self._db.reading() as conn:
                found = await self._book.holdings(
                    conn, job, part.batch, after=after, limit=HOLDINGS_AT_ONCE
                )
            for holding in found:
                for piece in _pieces(holding, part.type_id):
                    gathered.append(piece)
                    count += len(piece.content[part.type_id])
                    if count >= PART_RESOURCES:
                        yield gathered
                        gathered, count = [], 0
            if len(found) < HOLDINGS_AT_ONCE:
                break
            after = found[-1].seq
        if gathered:
            yield gathered

    async def read(
        self, ctx: RequestContext, job: Job, part: Part, portion: Sequence[Holding]
    ) -> list[Served]:
        """What of a portion leaves; its audit events are committed when this returns.

        Raises:
            HieError: FORBIDDEN when the caller's purpose is not allowed; FAULT when something
                in it is denied after all.
        """
        ready = await self._told(ctx, job, portion)
        residual = self._sight.residual(ctx)
        async with self._db.reading() as conn:
            if part.type_id == self._patient:
                served = await self._patients(conn, residual, ready)
            else:
                served = await self._resources(conn, residual, job, part, ready)
            await self._sight.recheck(conn, ctx, served)
        await self._tell_further(ctx, job, served)
        return served

    async def gone(
        self, ctx: RequestContext, job: Job, portion: Sequence[Holding]
    ) -> list[tuple[str, str]]:
        """Type and id of what was deleted; Patients by person."""
        ready = await self._told(ctx, job, portion)
        residual = self._sight.residual(ctx)
        pks = [pk for holding in ready for pk in holding.content.get(DELETED, ())]
        async with self._db.reading() as conn:
            rows = await self._listing.tombstone_names(conn, residual, pks)
        named = ((self._index.type_name(r.type_id), r) for r in rows)
        return sorted({(t, r.person_id if t == "Patient" else r.id) for t, r in named})

    async def visible(
        self,
        conn: AsyncConnection,
        residual: Residual,
        job: Job,
        holdings: Sequence[Holding],
        types: frozenset[int] | None = None,
    ) -> Visible:
        """What of entries the caller may see now, of some types or of all; no body is opened."""
        live: list[int] = []
        dead: list[int] = []
        for holding in holdings:
            for type_id, pks in holding.content.items():
                if types is None or type_id in types:
                    into = dead if type_id == DELETED else live
                    into += [] if type_id == self._patient else pks
        rows = {r.pk: r for r in await self._listing.names(conn, residual, job.span.whole, live)}
        gone = {r.pk: r for r in await self._listing.tombstone_names(conn, residual, dead)}
        persons = [h.person_id for h in holdings if self._patient in h.content]
        records = await self._records(conn, residual, persons)
        contents, shown = {}, {}
        for holding in holdings:
            contents[holding.seq], shown[holding.seq] = self._of(
                holding, rows, gone, records.get(holding.person_id, ()), types
            )
        return Visible(contents=contents, shown=shown)

    def _of(
        self,
        holding: Holding,
        rows: Mapping[int, Row[Any]],
        gone: Mapping[int, Row[Any]],
        records: Sequence[str],
        types: frozenset[int] | None,
    ) -> tuple[Content, tuple[Served, ...]]:
        content: dict[int, tuple[int, ...]] = {}
        shown: list[Served] = []
        for type_id, pks in holding.content.items():
            if types is not None and type_id not in types:
                continue
            if type_id == self._patient:
                kept: tuple[int, ...] = (GOLDEN,) if records else ()
                shown += [self._golden_name(holding.person_id, records)] if records else []
            else:
                named = gone if type_id == DELETED else rows
                kept = tuple(pk for pk in pks if _is_of(named.get(pk), holding.person_id))
                shown += [self._name(rows[pk]) for pk in kept if type_id != DELETED]
            if kept:
                content[type_id] = kept
        return content, tuple(shown)

    def _name(self, row: Row[Any]) -> Served:
        return Served(
            type=self._index.type_name(row.type_id),
            id=row.id,
            version="",
            last_updated_us=0,
            person_id=row.person_id or "",
            source_record_id=row.source_record_id or "",
        )

    @staticmethod
    def _golden_name(person: str, records: Sequence[str]) -> Served:
        return Served(
            type="Patient",
            id=person,
            version="",
            last_updated_us=0,
            person_id=person,
            built_of=tuple(records),
        )

    async def _records(
        self, conn: AsyncConnection, residual: Residual, persons: Sequence[str]
    ) -> dict[str, list[str]]:
        """The visible source records of persons, by id."""
        found: dict[str, list[str]] = {}
        span = Span(as_of_us=self._clock.now_us())
        for start in range(0, len(persons), PART_RESOURCES):
            some = persons[start : start + PART_RESOURCES]
            for row in await self._listing.of_persons(conn, residual, span, (self._patient,), some):
                found.setdefault(row.person_id, []).append(row.id)
        return found

    async def _told(
        self, ctx: RequestContext, job: Job, portion: Sequence[Holding]
    ) -> list[Holding]:
        """The entries of a portion that may be read, their persons' events committed."""
        asked = {holding.seq: holding for holding in portion}
        untold = sorted({h.seq for h in portion if h.person_id and h.told_us is None})
        if not untold:
            return list(portion)
        residual = self._sight.residual(ctx)
        async with self._db.reading() as conn:
            whole = await self._book.again(conn, job, untold)
            fresh = [holding for holding in whole if holding.told_us is None]
            seen = await self.visible(conn, residual, job, fresh)
        await self._tell(ctx, job, fresh, seen)
        async with self._db.reading() as conn:
            now = {holding.seq: holding for holding in await self._book.again(conn, job, untold)}
        ready = []
        for piece in portion:
            latest = now.get(piece.seq)
            if latest is None and asked[piece.seq].told_us is None and piece.person_id:
                continue  # the job was taken away
            if latest is None or latest.told_us is not None:
                ready.append(_within(piece, latest))
        return ready

    async def _tell(
        self, ctx: RequestContext, job: Job, fresh: Sequence[Holding], seen: Visible
    ) -> None:
        """One event for each person whom none was written for, and what it names alone stays."""
        some = {h.seq: h for h in fresh if seen.contents[h.seq]}
        async with self._db.transaction() as conn:
            mine = await self._book.told(conn, job, sorted(some), ctx.now_us)
            await self._audit.append(
                conn, [self._event(ctx, job, some[seq], seen.shown[seq]) for seq in sorted(mine)]
            )
            narrowed = {
                seq: seen.contents[seq] for seq in mine if seen.contents[seq] != some[seq].content
            }
            await self._book.narrow(conn, job, narrowed)

    async def _tell_further(self, ctx: RequestContext, job: Job, leaving: Sequence[Served]) -> None:
        """One event for each person beyond the first whom something of a portion is about."""
        about = [one for one in leaving if one.further]
        detail = {"query": f"$export {job.job_id}"}
        events = [
            record_of(
                ctx,
                "R",
                "disclose",
                person_id=person,
                detail={**detail, **shown_of(person, about)},
            )
            for person in sorted({p for one in about for p in further_of(ctx.caller, one)})
        ]
        if events:
            async with self._db.transaction() as conn:
                await self._audit.append(conn, events)

    @staticmethod
    def _event(
        ctx: RequestContext, job: Job, holding: Holding, shown: Sequence[Served]
    ) -> AuditRecord:
        detail = {"query": f"$export {job.job_id}", **shown_of(holding.person_id, shown)}
        return record_of(ctx, "R", "disclose", person_id=holding.person_id, detail=detail)

    async def _patients(
        self, conn: AsyncConnection, residual: Residual, ready: Sequence[Holding]
    ) -> list[Served]:
        persons = [holding.person_id for holding in ready if holding.person_id]
        records = await self._repository.patients(conn, residual, persons)
        return [self._golden.build(p, records[p]) for p in persons if p in records]

    async def _resources(
        self,
        conn: AsyncConnection,
        residual: Residual,
        job: Job,
        part: Part,
        ready: Sequence[Holding],
    ) -> list[Served]:
        whose = {pk: h.person_id for h in ready for pk in h.content.get(part.type_id, ())}
        found = await self._listing.read(conn, residual, job.span.whole, sorted(whose))
        # What was moved to another person since has changed since: it is not in this list.
        return [served for pk, served in found if served.person_id == whose[pk]]


def _pieces(holding: Holding, type_id: int) -> list[Holding]:
    """An entry's resources of one type, in pieces of a portion's size."""
    pks = holding.content.get(type_id, ())
    return [
        replace(holding, content={type_id: pks[start : start + PART_RESOURCES]})
        for start in range(0, len(pks), PART_RESOURCES)
    ]


def _within(piece: Holding, latest: Holding | None) -> Holding:
    """A piece without what has left its entry."""
    if latest is None:
        return piece
    kept = {
        type_id: tuple(sorted({*pks} & {*latest.content.get(type_id, ())}))
        for type_id, pks in piece.content.items()
    }
    return replace(piece, content=kept)


def _is_of(row: Row[Any] | None, person: str) -> bool:
    return row is not None and (row.person_id or "") == person
