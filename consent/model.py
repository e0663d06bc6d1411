"""The words of a decision: what was wished and asked, what was decided and why, by which law.

Sets are "any of these", `None` is "any at all", an empty set is "none". Several elements of
one rule must all hold. Times are microseconds UTC, ranges half-open.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal
from zoneinfo import ZoneInfo

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
        break_glass: the reason given with an emergency purpose.
    """

    grantees: frozenset[str] = frozenset()
    purpose: str = "TREAT"
    action: str = "access"
    now_us: int = 0
    own_sources: frozenset[str] = frozenset()
    self_person: str | None = None
    is_steward: bool = False
    break_glass: str | None = None


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
    DEFAULT_PERMIT = "default-permit"
    DEFAULT_DENY = "default-deny"


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
    """

    consent_id: str
    version: int
    path: str
    effect: Effect
    speaks: bool
    note: str = ""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One step of confidentiality; the lower ones have no bit."""

    code: str
    display: str
    bit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One sensitivity: its place in the mask and what a consent that names it also means."""

    code: str
    system: str
    display: str
    bit: int
    implies: str
    covers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeList:
    """Codes of one kind of system and the labels they bring.

    Attributes:
        is_prefix: a code stands for all below it, `A00-A09` for a range.
    """

    systems: tuple[str, ...]
    is_prefix: bool
    lines: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WordLine:
    """A phrase (lower-case words) that brings labels, unless one of `unless` is near."""

    phrase: tuple[str, ...]
    labels: tuple[str, ...]
    unless: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """`config/sensitivity/`: labels, code lists, words, sources.

    Attributes:
        systems: every URI of the vocabularies the labels come from.
        aliases: other codes a sender may use, to the label's.
        text_elements: names of the elements whose text is searched for `words`.
    """

    confidentiality_system: str
    systems: frozenset[str]
    aliases: Mapping[str, str]
    text_elements: frozenset[str]
    levels: tuple[Level, ...]
    normal: str
    labels: tuple[Label, ...]
    unknown: str
    handling_systems: frozenset[str]
    handling_codes: frozenset[str]
    lists: tuple[CodeList, ...]
    words: tuple[WordLine, ...]
    sources: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HardRule:
    """A deny by law and the consent that lifts it."""

    name: str
    labels: tuple[str, ...]
    is_everywhere: bool
    lifted_by: frozenset[str]
    is_alone: bool
    law: str
    obligation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimeRule:
    """What the regime says where no consent speaks; None = any, times half-open."""

    effect: Literal["permit", "deny"]
    purposes: frozenset[str] | None
    labels: tuple[str, ...] | None
    from_us: int | None
    to_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """The law of the place: defaults, and hard rules beyond those that hold everywhere.

    Attributes:
        trusts_attested: a source's word that the patient verified a consent counts.
    """

    name: str
    title: str
    time_zone: ZoneInfo
    trusts_attested: bool
    hard: frozenset[str]
    rules: tuple[RegimeRule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Purposes:
    """Purposes of use by subsumption."""

    systems: frozenset[str]
    parents: Mapping[str, str]
    exact: frozenset[str]
    needs_reason: frozenset[str]

    def expand(self, purpose: str) -> frozenset[str]:
        """The purpose and all that subsumes it; an exact one stands alone."""
        found = [purpose]
        while found[-1] not in self.exact and found[-1] in self.parents:
            found.append(self.parents[found[-1]])
        return frozenset(found[:1] + [code for code in found[1:] if code not in self.exact])


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A base decision that a Consent takes over by naming it."""

    effect: Literal["permit", "deny"]
    purposes: frozenset[str] | None
    labels: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What the codes of a Consent mean; what is not here is not understood.

    Attributes:
        terms: meaning by element (`status`, `scope`, `action`, `actor`, `data`) and code.
    """

    terms: Mapping[str, Mapping[str, str]]
    research_purposes: frozenset[str]
    actor_types: frozenset[str]
    encounter_types: frozenset[str]
    class_system: str
    types: frozenset[str]
    code_systems: frozenset[str]
    policies: Mapping[str, Policy]


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A decision in plain words, by kind of reason and by note."""

    staff: Mapping[str, str]
    patient: Mapping[str, str]
    notes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentSettings:
    """Everything a decision depends on beside the consents themselves."""

    regime: Regime
    hard_rules: tuple[HardRule, ...]
    obligations: Mapping[str, str]
    purposes: Purposes
    vocabulary: Vocabulary
    words: Words
    sensitivity: Sensitivity
