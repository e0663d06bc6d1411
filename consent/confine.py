"""How far a Consent reaches while two persons' consents await a review (pure).

After a merge, or when records part, nobody has yet looked at whether the consents of the one
side were meant for the other. Until then the strictest of them hold: what any of them denies is
denied, and what one permits or lifts opens only records of its own side.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from consent.model import Directive, Effect, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far the rules of one Consent reach.

    Attributes:
        opens: source records that its permits and lifts may open.
        binds: source records that its denials hold for; None = all of the person's.
    """

    opens: frozenset[str] = frozenset()
    binds: frozenset[str] | None = None


def confined(directive: Directive, reach: Reach) -> Directive:
    """The directive as far as it reaches; it never shows more than the whole one."""
    rules = tuple(rule for whole in directive.rules for rule in _confined(whole, reach))
    return replace(directive, rules=rules)


def _confined(rule: Rule, reach: Reach) -> Iterator[Rule]:
    if rule.effect is Effect.DENY:
        yield replace(rule, records=reach.binds)
        return
    if rule.effect is Effect.PERMIT:
        # An exception stays one: where the consent does not deny, it does not deny.
        yield replace(rule, effect=Effect.SPARE, records=reach.binds)
    if reach.opens:
        yield replace(rule, records=reach.opens)
