"""The closed set of things that go wrong, and the one error that carries them.

Messages are lower case, name the place in backticks and what was expected, and never the
value found: an error text is not a place for patient data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Category(Enum):
    """What kind of fault; each wire has one table from here to its own codes."""

    INVALID = "invalid"  # cannot be read as what it claims to be
    BUSINESS_RULE = "business-rule"  # readable, but breaks a rule of the standard or the hub
    UNSUPPORTED = "not-supported"
    NOT_ACCEPTABLE = "not-acceptable"
    UNSUPPORTED_MEDIA = "unsupported-media"
    TOO_LARGE = "too-large"
    UNAUTHENTICATED = "login"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    GONE = "deleted"
    CONFLICT = "conflict"
    STALE = "stale"  # a version or condition the caller named no longer holds
    BUSY = "transient"
    FAULT = "exception"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One fault, in the words of an OperationOutcome.

    Attributes:
        severity: `fatal`, `error`, `warning` or `information`.
        code: FHIR issue-type code.
        text: for the sender to act on; no patient data.
        expression: FHIRPath of the elements concerned.
    """

    text: str
    code: str = "invalid"
    severity: str = "error"
    expression: tuple[str, ...] = ()


class HieError(Exception):
    """A refusal: its category decides the answer's status on every wire."""

    def __init__(self, category: Category, text: str, issues: Sequence[Issue] = ()) -> None:
        super().__init__(text)
        self.category = category
        self.text = text
        self.issues = tuple(issues)
