"""What every read of the door has in common: whose record an id means, and the last look.

`hie.access` reads resources, `hie.record` whole records; both see through this.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.enforce import Built, RowFacts
from consent.service import ConsentService
from hie.golden import GoldenPatients
from hie.kernel.context import Caller, RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId, SourceRecordId
from hie.store.query import Served
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual

READ = "access"


class Persons(Protocol):
    """What the door asks of the master patient index."""

    async def resolve(self, conn: AsyncConnection, person_id: PersonId) -> PersonId:
        """The person that this id means now, after merges."""
        ...

    async def ever_of(
        self, conn: AsyncConnection, person_id: PersonId
    ) -> Collection[SourceRecordId]:
        """The source records that ever were this person's."""
        ...


class Sight:
    """Sees Patients and persons with a caller's eyes."""

    def __init__(
        self,
        repository: ResourceRepository,
        consent: ConsentService,
        persons: Persons,
        golden: GoldenPatients,
    ) -> None:
        self._repository = repository
        self._consent = consent
        self._persons = persons
        self._golden = golden

    def residual(self, ctx: RequestContext) -> Residual:
        """What the database is to hold each read of this request against."""
        return self._consent.residual(ctx, READ)

    async def recheck(
        self, conn: AsyncConnection, ctx: RequestContext, leaving: Sequence[Served | None]
    ) -> None:
        """Hold what is about to leave against the decision itself, resource by resource.

        What several persons share is decided for each of them, as the SQL did. The golden
        Patient is no stored resource: its records passed the predicate when it was built.

        Raises:
            HieError: FAULT when the SQL let something through that the decision denies.
        """
        rows: dict[RowFacts, list[str]] = defaultdict(list)
        golden: dict[str, Built] = {}
        for one in leaving:
            if one is not None and not one.source_id and one.person_id:
                others = one.labels_of_others(ctx.caller.sources)
                golden[one.person_id] = Built(one.label_mask, others)
            if one is not None and one.source_id:
                for person, record in _whose(one, ctx.caller):
                    row = RowFacts(one.type, one.source_id, person, record, one.label_mask)
                    rows[row].append(one.id)
        await self._consent.recheck_rows(conn, ctx, rows, golden)

    async def patient(
        self, conn: AsyncConnection, ctx: RequestContext, residual: Residual, patient_id: str
    ) -> Served | None:
        """The golden Patient of a person, or a source record for its source and stewards."""
        person = await self.current(conn, residual, patient_id)
        golden = await self._golden.of(conn, residual, person, asked_as=patient_id)
        if golden is not None:
            return golden
        record = await self._repository.read(conn, residual, "Patient", patient_id)
        caller = ctx.caller
        if record and (record.source_id in caller.sources or caller.is_steward):
            return record if record.is_deleted else self._golden.refer(record)
        return None

    async def current(self, conn: AsyncConnection, residual: Residual, asked: str) -> PersonId:
        """The person an id means now; an id that is nobody's stays as it is and finds nothing.

        So does one that was merged away, for a caller who sees none of the records it stood for:
        whom a hidden patient was merged with is hidden.
        """
        try:
            person = await self._persons.resolve(conn, PersonId(asked))
        except HieError as error:
            if error.category is not Category.NOT_FOUND:
                raise
            return PersonId(asked)
        if person == asked:
            return person
        once = sorted(await self._persons.ever_of(conn, PersonId(asked)))
        visible = await self._repository.patient_persons(conn, residual, once)
        return person if person in visible.values() else PersonId(asked)


def _whose(one: Served, caller: Caller) -> Iterator[tuple[str, str]]:
    """The persons a resource is about, each with the record it is filed under for them.

    Of the caller's own the first stands for all: a panel has thousands, decided alike.
    """
    yield one.person_id, one.source_record_id
    if one.source_id not in caller.sources:
        yield from one.further
