"""https://hl7.org/fhir/R4/json.html: structure, one issue per fault, no value repeated."""

from decimal import Decimal

import pytest

from fhir_server.validate import MAX_ISSUES, validate, validate_bundle

#: A value that no text may repeat.
SECRET = "Zyxwvut"

PATIENT = {
    "resourceType": "Patient",
    "name": [{"family": "Ash", "given": ["Ann"]}],
    "birthDate": "1980-05-12",
    "gender": "female",
}
OBSERVATION = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"text": "x"},
    "valueQuantity": {"value": Decimal("72.50"), "unit": "kg"},
}


def faults(resource) -> list[tuple[str, str]]:
    issues = validate(resource)
    assert SECRET not in str(issues)
    assert all(issue.severity == "error" for issue in issues)
    return [(issue.expression[0], issue.code) for issue in issues]


@pytest.mark.parametrize(
    "resource",
    [
        PATIENT,
        OBSERVATION,
        {"resourceType": "Organization", "name": "x"},
        {
            **PATIENT,
            "_birthDate": {"extension": [{"url": "u", "valueDateTime": "1980-05-12T10:00:00Z"}]},
            "contained": [{"resourceType": "Organization", "name": "x"}],
        },
        {
            "resourceType": "Patient",
            "name": [
                {
                    "given": ["Ann", None],
                    "_given": [None, {"extension": [{"url": "u", "valueString": "x"}]}],
                }
            ],
        },
        {**OBSERVATION, "valueQuantity": {"value": 5}},
        {
            **{k: v for k, v in OBSERVATION.items() if k != "status"},
            "_status": {"extension": [{"url": "u", "valueCode": "unknown"}]},
        },
    ],
)
def test_a_valid_resource_has_no_fault(resource):
    assert faults(resource) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"surname": SECRET}, [("Patient.surname", "structure")]),
        ({f"{SECRET} !": 1}, [("Patient.?", "structure")]),
        ({"_name": [{}]}, [("Patient._name", "structure")]),
        ({"active": "true"}, [("Patient.active", "structure")]),
        ({"birthDate": 19800512}, [("Patient.birthDate", "structure")]),
        ({"birthDate": f"{SECRET}-05-12"}, [("Patient.birthDate", "value")]),
        ({"birthDate": "1980-13-12"}, [("Patient.birthDate", "value")]),
        ({"birthDate": " "}, [("Patient.birthDate", "value")]),
        ({"birthDate": None}, [("Patient.birthDate", "structure")]),
        ({"gender": SECRET}, [("Patient.gender", "code-invalid")]),
        ({"name": {"family": SECRET}}, [("Patient.name", "structure")]),
        ({"name": []}, [("Patient.name", "structure")]),
        ({"name": [{}]}, [("Patient.name[0]", "structure")]),
        ({"name": [SECRET]}, [("Patient.name[0]", "structure")]),
        ({"name": [{"given": ["a", None]}]}, [("Patient.name[0].given[1]", "structure")]),
        ({"maritalStatus": [{"text": "x"}]}, [("Patient.maritalStatus", "structure")]),
        ({"id": SECRET * 20}, [("Patient.id", "value")]),
        (
            {"multipleBirthBoolean": True, "multipleBirthInteger": 2},
            [("Patient.multipleBirth", "structure")],
        ),
        (
            {"multipleBirthInteger": "2"},
            [("Patient.multipleBirth.ofType(integer)", "structure")],
        ),
        ({"link": [{"type": "refer"}]}, [("Patient.link[0].other", "required")]),
        (
            {"contained": [{"resourceType": "Patient", "surname": 1}]},
            [("Patient.contained[0].surname", "structure")],
        ),
        ({"contained": [{"name": 1}]}, [("Patient.contained[0]", "structure")]),
        (
            {"contained": [{"resourceType": "Foo"}]},
            [("Patient.contained[0].resourceType", "structure")],
        ),
        (
            {"extension": [{"url": "u", "valueQuantity": {"value": "1"}}]},
            [("Patient.extension[0].value.ofType(Quantity).value", "structure")],
        ),
    ],
)
def test_each_fault_is_named_by_its_element(changes, expected):
    assert faults({**PATIENT, **changes}) == expected


def test_missing_elements_are_told_together():
    assert sorted(faults({"resourceType": "Observation"})) == [
        ("Observation.code", "required"),
        ("Observation.status", "required"),
    ]


def test_a_choice_that_must_be_made_is_missed_by_its_name():
    order = {
        "resourceType": "MedicationRequest",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/1"},
    }
    assert faults(order) == [("MedicationRequest.medication", "required")]
    assert faults({**order, "medicationCodeableConcept": {"text": "x"}}) == []


def test_many_faults_are_told_at_once():
    found = faults({**OBSERVATION, "status": " ", "note": [], "valueQuantity": {"value": "1"}})
    assert found == [
        ("Observation.status", "value"),
        ("Observation.value.ofType(Quantity).value", "structure"),
        ("Observation.note", "structure"),
    ]


@pytest.mark.parametrize("resource", [None, [], "x", {}, {"resourceType": 3}])
def test_what_is_no_resource_is_a_fault(resource):
    assert [issue.severity for issue in validate(resource)] == ["error"]


@pytest.mark.parametrize("name", ["Foo", "patient", "Zyxwvut 1", "HumanName2"])
def test_a_type_that_r4_does_not_have_is_a_fault(name: str):
    assert [issue.code for issue in validate({"resourceType": name})] == ["structure"]


def test_a_type_without_a_model_passes_with_a_notice():
    (issue,) = validate({"resourceType": "MedicinalProduct", "name": [{"productName": "x"}]})
    assert (issue.severity, issue.code) == ("information", "informational")


def test_nesting_has_a_limit():
    extension: dict[str, object] = {"url": "u", "valueString": "x"}
    for _ in range(200):
        extension = {"url": "u", "extension": [extension]}
    assert any("levels" in i.text for i in validate({**PATIENT, "extension": [extension]}))


def test_the_number_of_faults_told_has_a_limit():
    assert len(validate({**PATIENT, **{f"x{n}": 1 for n in range(500)}})) == MAX_ISSUES


def test_the_faults_of_a_bundle_are_placed_in_its_entries():
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": "urn:uuid:1",
                "resource": {**PATIENT, "gender": SECRET},
                "request": {"method": "POST", "url": "Patient"},
            },
            {"resource": {"resourceType": "Observation", "code": {"text": "x"}}},
            {"request": {"method": "GET"}},
            "x",
        ],
    }
    issues = validate_bundle(bundle)
    assert SECRET not in str(issues)
    assert sorted((i.expression[0], i.code) for i in issues) == [
        ("Bundle.entry[0].resource.gender", "code-invalid"),
        ("Bundle.entry[1].resource.status", "required"),
        ("Bundle.entry[2].request.url", "required"),
        ("Bundle.entry[3]", "structure"),
    ]
    assert all(i.expression[0] in i.text for i in issues)


def test_an_empty_or_foreign_bundle_is_judged():
    assert validate_bundle({"resourceType": "Bundle", "type": "batch"}) == ()
    assert [i.code for i in validate_bundle(PATIENT)] == ["structure"]
    assert [i.code for i in validate_bundle({"resourceType": "Bundle"})] == ["required"]
    odd = {"resourceType": "Bundle", "type": "batch", "entry": [{"resource": 3}]}
    assert [i.expression[0] for i in validate_bundle(odd)] == ["Bundle.entry[0].resource"]
