"""What an adapter is handed and what it hands on: the values between wire, sink and journal."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from hie.kernel.envelope import Finding
from hie.kernel.ids import MessageId, SourceId


class Wire(StrEnum):
    """How a message came in."""

    MLLP = "mllp"
    HTTP = "hl7-http"
    DROP = "drop"
    FHIR = "fhir"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlace:
    """Where in a batch a message came.

    Attributes:
        batch_id: key of the batch in the journal.
        number: 1 for its first message, over all its levels.
    """

    batch_id: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The other end of a connection, as the transport knows it.

    Attributes:
        address: `host:port`.
        certificate: SHA-256 fingerprint of the verified client certificate, lower-case hex.
        subject: common name of that certificate.
        source_id: whose the way in is: a drop folder of one source; None = not told by it.
        batch: where in a batch the payload came; None = alone.
        quirks: what the payload's frame had that MLLP does not know, as names of rules.
        reads_for: sources whose organisation proved itself with a bearer token that may read
            patients; None = no token was asked for.
        speaks_for: sources of the organisation that the token is of; None = no token was asked
            for.
        writes_for: the same, where the token may write.
    """

    address: str
    wire: Wire
    certificate: str | None = None
    subject: str | None = None
    source_id: SourceId | None = None
    batch: BatchPlace | None = None
    quirks: frozenset[str] = frozenset()
    reads_for: frozenset[SourceId] | None = None
    speaks_for: frozenset[SourceId] | None = None
    writes_for: frozenset[SourceId] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceStep:
    """A source's sequence number moving on with a message it counted.

    Attributes:
        before: the last number accepted until now; None = none yet.
        after: from now on; None = the next one decides.
    """

    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One message as received, with the answer it is to get.

    Attributes:
        control_id: MSH-10 as sent; with source and content hash the idempotency key.
        content_hash: SHA-256 of the payload, 32 bytes.
        is_accepted: whether the sender may forget the message; else it is kept as refused.
        trigger: `ADT^A01`; empty when the message could not be read that far.
        partition: messages of equal partition are worked off in order, one at a time.
        partitions: further ones it needs: a patient's other numbers, the other patients of a
            merge or a move.
        answer: what to send back unless the message is a repeat; empty = nothing.
        application: when its outcome is told to the sender's own listener: `AL`, `ER`, `SU`,
            empty = never.
        step: stored with it; None = the message is not numbered.
        is_momentary: its answer is all there is to it: a query, or a message that only asks for
            the expected sequence number. There is nothing to work off, and a repeat of it is
            answered afresh.
        batch: where it came in a batch; None = alone.
    """

    source_id: SourceId
    wire: Wire
    control_id: str
    payload: bytes
    content_hash: bytes
    is_accepted: bool
    trigger: str
    partition: str
    findings: tuple[Finding, ...]
    answer: bytes
    batch: BatchPlace | None = None
    application: str = ""
    partitions: tuple[str, ...] = ()
    step: SequenceStep | None = None
    is_momentary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Journaled:
    """What the journal did with an entry.

    Attributes:
        answer: what to send: the first answer where the entry repeats an accepted one.
        is_repeat: nothing was stored.
        is_control_id_reused: the control id came before, with other content.
    """

    message_id: MessageId
    answer: bytes
    is_repeat: bool = False
    is_control_id_reused: bool = False


class JournalPort(Protocol):
    """Where messages become durable."""

    async def write(self, entry: JournalEntry) -> Journaled:
        """The outcome, after the commit.

        Raises:
            HieError: nothing was stored and nothing may be acknowledged.
        """
        ...

    async def first_answer(self, entry: JournalEntry) -> bytes | None:
        """The answer that the accepted message which this one repeats got; None = none such."""
        ...

    async def last_sequence(self, source_id: SourceId) -> int | None:
        """The last sequence number accepted from a source; None = none yet."""
        ...


class Sink(Protocol):
    """Whom a receiver hands its payloads to."""

    async def take(self, payload: bytes, peer: Peer) -> bytes | None:
        """What to send back, after it is durable; None = nothing."""
        ...


class FrameSink(Sink, Protocol):
    """A sink that also answers what was too long to be kept."""

    async def refuse_oversize(self, head: bytes, peer: Peer) -> bytes | None:
        """What to send back for a message of which only the beginning was kept."""
        ...
