"""The words of a decision: what was wished and asked, what was decided and why, by which law.

Sets are "any of these", `None` is "any at all", an empty set is "none". Several elements of
one rule must all hold. Times are microseconds UTC, ranges half-open.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

#: The grantee that stands for every organisation.
ANYONE: Final = "*"
#: The grantee that stands for a person of an organisation whose name the request does not say.
UNNAMED: Final = "Practitioner/*"
#: (system, code)
Code = tuple[str, str]


class Effect(StrEnum):
    """What a rule does.

    A lift frees hard labels and permits nothing by itself. A spare is the permit of a consent
    that may not open anything here: it keeps the denials above it from speaking, as the permit
    does, and permits nothing.
    """

    PERMIT = "permit"
    DENY = "deny"
    LIFT = "lift"
    SPARE = "spare"


class TargetKind(StrEnum):
    """How a resource may stand to what `provision.data` names."""

    INSTANCE = "instance"  # is it
    AUTHOR = "author"  # refers to it
    ENCOUNTER = "encounter"  # is it or refers to it
    SOURCE = "source"  # was sent by that feed


@dataclass(frozen=True, slots=True)
class Target:
    """One thing `provision.data` names: `Type/id`, or a source id."""

    kind: TargetKind
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One provision with what it takes over from those above it.

    Attributes:
        path: `/` for the base, `/1/2/` for the second provision of its first.
        note: why the rule is stricter than written; empty when it is as written.
        grantees: `Organization/<id>` and the like; None = every organisation.
        label_mask: covered by a permit, shared by a deny, freed by a lift.
        records: source records whose resources it is about; None = any.
    """

    path: str
    effect: Effect
    note: str = ""
    grantees: frozenset[str] | None = None
    purposes: frozenset[str] | None = None
    actions: frozenset[str] | None = None
    types: frozenset[str] | None = None
    sources: frozenset[str] | None = None
    targets: frozenset[Target] | None = None
    codes: frozenset[Code] | None = None
    label_mask: int | None = None
    date_lo_us: int | None = None
    date_hi_us: int | None = None
    valid_from_us: int | None = None
    valid_to_us: int | None = None
    records: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """One Consent, read: its rules in the order of its provisions.

    Attributes:
        ignored: why a Consent has no rules (`not-active`, `not-privacy`); empty otherwise.
    """

    consent_id: str
    version: int = 1
    rules: tuple[Rule, ...] = ()
    ignored: str = ""

    @property
    def widens(self) -> bool:
        """Whether any of its rules opens something."""
        return any(rule.effect is not Effect.DENY for rule in self.rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """Who asks for what purpose.

    Attributes:
        grantees: names of the caller in consents; empty = acts for no organisation.
        own_sources: feeds whose resources are the caller's own.
        self_person: the person who asks about the own record.
        withheld_mask: labels of that record kept from who asks in the person's place.
        break_glass: persons whom an emergency access, its reason stated, opens to the caller now.
    """

    grantees: frozenset[str] = frozenset()
    purpose: str = "TREAT"
    action: str = "access"
    now_us: int = 0
    own_sources: frozenset[str] = frozenset()
    self_person: str | None = None
    withheld_mask: int = 0
    is_steward: bool = False
    break_glass: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceFacts:
    """What a decision needs to know of a resource.

    Attributes:
        source_record_id: under which of the person's records it is filed.
        references: `Type/id` of everything the index knows it refers to.
        codes: every (system, code) the index knows of it.
        is_partial: dates, references and codes were not read. A permit is then taken to
            match and a deny not to: what is still denied is denied for certain.
    """

    type: str
    id: str
    source_id: str
    person_id: str | None
    source_record_id: str | None = None
    label_mask: int = 0
    clinical_lo_us: int | None = None
    clinical_hi_us: int | None = None
    references: frozenset[str] = frozenset()
    codes: frozenset[Code] = frozenset()
    is_partial: bool = False


class ReasonKind(StrEnum):
    """What settled a decision; each has its words in `config/consent/words.toml`."""

    DIRECTORY = "directory"
    OWN_SOURCE = "own-source"
    OWN_RECORD = "own-record"
    STEWARD = "steward"
    NO_PERSON = "no-person"
    NO_ORGANIZATION = "no-organization"
    NO_REASON = "no-reason"
    HARD_RULE = "hard-rule"
    CONSENT_DENY = "consent-deny"
    CONSENT_PERMIT = "consent-permit"
    EMERGENCY = "emergency"
    DEFAULT_PERMIT = "default-permit"
    DEFAULT_DENY = "default-deny"
    SILENT = "silent"  # beside another: a consent that says nothing of this request


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One thing that settled a decision.

    Attributes:
        consent_id, version, path: the provision that spoke; empty where none did.
        label: code of the label a hard rule holds back.
        note: why the provision is stricter than written.
    """

    kind: ReasonKind
    consent_id: str = ""
    version: int = 0
    path: str = ""
    label: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rule that matched, for the trace.

    Attributes:
        speaks: False where a deeper rule of the same Consent spoke instead.
        is_general: the rule is about any purpose, and is as strict as it was written.
    """

    consent_id: str
    version: int
    path: str
    effect: Effect
    speaks: bool
    note: str = ""
    is_general: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """What must also be done with a disclosure."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Permit or deny, and why.

    Attributes:
        effect: PERMIT or DENY.
        reasons: what settled it; never empty.
        trace: every rule that matched, whether or not it spoke.
        obligations: of a permit.
    """

    effect: Effect
    reasons: tuple[Reason, ...]
    trace: tuple[Step, ...] = ()
    obligations: tuple[Obligation, ...] = field(default=())

    @property
    def is_permitted(self) -> bool:
        """Whether the resource may be shown."""
        return self.effect is Effect.PERMIT
