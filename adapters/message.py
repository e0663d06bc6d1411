"""A journaled message: where it is on its way, and what became of it."""

from dataclasses import dataclass
from enum import StrEnum

from adapters.port import Wire
from hie.crypto import DataKey
from hie.kernel.envelope import Finding
from hie.kernel.ids import MessageId, SourceId


class State(StrEnum):
    """Where a message is on its way."""

    RECEIVED = "received"  # acknowledged, waiting to be worked off
    OPEN = "open"  # a FHIR write that is being processed in its request
    PROCESSED = "processed"
    KEPT = "kept"  # acknowledged; no map reads its type
    PARKED = "parked"  # failed after the acknowledgement; waits for a person
    REFUSED = "refused"  # answered AE or AR, or with a FHIR error
    DISCARDED = "discarded"  # was parked or kept; a person closed it for good


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A journaled message, opened.

    Attributes:
        answer: what was sent back; empty while a FHIR write is open.
        key: the row's own data key; wrapped, wrapped_by: as it is stored.
        application: when its outcome is told to the sender's own listener: `AL`, `ER`, `SU`;
            empty = never.
        is_erased: the record it is about was erased, and with it what it said.
    """

    id: MessageId
    source_id: SourceId
    wire: Wire
    received_us: int
    trigger: str
    state: State
    stage: str
    reason: str
    attempts: int
    findings: tuple[Finding, ...]
    payload: bytes
    answer: bytes
    key: DataKey
    wrapped: bytes
    wrapped_by: int | None
    application: str = ""
    is_erased: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a message whose sender may want to be told so.

    Attributes:
        state: the state it has come to.
        findings: why it was refused; reason: why it is parked.
        condition: `AL`, `ER` or `SU`: which outcomes the sender wants told.
        key: the message's own data key.
    """

    message_id: MessageId
    source_id: SourceId
    state: State
    payload: bytes
    findings: tuple[Finding, ...] = ()
    reason: str = ""
    condition: str
    key: DataKey


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageCounts:
    """How many messages came by one wire, of one trigger, with one answer, in one state."""

    wire: str
    trigger: str
    answer: str
    state: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of a message.

    Attributes:
        stage: where it stopped: `parse`, `map`, `identify`, `store`; empty when it did not.
        reason: for staff; no patient data.
        findings: what is to be kept with it; empty = those it came with.
        owner_key: the data key of the source record it is about; the row's own key is
            wrapped under it from now on.
    """

    message: Message
    state: State
    stage: str = ""
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    owner_key: DataKey | None = None
