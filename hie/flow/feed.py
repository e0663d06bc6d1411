"""What a source's FHIR writes say of its patients' numbers (IHE PIXm, ITI-104).

A Patient that is inactive and `replaced-by` another is a merge of the source's own two
records, carried out like an ADT^A40: its word is law among its own numbers, the guard decides
about the persons. The same Patient sent again without that link takes the merge back. A
deleted Patient carries no number any more.
Spec: https://profiles.ihe.net/ITI/PIXm/ITI-104.html
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.fhir.plan import Fault, Identified, Method, Plan, PlannedWrite
from adapters.fhir.references import HubId
from adapters.sources import SourceRegistry
from hie.flow.ingest import own_identifier
from hie.flow.moves import SourceMoves
from hie.flow.placement import Origin
from hie.flow.takeback import TakeBack
from hie.kernel.envelope import SourceIdentifier, SourceMerge
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson, split_reference
from hie.kernel.ids import PersonId, SourceRecordId
from hie.store.moved import MoveLog
from hie.store.repository import ResourceRepository
from mpi.model import Actor, Outcome
from mpi.model import Identified as Known
from mpi.service import Mpi

_FOREIGN = "another source's file says that it issues these identifiers; only it may feed them"
_OTHER_NUMBER = (
    "the patient has numbers of the authority that the write is aimed by, but not that number: "
    "aim by the one it has, or list it"
)
_NO_SURVIVOR = "the patient that replaces this one is not known: send it first"
_ITSELF = "a patient is not replaced by itself: name the number that stays"
_INVERSE = "the patient named was itself replaced by this one: take that merge back first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """One Patient that its source says is replaced by another of its own."""

    write: PlannedWrite
    survivor: SourceIdentifier
    retired: SourceIdentifier


class IdentityFeed:
    """Reads and carries out what writes of Patients say of numbers."""

    def __init__(
        self,
        mpi: Mpi,
        moves: SourceMoves,
        takeback: TakeBack,
        repository: ResourceRepository,
        log: MoveLog,
        sources: SourceRegistry,
    ) -> None:
        self._mpi = mpi
        self._moves = moves
        self._takeback = takeback
        self._repository = repository
        self._log = log
        self._sources = sources

    def faults(self, plan: Plan, own_sources: Collection[str]) -> Iterator[Fault]:
        """Writes aimed by a number that another source issues: one source feeds one domain."""
        issued = {
            source.own_authority for source in self._sources.all() if source.id not in own_sources
        }
        for write in plan.writes:
            system = write.target.system if isinstance(write.target, Identified) else None
            if write.type == "Patient" and system in issued:
                issue = Issue(text=_FOREIGN, code="forbidden", expression=(write.expression,))
                yield Fault(position=write.position, category=Category.FORBIDDEN, issue=issue)

    async def aims(self, conn: AsyncConnection, origin: Origin, plan: Plan) -> dict[str, HubId]:
        """The Patient each conditional write is aimed at: a replaced one itself, no survivor."""
        found: dict[str, HubId] = {}
        for write in plan.writes:
            target = write.target
            if write.type == "Patient" and isinstance(target, Identified) and target.system:
                number = SourceIdentifier(system=target.system, value=target.value)
                record = await self._mpi.record_named(conn, origin.source_id, number)
                if record is not None:
                    found[write.name] = ("Patient", record)
        return found

    def number(self, origin: Origin, write: PlannedWrite) -> SourceIdentifier | None:
        """The number the source files a Patient under.

        The one the write is aimed by, where it is of the source's own authority or the Patient
        has none of that; else as for a message; else the id the source gave.
        """
        patient, target = write.resource or {}, write.target
        source = self._sources.by_id(origin.source_id)
        authority = source.own_authority if source else ""
        own = own_identifier(patient, authority)
        if isinstance(target, Identified) and target.system:
            is_meant = target.system == authority or own is None or own.system != authority
            if is_meant:
                return _as_written(patient, target.system, target.value)
        if own is None and write.own_id:
            return SourceIdentifier(system=_own_names(origin), value=write.own_id)
        return own

    async def filed(
        self, conn: AsyncConnection, origin: Origin, write: PlannedWrite, hub_id: HubId
    ) -> tuple[SourceIdentifier | None, SourceRecordId | None]:
        """The number a Patient is filed under; without one, the record it is.

        Two Patients of one request that carry no number are two records, and an update of one
        by the id that the hub gave is of that one.
        """
        own = self.number(origin, write)
        if own is not None and own.system != _own_names(origin):
            return own, None
        if own is None or await self._repository.versions_of(conn, [hub_id]):
            return None, SourceRecordId(hub_id[1])
        return own, None

    async def replaced(
        self, conn: AsyncConnection, origin: Origin, write: PlannedWrite, hub_id: HubId
    ) -> Known | None:
        """The Patient a write is aimed at, where that is one that stays replaced; else None.

        One that is said to stand for itself again has its merge taken back first.

        Raises:
            HieError: CONFLICT when that merge can no longer be taken back.
        """
        if write.method is not Method.PUT:
            return None
        record = SourceRecordId(hub_id[1])
        survivor = await self._mpi.replaced_by(conn, record)
        if survivor is None:
            return None
        if replacement(write.resource or {}) is not None or not _is_active(write):
            person = (await self._mpi.person_of(conn, [record])).get(record)
            if person is None:
                return None
            return Known(source_record_id=record, person_id=person, outcome=Outcome.KNOWN)
        await self._stand_again(conn, origin, record, survivor)
        return None

    async def _stand_again(
        self,
        conn: AsyncConnection,
        origin: Origin,
        record: SourceRecordId,
        survivor: SourceRecordId,
    ) -> None:
        move = await self._log.merge_of(conn, record)
        if move is None or move.source_id != origin.source_id:
            await self._mpi.revive(conn, record, survivor)
            return
        actor = Actor(
            name=f"source:{origin.source_id}",
            now_us=origin.now_us,
            reason="source-unmerge",
            message_id=origin.message_id,
        )
        await self._takeback.by_source(conn, move.decision_id, actor)

    async def merges(
        self,
        conn: AsyncConnection,
        origin: Origin,
        plan: Plan,
        resources: Mapping[str, FhirJson],
    ) -> list[Merge]:
        """The merges a plan states; each Patient's link is made to name the survivor's id.

        Raises:
            HieError: BUSINESS_RULE when the survivor is not known, CONFLICT when it was
                replaced by the very same Patient.
        """
        found = []
        for write in plan.writes:
            resource = resources.get(write.name)
            if write.type != "Patient" or resource is None:
                continue
            place = replacement(resource)
            retired = self.number(origin, write)
            if place is None or retired is None:
                continue
            where = f"{write.expression}.link[{place}].other"
            record, survivor = await self._survivor(conn, origin, plan, resource, place, where)
            if record == await self._mpi.record_named(conn, origin.source_id, retired):
                is_same = (survivor.system, survivor.value) == (retired.system, retired.value)
                text = _ITSELF if is_same else _INVERSE
                issue = Issue(text=text, code="conflict", expression=(where,))
                raise HieError(Category.CONFLICT, text, [issue])
            link = {"other": {"reference": f"Patient/{record}"}, "type": "replaced-by"}
            resource["link"][place] = link
            found.append(Merge(write=write, survivor=survivor, retired=retired))
        return found

    async def carry_out(
        self, conn: AsyncConnection, origin: Origin, merges: Collection[Merge]
    ) -> frozenset[PersonId]:
        """Carry merges out, once their Patients are stored; the persons touched."""
        touched: set[PersonId] = set()
        for merge in merges:
            said = SourceMerge(survivor=merge.survivor, retired=merge.retired)
            touched |= await self._moves.carry_out(conn, origin, said)
        return frozenset(touched)

    async def removed(
        self, conn: AsyncConnection, origin: Origin, plan: Plan, ids: Mapping[str, HubId]
    ) -> None:
        """Let nobody be found any more by the numbers of Patients that were deleted."""
        for write in plan.writes:
            if write.type == "Patient" and write.method is Method.DELETE:
                record = SourceRecordId(ids[write.name][1])
                await self._mpi.remove(conn, record, now_us=origin.now_us)

    async def _survivor(
        self,
        conn: AsyncConnection,
        origin: Origin,
        plan: Plan,
        resource: FhirJson,
        place: int,
        where: str,
    ) -> tuple[SourceRecordId, SourceIdentifier]:
        """The record that a link says replaces this one, and the number it is filed under."""
        other = resource["link"][place].get("other") or {}
        literal = split_reference(str(other.get("reference", "")))
        number = _number_of(other.get("identifier"))
        if literal is not None:
            number = await self._filed_under(conn, origin, plan, literal)
        record = number and await self._mpi.find_record(conn, origin.source_id, number)
        if not record or number is None:
            issue = Issue(text=_NO_SURVIVOR, code="not-found", expression=(where,))
            raise HieError(Category.BUSINESS_RULE, _NO_SURVIVOR, [issue])
        return record, number

    async def _filed_under(
        self, conn: AsyncConnection, origin: Origin, plan: Plan, address: HubId
    ) -> SourceIdentifier | None:
        """The number of a Patient named by its id: of this plan, or stored."""
        for write in plan.writes:
            number = self.number(origin, write) if write.type == "Patient" else None
            if number is None or write.resource is None:
                continue
            record = await self._mpi.record_named(conn, origin.source_id, number)
            if record == address[1]:
                return number
        stored = (await self._repository.load(conn, [address])).get(address)
        if stored is None or stored.source_id != origin.source_id:
            return None
        source = self._sources.by_id(origin.source_id)
        return own_identifier(stored.resource, source.own_authority if source else "")


def misaimed(write: PlannedWrite) -> list[Issue]:
    """What is wrong with a Patient aimed by one number that says it has another instead.

    One that has none of that authority is filed under the number it is aimed by.
    """
    target = write.target
    if write.type != "Patient" or not isinstance(target, Identified) or not target.system:
        return []
    listed = (write.resource or {}).get("identifier")
    found = map(_number_of, listed if isinstance(listed, list) else ())
    numbers = {one.value for one in found if one and one.system == target.system}
    if not numbers or target.value in numbers:
        return []
    return [Issue(text=_OTHER_NUMBER, code="value", expression=("Patient.identifier",))]


def _own_names(origin: Origin) -> str:
    return f"urn:hie:source:{origin.source_id}"


def replacement(patient: FhirJson) -> int | None:
    """Where an inactive Patient's link says what replaced it; None for any other Patient."""
    links = patient.get("link")
    if patient.get("active") is not False or not isinstance(links, list):
        return None
    places = (n for n, one in enumerate(links) if _is_replacement(one))
    return next(places, None)


def _is_replacement(link: object) -> bool:
    return isinstance(link, dict) and link.get("type") == "replaced-by"


def _is_active(write: PlannedWrite) -> bool:
    return (write.resource or {}).get("active") is not False


def _as_written(patient: FhirJson, system: str, value: str) -> SourceIdentifier:
    """An identifier with the type that the Patient says it has."""
    same = [
        one
        for one in patient.get("identifier", ())
        if (one.get("system"), one.get("value")) == (system, value)
    ]
    written = own_identifier({"identifier": same}, system)
    return written or SourceIdentifier(system=system, value=value)


def _number_of(identifier: object) -> SourceIdentifier | None:
    if not isinstance(identifier, dict):
        return None
    system, value = identifier.get("system"), identifier.get("value")
    if not (isinstance(system, str) and isinstance(value, str) and system and value):
        return None
    return SourceIdentifier(system=system, value=value)
