"""What staff are told about the hub as a whole: counts, queues, the state of the audit trail."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from adapters.journal import Journal
from adapters.message import MessageCounts
from hie.audit.verifier import Verification, Verifier
from hie.db import Database
from hie.kernel.envelope import SourceIdentifier
from hie.kernel.ids import PersonId, SourceId
from hie.store.repository import ResourceRepository
from mpi.service import Mpi

_MOST_TASKS = 10_000


class Overview:
    """Reads the hub's own figures; nobody's record."""

    def __init__(
        self,
        db: Database,
        journal: Journal,
        mpi: Mpi,
        repository: ResourceRepository,
        verifier: Verifier,
    ) -> None:
        self._db = db
        self._journal = journal
        self._mpi = mpi
        self._repository = repository
        self._verifier = verifier

    async def messages(self) -> list[MessageCounts]:
        """The journal, counted."""
        async with self._db.surveying() as conn:
            return await self._journal.counts(conn)

    async def backlog(self) -> int:
        """Messages acknowledged and still to be worked off."""
        async with self._db.surveying() as conn:
            return await self._journal.backlog(conn)

    async def persons(
        self, known: Iterable[tuple[SourceId, SourceIdentifier]]
    ) -> dict[tuple[SourceId, SourceIdentifier], PersonId]:
        """The current person of each number a source gave; unknown ones absent."""
        async with self._db.surveying() as conn:
            records = {}
            for source_id, identifier in known:
                record = await self._mpi.find_record(conn, source_id, identifier)
                if record is not None:
                    records[source_id, identifier] = record
            persons = await self._mpi.person_of(conn, set(records.values()))
            return {key: persons[record] for key, record in records.items() if record in persons}

    async def review_queue(self) -> dict[str, int]:
        """Open identity tasks by reason."""
        async with self._db.surveying() as conn:
            tasks = await self._mpi.review.listed(conn, limit=_MOST_TASKS)
        return dict(Counter(task.kind.value for task in tasks))

    async def resources_by_type(self) -> dict[str, int]:
        """Current, undeleted resources by type."""
        async with self._db.surveying() as conn:
            return await self._repository.count_by_type(conn)

    async def sources_of(self, references: Sequence[str]) -> Mapping[str, str]:
        """The source id of each `Type/id`; those the hub itself makes are left out."""
        pairs = {r: (r.split("/")[0], r.split("/")[1]) for r in references}
        async with self._db.surveying() as conn:
            heads = await self._repository.versions_of(conn, pairs.values())
        return {r: heads[pair].source_id for r, pair in pairs.items() if pair in heads}

    async def verify_audit(self) -> Verification:
        """The audit trail, followed from its first row."""
        return await self._verifier.verify()
