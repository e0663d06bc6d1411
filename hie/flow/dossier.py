"""What stewards are shown: records side by side, how they compare, what was decided (values)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from hie.golden import Explained
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId, SourceRecordId
from mpi.decide import PersonScore
from mpi.model import Candidate, TaskKind
from mpi.repository.decisions import Apart, PastDecision, PastLink, PersonRow
from mpi.repository.queue import QueuedTask

#: Elements of a Patient that say who somebody is, in the order they are shown.
DEMOGRAPHIC = (
    "active",
    "identifier",
    "name",
    "birthDate",
    "gender",
    "deceasedBoolean",
    "deceasedDateTime",
    "telecom",
    "address",
    "maritalStatus",
    "multipleBirthBoolean",
    "multipleBirthInteger",
    "contact",
    "communication",
    "extension",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordShown:
    """One source's record of somebody.

    Attributes:
        patient: its demographic elements; empty where it is stored no more.
        version: of the stored Patient; "" where there is none.
        link: its belonging to the person it is shown with.
    """

    id: SourceRecordId
    source_id: str
    patient: FhirJson
    version: str
    updated_us: int
    link: PastLink | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonShown:
    """A person with its records.

    Attributes:
        golden: the demographic elements of the golden Patient; empty without records.
        origins: per value of it, `name[0]`, the records that hold it, who gave it first.
        row: None for a person that never was.
        replaced: persons whose ids redirect here.
        apart: what holds its records apart from others.
        as_of_us: the time whose links are shown; None = now. Demographics are today's.
    """

    id: PersonId
    row: PersonRow | None
    records: tuple[RecordShown, ...]
    golden: FhirJson
    origins: Mapping[str, tuple[str, ...]]
    replaced: tuple[PersonRow, ...] = ()
    apart: tuple[Apart, ...] = ()
    as_of_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventShown:
    """One thing a steward did with a task; the note is in the steward's words."""

    at_us: int
    action: str
    actor: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionShown:
    """A decision with what is sealed of it.

    Attributes:
        explanation: why, by the index; None where it kept nothing.
        words: why, in a human's words.
        links: those it made or ended.
    """

    decision: PastDecision
    explanation: FhirJson | None = None
    words: str = ""
    links: tuple[PastLink, ...] = ()

    @property
    def compared(self) -> set[str]:
        """The persons whose likeness the explanation tells."""
        return {str(each["person"]) for each in (self.explanation or {}).get("persons", ())}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskShown:
    """A task with both sides of its question.

    Attributes:
        candidates: as the index proposed them when it asked.
        held: demographics that an overlay holds back.
        compared: per person, the subject's record that fits best and how, by today's model.
        asked: the decision that asked.
    """

    task: QueuedTask
    candidates: tuple[Candidate, ...]
    held: FhirJson | None
    subject: PersonShown
    others: tuple[PersonShown, ...]
    compared: Mapping[PersonId, tuple[str, PersonScore]]
    asked: DecisionShown | None
    events: tuple[EventShown, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueEntry:
    """A task in the queue, without anybody's data."""

    task: QueuedTask
    candidates: tuple[Candidate, ...]


def version_of(task: QueuedTask) -> str:
    """What changes whenever anything about a task does; its entity tag."""
    said = (task.id, task.state, task.assignee, task.deferred_us, task.closed_by, task.detail)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:20]


def demographics_of(patient: FhirJson) -> FhirJson:
    """The elements of a Patient that say who somebody is."""
    return {name: patient[name] for name in DEMOGRAPHIC if name in patient}


def described(found: Explained | None) -> tuple[FhirJson, dict[str, tuple[str, ...]]]:
    """The golden Patient's demographics, and per value the records that hold it.

    Values are named `name[0]`; the record that gave one comes first.
    """
    if found is None:
        return {}, {}
    golden, origins = demographics_of(found.patient), {}
    for name, value in golden.items():
        for number, records in enumerate(found.provenance.get(name, ())):
            origins[f"{name}[{number}]" if isinstance(value, list) else name] = records
    return golden, origins


#: What may be decided about a task of each kind: the words of the API, the usual one first.
CHOICES: Mapping[TaskKind, tuple[str, ...]] = {
    TaskKind.POSSIBLE: ("link", "reject", "confirm"),
    TaskKind.MARGIN: ("link", "reject", "confirm"),
    TaskKind.TWIN: ("reject", "link", "confirm"),
    TaskKind.OVERLAY: ("overlay-refuse", "overlay-accept"),
    TaskKind.DRIFT: ("confirm", "unlink", "split"),
    TaskKind.DUPLICATE_PERSON: ("merge", "reject"),
    TaskKind.SOURCE_CONFLICT: ("merge", "reject", "link"),
    TaskKind.SOURCE_LINK: ("merge", "reject"),
    TaskKind.SOURCE_UNLINK: ("unlink", "split", "confirm"),
}
