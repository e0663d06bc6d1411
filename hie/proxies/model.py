"""Relationships, and what came of looking at one: frozen values (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hie.kernel.context import Caller
from hie.kernel.ids import PersonId

#: How a token's user names the relationship by which it opens another's record.
USER_PREFIX: Final = "RelatedPerson/"


class Custody(StrEnum):
    """What a court, or nobody, said of a parent's or guardian's rights."""

    UNSAID = "unsaid"
    SOLE = "sole"
    JOINT = "joint"
    ENDED = "ended"


class Because(StrEnum):
    """Why a relationship opens nothing now; for staff and the two persons, never for a caller."""

    UNKNOWN = "unknown"
    ENDED = "ended"
    NOT_ACCEPTED = "not-accepted"
    NOT_YET = "not-yet"
    OVER = "over"
    STOPPED = "stopped"
    NO_CUSTODY = "no-custody"
    NO_DOCUMENT = "no-document"
    BIRTH_DATE = "birth-date"
    OF_AGE = "of-age"
    NOT_OF_AGE = "not-of-age"
    AWAITS_REVIEW = "awaits-review"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relationship:
    """One person's standing in another's place, as the database knows it in clear.

    Attributes:
        id: of the FHIR RelatedPerson too.
        person: whose record it opens.
        proxy: who opens it; None while nobody proved to be that person.
        kind, scope: keys of the policy.
        has_document: a paper is on file.
        named_mask: labels that the paper or the patient named in so many words.
        vouched_us: when somebody last looked at who the two persons are.
        from_us, to_us: when it holds; None = open.
        stopped_us: a custody stop holds since then; None = none does.
        ended_us: for ever; None = not ended.
        version: goes up with each change.
    """

    id: str
    person: PersonId
    proxy: PersonId | None
    kind: str
    scope: str
    custody: Custody
    has_document: bool
    named_mask: int
    recorded_us: int
    vouched_us: int
    from_us: int | None
    to_us: int | None
    accepted_us: int | None
    stopped_us: int | None
    ended_us: int | None
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Human:
    """What a judgement needs of the two persons, as of now.

    Attributes:
        births: FHIR birth dates of every record of whom it is about.
        is_settled: neither person was merged or parted since somebody vouched for them.
    """

    births: Sequence[str]
    is_settled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What somebody may see in another's place now.

    Attributes:
        types: resource types beside directory ones; None = any.
        writes: types that may be written too.
        withheld_mask: labels that are kept back.
        band: name of the bracket of age; "" for an adult's.
    """

    types: frozenset[str] | None
    writes: frozenset[str]
    withheld_mask: int
    band: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a relationship opens anything now: its rights, or why not."""

    rights: Rights | None = None
    because: Because | None = None


def relationship_of(caller: Caller) -> str:
    """The relationship by which a caller opens another's record; "" where it opens its own."""
    user = caller.user or ""
    return user.removeprefix(USER_PREFIX) if user.startswith(USER_PREFIX) else ""


def is_proxy(caller: Caller) -> bool:
    """Whether a caller looks at a record in the patient's place."""
    return caller.patient is not None and (caller.user or "").startswith(USER_PREFIX)
