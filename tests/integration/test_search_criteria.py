"""What each kind of search finds on a running hub, over HTTP and on both databases.

Spec: https://hl7.org/fhir/R4/search.html
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.asked_hub import GLUCOSE, HEMOGLOBIN, World, observation, patient, zebulon

IS_LONG = os.environ.get("HIE_TEST_LONG") == "1"
UCUM = "http://unitsofmeasure.org"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
STATUSES = "http://hl7.org/fhir/ValueSet/observation-status"


def quantity(value: float, unit: str = "mmol/L") -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def named(code: str, text: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://loinc.org", "code": code, "display": text}]}


async def fill(world: World) -> dict[str, str]:
    """A clinic, two people and their results; ids by name."""
    ids: dict[str, str] = {}

    async def post(name: str, body: dict[str, Any]) -> str:
        ids[name] = await world.post("ALPHA", body)
        return f"{body['resourceType']}/{ids[name]}"

    trust = await post("trust", {"resourceType": "Organization", "name": "River Trust"})
    clinic: dict[str, Any] = {"resourceType": "Organization", "name": "Saint Mary Clinic"}
    clinic |= {"partOf": {"reference": trust}}
    clinic_ref = {"reference": await post("clinic", clinic)}
    doctor = {"resourceType": "Practitioner", "name": [{"family": "Okafor"}]}
    doctor_ref = {"reference": await post("doctor", doctor)}
    hortensia = patient("A1", "alpha", managingOrganization=clinic_ref)
    one = await world.post("ALPHA", {**hortensia, "generalPractitioner": [doctor_ref]})
    two = await world.post("ALPHA", zebulon("A2", "alpha"))
    ids["hortensia"] = await world.person_of("ALPHA", one)
    ids["ike"] = await world.person_of("ALPHA", two)
    visit = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"system": ACT, "code": "AMB"},
        "subject": {"reference": f"Patient/{one}"},
        "serviceProvider": clinic_ref,
        "participant": [{"individual": doctor_ref}],
    }
    visit_ref = {"reference": await post("visit", visit)}
    await post(
        "stay", {**visit, "status": "in-progress", "subject": {"reference": f"Patient/{two}"}}
    )
    typed = {"coding": [{"system": "urn:types", "code": "FILL"}], "text": "Filler Order Number"}
    sugar = {
        "encounter": visit_ref,
        "code": named(GLUCOSE, "Glucose in serum"),
        "valueQuantity": quantity(6.3),
        "identifier": [{"system": "urn:results", "value": "O9", "type": typed}],
        "performer": [{"identifier": {"system": "urn:npi", "value": "123"}}],
        "meta": {
            "tag": [{"system": "urn:tags", "code": "batch-7"}],
            "profile": ["http://example.org/fhir/StructureDefinition/lab|1.0"],
            "source": "http://example.org/lab/analyser",
        },
    }
    sugar_ref = await post("sugar", {**observation(one), **sugar})
    blood = {"code": named(HEMOGLOBIN, "Hemoglobin"), "valueQuantity": quantity(140, "g/L")}
    await post("blood", {**observation(two), **blood, "status": "preliminary"})
    pressure = {
        "code": named("85354-9", "Blood pressure panel"),
        "component": [
            {"code": named("8480-6", "Systolic"), "valueQuantity": quantity(107, "mm[Hg]")},
            {"code": named("8462-4", "Diastolic"), "valueQuantity": quantity(60, "mm[Hg]")},
        ],
    }
    await post("pressure", {**observation(one), **pressure})
    sheet: dict[str, Any] = {"resourceType": "List", "status": "current", "mode": "working"}
    sheet |= {"subject": {"reference": f"Patient/{one}"}}
    await post("sheet", {**sheet, "entry": [{"item": {"reference": sugar_ref}}]})
    return ids


ALL = ("blood", "pressure", "sugar")
#: Searches and the names of what they find; names in braces stand for ids.
FOUND: Mapping[str, Sequence[str]] = {
    # Chains, one hop and two.
    "Observation?patient.name=quill": ("pressure", "sugar"),
    "Observation?subject:Patient.family=zebulon": ("blood",),
    "Observation?subject.birthdate=lt1960": ("pressure", "sugar"),
    "Observation?subject.gender=male,unknown": ("blood",),
    "Observation?patient.gender:not=male": ("pressure", "sugar"),
    "Observation?patient.identifier=urn:alpha|A2": ("blood",),
    "Observation?patient.organization.name=saint": ("pressure", "sugar"),
    "Observation?patient.general-practitioner:Practitioner.family=okafor": ("pressure", "sugar"),
    "Observation?encounter.status=finished": ("sugar",),
    "Observation?encounter.status:not=finished": (),
    "Observation?encounter.class=AMB&encounter.patient={hortensia}": ("sugar",),
    "Observation?encounter.service-provider.name=saint": ("sugar",),
    "Observation?encounter.service-provider:Organization.partof={trust}": ("sugar",),
    "Observation?patient={hortensia}&encounter.status=finished": ("sugar",),
    "Observation?patient={ike}&encounter.status=finished": (),
    "Observation?patient={hortensia}&patient.gender=female": ("pressure", "sugar"),
    "Observation?encounter.participant:Practitioner.name=okafor": ("sugar",),
    "Patient?organization.name=Saint Mary": ("hortensia",),
    "Patient?organization.partof.name=river": ("hortensia",),
    "Patient?organization:missing=true": ("ike",),
    "Patient?organization:missing=false": ("hortensia",),
    # Reverse chains.
    f"Patient?_has:Observation:patient:code={GLUCOSE}": ("hortensia",),
    "Patient?_has:Observation:patient:code=none": (),
    f"Patient?_has:Observation:patient:code={GLUCOSE}&name=zebulon": (),
    "Patient?_has:Observation:patient:encounter.status=finished": ("hortensia",),
    "Patient?_id={hortensia},{ike}&_has:Observation:subject:status=preliminary": ("ike",),
    f"Encounter?_has:Observation:encounter:code={GLUCOSE}": ("visit",),
    "Encounter?_has:Observation:encounter:_has:List:item:status=current": ("visit",),
    "Encounter?_has:Observation:encounter:_has:List:item:status=retired": (),
    "Encounter?patient={hortensia}&_has:Observation:encounter:status=final": ("visit",),
    "Organization?_has:Patient:organization:family=quillfeather": ("clinic",),
    "Organization?_has:Patient:organization:gender=male": (),
    "Organization?_has:Organization:partof:name=saint": ("trust",),
    f"Organization?_has:Patient:organization:_has:Observation:patient:code={GLUCOSE}": ("clinic",),
    "Practitioner?_has:Encounter:participant:status=finished": ("doctor",),
    # What is in meta, and in lists.
    "Observation?_tag=batch-7": ("sugar",),
    "Observation?_tag=urn:tags|batch-7": ("sugar",),
    "Observation?_tag:not=batch-7": ("blood", "pressure"),
    "Observation?_profile=http://example.org/fhir/StructureDefinition/lab": ("sugar",),
    "Observation?_profile:below=http://example.org/fhir": ("sugar",),
    "Observation?_source=http://example.org/lab/analyser": ("sugar",),
    "Observation?_source:below=http://example.org/lab": ("sugar",),
    "Observation?_source:below=http://example.org/la": (),
    "Observation?_source:above=http://example.org/lab/analyser/2/chip": ("sugar",),
    "Observation?_security=N": ALL,
    "Observation?_security=R": (),
    "Observation?_security:not=R": ALL,
    "Observation?_list={sheet}": ("sugar",),
    "Encounter?_list={sheet}": (),
    # Composites: values of one element, not of two.
    f"Observation?code-value-quantity={GLUCOSE}$gt6": ("sugar",),
    f"Observation?code-value-quantity=http://loinc.org|{GLUCOSE}$6.3|{UCUM}|mmol/L": ("sugar",),
    f"Observation?code-value-quantity={GLUCOSE}$gt100": (),
    "Observation?component-code-value-quantity=8480-6$107": ("pressure",),
    "Observation?component-code-value-quantity=8480-6$60": (),
    "Observation?component-code-value-quantity=8480-6$60,8462-4$lt61": ("pressure",),
    # Modifiers.
    "Observation?code:text=glucose in": ("sugar",),
    "Observation?code:text=serum": (),
    f"Observation?status:in={STATUSES}": ALL,
    f"Observation?status:not-in={STATUSES}": (),
    "Observation?identifier=O9": ("sugar",),
    "Observation?identifier:of-type=urn:types|FILL|O9": ("sugar",),
    "Observation?identifier:of-type=urn:types|PLAC|O9": (),
    "Observation?identifier:text=filler": ("sugar",),
    "Observation?performer:identifier=urn:npi|123": ("sugar",),
    "Observation?performer:identifier=urn:npi|124": (),
    "Observation?encounter:missing=true": ("blood", "pressure"),
    "Observation?patient:missing=true": (),
    "Observation?subject:missing=false": ALL,
    "Observation?performer:missing=false": ("sugar",),
    "Observation?component-code-value-quantity:missing=false": ("pressure",),
    "Organization?name:contains=mary": ("clinic",),
    "Organization?name:exact=saint mary clinic": (),
    "Organization?name:exact=Saint Mary Clinic": ("clinic",),
    # Numbers and dates by prefix.
    "Observation?value-quantity=6.3||mmol/L": ("sugar",),
    "Observation?value-quantity=ne6.3": ("blood",),
    "Observation?value-quantity=ap6.5": ("sugar",),
    "Observation?value-quantity=sa6,eb5": ("blood", "sugar"),
    "Observation?date=eb2025-03-04": (),
    "Observation?date=sa2025-03-03": ALL,
    # Compartments as addresses.
    "Patient/{hortensia}/Observation": ("pressure", "sugar"),
    f"Patient/{{hortensia}}/Observation?code={GLUCOSE}": ("sugar",),
    "Patient/{hortensia}/Observation?patient={ike}": (),
    "Patient/{hortensia}/Patient": ("hortensia",),
    "Encounter/{visit}/Observation": ("sugar",),
    "Encounter/{visit}/Encounter": ("visit",),
    "Practitioner/{doctor}/Encounter": ("stay", "visit"),
    "Practitioner/{doctor}/Patient": ("hortensia",),
    "RelatedPerson/nobody/Observation": (),
    "Device/nobody/Observation": (),
}


async def test_searches_find_what_they_ask_for_and_nothing_else(
    tmp_path: Path, database_url: str
) -> None:
    async with World(tmp_path / "home", HIE_DATABASE_URL=database_url) as world:
        ids = await fill(world)
        names = {key: name for name, key in ids.items()}
        wrong = {}
        # Building and planning these statements takes PostgreSQL a while: some of each kind.
        step = 1 if IS_LONG or "sqlite" in database_url else 8
        for asked, expected in list(FOUND.items())[::step]:
            path = asked.format(**ids)
            told = await _found(world, "GET", path, names)
            if told != sorted(expected):
                wrong[asked] = (told, sorted(expected))
        assert not wrong
        for path in ("Observation?patient.name=quill", f"Encounter/{ids['visit']}/Observation"):
            address, _, query = path.partition("?")
            posted = await _found(world, "POST", f"{address}/_search?{query}", names)
            assert posted == await _found(world, "GET", path, names)


async def _found(world: World, method: str, path: str, names: Mapping[str, str]) -> Any:
    address, _, query = path.partition("?")
    status, _, body = await world.ask(
        "ALPHA", method, f"{address}?{quote(query, safe='=&:,|$/{}')}"
    )
    bundle = json.loads(body)
    if status != 200:
        return (status, bundle)
    found = [entry["resource"]["id"] for entry in bundle.get("entry", [])]
    return sorted(names.get(key, key) for key in found)


#: Searches that are refused: status, and what the text names.
REFUSED: Sequence[tuple[str, int, str]] = (
    ("Observation?patient.nothing=1", 400, "`patient.nothing`"),
    ("Observation?encounter.subject.organization.name=a", 400, "at most 2 references"),
    ("Observation?code.text=a", 400, "`code`: expected a reference"),
    ("Observation?focus.name=a", 400, "`focus`: expected a type"),
    ("Observation?patient.birthdate=tomorrow", 400, "`patient.birthdate`: expected a date"),
    (
        "Observation?patient.name:contains=a",
        400,
        "`patient.name:contains`: `:contains` is not supported",
    ),
    ("Observation?patient.identifier=urn:x|", 400, "`patient.identifier`: expected `value`"),
    ("Observation?_has:Patient=1", 400, "`_has`: expected `_has:Type:reference:parameter`"),
    ("Observation?_has:Encounter:status:class=1", 400, "`_has`: expected a reference"),
    ("Observation?_list=$current-problems", 400, "`_list`: functional lists"),
    ("Observation?code:in=http://example.org/unknown", 400, "`code`: expected the canonical url"),
    ("Observation?code:above=1", 400, "supported: `:not`"),
    ("Observation?code-value-quantity=2345-7", 400, "expected `code$value-quantity`"),
    ("Observation?identifier:of-type=O9", 400, "expected `system|code|value`"),
    ("Observation?_text=a", 400, "`_text`: no search parameter"),
    ("Observation?_filter=a", 400, "`_filter`: no search parameter"),
    ("Patient?name:contains=a", 400, "`name`: `:contains` is not supported"),
    ("Encounter?identifier=urn:x|", 400, "`identifier`: expected `value`"),
    ("Patient?_sort=name", 400, "`_sort`"),
    ("Patient/x/*", 400, "expected one resource type"),
    ("Patient/x/Organization", 400, "no Organization is in the compartment"),
    ("Organization/x/Observation", 404, "the address names no compartment"),
    ("Patient/x/Nothing", 404, "no resource type"),
)


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    async with World(tmp_path / "home") as made:
        yield made


async def test_what_cannot_be_asked_is_refused_with_a_reason(world: World) -> None:
    for path, expected, text in REFUSED:
        status, _, body = await world.ask("ALPHA", "GET", path)
        assert (status, text in body.decode()) == (expected, True), (path, status, body)
    asked = "Observation?patient.nothing=1"
    status, _, body = await world.ask("ALPHA", "GET", asked, Prefer="handling=lenient")
    assert status == 200
    assert "patient.nothing" in body.decode()


async def test_scopes_bound_every_type_a_search_goes_through(world: World) -> None:
    await world.token("NARROW", organization="ALPHA", scope="system/Observation.rs")
    await world.token("READS", organization="ALPHA", scope="system/Observation.rs system/*.r")
    for who in ("NARROW", "READS"):
        for path, named_type in (
            ("Observation?patient.name=a", "Patient"),
            ("Observation?subject:Device.type=a", "Device"),
            ("Observation?encounter.status=finished", "Encounter"),
            ("Observation?_has:Provenance:target:agent=a", "Provenance"),
            ("Observation?_list=a", "List"),
        ):
            status, _, body = await world.ask(who, "GET", path)
            assert (status, f"on {named_type}" in body.decode()) == (403, True), (path, body)
    assert await world.status("NARROW", "Observation?code=1") == 200
    assert await world.status("NARROW", "Patient/x/Condition") == 403
