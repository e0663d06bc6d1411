"""What each criterion means, on resources in memory."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from fhir_server.search.parse import SearchParser
from fhir_server.settings import FhirSettings
from hie.store.index import load_index
from hie.store.match import Seen, is_found, matches
from hie.store.query import Query, Served

INDEX = load_index(Path(__file__).resolve().parents[4] / "config/fhir")
LOINC = "http://loinc.org"


class Known:
    """A world of a few resources."""

    def __init__(self, *seen: Seen) -> None:
        self.seen = seen

    def of_type(self, type_name: str, /) -> Iterable[Seen]:
        return [one for one in self.seen if one.served.type == type_name]


def seen(resource: dict[str, Any], *persons: str, records: Iterable[str] = ()) -> Seen:
    kind, key = resource["resourceType"], resource["id"]
    return Seen(
        served=Served(type=kind, id=key, version="1", last_updated_us=1),
        values=INDEX.values(resource),
        persons=persons,
        names=frozenset({key, *records}),
    )


def coded(code: str, display: str = "") -> dict[str, Any]:
    return {"coding": [{"system": LOINC, "code": code, "display": display}]}


CLINIC = {"resourceType": "Organization", "id": "clinic", "name": "Saint Mary"}
PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "gender": "female",
    "birthDate": "1951-04-12",
    "name": [{"family": "Quill"}],
    "managingOrganization": {"reference": "Organization/clinic"},
}
VISIT = {
    "resourceType": "Encounter",
    "id": "visit",
    "status": "finished",
    "class": {"code": "AMB"},
    "subject": {"reference": "Patient/r1"},
}
SUGAR = {
    "resourceType": "Observation",
    "id": "sugar",
    "status": "final",
    "code": coded("2345-7", "Glucose in serum"),
    "subject": {"reference": "Patient/r1"},
    "encounter": {"reference": "Encounter/visit"},
    "performer": [{"reference": "Patient/r1"}, {"identifier": {"system": "urn:npi", "value": "1"}}],
    "valueQuantity": {"value": 6.3, "unit": "mmol/L"},
    "meta": {"source": "http://a.org/lab/1", "tag": [{"code": "x"}]},
}
SHEET = {
    "resourceType": "List",
    "id": "sheet",
    "status": "current",
    "mode": "working",
    "entry": [{"item": {"reference": "Observation/sugar"}}],
}
WORLD = Known(
    seen(CLINIC),
    seen(PATIENT, "p1", records=["r1"]),
    seen(VISIT, "p1"),
    seen(SUGAR, "p1"),
    seen(SHEET),
)


def query_of(search: str) -> Query:
    type_name, _, text = search.partition("?")
    name, _, value = text.partition("=")
    parser = SearchParser(INDEX, FhirSettings())
    return parser.parse(type_name, ((name, value),), may=lambda _: True).query


@pytest.mark.parametrize(
    ("search", "is_met"),
    [
        ("Observation?patient=p1", True),
        ("Observation?patient=p2", False),
        ("Observation?performer=Patient/p1", True),
        ("Observation?performer=Patient/p2", False),
        ("Observation?patient.name=quill", True),
        ("Observation?patient.name=ash", False),
        ("Observation?patient.gender:not=female", False),
        ("Observation?patient.organization.name=saint", True),
        ("Observation?encounter.status=finished", True),
        ("Observation?encounter.status=planned", False),
        ("Patient?_has:Observation:patient:encounter.status=finished", True),
        ("Patient?_has:Observation:patient:status=amended", False),
        ("Encounter?_has:Observation:encounter:_has:List:item:status=current", True),
        ("Organization?_has:Patient:organization:birthdate=1951", True),
        ("Observation?_list=sheet", True),
        ("Observation?_list=other", False),
        ("Observation?_tag:not=x", False),
        ("Observation?_source:below=http://a.org/lab", True),
        ("Observation?_source:below=http://a.org/la", False),
        ("Observation?code:text=glucose in", True),
        ("Observation?code:text=serum", False),
        ("Observation?code-value-quantity=2345-7$6.3||mmol/L", True),
        ("Observation?code-value-quantity=2345-7$gt7", False),
        ("Observation?performer:identifier=urn:npi|1", True),
        ("Observation?encounter:missing=true", False),
        ("Observation?specimen:missing=true", True),
        ("Observation?patient:missing=true", False),
        ("Observation?value-quantity=lt7", True),
        ("Observation?_id=sugar", True),
        ("Organization?name:contains=mary", True),
        ("Organization?name:exact=saint mary", False),
    ],
)
def test_each_criterion_means_what_the_standard_says(search: str, is_met: bool):
    query = query_of(search)
    found = [one for one in WORLD.of_type(query.type) if is_found(one, query, WORLD)]
    assert bool(found) is is_met


def test_what_is_not_in_the_world_takes_no_part():
    hidden = Known(*(one for one in WORLD.seen if one.served.type != "Encounter"))
    query = query_of("Observation?encounter.status=finished")
    assert not [one for one in hidden.of_type("Observation") if is_found(one, query, hidden)]


def test_a_golden_patient_leaves_references_to_the_database():
    served = Served(type="Patient", id="p1", version="1", last_updated_us=1, person_id="p1")
    values = INDEX.values({**PATIENT, "managingOrganization": {}})
    asked = query_of("Patient?organization.name=elsewhere").criteria
    assert matches(values, served, asked)
    assert not matches(values, served, query_of("Patient?gender=male").criteria)
