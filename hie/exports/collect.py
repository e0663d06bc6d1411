"""Makes a job's list, a small step at a time; keyset all the way, nothing is read twice.

    persons   page by page in the order of their ids: a Group's members, or everybody
    others    what their records refer to beside themselves (Patient and Group level)
    nobodys   what is about no person, type by type (system level)
    gone      of that, what was deleted since (system level, `_since`)

A step reads with the caller's residual of that moment, names what the caller may see, and says
where the next begins. Which resources a filter keeps is decided here; whether the caller may
see them is decided again at each reading.
"""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.db import Database
from hie.exports.model import DELETED, GOLDEN, Content, Filters, Job, Level, Step, may_export
from hie.exports.repository import ExportBook
from hie.golden import GoldenPatients
from hie.kernel.context import RequestContext
from hie.sight import Sight
from hie.store.index import SearchIndex
from hie.store.listing import Listing
from hie.store.query import Query
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual

PERSONS_AT_ONCE: Final = 32
OTHERS_AT_ONCE: Final = 500
NOBODYS_AT_ONCE: Final = 1000
#: Where a job begins.
START: Final = json.dumps(["persons", ""])
_Row = Row[Any]
_Phase = Callable[["_Work", list[Any]], Awaitable[Step]]


@dataclass(frozen=True, kw_only=True)
class _Work:
    """One step under way."""

    conn: AsyncConnection
    residual: Residual
    job: Job
    ctx: RequestContext
    index: SearchIndex

    @cached_property
    def wanted(self) -> frozenset[int]:
        """Types that are listed."""
        return frozenset(self.index.type_id(name) for name in self.job.asked.types)

    @cached_property
    def walked(self) -> tuple[int, ...]:
        """Types of persons' records that are read: for what they refer to, all there may be."""
        if self.wanted.isdisjoint(self.index.supporting_type_ids):
            return tuple(sorted(self.wanted))
        caller = self.ctx.caller
        may = (name for name in self.index.types if may_export(caller, name))
        return tuple(sorted({self.index.type_id(name) for name in may} | self.wanted))

    @cached_property
    def filters(self) -> Mapping[int, list[str]]:
        """Searches by type."""
        found = defaultdict[int, list[str]](list)
        for type_name, search in self.job.asked.filters:
            found[self.index.type_id(type_name)].append(search)
        return found


class Collector:
    """Lists what a caller may see.

    Args:
        read_filter: reads the searches of `_typeFilter`.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - joined once
        self,
        db: Database,
        book: ExportBook,
        listing: Listing,
        repository: ResourceRepository,
        golden: GoldenPatients,
        index: SearchIndex,
        sight: Sight,
        read_filter: Filters,
    ) -> None:
        self._db = db
        self._book = book
        self._listing = listing
        self._repository = repository
        self._golden = golden
        self._index = index
        self._sight = sight
        self._read_filter = read_filter
        self._patient = index.type_id("Patient")
        self._phases: Mapping[str, _Phase] = {
            "persons": self._persons,
            "others": self._others,
            "nobodys": self._nobodys,
            "gone": self._gone,
        }

    async def step(self, ctx: RequestContext, job: Job) -> Step:
        """The next step of a job, not yet stored.

        Args:
            ctx: the caller the job works for, and the time.
            job: as it was stored last.
        """
        residual = self._sight.residual(ctx)
        phase, *place = json.loads(job.place)
        async with self._db.surveying() as conn:
            work = _Work(conn=conn, residual=residual, job=job, ctx=ctx, index=self._index)
            return await self._phases[phase](work, place)

    async def _persons(self, work: _Work, place: list[Any]) -> Step:
        persons = await self._page(work, place[0])
        if not persons:
            is_system = work.job.asked.level is Level.SYSTEM
            following = ["nobodys", 0, 0] if is_system else ["others", "", 0]
            return Step(place=json.dumps(following))
        found: dict[str, dict[int, list[int]]] = {person: {} for person in persons}
        seen = await self._patients(work, persons, found)
        # A member whose Patient is hidden is as if absent; a system's list is by resource.
        shown = persons if work.job.asked.level is Level.SYSTEM else sorted(seen)
        others = await self._records(work, shown, seen, found) if shown else set()
        await self._deleted(work, shown, seen, found)
        return Step(
            place=json.dumps(["persons", persons[-1]]),
            holdings=tuple(
                (person, _content(found[person])) for person in persons if found[person]
            ),
            others=frozenset(others),
        )

    async def _page(self, work: _Work, after: str) -> Sequence[str]:
        members = work.job.asked.members
        if members is not None:
            start = bisect_right(members, after)
            return members[start : start + PERSONS_AT_ONCE]
        return await self._repository.persons_with(
            work.conn, "Patient", after=after, limit=PERSONS_AT_ONCE
        )

    async def _patients(
        self, work: _Work, persons: Sequence[str], found: dict[str, dict[int, list[int]]]
    ) -> dict[str, list[_Row]]:
        """Visible source records by person; golden Patients that are asked for are listed."""
        span = work.job.span
        rows = await self._listing.of_persons(
            work.conn, work.residual, span.whole, (self._patient,), persons
        )
        seen = defaultdict[str, list[_Row]](list)
        for row in rows:
            if row.person_id in found:
                seen[row.person_id].append(row)
        if self._patient not in work.wanted:
            return seen
        changed = [
            person
            for person, records in seen.items()
            if span.since_us < max(r.last_updated_us for r in records) < span.until_us
        ]
        for person in await self._matching_patients(work, changed):
            found[person][self._patient] = [GOLDEN]
        return seen

    async def _matching_patients(self, work: _Work, persons: list[str]) -> list[str]:
        queries = self._queries(work, self._patient)
        if not queries or not persons:
            return persons
        met: set[str] = set()
        for query in queries:
            among = [person for person in persons if _meets(person, query)]
            theirs = replace(query, persons=tuple(among), count=len(among) or 1)
            # As a search among them: some criteria are asked of records, others of the whole.
            found = await self._golden.persons(work.conn, work.residual, theirs, len(among))
            met.update(found or ())
        return [person for person in persons if person in met]

    async def _records(
        self,
        work: _Work,
        persons: Sequence[str],
        seen: Mapping[str, list[_Row]],
        found: dict[str, dict[int, list[int]]],
    ) -> set[tuple[str, int]]:
        """List the persons' own resources; the others that belong to the list."""
        listing, span = self._listing, work.job.span
        walked = tuple(type_id for type_id in work.walked if type_id != self._patient)
        rows = await listing.of_persons(work.conn, work.residual, span, walked, persons)
        others: set[tuple[str, int]] = set()
        is_system = work.job.asked.level is Level.SYSTEM
        for row in await self._kept(work, rows):
            if row.person_id in found:
                found[row.person_id].setdefault(row.type_id, []).append(row.pk)
            elif not is_system:  # there each is found with the person whose it is first
                others.add((row.person_id or "", row.pk))
        supporting = tuple(sorted(work.wanted & self._index.supporting_type_ids))
        if is_system or not supporting:
            return others
        records = [row.pk for person in persons for row in seen.get(person, ())]
        referred = await listing.referred(
            work.conn, work.residual, span, supporting, [*records, *(row.pk for row in rows)]
        )
        return others | {(row.person_id or "", row.pk) for row in referred}

    async def _deleted(
        self,
        work: _Work,
        persons: Sequence[str],
        seen: Mapping[str, list[_Row]],
        found: dict[str, dict[int, list[int]]],
    ) -> None:
        """List what of the persons' was deleted; a Patient only when no record of it is left."""
        if not work.job.asked.has_since or not persons:
            return
        types = tuple(sorted(work.wanted))
        rows = await self._listing.tombstones(
            work.conn, work.residual, work.job.span, types, persons
        )
        for row in rows:
            is_left = row.type_id == self._patient and row.person_id in seen
            if row.person_id in found and not is_left:
                found[row.person_id].setdefault(DELETED, []).append(row.pk)

    async def _others(self, work: _Work, place: list[Any]) -> Step:
        person, pk = place
        after = (str(person), int(pk))
        named = await self._book.others(work.conn, work.job, after, OTHERS_AT_ONCE)
        named = _whole_persons(named)
        if not named:
            return Step(place=json.dumps(["others", person, pk]), is_last=True)
        whose = {key: person for person, key in named}
        persons = {person for person in whose.values() if person}
        held = await self._book.persons_held(work.conn, work.job, persons) if persons else set()
        keys = [key for key, person in whose.items() if person not in held]
        rows = await self._listing.names(
            work.conn, work.residual, work.job.span.whole, sorted(keys)
        )
        found: dict[str, dict[int, list[int]]] = defaultdict(dict)
        for row in await self._kept(work, rows):
            if (row.person_id or "") == whose[row.pk]:
                found[whose[row.pk]].setdefault(row.type_id, []).append(row.pk)
        return Step(
            place=json.dumps(["others", *named[-1]]),
            holdings=tuple((owner, _content(found[owner])) for owner in sorted(found)),
        )

    async def _nobodys(self, work: _Work, place: list[Any]) -> Step:
        following = ["gone", 0, 0] if work.job.asked.has_since else []
        return await self._of_nobody(work, place, "nobodys", following)

    async def _gone(self, work: _Work, place: list[Any]) -> Step:
        return await self._of_nobody(work, place, "gone", [])

    async def _of_nobody(
        self, work: _Work, place: list[Any], phase: str, following: list[Any]
    ) -> Step:
        """A page in the order of types and keys."""
        type_id, after = place
        is_gone = phase == "gone"
        rows = await self._listing.nobodys(
            work.conn,
            work.residual,
            work.job.span,
            tuple(sorted(work.wanted)),
            after=(type_id, after),
            limit=NOBODYS_AT_ONCE,
            is_deleted=is_gone,
        )
        if not rows:
            return Step(place=json.dumps(following or [phase, *place]), is_last=not following)
        found: dict[int, list[int]] = {}
        for row in rows if is_gone else await self._kept(work, rows):
            found.setdefault(DELETED if is_gone else row.type_id, []).append(row.pk)
        return Step(
            place=json.dumps([phase, rows[-1].type_id, rows[-1].pk]),
            holdings=(("", _content(found)),) if found else (),
        )

    async def _kept(self, work: _Work, rows: Sequence[_Row]) -> list[_Row]:
        """The rows of types that are asked for, and that their filters keep."""
        kept = [r for r in rows if r.type_id in work.wanted and r.type_id not in work.filters]
        for type_id in work.filters:
            filtered = [row for row in rows if row.type_id == type_id]
            if not filtered:
                continue
            met: set[int] = set()
            for query in self._queries(work, type_id):
                pks = [row.pk for row in filtered]
                met |= await self._listing.matching(work.conn, work.residual, query, pks)
            kept += [row for row in filtered if row.pk in met]
        return kept

    def _queries(self, work: _Work, type_id: int) -> list[Query]:
        name, now_us = self._index.type_name(type_id), work.ctx.now_us
        return [self._read_filter(name, text, now_us) for text in work.filters.get(type_id, ())]


def _content(found: Mapping[int, Sequence[int]]) -> Content:
    return {type_id: tuple(sorted(pks)) for type_id, pks in found.items()}


def _meets(person: str, query: Query) -> bool:
    return query.persons is None or person in query.persons


def _whole_persons(named: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """A full page without its last person, who may go on behind it; nobody may be cut."""
    if len(named) < OTHERS_AT_ONCE or not named[-1][0]:
        return named
    whole = [pair for pair in named if pair[0] != named[-1][0]]
    return whole or named
