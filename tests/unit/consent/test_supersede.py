"""One Consent in the place of another: what is left of which, in chains and circles."""

import pytest

from consent.from_fhir.supersede import claims_of
from consent.model import Directive, Effect, Rule
from consent.supersede import Claim, without_superseded
from tests.support.consents import DIRECTORY, consent, law, provision, us

DENY = Rule(path="/", effect=Effect.DENY)
PERMIT = Rule(path="/", effect=Effect.PERMIT)
EXCEPTION = Rule(path="/1/", effect=Effect.PERMIT)


def directives(**rules):
    return [Directive(consent_id=name, rules=tuple(found)) for name, found in rules.items()]


def left(found, *claims):
    """Effects that are left of each Consent, by its id."""
    return {d.consent_id: [r.effect for r in d.rules] for d in without_superseded(found, claims)}


def test_nothing_is_superseded_without_a_word():
    found = directives(a=[DENY], b=[PERMIT])
    assert without_superseded(found, []) == tuple(found)


def test_a_verified_consent_takes_anothers_place_altogether():
    found = directives(a=[DENY, EXCEPTION], b=[PERMIT])
    assert left(found, Claim(by="b", of="a", may_widen=True)) == {"a": [], "b": [Effect.PERMIT]}
    gone = without_superseded(found, [Claim(by="b", of="a", may_widen=True)])[0]
    assert gone.ignored == "superseded"


def test_one_that_may_not_widen_leaves_the_denials_and_their_exceptions_and_opens_nothing():
    found = directives(a=[DENY, EXCEPTION])
    assert left(found, Claim(by="b", of="a"))["a"] == [Effect.DENY, Effect.SPARE]
    assert left(directives(a=[PERMIT]), Claim(by="b", of="a"))["a"] == [Effect.SPARE]


def test_one_that_was_withdrawn_does_not_give_its_place_back():
    withdrawn = Claim(by="b", of="a", may_widen=True, is_standing=False)
    assert left(directives(a=[PERMIT]), withdrawn)["a"] == [Effect.SPARE]
    assert left(directives(a=[DENY]), withdrawn)["a"] == [Effect.DENY]


def test_in_a_chain_what_was_superseded_stays_so():
    chain = [
        Claim(by="b", of="a", may_widen=True, is_standing=False),
        Claim(by="c", of="b", may_widen=True),
    ]
    assert left(directives(a=[DENY], b=[PERMIT], c=[PERMIT]), *chain) == {
        "a": [],
        "b": [],
        "c": [Effect.PERMIT],
    }


@pytest.mark.parametrize("length", [2, 3, 5])
def test_in_a_circle_every_denial_holds_and_nothing_opens(length):
    names = [f"c{number}" for number in range(length)]
    circle = [Claim(by=name, of=names[at - 1], may_widen=True) for at, name in enumerate(names)]
    found = directives(**{key: [DENY, EXCEPTION] for key in names})
    assert left(found, *circle) == {key: [Effect.DENY, Effect.SPARE] for key in names}


def test_it_holds_from_when_the_claimant_begins():
    found = directives(a=[DENY])
    (changed,) = without_superseded(found, [Claim(by="b", of="a", may_widen=True, since_us=100)])
    assert [(r.effect, r.valid_to_us) for r in changed.rules] == [(Effect.DENY, 100)]
    (changed,) = without_superseded(directives(a=[PERMIT]), [Claim(by="b", of="a", since_us=100)])
    assert [(r.effect, r.valid_from_us, r.valid_to_us) for r in changed.rules] == [
        (Effect.PERMIT, None, 100),
        (Effect.SPARE, 100, None),
    ]


def claims(found, *, may_widen=True):
    return claims_of(
        found,
        consent_id="new",
        may_widen=may_widen,
        settings=law().settings,
        directory=DIRECTORY,
    )


def link(reference):
    url = "urn:hie:extension:supersedes"
    return {"extension": [{"url": url, "valueReference": {"reference": reference}}]}


@pytest.mark.parametrize(
    ("elements", "count"),
    [
        (link("Consent/old"), 1),
        (link("Consent/new"), 0),  # itself
        (link("DocumentReference/old"), 0),
        (link("old"), 0),
        ({"extension": [{"url": "urn:x", "valueReference": {"reference": "Consent/old"}}]}, 0),
        ({"extension": "x"}, 0),
        ({"sourceReference": {"reference": "Consent/old"}}, 0),  # the paper it was made from
        ({**link("Consent/old"), "status": "entered-in-error"}, 0),
        ({**link("Consent/old"), "status": "draft"}, 0),
        ({**link("Consent/old"), "status": "inactive"}, 1),
        ({**link("Consent/old"), "modifierExtension": [{"url": "urn:x"}]}, 0),
    ],
)
def test_a_claim_is_an_extension_of_a_consent_that_is_or_was_in_effect(elements, count):
    assert len(claims(consent(provision("permit"), **elements))) == count


def test_a_claim_begins_with_the_consent_that_makes_it():
    root = provision("permit", period={"start": "2026-06-01T00:00:00Z"})
    (claim,) = claims(consent(root, **link("Consent/old")))
    assert claim.since_us == us("2026-06-01T00:00:00Z")
    unread = provision("permit", period={"start": "soon"})
    (claim,) = claims(consent(unread, **link("Consent/old")))
    assert not claim.may_widen
