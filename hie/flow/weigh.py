"""What each placement of a batch becomes, given what is known: written, told anew, or lost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from adapters.lifecycle import SILENT
from hie.flow.memory import Entry, Wanted, renewed
from hie.flow.placement import Origin, Placement
from hie.flow.state import Change, Known, Stamp, Verdict, judge, patched
from hie.kernel.envelope import WriteMode
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import SourceRecordId
from hie.store.changes import Name
from hie.store.index import SearchIndex
from hie.store.loader import Stored

_NOBODY = Stamp(0, 0, 0)
_PATIENT = "Patient/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What a message's sender should know of a statement, by the name of a rule."""

    rule: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A resource that a later message files under another record than before."""

    type: str
    before: SourceRecordId
    after: SourceRecordId


class Weighing:
    """One batch, placement by placement, each seeing what those before it made known."""

    def __init__(
        self,
        index: SearchIndex,
        entries: dict[Name, Entry],
        guard_consent: Callable[[Origin, Placement, Stored], None],
        records_of: Callable[[Placement], Sequence[SourceRecordId]],
    ) -> None:
        self._index = index
        self._entries = entries
        self._guard_consent = guard_consent
        self._records_of = records_of
        self.remarks: list[Remark] = []
        self.transfers: list[Transfer] = []
        #: Statements to be kept: whose key seals them, and they; () = to be forgotten.
        self.logs: dict[Name, tuple[str, Sequence[Change]]] = {}

    def weigh(self, origin: Origin, placement: Placement) -> Placement | None:
        """The placement as it is to be written; None where what is stored stays.

        Raises:
            HieError: FORBIDDEN or BUSINESS_RULE when a Consent is not this source's to change.
        """
        name = (placement.type, placement.id)
        entry = self._entries.get(name)
        if placement.type == "Consent" and entry is not None and entry.stored is not None:
            self._guard_consent(origin, placement, entry.stored)
        if placement.stamp is None:
            made = self._unconditional(origin, placement, entry)
            if made is not None:
                made = self._dated(origin, made, entry)
        else:
            made = self._judged(origin, placement, placement.stamp, entry)
        if made is not None:
            records = self._records_of(made)
            self._entries[name] = replace(
                self._entries[name], record_id=records[0] if records else None
            )
        return made

    def taken(self) -> tuple[list[Remark], list[Transfer]]:
        """What was remarked since the last call: of one message."""
        found = self.remarks, self.transfers
        self.remarks, self.transfers = [], []
        return found

    # What holds whenever it comes

    def _unconditional(
        self, origin: Origin, placement: Placement, entry: Entry | None
    ) -> Placement | None:
        if entry is None or entry.known.is_deleted:
            is_new = placement.mode is not WriteMode.DELETE
            return _whole(placement, _said(placement.resource)) if is_new else None
        if placement.mode is WriteMode.CREATE_IF_ABSENT:
            return None
        if self._index.is_directory(placement.type) and entry.source_id != origin.source_id:
            # One per identifier: the first to name it keeps it, others only refer to it.
            return None
        if placement.mode is WriteMode.DELETE:
            return _tombstone(placement, entry)
        if placement.mode is WriteMode.PATCH:
            change = Change(stamp=_NOBODY, mode=placement.mode, resource=placement.resource)
            return _whole(placement, patched(entry.resource, change))
        return placement

    def _dated(self, origin: Origin, made: Placement, entry: Entry | None) -> Placement:
        """What holds whenever it comes stands for all that was said of the resource before.

        What is only written again keeps the step it is at: no late message falls behind it.
        """
        stamp = entry.known.stamp if entry and entry.known.stamp.event_us else None
        rank = entry.known.rank if entry and made.is_rewritten else SILENT
        is_deleted = made.mode is WriteMode.DELETE
        known = Known(
            stamp=stamp or _NOBODY, resource=made.resource, is_deleted=is_deleted, rank=rank
        )
        self._entries[made.type, made.id] = renewed(entry, known, origin.source_id)
        if stamp is None:
            return made
        mode = WriteMode.DELETE if is_deleted else WriteMode.UPSERT
        base = Change(stamp=stamp, mode=mode, resource=made.resource, is_base=True)
        records = self._records_of(made)
        self.logs[made.type, made.id] = (records[0] if records else "", (base,))
        return replace(made, stamp=stamp, status_rank=rank if made.is_rewritten else None)

    # What holds when it is later

    def _judged(
        self, origin: Origin, placement: Placement, stamp: Stamp, entry: Entry | None
    ) -> Placement | None:
        placement = self._with_patient(placement, entry)
        verdict = judge(entry.known if entry else None, change_of(placement, stamp))
        if verdict.remark:
            self.remarks.append(Remark(rule=verdict.remark, type=placement.type))
        if not verdict.is_written:
            return None
        made = self._made(placement, entry, verdict)
        self._keep_log(made or placement, entry, verdict)
        self._note_transfer(made, entry)
        self._entries[placement.type, placement.id] = renewed(
            entry, verdict.known, origin.source_id
        )
        return made

    def _made(
        self, placement: Placement, entry: Entry | None, verdict: Verdict
    ) -> Placement | None:
        known = verdict.known
        rank = max(known.rank, -1)
        if not known.is_deleted:
            whole, mode = known.resource or {}, WriteMode.UPSERT
            return replace(
                placement, stamp=known.stamp, status_rank=rank, resource=whole, mode=mode
            )
        made = replace(placement, stamp=known.stamp, status_rank=rank)
        if entry is None:
            return replace(made, mode=WriteMode.DELETE, resource=_said(placement.resource))
        return None if entry.known.is_deleted else _tombstone(made, entry)

    def _keep_log(self, placement: Placement, entry: Entry | None, verdict: Verdict) -> None:
        log = verdict.known.log
        if log or (entry is not None and entry.known.log):
            records = self._records_of(placement)
            self.logs[placement.type, placement.id] = (records[0] if records else "", log)

    def _with_patient(self, placement: Placement, entry: Entry | None) -> Placement:
        """A message that names no patient does not take a resource away from its own."""
        if entry is None or entry.record_id is None or self._records_of(placement):
            return placement
        kept = {
            name: value
            for name, value in entry.resource.items()
            if isinstance(value, dict) and str(value.get("reference", "")).startswith(_PATIENT)
        }
        owner = SourceRecordId(entry.record_id)
        return replace(placement, resource={**kept, **placement.resource}, owner=owner)

    def _note_transfer(self, made: Placement | None, entry: Entry | None) -> None:
        if made is None or entry is None or entry.record_id is None:
            return
        records = self._records_of(made)
        if records and entry.record_id not in records:
            before = SourceRecordId(entry.record_id)
            self.transfers.append(Transfer(type=made.type, before=before, after=records[0]))


def wanted(placement: Placement, *, has_patient: bool) -> Wanted:
    """What must be read to weigh a placement."""
    change = None if placement.stamp is None else change_of(placement, placement.stamp)
    return Wanted(
        name=(placement.type, placement.id),
        change=change,
        needs_content=(
            placement.type == "Consent"
            or (change is None and placement.mode in (WriteMode.PATCH, WriteMode.DELETE))
            or (change is not None and not has_patient)
        ),
    )


def change_of(placement: Placement, stamp: Stamp) -> Change:
    """A placement as a statement."""
    return Change(
        stamp=stamp,
        mode=placement.mode,
        resource=placement.resource,
        lifecycle=placement.lifecycle,
        since=placement.since,
        undoes=placement.undoes,
        adds=placement.adds,
    )


def _said(resource: FhirJson) -> FhirJson:
    return {name: value for name, value in resource.items() if value is not None}


def _whole(placement: Placement, resource: FhirJson) -> Placement:
    return replace(placement, resource=resource, mode=WriteMode.UPSERT)


def _tombstone(placement: Placement, entry: Entry) -> Placement:
    """A deletion that stays whose the resource was, and as hidden as it was."""
    record = entry.record_id
    return replace(
        placement,
        mode=WriteMode.DELETE,
        resource=entry.resource,
        owner=SourceRecordId(record) if record else None,
        label_mask=entry.stored.label_mask if entry.stored else 0,
    )
