"""The dry run over files: what it prints, what it refuses, that junk denies and says so."""

import copy
from random import Random
from typing import Any

import pytest

from consent.casefile import Files, filed, read_request
from consent.dry_run import DryRun
from hie.kernel.errors import HieError
from hie.store.index import load_index
from tests.support.consents import (
    ACT_REASON,
    CONFIG,
    LOINC,
    NOW_US,
    actor,
    coded,
    consent,
    law,
    provision,
)

INDEX = load_index(CONFIG / "fhir")
KEYS = ["decision", "reasons", "residual", "obligations", "released", "withheld"]
REQUEST = {
    "patient": "Patient/p1",
    "actors": [{"reference": "Practitioner/d1"}],
    "organization": "Organization/clinic",
    "roles": [],
    "purpose": "TREAT",
    "action": "access",
    "at": "2026-03-01T12:00:00Z",
    "breakGlass": None,
}
GLUCOSE = {
    "resourceType": "Observation",
    "id": "glucose",
    "status": "final",
    "subject": {"reference": "Patient/p1"},
    "code": {"coding": [{"system": LOINC, "code": "2339-0"}]},
    "effectiveDateTime": "2022-06-01",
    "performer": [{"reference": "Practitioner/d2"}],
}
DEPRESSION = {
    "resourceType": "Condition",
    "id": "depression",
    "subject": {"reference": "https://hub.example/fhir/Patient/p1"},
    "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "F32.9"}]},
}
HIV = {**GLUCOSE, "id": "hiv", "code": {"coding": [{"system": LOINC, "code": "20447-9"}]}}
OPIOID = {
    **DEPRESSION,
    "id": "opioid",
    "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "F11.20"}]},
}
CHART = (GLUCOSE, DEPRESSION, HIV, OPIOID)


def decided(*named, regime="massachusetts", resources=CHART, explains=False, **asked):
    """What is printed for consents and whom they name; ids are given to those without one."""
    folder = filed((f"{at}.json", one) for at, one in enumerate(named))
    chart = filed((f"{one['id']}.json", one) for one in resources)
    files = Files.of([*folder, *chart], law(regime).settings)
    request = read_request(REQUEST | asked, "request.json", files, law(regime).settings, NOW_US)
    return DryRun(law(regime), INDEX, files).decided(request, chart, explains=explains)


def test_a_decision_is_printed_with_these_keys_and_judges_each_resource():
    found = decided(consent(provision("permit", provision("deny", labels=["PSY"]))))
    assert list(found) == KEYS
    assert found["decision"] == "permit"
    assert found["reasons"] == ["Permitted by Consent/0 version 1, provision /."]
    assert found["released"] == ["Observation/glucose", "Condition/opioid"]
    assert [one["ref"] for one in found["withheld"]] == ["Condition/depression", "Observation/hiv"]
    assert found["withheld"][0]["reason"] == "Denied by Consent/0 version 1, provision /1/."
    assert "M.G.L. c.111 s.70F" in found["withheld"][1]["reason"]


def test_the_residual_says_which_data_a_permit_still_depends_on():
    root = provision(
        "permit",
        provision("permit", labels=["PSY"], actors=["clinic"]),
        labels=["N"],
        dataPeriod={"start": "2022-01", "end": "2022-12"},
    )
    residual = decided(consent(root), resources=())["residual"]
    forbidden = [one for one in residual if one["type"] == "forbid"]
    assert forbidden[-1] == {"type": "forbid"}, "nothing but what a clause permits"
    permitted = [one for one in residual if one["type"] == "permit"]
    assert permitted[0]["dataPeriod"] == {
        "start": "2022-01-01T00:00:00Z",
        "end": "2022-12-31T23:59:59.999999Z",
    }
    assert permitted[0]["securityLabel"] == ["N"]
    assert "PSY" in permitted[1]["securityLabel"]
    assert permitted[1]["path"] == "/1/"


def test_nothing_is_left_to_depend_on_where_nothing_may_be_shown():
    found = decided(consent(provision("permit"), id="a"), consent(provision("deny"), id="b"))
    assert found["decision"] == "deny"
    assert found["reasons"] == ["Denied by Consent/b version 1, provision /."]
    assert found["residual"] == []
    assert found["released"] == []


def test_without_a_consent_the_regime_decides():
    assert decided()["decision"] == "deny"
    assert decided(regime="hipaa-treatment")["decision"] == "permit"
    assert decided(regime="hipaa-treatment", purpose="HPAYMT")["decision"] == "deny"


@pytest.mark.parametrize(
    ("root", "why"),
    [
        (provision("permit", period={"end": "2025"}), "It is over."),
        (provision("permit", period={"start": "2027"}), "It has not begun yet."),
        (provision("permit", actors=["lab"]), "It names other recipients."),
        (provision("permit", purposes=["HRESCH"]), "It is for other purposes."),
        (provision("permit", action=[{"coding": [{"code": "collect"}]}]), "about another action"),
    ],
)
def test_a_consent_that_says_nothing_of_the_request_is_told_with_why(root, why):
    found = decided(consent(root))
    assert found["decision"] == "deny"
    assert "Consent/0 version 1 says nothing of this request." in found["reasons"][1]
    assert why in found["reasons"][1]


def test_a_consent_for_an_organisation_means_what_is_part_of_it():
    clinic = {"resourceType": "Organization", "id": "clinic", "partOf": ref("Organization/group")}
    group = {"resourceType": "Organization", "id": "group", "partOf": ref("Organization/top")}
    for_top = consent(provision("permit", actors=["top"]))
    assert decided(for_top)["decision"] == "deny"
    assert decided(for_top, clinic, group)["decision"] == "permit"
    circle = {**group, "partOf": ref("Organization/clinic")}
    assert decided(for_top, clinic, circle)["decision"] == "deny"


def test_organisations_and_people_may_be_named_by_identifier():
    named = {"type": "Organization", "identifier": {"system": "urn:npi", "value": "1"}}
    clinic = {
        "resourceType": "Organization",
        "id": "clinic",
        "identifier": [{"system": "urn:npi", "value": "1"}],
    }
    root = provision("permit", actor=[{"reference": named}])
    assert decided(consent(root))["decision"] == "deny"
    assert decided(consent(root), clinic)["decision"] == "permit"
    # Without a file that has it, the identifier itself is the name.
    assert decided(consent(root), organization=named)["decision"] == "permit"


NURSE = {"coding": [{"system": "http://snomed.info/sct", "code": "106292003"}]}
FOR_NURSES = consent(provision("permit", actor=[{"role": NURSE}]))


def ref(reference):
    return {"reference": reference}


def test_a_role_is_what_the_request_says_or_a_practitioner_role_of_the_person():
    assert decided(FOR_NURSES)["decision"] == "deny"
    assert decided(FOR_NURSES, roles=["106292003"])["decision"] == "permit"
    seat = {
        "resourceType": "PractitionerRole",
        "id": "s1",
        "practitioner": ref("Practitioner/d1"),
        "organization": ref("Organization/clinic"),
        "code": [NURSE],
    }
    assert decided(FOR_NURSES, seat)["decision"] == "permit"
    assert decided(FOR_NURSES, {**seat, "active": False})["decision"] == "deny"
    over = {**seat, "period": {"end": "2025"}}
    assert decided(FOR_NURSES, over)["decision"] == "deny"
    elsewhere = {**seat, "organization": ref("Organization/lab")}
    assert decided(FOR_NURSES, elsewhere)["decision"] == "deny"
    assert decided(FOR_NURSES, seat, actors=[ref("PractitionerRole/s1")])["decision"] == "permit"


def test_a_group_means_its_members():
    group = {
        "resourceType": "Group",
        "id": "g",
        "actual": True,
        "type": "practitioner",
        "member": [{"entity": ref("Practitioner/d1")}, {"entity": ref("Organization/lab")}],
    }
    named = consent(provision("permit", actor=[actor("Group/g")]))
    assert decided(named)["decision"] == "deny"
    assert decided(named, group)["decision"] == "permit"
    assert decided(named, group, actors=[])["decision"] == "deny"


@pytest.mark.parametrize("who", ["Practitioner/d1", "RelatedPerson/daughter", "Device/app"])
def test_a_person_may_ask_without_an_organisation(who):
    named = consent(provision("permit", actor=[actor(who)]))
    alone = {"actors": [ref(who)], "organization": None}
    assert decided(named, **alone)["decision"] == "permit"
    assert (
        decided(named, actors=[ref("Practitioner/other")], organization=None)["decision"] == "deny"
    )
    nobody = decided(named, actors=[], organization=None)
    assert nobody["reasons"][0].startswith("The caller acts for no organisation")


def test_the_patient_sees_the_own_record():
    found = decided(consent(provision("deny")), actors=[ref("Patient/p1")], organization=None)
    assert found["decision"] == "permit"
    assert found["released"] == [f"{one['resourceType']}/{one['id']}" for one in CHART]


def test_an_emergency_needs_its_reason():
    assert decided(purpose="BTG")["decision"] == "deny"
    stated = decided(purpose="BTG", breakGlass={"reason": "unconscious"})
    assert stated["decision"] == "permit"
    assert "Observation/hiv" in [one["ref"] for one in stated["withheld"]]
    assert decided(purpose="BTG", breakGlass={"reason": " "})["decision"] == "deny"


def test_a_denial_that_an_emergency_overrides_is_told_as_such():
    asked = {"purpose": "BTG", "breakGlass": {"reason": "unconscious"}}
    _, silent = decided(consent(provision("deny")), **asked)["reasons"]
    assert "An emergency access goes before what it denies." in silent
    _, silent = decided(consent(provision("deny", purposes=["TREAT"])), **asked)["reasons"]
    assert "It is for other purposes." in silent


def test_a_disclosure_of_part_2_records_carries_its_notice():
    lifting = consent(
        provision("permit", purposes=["TREAT", "HPAYMT", "HOPERAT"], labels=["SUD", "OPIOIDUD"])
    )
    found = decided(lifting, regime="part2")
    assert found["released"] == ["Condition/opioid"] or "Condition/opioid" in found["released"]
    assert [one["code"] for one in found["obligations"]] == ["part2-notice"]
    assert decided(consent(provision("permit")), regime="part2")["obligations"] == []


def test_what_is_about_another_patient_is_withheld():
    other = {**GLUCOSE, "subject": ref("Patient/p2")}
    found = decided(consent(provision("permit")), resources=(other,))
    assert found["withheld"] == [
        {
            "ref": "Observation/glucose",
            "reason": "It is about another patient than the request.",
        }
    ]


def test_what_is_about_two_patients_needs_the_leave_of_both():
    shared = {
        "resourceType": "Appointment",
        "id": "both",
        "status": "booked",
        "participant": [
            {"actor": ref("Patient/p1"), "status": "accepted"},
            {"actor": ref("Patient/p2"), "status": "accepted"},
        ],
    }
    mine = consent(provision("permit"), id="mine")
    theirs = consent(provision("permit"), id="theirs", patient=ref("Patient/p2"))
    assert decided(mine, resources=(shared,))["released"] == []
    assert decided(mine, theirs, resources=(shared,))["released"] == ["Appointment/both"]


def test_the_trace_is_told_on_request():
    found = decided(consent(provision("permit")), resources=(GLUCOSE,), explains=True)
    assert found["patient"] == ["You agreed to share this."]
    (trace,) = found["trace"]
    assert trace["ref"] == "Observation/glucose"
    assert trace["rules"] == [
        {"consent": "Consent/0", "version": 1, "path": "/", "effect": "permit", "speaks": True}
    ]


# -- supersession


def superseding(other, root, **elements):
    link = {"url": "urn:hie:extension:supersedes", "valueReference": ref(f"Consent/{other}")}
    return consent(root, id="new", extension=[link], **elements)


OLD_DENY = consent(provision("deny"), id="old")


def test_two_consents_both_hold_unless_one_says_that_it_takes_the_others_place():
    new = consent(provision("permit"), id="new", dateTime="2026-02-01")
    assert decided(OLD_DENY, new)["decision"] == "deny"
    assert decided(OLD_DENY, superseding("old", provision("permit")))["decision"] == "permit"


def test_what_was_superseded_by_a_consent_that_was_withdrawn_denies_again_and_opens_nothing():
    withdrawn = superseding("old", provision("permit"), status="inactive")
    assert decided(OLD_DENY, withdrawn)["decision"] == "deny"
    old_permit = consent(provision("permit"), id="old")
    assert decided(old_permit, withdrawn)["decision"] == "deny"
    never = superseding("old", provision("permit"), status="entered-in-error")
    assert decided(old_permit, never)["decision"] == "permit"


def test_a_consent_takes_anothers_place_from_when_it_begins():
    later = superseding("old", provision("permit", period={"start": "2026-06"}))
    assert decided(OLD_DENY, later)["decision"] == "deny"
    assert decided(OLD_DENY, later, at="2026-06-02")["decision"] == "permit"


# -- what cannot be used


@pytest.mark.parametrize(
    ("change", "element"),
    [
        ({"patient": None}, "patient"),
        ({"patient": "Practitioner/d1"}, "patient"),
        ({"purpose": None}, "purpose"),
        ({"purpose": 5}, "purpose"),
        ({"action": "sell"}, "action"),
        ({"at": "soon"}, "at"),
        ({"actors": "d1"}, "actors"),
        ({"actors": [{"display": "a doctor"}]}, "actors[0]"),
        ({"actors": [ref("Group/g")]}, "actors[0]"),
        ({"actors": [ref("Practitioner/d1"), ref("Practitioner/d2")]}, "actors"),
        ({"organization": "clinic"}, "organization"),
        ({"roles": [1]}, "roles"),
        ({"breakGlass": "now"}, "breakGlass"),
        ({"purposes": ["TREAT"]}, "purposes"),
    ],
)
def test_a_request_that_cannot_be_used_is_refused_with_file_and_element(change, element):
    with pytest.raises(HieError) as refused:
        decided(**change)
    assert f"`request.json`: `{element}`: expected" in refused.value.issues[0].text


def test_every_fault_of_a_request_is_told_at_once():
    with pytest.raises(HieError) as refused:
        decided(patient=None, purpose=None, at="soon")
    assert len(refused.value.issues) == 3


@pytest.mark.parametrize("content", [[], "x", {}, {"resourceType": 5}, None])
def test_a_file_without_a_resource_is_named(content):
    with pytest.raises(HieError, match=r"`bad.json`: `resourceType`: expected"):
        filed([("bad.json", content)])


def test_two_files_with_one_id_are_named():
    with pytest.raises(HieError, match=r"`b.json`: `id`: expected another than in `a.json`"):
        filed([("a.json", GLUCOSE), ("b.json", GLUCOSE)])


def test_a_consent_that_does_not_say_whose_it_is_denies():
    nobodys = consent(provision("permit"))
    del nobodys["patient"]
    found = decided(nobodys)
    assert found["decision"] == "deny"
    assert "It does not say whose it is." in found["reasons"][0]


def test_a_resource_that_cannot_be_read_is_withheld():
    broken = {**GLUCOSE, "code": 5, "subject": [1]}
    unknown = {**GLUCOSE, "resourceType": "Nonsense"}
    found = decided(consent(provision("permit")), resources=(broken, unknown))
    assert found["released"] == []
    assert len(found["withheld"]) == 2


JUNK: tuple[Any, ...] = (
    None,
    5,
    "x",
    [],
    {},
    [None],
    [[1]],
    {"coding": 5},
    [{"coding": [5]}],
    True,
    -1.5,
)


def test_junk_anywhere_in_a_consent_never_raises_and_never_opens_more():
    """Each element in turn becomes junk; what it said can be lost, to nobody's gain."""
    root = provision(
        "permit",
        provision("deny", labels=["PSY"], purposes=["TREAT"]),
        actors=["clinic"],
        purpose=coded(ACT_REASON, "TREAT"),
    )
    whole = consent(root)
    rng = Random(7)
    for _ in range(300):
        found = copy.deepcopy(whole)
        node = found
        while True:
            key = rng.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
            if not isinstance(node[key], (dict, list)) or not node[key] or rng.random() < 0.3:
                break
            node = node[key]
        junk = rng.choice(JUNK)
        # A draft means nothing yet; what is left out altogether was never said.
        is_said = key not in ("status", "resourceType") and junk not in (None, [])
        if not is_said:
            continue
        node[key] = junk
        told = decided(found)
        assert told["decision"] in ("permit", "deny")
        assert "Condition/depression" not in told["released"], str(found["provision"])
