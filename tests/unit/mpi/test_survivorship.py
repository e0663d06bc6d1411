"""The golden Patient: https://hl7.org/fhir/R4/patient.html, validated against the R4 models."""

import random
from dataclasses import replace
from itertools import permutations
from types import MappingProxyType
from typing import Any

import pytest
from fhir.resources.R4B.patient import Patient as PatientModel

from hie.kernel.errors import HieError
from mpi.survivorship import Survivorship
from tests.support.mpi import SETTINGS, SSN, patient
from tests.support.people import Desk, Town

golden = Survivorship(SETTINGS.survivorship)


def record(number: int, day: int = 1, **elements: Any) -> dict[str, Any]:
    """A source record, updated on a day of January."""
    meta = {"lastUpdated": f"2026-01-{day:02d}T00:00:00.000Z"} | elements.pop("meta", {})
    return {"resourceType": "Patient", "id": f"record{number:014d}", "meta": meta} | elements


def of(*records: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The golden Patient of these records, the same in every order and valid."""
    built = [golden(order, "person0000000001", **more) for order in permutations(records)]
    assert all(b == built[0] for b in built)
    PatientModel.model_validate(built[0])
    return built[0]


def test_one_record_is_its_own_golden_patient():
    made = of(record(1, **patient(ssn="412-55-7781")))
    assert made["id"] == "person0000000001"
    assert made["name"] == [{"use": "official", "family": "Quinlan", "given": ["Nora"]}]
    assert made["identifier"] == [{"system": SSN, "value": "412-55-7781"}]
    assert (made["birthDate"], made["gender"], made["active"]) == ("1971-03-08", "female", True)


def test_no_record_is_nobody():
    assert golden([], "person0000000001") == {"resourceType": "Patient", "id": "person0000000001"}


def test_identifiers_of_all_records_stand_side_by_side_once_each():
    one = {"system": "urn:a", "value": "1"}
    both = {"system": "urn:b", "value": "2"}
    made = of(
        record(1, 1, identifier=[one, both]), record(2, 2, identifier=[both | {"use": "usual"}])
    )
    assert made["identifier"] == [both | {"use": "usual"}, one]


def test_the_newest_current_name_is_official_and_the_others_are_kept():
    made = of(
        record(1, 1, name=[{"use": "official", "family": "Quinlan", "given": ["Nora"]}]),
        record(
            2,
            2,
            name=[
                {"use": "maiden", "family": "Rowe"},
                {"use": "official", "family": "Castellano", "given": ["Nora"]},
            ],
        ),
        record(3, 3, name=[{"use": "official", "family": "QUINLAN", "given": ["NORA"]}]),
    )
    assert made["name"] == [
        {"use": "official", "family": "QUINLAN", "given": ["NORA"]},
        {"family": "Castellano", "given": ["Nora"]},
        {"use": "maiden", "family": "Rowe"},
    ]


def test_a_placeholder_is_never_the_official_name():
    baby = {"use": "official", "family": "Quinlan", "given": ["BABY GIRL"]}
    ida = {"family": "Quinlan", "given": ["Ida"]}
    made = of(record(1, 1, name=[ida]), record(2, 2, name=[baby]))
    assert [n["use"] for n in made["name"]] == ["official", "temp"]
    assert made["name"][0]["given"] == ["Ida"]
    assert of(record(1, name=[baby]))["name"] == [baby | {"use": "temp"}]


@pytest.mark.parametrize(
    ("dates", "kept"),
    [
        (["1971-03-08", "1971-03-08", "1971-08-03"], "1971-03-08"),
        (["1971", "1971", "1971-03-08"], "1971-03-08"),
        (["1900-01-01", "1900-01-01", "1971-03-08"], "1971-03-08"),
        (["1900-01-01"], "1900-01-01"),
        (["1971-03-08", "1971-08-03"], "1971-08-03"),  # the newest of equals
    ],
)
def test_the_birth_date_is_the_commonest_of_the_exact_ones(dates: list[str], kept: str):
    assert of(*(record(n, n + 1, birthDate=d) for n, d in enumerate(dates)))["birthDate"] == kept


def test_a_sex_that_is_known_survives_one_that_is_not():
    made = of(record(1, 1, gender="female"), record(2, 2, gender="unknown"))
    assert made["gender"] == "female"
    assert of(record(1, gender="unknown"))["gender"] == "unknown"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([{"deceasedBoolean": False}, {"deceasedBoolean": True}], {"deceasedBoolean": True}),
        (
            [{"deceasedDateTime": "2026-01-01"}, {"deceasedBoolean": False}],
            {"deceasedDateTime": "2026-01-01"},
        ),
        ([{"deceasedBoolean": False}], {"deceasedBoolean": False}),
        ([{}], {}),
        (
            [{"multipleBirthBoolean": True}, {"multipleBirthInteger": 2}],
            {"multipleBirthInteger": 2},
        ),
        (
            [{"multipleBirthBoolean": True}, {"multipleBirthBoolean": False}],
            {"multipleBirthBoolean": True},
        ),
    ],
)
def test_of_two_forms_of_an_element_the_one_that_says_more_survives(
    records: list[dict[str, Any]], expected: dict[str, Any]
):
    made = of(*(record(n, n + 1, **elements) for n, elements in enumerate(records)))
    kept = {k: v for k, v in made.items() if k.startswith(("deceased", "multiple"))}
    assert kept == expected


def test_contact_data_are_united_whatever_their_spelling():
    made = of(
        record(1, 1, telecom=[{"system": "phone", "value": "617-234-8871"}]),
        record(
            2,
            2,
            telecom=[
                {"system": "phone", "value": "+1 (617) 234-8871", "use": "home"},
                {"system": "email", "value": "N@B.org"},
            ],
            address=[{"line": ["14 Orchard St."], "city": "Concord", "postalCode": "01742-1234"}],
        ),
        record(
            3, 3, address=[{"line": ["14 ORCHARD ST"], "city": "CONCORD", "postalCode": "01742"}]
        ),
    )
    assert [t["value"] for t in made["telecom"]] == ["+1 (617) 234-8871", "N@B.org"]
    assert [a["postalCode"] for a in made["address"]] == ["01742"]


def test_an_extension_comes_whole_from_one_record():
    race = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
    text = [[{"url": "text", "valueString": value}] for value in ("White", "Asian")]
    made = of(
        record(1, 1, extension=[{"url": race, "extension": text[0]}]),
        record(2, 2, extension=[{"url": race, "extension": text[1]}]),
        record(3, 3, extension=[{"url": "urn:other", "valueBoolean": True}]),
    )
    assert made["extension"] == [
        {"url": race, "extension": text[1]},
        {"url": "urn:other", "valueBoolean": True},
    ]


def test_what_is_a_records_own_does_not_survive():
    made = of(
        record(
            1,
            text={"status": "generated", "div": "<div xmlns='http://www.w3.org/1999/xhtml'/>"},
            photo=[{"title": "x"}],
            contained=[{"resourceType": "Practitioner", "id": "p"}],
            generalPractitioner=[{"reference": "#p"}, {"reference": "Practitioner/b"}],
            managingOrganization={"reference": "Organization/o"},
            link=[{"other": {"reference": "Patient/x"}, "type": "refer"}],
        )
    )
    assert set(made) == {"resourceType", "id", "active", "generalPractitioner"}
    assert made["generalPractitioner"] == [{"reference": "Practitioner/b"}]


def test_a_person_is_active_while_one_record_is():
    assert of(record(1, active=False), record(2))["active"] is True
    assert of(record(1, active=False))["active"] is False


def test_links_lead_only_where_the_reader_may_go():
    one, other = record(1, 1), record(2, 2)
    assert "link" not in of(one, other)
    made = of(one, other, linked=[one["id"]])
    assert made["link"] == [{"other": {"reference": f"Patient/{one['id']}"}, "type": "seealso"}]


def test_a_trusted_source_comes_before_a_newer_one():
    rules = replace(SETTINGS.survivorship, trusted=("urn:registry",))
    records = [
        record(1, 1, maritalStatus={"text": "M"}, meta={"source": "urn:registry"}),
        record(2, 2, maritalStatus={"text": "S"}, meta={"source": "urn:clinic"}),
    ]
    assert Survivorship(rules)(records, "p" * 16)["maritalStatus"] == {"text": "M"}
    assert golden(records, "p" * 16)["maritalStatus"] == {"text": "S"}


def test_a_record_that_was_merged_away_is_believed_last_though_the_merge_wrote_it_last():
    kept = {"address": [{"city": "Concord"}], "maritalStatus": {"text": "M"}}
    gone = {"address": [{"city": "Salem"}], "maritalStatus": {"text": "S"}, "active": False}
    link = [{"type": "replaced-by", "other": {"reference": "Patient/record00000000000001"}}]
    made = of(record(1, 1, **kept), record(2, 2, **gone, link=link))
    assert (made["address"], made["maritalStatus"]) == (
        [{"city": "Concord"}, {"city": "Salem"}],
        {"text": "M"},
    )
    # One that is only inactive is as good as another.
    assert of(record(1, 1, **kept), record(2, 2, **gone))["maritalStatus"] == {"text": "S"}


def test_a_rule_that_does_not_exist_is_refused_by_name():
    rules = replace(SETTINGS.survivorship, elements=MappingProxyType({"name": "nicest"}))
    with pytest.raises(HieError, match="`nicest`: expected one of active, birth-date"):
        Survivorship(rules)


def test_names_with_parts_missing_are_kept():
    made = golden([record(1, name=[{"text": "Nora Q."}, {"given": [None, "Nora"]}])], "p" * 16)
    assert len(made["name"]) == 2


def test_records_as_desks_type_them_make_a_valid_patient_in_any_order():
    town = Town(5)
    desk = Desk(town)
    for human in (town.human(), *town.twins(), *town.father_and_son()):
        kinds = ("clean", "married", "upper-case", "baby-boy", "moved", "name-and-date-only")
        records = [
            record(n, n + 1, **desk.see(human, "abc"[n % 3], kind).patient)
            for n, kind in enumerate(kinds)
        ]
        first = golden(records, "person0000000001")
        PatientModel.model_validate(first)
        for _ in range(5):
            town.rng.shuffle(records)
            assert golden(random.sample(records, len(records)), "person0000000001") == first


def test_every_value_says_which_records_hold_it_and_which_gave_it():
    here = {
        "id": "r1",
        "meta": {"source": "mercy", "lastUpdated": "2026-01-02T00:00:00Z"},
        "name": [{"family": "Quinlan", "given": ["Nora"], "use": "usual"}],
        "birthDate": "1971-03-08",
        "telecom": [{"system": "phone", "value": "617-234-8871"}],
    }
    there = {
        "id": "r2",
        "meta": {"source": "aurelia", "lastUpdated": "2026-01-05T00:00:00Z"},
        "name": [{"family": "QUINLAN", "given": ["Nora"]}, {"family": "Castellano"}],
        "birthDate": "1971-03-08",
        "gender": "female",
        "telecom": [{"system": "phone", "value": "(617) 234-8871"}],
    }
    survivorship = Survivorship(SETTINGS.survivorship)
    golden = survivorship([here, there], "p1")
    found = survivorship.provenance(golden, [here, there])
    assert found["gender"] == [("r2",)]
    assert [set(one) for one in found["birthDate"]] == [{"r1", "r2"}]
    names = dict(zip([n["family"].lower() for n in golden["name"]], found["name"], strict=True))
    assert set(names["quinlan"]) == {"r1", "r2"}
    assert names["castellano"] == ("r2",)
    assert [set(one) for one in found["telecom"]] == [{"r1", "r2"}]
    # Every value is somebody's: nothing is invented.
    assert all(holders for values in found.values() for holders in values)
