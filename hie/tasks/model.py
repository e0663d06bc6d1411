"""A task as staff see it, and what opens one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from hie.kernel.ids import MessageId


class TaskKind(StrEnum):
    """What is asked."""

    UNMAPPED_CODE = "unmapped-code"  # a sender's code has no counterpart in a concept map
    LATE_SOURCE = "late-source"  # a source is silent for longer than it said
    CONSENT = "consent"  # a statement about sharing came by HL7 v2: a privacy officer's
    MOVED_RESULT = "moved-result"  # a result came again under another patient
    NOTICE = "notice"  # a receiver could not be told of changes of identity
    EMERGENCY = "emergency"  # somebody broke the glass: a privacy officer's
    LINK = "link"  # a source asks to link or unlink persons: a steward's


class TaskState(StrEnum):
    """Whether somebody has still to act."""

    OPEN = "open"
    CLOSED = "closed"


class Outcome(StrEnum):
    """How a task ended."""

    NONE = ""  # it is open
    ANSWERED = "answered"
    DISMISSED = "dismissed"  # closed with a reason, nothing changed
    RESOLVED = "resolved"  # what it told of has passed by itself


#: 1 is the most urgent.
PRIORITIES: Final = {
    TaskKind.CONSENT: 1,
    TaskKind.EMERGENCY: 1,
    TaskKind.LATE_SOURCE: 2,
    TaskKind.MOVED_RESULT: 2,
    TaskKind.NOTICE: 2,
    TaskKind.LINK: 3,
    TaskKind.UNMAPPED_CODE: 4,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """A reason for a task; the same `kind` and `key` again is counted, not asked again.

    Attributes:
        key: what makes it the same question; may hold anything, it is stored as a keyed hash.
        at_us: when it happened.
        source_id: the source concerned; "" = none.
        record_id: the source record it is about: `detail` is sealed under that record's key.
        topic: a name of the hub's own, such as a concept map; stored in clear.
        detail: what staff are shown, names to texts; sealed.
        message_id: the message that waits for the answer; counted once however often it comes.
    """

    kind: TaskKind
    key: tuple[str, ...]
    at_us: int
    source_id: str = ""
    record_id: str | None = None
    topic: str = ""
    detail: Mapping[str, str] = field(default_factory=dict)
    message_id: MessageId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What became of an occurrence.

    Attributes:
        is_counted: it was new; False for a message that was counted before.
        is_overflow: the source has as many open tasks as it may: counted in one for the rest.
    """

    task_id: int
    state: TaskState
    outcome: Outcome
    is_opened: bool = False
    is_counted: bool = False
    is_overflow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """What somebody did to a task; `note` is that person's own words."""

    at_us: int
    action: str
    actor: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffTask:
    """A task.

    Attributes:
        count: occurrences; first_us, last_us: of them.
        messages: how many messages wait for the answer, of those that are remembered.
        detail: what the sender wrote; empty when the record it was about is erased.
        events: oldest first; empty in lists.
    """

    id: int
    kind: TaskKind
    state: TaskState
    outcome: Outcome
    source_id: str
    record_id: str | None
    topic: str
    priority: int
    count: int
    first_us: int
    last_us: int
    opened_us: int
    closed_us: int | None
    detail: Mapping[str, str]
    messages: int = 0
    events: tuple[TaskEvent, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks to list; "" or None = any."""

    state: TaskState | None = TaskState.OPEN
    kind: TaskKind | None = None
    source_id: str = ""
    topic: str = ""
    limit: int = 100
