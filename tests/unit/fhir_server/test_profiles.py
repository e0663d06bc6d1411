"""The snapshot check: US Core's facts, one finding per fault; official examples where present."""

import json
import tarfile
from collections.abc import Iterator
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from docs.profiles import tables as profile_tables
from docs.vocabulary import tables as vocabulary_tables
from fhir_server.profiles.check import Checker, Finding, Kind
from fhir_server.profiles.load import load_profiles
from fhir_server.profiles.model import Element
from fhir_server.profiles.rules import RULES
from fhir_server.profiles.values import values
from hie.kernel.errors import HieError
from tests.support.fhir_api import VOCABULARY
from tests.support.fhir_examples import IS_LONG, IS_THERE
from tests.support.fhir_examples import PACKAGE as DEFINITIONS

ROOT = Path(__file__).resolve().parents[3]
PROFILES = load_profiles(ROOT / "config/fhir/profiles")
CHECKER = Checker(PROFILES, VOCABULARY)
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
#: The package of US Core, where somebody has it; its examples are the judges' own.
PACKAGE = ROOT.parent / "shared/standards/us-core-6.1.0.tgz"
LOINC, RACE = "http://loinc.org", "urn:oid:2.16.840.1.113883.6.238"
OBSERVATION_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "extension": [
        {
            "url": US_CORE + "race",
            "extension": [
                {"url": "ombCategory", "valueCoding": {"system": RACE, "code": "2106-3"}},
                {"url": "text", "valueString": "White"},
            ],
        },
        {"url": US_CORE + "birthsex", "valueCode": "F"},
    ],
    "identifier": [{"system": "urn:oid:1.2.3", "value": "synthetic-1"}],
    "name": [{"family": "Example", "given": ["Synthetic"]}],
    "telecom": [{"system": "phone", "value": "555-0100"}],
    "gender": "female",
    "address": [{"state": "MA"}],
}


def part(code: str, **value: Any) -> dict[str, Any]:
    held = {"value": 120, "unit": "mmHg", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}
    coding = {"system": LOINC, "code": code}
    return {"code": {"coding": [coding]}, **(value or {"valueQuantity": held})}


PRESSURE: dict[str, Any] = {
    "resourceType": "Observation",
    "status": "final",
    "category": [{"coding": [{"system": OBSERVATION_CATEGORY, "code": "vital-signs"}]}],
    "code": {"coding": [{"system": LOINC, "code": "85354-9"}]},
    "subject": {"reference": "Patient/p1"},
    "effectiveDateTime": "2025-11-02",
    "component": [part("8480-6"), part("8462-4")],
}


def check(resource: dict[str, Any], profile: str) -> list[Finding]:
    found = PROFILES.get(US_CORE + profile)
    assert found is not None
    return CHECKER.check(found, resource, resource["resourceType"], resource)


def places(findings: list[Finding]) -> list[str]:
    return [each.issue.expression[0] for each in findings]


def changed(resource: dict[str, Any], **members: Any) -> dict[str, Any]:
    made = {**deepcopy(resource), **members}
    return {name: value for name, value in made.items() if value is not None}


def test_what_meets_its_profile_has_no_finding():
    assert check(PATIENT, "patient") == []
    assert check(PRESSURE, "blood-pressure") == []
    assert check(PRESSURE, "vital-signs") == []


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"identifier": None}, "Patient.identifier"),
        ({"identifier": [{"value": "1"}]}, "Patient.identifier[0].system"),
        ({"name": [{"use": "usual"}]}, "Patient.name[0]"),
        ({"gender": None}, "Patient.gender"),
        ({"telecom": [{"system": "phone"}]}, "Patient.telecom[0].value"),
        ({"address": [{"state": "XX"}]}, "Patient.address[0].state"),
    ],
)
def test_each_fault_of_a_patient_is_one_finding_at_its_place(members, place):
    assert places(check(changed(PATIENT, **members), "patient")) == [place]


def test_an_extension_is_held_to_its_own_profile():
    patient = deepcopy(PATIENT)
    patient["extension"][0]["extension"] = [
        {"url": "ombCategory", "valueCoding": {"system": RACE, "code": "0000-0"}}
    ]
    patient["extension"][1] = {"url": US_CORE + "birthsex", "valueString": "F"}
    found = check(patient, "patient")
    assert {(each.kind, each.issue.expression[0]) for each in found} == {
        (Kind.PROFILE, "Patient.extension[0].extension"),
        (Kind.TERMINOLOGY, "Patient.extension[0].extension[0].value.ofType(Coding)"),
        (Kind.PROFILE, "Patient.extension[1].value.ofType(string)"),
    }
    assert any("slice `text`" in each.issue.text for each in found)


def test_a_code_in_an_extension_is_held_to_its_value_set():
    patient = deepcopy(PATIENT)
    patient["extension"][1]["valueCode"] = "X"
    assert [(each.kind, each.issue.expression[0]) for each in check(patient, "patient")] == [
        (Kind.TERMINOLOGY, "Patient.extension[1].value.ofType(code)")
    ]


def test_a_name_may_be_absent_for_a_reason():
    absent = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
    name = {"extension": [{"url": absent, "valueCode": "masked"}]}
    assert check(changed(PATIENT, name=[name]), "patient") == []


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"category": None}, {"Observation.category"}),
        ({"code": {"text": "pressure"}}, {"Observation.code"}),
        ({"subject": None}, {"Observation.subject"}),
        ({"subject": {"reference": "Device/d1"}}, {"Observation.subject.reference"}),
        ({"effectiveDateTime": "2025"}, {"Observation.effective.ofType(dateTime)"}),
        ({"effectiveDateTime": None}, {"Observation.effective"}),
        ({"component": [part("8480-6")]}, {"Observation.component"}),
        (
            {"component": [part("8480-6"), part("8462-4", valueString="high")]},
            {"Observation.component[1].value.ofType(string)"},
        ),
        (
            {"component": [part("8480-6"), part("8462-4", valueQuantity={"value": 1})]},
            {
                "Observation.component[1].value.ofType(Quantity).unit",
                "Observation.component[1].value.ofType(Quantity).system",
                "Observation.component[1].value.ofType(Quantity).code",
            },
        ),
        (
            {"component": [part("8480-6"), {"code": part("8462-4")["code"]}]},
            {"Observation.component[1]"},
        ),
    ],
)
def test_slices_patterns_fixed_values_and_invariants_are_judged(members, expected):
    assert set(places(check(changed(PRESSURE, **members), "blood-pressure"))) == expected


def test_no_text_tells_a_value_that_was_found():
    patient = changed(PATIENT, address=[{"state": "Zz-canary"}], name=[{"use": "usual"}])
    texts = " ".join(each.issue.text for each in check(patient, "patient"))
    assert "canary" not in texts


def test_codes_nobody_here_can_judge_give_no_finding():
    coded = {"coding": [{"system": "http://snomed.info/sct", "code": "1"}]}
    condition = {
        "resourceType": "Condition",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/condition-category",
                        "code": "encounter-diagnosis",
                    }
                ]
            }
        ],
        "code": coded,
        "subject": {"reference": "Patient/p1"},
    }
    assert check(condition, "condition-encounter-diagnosis") == []


@pytest.mark.parametrize(
    ("number", "is_right"),
    [("1234567893", True), ("1234567894", False), ("1245319599", True), ("12345", False)],
)
def test_the_check_digit_of_a_provider_number_counts(number, is_right):
    organization = {
        "resourceType": "Organization",
        "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": number}],
        "active": True,
        "name": "Example Clinic",
    }
    assert (check(organization, "organization") == []) is is_right


def test_every_rule_of_us_core_is_implemented():
    asked = {
        key
        for profile in PROFILES.all()
        if "/us/core/" in profile.url
        for element in profile.root.walk()
        for key in element.rules
    }
    assert asked <= RULES.keys()


def test_every_slice_can_be_told_from_others():
    """A slice that no value could ever belong to would be a check that cannot fail."""
    for profile in PROFILES.all():
        for element in profile.root.walk():
            if element.slices:
                assert element.discriminators, (profile.name, element.name)
                assert {kind for kind, _ in element.discriminators} <= {"value", "pattern", "type"}


def test_a_line_that_is_no_profile_is_named(tmp_path: Path):
    (tmp_path / "own.ndjson").write_text('{"url": "urn:x"}\n', encoding="utf-8")
    with pytest.raises(HieError) as refused:
        load_profiles(tmp_path)
    assert refused.value.issues[0].text.startswith("own.ndjson:1: ")


def examples() -> Iterator[tuple[str, dict[str, Any]]]:
    with tarfile.open(PACKAGE) as package:
        for member in package.getmembers():
            if member.name.startswith("package/example/") and member.name.endswith(".json"):
                content = package.extractfile(member)
                assert content is not None
                yield member.name, json.loads(content.read(), parse_float=Decimal)


@pytest.mark.skipif(not PACKAGE.exists(), reason="the package of US Core is not here")
def test_official_examples_meet_their_profiles_and_fail_without_what_these_require():
    judged = removed = 0
    for name, resource in examples():
        for url in resource.get("meta", {}).get("profile", ()):
            profile = PROFILES.get(url)
            if profile is None:
                continue
            judged += 1
            found = CHECKER.check(profile, resource, profile.type, resource)
            assert [f for f in found if f.issue.severity == "error"] == [], name
            for child in _required(profile.root, resource):
                without = {
                    key: value
                    for key, value in resource.items()
                    if not key.removeprefix("_").startswith(child)
                }
                missed = CHECKER.check(profile, without, profile.type, without)
                assert f"{profile.type}.{child}" in places(missed), (name, child)
                removed += 1
    assert judged > 150
    assert removed > 300


def _required(root: Element, resource: dict[str, Any]) -> Iterator[str]:
    for child in root.children.values():
        is_there = bool(values(resource, child.name, ""))
        if child.min and is_there:
            yield child.name.removesuffix("[x]")


@pytest.mark.skipif(not (IS_LONG and IS_THERE and PACKAGE.exists()), reason="both packages, long")
def test_the_committed_tables_are_what_the_packages_say(tmp_path: Path):
    with tarfile.open(PACKAGE) as package:
        package.extractall(tmp_path, filter="data")
    for made, folder in ((profile_tables, "profiles"), (vocabulary_tables, "terminology")):
        for name, text in made(DEFINITIONS, tmp_path / "package").items():
            committed = (ROOT / "config/fhir" / folder / name).read_text(encoding="utf-8")
            assert committed == text, f"{folder}/{name}: run docs.{folder}"
