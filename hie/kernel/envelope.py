"""What passes between the stages of the write path."""

from dataclasses import dataclass
from enum import StrEnum

from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId, SourceId


class Severity(StrEnum):
    """How much a finding weighs; the source's policy decides what it does to the answer."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing worth telling the sender about a message; never the value found.

    Attributes:
        code: HL7 table 0357 code (`101` required field missing, `207` internal error, ...).
        rule: stable name of the rule, `required-field`, the key of the severity policy.
        segment: segment name, `PID`; empty when the whole message is meant.
        sequence: 1-based occurrence of that segment in the message.
        field, repetition, component, subcomponent: 1-based; 0 = not that deep.
    """

    code: str
    rule: str
    text: str
    severity: Severity = Severity.NOTE
    segment: str = ""
    sequence: int = 0
    field: int = 0
    repetition: int = 0
    component: int = 0
    subcomponent: int = 0

    @property
    def place(self) -> str:
        """`PID-3[2].4`, as people write it."""
        if not self.field:
            return self.segment
        repetition = f"[{self.repetition}]" if self.repetition > 1 else ""
        deep = "".join(f".{n}" for n in (self.component, self.subcomponent) if n)
        return f"{self.segment}-{self.field}{repetition}{deep}"


class WriteMode(StrEnum):
    """What a draft does where a resource of its key already exists."""

    UPSERT = "upsert"
    CREATE_IF_ABSENT = "create-if-absent"
    PATCH = "patch"  # overlay the draft's top-level elements on what is stored
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A resource on its way into the store.

    Attributes:
        name: unique in the submission; other drafts refer to it as `urn:hie:<name>`.
        key: business identifier within the source (`("visit", "GHH", "V100")`); gives the
            resource its id, so that a later message finds it. Empty: identified by message.
        resource: FHIR JSON without `id` and `meta` versions.
        event_us: when what it says was so; what is older than what is stored loses.
        lifecycle: the order its status moves in, a name of `config/hl7v2/lifecycles.toml`.
        since: when what it says began, a FHIR dateTime; what it changes of a visit is kept.
        undoes: elements of a visit whose last change it takes back, see `hie.flow.visit`.
        adds: lists of which a patch says some entries only; the others stay.
    """

    name: str
    resource: FhirJson
    key: tuple[str, ...] = ()
    mode: WriteMode = WriteMode.UPSERT
    event_us: int | None = None
    lifecycle: str = ""
    since: str = ""
    undoes: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceIdentifier:
    """A business identifier and who assigned it.

    Attributes:
        system: FHIR identifier system (URI) of the assigning authority.
        type: HL7 table 0203 code, `MR`, `SS`; empty when the sender gave none.
    """

    system: str
    value: str
    type: str = ""


class MergeKind(StrEnum):
    """What a source says of two numbers: one is retired into the other, or belongs to it."""

    PATIENT = "patient"
    PERSON = "person"  # two numbers of one human, each the number of a record that stays
    ACCOUNT = "account"
    VISIT = "visit"
    MOVE_PATIENT = "move-patient"
    MOVE_ACCOUNT = "move-account"
    MOVE_VISIT = "move-visit"
    LINK = "link"  # a question for a steward, as is:
    UNLINK = "unlink"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMerge:
    """A source's statement that `retired` is now `survivor`; of a move: goes to `survivor`."""

    survivor: SourceIdentifier
    retired: SourceIdentifier
    kind: MergeKind = MergeKind.PATIENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What one message maps to: drafts, not yet identified or labelled.

    Attributes:
        subject: name of the draft that is the patient; empty when the message has none.
        drafts: the subject first, then the rest in the order they should be written.
        sent_us: when the source sent it; of two statements of one event time the later sent.
        unmapped: places that hold a value no map reads, `ZPD-3`, for the coverage report.
        codes: codes no concept map knows: map, code, text; what a sender wrote, so never told.
        answers: tasks by whose answers codes were mapped.
    """

    message_id: MessageId
    source_id: SourceId
    received_us: int
    subject: str = ""
    drafts: tuple[Draft, ...] = ()
    merges: tuple[SourceMerge, ...] = ()
    sent_us: int = 0
    findings: tuple[Finding, ...] = ()
    unmapped: tuple[str, ...] = ()
    codes: tuple[tuple[str, str, str], ...] = ()
    answers: tuple[int, ...] = ()


class AckCode(StrEnum):
    """MSA-1, HL7 table 0008."""

    ACCEPT = "AA"
    ERROR = "AE"
    REJECT = "AR"
    COMMIT_ACCEPT = "CA"
    COMMIT_ERROR = "CE"
    COMMIT_REJECT = "CR"

    @property
    def is_positive(self) -> bool:
        """Whether the sender may forget the message."""
        return self in (AckCode.ACCEPT, AckCode.COMMIT_ACCEPT)
