"""After a merge, the strictest of both sides' consents holds, and nothing more is shown.

The oracle is the decision itself, taken for each side as it was before the merge.
"""

import os
from dataclasses import replace
from random import Random

import pytest

from consent.confine import Reach, confined
from consent.evaluate import decide
from consent.model import Directive, Effect, ReasonKind, Rule
from tests.support.consent_worlds import a_consent, a_request, a_resource
from tests.support.consents import REGIMES, law, read

CASES = 20_000 if os.environ.get("HIE_TEST_LONG") == "1" else 700
NUMBERS = range(1, 9)
SIDES = {"here": "record-1", "there": "record-2"}
LIFTS_ALL = Directive(
    consent_id="lifts-all",
    version=1,
    rules=(Rule(path="/", effect=Effect.LIFT, label_mask=~0),),
)


def a_case(seed):
    """A law, a request, two persons' directives, and a resource of one of them."""
    rng = Random(seed)
    sides = {
        name: read(*[a_consent(rng, NUMBERS) for _ in range(rng.choice([0, 1, 1, 2]))])
        for name in SIDES
    }
    owner = rng.choice(list(SIDES))
    about = replace(a_resource(rng, rng.choice(NUMBERS), "p"), source_record_id=SIDES[owner])
    return law(rng.choice(REGIMES)), a_request(rng, ["p"]), sides, owner, about


def merged(sides):
    """The directives of the person that both are until the consents are reviewed."""
    return tuple(
        confined(directive, Reach(opens=frozenset({SIDES[name]})))
        for name, found in sides.items()
        for directive in found
    )


def denies(found, request, about, rules):
    """Whether a directive of these, alone, denies by what it says and not by default.

    A hard rule is given before a denial as the reason; lifted, as the other side may lift it, the
    denial behind it still holds.
    """
    for directive in found:
        decision = decide(request, about, [directive, LIFTS_ALL], rules)
        if any(reason.kind is ReasonKind.CONSENT_DENY for reason in decision.reasons):
            return True
    return False


def test_what_one_side_may_show_is_shown_unless_the_other_side_denies_it():
    shown = hidden = 0
    for seed in range(CASES):
        rules, request, sides, owner, about = a_case(seed)
        (other,) = SIDES.keys() - {owner}
        before = decide(request, about, sides[owner], rules)
        after = decide(request, about, merged(sides), rules)
        is_exempt = not before.trace and before.is_permitted and before.reasons[0].kind.value in (
            "directory", "own-source", "own-record", "steward"
        )  # fmt: skip
        expected = before.is_permitted and (
            is_exempt or not denies(sides[other], request, about, rules)
        )
        assert after.is_permitted == expected, f"seed {seed}"
        shown += expected
        hidden += before.is_permitted and not expected
    assert shown > CASES / 20
    assert hidden > CASES / 200


def test_a_merge_never_shows_what_was_hidden_before():
    for seed in range(CASES):
        rules, request, sides, owner, about = a_case(seed)
        if decide(request, about, merged(sides), rules).is_permitted:
            assert decide(request, about, sides[owner], rules).is_permitted, f"seed {seed}"


@pytest.mark.parametrize("effect", [Effect.PERMIT, Effect.LIFT])
def test_what_opens_nothing_permits_and_lifts_nothing(effect):
    for seed in range(200):
        _, _, sides, _, _ = a_case(seed)
        for found in sides.values():
            for directive in found:
                rules = confined(directive, Reach()).rules
                assert effect not in {rule.effect for rule in rules}
