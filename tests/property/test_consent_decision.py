"""What holds of every decision, whatever the consents, the resource and the caller.

The second oracle is `shown_by_rows`: the formula of `hie.store.residual`, written down naively.
"""

import copy
from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from consent.evaluate import decide
from consent.labels import Labeller
from consent.model import Directive, Effect
from consent.rules import RuleRow, directives_of, rule_rows
from hie.store.residual import DIRECTORY_TYPES
from tests.support.consent_worlds import (
    GARBAGE,
    TYPES,
    a_consent,
    a_provision,
    a_request,
    a_resource,
)
from tests.support.consents import LAWS, LOINC, REGIMES, label, law, read

SEEDS = st.integers(min_value=0, max_value=2**32 - 1)
EACH = 12  # resources and callers a world is asked about


def world(seed):
    """Consents and the questions asked about them."""
    rng = Random(seed)
    consents = [a_consent(rng) for _ in range(rng.randint(0, 3))]
    questions = []
    for number in range(1, EACH + 1):
        about = a_resource(rng, number, rng.choice(["p1", "p1", "p1", "p1", None]))
        questions.append((a_request(rng, ["p1", "p2"]), about))
    return rng, consents, questions, law(rng.choice(LAWS))


def answers(questions, consents, by):
    """Which questions are answered yes."""
    directives = read(*consents)
    return [decide(asked, about, directives, by).is_permitted for asked, about in questions]


def never_more(before, after):
    return all(was or not now for was, now in zip(before, after, strict=True))


def provisions(consents):
    """Every provision of every Consent, outermost first."""
    left = [p for c in consents for p in _listed(c.get("provision"))]
    for provision in left:
        left.extend(provision.get("provision", []))
    return left


def _listed(found):
    return found if isinstance(found, list) else [] if found is None else [found]


# -- the formula of `hie.store.residual`, word by word


def shown_by_rows(residual, r, rows):
    is_own = (
        (r.type in DIRECTORY_TYPES and r.person_id is None)
        or r.source_id in residual.own_sources
        or (
            residual.self_person is not None
            and r.person_id == residual.self_person
            and not r.label_mask & residual.withheld_mask
        )
        or (residual.sees_source_records and r.type == "Patient")
    )
    if is_own or r.person_id is None:
        return is_own
    if residual.only_persons is not None and r.person_id not in residual.only_persons:
        return False
    matching = [row for row in rows if row_matches(residual, r, row)]
    is_held = any(
        r.label_mask & bit
        and not any(x.effect is Effect.LIFT and x.label_mask & bit for x in matching)
        for bit in residual.hard_bits
    )
    spoken = speaking(matching)
    counting = {
        "all": spoken,
        "named": [x for x in spoken if x.purpose is not None or x.note],
        "none": [],
    }[residual.denials]
    is_denied = any(x.effect is Effect.DENY for x in counting)
    permits = any(x.effect is Effect.PERMIT for x in spoken)
    is_permitted = permits or regime_permits(residual.defaults, r)
    return not is_held and not is_denied and is_permitted


def speaking(matching):
    told = [row for row in matching if row.effect is not Effect.LIFT]
    return [
        a
        for a in told
        if not any(
            b.consent_id == a.consent_id and b.path != a.path and b.path.startswith(a.path)
            for b in told
        )
    ]


def row_matches(residual, r, row: RuleRow):
    met = {*r.references, f"{r.type}/{r.id}"}
    return all(
        (
            row.grantee is None or row.grantee in residual.grantees,
            row.purpose is None or row.purpose in residual.purposes,
            row.action is None or row.action == residual.action,
            row.valid_from_us is None or row.valid_from_us <= residual.now_us,
            row.valid_to_us is None or residual.now_us < row.valid_to_us,
            row.type is None or row.type == r.type,
            row.source_id is None or row.source_id == r.source_id,
            row.instance is None or row.instance == r.id,
            row.author is None or row.author in r.references,
            row.encounter is None or row.encounter in met,
            row.codes is None or row.codes & r.codes,
            row_dates_match(r, row),
            row_labels_match(r, row),
        )
    )


def row_dates_match(r, row: RuleRow):
    if row.date_lo_us is None and row.date_hi_us is None:
        return True
    if r.clinical_lo_us is None and r.clinical_hi_us is None:
        return row.effect is Effect.DENY
    return (row.date_lo_us is None or r.clinical_hi_us >= row.date_lo_us) and (
        row.date_hi_us is None or r.clinical_lo_us <= row.date_hi_us
    )


def row_labels_match(r, row: RuleRow):
    if row.effect is Effect.LIFT or row.label_mask is None:
        return True
    if row.effect is Effect.PERMIT:
        return r.label_mask & ~row.label_mask == 0
    return r.label_mask & row.label_mask != 0


def regime_permits(defaults, r):
    mask = r.label_mask
    defaults = [
        rule
        for rule in defaults
        if (rule.types is None or r.type in rule.types)
        and (rule.sources is None or r.source_id in rule.sources)
    ]
    for rule in defaults:
        if rule.effect == "deny" and (rule.label_mask is None or mask & rule.label_mask):
            return False
    return any(
        rule.effect == "permit" and (rule.label_mask is None or mask & ~rule.label_mask == 0)
        for rule in defaults
    )


# -- properties


@given(SEEDS)
def test_the_rows_decide_as_the_definition_does(seed):
    _, consents, questions, by = world(seed)
    rows = [row for directive in read(*consents) for row in rule_rows(directive)]
    for (asked, about), expected in zip(questions, answers(questions, consents, by), strict=True):
        assert shown_by_rows(by.residual(asked), about, rows) is expected


@given(SEEDS)
def test_rules_read_back_from_rows_decide_the_same(seed):
    _, consents, questions, by = world(seed)
    directives = read(*consents)
    back = directives_of(row for directive in directives for row in rule_rows(directive))
    for asked, about in questions:
        decision = decide(asked, about, directives, by)
        again = decide(asked, about, back, by)
        assert (again.effect, again.reasons) == (decision.effect, decision.reasons)


@given(SEEDS)
def test_order_never_matters(seed):
    rng, consents, questions, by = world(seed)
    directives = list(read(*consents))
    shuffled = [
        Directive(
            consent_id=d.consent_id,
            version=d.version,
            rules=tuple(rng.sample(d.rules, len(d.rules))),
        )
        for d in rng.sample(directives, len(directives))
    ]
    for asked, about in questions:
        assert decide(asked, about, shuffled, by) == decide(asked, about, directives, by)


@given(SEEDS)
def test_adding_a_denying_consent_never_shows_more(seed):
    rng, consents, questions, by = world(seed)
    deny = a_provision(rng, depth=0) | {"type": "deny"}
    more = [*consents, {"status": "active", "provision": deny}]
    assert never_more(answers(questions, consents, by), answers(questions, more, by))


@given(SEEDS)
def test_adding_a_denying_provision_never_shows_more(seed):
    rng, consents, questions, by = world(seed)
    changed = copy.deepcopy(consents)
    for place in provisions(changed)[:1] + rng.choices(provisions(changed) or [{}], k=1):
        deny = a_provision(rng, depth=0) | {"type": "deny"}
        place.setdefault("provision", []).append(deny)
    assert never_more(answers(questions, consents, by), answers(questions, changed, by))


@given(SEEDS)
def test_removing_a_permit_never_shows_more(seed):
    rng, consents, questions, by = world(seed)
    changed = copy.deepcopy(consents)
    leaves = [
        nested
        for above in provisions(changed)
        for nested in above.get("provision", [])
        if nested.get("type") == "permit" and not nested.get("provision")
    ]
    if leaves:
        leaf = rng.choice(leaves)
        # What stays keeps its place: an inert provision stands where the permit was.
        leaf.clear()
        leaf |= {"type": "permit", "expression": {}}
    assert never_more(answers(questions, consents, by), answers(questions, changed, by))


@given(SEEDS)
def test_removing_a_consent_that_only_permits_never_shows_more(seed):
    _, consents, questions, by = world(seed)
    fewer = [c for c in consents if any(r.effect is Effect.DENY for d in read(c) for r in d.rules)]
    assert never_more(answers(questions, consents, by), answers(questions, fewer, by))


@given(SEEDS, st.sampled_from(GARBAGE))
def test_what_is_not_understood_never_shows_more(seed, garbage):
    rng, consents, questions, by = world(seed)
    changed = copy.deepcopy(consents)
    places = provisions(changed)
    if places:
        name, value = garbage
        rng.choice(places)[name] = value
    assert never_more(answers(questions, consents, by), answers(questions, changed, by))


@given(SEEDS)
def test_an_unknown_label_in_a_consent_never_shows_more(seed):
    rng, consents, questions, by = world(seed)
    changed = copy.deepcopy(consents)
    labelled = [p for p in provisions(changed) if "securityLabel" in p]
    if labelled:
        rng.choice(labelled)["securityLabel"].extend(label("GOSSIP"))
    assert never_more(answers(questions, consents, by), answers(questions, changed, by))


@given(SEEDS, st.sampled_from(["GOSSIP", "R", "V", "PSY", "HIV", "U", "N", "SUD"]))
def test_another_label_on_a_resource_never_shows_more(seed, code):
    _, consents, questions, by = world(seed)
    extra = by.labels.mask_of(label(code))
    more = [
        (asked, replace(about, label_mask=about.label_mask | extra)) for asked, about in questions
    ]
    assert never_more(answers(questions, consents, by), answers(more, consents, by))


@given(SEEDS)
def test_partial_facts_never_deny_what_the_whole_permits(seed):
    _, consents, questions, by = world(seed)
    directives = read(*consents)
    for asked, about in questions:
        part = replace(
            about,
            clinical_lo_us=None,
            clinical_hi_us=None,
            references=frozenset(),
            codes=frozenset(),
            is_partial=True,
        )
        if decide(asked, about, directives, by).is_permitted:
            assert decide(asked, part, directives, by).is_permitted


@given(SEEDS)
def test_every_decision_has_reasons_and_obligations_only_where_it_permits(seed):
    _, consents, questions, by = world(seed)
    for asked, about in questions:
        decision = decide(asked, about, read(*consents), by)
        assert decision.reasons
        assert decision.is_permitted or not decision.obligations


@given(SEEDS)
def test_hard_labels_hold_in_every_regime_unless_lifted(seed):
    _, consents, questions, _ = world(seed)
    plain = [
        c for c in consents if not any(r.effect is Effect.LIFT for d in read(c) for r in d.rules)
    ]
    hiv = law().labels.bits(["HIV"])
    for regime in REGIMES:
        for (asked, about), shown in zip(
            questions, answers(questions, plain, law(regime)), strict=True
        ):
            is_own = about.source_id in asked.own_sources or about.person_id == asked.self_person
            if about.label_mask & hiv and about.person_id and not is_own:
                assert not shown


SENT = st.sampled_from(
    ["U", "L", "M", "N", "R", "V", "HIV", "PSY", "GOSSIP", "DEID", "MASKED", "NODSCLCD", ""]
)
SENSITIVE = (
    {"resourceType": "Observation", "code": {"coding": [{"system": LOINC, "code": "10351-5"}]}},
    {"resourceType": "Condition", "note": [{"text": "Psychotherapy note"}]},
    {"resourceType": "Condition", "contained": [{"meta": {"security": label("SUD")}}]},
    {"resourceType": "Observation", "code": {"text": "glucose"}},
)


@given(st.sampled_from(SENSITIVE), st.lists(SENT, max_size=4), st.booleans())
def test_a_sender_never_lowers_a_label(resource, sent, has_system):
    labeller = Labeller(law().settings.sensitivity)
    codings = label(*sent) if has_system else [{"code": code} for code in sent]
    own = labeller.labels(resource).mask
    told = labeller.labels(resource | {"meta": {"security": codings}}).mask
    assert told & own == own
    # Nor by naming one inside of it, or by saying that it was taken out.
    inside = labeller.labels({"contained": [resource], "meta": {"security": codings}}).mask
    assert inside & own == own


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(TYPES),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["type", "actor", "role", "reference", "coding", "system", "code", "purpose", "class",
             "data", "meaning", "period", "dataPeriod", "start", "end", "securityLabel",
             "provision", "action", "identifier", "value", "status", "scope", "policyRule"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=30,
)  # fmt: skip


@given(JSON, st.sampled_from(["active", "inactive", None]))
def test_reading_never_raises_whatever_it_is_given(found, status):
    consent = found if isinstance(found, dict) else {"provision": found}
    (directive,) = read(consent | {"status": status})
    assert directive.rules or directive.ignored or not directive.widens


@given(JSON)
def test_labelling_never_raises_and_only_adds(found):
    labeller = Labeller(law().settings.sensitivity)
    resource = found if isinstance(found, dict) else {"extension": found}
    mask = labeller.labels(resource).mask
    hiv = {"resourceType": "Observation", "code": {"text": "HIV"}}
    both = labeller.labels({"contained": [resource, hiv]}).mask
    assert both & mask == mask
    assert labeller.mask_of(labeller.codings(mask)) == mask
