"""Request + resource + directives to Decision (pure, total): the definition of what may be seen.

Order: hard rule not lifted > patient's deny > patient's permit > the regime's default. An
emergency access, its reason stated, opens one person; which hard rules make an exception for it
and which denials it overrides is the regime's `[break_glass]`. Within one Consent, along each
branch the deepest matching rule speaks; among those that speak, and across Consents, deny wins.
Nothing depends on the order of the directives.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from consent.law import Law, in_time, meets
from consent.model import (
    AccessRequest,
    Decision,
    Directive,
    Effect,
    Reason,
    ReasonKind,
    ResourceFacts,
    Rule,
    Step,
    Target,
    TargetKind,
)
from hie.store.residual import DIRECTORY_TYPES, DefaultRule, Denials, Residual

__all__ = ["Judge", "Law", "applies", "decide", "in_words", "matches", "sentences"]

_SPEAKING: Final = (Effect.PERMIT, Effect.DENY, Effect.SPARE)


def decide(
    request: AccessRequest, facts: ResourceFacts, directives: Iterable[Directive], law: Law
) -> Decision:
    """Whether the caller may know that the resource exists, and why.

    Args:
        request: who asks, for what purpose, when.
        facts: the resource; one of several persons is judged once for each of them.
        directives: the Consents of `facts.person_id` that are in effect, in any order.
        law: regime, hard rules, labels.
    """
    return Judge(request, law).decide(facts, tuple(directives))


class Judge:
    """`decide` for one request and many resources: the request side is worked out once."""

    def __init__(self, request: AccessRequest, law: Law) -> None:
        self._request = request
        self._law = law
        self._residual = law.residual(request)

    def decide(self, facts: ResourceFacts, directives: Sequence[Directive]) -> Decision:
        """Whether the caller may know that the resource exists, and why."""
        residual, law = self._residual, self._law
        exempt = _exempt(residual, facts)
        if exempt is not None:
            return Decision(effect=Effect.PERMIT, reasons=(Reason(kind=exempt),))
        refused = _refused(self._request, residual, facts)
        if refused is not None:
            return Decision(effect=Effect.DENY, reasons=(Reason(kind=refused),))
        found = [step for directive in directives for step in _steps(residual, facts, directive)]
        steps = tuple(sorted(found, key=lambda step: (step.consent_id, step.path, step.effect)))
        effect, reasons = next(
            (effect, reasons)
            for effect, reasons in (
                (Effect.DENY, tuple(_held(residual, facts, directives, law))),
                (Effect.DENY, _spoken(_counting(steps, residual.denials), Effect.DENY)),
                (Effect.PERMIT, _spoken(steps, Effect.PERMIT)),
                _by_default(residual, facts),
            )
            if reasons
        )
        obligations = law.obligations(facts.label_mask) if effect is Effect.PERMIT else ()
        return Decision(effect=effect, reasons=reasons, trace=steps, obligations=obligations)


def in_words(decision: Decision, law: Law) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The reasons of a decision as sentences: (for staff, for the patient)."""
    return sentences(decision.reasons, law)


def sentences(reasons: Iterable[Reason], law: Law) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Reasons as sentences, each once: (for staff, for the patient)."""
    words = law.settings.words
    staff, patient = [], []
    for reason in reasons:
        hard = law.rule_of(law.labels.bits([reason.label])) if reason.label else None
        facts = {
            "consent": reason.consent_id,
            "version": reason.version,
            "path": reason.path,
            "label": reason.label,
            "law": hard.law if hard else "",
            "regime": law.settings.regime.title,
        }
        note = words.notes.get(reason.note, "")
        staff.append(f"{words.staff[reason.kind].format(**facts)} {note}".strip())
        unread = words.notes["patient"] if note and reason.kind is ReasonKind.CONSENT_DENY else ""
        patient.append(f"{words.patient[reason.kind].format(**facts)} {unread}".strip())
    return tuple(dict.fromkeys(staff)), tuple(dict.fromkeys(patient))


def _exempt(residual: Residual, facts: ResourceFacts) -> ReasonKind | None:
    if facts.type in DIRECTORY_TYPES and facts.person_id is None:
        return ReasonKind.DIRECTORY
    if facts.source_id in residual.own_sources:
        return ReasonKind.OWN_SOURCE
    is_own = residual.self_person is not None and facts.person_id == residual.self_person
    if is_own and not facts.label_mask & residual.withheld_mask:
        return ReasonKind.OWN_RECORD
    if residual.sees_source_records and facts.type == "Patient":
        return ReasonKind.STEWARD
    return None


def _refused(request: AccessRequest, residual: Residual, facts: ResourceFacts) -> ReasonKind | None:
    if facts.person_id is None:
        return ReasonKind.NO_PERSON
    if not request.grantees:
        return ReasonKind.NO_ORGANIZATION
    only = residual.only_persons
    return ReasonKind.NO_REASON if only is not None and facts.person_id not in only else None


def _steps(residual: Residual, facts: ResourceFacts, directive: Directive) -> Iterator[Step]:
    matching = [
        rule
        for rule in directive.rules
        if rule.effect in _SPEAKING and matches(residual, facts, rule)
    ]
    paths = {rule.path for rule in matching}
    for rule in matching:
        yield Step(
            consent_id=directive.consent_id,
            version=directive.version,
            path=rule.path,
            effect=rule.effect,
            speaks=not any(path != rule.path and path.startswith(rule.path) for path in paths),
            note=rule.note,
            is_general=rule.purposes is None and not rule.note,
        )


def _counting(steps: tuple[Step, ...], denials: Denials) -> tuple[Step, ...]:
    """The steps without the denials that an emergency overrides."""
    if denials == "all":
        return steps
    return tuple(
        step
        for step in steps
        if step.effect is not Effect.DENY or (denials == "named" and not step.is_general)
    )


def _held(
    residual: Residual, facts: ResourceFacts, directives: Iterable[Directive], law: Law
) -> Iterator[Reason]:
    """A reason for each hard label that no consent lifts."""
    freed = 0
    for directive in directives:
        for rule in directive.rules:
            if rule.effect is Effect.LIFT and matches(residual, facts, rule):
                freed |= rule.label_mask or 0
    for bit in residual.hard_bits:
        if facts.label_mask & bit & ~freed:
            yield Reason(kind=ReasonKind.HARD_RULE, label=law.labels.codes(bit)[0])


def _spoken(steps: tuple[Step, ...], effect: Effect) -> tuple[Reason, ...]:
    is_deny = effect is Effect.DENY
    kind = ReasonKind.CONSENT_DENY if is_deny else ReasonKind.CONSENT_PERMIT
    found = {
        Reason(
            kind=kind,
            consent_id=step.consent_id,
            version=step.version,
            path=step.path,
            note=step.note,
        ): None
        for step in steps
        if step.speaks and step.effect is effect
    }
    return tuple(found)


def _by_default(residual: Residual, facts: ResourceFacts) -> tuple[Effect, tuple[Reason, ...]]:
    mask = facts.label_mask
    about = [rule for rule in residual.defaults if _is_about(rule, facts)]
    is_denied = any(
        rule.effect == "deny" and (rule.label_mask is None or mask & rule.label_mask)
        for rule in about
    )
    is_permitted = any(
        rule.effect == "permit" and (rule.label_mask is None or not mask & ~rule.label_mask)
        for rule in about
    )
    if is_permitted and not is_denied:
        is_emergency = residual.only_persons is not None
        kind = ReasonKind.EMERGENCY if is_emergency else ReasonKind.DEFAULT_PERMIT
        return Effect.PERMIT, (Reason(kind=kind),)
    return Effect.DENY, (Reason(kind=ReasonKind.DEFAULT_DENY),)


def _is_about(rule: DefaultRule, facts: ResourceFacts) -> bool:
    return (rule.types is None or facts.type in rule.types) and (
        rule.sources is None or facts.source_id in rule.sources
    )


def applies(residual: Residual, rule: Rule) -> bool:
    """Whether a rule is about this request, whatever the resource."""
    return (
        (rule.grantees is None or bool(rule.grantees & residual.grantees))
        and meets(rule.purposes, residual.purposes)
        and (rule.actions is None or residual.action in rule.actions)
        and in_time(rule.valid_from_us, rule.valid_to_us, residual.now_us)
    )


def matches(residual: Residual, facts: ResourceFacts, rule: Rule) -> bool:
    """Whether a rule is about this request and this resource."""
    return (
        applies(residual, rule)
        and (rule.types is None or facts.type in rule.types)
        and (rule.sources is None or facts.source_id in rule.sources)
        and (rule.records is None or facts.source_record_id in rule.records)
        and _labels_match(rule, facts.label_mask)
        and _content_matches(rule, facts)
    )


def _content_matches(rule: Rule, facts: ResourceFacts) -> bool:
    """The conditions on what partial facts leave out; what is a target can be known."""
    is_dated = _dates_match(rule, facts)
    is_coded = rule.codes is None or bool(rule.codes & facts.codes)
    if facts.is_partial:
        is_hopeful = rule.effect is not Effect.DENY
        is_dated = is_hopeful or (rule.date_lo_us is None and rule.date_hi_us is None)
        is_coded = is_hopeful or rule.codes is None
    return is_dated and is_coded and _target_matches(rule, facts)


def _target_matches(rule: Rule, facts: ResourceFacts) -> bool:
    return rule.targets is None or any(_is_target(rule, facts, target) for target in rule.targets)


def _is_target(rule: Rule, facts: ResourceFacts, target: Target) -> bool:
    if target.kind is TargetKind.SOURCE:
        return facts.source_id == target.value
    is_it = f"{facts.type}/{facts.id}" == target.value
    if target.kind is TargetKind.INSTANCE:
        return is_it
    if facts.is_partial and rule.effect is not Effect.DENY:
        return True
    refers = target.value in facts.references
    return refers or (is_it and target.kind is TargetKind.ENCOUNTER)


def _labels_match(rule: Rule, label_mask: int) -> bool:
    if rule.label_mask is None:
        return True
    if rule.effect in (Effect.PERMIT, Effect.SPARE):
        return not label_mask & ~rule.label_mask
    if rule.effect is Effect.DENY:
        return bool(label_mask & rule.label_mask)
    return True  # a lift asks nothing of the labels: which it frees is asked bit by bit


def _dates_match(rule: Rule, facts: ResourceFacts) -> bool:
    if rule.date_lo_us is None and rule.date_hi_us is None:
        return True
    lo_us, hi_us = facts.clinical_lo_us, facts.clinical_hi_us
    if lo_us is None and hi_us is None:
        return rule.effect is Effect.DENY
    starts_before = rule.date_hi_us is None or lo_us is None or lo_us < rule.date_hi_us
    ends_after = rule.date_lo_us is None or hi_us is None or hi_us > rule.date_lo_us
    return starts_before and ends_after
