"""The decision, case by case.

Spec: IHE PCF (https://profiles.ihe.net/ITI/PCF), M.G.L. c.111 s.70F, 42 CFR Part 2,
45 CFR 164.508(a)(2)
"""

import shutil
from typing import Any

import pytest

from consent.evaluate import Law, decide, in_words
from consent.model import Effect, ReasonKind
from consent.settings import load_consent_settings
from tests.support.consents import (
    CONFIG,
    LOINC,
    NOW_US,
    REGIMES,
    actor,
    coded,
    consent,
    facts,
    judged,
    law,
    provision,
    read,
    request,
    us,
)

CLINIC = request("clinic")
TPO = ["TREAT", "HPAYMT", "HOPERAT"]


def shown(asked, about, *consents, regime="massachusetts"):
    return judged(asked, about, *consents, regime=regime).is_permitted


# -- IHE PCF, basic


@pytest.mark.parametrize(
    ("asked", "root", "expected"),
    [
        (CLINIC, provision("permit", purposes=TPO), True),
        (request("clinic", purpose="HPAYMT"), provision("permit", purposes=TPO), True),
        (request("clinic", purpose="COC"), provision("permit", purposes=TPO), True),
        (request("clinic", purpose="HRESCH"), provision("permit", purposes=TPO), False),
        (request("clinic", purpose="ETREAT"), provision("permit", purposes=TPO), False),
        (CLINIC, provision("deny", purposes=TPO), False),
        (CLINIC, provision("permit", purposes=TPO, period={"end": "2022-12-31"}), False),
        (CLINIC, provision("permit", actors=["clinic"]), True),
        (CLINIC, provision("permit", actors=["lab"]), False),
        (request("clinic", "network"), provision("permit", actors=["network"]), True),
        (request("network"), provision("permit", actors=["clinic"]), False),
    ],
)
def test_pcf_basic(asked, root, expected):
    assert shown(asked, facts(), consent(root)) is expected


# -- IHE PCF, intermediate

WITHIN = {"start": "2022-01", "end": "2022-12"}
BY_DOCTOR = [{"meaning": "authoredby", "reference": {"reference": "Practitioner/d1"}}]
IN_VISIT = [{"meaning": "related", "reference": {"reference": "Encounter/e1"}}]
ONE = [{"meaning": "instance", "reference": {"reference": "Observation/r1"}}]
INSIDE = {
    "timeframe": facts(on="2022-06-01"),
    "author": facts(references=frozenset({"Practitioner/d1"})),
    "encounter": facts(references=frozenset({"Encounter/e1"})),
    "the encounter": facts("Encounter", id="e1"),
    "instance": facts(),
}
OUTSIDE = {
    "timeframe": facts(on="2021-12-31"),
    "author": facts(references=frozenset({"Practitioner/d2"})),
    "encounter": facts(references=frozenset({"Encounter/e2"})),
    "the encounter": facts("Encounter", id="e2"),
    "instance": facts(id="r2"),
}
ASPECTS: dict[str, dict[str, Any]] = {
    "timeframe": {"dataPeriod": WITHIN},
    "author": {"data": BY_DOCTOR},
    "encounter": {"data": IN_VISIT},
    "the encounter": {"data": IN_VISIT},
    "instance": {"data": ONE},
}


@pytest.mark.parametrize("aspect", ASPECTS)
def test_pcf_intermediate_permits_only_that(aspect):
    only = consent(provision("permit", purposes=TPO, **ASPECTS[aspect]))
    assert shown(CLINIC, INSIDE[aspect], only)
    assert not shown(CLINIC, OUTSIDE[aspect], only)


@pytest.mark.parametrize("aspect", ASPECTS)
def test_pcf_intermediate_permits_all_but_that(aspect):
    nested = provision("deny", **ASPECTS[aspect])
    all_but = consent(provision("permit", nested, purposes=TPO))
    assert not shown(CLINIC, INSIDE[aspect], all_but)
    assert shown(CLINIC, OUTSIDE[aspect], all_but)


def test_pcf_intermediate_purpose_of_a_project():
    purpose = coded("http://example.org/policies/purposeOfUse", "FooBar")
    root = provision("permit", purpose=purpose, actors=["clinic"])
    foo_bar = "http://example.org/policies/purposeOfUse|FooBar"
    assert shown(request("clinic", purpose=foo_bar), facts(), consent(root))
    assert not shown(CLINIC, facts(), consent(root))
    assert not shown(request("lab", purpose=foo_bar), facts(), consent(root))


def test_pcf_dissent_but_in_an_emergency():
    root = provision("deny", provision("permit", purposes=["BTG"]), purposes=TPO)
    emergency = request("clinic", purpose="BTG", break_glass=frozenset({"p1"}))
    assert not shown(CLINIC, facts(), consent(root))
    assert shown(emergency, facts(), consent(root))


# -- IHE PCF, advanced

FOCUSED = consent(provision("permit", provision("permit", actors=["clinic"], labels=["PSY"]),
                            purposes=TPO, labels=["N"]))  # fmt: skip
ALL_BUT_PSY = consent(provision("permit", provision("deny", labels=["PSY"])))


@pytest.mark.parametrize(
    ("found", "labels", "asked", "expected"),
    [
        (consent(provision("permit", labels=["N"])), (), CLINIC, True),
        (consent(provision("permit", labels=["N"])), ("R",), CLINIC, False),
        (consent(provision("permit", labels=["N"])), ("PSY",), CLINIC, False),
        (consent(provision("permit", labels=["N", "R"])), ("R",), CLINIC, True),
        (consent(provision("permit", labels=["N", "R"])), ("R", "ETHUD"), CLINIC, True),
        (consent(provision("permit", labels=["N", "R"])), ("V",), CLINIC, False),
        (
            consent(provision("permit", provision("deny", labels=["R"]), labels=["N"])),
            ("R",),
            CLINIC,
            False,
        ),
        (FOCUSED, (), request("lab"), True),
        (FOCUSED, ("R", "PSY"), request("lab"), False),
        (FOCUSED, ("R", "PSY"), CLINIC, True),
        (FOCUSED, ("R", "SDV"), CLINIC, False),
        (FOCUSED, ("R", "PSY", "SDV"), CLINIC, False),  # every label must be permitted
        (ALL_BUT_PSY, ("PSY", "SDV"), CLINIC, False),
        (ALL_BUT_PSY, ("SDV",), CLINIC, True),
    ],
)  # fmt: skip
def test_pcf_advanced(found, labels, asked, expected):
    assert shown(asked, facts(labels=labels), found) is expected


# -- several consents


def test_a_deny_anywhere_wins_over_a_permit_anywhere():
    general, one = consent(provision("permit")), consent(provision("deny", actors=["clinic"]))
    decision = judged(CLINIC, facts(), general, one)
    assert decision.effect is Effect.DENY
    assert [(r.kind, r.consent_id, r.path) for r in decision.reasons] == [
        (ReasonKind.CONSENT_DENY, "c2", "/")
    ]
    assert shown(request("lab"), facts(), general, one)


def test_the_deepest_matching_rule_speaks_on_each_branch():
    found = consent(
        provision(
            "deny",
            provision("permit", provision("deny", labels=["PSY"]), actors=["clinic"]),
            provision("permit", purposes=["HRESCH"]),
        )
    )
    assert shown(CLINIC, facts(), found)
    assert not shown(CLINIC, facts(labels=["PSY"]), found)
    assert not shown(request("lab"), facts(), found)
    assert shown(request("lab", purpose="HRESCH"), facts(), found)
    # clinic for research, psychiatric: the deny of one branch wins over the permit of the other
    research = request("clinic", purpose="HRESCH")
    decision = judged(research, facts(labels=["PSY"]), found)
    assert [r.path for r in decision.reasons] == ["/1/1/"]
    assert [(s.path, s.speaks) for s in decision.trace] == [
        ("/", False),
        ("/1/", False),
        ("/1/1/", True),
        ("/2/", True),
    ]


def test_a_consent_without_effect_changes_nothing():
    expired = consent(provision("permit", period={"end": "2025"}))
    assert not shown(CLINIC, facts(), expired)
    assert shown(CLINIC, facts(), expired, regime="hipaa-treatment")


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-01-01T04:59:59.999999Z", False),
        ("2026-01-01T05:00:00Z", True),  # midnight in Massachusetts
        ("2026-07-01T03:59:59.999999Z", True),
        ("2026-07-01T04:00:00Z", False),
    ],
)
def test_a_period_holds_from_its_first_moment_to_its_last(at, expected):
    found = consent(provision("permit", period={"start": "2026-01-01", "end": "2026-06-30"}))
    assert shown(request("clinic", now_us=us(at)), facts(), found) is expected


@pytest.mark.parametrize(
    ("on", "permits", "denies"),
    [
        ("2021-12-31", False, False),
        ("2022-01-01", True, True),
        ("2022", True, True),
        ("2021", False, False),
        ("2022-12-31T23:59:59Z", True, True),
        ("2023-01-01T00:00:00Z", False, False),
        ("", False, True),  # no date: no permit, every deny
    ],
)
def test_a_data_period_at_its_edges(on, permits, denies):
    assert shown(CLINIC, facts(on=on), consent(provision("permit", dataPeriod=WITHIN))) is permits
    found = consent(provision("permit", provision("deny", dataPeriod=WITHIN)))
    assert shown(CLINIC, facts(on=on), found) is not denies


def test_a_code_is_compared_with_what_the_index_knows():
    a1c = consent(provision("permit", code=[{"coding": coded(LOINC, "4548-4")}]))
    assert shown(CLINIC, facts(codes=frozenset({(LOINC, "4548-4")})), a1c)
    assert not shown(CLINIC, facts(codes=frozenset({("urn:x", "4548-4")})), a1c)
    assert not shown(CLINIC, facts(), a1c)


def test_an_action_is_compared_too():
    found = consent(provision("permit", action=[{"coding": [{"code": "collect"}]}]))
    assert not shown(CLINIC, facts(), found)
    assert shown(request("clinic", action="collect"), facts(), found)


def test_a_class_and_a_discloser_narrow():
    classes = coded("http://hl7.org/fhir/resource-types", "Condition")
    found = consent(provision("permit", class_=classes))
    assert shown(CLINIC, facts("Condition"), found)
    assert not shown(CLINIC, facts("Observation"), found)
    roles = [actor("Organization/lab", "CST"), actor("Organization/clinic")]
    found = consent(provision("permit", actor=roles))
    assert shown(CLINIC, facts(source_id="lab-oru"), found)
    assert not shown(CLINIC, facts(source_id="hospital-adt"), found)


def test_what_one_organisation_authored_is_what_its_feeds_sent():
    data = [{"meaning": "authoredby", "reference": {"reference": "Organization/lab"}}]
    found = consent(provision("permit", provision("deny", data=data)))
    assert not shown(CLINIC, facts(source_id="lab-oru"), found)
    assert shown(CLINIC, facts(source_id="hospital-adt"), found)


def test_a_denied_practitioner_is_refused_with_and_without_a_name():
    found = consent(provision("permit", provision("deny", actor=[actor("Practitioner/ex")])))
    named = request("clinic", grantees=frozenset({"Organization/clinic", "Practitioner/ex"}))
    other = request("clinic", grantees=frozenset({"Organization/clinic", "Practitioner/else"}))
    assert not shown(named, facts(), found)
    assert not shown(CLINIC, facts(), found)  # nobody named: it could be that one
    assert shown(other, facts(), found)


# -- who needs no consent


@pytest.mark.parametrize(
    ("asked", "about", "reason"),
    [
        (request("lab", own_sources=frozenset({"hospital-adt"})), facts(), ReasonKind.OWN_SOURCE),
        (request(self_person="p1"), facts(labels=["HIV"]), ReasonKind.OWN_RECORD),
        (request("hie", is_steward=True), facts("Patient"), ReasonKind.STEWARD),
        (request("lab"), facts("Organization", person_id=None), ReasonKind.DIRECTORY),
    ],
)
def test_own_data_and_directories_are_shown_against_any_deny(asked, about, reason):
    decision = judged(asked, about, consent(provision("deny")), regime="deny-all")
    assert decision.is_permitted
    assert [r.kind for r in decision.reasons] == [reason]


@pytest.mark.parametrize(
    ("asked", "about", "reason"),
    [
        (CLINIC, facts(person_id=None), ReasonKind.NO_PERSON),
        (request(self_person="p2"), facts(), ReasonKind.NO_ORGANIZATION),
        (request(), facts(), ReasonKind.NO_ORGANIZATION),
        (request("clinic", purpose="BTG"), facts(), ReasonKind.NO_REASON),
        (
            request("clinic", purpose="BTG", break_glass=frozenset({"p2"})),
            facts(),
            ReasonKind.NO_REASON,
        ),
    ],
)
@pytest.mark.parametrize("regime", REGIMES)
def test_some_requests_no_consent_can_open(asked, about, reason, regime):
    decision = judged(asked, about, consent(provision("permit")), regime=regime)
    assert not decision.is_permitted
    assert [r.kind for r in decision.reasons] == [reason]


def test_a_directory_entry_that_is_about_a_person_follows_the_consents():
    about = facts("Location", person_id="p1")
    assert not shown(CLINIC, about)
    assert shown(CLINIC, about, consent(provision("permit")))


# -- where no consent speaks


@pytest.mark.parametrize(
    ("regime", "purpose", "expected"),
    [
        ("massachusetts", "TREAT", False),
        ("massachusetts", "BTG", True),
        ("hipaa-treatment", "TREAT", True),
        ("hipaa-treatment", "COC", True),
        ("hipaa-treatment", "HRESCH", False),
        ("hipaa-treatment", "BTG", True),
        ("part2", "TREAT", False),
        ("break-glass-only", "TREAT", False),
        ("break-glass-only", "BTG", True),
        ("break-glass-only", "ETREAT", False),
        ("deny-all", "TREAT", False),
        ("deny-all", "BTG", False),
    ],
)
def test_the_regime_decides_where_no_consent_speaks(regime, purpose, expected):
    asked = request("clinic", purpose=purpose, break_glass=frozenset({"p1"}))
    decision = judged(asked, facts(), regime=regime)
    assert decision.is_permitted is expected
    permit = ReasonKind.EMERGENCY if purpose == "BTG" else ReasonKind.DEFAULT_PERMIT
    kind = permit if expected else ReasonKind.DEFAULT_DENY
    assert [r.kind for r in decision.reasons] == [kind]


@pytest.mark.parametrize("regime", REGIMES)
def test_a_patients_deny_and_permit_count_more_than_the_regime(regime):
    assert shown(CLINIC, facts(), consent(provision("permit")), regime=regime)
    assert not shown(CLINIC, facts(), consent(provision("deny")), regime=regime)


# -- hard rules, in every regime

RELEASE = consent(provision("permit", actors=["clinic"], purposes=["TREAT"], labels=["HIV"]))
GENERAL = consent(provision("permit"))


@pytest.mark.parametrize("regime", REGIMES)
def test_a_general_consent_does_not_release_hiv_results(regime):
    decision = judged(CLINIC, facts(labels=["HIV"]), GENERAL, regime=regime)
    assert [(r.kind, r.label) for r in decision.reasons] == [(ReasonKind.HARD_RULE, "HIV")]
    assert not shown(CLINIC, facts(labels=["HIV"]), regime=regime)


@pytest.mark.parametrize("regime", REGIMES)
def test_a_consent_for_this_release_does_to_whom_it_names_and_for_what(regime):
    about = facts(labels=["HIV"])
    assert shown(CLINIC, about, RELEASE, regime=regime)
    assert not shown(request("lab"), about, RELEASE, GENERAL, regime=regime)
    assert not shown(request("clinic", purpose="HPAYMT"), about, RELEASE, GENERAL, regime=regime)
    assert not shown(CLINIC, about, RELEASE, consent(provision("deny")), regime=regime)


def test_a_release_of_hiv_results_does_not_release_what_else_is_in_the_resource():
    both = facts(labels=["HIV", "PSYTHPN"])
    decision = judged(CLINIC, both, RELEASE)
    assert [r.label for r in decision.reasons] == ["PSYTHPN"]
    psy = facts(labels=["HIV", "PSY"])
    assert not shown(CLINIC, psy, RELEASE)  # the release names HIV alone
    assert shown(CLINIC, psy, RELEASE, GENERAL)  # the general consent covers the rest


def test_two_hard_labels_need_a_lift_each_but_not_in_one_consent():
    part2 = consent(provision("permit", actors=["clinic"], purposes=["TREAT"], labels=["SUD"]))
    both = facts(labels=["HIV", "OPIOIDUD"])
    assert not shown(CLINIC, both, RELEASE, GENERAL, regime="part2")
    assert shown(CLINIC, both, RELEASE, part2, GENERAL, regime="part2")


@pytest.mark.parametrize(
    ("regime", "labels", "held"),
    [
        ("massachusetts", ["OPIOIDUD"], False),
        ("part2", ["OPIOIDUD"], True),
        ("part2", ["ETHUD"], True),
        ("part2", ["PSY"], False),
        ("massachusetts", ["42CFRPart2"], True),
        ("hipaa-treatment", ["42CFRPart2"], True),
    ],
)
def test_part_2_holds_back_substance_use_by_regime_and_by_source(regime, labels, held):
    about = facts(labels=labels)
    assert shown(CLINIC, about, GENERAL, regime=regime) is not held
    part2 = consent(
        provision("permit", actors=["clinic"], purposes=TPO, labels=["42CFRPart2"])
    )  # one consent for all of treatment, payment and operations
    assert shown(CLINIC, about, GENERAL, part2, regime=regime)


def test_a_part_2_disclosure_carries_its_notice():
    part2 = consent(provision("permit", actors=["clinic"], purposes=TPO, labels=["SUD"]))
    decision = judged(CLINIC, facts(labels=["OPIOIDUD"]), part2, regime="part2")
    assert [o.code for o in decision.obligations] == ["part2-notice"]
    assert "42 CFR part 2" in decision.obligations[0].text
    assert judged(CLINIC, facts(), GENERAL, regime="part2").obligations == ()


def test_counselling_notes_need_a_consent_of_their_own():
    notes = facts("DocumentReference", labels=["PSYTHPN"])
    mixed = consent(
        provision("permit", actors=["clinic"], purposes=["TREAT"], labels=["PSYTHPN", "PSY", "V"])
    )
    own = consent(provision("permit", actors=["clinic"], purposes=["TREAT"], labels=["PSYTHPN"]))
    assert not shown(CLINIC, notes, GENERAL)
    assert not shown(CLINIC, notes, mixed)
    assert shown(CLINIC, notes, own)


def test_a_lift_is_bound_to_its_dates():
    old = consent(
        provision(
            "permit", actors=["clinic"], purposes=["TREAT"], labels=["HIV"], dataPeriod=WITHIN
        )
    )
    assert shown(CLINIC, facts(labels=["HIV"], on="2022-05"), old)
    assert not shown(CLINIC, facts(labels=["HIV"], on="2023-05"), old, GENERAL)
    assert not shown(CLINIC, facts(labels=["HIV"]), old, GENERAL)


# -- partial facts


def test_partial_facts_deny_only_what_is_denied_for_certain():
    partial = facts(is_partial=True)
    dated = consent(provision("permit", provision("deny", dataPeriod=WITHIN)))
    coded_ = consent(provision("permit", code=[{"coding": coded(LOINC, "4548-4")}]))
    by = consent(provision("permit", provision("deny", data=BY_DOCTOR)))
    visit = consent(provision("permit", data=IN_VISIT))
    for found in (dated, coded_, by, visit):
        assert shown(CLINIC, partial, found)
    assert not shown(CLINIC, partial, consent(provision("deny")))
    assert not shown(CLINIC, facts(is_partial=True, labels=["HIV"]), GENERAL)
    assert not shown(
        CLINIC, facts(is_partial=True, id="r2"), consent(provision("permit", data=ONE))
    )


# -- words


def test_a_decision_is_explained_to_staff_and_to_the_patient():
    found = consent(provision("permit", provision("deny", actor=[actor("Group/g1")])))
    staff, patient = in_words(judged(CLINIC, facts(), found), law())
    assert staff == (
        "Denied by Consent/c1 version 1, provision /1/. "
        "It names somebody the hub does not know.",
    )  # fmt: skip
    assert patient[0].startswith("You asked us not to share this. We could not read all of")
    _, patient = in_words(judged(CLINIC, facts(), consent(provision("deny"))), law())
    assert patient == ("You asked us not to share this.",)
    staff, _ = in_words(judged(CLINIC, facts(labels=["HIV"]), GENERAL), law())
    assert "s.70F" in staff[0]
    staff, _ = in_words(judged(CLINIC, facts()), law())
    assert "Massachusetts" in staff[0]


def test_the_same_reason_is_said_once():
    decision = judged(CLINIC, facts(), *[consent(provision("deny"))] * 3)
    assert len(decision.reasons) == 3
    assert len(in_words(decision, law())[1]) == 1


def test_a_default_may_name_purposes_labels_and_effect(tmp_path):
    for folder in ("consent", "sensitivity"):
        shutil.copytree(CONFIG / folder, tmp_path / folder)
    (tmp_path / "consent" / "mixed.toml").write_text(
        'title = "mixed"\njurisdiction = "US-NH"\ntime_zone = "UTC"\n'
        '[[default]]\neffect = "permit"\nlabels = ["R"]\n'
        '[[default]]\neffect = "deny"\nlabels = ["PSY"]\n'
        '[[default]]\neffect = "deny"\nfrom = 2030-01-01\n'
    )
    mixed = Law(load_consent_settings(tmp_path, "mixed"))

    def permits(now_us, **elements):
        asked = request("clinic", now_us=now_us)
        return decide(asked, facts(**elements), (), mixed).is_permitted

    assert permits(NOW_US)
    assert permits(NOW_US, labels=["SDV"])
    assert not permits(NOW_US, labels=["PSY"])
    assert not permits(NOW_US, labels=["V"])
    assert not permits(us("2030-06-01"))


def test_directives_without_rules_are_as_none():
    assert read(consent(provision("permit"), status="inactive"))[0].rules == ()
    assert not shown(CLINIC, facts(), consent(provision("permit"), status="inactive"))
