"""What senders say of who may see it, carried out: labels raised, wishes held and told.

A sender may raise and never lower. A wish not to share holds at once, as a Consent of that
source about its own data; one that would widen changes nothing and waits for a privacy officer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.hl7v2.sensitivity import CONTENT, NOTHING, PERSON, VISIT, Privacy, Wish
from adapters.sources import Source
from consent.labels import Labeller
from hie.crypto import KeyRing
from hie.flow.belongings import belonging
from hie.flow.placement import Origin, Placement
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import SourceRecordId
from hie.raised import repository
from hie.store.index import SearchIndex
from hie.store.loader import Stored
from hie.tasks.model import Occurrence, TaskKind
from hie.tasks.service import Tasks

#: Types about the patient rather than what was done: a visit's label does not concern them.
_PERSONAL: Final = frozenset({"Patient", "RelatedPerson", "Consent", "Provenance"})
#: Stands for whichever record a visit is filed under, for it may have been moved.
_ANYWHERE: Final = ""
_SCOPE: Final = "http://terminology.hl7.org/CodeSystem/consentscope"
_ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"


class Records(Protocol):
    """What is stored of a patient."""

    async def of_record(self, conn: AsyncConnection, record: str) -> list[Stored]:
        """Every current resource filed under a source record; no rule is asked."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """One message's placements with what it says of who may see them.

    Attributes:
        source: None where nothing is said but in the resources themselves.
        records: the patients' records it is about, the subject's first.
        is_restated: each resource is said anew as a whole, its own labels too (a FHIR write);
            a field that an HL7 v2 message leaves empty takes nothing back.
    """

    origin: Origin
    source: Source | None = None
    privacy: Privacy = NOTHING
    records: tuple[SourceRecordId, ...]
    placements: Sequence[Placement]
    is_restated: bool = False


class PrivacyFields:
    """Carries out what messages say of who may see them."""

    def __init__(
        self, labeller: Labeller, index: SearchIndex, store: Records, tasks: Tasks, ring: KeyRing
    ) -> None:
        self._labeller = labeller
        self._index = index
        self._store = store
        self._tasks = tasks
        self._ring = ring

    async def carried_out(
        self, conn: AsyncConnection, messages: Sequence[Spoken]
    ) -> list[tuple[Origin, list[Placement]]]:
        """Origin and placements of each message: labelled, and with the Consents it withholds by.

        Labels are kept, wishes told to a privacy officer, in the caller's transaction.
        """
        concerned = {r for one in messages for p in one.placements for r in self._of(one, p)}
        known = await repository.load(conn, concerned.union(*(one.records for one in messages)))
        visits = {v for one in messages for p in one.placements for v in _visits(p.resource)}
        known[_ANYWHERE] = await repository.of_targets(conn, visits) if visits else {}
        found = []
        for one in messages:
            fresh = await self._raise(conn, one, known)
            placements = await self._relabelled(conn, fresh)
            placements += [self._labelled(one, p, known) for p in one.placements]
            placements += await self._wishes(conn, one)
            found.append((one.origin, placements))
        return found

    async def raise_on(
        self,
        conn: AsyncConnection,
        origin: Origin,
        record: SourceRecordId,
        targets: Sequence[str],
        mask: int,
    ) -> list[Placement]:
        """Raise labels on resources of a record: what carries them from now on, to be placed.

        Kept beside what messages raise: what is written of a visit later carries them too.
        """
        known = await repository.load(conn, [record])
        more = {(str(record), target): mask for target in targets}
        await repository.add(conn, known, more, message_id=origin.message_id, now_us=origin.now_us)
        return await self._relabelled(conn, more)

    async def _raise(
        self, conn: AsyncConnection, one: Spoken, known: dict[str, dict[str, int]]
    ) -> dict[tuple[str, str], int]:
        """Keep what the message raises on persons, visits, its own resources; what is new of it."""
        more: dict[tuple[str, str], int] = {}
        for placement in one.placements:
            records = self._of(one, placement)
            target = f"{placement.type}/{placement.id}"
            security = (placement.resource.get("meta") or {}).get("security", ())
            is_kept = bool(security) and not one.is_restated
            mask = self._labeller.mask_of(security) if is_kept else 0
            if placement.type == "Encounter":
                mask |= self._mask(one, VISIT)
            if mask and records:
                more[records[0], target] = more.get((records[0], target), 0) | mask
        if person := self._mask(one, PERSON):
            more |= dict.fromkeys(((record, "") for record in one.records), person)
        fresh = {
            (record, target): mask
            for (record, target), mask in more.items()
            if mask & ~known.get(record, {}).get(target, 0)
        }
        if not fresh:
            return {}
        await repository.add(
            conn, known, fresh, message_id=one.origin.message_id, now_us=one.origin.now_us
        )
        for (record, target), mask in fresh.items():
            targets = known.setdefault(record, {})
            targets[target] = targets.get(target, 0) | mask
        return fresh

    async def _relabelled(
        self, conn: AsyncConnection, fresh: Mapping[tuple[str, str], int]
    ) -> list[Placement]:
        """What is stored already and carries a label from now on.

        A visit with all of it, the patient's own record; the rest of a person as it comes.
        """
        masks: dict[tuple[str, str], int] = {}
        stored: dict[tuple[str, str], Stored] = {}
        for record in dict.fromkeys(record for record, _ in fresh):
            mine = {(s.type, s.id): s for s in await self._store.of_record(conn, record)}
            stored |= mine
            resources = {at: s.resource for at, s in mine.items()}
            for (owner, target), mask in fresh.items():
                if owner != record:
                    continue
                kind, _, key = (target or f"Patient/{record}").partition("/")
                found = (
                    belonging({(kind, key)}, resources) if kind == "Encounter" else {(kind, key)}
                )
                for at in found & mine.keys():
                    masks[at] = masks.get(at, 0) | mask
        return [
            Placement(
                type=at[0],
                id=at[1],
                resource=stored[at].resource,
                owner=SourceRecordId(stored[at].source_record_id or ""),
                label_mask=stored[at].label_mask | mask,
                is_rewritten=True,
            )
            for at, mask in sorted(masks.items())
            if at[0] not in ("Provenance", "Consent") and mask & ~stored[at].label_mask
        ]

    def _labelled(
        self, one: Spoken, placement: Placement, known: repository.RaisedLabels
    ) -> Placement:
        """A placement with every label raised on it, its visit, its patient, its message."""
        if self._index.is_directory(placement.type):
            return placement
        mask = placement.label_mask
        if placement.type not in _PERSONAL:
            mask |= self._mask(one, VISIT) | self._mask(one, CONTENT)
        own = f"{placement.type}/{placement.id}"
        visits = _visits(placement.resource)
        for record in (*self._of(one, placement), _ANYWHERE):
            targets = known.get(record, {})
            for target in ("", own, *visits):
                mask |= targets.get(target, 0)
        return replace(placement, label_mask=mask) if mask != placement.label_mask else placement

    def _of(self, one: Spoken, placement: Placement) -> tuple[str, ...]:
        """The records a placement is about: those it names, else the message's subject."""
        named = self._index.patients_of(placement.type, placement.id, placement.resource)
        is_of_nobody = self._index.is_directory(placement.type)
        return named if named or is_of_nobody else one.records[:1]

    def _mask(self, one: Spoken, scope: str) -> int:
        codings = [
            {"system": raised.system, "code": raised.code}
            for raised in one.privacy.raised
            if raised.scope == scope
        ]
        return self._labeller.mask_of(codings) if codings else 0

    async def _wishes(self, conn: AsyncConnection, one: Spoken) -> list[Placement]:
        """Tell of every wish; the Consents of those that withhold."""
        if not one.privacy.wishes or not one.records:
            return []
        await self._tasks.note(conn, [self._told(one, wish) for wish in one.privacy.wishes])
        source = one.source
        if source is None or not any(wish.withholds for wish in one.privacy.wishes):
            return []
        return [self._denial(source, record) for record in one.records]

    def _told(self, one: Spoken, wish: Wish) -> Occurrence:
        subject = one.records[0]
        asks = "not to share" if wish.withholds else "to share" if wish.releases else "see below"
        held = "a Consent of this source denies, at once" if wish.withholds else "nothing changed"
        said = tuple(f"{place}={text}" for place, text in sorted(wish.said.items()))
        return Occurrence(
            kind=TaskKind.CONSENT,
            key=(one.origin.source_id, subject, wish.place, *said),
            at_us=one.origin.now_us,
            source_id=one.origin.source_id,
            record_id=subject,
            topic=wish.place.partition("-")[0],
            detail={"asks": asks, "effect": held, **wish.said},
            message_id=one.origin.message_id,
        )

    def _denial(self, source: Source, record: SourceRecordId) -> Placement:
        """The Consent by which a source withholds its own data of a patient."""
        consent_id = self._ring.blind("id", source.id, "Consent", "withheld", record)
        return Placement(
            type="Consent",
            id=consent_id,
            resource=_consent(source, record),
            owner=record,
        )


def _consent(source: Source, record: SourceRecordId) -> FhirJson:
    organization = {
        "type": "Organization",
        "identifier": {
            "system": source.organization.system,
            "value": source.organization.value,
        },
        "display": source.organization.name,
    }
    custodian = {"coding": [{"system": _PARTICIPATION, "code": "CST", "display": "custodian"}]}
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": _SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{record}"},
        "organization": [organization],
        "policyRule": {"coding": [{"system": _ACT_CODE, "code": "OPTOUT"}]},
        "provision": {
            "type": "deny",
            "actor": [{"role": custodian, "reference": organization}],
        },
    }


def _visits(resource: FhirJson) -> Iterator[str]:
    """The Encounters a resource names."""
    encounter = resource.get("encounter")
    context = resource.get("context")
    named: list[object] = [encounter]
    if isinstance(context, dict):
        named += [context, *_listed(context.get("encounter"))]
    for found in named:
        reference = found.get("reference") if isinstance(found, dict) else None
        if isinstance(reference, str) and reference.startswith("Encounter/"):
            yield reference


def _listed(found: object) -> list[object]:
    return found if isinstance(found, list) else [found]
