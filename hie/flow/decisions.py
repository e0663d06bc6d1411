"""What an identity steward asks for, and what came of it: frozen values, no work.

One class per kind of decision; every one may name the review task that it answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self, TypeAlias

from hie.kernel.context import RequestContext
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId, SourceRecordId
from hie.store.moved import Item
from mpi.model import Actor, DecisionKind, PersonMove


@dataclass(frozen=True, slots=True, kw_only=True)
class Steward:
    """Who decides, and why.

    Attributes:
        name: the user, as audit events name them.
        reason: a code, kept in clear.
        words: why, in the steward's words; sealed, because they may name the patient.
        organization, purpose, request_id, token_id: of the request, where there is one.
    """

    name: str
    reason: str = ""
    words: str = ""
    organization: str | None = None
    purpose: str = ""
    request_id: str = ""
    token_id: str = ""

    @classmethod
    def of(cls, ctx: RequestContext, *, reason: str = "", words: str = "") -> Self:
        """The steward whom a request speaks for."""
        caller = ctx.caller
        return cls(
            name=caller.user or caller.token_id,
            reason=reason,
            words=words,
            organization=caller.organization,
            purpose=caller.purpose,
            request_id=ctx.request_id,
            token_id=caller.token_id,
        )

    def actor(self, now_us: int, batch_id: int | None = None) -> Actor:
        """The steward as the ledger writes them down."""
        return Actor(
            name=f"steward:{self.name}",
            now_us=now_us,
            reason=self.reason or "steward",
            words=self.words,
            batch_id=batch_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Two persons are one human; the id `gone` redirects to `kept` from then on."""

    kept: PersonId
    gone: PersonId
    task: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A record is another person's."""

    record: SourceRecordId
    person: PersonId
    task: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlink:
    """A record is none of its person's: it gets a person of its own."""

    record: SourceRecordId
    task: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Some records of a person are another human's: they get a new person together."""

    person: PersonId
    records: frozenset[SourceRecordId]
    task: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """Two persons are two humans: nobody is asked again."""

    one: PersonId
    other: PersonId
    task: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """A record is where it belongs."""

    record: SourceRecordId
    task: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """What becomes of demographics that contradict a record: taken over, or refused."""

    task: int
    is_accepted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewConsents:
    """The consents of the persons a decision changed may hold as they are now.

    Attributes:
        decision: after which the strictest of all sides held.
    """

    decision: int
    task: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """A decision was wrong."""

    decision: int
    task: int | None = None


Request: TypeAlias = (
    Merge | Link | Unlink | Split | Reject | Confirm | Overlay | ReviewConsents | Undo
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a decision did.

    Attributes:
        decision_id: what to take back to undo it.
        persons: whom it concerned.
        moves: records that changed their person.
        resources: how many resources followed them, by type.
        kept: of an undo, records that a later decision has moved since: left where they are.
        arrived: of an undo, records that came while what parts now was one person's: left where
            they are, and asked about.
        left: of an undo, resources that a later message has changed since: left as they are.
        corrections: disclosures that showed as one what is two, for `Stewards.corrections`.
    """

    decision_id: int
    kind: DecisionKind
    persons: tuple[PersonId, ...] = ()
    moves: tuple[PersonMove, ...] = ()
    resources: Mapping[str, int] = field(default_factory=dict)
    kept: tuple[SourceRecordId, ...] = ()
    arrived: tuple[SourceRecordId, ...] = ()
    left: tuple[Item, ...] = ()
    corrections: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a decision would do; nothing of it is done.

    Attributes:
        done: as it would be; its decision id means nothing.
        before, after: golden Patients by person id, of all source records; None where the
            person has no records.
    """

    done: Done
    before: Mapping[PersonId, FhirJson | None]
    after: Mapping[PersonId, FhirJson | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItem:
    """What became of one request of a batch: done, or the reason it was refused."""

    request: Request
    done: Done | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch of decisions, each one to be taken back alone or all together.

    Attributes:
        is_done: whether anything was stored.
    """

    batch_id: int
    items: tuple[BatchItem, ...]
    is_done: bool
