"""From resources with ids to stored versions: identify, label, index, write, recompile.

One transaction of the caller's. What cannot be placed raises, and nothing of it is stored.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.labels import Labeller
from consent.service import ConsentService
from hie.flow import visit
from hie.kernel.envelope import SourceIdentifier, SourceMerge, WriteMode
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson, objects
from hie.kernel.ids import MessageId, PersonId, SourceId, SourceRecordId
from hie.store.index import SearchIndex
from hie.store.loader import Stored
from hie.store.repository import ResourceRepository
from hie.store.writer import NewVersion, ResourceWriter, Written
from mpi.model import Identified, SourceMerged
from mpi.service import Mpi

#: Elements whose parts a patch overlays one by one.
_OVERLAID = ("period", "hospitalization")


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
        label_mask: labels it has, whatever its content says.
        since: when what it says began, a FHIR dateTime; what it changes of a visit is kept.
        undoes: elements of a visit whose last change it takes back, see `hie.flow.visit`.
    """

    type: str
    id: str
    resource: FhirJson
    mode: WriteMode = WriteMode.UPSERT
    owner: SourceRecordId | None = None
    label_mask: int = 0
    since: str = ""
    undoes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What was written, and whose records it touched."""

    written: tuple[Written, ...]
    persons: frozenset[PersonId]


class Placer:
    """Places resources in the store."""

    def __init__(
        self,
        mpi: Mpi,
        labeller: Labeller,
        index: SearchIndex,
        repository: ResourceRepository,
        writer: ResourceWriter,
        consent: ConsentService,
    ) -> None:
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
    ) -> SourceMerged:
        """Carry out what a source says of two patients, through the index's guard."""
        merged = await self._mpi.merge(
            conn,
            merge,
            source_id=origin.source_id,
            message_id=origin.message_id,
            now_us=origin.now_us,
        )
        moved = {move.source_record_id: move.to_person for move in merged.moves}
        await self.move(conn, origin, moved)
        return merged

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
        await self.recompile(conn, {*before, *moves.values()})

    async def place(
        self, conn: AsyncConnection, origin: Origin, placements: Sequence[Placement]
    ) -> Placed:
        """Write the resources of one message; identical ones make no new version.

        Raises:
            HieError: BUSINESS_RULE when a resource belongs to a patient nobody knows.
        """
        return (await self.place_all(conn, [(origin, placements)]))[0]

    async def place_all(
        self, conn: AsyncConnection, groups: Sequence[tuple[Origin, Sequence[Placement]]]
    ) -> list[Placed]:
        """Write the resources of several messages, in order; one result per message.

        Raises:
            HieError: BUSINESS_RULE when a resource belongs to a patient nobody knows.
        """
        state = await self._state(conn, [p for _, placements in groups for p in placements])
        # A Consent that now speaks about somebody else, or is gone, no more speaks about these.
        stored = [old.stored for old in state.values() if old.stored]
        changed = {PersonId(c.person_id) for c in stored if c.type == "Consent" and c.person_id}
        versions: list[NewVersion] = []
        ends = []
        for origin, placements in groups:
            final: dict[tuple[str, str], Placement] = {}
            for placement in placements:
                old = state.get((placement.type, placement.id))
                made = self._apply_mode(origin, placement, old)
                if made is not None:
                    key = (made.type, made.id)
                    final[key] = made
                    state[key] = _State(origin.source_id, made.resource)
            versions += self._versions(origin, list(final.values()))
            ends.append(len(versions))
        versions = await self._with_persons(conn, versions)
        now_us = max((origin.now_us for origin, _ in groups), default=0)
        written = await self._writer.write(conn, versions, now_us)
        changed |= {p for v in versions if v.type == "Consent" for _, p in v.patients}
        await self.recompile(conn, changed)
        starts = [0, *ends]
        return [
            Placed(
                written=tuple(written[start:end]),
                persons=frozenset(p for v in versions[start:end] for _, p in v.patients),
            )
            for start, end in zip(starts, ends, strict=False)
        ]

    async def _state(
        self, conn: AsyncConnection, placements: Sequence[Placement]
    ) -> dict[tuple[str, str], "_State"]:
        """What is stored where a placement depends on it; the next of the same id sees it."""
        stored = await self._repository.load(
            conn,
            [
                (p.type, p.id)
                for p in placements
                if p.mode is not WriteMode.UPSERT
                or p.type == "Consent"
                or self._index.is_directory(p.type)
            ],
        )
        return {key: _State(s.source_id, s.resource, s) for key, s in stored.items() if s.resource}

    def _apply_mode(
        self, origin: Origin, placement: Placement, old: "_State | None"
    ) -> Placement | None:
        """The placement as it is to be written, or None where what is stored stays."""
        if old is not None and old.stored is not None and placement.type == "Consent":
            self._guard_consent(origin, placement, old.stored)
        if old is None:
            return _patched(placement, {}) if placement.mode is not WriteMode.DELETE else None
        if placement.mode is WriteMode.CREATE_IF_ABSENT:
            return None
        if self._index.is_directory(placement.type) and old.source_id != origin.source_id:
            # One per identifier: the first to name it keeps it, others only refer to it.
            return None
        if placement.mode is WriteMode.PATCH:
            return _patched(placement, old.resource)
        if placement.mode is WriteMode.DELETE:
            return _tombstone(placement, old)
        return placement

    def _guard_consent(self, origin: Origin, placement: Placement, old: Stored) -> None:
        new = None if placement.mode is WriteMode.DELETE else placement.resource
        if not self._consent.may_replace(origin.source_id, old, new):
            text = (
                "only who recorded a `Consent` may change it, and what it denies is taken back "
                "by a version with `Consent.verification` alone"
            )
            issue = Issue(text=text, code="business-rule", expression=("Consent.provision",))
            raise HieError(Category.BUSINESS_RULE, text, [issue])

    def _versions(self, origin: Origin, placements: Sequence[Placement]) -> list[NewVersion]:
        """New versions, labelled; their patients are source records without a person yet."""
        beside = {f"{p.type}/{p.id}": p.resource for p in placements if p.type == "Medication"}
        documents = self._document_labels(origin, placements)
        versions = []
        for placement in placements:
            records = self._records_of(placement)
            taken = (placement.resource.get("medicationReference") or {}).get("reference", "")
            labels = self._labeller.labels(
                placement.resource,
                source_id=origin.source_id,
                beside=[beside[taken]] if taken in beside else (),
            )
            versions.append(
                NewVersion(
                    type=placement.type,
                    id=placement.id,
                    resource=placement.resource,
                    source_id=origin.source_id,
                    message_id=origin.message_id,
                    # What a document is labelled, its content is too.
                    label_mask=labels.mask
                    | documents.get(f"Binary/{placement.id}", 0)
                    | placement.label_mask,
                    patients=tuple((record, PersonId("")) for record in records),
                    key_owner=records[0] if records else "",
                    is_deleted=placement.mode is WriteMode.DELETE,
                )
            )
        return versions

    def _document_labels(self, origin: Origin, placements: Sequence[Placement]) -> dict[str, int]:
        """Labels that a Binary takes over from what names it: `Binary/<id>` to mask."""
        found: dict[str, int] = {}
        for placement in placements:
            for element in objects(placement.resource):
                url = element.get("url")
                if isinstance(url, str) and url.startswith("Binary/"):
                    labels = self._labeller.labels(placement.resource, source_id=origin.source_id)
                    found[url] = found.get(url, 0) | labels.mask
        return found

    async def _with_persons(
        self, conn: AsyncConnection, versions: Sequence[NewVersion]
    ) -> list[NewVersion]:
        records = {record for version in versions for record, _ in version.patients}
        persons = await self._mpi.person_of(conn, records) if records else {}
        for version in versions:
            if missing := [record for record, _ in version.patients if record not in persons]:
                text = f"`{version.type}` refers to {len(missing)} patient(s) nobody has sent"
                raise HieError(Category.BUSINESS_RULE, text)
        return [
            replace(v, patients=tuple((record, persons[record]) for record, _ in v.patients))
            for v in versions
        ]

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

    async def recompile(self, conn: AsyncConnection, persons: Iterable[PersonId]) -> None:
        """Rebuild the rules of these persons' consents."""
        for person in sorted(persons):
            consents = await self._repository.of_person(conn, person, "Consent")
            await self._consent.recompile(conn, person, consents)


@dataclass(frozen=True, slots=True)
class _State:
    """What is stored under an id, or will be once the placements before are written."""

    source_id: str
    resource: FhirJson
    stored: Stored | None = None


def _tombstone(placement: Placement, old: _State) -> Placement:
    """A deletion that stays whose the resource was, and as hidden as it was."""
    stored = old.stored
    record = stored.source_record_id if stored else None
    return replace(
        placement,
        resource=old.resource,
        owner=SourceRecordId(record) if record else None,
        label_mask=stored.label_mask if stored else 0,
    )


def _patched(placement: Placement, old: FhirJson) -> Placement:
    """The placement with its elements laid over what was there; None clears an element."""
    if placement.mode is WriteMode.DELETE:
        return placement
    merged = placement.resource
    if placement.mode is WriteMode.PATCH:
        said = visit.kept_numbers(old, placement.resource)
        if old and (placement.since or placement.undoes):
            old, said = visit.continued(old, said, placement.since, placement.undoes)
        merged = {**old, **said}
        for name in _OVERLAID:
            # A discharge that does not repeat when the visit began leaves its beginning.
            was, now = old.get(name), said.get(name)
            if isinstance(was, dict) and isinstance(now, dict):
                merged[name] = {**was, **now}
    return Placement(
        type=placement.type,
        id=placement.id,
        resource={name: value for name, value in merged.items() if value is not None},
        mode=WriteMode.UPSERT,
        owner=placement.owner,
        label_mask=placement.label_mask,
    )
