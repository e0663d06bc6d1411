"""The decision before any resource: its deny is certain, and nothing depends on the order."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from consent.evaluate import decide
from consent.gate import Verb, gate
from consent.model import Effect
from tests.support.consent_worlds import a_consent, a_request, a_resource
from tests.support.consents import LAWS, law, read

SEEDS = st.integers(min_value=0, max_value=2**32 - 1)
EACH = 10


@given(SEEDS)
def test_what_the_gate_denies_shows_nothing_of_the_patient(seed):
    rng = Random(seed)
    directives = read(*[a_consent(rng) for _ in range(rng.randint(0, 3))])
    by = law(rng.choice(LAWS))
    for _ in range(4):
        asked = a_request(rng, ["p1", "p2"])
        found = gate(asked, "p1", directives, by)
        assert found.reasons
        assert gate(asked, "p1", directives[::-1], by) == found
        if found.effect is Effect.PERMIT:
            continue
        assert found.clauses == ()
        for number in range(1, EACH + 1):
            about = a_resource(rng, number, "p1")
            decision = decide(asked, about, directives, by)
            is_exempt = about.source_id in asked.own_sources or asked.is_steward
            assert is_exempt or not decision.is_permitted, seed


@given(SEEDS)
def test_a_permit_without_clauses_shows_everything(seed):
    rng = Random(seed)
    directives = read(*[a_consent(rng) for _ in range(rng.randint(0, 2))])
    by = law(rng.choice(LAWS))
    asked = a_request(rng, ["p1", "p2"])
    found = gate(asked, "p1", directives, by)
    if found.effect is Effect.DENY:
        return
    forbidden = [clause for clause in found.clauses if clause.verb is Verb.FORBID]
    for number in range(1, EACH + 1):
        about = a_resource(rng, number, "p1")
        if not decide(asked, about, directives, by).is_permitted:
            assert forbidden, seed
