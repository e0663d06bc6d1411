"""Merges and moves of sources carried out: what is stored goes where it belongs from now on.

Patients are the index's: its guard decides, clinical rows follow the persons. Accounts and
visits are carried out here: a number retired into another takes everything that points to it
along; one that is another patient's goes there with all that belongs to it, sealed anew under
that record's key. Each is a decision of the ledger, and can be taken back by its number.
Spec: HL7 v2.8.2 chapter 3, section 3.6.2
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import KeyRing
from hie.flow import belongings
from hie.flow.belongings import Address
from hie.flow.corrections import Corrections
from hie.flow.place import Placer
from hie.flow.placement import Origin, Placement
from hie.kernel.envelope import MergeKind, SourceIdentifier, SourceMerge
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson, rewrite_references
from hie.kernel.ids import PersonId, SourceRecordId
from hie.raised.repository import inherit, load, repeat_target
from hie.store.loader import Stored
from hie.store.moved import Item, Move, MoveLog
from hie.store.repository import ResourceRepository
from mpi.model import SourceMerged
from mpi.service import Mpi

#: Of which types the resources of a number are, and the first word of their business key.
_KEYS: Final[Mapping[MergeKind, tuple[tuple[str, str], ...]]] = {
    MergeKind.ACCOUNT: (("Account", "account"), ("Encounter", "visit")),
    MergeKind.VISIT: (("Encounter", "visit"),),
    MergeKind.MOVE_ACCOUNT: (("Account", "account"), ("Encounter", "visit")),
    MergeKind.MOVE_VISIT: (("Encounter", "visit"),),
}
_RENUMBERS: Final = (MergeKind.ACCOUNT, MergeKind.VISIT)
_MOVES: Final = (MergeKind.MOVE_ACCOUNT, MergeKind.MOVE_VISIT)
#: Types whose ids a renumbering may lead elsewhere.
_RENUMBERED: Final = frozenset({"Account", "Encounter"})


@dataclass(slots=True)
class _Change:
    """One statement while it is carried out."""

    origin: Origin
    said: SourceMerge
    decision_id: int
    items: list[Item] = field(default_factory=list)
    persons: set[PersonId] = field(default_factory=set)


class SourceMoves:
    """Carries out what sources say of two numbers."""

    def __init__(
        self,
        mpi: Mpi,
        placer: Placer,
        repository: ResourceRepository,
        log: MoveLog,
        corrections: Corrections,
        ring: KeyRing,
    ) -> None:
        self._mpi = mpi
        self._placer = placer
        self._repository = repository
        self._log = log
        self._corrections = corrections
        self._ring = ring

    async def carry_out(
        self, conn: AsyncConnection, origin: Origin, said: SourceMerge
    ) -> frozenset[PersonId]:
        """Do what a message says of two numbers; the persons it touched.

        Args:
            conn: open write transaction; the message's patients are identified in it.
            origin: the message.
            said: one of its statements.

        Raises:
            HieError: NOT_FOUND when a patient who must be known is not: park the message.
        """
        if said.kind not in _KEYS:
            return await self._patients(conn, origin, said)
        decision_id = await self._mpi.record_decision(
            conn,
            said.kind,
            source_id=origin.source_id,
            message_id=origin.message_id,
            now_us=origin.now_us,
        )
        change = _Change(origin, said, decision_id)
        if said.kind in _RENUMBERS:
            await self._renumber(conn, change)
        else:
            await self._move(conn, change)
        await self._keep(conn, change, SourceMerged())
        return frozenset(change.persons)

    async def redirected(
        self, conn: AsyncConnection, groups: Sequence[tuple[Origin, Sequence[Placement]]]
    ) -> list[tuple[Origin, Sequence[Placement]]]:
        """Placements with renumbered visits and accounts where they are now."""
        wanted = {
            (p.type, p.id) for _, placements in groups for p in placements if p.type in _RENUMBERED
        }
        moved = await self._log.followed(conn, wanted) if wanted else {}
        if not moved:
            return list(groups)
        names = {f"{one[0]}/{one[1]}": f"{to[0]}/{to[1]}" for one, to in moved.items()}
        for _, placements in groups:
            for placement in placements:
                rewrite_references(placement.resource, lambda r: names.get(r, r))
        return [
            (origin, [replace(p, id=moved.get((p.type, p.id), (p.type, p.id))[1]) for p in given])
            for origin, given in groups
        ]

    # Patients

    async def _patients(
        self, conn: AsyncConnection, origin: Origin, said: SourceMerge
    ) -> frozenset[PersonId]:
        merged = await self._placer.merge(conn, origin, said)
        change = _Change(origin, said, merged.decision_id)
        change.persons |= {p for m in merged.moves for p in (m.from_person, m.to_person)}
        if merged.survivor and merged.retired and not merged.is_stopped:
            await self._mark(conn, change, merged.survivor, merged.retired)
            await inherit(
                conn,
                merged.survivor,
                merged.retired,
                message_id=origin.message_id,
                now_us=origin.now_us,
            )
        if merged.decision_id:
            await self._keep(conn, change, merged)
            # Where a source says that a record is another human's, it was shown as the wrong one's.
            await self._corrections.find(conn, merged.decision_id, merged.moves)
        return frozenset(change.persons)

    async def _mark(
        self,
        conn: AsyncConnection,
        change: _Change,
        survivor: SourceRecordId,
        retired: SourceRecordId,
    ) -> None:
        """Let the two Patients say which of them replaces the other."""
        found = await self._repository.load(conn, [("Patient", survivor), ("Patient", retired)])
        if ("Patient", retired) not in found:
            return  # a number that was retired before anybody sent it
        marks = ((survivor, retired, "replaces"), (retired, survivor, "replaced-by"))
        changed = []
        for one, other, kind in marks:
            stored = found.get(("Patient", one))
            if stored is None or not stored.resource:
                continue
            link = {"other": {"reference": f"Patient/{other}"}, "type": kind}
            links = [entry for entry in stored.resource.get("link", ()) if entry != link]
            resource = {**stored.resource, "link": [*links, link]}
            if one == retired:
                resource["active"] = False
            changed.append((stored, resource))
        await self._write(conn, change, changed)

    # Accounts and visits

    def _address(self, origin: Origin, key: tuple[str, str], number: SourceIdentifier) -> Address:
        kind, word = key
        return kind, self._ring.blind(
            "id", origin.source_id, kind, word, number.system, number.value
        )

    async def _standing(self, conn: AsyncConnection, address: Address) -> Address:
        return (await self._log.followed(conn, [address])).get(address, address)

    async def _renumber(self, conn: AsyncConnection, change: _Change) -> None:
        """Retire a number of an account or visit into another."""
        said = change.said
        for key in _KEYS[said.kind]:
            new = await self._standing(conn, self._address(change.origin, key, said.survivor))
            old = await self._standing(conn, self._address(change.origin, key, said.retired))
            if new == old:
                continue  # the same number, merged already, or the inverse of an earlier merge
            found = await self._repository.load(conn, [new, old])
            kept, gone = _alive(found, new), _alive(found, old)
            if gone is None:
                await self._log.redirect(conn, old, new, change.decision_id)
            elif kept is None:
                # The number changed, and with it nothing else: the resource keeps its id.
                await self._log.redirect(conn, new, old, change.decision_id)
                number = said.retired
                resource = belongings.renumbered(gone.resource, number.system, number.value)
                await self._write(conn, change, [(gone, resource)])
            else:
                await self._unite(conn, change, kept, gone)

    async def _unite(
        self, conn: AsyncConnection, change: _Change, kept: Stored, gone: Stored
    ) -> None:
        """Let everything that points to the one point to the other."""
        new, old = (kept.type, kept.id), (gone.type, gone.id)
        if gone.source_record_id != kept.source_record_id:
            await self._give(conn, change, [old], _owner(gone), _owner(kept))
        mine = await self._repository.of_record(conn, _owner(kept))
        pointing = [
            (stored, belongings.repointed(stored.resource, old, new))
            for stored in mine
            if old in belongings.named(stored.resource) and (stored.type, stored.id) != new
        ]
        current = (await self._repository.load(conn, [old]))[old]
        retired = {**current.resource, "status": "entered-in-error"}
        whole = belongings.united(kept.resource, gone.resource)
        hidden = replace(kept, label_mask=kept.label_mask | current.label_mask)
        await self._write(
            conn, change, [*pointing, (hidden, whole), (current, retired)], _owner(kept)
        )
        await repeat_target(
            conn,
            _owner(kept),
            "/".join(new),
            "/".join(old),
            message_id=change.origin.message_id,
            now_us=change.origin.now_us,
        )
        await self._log.redirect(conn, old, new, change.decision_id)

    async def _move(self, conn: AsyncConnection, change: _Change) -> None:
        """Give an account or visit to the patient a message names."""
        origin, said = change.origin, change.said
        target = await self._mpi.find_record(conn, origin.source_id, said.survivor)
        if target is None:
            text = "the patient that the account or visit moves to is not known yet"
            raise HieError(Category.NOT_FOUND, text)
        for key in _KEYS[said.kind]:
            address = await self._standing(conn, self._address(origin, key, said.retired))
            stored = _alive(await self._repository.load(conn, [address]), address)
            if stored is not None and _owner(stored) not in ("", target):
                await self._give(conn, change, [address], _owner(stored), target)

    async def _give(
        self,
        conn: AsyncConnection,
        change: _Change,
        seeds: Collection[Address],
        before: SourceRecordId,
        after: SourceRecordId,
    ) -> None:
        """File what belongs to the seeds under another source record, versions appended."""
        mine = {(s.type, s.id): s for s in await self._repository.of_record(conn, before)}
        resources = {at: stored.resource for at, stored in mine.items()}
        moved = belongings.belonging(seeds, resources)
        left = mine.keys() - moved
        # What is raised on the other patient holds for what comes to them.
        person = (await load(conn, [after])).get(after, {}).get("", 0)
        given = [
            (
                replace(mine[at], label_mask=mine[at].label_mask | person),
                belongings.given_to(resources[at], {before: after}, left),
            )
            for at in sorted(moved)
        ]
        await self._write(conn, change, given, after)
        await self._placer.recompile(conn, change.persons)
        for at in sorted(left):
            if at[0] == "Provenance" and (parts := belongings.divided(resources[at], moved)):
                await self._divide(conn, change, mine[at], parts, before, after)

    async def _divide(
        self,
        conn: AsyncConnection,
        change: _Change,
        stored: Stored,
        parts: tuple[FhirJson, FhirJson],
        before: SourceRecordId,
        after: SourceRecordId,
    ) -> None:
        """A Provenance for each side; the new one is of this move."""
        stays, goes = parts
        await self._write(conn, change, [(stored, stays)], before)
        new_id = self._ring.blind("moved", str(change.decision_id), stored.id)
        placement = Placement(
            type=stored.type,
            id=new_id,
            resource=belongings.given_to({**goes, "id": new_id}, {before: after}, ()),
            owner=after,
            label_mask=stored.label_mask,
        )
        await self._placer.place(conn, change.origin, [placement])
        change.items.append(Item(type=stored.type, id=new_id, before=0, after=1, record=after))

    # Writing

    async def _write(
        self,
        conn: AsyncConnection,
        change: _Change,
        changed: Iterable[tuple[Stored, FhirJson]],
        owner: SourceRecordId | None = None,
    ) -> None:
        """Write new versions, and note which."""
        pairs = list(changed)
        placed = await self._placer.place(
            conn,
            change.origin,
            [
                Placement(
                    type=stored.type,
                    id=stored.id,
                    resource=resource,
                    owner=owner or _owner(stored),
                    label_mask=stored.label_mask,
                    is_rewritten=True,
                )
                for stored, resource in pairs
            ],
        )
        records = {(stored.type, stored.id): _owner(stored) for stored, _ in pairs}
        change.persons |= placed.persons
        change.persons |= {PersonId(s.person_id) for s, _ in pairs if s.person_id}
        for written in placed.written:
            at = (written.type, written.id)
            known = next((n for n, i in enumerate(change.items) if (i.type, i.id) == at), None)
            if not written.is_changed:
                continue
            if known is not None:  # changed twice: what to go back to is the first
                change.items[known] = replace(change.items[known], after=written.version)
            else:
                change.items.append(
                    Item(
                        type=at[0],
                        id=at[1],
                        before=written.version - 1,
                        after=written.version,
                        record=records[at],
                    )
                )

    async def _keep(self, conn: AsyncConnection, change: _Change, merged: SourceMerged) -> None:
        move = Move(
            decision_id=change.decision_id,
            source_id=change.origin.source_id,
            message_id=change.origin.message_id,
            kind=change.said.kind.value,
            at_us=change.origin.now_us,
            survivor=merged.survivor,
            retired=merged.retired,
        )
        await self._log.keep(conn, move, change.items)


def _owner(stored: Stored) -> SourceRecordId:
    return SourceRecordId(stored.source_record_id or "")


def _alive(found: Mapping[Address, Stored], address: Address) -> Stored | None:
    stored = found.get(address)
    return None if stored is None or stored.is_deleted else stored
