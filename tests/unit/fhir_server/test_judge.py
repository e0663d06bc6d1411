"""What is judged beyond structure, and what a source's policy makes of it; `$validate`."""

import json
from decimal import Decimal
from typing import Any

import pytest

from adapters.sources import OrganizationRef, Source, SourceRegistry
from adapters.table_reader import TableReader
from adapters.validation_policy import (
    TAG_SYSTEM,
    Action,
    ValidationPolicy,
    labelled,
    read_validation_policy,
)
from fhir_server.judge import Judge
from fhir_server.validate import validate
from hie.kernel.ids import SourceId
from tests.support.fhir_api import JUDGE, NOW_US, VOCABULARY, running_api
from tests.support.fhir_examples import IS_LONG, files_by_type, needs_examples
from tests.unit.fhir_server.test_profiles import PATIENT, PRESSURE, PROFILES, US_CORE

SICK = "http://terminology.hl7.org/CodeSystem/condition-clinical"
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"text": "weight"},
}


def places(resource: dict[str, Any], *profiles: str) -> list[tuple[str, str]]:
    found = JUDGE.issues({"resourceType": "Observation", **resource}, profiles)
    return [(each.severity, each.expression[0]) for each in found]


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"effectivePeriod": {"start": "2025-02", "end": "2025-01"}}, "effective.ofType(Period)"),
        ({"valueQuantity": {"value": 1, "code": "kg"}}, "value.ofType(Quantity)"),
        ({"valueString": "1", "dataAbsentReason": {"text": "x"}}, ""),
        ({"referenceRange": [{"type": {"text": "x"}}]}, "referenceRange[0]"),
        ({"extension": [{"url": "urn:x"}]}, "extension[0]"),
        (
            {"component": [{"code": {"extension": [{"url": "urn:x"}]}}]},
            "component[0].code.extension[0]",
        ),
        ({"subject": {"reference": "#nobody"}}, "subject"),
        ({"contained": [{"resourceType": "Patient", "id": "p"}]}, "contained[0]"),
    ],
)
def test_invariants_of_r4_hold_everywhere(members, place):
    expected = ("error", f"Observation.{place}".rstrip("."))
    assert places({**OBSERVATION, **members}) == [expected]


@pytest.mark.parametrize(
    ("members", "key"),
    [
        ({"type": "collection", "total": 1}, "bdl-1"),
        ({"type": "document", "timestamp": "2025-01-01T00:00:00Z"}, "bdl-9"),
        ({"type": "document", "identifier": {"system": "urn:x", "value": "y"}}, "bdl-10"),
        ({"type": "message", "entry": [{"resource": OBSERVATION}]}, "bdl-12"),
        ({"type": "collection", "entry": [{"fullUrl": "urn:uuid:x"}]}, "bdl-5"),
        (
            {"type": "collection", "entry": [{"fullUrl": "urn:x", "resource": OBSERVATION}] * 2},
            "bdl-7",
        ),
        (
            {
                "type": "collection",
                "entry": [{"fullUrl": "http://x/P/1/_history/2", "resource": OBSERVATION}],
            },
            "bdl-8",
        ),
    ],
)
def test_invariants_of_bundles_are_judged(members, key):
    found = JUDGE.findings({"resourceType": "Bundle", **members})
    assert f"({key})" in " ".join(each.issue.text for each in found)


@pytest.mark.parametrize(
    ("members", "keys"),
    [
        ({"status": "booked"}, {"app-3"}),
        ({"status": "proposed"}, set()),
        ({"status": "booked", "start": "2025-01-01T00:00:00Z"}, {"app-2"}),
        ({"status": "waitlist", "cancelationReason": {"text": "x"}}, {"app-4"}),
        ({"status": "waitlist", "participant": [{"status": "accepted"}]}, {"app-1"}),
    ],
)
def test_invariants_of_appointments_are_judged(members, keys):
    actor = {"status": "accepted", "actor": {"reference": "Patient/p"}}
    resource = {"resourceType": "Appointment", "participant": [actor], **members}
    told = " ".join(each.issue.text for each in JUDGE.findings(resource))
    assert {key for key in ("app-1", "app-2", "app-3", "app-4") if f"({key})" in told} == keys


def test_a_sound_resource_has_no_issue():
    assert places(OBSERVATION) == []
    inside = {"resourceType": "Patient", "id": "p"}
    referred = {"subject": {"reference": "#p"}, "contained": [inside]}
    assert places({**OBSERVATION, **referred}) == []


def test_faults_of_structure_come_first_and_alone():
    faulty = {**OBSERVATION, "status": "nonsense", "valueQuantity": {"code": "kg"}}
    assert places(faulty) == [("error", "Observation.status")]


def test_claimed_and_named_profiles_count():
    claimed = {**PRESSURE, "meta": {"profile": [US_CORE + "blood-pressure"]}, "component": []}
    del claimed["component"]
    assert ("error", "Observation.component") in places(claimed)
    assert places(PRESSURE, US_CORE + "vital-signs") == []
    assert places(PRESSURE, "urn:nobody") == [("error", "Observation.meta.profile")]
    assert places(PRESSURE, US_CORE + "patient") == [("error", "Observation.meta.profile")]
    unknown = {**OBSERVATION, "meta": {"profile": ["urn:nobody"]}}
    assert places(unknown) == [("information", "Observation.meta.profile[0]")]


def test_an_unknown_code_of_a_known_system_is_a_remark():
    coded = {"coding": [{"system": SICK, "code": "canary"}]}
    condition = {
        "resourceType": "Condition",
        "clinicalStatus": coded,
        "subject": {"reference": "Patient/p"},
    }
    assert places(condition) == [
        ("error", "Condition.clinicalStatus"),
        ("warning", "Condition.clinicalStatus.coding[0].code"),
    ]


def test_resources_of_a_bundle_are_judged_where_they_stand():
    faulty = {**OBSERVATION, "valueQuantity": {"value": 1, "code": "kg"}}
    claiming = {**PATIENT, "meta": {"profile": [US_CORE + "patient"]}}
    claiming = {name: value for name, value in claiming.items() if name != "gender"}
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": faulty}, {"resource": claiming}],
    }
    assert places(bundle) == [
        ("error", "Bundle.entry[0].resource.value.ofType(Quantity)"),
        ("error", "Bundle.entry[1].resource.gender"),
    ]


def judge_of(**policy: Any) -> Judge:
    source = Source(
        id=SourceId("clinic"),
        name="Clinic",
        organization=OrganizationRef(system="urn:o", value="1", name="Clinic"),
        own_authority="urn:a",
        validation=ValidationPolicy(**policy),
    )
    return Judge(PROFILES, VOCABULARY, SourceRegistry([source], allow_adhoc=False))


FAULTY = {
    "resourceType": "Observation",
    "meta": {"profile": [US_CORE + "blood-pressure"]},
    **{name: value for name, value in PRESSURE.items() if name != "effectiveDateTime"},
}


@pytest.mark.parametrize(
    ("action", "severities", "labels"),
    [
        (Action.REJECT, ["error"], ()),
        (Action.WARN, ["warning"], ()),
        (Action.LABEL, ["warning"], ("profile",)),
        (Action.IGNORE, [], ()),
    ],
)
def test_the_policy_of_a_source_says_what_comes_of_a_fault(action, severities, labels):
    verdict = judge_of(profile=action).verdict(FAULTY, "clinic")
    assert [issue.severity for issue in verdict.issues] == severities
    assert verdict.labels == labels


def test_each_kind_of_fault_has_its_own_policy():
    resource = {**PRESSURE, "meta": {"profile": [US_CORE + "blood-pressure"]}}
    resource |= {"subject": {"reference": "Device/d1"}}
    verdict = judge_of(reference=Action.REJECT, profile=Action.IGNORE).verdict(resource, "clinic")
    assert [(i.severity, i.expression) for i in verdict.issues] == [
        ("error", ("Observation.subject.reference",))
    ]


def test_a_profile_asked_for_is_one_of_several_of_its_type():
    asked = (US_CORE + "blood-pressure", US_CORE + "observation-lab", US_CORE + "patient")
    judge = judge_of(profile=Action.REJECT, profiles=asked)
    assert judge.verdict(PRESSURE, "clinic").issues == ()
    assert judge.verdict(OBSERVATION, "clinic").issues != ()
    condition = {"resourceType": "Condition", "subject": {"reference": "Patient/p"}}
    assert judge.verdict(condition, "clinic").issues == ()


def test_structure_counts_whatever_the_policy():
    lax = judge_of(profile=Action.IGNORE, reference=Action.IGNORE, terminology=Action.IGNORE)
    faulty = {**OBSERVATION, "status": "nonsense"}
    assert [i.severity for i in lax.verdict(faulty, "clinic").issues] == ["error"]


def test_labels_replace_those_a_sender_wrote():
    forged = {"meta": {"tag": [{"system": TAG_SYSTEM, "code": "x"}, {"system": "urn:o"}]}}
    assert labelled(forged, ("profile",)) == {
        "meta": {"tag": [{"system": "urn:o"}, {"system": TAG_SYSTEM, "code": "profile"}]}
    }
    assert labelled({"meta": {"tag": [{"system": TAG_SYSTEM}]}}, ()) == {}
    plain = {"resourceType": "Patient"}
    assert labelled(plain, ()) is plain


def test_a_policy_that_means_nothing_is_told_with_its_place():
    reader = TableReader("clinic.toml", {"validation": {"profile": "refuse", "profiles": "x"}})
    read_validation_policy(reader)
    assert len(reader.faults) == 2
    assert all("validation" in fault and "refuse" not in fault for fault in reader.faults)


@pytest.fixture
async def api():
    async with running_api() as running:
        yield running


async def validated(api, path: str, body: Any = None, token: str = "source") -> Any:
    reply = await api.send(
        "POST" if body is not None else "GET",
        f"/fhir/{path}",
        token,
        data=body if isinstance(body, bytes) else body and json.dumps(body).encode(),
        headers={"Content-Type": "application/fhir+json"},
    )
    assert reply.status == 200, reply.body
    return [(issue["severity"], *issue.get("expression", ())) for issue in reply.json["issue"]]


async def test_validate_takes_a_resource_bare_or_in_parameters(api):
    bare = await validated(api, "Observation/$validate", OBSERVATION)
    assert bare == [("information",)]
    url = f"Observation/$validate?profile={US_CORE}vital-signs"
    missing = await validated(api, url, OBSERVATION)
    assert ("error", "Observation.category") in missing
    parameters = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "resource", "resource": OBSERVATION},
            {"name": "profile", "valueUri": f"{US_CORE}vital-signs"},
            {"name": "mode", "valueCode": "create"},
        ],
    }
    assert await validated(api, "Observation/$validate", parameters) == missing


async def test_validate_answers_200_however_bad_the_resource(api):
    assert await validated(api, "Patient/$validate", OBSERVATION) == [("error", "resourceType")]
    assert (await validated(api, "Patient/$validate", b"{nonsense"))[0][0] == "error"
    assert (await validated(api, "Patient/$validate", b'{"resourceType":"Patient","x":1}')) == [
        ("error", "Patient.x")
    ]
    twice = b'{"resourceType":"Patient","active":true,"active":false}'
    assert (await validated(api, "Patient/$validate", twice))[0][0] == "error"
    assert (await validated(api, "Patient/$validate?mode=nonsense", PATIENT))[0][0] == "error"
    assert (await validated(api, "Patient/$validate", {"resourceType": "Parameters"}))[0] == (
        "error",
        "Parameters.parameter",
    )


async def test_validate_of_an_instance_looks_through_the_door(api):
    stored = {**OBSERVATION, "id": "o1", "valueQuantity": {"value": 1, "code": "kg"}}
    api.door.put(stored, person="p1", at_us=NOW_US)
    expected = [("error", "Observation.value.ofType(Quantity)")]
    assert await validated(api, "Observation/o1/$validate") == expected
    assert await validated(api, "Observation/o1/$validate?mode=delete") == [("information",)]
    assert await validated(api, "Observation/o1/$validate?mode=update", OBSERVATION) == [
        ("error", "Observation.id")
    ]
    assert (await api.get("/fhir/Observation/nobody/$validate", "reader")).status == 404


async def test_what_is_stored_is_validated_for_those_who_may_read_it_alone(api):
    api.door.put({**OBSERVATION, "id": "o1"}, person="p1", at_us=NOW_US)
    for path in ("o1/$validate", "nobody/$validate", "o1/$validate?mode=delete"):
        assert (await api.get(f"/fhir/Observation/{path}", "sender")).status == 403, path
    assert await validated(api, "Observation/o1/$validate", OBSERVATION, "sender") == [
        ("information",)
    ]


async def test_validate_tells_whether_the_mode_is_open_to_the_caller(api):
    assert await validated(api, "Patient/$validate?mode=create", PATIENT, "reader") == [("error",)]
    assert await validated(api, "Patient/$validate?mode=create", PATIENT) == [("information",)]
    assert (await api.get("/fhir/Condition/x/$validate", "narrow")).status == 403


#: Official examples whose narrative is blank, which txt-2 forbids; their faults are real.
BLANK = {
    "ActivityDefinition-blood-tubes-supply.json",
    "ActivityDefinition-heart-valve-replacement.json",
    "EventDefinition-example.json",
    "Questionnaire-zika-virus-exposure-assessment.json",
}
#: Definitions by the thousand; of these no invariants are judged here.
DEFINITIONS = frozenset(
    {"CodeSystem", "ConceptMap", "OperationDefinition", "SearchParameter"}
    | {"StructureDefinition", "ValueSet"}
)


@needs_examples
def test_official_examples_of_sound_structure_have_no_fault_beyond_it():
    files = [
        path
        for kind, paths in sorted(files_by_type().items())
        if kind not in DEFINITIONS
        for path in paths
        if path.stat().st_size < (200_000 if IS_LONG else 20_000)
    ]
    faulty, judged = set(), 0
    for path in files if IS_LONG else files[::30]:
        resource = json.loads(path.read_bytes(), parse_float=Decimal)
        if any(issue.severity in ("error", "fatal") for issue in validate(resource)):
            continue
        judged += 1
        if any(found.issue.severity == "error" for found in JUDGE.findings(resource)):
            faulty.add(path.name)
    assert judged > (600 if IS_LONG else 15)
    assert faulty <= BLANK
