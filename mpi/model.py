"""The words of the master patient index: records, persons, decisions, questions, answers."""

from dataclasses import dataclass, field
from enum import StrEnum

from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId, PersonId, SourceId, SourceRecordId
from mpi.levels import MatchGrade, Veto


class Outcome(StrEnum):
    """What `identify` did with a record."""

    LINK = "link"
    REVIEW = "review"
    NEW = "new"
    KNOWN = "known"


class DecisionKind(StrEnum):
    """What a decision did to the ledger."""

    NEW = "new"
    LINK = "link"
    RELINK = "relink"
    UNLINK = "unlink"
    SPLIT = "split"
    MERGE = "merge"
    UNMERGE = "unmerge"
    UNDO = "undo"
    SOURCE_MERGE = "source-merge"
    REJECT = "reject"
    CONFIRM = "confirm"
    OVERLAY_HOLD = "overlay-hold"
    OVERLAY_ACCEPT = "overlay-accept"
    OVERLAY_REFUSE = "overlay-refuse"
    CONSENT_REVIEW = "consent-review"  # the consents of a changed person hold as they are
    FLAG = "flag"  # a human is asked; everything stays as it is
    RESCORE = "rescore"  # a record stays where it is; how well it fits there has changed


class LinkState(StrEnum):
    """How sure the ledger is of a link."""

    AUTO = "auto"
    PROVISIONAL = "provisional"  # the record waits in review, alone with its own person
    CONFIRMED = "confirmed"  # by a steward or by the source's own merge


class PersonStatus(StrEnum):
    """Whether a person's id still stands for itself."""

    ACTIVE = "active"
    MERGED = "merged"
    RETIRED = "retired"  # has no record any more and redirects nowhere


class TaskKind(StrEnum):
    """What a steward is asked."""

    POSSIBLE = "possible"
    MARGIN = "margin"
    TWIN = "twin"
    OVERLAY = "overlay"
    DRIFT = "drift"
    DUPLICATE_PERSON = "duplicate-person"
    SOURCE_CONFLICT = "source-conflict"
    SOURCE_LINK = "source-link"  # a source says that two persons are one (A24)
    SOURCE_UNLINK = "source-unlink"  # a source says that one person is two (A37)


class TaskState(StrEnum):
    """Where a task stands."""

    OPEN = "open"
    CLAIMED = "claimed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """What became of one patient of one message.

    Attributes:
        source_record_id: where the patient belongs; the survivor's where the source has
            merged the identifier it sent.
        person_id: the human; always an active person.
        task_id: the task opened by this call.
        is_held: the new demographics contradict the old ones: a task decides, and until then
            the stored Patient must not be overwritten.
        redirected_from: the merged-away record that the message named.
    """

    source_record_id: SourceRecordId
    person_id: PersonId
    outcome: Outcome
    task_id: int | None = None
    is_held: bool = False
    redirected_from: SourceRecordId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonMove:
    """A source record that changed its person; its clinical rows must follow."""

    source_record_id: SourceRecordId
    from_person: PersonId
    to_person: PersonId


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMerged:
    """What a source's statement about two numbers did to the ledger.

    Attributes:
        decision_id: what to take back to undo it; 0 where nothing was decided.
        moves: records that changed their person.
        survivor, retired: records of which the second was retired into the first now.
        is_stopped: the guard kept the two persons apart; a task asks about them.
    """

    decision_id: int = 0
    moves: tuple[PersonMove, ...] = ()
    survivor: SourceRecordId | None = None
    retired: SourceRecordId | None = None
    is_stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What a decision did, taking one back included.

    Attributes:
        decision_id: what to take back to undo it.
        kind: what was decided.
        moves: records that changed their person.
        persons: whom it is about, moves or none.
        kept: of an undo, records that a later decision has touched since: left where they
            are, for a steward to look at.
        arrived: of an undo, records that came to a person while what parts now was one: left
            there, and asked about, because they may be the other's.
    """

    decision_id: int
    kind: DecisionKind
    moves: tuple[PersonMove, ...] = ()
    persons: tuple[PersonId, ...] = ()
    kept: tuple[SourceRecordId, ...] = ()
    arrived: tuple[SourceRecordId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A source record with its open link, as the ledger holds it.

    Attributes:
        sealed: its demographics, encrypted under the data key `key_id`; empty for a
            record known by its identifier alone.
    """

    record_id: SourceRecordId
    person_id: PersonId
    source_id: SourceId
    is_active: bool
    key_id: int | None
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A source record's own row.

    Attributes:
        replaced_by: the record that the source merged this one into.
        person_id, state: of its open link; None for a record known by its identifier alone.
        link_id, bits, grade: of the same.
        held_hash: the content that an overlay held back last.
    """

    record_id: SourceRecordId
    source_id: SourceId
    version: int
    content_hash: str
    norm_version: int
    is_active: bool
    key_id: int | None
    norm: bytes
    replaced_by: SourceRecordId | None
    person_id: PersonId | None
    state: LinkState | None
    link_id: int | None = None
    bits: float | None = None
    grade: str | None = None
    held_hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who decides, and on what occasion.

    Attributes:
        name: `mpi` for the index itself, `source:<id>` for a source, else the user.
        reason: a code, such as the rule that fired; stored in clear.
        words: why, in a human's words; sealed, because they may name the patient.
        message_id: the message that led to it.
        batch_id: what the decisions of one batch have in common.
    """

    name: str
    now_us: int
    reason: str = ""
    words: str = ""
    message_id: MessageId | None = None
    on_behalf_of: str | None = None
    batch_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A person that a task proposes.

    Attributes:
        bits: best score against any of the person's records.
        vetoes: why the guard stopped the link.
    """

    person_id: PersonId
    bits: float
    grade: MatchGrade
    vetoes: tuple[Veto, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a steward is to be asked.

    Attributes:
        record_id: the record it is about; None for two persons.
        person_id: the person that record, or the first side of the question, belongs to.
        candidates: persons proposed, best first.
        held: demographics that an overlay holds back.
    """

    kind: TaskKind
    record_id: SourceRecordId | None
    person_id: PersonId
    candidates: tuple[Candidate, ...] = ()
    held: FhirJson | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One question for a steward.

    Attributes:
        record_id: the record the question is about; None for two persons.
        person_id: the person that record, or the first side of the question, belongs to.
        candidates: best first.
        held: demographics an overlay holds back; None for other kinds.
        priority: 1 is the most urgent.
    """

    id: int
    kind: TaskKind
    state: TaskState
    record_id: SourceRecordId | None
    person_id: PersonId
    opened_us: int
    priority: int
    assignee: str | None = None
    candidates: tuple[Candidate, ...] = ()
    held: FhirJson | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The index in figures.

    Attributes:
        persons: active ones with at least one record; open_tasks: by kind.
    """

    records: int
    persons: int
    links: int
    open_tasks: dict[str, int] = field(default_factory=dict)
