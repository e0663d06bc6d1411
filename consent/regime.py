"""The words of the law of a place: labels and code lists, hard rules, defaults, purposes.

Read from `config/consent/` and `config/sensitivity/` by `consent.settings`. `None` is "any at
all". Times are microseconds UTC, ranges half-open.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from zoneinfo import ZoneInfo


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
        name: its file's name without its ending.
        is_ndc: package codes, written with hyphens or without.
    """

    systems: tuple[str, ...]
    is_prefix: bool
    lines: tuple[tuple[str, tuple[str, ...]], ...]
    name: str = ""
    is_ndc: bool = False


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
        named: types whose name is searched too.
        readable: beginnings of media types whose content is searched, `content_bytes` at most.
        takes: type to the types whose labels it takes over where it refers to them; `*` = all.
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
    named: frozenset[str] = frozenset()
    readable: tuple[str, ...] = ()
    content_bytes: int = 0
    takes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HardRule:
    """A deny by law and the consent that lifts it.

    Attributes:
        class_purposes: purposes for which that consent need not name its recipients one by one;
            for any other it must.
        opens_in_emergency: the law itself makes an exception for emergencies.
        from_us, to_us: when it holds; half-open, None = open.
    """

    name: str
    labels: tuple[str, ...]
    is_everywhere: bool
    lifted_by: frozenset[str]
    is_alone: bool
    law: str
    obligation: str
    class_purposes: frozenset[str] = frozenset()
    opens_in_emergency: bool = False
    from_us: int | None = None
    to_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakGlass:
    """What an emergency access opens where no consent speaks of it, and on which terms.

    Attributes:
        is_allowed: it opens what nobody consented to; else it opens what a consent that names
            the emergency purpose permits, and that alone.
        overrides_patient_deny: what the patient denied in general holds no more.
        heeds_named_deny: a denial that names the emergency purpose itself holds even so.
        needs_second_factor: a token that shows none is refused; else it is recorded only.
        minutes: how long one access lasts.
        never: labels it never opens, beside those of hard rules that know no emergency.
        law: why.
    """

    is_allowed: bool = False
    overrides_patient_deny: bool = False
    heeds_named_deny: bool = True
    needs_second_factor: bool = True
    minutes: int = 60
    never: tuple[str, ...] = ()
    law: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimeRule:
    """What the regime says where no consent speaks; None = any, times half-open.

    Attributes:
        labels, types, sources: the category of data: how sensitive, what kind, who sent it.
    """

    effect: Literal["permit", "deny"]
    purposes: frozenset[str] | None
    labels: tuple[str, ...] | None
    types: frozenset[str] | None
    sources: frozenset[str] | None
    from_us: int | None
    to_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """The law of the place: defaults, and hard rules beyond those that hold everywhere.

    Attributes:
        jurisdiction: whose law it is, `US-MA` as ISO 3166-2 writes it.
        trusts_attested: a source's word that the patient verified a consent counts.
    """

    name: str
    title: str
    jurisdiction: str
    time_zone: ZoneInfo
    trusts_attested: bool
    hard: frozenset[str]
    rules: tuple[RegimeRule, ...]
    break_glass: BreakGlass = field(default_factory=BreakGlass)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purposes:
    """Purposes of use by subsumption."""

    systems: frozenset[str]
    parents: Mapping[str, str]
    exact: frozenset[str]
    needs_reason: frozenset[str]

    def known(self) -> frozenset[str]:
        """Every code that is related to another or has terms of its own."""
        related = (*self.parents, *self.parents.values())
        return frozenset({*related, *self.exact, *self.needs_reason})

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
    role_systems: frozenset[str]
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
