"""Which Consents somebody may record in a patient's place (pure).

What is kept from a proxy is not theirs to give away: a permit must name labels, none of those; a
denial that protects one of them stays.
"""

from dataclasses import replace

from consent.model import Directive, Effect, Rule


def widens_withheld(new: Directive, old: Directive | None, withheld_mask: int) -> bool:
    """Whether a Consent, in the place of another, would open what is withheld from its writer."""
    if not withheld_mask:
        return False
    opens = any(
        rule.effect is not Effect.DENY and _touches(rule, withheld_mask) for rule in new.rules
    )
    return opens or bool(_protecting(old, withheld_mask) - _protecting(new, withheld_mask))


def _protecting(directive: Directive | None, withheld_mask: int) -> frozenset[Rule]:
    rules = directive.rules if directive else ()
    return frozenset(
        replace(rule, path="/", note="")
        for rule in rules
        if rule.effect is Effect.DENY and _touches(rule, withheld_mask)
    )


def _touches(rule: Rule, withheld_mask: int) -> bool:
    """Whether a rule is about any of these labels; one that names none is about all."""
    return rule.label_mask is None or bool(rule.label_mask & withheld_mask)
