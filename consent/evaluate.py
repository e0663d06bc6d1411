"""Request + resource + directives to Decision (pure, total): the definition of what may be seen.

Order: hard rule not lifted > patient's deny > patient's permit > the regime's default. Within one
Consent, along each branch the deepest matching rule speaks; among those that speak, and across
Consents, deny wins. Nothing depends on the order of the directives.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from consent.labels import LabelTable
from consent.model import (
    ANYONE,
    AccessRequest,
    ConsentSettings,
    Decision,
    Directive,
    Effect,
    HardRule,
    Obligation,
    Reason,
    ReasonKind,
    RegimeRule,
    ResourceFacts,
    Rule,
    Step,
    Target,
    TargetKind,
)
from hie.store.residual import DIRECTORY_TYPES, DefaultRule, Residual

_SPEAKING: Final = (Effect.PERMIT, Effect.DENY, Effect.SPARE)


class Law:
    """The settings, made ready to decide with."""

    def __init__(self, settings: ConsentSettings) -> None:
        self.settings = settings
        self.labels = LabelTable(settings.sensitivity)
        self._in_force = tuple(
            rule
            for rule in settings.hard_rules
            if rule.is_everywhere or rule.name in settings.regime.hard
        )
        codes = sorted({code for rule in self._in_force for code in rule.labels})
        self.hard_bits = tuple(self.labels.bits([code]) for code in codes)

    def rule_of(self, bit: int) -> HardRule:
        """The hard rule that holds back a bit of `hard_bits`."""
        return next(rule for rule in self._in_force if self.labels.bits(rule.labels) & bit)

    def needs_reason(self, request: AccessRequest) -> bool:
        """Whether the purpose needs a stated reason that the request lacks."""
        is_emergency = request.purpose in self.settings.purposes.needs_reason
        return is_emergency and not (request.break_glass or "").strip()

    def residual(self, request: AccessRequest) -> Residual:
        """The request side of the decision, for the database."""
        is_confined = not request.grantees or self.needs_reason(request)
        purposes = self.settings.purposes.expand(request.purpose)
        return Residual(
            own_sources=request.own_sources,
            self_person=request.self_person,
            grantees=frozenset() if is_confined else request.grantees | {ANYONE},
            purposes=purposes,
            action=request.action,
            now_us=request.now_us,
            defaults=() if is_confined else tuple(self._defaults(purposes, request.now_us)),
            hard_bits=self.hard_bits,
            sees_source_records=request.is_steward,
        )

    def obligations(self, label_mask: int) -> tuple[Obligation, ...]:
        """What the disclosure of a resource with these labels must carry."""
        texts = self.settings.obligations
        codes = {
            rule.obligation
            for rule in self._in_force
            if rule.obligation and self.labels.bits(rule.labels) & label_mask
        }
        return tuple(Obligation(code=code, text=texts[code]) for code in sorted(codes))

    def _defaults(self, purposes: frozenset[str], now_us: int) -> Iterator[DefaultRule]:
        for rule in self.settings.regime.rules:
            if _in_time(rule.from_us, rule.to_us, now_us) and _any(rule.purposes, purposes):
                yield DefaultRule(effect=rule.effect, label_mask=self._default_mask(rule))

    def _default_mask(self, rule: RegimeRule) -> int | None:
        if rule.labels is None:
            return None
        codings = [{"code": code} for code in rule.labels]
        if rule.effect == "deny":
            return self.labels.denied(codings)
        return self.labels.permitted(codings) or 0


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
        refused = _refused(self._request, facts, law)
        if refused is not None:
            return Decision(effect=Effect.DENY, reasons=(Reason(kind=refused),))
        found = [step for directive in directives for step in _steps(residual, facts, directive)]
        steps = tuple(sorted(found, key=lambda step: (step.consent_id, step.path, step.effect)))
        effect, reasons = next(
            (effect, reasons)
            for effect, reasons in (
                (Effect.DENY, tuple(_held(residual, facts, directives, law))),
                (Effect.DENY, _spoken(steps, Effect.DENY, ReasonKind.CONSENT_DENY)),
                (Effect.PERMIT, _spoken(steps, Effect.PERMIT, ReasonKind.CONSENT_PERMIT)),
                _by_default(residual, facts),
            )
            if reasons
        )
        obligations = law.obligations(facts.label_mask) if effect is Effect.PERMIT else ()
        return Decision(effect=effect, reasons=reasons, trace=steps, obligations=obligations)


def in_words(decision: Decision, law: Law) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The reasons of a decision as sentences: (for staff, for the patient)."""
    words = law.settings.words
    staff, patient = [], []
    for reason in decision.reasons:
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
        patient.append(words.patient[reason.kind].format(**facts))
    return tuple(dict.fromkeys(staff)), tuple(dict.fromkeys(patient))


def _exempt(residual: Residual, facts: ResourceFacts) -> ReasonKind | None:
    if facts.type in DIRECTORY_TYPES and facts.person_id is None:
        return ReasonKind.DIRECTORY
    if facts.source_id in residual.own_sources:
        return ReasonKind.OWN_SOURCE
    if residual.self_person is not None and facts.person_id == residual.self_person:
        return ReasonKind.OWN_RECORD
    if residual.sees_source_records and facts.type == "Patient":
        return ReasonKind.STEWARD
    return None


def _refused(request: AccessRequest, facts: ResourceFacts, law: Law) -> ReasonKind | None:
    if facts.person_id is None:
        return ReasonKind.NO_PERSON
    if not request.grantees:
        return ReasonKind.NO_ORGANIZATION
    return ReasonKind.NO_REASON if law.needs_reason(request) else None


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


def _spoken(steps: tuple[Step, ...], effect: Effect, kind: ReasonKind) -> tuple[Reason, ...]:
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
    is_denied = any(
        rule.effect == "deny" and (rule.label_mask is None or mask & rule.label_mask)
        for rule in residual.defaults
    )
    is_permitted = any(
        rule.effect == "permit" and (rule.label_mask is None or not mask & ~rule.label_mask)
        for rule in residual.defaults
    )
    if is_permitted and not is_denied:
        return Effect.PERMIT, (Reason(kind=ReasonKind.DEFAULT_PERMIT),)
    return Effect.DENY, (Reason(kind=ReasonKind.DEFAULT_DENY),)


def matches(residual: Residual, facts: ResourceFacts, rule: Rule) -> bool:
    """Whether a rule is about this request and this resource."""
    return (
        (rule.grantees is None or bool(rule.grantees & residual.grantees))
        and _any(rule.purposes, residual.purposes)
        and (rule.actions is None or residual.action in rule.actions)
        and _in_time(rule.valid_from_us, rule.valid_to_us, residual.now_us)
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


def _any(values: frozenset[str] | None, asked: frozenset[str]) -> bool:
    return values is None or not values.isdisjoint(asked)


def _in_time(from_us: int | None, to_us: int | None, now_us: int) -> bool:
    return (from_us is None or from_us <= now_us) and (to_us is None or now_us < to_us)
