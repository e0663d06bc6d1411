"""https://hl7.org/fhir/R4/search.html: what the tables of config/fhir make of resources."""

import shutil
import tomllib
from pathlib import Path

import pytest

from hie.kernel.errors import Category, HieError
from hie.store.index import SearchIndex, load_index
from hie.store.residual import DIRECTORY_TYPES

FHIR = Path(__file__).resolve().parents[4] / "config/fhir"
#: US Core 6.1.0 and the parameters every searchable clinical type must have.
US_CORE = {
    "Patient": "identifier name family given birthdate gender death-date",
    "Encounter": "patient class date identifier location status type discharge-disposition",
    "Observation": "patient category code date status",
    "DiagnosticReport": "patient category code date status",
    "Condition": "patient category code clinical-status encounter onset-date abatement-date "
    "recorded-date asserted-date",
    "AllergyIntolerance": "patient clinical-status",
    "Immunization": "patient date status",
    "MedicationRequest": "patient intent status authoredon encounter",
    "MedicationDispense": "patient status type",
    "DocumentReference": "patient category date type status period",
    "Procedure": "patient code date status",
    "CarePlan": "patient category date status",
    "CareTeam": "patient status role",
    "Goal": "patient lifecycle-status target-date description",
    "ServiceRequest": "patient category code authored status",
    "QuestionnaireResponse": "patient authored questionnaire status",
    "Coverage": "patient",
    "Device": "patient type status",
    "Specimen": "patient",
    "RelatedPerson": "patient name",
    "Practitioner": "identifier name",
    "PractitionerRole": "practitioner specialty",
    "Organization": "name address",
    "Location": "name address address-city address-state address-postalcode",
}


@pytest.fixture(scope="module")
def index() -> SearchIndex:
    return load_index(FHIR)


def test_every_search_of_us_core_has_its_parameter(index: SearchIndex):
    missing = [
        f"{type_name}.{name}"
        for type_name, names in US_CORE.items()
        for name in names.split()
        if index.param(type_name, name) is None
    ]
    assert not missing


def test_every_r4_type_has_a_number_that_leads_back(index: SearchIndex):
    assert len(index.types) == 146
    assert all(index.type_name(index.type_id(name)) == name for name in index.types)
    assert not index.has_type("Foo")


def test_numbers_once_given_stay():
    """These stand in stored rows: a change here needs a migration."""
    index = load_index(FHIR)
    assert [index.type_id(n) for n in ("Account", "Observation", "Patient")] == [1, 96, 103]
    code = index.param("Observation", "code")
    assert code
    assert code.id == 43


def test_person_data_is_blind_and_the_directory_is_clear(index: SearchIndex):
    clear = {"gender", "language", "active", "address-use", "relationship", "deceased"}
    clear |= {"birthOrderBoolean", "race", "ethnicity", "gender-identity"}
    for type_name in ("Patient", "RelatedPerson", "Person"):
        for param in index.params(type_name):
            is_exempt = param.name in clear or param.name[0] == "_" or param.type == "reference"
            assert param.is_blind is not is_exempt, f"{type_name}.{param.name}"
    for type_name in index.types:
        for param in index.params(type_name):
            is_gene = param.name == "gene-identifier"  # a code of a gene, of nobody
            if "identifier" in param.name.split("-") and not is_gene:
                assert param.is_blind is not index.is_directory(type_name), type_name
            if index.is_directory(type_name):
                assert not param.is_blind


def test_free_text_of_a_record_is_never_kept_in_clear(index: SearchIndex):
    public = tomllib.loads((FHIR / "directory.toml").read_text(encoding="utf-8"))
    clear = {
        type_name
        for type_name in index.types
        for param in index.params(type_name)
        if param.type == "string" and not param.is_blind
    }
    assert clear <= {*public["types"], *public["definitions"]}
    assert not {"Patient", "Observation", "Condition", "DocumentReference"} & clear


def test_a_table_that_keeps_text_of_a_record_in_clear_is_refused(tmp_path: Path):
    shutil.copytree(FHIR, tmp_path / "fhir")
    table = tmp_path / "fhir/search.toml"
    text = table.read_text(encoding="utf-8")
    row = 'title = { type = "string", paths = ["title"], as = "text", blind = true }'
    assert row in text
    clear = 'title = { type = "string", paths = ["title"] }'
    table.write_text(text.replace(row, clear, 1), "utf-8")
    with pytest.raises(HieError, match=r"Composition\.title"):
        load_index(tmp_path / "fhir")


def test_public_directories_are_a_part_of_what_is_about_nobody(index: SearchIndex):
    assert {name for name in index.types if index.is_directory(name)} <= DIRECTORY_TYPES


def test_an_observation_is_found_by_what_it_holds(index: SearchIndex):
    resource = {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"system": "c", "code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
        "subject": {"reference": "Patient/p1"},
        "encounter": {"reference": "Encounter/e1"},
        "effectiveDateTime": "2020-01-01",
        "component": [
            {
                "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
                "valueQuantity": {"value": 120, "unit": "mm[Hg]"},
            }
        ],
    }
    found = {(value.param, value.code or value.target) for value in index.values(resource)}
    assert found == {
        ("status", "final"),
        ("category", "vital-signs"),
        ("code", "85354-9"),
        ("component-code", "8480-6"),
        ("encounter", ("Encounter", "e1")),
        ("date", None),
        ("component-value-quantity", "mm[Hg]"),
        ("component-code-value-quantity", None),
    }


def test_a_combined_parameter_has_no_rows_of_its_own(index: SearchIndex):
    combo, code, component = (
        index.param("Observation", name) for name in ("combo-code", "code", "component-code")
    )
    assert combo
    assert code
    assert component
    assert combo.param_ids == (code.id, component.id)


def test_a_value_that_stands_twice_is_one_row(index: SearchIndex):
    coding = {"system": "s", "code": "c"}
    resource = {
        "resourceType": "Observation",
        "category": [{"coding": [coding, coding]}, {"coding": [coding]}],
    }
    assert len(index.values(resource)) == 1


def test_a_patient_leaves_only_keys(index: SearchIndex):
    resource = {
        "resourceType": "Patient",
        "name": [{"family": "Ash", "given": ["Ann"], "text": "Ann Ash"}],
        "birthDate": "1980-05-12",
        "identifier": [{"system": "urn:mrn", "value": "17"}],
        "telecom": [{"system": "phone", "value": "6175550101"}],
        "address": [{"line": ["1 Elm St"], "city": "Salem", "postalCode": "01970"}],
        "deceasedDateTime": "2020-01-01",
    }
    values = index.values(resource)
    assert {value.kind for value in values if value.param != "deceased"} == {"blind"}
    assert {value.param for value in values} == {
        "name",
        "family",
        "given",
        "birthdate",
        "identifier",
        "telecom",
        "phone",
        "address",
        "address-city",
        "address-postalcode",
        "death-date",
        "deceased",
        "phonetic",
    }


def test_whatever_a_feed_sends_the_index_does_not_fail(index: SearchIndex):
    odd: list[object] = [
        None,
        1,
        "x",
        [],
        {},
        [None],
        [{"coding": [None]}],
        {"reference": 3},
        {"value": {}},
    ]
    for type_name in index.types:
        names = {
            path.partition(".")[0].partition("[")[0]
            for path in ("subject", "code", "identifier", "name", "effectiveDateTime", "component")
        }
        for value in odd:
            resource = {"resourceType": type_name} | dict.fromkeys(names, value)
            index.values(resource)
            index.clinical_period(resource)
            index.compartment_references(resource)


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (
            {
                "resourceType": "Observation",
                "performer": [{"reference": "Practitioner/d1"}, {"reference": "Patient/p2"}],
                "subject": {"reference": "Patient/p1"},
            },
            ("Patient/p1", "Patient/p2"),
        ),
        (
            {"resourceType": "Observation", "focus": [{"reference": "Patient/p1"}]},
            (),  # a focus does not make it the focus's record
        ),
        (
            {
                "resourceType": "Coverage",
                "payor": [{"reference": "Patient/p2"}],
                "beneficiary": {"reference": "Patient/p1"},
            },
            ("Patient/p1", "Patient/p2"),
        ),
        (
            {
                "resourceType": "Encounter",
                "subject": {"reference": "http://a.org/fhir/Patient/p1"},
            },
            ("http://a.org/fhir/Patient/p1",),
        ),
        (
            {"resourceType": "Encounter", "subject": {"reference": "Patient?identifier=a|b"}},
            ("Patient?identifier=a|b",),
        ),
        ({"resourceType": "Encounter", "subject": {"reference": "Group/g1"}}, ()),
        ({"resourceType": "Encounter", "subject": {"reference": "urn:uuid:1"}}, ()),
        ({"resourceType": "Device", "patient": {"reference": "Patient/p1"}}, ("Patient/p1",)),
        ({"resourceType": "Organization", "name": "x"}, ()),
    ],
)
def test_references_to_patients_put_a_resource_in_their_record(
    index: SearchIndex, resource: dict[str, object], expected: tuple[str, ...]
):
    assert index.compartment_references(resource) == expected


def test_what_stands_outside_every_record_can_support_one(index: SearchIndex):
    supporting = {index.type_name(number) for number in index.supporting_type_ids}
    assert {"Organization", "Practitioner", "Location", "Medication", "Device"} <= supporting
    assert supporting.isdisjoint({"Patient", "Observation", "Encounter", "Provenance"})


def test_the_clinical_time_is_of_the_first_group_with_a_value(index: SearchIndex):
    condition = {
        "resourceType": "Condition",
        "onsetDateTime": "2019",
        "abatementDateTime": "2020",
        "recordedDate": "2024",
    }
    lo, hi = index.clinical_period(condition) or (0, 0)
    assert (hi - lo) // 86_400_000_000 == 365 + 366
    assert index.clinical_period({"resourceType": "Condition", "recordedDate": "2024"})
    assert index.clinical_period({"resourceType": "Condition"}) is None
    assert index.clinical_period({"resourceType": "Organization"}) is None


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("search.toml", "patient = 22\n", 'patient = "22"\n', "ids"),
        ("search.toml", "[Observation]", "[Observatory]", "Observatory"),
        ("search.toml", 'paths = ["birthDate"]', 'paths = ["birth..Date"]', "Patient.birthdate"),
        (
            "search.toml",
            'covers = ["participant"]',
            'covers = ["nobody"]',
            "Encounter.practitioner",
        ),
        ("search.toml", 'type = "date", paths = ["period"]', 'type = "day"', "Encounter.date"),
        ("types.toml", "Account = 1\n", "Account = 2\n", "ids"),
        ("compartment.toml", 'Flag = ["subject"]', 'Flag = "subject"', "Flag"),
        ("directory.toml", '"Endpoint"', '"Endpint"', "Endpint"),
        ("types.toml", "\n[ids]\n", "\n[ids\n", ""),
    ],
)
def test_a_table_that_is_wrong_is_named_with_its_key(
    tmp_path: Path, file: str, old: str, new: str, named: str
):
    folder = tmp_path / "fhir"
    shutil.copytree(FHIR, folder)
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    with pytest.raises(HieError) as raised:
        load_index(folder)
    assert raised.value.category is Category.INVALID
    assert f"`config/fhir/{file}`" in raised.value.text
    assert not named or f"`{named}`" in raised.value.text


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"resourceType": "Patient"}, ("k",)),
        ({"resourceType": "Observation", "subject": {"reference": "Patient/a"}}, ("a",)),
        ({"resourceType": "Observation", "subject": {"reference": "Group/a"}}, ()),
        ({"resourceType": "Observation"}, ()),
        ({"resourceType": "Organization"}, ()),
    ],
)
def test_a_resource_is_of_the_patients_it_names(index: SearchIndex, resource, expected):
    assert index.patients_of(resource["resourceType"], "k", resource) == expected
