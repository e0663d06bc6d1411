"""Who asks and whom a consent means: people, places, roles, groups within groups."""

from datetime import UTC

import pytest

from consent.from_fhir.members import Collectives
from consent.from_fhir.provision import LiteralDirectory
from consent.grantees import denied, names_of, names_somebody
from tests.support.consents import actor, consent, facts, judged, law, provision, read, request

D1, D2, CLINIC = "Practitioner/d1", "Practitioner/d2", "Organization/clinic"
NURSE = {"coding": [{"system": "http://snomed.info/sct", "code": "nurse"}]}


def ref(reference):
    return {"reference": reference}


def caller(*places, person=None, roles=()):
    organizations = [f"Organization/{place}" for place in places or ("clinic",)]
    return request(grantees=names_of(organizations, person, roles))


def meant(resources, name):
    """Names, and whether they are all."""
    directory = LiteralDirectory()
    found = Collectives(resources, directory.grantee, UTC).members(name)
    return {one.name for one in found.named}, found.is_whole


# -- names


def test_who_acts_for_nobody_is_named_by_what_they_say():
    assert names_of([]) == frozenset()
    assert names_of([], D1) == {D1, "Role/*", "Practitioner/d1|*"}
    assert names_of([], None, ["nurse"]) == {"Practitioner/*", "Role/nurse"}


def test_who_asks_has_every_name_a_consent_may_use():
    assert names_of([CLINIC], D1, ["nurse"]) == {
        *(CLINIC, D1, "Role/nurse", "Practitioner/d1@clinic"),
        *("Organization/clinic|nurse", "Practitioner/d1|nurse"),
    }
    assert names_of([CLINIC]) == {
        *(CLINIC, "Practitioner/*", "Role/*", "Organization/clinic|*"),
    }


def test_a_denial_means_whoever_keeps_silent_too():
    assert denied([D1]) == {D1, "Practitioner/*"}
    assert denied(["Role/nurse"]) == {"Role/nurse", "Role/*"}
    assert denied(["Organization/clinic|nurse"]) == {
        *("Organization/clinic|nurse", "Organization/clinic|*"),
    }
    assert denied([CLINIC]) == {CLINIC}


def test_a_role_names_a_class_of_recipients_and_nobody_of_it():
    assert names_somebody([CLINIC, D1])
    assert names_somebody(["Organization/clinic|nurse"])
    assert not names_somebody([CLINIC, "Role/nurse"])
    assert not names_somebody(None)


# -- roles


@pytest.mark.parametrize(
    ("who", "asked", "expected"),
    [
        ({"role": NURSE}, caller(roles=["nurse"]), True),
        ({"role": NURSE}, caller("lab", roles=["nurse", "clerk"]), True),
        ({"role": NURSE}, caller(roles=["clerk"]), False),
        ({"role": NURSE}, caller(), False),
        ({"role": NURSE, "reference": ref(CLINIC)}, caller(roles=["nurse"]), True),
        ({"role": NURSE, "reference": ref(CLINIC)}, caller("lab", roles=["nurse"]), False),
        ({"role": NURSE, "reference": ref(CLINIC)}, caller(), False),
        ({"role": NURSE, "reference": ref(D1)}, caller(person=D1, roles=["nurse"]), True),
        ({"role": NURSE, "reference": ref(D1)}, caller(person=D1), False),
        ({"role": NURSE, "reference": ref(D1)}, caller(person=D2, roles=["nurse"]), False),
        # A code of a system that holds no roles is not understood: nobody is meant for certain.
        ({"role": {"coding": [{"system": "urn:x", "code": "nurse"}]}},
         caller(roles=["nurse"]), False),
    ],
)  # fmt: skip
def test_a_permit_for_a_role(who, asked, expected):
    found = consent(provision("permit", actor=[who]))
    assert judged(asked, facts(), found).is_permitted is expected


@pytest.mark.parametrize(
    ("who", "asked", "expected"),
    [
        ({"role": NURSE}, caller(roles=["nurse"]), False),
        ({"role": NURSE}, caller(roles=["doctor"]), True),
        ({"role": NURSE}, caller(), False),  # who does not say
        ({"role": NURSE, "reference": ref(CLINIC)}, caller(roles=["nurse"]), False),
        ({"role": NURSE, "reference": ref(CLINIC)}, caller(), False),
        ({"role": NURSE, "reference": ref(CLINIC)}, caller("lab"), True),
        ({"role": {"coding": [{"system": "urn:x", "code": "nurse"}]}}, caller("lab"), False),
    ],
)
def test_a_denial_of_a_role(who, asked, expected):
    found = consent(provision("permit", provision("deny", actor=[who])))
    assert judged(asked, facts(), found).is_permitted is expected


def test_a_role_alone_lifts_no_rule_that_wants_its_recipient_named():
    hiv = {"purposes": ["TREAT"], "labels": ["HIV"]}
    asked, about = caller(roles=["nurse"]), facts(labels=["HIV"])
    assert judged(asked, about, consent(provision("permit", actors=["clinic"], **hiv))).is_permitted
    by_role = consent(provision("permit", actor=[{"role": NURSE}], **hiv))
    assert not judged(asked, about, by_role).is_permitted
    at_clinic = consent(
        provision("permit", actor=[{"role": NURSE, "reference": ref(CLINIC)}], **hiv)
    )
    assert judged(asked, about, at_clinic).is_permitted


# -- groups


GROUP = {"resourceType": "Group", "id": "g", "actual": True, "type": "practitioner"}
TEAM = {"resourceType": "CareTeam", "id": "t", "status": "active"}
SEAT = {
    "resourceType": "PractitionerRole",
    "id": "s",
    "practitioner": ref(D1),
    "organization": ref(CLINIC),
    "code": [NURSE],
}


@pytest.mark.parametrize(
    ("resources", "name", "expected"),
    [
        ({}, "Group/g", (set(), False)),
        ({"Group/g": GROUP | {"member": [{"entity": ref(D1)}]}}, "Group/g", ({D1}, True)),
        ({"Group/g": GROUP | {"member": [{"entity": ref(D1)}, {"entity": ref("Patient/p")}]}},
         "Group/g", ({D1}, True)),
        ({"Group/g": GROUP | {"member": [{"entity": ref(D1)}, {"entity": {"display": "x"}}]}},
         "Group/g", ({D1}, False)),
        ({"Group/g": GROUP | {"actual": False, "member": [{"entity": ref(D1)}]}},
         "Group/g", (set(), False)),
        ({"Group/g": GROUP}, "Group/g", (set(), False)),
        ({"Group/g": GROUP | {"member": 5}}, "Group/g", (set(), False)),
        ({"Group/g": GROUP | {"member": [{"entity": ref("Group/g")}]}}, "Group/g", (set(), False)),
        ({"Group/g": GROUP | {"member": [{"entity": ref("CareTeam/t")}]},
          "CareTeam/t": TEAM | {"participant": [{"member": ref(CLINIC)}]}},
         "Group/g", ({CLINIC}, True)),
        ({"CareTeam/t": TEAM | {"participant": [{"member": ref(D1), "onBehalfOf": ref(CLINIC)}]}},
         "CareTeam/t", ({"Practitioner/d1@clinic"}, True)),
        ({"CareTeam/t": TEAM | {"participant": [{"role": [NURSE]}]}}, "CareTeam/t", (set(), False)),
        ({"PractitionerRole/s": SEAT}, "PractitionerRole/s", ({"Practitioner/d1@clinic"}, True)),
        ({"PractitionerRole/s": {**SEAT, "practitioner": ref("x")}},
         "PractitionerRole/s", (set(), False)),
        ({"PractitionerRole/s": {k: SEAT[k] for k in ("resourceType", "organization", "code")}},
         "PractitionerRole/s", ({"Organization/clinic|nurse"}, True)),
        ({"PractitionerRole/s": {k: SEAT[k] for k in ("resourceType", "code")}},
         "PractitionerRole/s", ({"Role/nurse"}, True)),
        ({"PractitionerRole/s": {"organization": ref(CLINIC)}},
         "PractitionerRole/s", ({CLINIC}, True)),
        ({"PractitionerRole/s": {"organization": ref(CLINIC), "specialty": [NURSE]}},
         "PractitionerRole/s", (set(), False)),
        ({"PractitionerRole/s": {}}, "PractitionerRole/s", (set(), False)),
    ],
)  # fmt: skip
def test_a_group_is_those_it_lists(resources, name, expected):
    assert meant(resources, name) == expected


def judged_with(resources, asked, *consents):
    directory = LiteralDirectory()
    groups = {
        name: Collectives(resources, directory.grantee, UTC).members(name) for name in resources
    }
    directives = read(*consents, directory=LiteralDirectory(groups=groups))
    return judged(asked, facts(), directives=directives).is_permitted


MEMBERS = [
    {"entity": ref(D1)},
    {"entity": ref(D2), "inactive": True},
    {"entity": ref("Practitioner/d3"), "period": {"end": "2025"}},
    {"entity": ref("Practitioner/d4"), "period": {"start": "2026-01"}},
]


@pytest.mark.parametrize(
    ("person", "is_permitted", "is_spared"),
    [
        (D1, True, False),
        (D2, False, False),  # was put out: no permit, and a denial holds even so
        ("Practitioner/d3", False, False),  # was a member until 2025
        ("Practitioner/d4", True, False),
        ("Practitioner/d5", False, True),
        (None, False, False),
    ],
)
def test_members_are_meant_while_they_are_members(person, is_permitted, is_spared):
    groups = {"Group/g": GROUP | {"member": MEMBERS}}
    asked = caller(person=person)
    permit = consent(provision("permit", actor=[actor("Group/g")]))
    assert judged_with(groups, asked, permit) is is_permitted
    deny = consent(provision("permit", provision("deny", actor=[actor("Group/g")])))
    assert judged_with(groups, asked, deny) is is_spared


def test_a_group_nobody_knows_permits_nobody_and_denies_everybody():
    permit = consent(provision("permit", actor=[actor("Group/g")]))
    deny = consent(provision("permit", provision("deny", actor=[actor("Group/g")])))
    assert not judged_with({}, caller(person=D1), permit)
    assert not judged_with({}, caller(person=D1), deny)


def test_what_members_of_a_group_wrote_is_meant_by_its_name():
    groups = {"Group/g": GROUP | {"member": [{"entity": ref(D1)}, {"entity": ref(CLINIC)}]}}
    directory = LiteralDirectory(
        feeds={CLINIC: frozenset({"clinic-adt"})},
        groups={"Group/g": Collectives(groups, LiteralDirectory().grantee, UTC).members("Group/g")},
    )
    written = provision("deny", data=[{"meaning": "authoredby", "reference": ref("Group/g")}])
    directives = read(consent(provision("permit", written)), directory=directory)
    by_member = facts(references=frozenset({D1}))
    from_clinic = facts(source_id="clinic-adt")
    for about, expected in ((by_member, False), (from_clinic, False), (facts(), True)):
        assert judged(caller(), about, directives=directives).is_permitted is expected


def test_a_name_longer_than_a_row_holds_is_not_understood():
    long = {"coding": [{"system": "http://snomed.info/sct", "code": "9" * 130}]}
    permit = consent(provision("permit", actor=[{"role": long}]))
    assert not judged(caller(roles=["9" * 130]), facts(), permit).is_permitted
    deny = consent(provision("permit", provision("deny", actor=[{"role": long}])))
    assert not judged(caller(roles=["doctor"]), facts(), deny).is_permitted
    assert law()
