"""From resources with ids to stored versions: identify, label, index, write, recompile.

One transaction of the caller's. What cannot be placed raises, and nothing of it is stored.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.labels import Labeller
from consent.service import ConsentService
from hie.db import Database
from hie.kernel.envelope import SourceIdentifier, SourceMerge, WriteMode
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId, PersonId, SourceId, SourceRecordId
from hie.store.index import SearchIndex
from hie.store.repository import ResourceRepository
from hie.store.writer import NewVersion, ResourceWriter, Written
from mpi.model import Identified
from mpi.service import Mpi


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which message of which source the resources come from, and when it is placed."""

    source_id: SourceId
    message_id: MessageId
    now_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A resource with its hub id, its references pointing to hub ids.

    Attributes:
        owner: source record it is filed under when it names no patient itself.
    """

    type: str
    id: str
    resource: FhirJson
    mode: WriteMode = WriteMode.UPSERT
    owner: SourceRecordId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What was written, and whose records it touched."""

    written: tuple[Written, ...]
    persons: frozenset[PersonId]


class Placer:
    """Places resources in the store."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once, in app.py
        self,
        db: Database,
        mpi: Mpi,
        labeller: Labeller,
        index: SearchIndex,
        repository: ResourceRepository,
        writer: ResourceWriter,
        consent: ConsentService,
    ) -> None:
        self._db = db
        self._mpi = mpi
        self._labeller = labeller
        self._index = index
        self._repository = repository
        self._writer = writer
        self._consent = consent

    async def identify(
        self,
        conn: AsyncConnection,
        origin: Origin,
        patient: FhirJson,
        own: SourceIdentifier | None,
        *,
        may_update: bool,
    ) -> Identified:
        """The source record a Patient is, and the person it belongs to now."""
        identified = await self._mpi.identify(
            conn,
            patient,
            source_id=origin.source_id,
            own=own,
            message_id=origin.message_id,
            now_us=origin.now_us,
            may_update=may_update,
        )
        if identified.previous_person_id not in (None, identified.person_id):
            moved = {identified.source_record_id: identified.person_id}
            await self.move(conn, origin, moved)
        return identified

    async def merge(
        self, conn: AsyncConnection, origin: Origin, merge: SourceMerge
    ) -> frozenset[PersonId]:
        """Carry out a source's merge (A40), through the index's guard; persons touched."""
        moves = await self._mpi.merge(
            conn,
            merge,
            source_id=origin.source_id,
            message_id=origin.message_id,
            now_us=origin.now_us,
        )
        await self.move(conn, origin, {m.source_record_id: m.to_person for m in moves})
        return frozenset(p for m in moves for p in (m.from_person, m.to_person))

    async def move(
        self,
        conn: AsyncConnection,
        origin: Origin,
        moves: Mapping[SourceRecordId, PersonId],
    ) -> None:
        """Give what was filed under records to their new persons, and rebuild their rules."""
        if not moves:
            return
        before = {
            PersonId(stored.person_id)
            for stored in (
                await self._repository.load(conn, [("Patient", record) for record in moves])
            ).values()
            if stored.person_id
        }
        await self._writer.relink(conn, moves, origin.now_us)
        await self._recompile(conn, {*before, *moves.values()})

    async def place(
        self, conn: AsyncConnection, origin: Origin, placements: Sequence[Placement]
    ) -> Placed:
        """Write resources; identical ones make no new version.

        Raises:
            HieError: BUSINESS_RULE when a resource belongs to a patient nobody knows.
        """
        stored = await self._repository.load(
            conn,
            [
                (p.type, p.id)
                for p in placements
                if p.mode is not WriteMode.UPSERT or self._index.is_directory(p.type)
            ],
        )
        # What a placement leaves behind is what the next one of the same id finds.
        state = {key: _State(s.source_id, s.resource) for key, s in stored.items() if s.resource}
        final: dict[tuple[str, str], Placement] = {}
        for placement in placements:
            made = self._apply_mode(origin, placement, state.get((placement.type, placement.id)))
            if made is not None:
                key = (made.type, made.id)
                final[key] = made
                state[key] = _State(origin.source_id, made.resource)
        kept = list(final.values())
        versions = await self._versions(conn, origin, kept)
        written = await self._writer.write(conn, versions, origin.now_us)
        persons = frozenset(person for v in versions for _, person in v.patients)
        if changed := {p for v in versions if v.type == "Consent" for _, p in v.patients}:
            await self._recompile(conn, changed)
        return Placed(written=tuple(written), persons=persons)

    def _apply_mode(
        self, origin: Origin, placement: Placement, old: "_State | None"
    ) -> Placement | None:
        """The placement as it is to be written, or None where what is stored stays."""
        if old is None:
            return _patched(placement, {}) if placement.mode is not WriteMode.DELETE else None
        if placement.mode is WriteMode.CREATE_IF_ABSENT:
            return None
        if self._index.is_directory(placement.type) and old.source_id != origin.source_id:
            # One per identifier: the first to name it keeps it, others only refer to it.
            return None
        if placement.mode is WriteMode.PATCH:
            return _patched(placement, old.resource)
        return placement

    async def _versions(
        self, conn: AsyncConnection, origin: Origin, placements: Sequence[Placement]
    ) -> list[NewVersion]:
        records = [self._records_of(placement) for placement in placements]
        wanted = {record for found in records for record in found}
        persons = await self._mpi.person_of(conn, wanted) if wanted else {}
        versions = []
        for placement, found in zip(placements, records, strict=True):
            if missing := [record for record in found if record not in persons]:
                text = f"`{placement.type}` refers to {len(missing)} patient(s) nobody has sent"
                raise HieError(Category.BUSINESS_RULE, text)
            versions.append(
                NewVersion(
                    type=placement.type,
                    id=placement.id,
                    resource=placement.resource,
                    source_id=origin.source_id,
                    message_id=origin.message_id,
                    label_mask=self._labeller.labels(
                        placement.resource, source_id=origin.source_id
                    ).mask,
                    patients=tuple((record, persons[record]) for record in found),
                    key_owner=found[0] if found else "",
                    is_deleted=placement.mode is WriteMode.DELETE,
                )
            )
        return versions

    def _records_of(self, placement: Placement) -> list[SourceRecordId]:
        """Source records in whose compartments the resource is, the first its own."""
        if placement.type == "Patient":
            return [SourceRecordId(placement.id)]
        if self._index.is_directory(placement.type):
            return []
        named = [
            SourceRecordId(reference.split("/")[1])
            for reference in self._index.compartment_references(placement.resource)
            if reference.startswith("Patient/")
        ]
        if not named and placement.owner is not None:
            return [placement.owner]
        return list(dict.fromkeys(named))

    async def _recompile(self, conn: AsyncConnection, persons: Iterable[PersonId]) -> None:
        for person in sorted(persons):
            consents = await self._repository.of_person(conn, person, "Consent")
            await self._consent.recompile(conn, person, consents)


@dataclass(frozen=True, slots=True)
class _State:
    """What is stored under an id, or will be once the placements before are written."""

    source_id: str
    resource: FhirJson


def _patched(placement: Placement, old: FhirJson) -> Placement:
    """The placement with its elements laid over what was there; None clears an element."""
    if placement.mode is WriteMode.DELETE:
        return placement
    merged = (
        {**old, **placement.resource} if placement.mode is WriteMode.PATCH else placement.resource
    )
    return Placement(
        type=placement.type,
        id=placement.id,
        resource={name: value for name, value in merged.items() if value is not None},
        mode=WriteMode.UPSERT,
        owner=placement.owner,
    )
