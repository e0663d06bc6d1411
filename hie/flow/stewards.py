"""The one service for what identity stewards decide.

Each decision is one transaction: the ledger's links, the resources that follow them, the rules
of the consents concerned, the tokens that are revoked, the audit events of everybody touched,
the news for others, and what an unmerge leaves to correct. It is there with all of that, or not.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import AuditRecord
from hie.audit.repository import AuditLog
from hie.db import Database, is_passing
from hie.flow.corrections import Correction, Corrections
from hie.flow.deciding import Deciding
from hie.flow.decisions import (
    Batch,
    BatchItem,
    Done,
    Preview,
    Request,
    Steward,
    Undo,
)
from hie.golden import GoldenPatients
from hie.kernel.clock import Clock
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId
from hie.store.residual import Residual
from mpi.service import Mpi

T = TypeVar("T")
#: How often a decision that lost against another writer is tried.
PATIENCE: Final = 5
#: Decisions of one batch.
MOST_IN_BATCH: Final = 1_000


class _UndoneError(Exception):
    """Ends a transaction that was only to show what it would do."""


class Stewards:
    """Carries out, previews and takes back the decisions of stewards.

    Every function raises HieError NOT_FOUND for what is unknown, and CONFLICT where the
    decision makes no sense any more: two ids that are one person already, a record that is
    another's, a task that is closed. Nothing is stored then.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - joined once, in services.py
        self,
        db: Database,
        mpi: Mpi,
        deciding: Deciding,
        golden: GoldenPatients,
        corrections: Corrections,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._db = db
        self._mpi = mpi
        self._deciding = deciding
        self._golden = golden
        self._corrections = corrections
        self._audit = audit
        self._clock = clock

    async def undo(self, steward: Steward, decision: int, *, task: int | None = None) -> Done:
        """Take a decision back, an undo too; what was touched since is left, and named."""
        return await self.decide(steward, Undo(decision=decision, task=task))

    async def decide(self, steward: Steward, request: Request) -> Done:
        """Carry out one request in a transaction of its own."""

        async def once() -> Done:
            async with self._db.transaction() as conn:
                return await self._carry_out(conn, steward, request)

        return await _patiently(once)

    async def preview(self, steward: Steward, request: Request) -> Preview:
        """What a request would do, with the golden Patients before and after.

        The same work in a transaction that is rolled back. That the steward was shown the
        persons is put on record.
        """

        async def once() -> Preview:
            async with self._passing() as conn:
                done = await self._carry_out(conn, steward, request)
                after = await self.golden_of(conn, done.persons)
            async with self._db.reading() as conn:
                before = await self.golden_of(conn, done.persons)
            return Preview(done=done, before=before, after=after)

        preview = await _patiently(once)
        shown = [person for person, patient in preview.before.items() if patient]
        async with self._db.transaction() as conn:
            reason = "preview of a decision about identity"
            records = [self._shown(steward, person, reason) for person in shown]
            await self._audit.append(conn, records)
        return preview

    async def batch(
        self,
        steward: Steward,
        requests: Sequence[Request],
        *,
        is_whole: bool = False,
        on_item: Callable[[BatchItem], None] | None = None,
    ) -> Batch:
        """Carry out many requests under one batch id, in order.

        Args:
            steward: who decides.
            requests: at most `MOST_IN_BATCH`.
            is_whole: all of them or none; else each that can be done, and for the others why
                not.
            on_item: told of each item once it is stored or refused; not of a whole batch.
        """
        batch_id = self._batch_id(requests)
        if is_whole:
            return await _patiently(lambda: self._whole(steward, requests, batch_id))
        items = []
        for request in requests:
            items.append(await self._item(steward, request, batch_id))
            if on_item is not None:
                on_item(items[-1])
        return Batch(
            batch_id=batch_id, items=tuple(items), is_done=any(item.done for item in items)
        )

    async def preview_batch(self, steward: Steward, requests: Sequence[Request]) -> Batch:
        """What a batch would do, item by item, each after those before it; nothing is stored."""
        batch_id = self._batch_id(requests)
        return await _patiently(lambda: self._tried(steward, requests, batch_id))

    async def undo_batch(self, steward: Steward, batch_id: int, *, is_whole: bool = False) -> Batch:
        """Take the decisions of a batch back, the last one first; itself a batch.

        Raises:
            HieError: NOT_FOUND for a batch that decided nothing.
        """
        async with self._db.reading() as conn:
            decisions = await self._mpi.decisions_of_batch(conn, batch_id)
        if not decisions:
            raise HieError(Category.NOT_FOUND, "there is no such batch")
        undos = [Undo(decision=decision) for decision in reversed(decisions)]
        return await self.batch(steward, undos, is_whole=is_whole)

    async def corrections(self, steward: Steward, decision: int) -> tuple[Correction, ...]:
        """Every disclosure made while a wrong merge stood, by recipient, for notices.

        Args:
            steward: who asks; that they were shown the list is put on record.
            decision: what parted the records: an undo, an unlink or a split.
        """
        async with self._db.transaction() as conn:
            found = await self._corrections.listed(conn, decision)
            reason = f"list of corrections of decision {decision}"
            persons = sorted({correction.person for correction in found})
            records = [self._shown(steward, person, reason) for person in persons]
            await self._audit.append(conn, records)
        return found

    async def uncorrected(self) -> dict[int, int]:
        """Decisions of which not every recipient was told, and how many corrections wait."""
        async with self._db.reading() as conn:
            return await self._corrections.waiting(conn)

    async def unreviewed(self, *, after: int = 0, limit: int = 100) -> list[int]:
        """Decisions after which nobody has reviewed the consents, oldest first, behind `after`."""
        async with self._db.reading() as conn:
            return await self._mpi.sides.waiting(conn, after=after, limit=limit)

    async def mark_corrected(
        self, steward: Steward, decision: int, corrections: Sequence[int]
    ) -> int:
        """Note that the recipients of these corrections were told; how many were waiting."""
        now_us = self._clock.now_us()
        noted = AuditRecord(
            recorded_us=now_us,
            action="U",
            subtype="update",
            organization=steward.organization,
            user=steward.name,
            purpose=steward.purpose,
            request_id=steward.request_id,
            token_id=steward.token_id,
            resource_type="Provenance",
            resource_id=str(decision),
            detail={"reason": "recipients of corrections were told"},
        )
        async with self._db.transaction() as conn:
            await self._audit.append(conn, [noted])
            return await self._corrections.mark(
                conn, decision, corrections, by=steward.name, now_us=now_us
            )

    async def golden_of(
        self, conn: AsyncConnection, persons: Iterable[PersonId]
    ) -> dict[PersonId, FhirJson | None]:
        """Golden Patients of all source records, as a steward sees them."""
        residual = Residual(sees_source_records=True, now_us=self._clock.now_us())
        return {
            person: await self._golden.whole(conn, residual, person) for person in sorted(persons)
        }

    async def _whole(self, steward: Steward, requests: Sequence[Request], batch_id: int) -> Batch:
        """All requests in one transaction; where one is refused, what would become of each."""
        done: list[Done] = []
        try:
            async with self._db.transaction() as conn:
                for request in requests:
                    done.append(await self._carry_out(conn, steward, request, batch_id))
        except HieError:
            return await self._tried(steward, requests, batch_id)
        items = [BatchItem(request=r, done=d) for r, d in zip(requests, done, strict=True)]
        return Batch(batch_id=batch_id, items=tuple(items), is_done=True)

    async def _tried(self, steward: Steward, requests: Sequence[Request], batch_id: int) -> Batch:
        """What would become of each request, in transactions that are rolled back.

        A request that is refused may have written before it was: what comes after it is
        tried from the start, without it.
        """
        refused: dict[int, str] = {}
        while True:
            done: dict[int, Done] = {}
            number = -1
            try:
                async with self._passing() as conn:
                    for number, request in enumerate(requests):
                        if number not in refused:
                            done[number] = await self._carry_out(conn, steward, request, batch_id)
            except HieError as error:
                refused[number] = error.text
                continue
            items = [
                BatchItem(request=request, done=done.get(n), error=refused.get(n, ""))
                for n, request in enumerate(requests)
            ]
            return Batch(batch_id=batch_id, items=tuple(items), is_done=False)

    async def _carry_out(
        self,
        conn: AsyncConnection,
        steward: Steward,
        request: Request,
        batch_id: int | None = None,
    ) -> Done:
        return await self._deciding.carry_out(
            conn, steward, request, self._clock.now_us(), batch_id
        )

    async def _item(self, steward: Steward, request: Request, batch_id: int) -> BatchItem:
        """One item in a transaction of its own."""

        async def once() -> Done:
            async with self._db.transaction() as conn:
                return await self._carry_out(conn, steward, request, batch_id)

        try:
            return BatchItem(request=request, done=await _patiently(once))
        except HieError as error:
            return BatchItem(request=request, error=error.text)

    @asynccontextmanager
    async def _passing(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction that is rolled back."""
        try:
            async with self._db.transaction() as conn:
                yield conn
                raise _UndoneError  # noqa: TRY301 - what ends the transaction
        except _UndoneError:
            pass

    def _batch_id(self, requests: Sequence[Request]) -> int:
        if not 0 < len(requests) <= MOST_IN_BATCH:
            text = f"a batch has 1 to {MOST_IN_BATCH} decisions"
            raise HieError(Category.INVALID, text)
        return self._db.next_pk()

    def _shown(self, steward: Steward, person: PersonId, reason: str) -> AuditRecord:
        return AuditRecord(
            recorded_us=self._clock.now_us(),
            action="R",
            subtype="read",
            person_id=person,
            organization=steward.organization,
            user=steward.name,
            purpose=steward.purpose,
            request_id=steward.request_id,
            token_id=steward.token_id,
            resource_type="Patient",
            resource_id=person,
            detail={"reason": reason},
        )


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Do it again where another writer was faster, until it is done or `PATIENCE` ends."""
    for attempt in range(1, PATIENCE):
        try:
            return await work()
        except DBAPIError as error:
            if not is_passing(error):
                raise
        await asyncio.sleep(random.uniform(0, 0.05) * attempt)  # noqa: S311 - spreads retries
    return await work()
