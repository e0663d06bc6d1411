"""The recheck of what is about to leave (pure): the last chance to find a hole in the SQL."""

from collections.abc import Iterable, Mapping, Sequence

from consent.evaluate import Law, decide
from consent.model import AccessRequest, Directive, Obligation, ResourceFacts
from hie.kernel.errors import Category, HieError


def recheck(
    request: AccessRequest,
    leaving: Iterable[ResourceFacts],
    directives: Mapping[str, Sequence[Directive]],
    law: Law,
) -> tuple[Obligation, ...]:
    """What the bundle must carry with it, once every resource in it is permitted.

    Args:
        request: the request the bundle answers.
        leaving: one per resource and person it is about; `is_partial` where only the columns
            of its row are at hand.
        directives: by person id; a person without any follows the regime.
        law: regime, hard rules, labels.

    Raises:
        HieError: FAULT when one of them is denied. Nothing may leave then.
    """
    obligations: dict[Obligation, None] = {}
    judged: set[ResourceFacts] = set()
    for facts in leaving:
        if facts in judged:
            continue
        judged.add(facts)
        decision = decide(request, facts, directives.get(facts.person_id or "", ()), law)
        if not decision.is_permitted:
            raise HieError(Category.FAULT, "the consent decision and the answer disagree")
        obligations.update(dict.fromkeys(decision.obligations))
    return tuple(sorted(obligations, key=lambda obligation: obligation.code))
