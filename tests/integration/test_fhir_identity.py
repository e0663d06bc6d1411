"""Identity questions of a running hub over HTTP, on both databases: $match and $ihe-pix.

IHE PDQm 3.2 (ITI-78, ITI-119) and PIXm 3.1 (ITI-83).
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hie.kernel.fhir import FhirJson
from tests.support.running_hub import RunningHub, running_hub

AURELIA, BAYSIDE = "saint-aurelia", "bayside-general"
AURELIA_MRN = "https://saint-aurelia.example/mrn"
BAYSIDE_MRN = "urn:oid:2.16.840.1.113883.19.100.1"
SSN = "http://hl7.org/fhir/sid/us-ssn"
MOTHER = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName"
GRADE = "http://hl7.org/fhir/StructureDefinition/match-grade"


def who(organization: str) -> str:
    return f"https://hie.example/organization|{organization}"


def hortensia(system: str, number: str, **changes: Any) -> FhirJson:
    """Hortensia Quillfeather as one hospital knows her, but for what is changed."""
    return {
        "resourceType": "Patient",
        "identifier": [{"system": system, "value": number}],
        "name": [{"family": "Quillfeather", "given": ["Hortensia"]}],
        "gender": "female",
        "birthDate": "1951-04-12",
        "telecom": [{"system": "phone", "value": "617-234-8871"}],
        "address": [{"line": ["14 Orchard Street"], "city": "Concord", "postalCode": "01742"}],
        **changes,
    }


def described(**changes: Any) -> FhirJson:
    """What a desk knows of her."""
    known = hortensia("", "", **changes)
    del known["identifier"]
    return {k: v for k, v in known.items() if v is not None}


def question(patient: FhirJson, **options: Any) -> FhirJson:
    """Parameters of $match."""
    kinds = {bool: "valueBoolean", int: "valueInteger"}
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "resource", "resource": patient},
            *({"name": n, kinds[type(v)]: v} for n, v in options.items()),
        ],
    }


@pytest.fixture
async def hub(tmp_path: Path, database_url: str) -> AsyncIterator[RunningHub]:
    # The regime that hides nothing from treatment: what each test hides, it hides itself.
    settings = {"HIE_DATABASE_URL": database_url, "HIE_REGIME": "hipaa-treatment"}
    async with running_hub(tmp_path / "home", **settings) as started:
        yield started


async def put(hub: RunningHub, organization: str, patient: FhirJson) -> FhirJson:
    """A hospital feeds a patient (ITI-104)."""
    own = patient["identifier"][0]
    path = f"Patient?identifier={own['system']}|{own['value']}"
    token = await hub.token(who(organization))
    status, stored = await hub.ask(token, path, patient, "PUT")
    assert status in (200, 201), stored
    return stored


async def test_a_description_finds_its_person_with_score_grade_and_every_number(hub: RunningHub):
    await put(hub, AURELIA, hortensia(AURELIA_MRN, "A1"))
    await put(hub, BAYSIDE, hortensia(BAYSIDE_MRN, "B1"))
    token = await hub.token(who(AURELIA))
    status, bundle = await hub.ask(token, "Patient/$match", question(described()))
    assert status == 200, bundle
    assert (bundle["type"], bundle["total"]) == ("searchset", 1)
    (entry,) = bundle["entry"]
    assert entry["search"]["mode"] == "match"
    assert entry["search"]["score"] > 0.99
    assert entry["search"]["extension"] == [{"url": GRADE, "valueCode": "certain"}]
    numbers = {i["value"] for i in entry["resource"]["identifier"]}
    assert numbers == {"A1", "B1"}
    status, crossed = await hub.ask(token, f"Patient/$ihe-pix?sourceIdentifier={AURELIA_MRN}|A1")
    assert status == 200, crossed


async def search(hub: RunningHub, query: str, organization: str = AURELIA) -> FhirJson:
    """The answer to a Patient search of a hospital."""
    status, bundle = await hub.ask(await hub.token(who(organization)), f"Patient?{query}")
    assert status == 200, bundle
    return bundle


async def test_a_search_may_ask_for_the_numbers_of_some_authorities_only(hub: RunningHub):
    maiden = {"url": MOTHER, "valueString": "Ashgrove"}
    await put(hub, AURELIA, hortensia(AURELIA_MRN, "A1", extension=[maiden]))
    await put(hub, BAYSIDE, hortensia(BAYSIDE_MRN, "B1"))
    found = await search(hub, f"family=quill&identifier={BAYSIDE_MRN}|")
    (entry,) = found["entry"]
    assert found["total"] == 1
    assert [i["value"] for i in entry["resource"]["identifier"]] == ["B1"]
    assert entry["resource"]["meta"]["tag"][0]["code"] == "SUBSETTED"
    both = await search(hub, f"identifier={BAYSIDE_MRN}|,{AURELIA_MRN}|&birthdate=1951-04-12")
    assert len(both["entry"][0]["resource"]["identifier"]) == 2
    none = await search(hub, "family=quill&identifier=https://harbor-pharmacy.example/customer|")
    assert (none["total"], "entry" in none) == (0, False)
    token = await hub.token(who(AURELIA))
    status, refused = await hub.ask(token, "Patient?family=quill&identifier=urn:nobody|")
    assert status == 404
    issue = {k: refused["issue"][0][k] for k in ("severity", "code", "diagnostics")}
    assert issue == {
        "severity": "warning",
        "code": "not-found",
        "diagnostics": "targetSystem not found",
    }
    status, _ = await hub.ask(token, f"Patient?identifier={BAYSIDE_MRN}|,{AURELIA_MRN}|A1")
    assert status == 400
    for question, total in (
        ("mothersMaidenName=ashg", 1),
        ("mothersMaidenName:exact=Ashgrove&gender=female&family=Quillfeather", 1),
        ("mothersMaidenName=Other", 0),
        ("telecom=6172348871&address-city=Concord&address-postalcode=01742", 1),
        (f"identifier={AURELIA_MRN}|A1&identifier={BAYSIDE_MRN}|B1", 1),
        (f"identifier={AURELIA_MRN}|A1&identifier={BAYSIDE_MRN}|B2", 0),
    ):
        assert (await search(hub, question))["total"] == total, question
