"""One journaled HL7 v2 message on its way into the store.

`prepare` is pure and runs before the transaction; `work_off` does the rest inside it, and
settles the message there: a message is processed when its resources are committed, never
before and never twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.hl7v2 import er7
from adapters.hl7v2.mapper import Mapper
from adapters.hl7v2.sensitivity import NOTHING, Privacy, Sensitivity
from adapters.journal import Journal
from adapters.message import Message, Settlement, State
from adapters.sources import Source, SourceRegistry
from hie.audit.event import AuditRecord
from hie.audit.repository import AuditLog
from hie.crypto import KeyRing
from hie.flow.codes import CodeTasks
from hie.flow.directory import Directory
from hie.flow.moves import SourceMoves
from hie.flow.place import Placed, Placer
from hie.flow.placement import Origin, Placement
from hie.flow.privacy import PrivacyFields, Spoken
from hie.flow.state import Change
from hie.flow.told import findings_of, stamp_of
from hie.kernel.clock import Clock
from hie.kernel.envelope import Draft, Finding, SourceIdentifier, Submission, WriteMode
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson, rewrite_references
from hie.kernel.ids import MessageId, PersonId, SourceRecordId
from hie.keystore import KeyKind, KeyStore
from hie.store.index import SearchIndex
from mpi.model import Identified

_DRAFT = "urn:hie:"
#: Rule of the mapper's finding that no map reads a message's trigger.
NOT_MAPPED = "unmapped-message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A message with what it maps to; no submission where no map reads its type."""

    message: Message
    source: Source
    submission: Submission | None
    privacy: Privacy = NOTHING


class StageError(HieError):
    """A message stopped at a stage of the write path; it is parked there."""

    def __init__(self, stage: str, cause: HieError) -> None:
        super().__init__(cause.category, cause.text, cause.issues)
        self.stage = stage


class Ingest:
    """Works off HL7 v2 messages."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once, in app.py
        self,
        sources: SourceRegistry,
        mapper: Mapper,
        placer: Placer,
        moves: SourceMoves,
        journal: Journal,
        audit: AuditLog,
        keys: KeyStore,
        ring: KeyRing,
        index: SearchIndex,
        directory: Directory,
        codes: CodeTasks,
        sensitivity: Sensitivity,
        privacy: PrivacyFields,
        clock: Clock,
    ) -> None:
        self._sources = sources
        self._mapper = mapper
        self._placer = placer
        self._moves = moves
        self._journal = journal
        self._audit = audit
        self._keys = keys
        self._ring = ring
        self._index = index
        self._directory = directory
        self._codes = codes
        self._sensitivity = sensitivity
        self._privacy = privacy
        self._clock = clock

    async def refresh(self, conn: AsyncConnection) -> None:
        """Take up what staff decided about codes; before messages are prepared."""
        await self._codes.refresh(conn)

    def prepare(self, message: Message) -> Prepared:
        """Parse and map a message; pure.

        Raises:
            StageError: it cannot be read or mapped.
        """
        source = self._sources.by_id(message.source_id)
        if source is None:
            gone = HieError(Category.NOT_FOUND, "no file of `config/sources` names its source")
            raise StageError("parse", gone)
        if message.is_erased:
            text = "the record it speaks of was erased, and its content with it"
            raise StageError("parse", HieError(Category.GONE, text))
        try:
            parsed = er7.parse(message.payload, source.charset or None)
        except HieError as error:
            raise StageError("parse", error) from error
        try:
            submission = self._mapper.map(
                parsed, source, message_id=message.id, received_us=message.received_us
            )
        except HieError as error:
            raise StageError("map", error) from error
        self._directory.learn(source.id)
        if any(finding.rule == NOT_MAPPED for finding in submission.findings):
            return Prepared(message=message, source=source, submission=None)
        privacy = self._sensitivity.read(parsed, self._mapper.terms_of(source))
        if privacy.codes:
            submission = replace(submission, codes=submission.codes + privacy.codes)
        return Prepared(message=message, source=source, submission=submission, privacy=privacy)

    async def work_off(self, conn: AsyncConnection, batch: Sequence[Prepared]) -> None:
        """Identify, store, audit and settle messages in order, in the caller's transaction.

        Raises:
            HieError: nothing of the batch is stored once the caller rolls back.
        """
        waiting: list[_Identified] = []
        claimed = await self._journal.claim(conn, [one.message.id for one in batch])
        for prepared in await self._with_codes(conn, batch, claimed):
            if prepared.submission is None:
                await self._keep(conn, prepared.message)
                continue
            if _looks_back(prepared) or self._speaks_again(prepared, waiting):
                # It changes what is stored: what came before it must be.
                await self._store(conn, waiting)
                waiting = []
            waiting.append(await self._identify(conn, prepared, prepared.submission))
        await self._store(conn, waiting)

    async def _with_codes(
        self,
        conn: AsyncConnection,
        batch: Sequence[Prepared],
        claimed: frozenset[MessageId],
    ) -> list[Prepared]:
        """The claimed messages, their unmapped codes counted, none mapped before its answer."""
        mine = [prepared for prepared in batch if prepared.message.id in claimed]
        made = [p.submission for p in mine if p.submission is not None]
        coded = [s for s in made if s.codes or s.answers]
        if not coded:
            return mine
        late = await self._codes.note(conn, coded)
        if not late:
            return mine
        await self._codes.refresh(conn)
        return [self.prepare(p.message) if p.message.id in late else p for p in mine]

    async def _keep(self, conn: AsyncConnection, message: Message) -> None:
        reason = f"no map reads {message.trigger or 'its type'}"
        kept = Settlement(message=message, state=State.KEPT, stage="map", reason=reason)
        await self._journal.settle(conn, [kept])

    async def _store(self, conn: AsyncConnection, waiting: Sequence["_Identified"]) -> None:
        """Place, audit and settle what has been identified."""
        if not waiting:
            return
        groups = [(one.origin, self._placements(one)) for one in waiting]
        moved = await self._moves.redirected(conn, groups)
        spoken = [_spoken(one, found) for one, (_, found) in zip(waiting, moved, strict=True)]
        placed = await self._placer.place_all(conn, await self._privacy.carried_out(conn, spoken))
        pairs = list(zip(waiting, placed, strict=True))
        records = [r for one, what in pairs for r in self._records(one, what)]
        await self._audit.append(conn, records)
        subjects = [s.source_record_id for one in waiting if (s := one.subject) is not None]
        keys = await self._keys.for_owners(conn, KeyKind.RECORD, subjects)
        await self._journal.settle(
            conn,
            [
                Settlement(
                    message=one.prepared.message,
                    state=State.PROCESSED,
                    findings=_findings(one, what),
                    owner_key=keys[one.subject.source_record_id] if one.subject else None,
                )
                for one, what in pairs
            ],
        )

    def _speaks_again(self, prepared: Prepared, waiting: Sequence["_Identified"]) -> bool:
        """Whether a message changes a patient that one not yet stored speaks of too."""
        mine = _patients(prepared, is_changed=True)
        return bool(mine) and any(mine & _patients(one.prepared) for one in waiting)

    async def _identify(
        self, conn: AsyncConnection, prepared: Prepared, submission: Submission
    ) -> "_Identified":
        """The message with its Patient drafts as source records, and its merges carried out."""
        message = prepared.message
        origin = Origin(
            source_id=message.source_id, message_id=message.id, now_us=self._clock.now_us()
        )
        found = {}
        for draft in submission.drafts:
            if draft.resource["resourceType"] == "Patient":
                found[draft.name] = await self._placer.identify(
                    conn,
                    origin,
                    {k: v for k, v in draft.resource.items() if v is not None},
                    own_identifier(draft.resource, prepared.source.own_authority),
                    change=_change(submission, draft),
                )
        touched = [await self._moves.carry_out(conn, origin, m) for m in submission.merges]
        return _Identified(
            prepared=prepared,
            submission=submission,
            origin=origin,
            patients=found,
            touched=frozenset().union(*touched),
        )

    def _placements(self, one: "_Identified") -> list[Placement]:
        submission = one.submission
        records = {name: found.source_record_id for name, found in one.patients.items()}
        ids = {d.name: self._id_of(one.origin, d, records) for d in submission.drafts}
        targets = {f"{_DRAFT}{name}": f"{kind}/{key}" for name, (kind, key) in ids.items()}

        def resolved(reference: str) -> str:
            return targets.get(reference, reference)

        return [
            Placement(
                type=ids[draft.name][0],
                id=ids[draft.name][1],
                resource=rewrite_references(draft.resource, resolved),
                mode=_mode(draft, one.patients),
                owner=records.get(submission.subject),
                stamp=None if _is_kept(draft, one.patients) else stamp_of(submission, draft),
                lifecycle=self._placer.lifecycle(draft.lifecycle),
                since=draft.since,
                undoes=draft.undoes,
                adds=draft.adds,
            )
            for draft in submission.drafts
        ]

    def _id_of(
        self, origin: Origin, draft: Draft, records: Mapping[str, SourceRecordId]
    ) -> tuple[str, str]:
        kind = draft.resource["resourceType"]
        if draft.name in records:
            return kind, records[draft.name]
        if self._index.is_directory(kind):
            return kind, self._directory.id_of(origin, draft.resource, draft.key, draft.name)
        if draft.key:
            return kind, self._ring.blind("id", origin.source_id, kind, *draft.key)
        return kind, self._ring.blind("id", str(origin.message_id), kind, draft.name)

    def _records(self, one: "_Identified", placed: Placed) -> list[AuditRecord]:
        """One audit row for each person whose record the message touched."""
        stored = [f"{w.type}/{w.id}/_history/{w.version}" for w in placed.written if w.is_changed]
        return [
            AuditRecord(
                recorded_us=one.origin.now_us,
                action="C",
                subtype="receive",
                person_id=person,
                organization=self._directory.organization_id(one.prepared.source.organization),
                request_id=str(one.origin.message_id),
                detail={"trigger": one.prepared.message.trigger, "stored": stored},
            )
            for person in sorted(placed.persons | one.touched)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Identified:
    """A message whose patients are known.

    Attributes:
        patients: Patient drafts by name.
        touched: persons that a merge concerned.
    """

    prepared: Prepared
    submission: Submission
    origin: Origin
    patients: Mapping[str, Identified]
    touched: frozenset[PersonId]

    @property
    def subject(self) -> Identified | None:
        """Whose message it is."""
        return self.patients.get(self.submission.subject)


def _spoken(one: _Identified, placements: Sequence[Placement]) -> Spoken:
    """A message's placements with what it says of who may see them."""
    subject = [one.subject.source_record_id] if one.subject else []
    others = [found.source_record_id for found in one.patients.values()]
    return Spoken(
        origin=one.origin,
        source=one.prepared.source,
        privacy=one.prepared.privacy,
        records=tuple(dict.fromkeys([*subject, *others])),
        placements=placements,
    )


def _mode(draft: Draft, identified: Mapping[str, Identified]) -> WriteMode:
    """A Patient that a task holds, or that was merged away, does not overwrite what is stored."""
    return WriteMode.CREATE_IF_ABSENT if _is_kept(draft, identified) else draft.mode


def _is_kept(draft: Draft, identified: Mapping[str, Identified]) -> bool:
    found = identified.get(draft.name)
    return found is not None and (found.is_held or found.redirected_from is not None)


def _change(submission: Submission, draft: Draft) -> Change | None:
    """A Patient draft as a statement that may change what is known; None where it may not."""
    stamp = stamp_of(submission, draft)
    if stamp is None or draft.mode is WriteMode.CREATE_IF_ABSENT:
        return None
    return Change(stamp=stamp, mode=draft.mode, resource=draft.resource)


def _patients(prepared: Prepared, *, is_changed: bool = False) -> frozenset[tuple[str, ...]]:
    """The keys of the patients a message speaks about, or of those it changes."""
    submission = prepared.submission
    return frozenset(
        draft.key
        for draft in (submission.drafts if submission else ())
        if draft.key
        and draft.resource["resourceType"] == "Patient"
        and (draft.mode is not WriteMode.CREATE_IF_ABSENT or not is_changed)
    )


def _looks_back(prepared: Prepared) -> bool:
    """Whether a message changes what others said: a merge, or a label raised on a visit."""
    submission = prepared.submission
    if submission is None:
        return False
    is_raising = any(
        (draft.resource.get("meta") or {}).get("security") for draft in submission.drafts
    )
    return bool(submission.merges or prepared.privacy.raised or is_raising)


def _findings(one: _Identified, placed: Placed) -> tuple[Finding, ...]:
    """What was found in a message, when it came and now; a replay says nothing twice."""
    remarks = findings_of(one.submission, placed.remarks)
    return tuple(
        dict.fromkeys((*one.prepared.message.findings, *one.submission.findings, *remarks))
    )


def own_identifier(patient: FhirJson, own_authority: str) -> SourceIdentifier | None:
    """The number the source itself knows the patient by, else the first it gives.

    Its own authority's medical record number counts first, then any number of its own.
    """
    found = [
        SourceIdentifier(
            system=i.get("system", ""),
            value=i["value"],
            type=next((c.get("code", "") for c in (i.get("type") or {}).get("coding", ())), ""),
        )
        for i in patient.get("identifier", ())
        if i.get("value")
    ]
    ranked = sorted(found, key=lambda i: (i.system != own_authority, i.type not in ("MR", "PI")))
    return ranked[0] if ranked else None
