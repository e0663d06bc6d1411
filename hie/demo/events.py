"""What happens in the demo's story, before anybody writes it down as a message."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum

from hie.demo.lists import (
    Allergy,
    Clinician,
    Condition,
    LabTest,
    Medicine,
    NoteForm,
    Panel,
    Reason,
    Vaccine,
)
from hie.demo.world import Demographics


class Step(Enum):
    """A moment of a visit."""

    ARRIVE = "arrive"
    UPDATE = "update"
    LEAVE = "leave"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kin:
    """A next of kin; `relation` is HL7 table 0063 (MTH, SPO)."""

    family: str
    given: str
    relation: str
    phone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A stay or a consultation; `setting` is E, O or I (PV1-2)."""

    number: str
    setting: str
    start: datetime
    end: datetime
    reason: Reason
    doctor: Clinician
    ward: str
    room: str
    bed: str
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A source makes a record of a person (A28)."""

    kin: Kin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """A source corrects its record (A31)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A source finds it has two records of one person (A40)."""

    retired: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitStep:
    """A visit begins, changes, ends or is cancelled (A01, A04, A08, A03, A11)."""

    visit: Visit
    step: Step
    allergies: tuple[Allergy, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One measured value; `flag` is HL7 table 0078 (N, L, H, A)."""

    test: LabTest
    value: str
    flag: str
    is_below_limit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LabReport:
    """A laboratory answers an order (ORU)."""

    panel: Panel
    placer: str
    filler: str
    collected: datetime
    reported: datetime
    results: tuple[Result, ...]
    doctor: Clinician


@dataclass(frozen=True, slots=True, kw_only=True)
class Vaccinated:
    """A vaccine is given (VXU)."""

    vaccine: Vaccine
    filler: str
    lot: str
    expires: date
    given_at: datetime
    doctor: Clinician


@dataclass(frozen=True, slots=True, kw_only=True)
class Prescription:
    """A medicine is ordered; `number` is the prescription number."""

    number: str
    placer: str
    medicine: Medicine
    written_at: datetime
    doctor: Clinician
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prescribed:
    """A hospital sends a prescription (RDE)."""

    prescription: Prescription


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispensed:
    """A pharmacy hands a medicine over (RDS); `fill` counts from 1."""

    prescription: Prescription
    fill: int
    handed_over: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Documented:
    """A doctor signs a note (MDM)."""

    number: str
    form: NoteForm
    lines: tuple[str, ...]
    visit: Visit
    signed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Vital signs and problems of a visit, sent as a FHIR transaction."""

    visit: Visit
    systolic: int
    diastolic: int
    pulse: int
    weight_kg: str
    height_cm: int
    smoker: bool


Detail = (
    Registered
    | Corrected
    | Merged
    | VisitStep
    | LabReport
    | Vaccinated
    | Prescribed
    | Dispensed
    | Documented
    | Measured
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something a source will send.

    Attributes:
        at: local time of the source when it is sent.
        value: the source's own number for the person.
        known: what the source knows about the person at that time.
    """

    at: datetime
    source: str
    person: int
    value: str
    known: Demographics
    detail: Detail
