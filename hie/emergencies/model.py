"""The words of an emergency access (pure).

A privileged user first asks whether a person is known, giving a reason; then opens that person's
record for a time. What was asked and never opened is kept as well: to be told that somebody is
known is a disclosure.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

#: Who may ask: a scope that the issuer of tokens gives to the users of the privileged group.
SCOPE: Final = "emergency/access.ask"


class EmergencyState(StrEnum):
    """How far an access has come."""

    ASKED = "asked"  # its user was told that the person is known; nothing is open
    OPEN = "open"
    ENDED = "ended"  # by time, by its user, or by staff


class Verdict(StrEnum):
    """What the privacy officer found."""

    NONE = ""  # not yet reviewed
    JUSTIFIED = "justified"
    NOT_JUSTIFIED = "not-justified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """A reason as it was stated: a code of `config/consent/emergency.toml`, and words."""

    code: str
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Emergency:
    """One emergency access: of one token and user to one person.

    Attributes:
        person_id: the person as known then; merges are not followed, so that what is opened
            never grows.
        words: of the reason; sealed with the person's key, empty once that is destroyed.
        factors: how the user had signed in, as the token says (`amr`, RFC 8176).
        ended_by: `user`, `staff`, or `merge`: the person's records changed hands; empty while
            it is open, and where its time ended it.
        notice_us: from when on the patient is told.
        task_id: what the privacy officer was alerted with.
    """

    id: int
    token_id: str
    organization: str
    user: str
    person_id: str
    asked_us: int
    code: str
    words: str = ""
    factors: tuple[str, ...] = ()
    opened_us: int | None = None
    expires_us: int | None = None
    ended_us: int | None = None
    ended_by: str = ""
    notice_us: int | None = None
    task_id: int | None = None
    verdict: Verdict = Verdict.NONE
    reviewed_us: int | None = None
    reviewed_by: str = ""

    def state_at(self, now_us: int) -> EmergencyState:
        """How far it has come at this time."""
        if self.opened_us is None or self.expires_us is None:
            return EmergencyState.ASKED
        is_over = self.ended_us is not None or now_us >= self.expires_us
        return EmergencyState.ENDED if is_over else EmergencyState.OPEN

    def end_at(self, now_us: int) -> int:
        """The last moment it could have opened something, up to now."""
        ends = (self.ended_us, self.expires_us, now_us)
        return min(end for end in ends if end is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyEvent:
    """What somebody did to an access; `note` in that person's own words."""

    at_us: int
    action: str
    actor: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """A user who may not break the glass until somebody lifts it.

    Attributes:
        emergency_id: the access that led to it.
    """

    id: int
    organization: str
    user: str
    since_us: int
    by: str
    emergency_id: int
    lifted_us: int | None = None
    lifted_by: str = ""
