"""The decision before any resource is looked at: whether anything may be shown, and what (pure).

IHE PCF decides once per request, permit or deny, and leaves to the resource server what depends
on the data: the residual, as clauses that forbid or permit. `decide` judges each resource whole;
this file says the same of all of them at once. Its deny is certain: nothing of the patient may be
shown. Its permit is as far as the clauses go.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from consent.evaluate import Law, applies, decide
from consent.model import (
    AccessRequest,
    Directive,
    Effect,
    Obligation,
    Reason,
    ReasonKind,
    ResourceFacts,
    Rule,
)
from hie.store.residual import DefaultRule, Residual

_SPEAKING: Final = (Effect.PERMIT, Effect.DENY, Effect.SPARE)
#: Settled by who asks, whatever the patient said.
_SETTLED: Final = (ReasonKind.NO_ORGANIZATION, ReasonKind.NO_REASON, ReasonKind.OWN_RECORD)


class Verb(StrEnum):
    """What a clause does with the data it describes."""

    FORBID = "forbid"
    PERMIT = "permit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One condition on the data.

    Attributes:
        rule: of a consent or the regime, whose conditions on the data it has; None = the law's.
        consent_id: where the rule stands, with `version`; empty where the regime says so.
        label_mask: of the law; None = any.
        hard: the name of the law that forbids; empty where it is none.
    """

    verb: Verb
    rule: Rule | None = None
    consent_id: str = ""
    version: int = 0
    label_mask: int | None = None
    hard: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Whether a request may be shown anything of a patient.

    Attributes:
        reasons: what settled it; never empty.
        clauses: what it still depends on; empty where everything, or nothing, may be shown.
        obligations: of what a consent lifted for this request.
        silent: consents that say nothing of this request, and which part of theirs does not fit.
    """

    effect: Effect
    reasons: tuple[Reason, ...]
    clauses: tuple[Clause, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    silent: tuple[Reason, ...] = ()


def gate(request: AccessRequest, person_id: str, directives: Sequence[Directive], law: Law) -> Gate:
    """The decision on a request, whatever the resource.

    Args:
        request: who asks, for what purpose, when.
        person_id: the patient.
        directives: the Consents of the patient, also those without effect.
        law: regime, hard rules, labels.
    """
    residual = law.residual(request)
    anything = ResourceFacts(type="", id="", source_id="", person_id=person_id)
    first = decide(request, anything, (), law)
    if first.reasons[0].kind in _SETTLED:
        kept = residual.withheld_mask if first.is_permitted else 0
        clauses = (Clause(verb=Verb.FORBID, label_mask=kept),) if kept else ()
        return Gate(effect=first.effect, reasons=first.reasons, clauses=clauses)
    return _Weighing(residual, law, sorted(directives, key=lambda one: one.consent_id)).gate()


class _Weighing:
    """One request against the consents of one patient."""

    def __init__(self, residual: Residual, law: Law, directives: Sequence[Directive]) -> None:
        self._residual = residual
        self._law = law
        self._directives = directives
        self._asked = {
            directive.consent_id: _in_question(directive, residual) for directive in directives
        }

    def gate(self) -> Gate:
        silent = tuple(self._silent())
        denied = [
            _reason(d, rule, ReasonKind.CONSENT_DENY)
            for d, rule in self._of(Effect.DENY)
            if _is_total(rule, self._asked[d.consent_id])
        ]
        permits = list(self._of(Effect.PERMIT))
        by_regime = self._regime_permits()
        if denied:
            return Gate(effect=Effect.DENY, reasons=_each(denied), silent=silent)
        if not permits and not by_regime:
            nothing = Reason(kind=ReasonKind.DEFAULT_DENY)
            return Gate(effect=Effect.DENY, reasons=(nothing,), silent=silent)
        why = _each(_reason(d, rule, ReasonKind.CONSENT_PERMIT) for d, rule in permits)
        return Gate(
            effect=Effect.PERMIT,
            reasons=why or self._default_reasons(),
            clauses=tuple(self._clauses(permits)),
            obligations=self._law.obligations(self._freed()),
            silent=silent,
        )

    def _of(self, effect: Effect) -> Iterator[tuple[Directive, Rule]]:
        """The rules of an effect that may speak of some resource."""
        for directive in self._directives:
            asked = self._asked[directive.consent_id]
            for rule in asked:
                is_silenced = any(_is_below(one, rule) and _is_plain(one) for one in asked)
                if rule.effect is effect and not is_silenced:
                    yield directive, rule

    def _clauses(self, permits: Sequence[tuple[Directive, Rule]]) -> Iterator[Clause]:
        yield from self._held()
        is_open = self._is_open(permits)
        if not is_open:
            yield Clause(verb=Verb.FORBID)
        for directive, rule in permits:
            is_exception = any(
                _is_below(rule, one) and one.effect is Effect.DENY
                for one in self._asked[directive.consent_id]
            )
            if is_exception or not (is_open or _is_plain(rule)):
                yield _clause(Verb.PERMIT, directive, rule)
        for default in self._residual.defaults:
            rule = _rule_of(default)
            if default.effect == "deny":
                yield Clause(verb=Verb.FORBID, rule=rule)
            elif not is_open:
                yield Clause(verb=Verb.PERMIT, rule=rule)
        for directive, rule in self._of(Effect.DENY):
            yield _clause(Verb.FORBID, directive, rule)

    def _is_open(self, permits: Sequence[tuple[Directive, Rule]]) -> bool:
        """Whether what no clause forbids is permitted, whatever it is."""
        return any(_is_plain(rule) for _, rule in permits) or any(
            default.effect == "permit" and _is_plain(_rule_of(default))
            for default in self._residual.defaults
        )

    def _regime_permits(self) -> bool:
        defaults = self._residual.defaults
        is_denied = any(d.effect == "deny" and _is_plain(_rule_of(d)) for d in defaults)
        return not is_denied and any(d.effect == "permit" for d in defaults)

    def _default_reasons(self) -> tuple[Reason, ...]:
        is_emergency = self._residual.only_persons is not None
        kind = ReasonKind.EMERGENCY if is_emergency else ReasonKind.DEFAULT_PERMIT
        return (Reason(kind=kind),)

    def _lifts(self) -> Iterator[tuple[Directive, Rule]]:
        for directive in self._directives:
            for rule in directive.rules:
                if rule.effect is Effect.LIFT and applies(self._residual, rule):
                    yield directive, rule

    def _freed(self) -> int:
        mask = 0
        for _, rule in self._lifts():
            mask |= rule.label_mask or 0
        return mask

    def _held(self) -> Iterator[Clause]:
        """What the law forbids, and as far as a consent lifts that, what it permits again."""
        for bit in self._residual.hard_bits:
            lifts = [(d, rule) for d, rule in self._lifts() if (rule.label_mask or 0) & bit]
            if any(_has_no_conditions(rule) for _, rule in lifts):
                continue
            yield Clause(verb=Verb.FORBID, label_mask=bit, hard=self._law.rule_of(bit).law)
            for directive, rule in lifts:
                yield _clause(Verb.PERMIT, directive, rule)

    def _silent(self) -> Iterator[Reason]:
        for directive in self._directives:
            if not self._asked[directive.consent_id]:
                note = directive.ignored or _unasked(directive.rules, self._residual)
                yield Reason(
                    kind=ReasonKind.SILENT,
                    consent_id=directive.consent_id,
                    version=directive.version,
                    note=note,
                )


def _in_question(directive: Directive, residual: Residual) -> list[Rule]:
    """The rules about this request; denials that an emergency overrides are none."""
    found = [r for r in directive.rules if r.effect in _SPEAKING and applies(residual, r)]
    if residual.denials == "all":
        return found
    is_named = residual.denials == "named"
    return [
        rule
        for rule in found
        if rule.effect is not Effect.DENY
        or (is_named and (rule.purposes is not None or bool(rule.note)))
    ]


def _unasked(rules: Sequence[Rule], residual: Residual) -> str:
    """Why no rule of a consent is in question, as a note."""
    # A denial about this request always is, but for an emergency access that goes before it.
    if any(rule.effect is Effect.DENY and applies(residual, rule) for rule in rules):
        return "overridden"
    return _misfit(rules, residual)


def _misfit(rules: Sequence[Rule], residual: Residual) -> str:
    """Which part of the outermost rule does not fit the request, as a note."""
    rule = min(rules, key=lambda one: len(one.path), default=None)
    if rule is None:
        return "empty"
    if rule.valid_from_us is not None and residual.now_us < rule.valid_from_us:
        return "not-yet"
    if rule.valid_to_us is not None and residual.now_us >= rule.valid_to_us:
        return "over"
    if rule.grantees is not None and not rule.grantees & residual.grantees:
        return "other-recipient"
    if rule.purposes is not None and not rule.purposes & residual.purposes:
        return "other-purpose"
    return "other-action"


def _is_below(one: Rule, other: Rule) -> bool:
    return one.path != other.path and one.path.startswith(other.path)


def _has_no_conditions(rule: Rule) -> bool:
    """Whether a rule asks nothing of the data but its labels."""
    found = (rule.types, rule.sources, rule.targets, rule.codes, rule.records)
    dates = (rule.date_lo_us, rule.date_hi_us)
    return all(one is None for one in (*found, *dates))


def _is_plain(rule: Rule) -> bool:
    """Whether a rule asks nothing of the data."""
    return _has_no_conditions(rule) and rule.label_mask is None


def _is_total(deny: Rule, asked: Sequence[Rule]) -> bool:
    """Whether a denial speaks of every resource: it asks nothing of it, and knows no exception."""
    opening = (Effect.PERMIT, Effect.SPARE)
    return _is_plain(deny) and not any(
        _is_below(one, deny) and one.effect in opening for one in asked
    )


def _rule_of(default: DefaultRule) -> Rule:
    """What the regime says, as a rule of no consent."""
    return Rule(
        path="",
        effect=Effect(default.effect),
        label_mask=default.label_mask,
        types=default.types,
        sources=default.sources,
    )


def _reason(directive: Directive, rule: Rule, kind: ReasonKind) -> Reason:
    return Reason(
        kind=kind,
        consent_id=directive.consent_id,
        version=directive.version,
        path=rule.path,
        note=rule.note,
    )


def _each(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    return tuple(dict.fromkeys(reasons))


def _clause(verb: Verb, directive: Directive, rule: Rule) -> Clause:
    return Clause(verb=verb, rule=rule, consent_id=directive.consent_id, version=directive.version)
