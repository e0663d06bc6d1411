"""FHIR Consent to rules: what is read, what is taken over, and what is not understood.

Spec: https://hl7.org/fhir/R4/consent.html, https://hl7.org/fhir/R5/consent.html
"""

import json
from itertools import permutations
from typing import Any

import pytest

from consent.from_fhir.directive import ConsentReader
from consent.model import Effect, Rule, Target, TargetKind
from tests.support.consents import (
    ACT_CODE,
    ACT_REASON,
    CONFIG,
    DIRECTORY,
    FEEDS,
    LOINC,
    actor,
    coded,
    consent,
    label,
    law,
    provision,
    read,
    us,
)

DENY_ALL = Rule(path="/", effect=Effect.DENY)
PERMIT_ALL = Rule(path="/", effect=Effect.PERMIT)
TABLE = law().labels


def rules(found, regime="massachusetts"):
    return read(found, regime=regime)[0].rules


def rule(root):
    """The only rule of a Consent with this root provision."""
    (only,) = rules(consent(root))
    return only


def briefly(found):
    return [(r.path, r.effect.value) for r in found]


# -- the base decision


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (consent(provision("permit")), PERMIT_ALL),
        (consent(provision("deny")), DENY_ALL),
        (consent(), DENY_ALL),
        (consent(provision(None)), DENY_ALL),
        (consent(provision(None), policyRule={"coding": coded(ACT_CODE, "OPTIN")}), PERMIT_ALL),
        (consent(policyRule={"coding": coded(ACT_CODE, "OPTOUT")}), DENY_ALL),
        (consent(policyRule={"coding": coded(ACT_CODE, "WHATEVER")}), DENY_ALL),
        (consent(provision("deny"), policyRule={"coding": coded(ACT_CODE, "OPTIN")}), DENY_ALL),
        (consent(decision="permit"), PERMIT_ALL),
        (consent(decision="deny"), DENY_ALL),
    ],
)
def test_the_base_is_the_root_type_else_decision_else_policy_else_deny(found, expected):
    assert rules(found) == (expected,)


def test_a_policy_by_name_brings_its_purposes_and_labels():
    uri = "https://profiles.ihe.net/ITI/PCF/Policy-basic-normal"
    (permit,) = rules(consent(provision(None), policy=[{"uri": uri}]))
    assert permit.effect is Effect.PERMIT
    assert permit.purposes == {"TREAT", "HPAYMT", "HOPERAT"}
    assert permit.label_mask == 0
    (permit,) = rules(consent(provision(None, purposes=["TREAT"]), policy=[{"uri": uri}]))
    assert permit.purposes == {"TREAT"}
    (deny,) = rules(consent(provision("deny"), policy=[{"uri": uri}]))
    assert deny == DENY_ALL  # whoever rejects a policy rejects all of it


IHE = "https://profiles.ihe.net/ITI/PCF/Policy-"


@pytest.mark.parametrize("uris", list(permutations(["basic-normal", "all-normal"])))
def test_of_several_policies_the_strictest_holds_in_any_order(uris):
    named = [{"uri": IHE + uri} for uri in uris]
    (permit,) = rules(consent(provision(None), policy=named))
    assert permit.purposes == {"TREAT", "HPAYMT", "HOPERAT"}
    opt_in = {"coding": coded(ACT_CODE, "OPTIN")}
    assert rules(consent(provision(None), policy=named, policyRule=opt_in)) == (permit,)
    opt_out = {"coding": coded(ACT_CODE, "OPTOUT")}
    assert rules(consent(policy=named, policyRule=opt_out)) == (DENY_ALL,)


@pytest.mark.parametrize(
    "uris", list(permutations(["basic-normal", "break-glass-only", "all-normal"]))
)
def test_policies_that_permit_nothing_together_permit_nothing(uris):
    named = [{"uri": IHE + uri} for uri in uris]
    opt_in = {"coding": coded(ACT_CODE, "OPTIN")}
    for root in (provision(None), provision("permit")):
        assert not rules(consent(root, policy=named, policyRule=opt_in))


def test_a_denial_below_several_policies_is_as_wide_as_below_each_of_them():
    below = {"type": "deny", "provision": []}
    for named, is_at_odds in (
        (["all-normal", "basic-normal"], True),
        (["break-glass-only", "all-normal"], True),
        (["basic-normal", "deny"], True),
        (["basic-normal"], False),
    ):
        for order in permutations(named):
            opt_in = {"coding": coded(ACT_CODE, "OPTIN")}
            found = rules(
                consent(
                    {"type": "permit", "provision": [below]},
                    policy=[{"uri": IHE + name} for name in order],
                    policyRule=opt_in,
                )
            )
            (deny,) = [one for one in found if one.effect is Effect.DENY]
            assert (deny.purposes is None) is is_at_odds, order
            assert deny.note == ("policies-at-odds" if is_at_odds else "")


@pytest.mark.parametrize("kind", ["perhaps", 5, {}, []])
def test_a_type_that_is_none_denies(kind):
    found = rules(consent({"type": "permit", "provision": [{"type": kind}]}))
    assert [(r.effect, r.note) for r in found[1:]] == [(Effect.DENY, "unknown-type")]


# -- what a Consent is at all


@pytest.mark.parametrize(
    ("change", "ignored"),
    [
        ({"status": "inactive"}, "not-active"),
        ({"status": "draft"}, "not-active"),
        ({"status": "entered-in-error"}, "not-active"),
        ({"status": "not-done"}, "not-active"),
        ({"scope": {"coding": [{"code": "adr"}]}}, "not-privacy"),
        ({"scope": {"coding": [{"code": "treatment"}]}}, "not-privacy"),
    ],
)
def test_a_consent_that_is_none_has_no_rules(change, ignored):
    (found,) = read(consent(provision("permit"), **change))
    assert (found.rules, found.ignored) == ((), ignored)
    assert not found.widens


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"status": "on-hold"}, "unknown-status"),
        ({"status": None}, "unknown-status"),
        ({"scope": {"coding": [{"code": "gossip"}]}}, "unknown-scope"),
        ({"modifierExtension": [{"url": "urn:x", "valueBoolean": True}]}, "unknown-modifier"),
        ({"implicitRules": "urn:x"}, "unknown-modifier"),
        ({"policy": [{"modifierExtension": [{"url": "urn:x"}]}]}, "unknown-modifier"),
        ({"provision": {"type": "permit", "modifierExtension": [{"url": "urn:x"}]}},
         "unknown-modifier"),
        ({"provision": {"type": "permit", "actor": [actor("Organization/clinic")
          | {"modifierExtension": [{"url": "urn:x"}]}]}}, "unknown-modifier"),
    ],
)  # fmt: skip
def test_a_consent_that_cannot_be_read_denies_everything(change, note):
    assert rules(consent(provision("permit"), **change)) == (
        Rule(path="/", effect=Effect.DENY, note=note),
    )


def test_a_scope_that_is_partly_known_counts():
    scope = {"coding": [{"code": "gossip"}, {"code": "patient-privacy"}]}
    assert rules(consent(provision("permit"), scope=scope)) == (PERMIT_ALL,)
    assert rules(consent(provision("permit"), scope={"text": "privacy"})) == (PERMIT_ALL,)


def test_a_research_consent_that_names_no_purpose_is_about_research():
    scope = {"coding": [{"code": "research"}]}
    (found,) = rules(consent(provision("permit"), scope=scope))
    assert found.purposes == {"HRESCH"}
    (found,) = rules(consent(provision("permit", purposes=["CLINTRCH"]), scope=scope))
    assert found.purposes == {"CLINTRCH"}


# -- elements


def test_elements_become_sets():
    found = rule(
        provision(
            "permit",
            actors=["clinic", "lab"],
            purposes=["TREAT", "HPAYMT"],
            action=[{"coding": [{"code": "access"}]}, {"coding": [{"code": "collect"}]}],
            class_=coded("http://hl7.org/fhir/resource-types", "Observation", "Condition"),
            code=[{"coding": coded(LOINC, "4548-4", "2345-7")}],
        )
    )
    assert found == Rule(
        path="/",
        effect=Effect.PERMIT,
        grantees=frozenset({"Organization/clinic", "Organization/lab"}),
        purposes=frozenset({"TREAT", "HPAYMT"}),
        actions=frozenset({"access", "collect"}),
        types=frozenset({"Observation", "Condition"}),
        codes=frozenset({(LOINC, "4548-4"), (LOINC, "2345-7")}),
    )


@pytest.mark.parametrize("code", ["access", "use", "disclose"])
def test_access_use_and_disclosure_are_one_action_to_a_reader(code):
    found = rule(provision("deny", action=[{"coding": [{"code": code}]}]))
    assert found.actions == {"access"}


def test_a_purpose_of_another_system_keeps_its_system():
    found = rule(provision("permit", purpose=coded("urn:purposes", "FooBar")))
    assert found.purposes == {"urn:purposes|FooBar"}


@pytest.mark.parametrize("system", [ACT_REASON, "urn:purposes"])
def test_a_purpose_nobody_knows_is_permitted_alone_and_denied_as_any(system):
    code = "TREATT" if system == ACT_REASON else f"{system}|TREATT"
    both = [*coded(ACT_REASON, "HPAYMT"), *coded(system, "TREATT")]
    assert rule(provision("permit", purpose=both)).purposes == {"HPAYMT", code}
    found = rule(provision("deny", purpose=both))
    assert (found.purposes, found.note) == (None, "unknown-purpose")


def every(concepts):
    """Concepts of a code system with all below them."""
    for one in concepts:
        yield one
        yield from every(one.get("concept", []))


def test_every_purpose_of_the_code_system_is_known():
    lines = (CONFIG / "fhir" / "terminology" / "fhir-r4.ndjson").read_text().splitlines()
    (line,) = [line for line in lines if '"CodeSystem","id":"v3-ActReason"' in line]
    concepts: list[dict[str, Any]] = [{"code": "", **json.loads(line)}]
    below = {one["code"]: one.get("concept", []) for one in every(concepts)}
    codes = {one["code"] for one in every(below["PurposeOfUse"])}
    assert codes > {"HMARKT", "CAREMGT", "POPHLTH"}
    assert codes <= law().settings.purposes.known()


def test_an_actor_may_be_named_by_identifier():
    named = {"role": {}, "reference": {"identifier": {"system": "urn:hie:test", "value": "clinic"}}}
    assert rule(provision("permit", actor=[named])).grantees == {"Organization/clinic"}


def test_a_discloser_narrows_to_what_its_feeds_sent():
    found = rule(
        provision(
            "permit",
            actor=[actor("Organization/hospital", "CST"), actor("Organization/clinic", "IRCP")],
        )
    )
    assert found.grantees == {"Organization/clinic"}
    assert found.sources == FEEDS["Organization/hospital"]


def test_who_merely_signed_narrows_nothing():
    assert rule(provision("permit", actor=[actor("Patient/p1", "CONSENTER")])) == PERMIT_ALL


@pytest.mark.parametrize("role", ["GUARD", "RESPRSN", "PAT"])
def test_a_permit_for_a_guardian_permits_nobody_else(role):
    found = rule(provision("permit", actor=[actor("RelatedPerson/g1", role)]))
    assert found.grantees == {"RelatedPerson/g1"}


def test_a_deny_of_one_practitioner_reaches_whoever_gives_no_name():
    found = rule(provision("deny", actor=[actor("Practitioner/who")]))
    assert found.grantees == {"Practitioner/who", "Practitioner/*"}
    found = rule(provision("permit", actor=[actor("Practitioner/who")]))
    assert found.grantees == {"Practitioner/who"}


@pytest.mark.parametrize(
    ("meaning", "reference", "expected"),
    [
        ("instance", "Observation/o1", {Target(TargetKind.INSTANCE, "Observation/o1")}),
        ("related", "Encounter/e1", {Target(TargetKind.ENCOUNTER, "Encounter/e1")}),
        ("dependents", "Condition/c1", {Target(TargetKind.ENCOUNTER, "Condition/c1")}),
        ("authoredby", "Practitioner/d1", {Target(TargetKind.AUTHOR, "Practitioner/d1")}),
        (
            "authoredby",
            "Organization/lab",
            {
                Target(TargetKind.AUTHOR, "Organization/lab"),
                Target(TargetKind.SOURCE, "lab-oru"),
            },
        ),
    ],
)
def test_data_names_targets(meaning, reference, expected):
    data = [{"meaning": meaning, "reference": {"reference": reference}}]
    assert rule(provision("deny", data=data)).targets == expected


@pytest.mark.parametrize(
    ("period", "lo", "hi"),
    [
        ({"start": "2022-01", "end": "2022-12"}, "2022-01-01", "2023-01-01"),
        ({"start": "2022"}, "2022-01-01", None),
        ({"end": "2022-12-31"}, None, "2023-01-01"),
        ({"start": "2022-01-01T00:00:00Z"}, "2022-01-01", None),
    ],
)
def test_a_data_period_is_read_in_utc_as_the_index_is(period, lo, hi):
    found = rule(provision("permit", dataPeriod=period))
    assert found.date_lo_us == (lo and us(lo))
    assert found.date_hi_us == (hi and us(hi))


def test_a_consents_period_is_read_in_the_regimes_time_zone():
    found = rule(provision("permit", period={"start": "2026-03-08", "end": "2026-03-08"}))
    assert found.valid_from_us == us("2026-03-08T05:00:00Z")
    assert found.valid_to_us == us("2026-03-09T04:00:00Z")  # clocks changed: 23 hours


# -- what is not understood widens a deny and voids a permit

OBSERVATION = {"reference": "Observation/o1"}
UNREADABLE = [
    ({"actor": [actor("Group/g1")]}, "unknown-actor"),
    ({"actor": [actor("https://elsewhere.example/Organization/1")]}, "unknown-actor"),
    ({"actor": [{"role": {}}]}, "unknown-actor"),
    ({"actor": [actor("Organization/clinic", "GOSSIP")]}, "unknown-actor"),
    ({"actor": [actor("Organization/nofeeds", "CST")]}, "unknown-actor"),
    ({"actor": ["clinic"]}, "unknown-actor"),
    ({"actor": []}, "unknown-element"),
    ({"purpose": [{"display": "research"}]}, "unknown-purpose"),
    ({"purpose": "TREAT"}, "unknown-purpose"),
    ({"action": [{"coding": [{"code": "sell"}]}]}, "unknown-action"),
    ({"class": [{"system": "urn:ietf:bcp:13", "code": "text/plain"}]}, "unknown-class"),
    ({"class": [{"code": "Observations"}]}, "unknown-class"),
    ({"code": [{"text": "my diagnosis"}]}, "unknown-code"),
    ({"code": [{"coding": coded("urn:local", "x")}]}, "unknown-code"),
    ({"data": [{"meaning": "guessed", "reference": OBSERVATION}]}, "unknown-data"),
    ({"data": [{"meaning": "related", "reference": OBSERVATION}]}, "unknown-data"),
    ({"data": [{"meaning": "instance"}]}, "unknown-data"),
    ({"dataPeriod": {"start": "someday"}}, "unknown-date"),
    ({"dataPeriod": {"start": "2023", "end": "2021"}}, "unknown-date"),
    ({"dataPeriod": "2022"}, "unknown-date"),
    ({"period": {"end": "2022-13"}}, "unknown-date"),
    ({"securityLabel": label("GOSSIP")}, "unknown-label"),
    ({"securityLabel": [{"system": "urn:local", "code": "PSY"}]}, "unknown-label"),
    ({"expression": {"language": "text/fhirpath", "expression": "true"}}, "unknown-element"),
]  # fmt: skip


@pytest.mark.parametrize(("elements", "note"), UNREADABLE, ids=str)
def test_what_is_not_understood_widens_a_deny_and_voids_a_permit(elements, note):
    (deny,) = rules(consent({"type": "deny"} | elements))
    assert deny == Rule(path="/", effect=Effect.DENY, note=note)
    assert rules(consent({"type": "permit"} | elements)) == ()


def test_what_is_partly_understood_narrows_a_permit_to_that():
    both = [actor("Organization/clinic"), actor("Group/g1")]
    assert rule(provision("permit", actor=both)).grantees == {"Organization/clinic"}
    assert rule(provision("deny", actor=both)).grantees is None
    codes = [{"coding": coded(LOINC, "1-1")}, {"text": "and this"}]
    assert rule(provision("permit", code=codes)).codes == {(LOINC, "1-1")}
    assert rule(provision("deny", code=codes)).codes is None


def test_a_nested_permit_takes_over_what_was_not_understood_above_it():
    found = rules(
        consent(provision("deny", provision("permit", labels=["PSY"]), actor=[actor("Group/g")]))
    )
    assert found == (Rule(path="/", effect=Effect.DENY, note="unknown-actor"),)


@pytest.mark.parametrize("codes", [["GOSSIP"], ["CST", "IRCP"]], ids=str)
def test_an_actor_who_may_be_the_discloser_is_a_limit_that_no_permit_below_loses(codes):
    """Named by its role, the laboratory alone would disclose; by another, nobody does."""
    below = provision("permit", actors=["clinic"])
    limited = rules(consent(provision("permit", below, actor=[actor("Organization/lab", "CST")])))
    assert [found.sources for found in limited] == [{"lab-oru"}] * 2
    role = {"coding": [{"code": code} for code in codes]}
    other = {"role": role, "reference": {"reference": "Organization/lab"}}
    assert rules(consent(provision("permit", below, actor=[other]))) == ()
    beside = [other, actor("Organization/clinic")]
    assert rules(consent(provision("permit", actor=beside))) == ()


# -- nesting


def test_types_are_taken_literally_at_any_depth():
    found = rules(
        consent(
            provision(
                "permit",
                provision("permit", provision("deny", provision("deny"))),
                provision("deny"),
            )
        )
    )
    assert briefly(found) == [
        ("/", "permit"),
        ("/1/", "permit"),
        ("/1/1/", "deny"),
        ("/1/1/1/", "deny"),
        ("/2/", "deny"),
    ]


def test_a_provision_takes_over_what_it_does_not_state_and_replaces_what_it_does():
    _, nested, below = rules(
        consent(
            provision(
                "permit",
                provision(
                    "deny",
                    provision("permit", purposes=["HRESCH"], dataPeriod={"start": "2024"}),
                    labels=["PSY"],
                ),
                actors=["clinic"],
                purposes=["TREAT"],
                labels=["N"],
                dataPeriod={"start": "2020"},
            )
        )
    )
    assert nested.grantees == below.grantees == {"Organization/clinic"}
    assert (nested.purposes, below.purposes) == ({"TREAT"}, {"HRESCH"})
    assert nested.label_mask == TABLE.denied(label("PSY"))
    assert below.label_mask == TABLE.permitted(label("PSY"))
    assert (nested.date_lo_us, below.date_lo_us) == (us("2020"), us("2024"))


def test_a_period_only_narrows():
    _, nested = rules(
        consent(
            provision(
                "permit",
                provision("permit", period={"start": "2025-01-01T00:00:00Z"}),
                period={"start": "2020", "end": "2026-12-31T23:59:59Z"},
            ),
            period={"start": "2024-06-01T00:00:00Z"},
        )
    )
    assert nested.valid_from_us == us("2025-01-01")
    assert nested.valid_to_us == us("2027-01-01")


def test_r5_exceptions_are_the_opposite_of_what_they_are_an_exception_to():
    found = rules(
        {
            "resourceType": "Consent",
            "status": "active",
            "decision": "deny",
            "provision": [
                {
                    "actor": [actor("Organization/clinic")],
                    "provision": [{"securityLabel": label("PSY")}],
                },
                {"purpose": coded(ACT_REASON, "HRESCH")},
            ],
        }
    )  # fmt: skip
    assert briefly(found) == [
        ("/", "deny"),
        ("/1/", "permit"),
        ("/1/1/", "deny"),
        ("/2/", "permit"),
    ]
    assert found[2].grantees == {"Organization/clinic"}


def test_r5_names_types_and_grantees_its_own_way():
    found = rules(
        {
            "status": "active",
            "decision": "permit",
            "grantee": [{"reference": "Organization/clinic"}],
            "period": {"end": "2026-12-31T23:59:59Z"},
            "provision": [{"resourceType": [{"code": "Condition"}]}],
        }
    )
    assert [r.grantees for r in found] == [{"Organization/clinic"}] * 2
    assert found[0].valid_to_us == us("2027-01-01")
    assert found[1].types == {"Condition"}


def test_a_consent_nested_beyond_reason_denies_everything():
    root = innermost = provision("permit")
    for _ in range(60):
        innermost["provision"] = [provision("permit")]
        innermost = innermost["provision"][0]
    assert rules(consent(root)) == (Rule(path="/", effect=Effect.DENY, note="too-deep"),)


@pytest.mark.parametrize(("decision", "kind"), [("deny", "permit"), ("permit", "deny")])
def test_a_decision_and_a_type_that_differ_say_neither(decision, kind):
    (found,) = rules({**consent(provision(kind)), "decision": decision})
    assert (found.effect, found.note) == (Effect.DENY, "unknown-type")
    (found,) = rules({**consent(provision(kind)), "decision": kind})
    assert (found.effect, found.note) == (Effect(kind), "")


@pytest.mark.parametrize(
    "found",
    [
        *({**consent(provision("permit")), "decision": "deny"}, {"decision": "perhaps"}),
        {"decision": "permit", "provision": [{"type": "perhaps"}]},
    ],
)
def test_an_exception_to_what_nobody_understands_permits_nothing(found):
    research = {"purpose": coded(ACT_REASON, "HRESCH")}
    root = found.get("provision") or [{}]
    one = root[0] if isinstance(root, list) else root
    nested = {**one, "provision": [{**research, "provision": [research]}]}
    provisions = [nested] if isinstance(root, list) else nested
    below = rules({"status": "active", **found, "provision": provisions})[1:]
    assert len(below) >= 2
    assert {(r.effect, r.note) for r in below} == {(Effect.DENY, "unknown-type")}


# -- lifts of hard rules


@pytest.mark.parametrize(
    ("elements", "lifted"),
    [
        ({"actors": ["clinic"], "purposes": ["TREAT"], "labels": ["HIV"]}, {"HIV"}),
        # c.111 s.70F: apart from the consent to anything else
        ({"actors": ["clinic"], "purposes": ["TREAT"], "labels": ["HIV", "PSY"]}, set()),
        ({"actors": ["clinic"], "purposes": ["TREAT"], "labels": ["HIV", "R"]}, {"HIV"}),
        ({"actors": ["clinic"], "labels": ["HIV"]}, set()),
        ({"purposes": ["TREAT"], "labels": ["HIV"]}, set()),
        ({"actors": ["clinic"], "purposes": ["TREAT"]}, set()),
        ({"actors": ["clinic"], "purposes": ["TREAT"], "labels": ["R"]}, set()),
        ({"actors": ["clinic"], "purposes": ["TREAT"], "labels": ["V"]}, set()),
        ({"actors": ["clinic"], "purposes": ["TREAT"], "labels": ["BH"]}, set()),
        ({"actors": ["clinic"], "purposes": ["TREAT"], "labels": ["PSYTHPN"]}, {"PSYTHPN"}),
        ({"actors": ["clinic"], "purposes": ["TREAT"], "labels": ["PSYTHPN", "V"]}, {"PSYTHPN"}),
        ({"actors": ["clinic"], "purposes": ["TREAT"], "labels": ["PSYTHPN", "PSY"]}, set()),
        (
            {"actors": ["clinic"], "purposes": ["TREAT"], "labels": ["SUD"]},
            {"SUD", "ETH", "ETHUD", "OPIOIDUD", "42CFRPart2"},
        ),
        ({"actors": ["clinic"], "purposes": ["TREAT"], "labels": ["ETHUD"]}, set()),
    ],
)
def test_a_hard_label_is_lifted_by_recipient_purpose_and_the_label_itself(elements, lifted):
    found = [r for r in rules(consent(provision("permit", **elements))) if r.effect is Effect.LIFT]
    mask = found[0].label_mask if found else 0
    assert set(TABLE.codes(mask)) == lifted


def test_a_deny_lifts_nothing():
    elements = {"actors": ["clinic"], "purposes": ["TREAT"], "labels": ["HIV"]}
    assert [r.effect for r in rules(consent(provision("deny", **elements)))] == [Effect.DENY]


def test_reading_takes_the_references_as_they_stand_where_nothing_else_is_known():
    assert DIRECTORY.grantee({"reference": "Organization/clinic"}) == "Organization/clinic"
    assert DIRECTORY.grantee({"reference": "urn:uuid:1"}) is None
    assert DIRECTORY.grantee({"identifier": "clinic"}) is None
    assert DIRECTORY.sources("Organization/nowhere") == frozenset()


@pytest.mark.parametrize("regime", ["massachusetts", "part2"])
def test_the_rules_of_a_consent_do_not_depend_on_the_regime(regime):
    found = consent(provision("permit", actors=["clinic"], purposes=["TREAT"], labels=["SUD"]))
    reader = ConsentReader(law(regime).settings, law(regime).labels)
    assert reader.directive(found, consent_id="c1", directory=DIRECTORY) == read(found)[0]
