"""From resources with ids to stored versions: identify, label, index, write, recompile.

One transaction of the caller's. What cannot be placed raises, and nothing of it is stored.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.lifecycle import Lifecycle
from consent.confine import Reach
from consent.service import ConsentService
from hie.flow.changed import OnChanged, changed, nobody
from hie.flow.contents import with_contents
from hie.flow.labelling import Labelling
from hie.flow.memory import Memory, Wanted
from hie.flow.placement import Origin, Placement
from hie.flow.state import Change, judge
from hie.flow.verification import Known, Unasked, Verification
from hie.flow.weigh import Remark, Transfer, Weighing, wanted
from hie.kernel.envelope import SourceIdentifier, SourceMerge, WriteMode
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId, SourceRecordId
from hie.store.index import SearchIndex
from hie.store.loader import Stored
from hie.store.repository import ResourceRepository
from hie.store.writer import NewVersion, ResourceWriter, Written
from mpi.model import Identified, Outcome, PersonMove, SourceMerged
from mpi.service import Mpi
from mpi.sides import Apart

#: A resource that changed hands: a correction, or a number used twice.
MOVED: Final = "moved-between-patients"
#: Consents, how far they reach by id, ids of those that were verified.
InForce = tuple[list[Stored], dict[str, Reach], Collection[str]]
#: Told of persons whose records changed, in the transaction: revokes tokens.
OnMoved = Callable[[AsyncConnection, Collection[PersonId]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What was written, whose records it touched, and what of the message was not taken."""

    written: tuple[Written, ...]
    persons: frozenset[PersonId]
    remarks: tuple[Remark, ...] = ()


class Placer:
    """Places resources in the store."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once, in services.py
        self,
        mpi: Mpi,
        labelling: Labelling,
        index: SearchIndex,
        repository: ResourceRepository,
        writer: ResourceWriter,
        consent: ConsentService,
        memory: Memory,
        on_moved: OnMoved,
    ) -> None:
        self._mpi = mpi
        self.labelling = labelling
        self._index = index
        self._repository = repository
        self._writer = writer
        self._consent = consent
        self._memory = memory
        self._on_moved = on_moved
        #: Hears of new versions, in the transaction; who subscribes is told of them.
        self.on_changed: OnChanged = nobody
        #: Knows which Consents were verified.
        self.verification: Verification = Unasked()

    def lifecycle(self, name: str) -> Lifecycle | None:
        """The status order of that name; None for ""."""
        return self._memory.lifecycle(name)

    async def identify(  # noqa: PLR0913 - what a message says of its patient, each by name
        self,
        conn: AsyncConnection,
        origin: Origin,
        patient: FhirJson,
        own: SourceIdentifier | None,
        *,
        may_update: bool = False,
        change: Change | None = None,
        record_id: SourceRecordId | None = None,
    ) -> Identified:
        """The source record a Patient is, and the person it belongs to now.

        Args:
            conn: open write transaction.
            origin: the message.
            patient: what it says of its patient.
            own: the number the source files the patient under.
            may_update: it replaces demographics that are known, whatever they are.
            change: the same as a statement, which changes them where it is the later one.
            record_id: which record it is, of a patient without a number.
        """
        identified = await self._identified(
            conn, origin, patient, own, may_update=may_update, record_id=record_id
        )
        if change is not None and _may_change(identified):
            whole = await self.foreseen(conn, identified.source_record_id, change)
            if whole is not None:
                identified = await self._identified(conn, origin, whole, own, may_update=True)
        if identified.redirected_from is not None:
            await self._mpi.note_redirect(
                conn,
                origin.message_id,
                identified.redirected_from,
                identified.source_record_id,
            )
        return identified

    async def _identified(
        self,
        conn: AsyncConnection,
        origin: Origin,
        patient: FhirJson,
        own: SourceIdentifier | None,
        *,
        may_update: bool,
        record_id: SourceRecordId | None = None,
    ) -> Identified:
        return await self._mpi.identify(
            conn,
            patient,
            source_id=origin.source_id,
            own=own,
            message_id=origin.message_id,
            now_us=origin.now_us,
            may_update=may_update,
            record_id=record_id,
        )

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
        await self.move(conn, origin, merged.moves, merged.decision_id)
        return merged

    async def move(
        self,
        conn: AsyncConnection,
        origin: Origin,
        moves: Sequence[PersonMove],
        decision_id: int,
        *,
        is_undo: bool = False,
    ) -> None:
        """Give what was filed under records to their new persons, and rebuild their rules.

        The strictest of the consents that met, or parted, holds until they are reviewed.
        Nobody who looked at one of these persons' own record goes on with the same token.

        Args:
            conn: open write transaction; the ledger's links are moved.
            origin: the message, or none.
            moves: what moved.
            decision_id: by which decision.
            is_undo: it takes another back.
        """
        if not moves:
            return
        targets = {move.source_record_id: move.to_person for move in moves}
        await self._writer.relink(conn, targets, origin.now_us)
        persons = {person for move in moves for person in (move.from_person, move.to_person)}
        if await self._repository.have_any(conn, sorted(persons), "Consent"):
            await self._mpi.sides.keep(conn, decision_id, moves, is_undo=is_undo)
        await self.recompile(conn, persons)
        await self._on_moved(conn, persons)

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
        groups = [
            (origin, await with_contents(conn, origin, group, self._repository, self._index))
            for origin, group in groups
        ]
        placements = [placement for _, group in groups for placement in group]
        entries = await self._memory.read(
            conn,
            # What holds whenever it comes is read too: it replaces the statements before it.
            (wanted(p, has_patient=bool(self._records_of(p))) for p in placements),
        )
        # A Consent that now speaks about somebody else, or is gone, no more speaks about these.
        stored = [entry.stored for entry in entries.values() if entry.stored]
        rules = {PersonId(c.person_id) for c in stored if c.type == "Consent" and c.person_id}
        consents = {p.id for p in placements if p.type == "Consent"}
        verified = await self.verification.known(conn, consents)
        guard = partial(self._guard_consent, verified)
        weighing = Weighing(self._index, entries, guard, self._records_of)
        versions: list[NewVersion] = []
        parts: list[_Part] = []
        for origin, group in groups:
            final = {(p.type, p.id): made for p in group if (made := weighing.weigh(origin, p))}
            versions += self._versions(origin, list(final.values()))
            parts.append(_Part(len(versions), *weighing.taken()))
        versions = await self.labelling.with_taken(conn, versions)
        versions = await self._with_persons(conn, versions)
        now_us = max((origin.now_us for origin, _ in groups), default=0)
        written = await self._writer.write(conn, versions, now_us)
        await self.labelling.raise_takers(conn, versions)
        await self._memory.keep(conn, weighing.logs)
        await self.on_changed(conn, changed(versions, written, now_us))
        # A Consent may name the patient's care team: it means whoever is in it now.
        speaks = ("Consent", "CareTeam")
        rules |= {p for v in versions if v.type in speaks for _, p in v.patients}
        await self.verification.ask(conn, versions, written, now_us)
        await self.recompile(conn, rules)
        moved = {r for part in parts for t in part.transfers for r in (t.before, t.after)}
        persons = await self._mpi.person_of(conn, moved) if moved else {}
        starts = [0, *(part.end for part in parts)]
        return [
            _placed(written[start : part.end], versions[start : part.end], part, persons)
            for start, part in zip(starts, parts, strict=False)
        ]

    async def foreseen(
        self, conn: AsyncConnection, record: SourceRecordId, change: Change
    ) -> FhirJson | None:
        """What a Patient will be once a statement is placed; None where it stays as it is."""
        name = ("Patient", record)
        found = await self._memory.read(conn, [Wanted(name=name, change=change)])
        entry = found.get(name)
        known = judge(entry.known if entry else None, change).known
        if known.is_deleted or (entry is not None and entry.known.resource == known.resource):
            return None
        return known.resource

    def _guard_consent(
        self, known: Known, origin: Origin, placement: Placement, old: Stored
    ) -> None:
        new = None if placement.mode is WriteMode.DELETE else placement.resource
        verified = (
            known.covers(old.id, old.resource),
            new is not None and known.covers(old.id, new),
        )
        if not self._consent.may_replace(origin.source_id, old, new, verified=verified):
            text = (
                "only who recorded a `Consent` may change it, and what it denies is taken back "
                "by a version with `Consent.verification` alone"
            )
            issue = Issue(text=text, code="business-rule", expression=("Consent.provision",))
            raise HieError(Category.BUSINESS_RULE, text, [issue])

    def _versions(self, origin: Origin, placements: Sequence[Placement]) -> list[NewVersion]:
        """New versions, labelled; their patients are source records without a person yet."""
        versions = []
        for placement in placements:
            records = self._records_of(placement)
            mask, raised = self.labelling.own(origin, placement)
            versions.append(
                NewVersion(
                    type=placement.type,
                    id=placement.id,
                    resource=placement.resource,
                    source_id=origin.source_id,
                    message_id=origin.message_id,
                    label_mask=mask,
                    raised_mask=raised,
                    patients=tuple((record, PersonId("")) for record in records),
                    key_owner=records[0] if records else "",
                    is_deleted=placement.mode is WriteMode.DELETE,
                    event_us=placement.stamp.event_us if placement.stamp else None,
                    sent_us=placement.stamp.sent_us if placement.stamp else None,
                    status_rank=placement.status_rank,
                )
            )
        return versions

    async def _with_persons(
        self, conn: AsyncConnection, versions: Sequence[NewVersion]
    ) -> list[NewVersion]:
        records = {record for version in versions for record, _ in version.patients}
        persons = await self._mpi.held_person_of(conn, records) if records else {}
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
        named = self._index.patients_of(placement.type, placement.id, placement.resource)
        if named or placement.owner is None or self._index.is_directory(placement.type):
            return [SourceRecordId(record) for record in named]
        return [placement.owner]

    async def recompile(self, conn: AsyncConnection, persons: Collection[PersonId]) -> None:
        """Rebuild the rules of these persons' consents, and of those whom they bind too."""
        apart = await self._mpi.sides.of(conn, {*persons}) if persons else {}
        every = sorted({*persons, *apart})
        # Before the Consents are read: who changes one meanwhile is waited for, or waits.
        await self._consent.hold(conn, every)
        for person in every:
            found = await self._consents_of(conn, person, apart.get(person))
            await self._consent.recompile(conn, person, *found)

    async def consents_of(self, conn: AsyncConnection, person: PersonId) -> InForce:
        """What `recompile` would compile of a person."""
        apart = await self._mpi.sides.of(conn, {person})
        return await self._consents_of(conn, person, apart.get(person))

    async def _consents_of(
        self, conn: AsyncConnection, person: PersonId, apart: Apart | None
    ) -> InForce:
        """A person's Consents, how far each reaches, and which were verified."""
        consents = await self._repository.of_person(conn, person, "Consent")
        reaches: dict[str, Reach] = {}
        if apart is not None:
            for other in sorted(apart.others):
                consents += [
                    consent
                    for consent in await self._repository.of_person(conn, other, "Consent")
                    if consent.source_record_id in apart.bound
                ]
            reaches = {c.id: _reach(c, apart) for c in consents}
        known = await self.verification.known(conn, [consent.id for consent in consents])
        return consents, reaches, known.verified(consents)


def _reach(consent: Stored, apart: Apart) -> Reach:
    """How far a Consent reaches where records keep to themselves."""
    record = consent.source_record_id or ""
    if record in apart.groups:
        return Reach(opens=apart.groups[record])
    return Reach(binds=apart.bound.get(record))


def _may_change(identified: Identified) -> bool:
    """Whether the record was known, and the message speaks of it and no other."""
    return identified.outcome is Outcome.KNOWN and identified.redirected_from is None


@dataclass(frozen=True, slots=True)
class _Part:
    """One message's part of a batch.

    Attributes:
        end: where its versions end.
    """

    end: int
    remarks: Sequence[Remark]
    transfers: Sequence[Transfer]


def _placed(
    written: Sequence[Written],
    versions: Sequence[NewVersion],
    part: _Part,
    persons: Mapping[SourceRecordId, PersonId],
) -> Placed:
    moves = [t for t in part.transfers if persons.get(t.before) != persons.get(t.after)]
    touched = {person for version in versions for _, person in version.patients}
    return Placed(
        written=tuple(written),
        persons=frozenset(touched | {persons[t.before] for t in moves if t.before in persons}),
        remarks=(*part.remarks, *(Remark(rule=MOVED, type=t.type) for t in moves)),
    )
