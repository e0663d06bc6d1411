"""Exports as a caller meets them: begun, asked after, read, taken away.

Every call decides anew whether the caller may: the job is theirs, the token that began it was
not revoked, this token's scopes cover what the job lists, the Group is still theirs to see. Of a
job that is somebody else's there is no more to learn than of one that never was.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hie.audit.event import Description, record_of
from hie.audit.repository import AuditLog
from hie.crypto import KeyRing
from hie.db import Database
from hie.disclosure import NOT_FOUND, Disclosures
from hie.exports.collect import START
from hie.exports.counting import Counting
from hie.exports.files import Files
from hie.exports.members import Members
from hie.exports.model import (
    DELETED,
    KEPT_SECONDS,
    Asked,
    Job,
    Level,
    Part,
    State,
    Tokens,
    may_export,
)
from hie.exports.repository import ExportBook
from hie.kernel.clock import SECOND_US, Clock
from hie.kernel.context import Caller, RequestContext
from hie.kernel.errors import Category, HieError
from hie.sight import Sight
from hie.store.index import SearchIndex
from hie.store.query import Served

#: How soon another job may be tried, or this one be asked after.
RETRY_SECONDS: Final = 5
_MILLISECOND_US: Final = 1000


#: A resource and names of elements to the resource with only those, and marked so.
Cut = Callable[[Served, tuple[str, ...]], Served]


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """The caller's other job is worked on still."""

    retry_seconds: int = RETRY_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How far a job is.

    Attributes:
        parts: its files that have something for the caller now; () unless complete.
    """

    job: Job
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """A portion of a file, decided and on record.

    Attributes:
        gone: `(type, id)` of what was deleted.
    """

    served: tuple[Served, ...] = ()
    gone: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFile:
    """A file that may be read."""

    job: Job
    portions: AsyncIterator[Leaving]


class Exports:
    """Begins, shows and ends exports."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once
        self,
        db: Database,
        book: ExportBook,
        files: Files,
        members: Members,
        index: SearchIndex,
        sight: Sight,
        disclosures: Disclosures,
        audit: AuditLog,
        tokens: Tokens,
        ring: KeyRing,
        clock: Clock,
        cut: Cut,
    ) -> None:
        self._db = db
        self._book = book
        self._files = files
        self._members = members
        self._counting = Counting(db, book, files)
        self._index = index
        self._sight = sight
        self._disclosures = disclosures
        self._audit = audit
        self._tokens = tokens
        self._ring = ring
        self._clock = clock
        self._cut = cut
        #: Called when a job was begun.
        self.on_begun: Callable[[], None] = lambda: None
        #: Called with the number of resources that left.
        self.on_sent: Callable[[int], None] = lambda _count: None

    async def begin(self, ctx: RequestContext, asked: Asked, *, is_lenient: bool) -> Job | Busy:
        """A new job, on record.

        Args:
            ctx: the request; its scopes allow every type that is asked for.
            asked: without members.
            is_lenient: leave out patients that are not there instead of refusing.

        Raises:
            HieError: NOT_FOUND for a Group that is hidden or absent; INVALID for patients that
                are; FORBIDDEN for a purpose that is not allowed.
        """
        residual = self._sight.residual(ctx)
        group: Served | None = None
        async with self._db.reading() as conn:
            if asked.level is Level.GROUP:
                group = await self._members.group(conn, ctx, residual, asked.group_id)
            if group is not None or asked.level is not Level.GROUP:
                members = await self._members.of(conn, residual, ctx, asked, group, is_lenient)
        if asked.level is Level.GROUP and group is None:
            await self._disclosures.refuse(ctx, "operation", "Group", asked.group_id)
        job = self._job(ctx, replace(asked, members=members))
        async with self._db.transaction() as conn:
            await self._db.serialize(conn, f"export {job.owner}")
            if await self._book.is_busy(conn, job.owner):
                return Busy()
            await self._book.add(conn, job)
            await self._audit.append(
                conn,
                [
                    record_of(
                        ctx,
                        "E",
                        "disclose",
                        resource_type="Group" if asked.group_id else "",
                        resource_id=asked.group_id,
                        detail={
                            "query": Description(f"$export {job.job_id} {asked.request}"),
                        },
                    )
                ],
            )
        self.on_begun()
        return job

    async def status(self, ctx: RequestContext, job_id: str) -> Status:
        """How far a job is, and what of it the caller may read now.

        Raises:
            HieError: NOT_FOUND where there is none, or none of the caller's; FORBIDDEN where
                the token's scopes no longer cover it; FAULT where it failed.
        """
        job = await self._own(ctx, job_id)
        if job.state is not State.COMPLETE:
            return Status(job=job)
        residual = self._sight.residual(ctx)
        return Status(job=job, parts=await self._counting.parts(residual, job))

    async def cancel(self, ctx: RequestContext, job_id: str) -> None:
        """Take a job and its files away.

        Raises:
            HieError: as `status`; a job may be taken away whatever the scopes.
        """
        await self._own(ctx, job_id, is_read=False)
        record = record_of(
            ctx, "E", "disclose", detail={"query": f"$export {job_id}", "reason": "cancelled"}
        )
        async with self._db.transaction() as conn:
            await self._book.cancel(conn, job_id, ctx.now_us)
            await self._audit.append(conn, [record])

    async def open(self, ctx: RequestContext, job_id: str, name: str) -> OpenFile:
        """A file in portions; each is decided and on record before it is given.

        Args:
            ctx: the request.
            job_id: of the address.
            name: as `name_of` gives it.

        Raises:
            HieError: as `status`; NOT_FOUND for a file that the job does not have.
        """
        job = await self._own(ctx, job_id)
        async with self._db.reading() as conn:
            listed = await self._book.parts(conn, job)
        part = next((one for one in listed if self.name_of(one) == name), None)
        if job.state is not State.COMPLETE or part is None:
            raise HieError(Category.NOT_FOUND, NOT_FOUND)
        detail = {"query": f"$export {job_id} file {name}"}
        await self._disclosures.record(ctx, "R", "disclose", set(), "", detail=detail)
        return OpenFile(job=job, portions=self._portions(ctx, job, part))

    def name_of(self, part: Part) -> str:
        """What a file is called."""
        kind = "deleted" if part.type_id == DELETED else self._index.type_name(part.type_id)
        return f"{kind}-{part.batch}"

    async def _portions(self, ctx: RequestContext, job: Job, part: Part) -> AsyncIterator[Leaving]:
        async for portion in self._files.portions(job, part):
            # A file takes long: what was revoked meanwhile holds from the next portion on.
            now = replace(ctx, now_us=self._clock.now_us())
            await self._require_open(now, job)
            if part.type_id == DELETED:
                yield Leaving(gone=tuple(await self._files.gone(now, job, portion)))
            else:
                served = await self._files.read(now, job, part, portion)
                self.on_sent(len(served))
                yield Leaving(served=tuple(self._kept(served, job.asked)))

    def _kept(self, served: Sequence[Served], asked: Asked) -> Sequence[Served]:
        """The resources with no more than the elements that were asked for."""
        if not served or not asked.elements:
            return served
        names = tuple(name for of, name in asked.elements if of in ("", served[0].type))
        return [self._cut(one, names) for one in served] if names else served

    async def _own(self, ctx: RequestContext, job_id: str, *, is_read: bool = True) -> Job:
        """The caller's job, if it may still be theirs."""
        async with self._db.reading() as conn:
            job = await self._book.find(conn, job_id)
        is_there = (
            job is not None
            and job.owner == self._owner(ctx.caller)
            and job.state is not State.CANCELLED
            and (job.state is State.WORKING or ctx.now_us < job.expires_us)
            and await self._tokens.standing(job.token_id) is not None
        )
        if job is None or not is_there:
            raise HieError(Category.NOT_FOUND, NOT_FOUND)
        if is_read:
            await self._require_still(ctx, job)
        return job

    async def _require_open(self, ctx: RequestContext, job: Job) -> None:
        """Make sure that a file may be read on."""
        for token_id in {ctx.caller.token_id, job.token_id}:
            if await self._tokens.standing(token_id) is None:
                raise HieError(Category.UNAUTHENTICATED, "the token was revoked")
        async with self._db.reading() as conn:
            is_complete = await self._book.is_complete(conn, job)
        if not is_complete:
            raise HieError(Category.NOT_FOUND, NOT_FOUND)

    async def _require_still(self, ctx: RequestContext, job: Job) -> None:
        lost = [name for name in job.asked.types if not may_export(ctx.caller, name)]
        if lost:
            text = f"the token has no scope `system/{lost[0]}.rs`, which the export needs"
            raise HieError(Category.FORBIDDEN, text)
        residual = self._sight.residual(ctx)
        if job.asked.level is Level.GROUP:
            async with self._db.reading() as conn:
                group = await self._members.group(conn, ctx, residual, job.asked.group_id)
            if group is None:
                raise HieError(Category.NOT_FOUND, NOT_FOUND)
        if job.state is State.FAILED:
            raise HieError(Category.FAULT, "the export failed")

    def _job(self, ctx: RequestContext, asked: Asked) -> Job:
        # Whole milliseconds, as the manifest tells them: `_since` is what it told.
        as_of_us = ctx.now_us // _MILLISECOND_US * _MILLISECOND_US
        return Job(
            pk=self._db.next_pk(),
            job_id=secrets.token_hex(16),
            owner=self._owner(ctx.caller),
            token_id=ctx.caller.token_id,
            organization=ctx.caller.organization or "",
            asked=asked,
            state=State.WORKING,
            created_us=ctx.now_us,
            as_of_us=as_of_us,
            place=START,
            batch=1,
            in_batch=0,
            rows=0,
            listed=0,
            ended_us=None,
            expires_us=ctx.now_us + KEPT_SECONDS * SECOND_US,
        )

    def _owner(self, caller: Caller) -> str:
        """Whose a job is: tokens of one system for one purpose, in one role, are one caller."""
        parts = (caller.organization, caller.user, caller.patient, caller.purpose)
        return self._ring.blind(
            "export-owner", *(part or "" for part in parts), *sorted(caller.roles)
        )
