"""Identity questions of a running hub over HTTP, on both databases: $match and $ihe-pix.

IHE PDQm 3.2 (ITI-78, ITI-119) and PIXm 3.1 (ITI-83).
"""

import json
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


@pytest.fixture
async def sqlite_hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path / "home", HIE_REGIME="hipaa-treatment") as started:
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
    assert entry["fullUrl"].endswith(f"/fhir/Patient/{entry['resource']['id']}")


async def test_the_explanation_tells_levels_and_bits_and_no_value(sqlite_hub: RunningHub):
    hub = sqlite_hub
    await put(hub, AURELIA, hortensia(AURELIA_MRN, "A1"))
    token = await hub.token(who(AURELIA))
    asked = question(described(birthDate="1951-12-04"), explain=True)
    _, bundle = await hub.ask(token, "Patient/$match", asked)
    (entry,) = bundle["entry"]
    grade, told = entry["search"]["extension"]
    assert (grade["valueCode"], told["url"]) in {
        (code, "urn:hie:match-explanation") for code in ("certain", "probable", "possible")
    }
    evidence = {
        part["extension"][0]["valueCode"]: part["extension"][1]["valueCode"]
        for part in told["extension"]
        if part["url"] == "evidence"
    }
    parts = {part["url"]: part for part in told["extension"]}
    added = sum(
        part["extension"][2]["valueDecimal"]
        for part in told["extension"]
        if part["url"] == "evidence"
    )
    if "rule" not in parts:
        total = parts["prior"]["valueDecimal"] + added
        assert abs(parts["bits"]["valueDecimal"] - total) < 0.1
    assert evidence["birth"] == "swapped"
    assert evidence["name"] == "exact"
    assert not {"Quillfeather", "1951", "6172348871"} & set(json.dumps(told).split('"'))


async def test_only_certain_matches_are_told_when_nobody_else_comes_close(sqlite_hub: RunningHub):
    hub = sqlite_hub
    await put(hub, AURELIA, hortensia(AURELIA_MRN, "A1"))
    token = await hub.token(who(AURELIA))
    for patient, total in (
        (described(), 1),  # case 3
        (described(birthDate=None, telecom=None, address=None, gender=None), 0),  # case 4
        (described(name=[{"family": "Nobody", "given": ["Else"]}], birthDate="1990-01-01"), 0),
    ):
        status, bundle = await hub.ask(
            token, "Patient/$match", question(patient, onlyCertainMatches=True)
        )
        assert (status, bundle["total"], len(bundle.get("entry", ()))) == (200, total, total)
    # Case 5: two persons who cannot be told apart by what is asked.
    twin = hortensia(AURELIA_MRN, "A2", name=[{"family": "Quillfeather", "given": ["Beatrix"]}])
    await put(hub, AURELIA, twin)
    vague = described(name=[{"family": "Quillfeather"}])
    _, bundle = await hub.ask(token, "Patient/$match", question(vague))
    assert bundle["total"] == 2
    scores = [entry["search"]["score"] for entry in bundle["entry"]]
    assert scores == sorted(scores, reverse=True)
    assert {e["search"]["extension"][0]["valueCode"] for e in bundle["entry"]} == {"possible"}
    _, only = await hub.ask(token, "Patient/$match", question(vague, onlyCertainMatches=True))
    assert (only["total"], "entry" in only) == (0, False)
    _, one = await hub.ask(token, "Patient/$match", question(vague, count=1))
    assert (one["total"], len(one["entry"])) == (2, 1)
    assert one["entry"][0] == bundle["entry"][0]
    _, bare = await hub.ask(token, "Patient/$match", vague)
    assert bare == bundle


async def test_numbers_are_cross_referenced_by_number_by_id_and_by_post(hub: RunningHub):
    ssn = {"system": SSN, "value": "900776655"}
    old = {"system": AURELIA_MRN, "value": "A0", "use": "old"}
    mine = hortensia(AURELIA_MRN, "A1")
    mine["identifier"] += [ssn, old, {"value": "no authority"}]
    stored = await put(hub, AURELIA, mine)
    await put(hub, BAYSIDE, hortensia(BAYSIDE_MRN, "B1"))
    token = await hub.token(who(AURELIA))

    async def pix(query: str, body: object = None) -> tuple[int, list[str], list[str]]:
        status, found = await hub.ask(token, f"Patient/$ihe-pix{query}", body)
        named = found.get("parameter", [])
        numbers = sorted(p["valueIdentifier"]["value"] for p in named if "Ident" in p["name"])
        ids = [p["valueReference"]["reference"] for p in named if p["name"] == "targetId"]
        return status, numbers, ids

    golden = (await search(hub, f"identifier={AURELIA_MRN}|A1"))["entry"][0]["resource"]["id"]
    both = [f"Patient/{golden}", f"Patient/{stored['id']}"]
    asked = f"?sourceIdentifier={AURELIA_MRN}|A1"
    assert await pix(asked) == (200, ["900776655", "B1"], both)
    assert await pix(f"{asked}&targetSystem={BAYSIDE_MRN}&_format=json") == (200, ["B1"], both)
    assert await pix(f"{asked}&targetSystem={BAYSIDE_MRN}&targetSystem={SSN}") == (
        200,
        ["900776655", "B1"],
        both,
    )
    assert await pix(f"{asked}&targetSystem={AURELIA_MRN}") == (200, [], [])
    assert await pix(f"{asked}&targetSystem={hub.base}") == (200, [], both)
    by_id = f"?sourceIdentifier={hub.base}|Patient/{golden}"
    assert await pix(by_id) == (200, ["900776655", "A1", "B1"], both[1:])
    posted = {
        "resourceType": "Parameters",
        "parameter": [
            {
                "name": "sourceIdentifier",
                "valueIdentifier": {"system": AURELIA_MRN, "value": "A1"},
            },
            {"name": "targetSystem", "valueUri": BAYSIDE_MRN},
        ],
    }
    assert await pix("", posted) == (200, ["B1"], both)


#: Query, status, issue code, diagnostics.
NOWHERE: tuple[tuple[str, int, str, str | None], ...] = (
    (
        f"sourceIdentifier={AURELIA_MRN}|A9",
        404,
        "not-found",
        "sourceIdentifier Patient Identifier not found",
    ),
    (
        "sourceIdentifier=urn:nobody|A1",
        400,
        "code-invalid",
        "sourceIdentifier Assigning Authority not found",
    ),
    (
        f"sourceIdentifier={AURELIA_MRN}|A1&targetSystem=urn:nobody",
        403,
        "code-invalid",
        "targetSystem not found",
    ),
    ("sourceIdentifier=A1", 400, "required", None),
    ("", 400, "required", None),
    (f"sourceIdentifier={AURELIA_MRN}|A1&sourceIdentifier=a|b", 400, "required", None),
    (f"sourceIdentifier={AURELIA_MRN}|A1&name=Nora", 400, "not-supported", None),
)


async def test_a_number_that_leads_nowhere_is_answered_in_the_words_of_the_profile(
    sqlite_hub: RunningHub,
):
    token = await sqlite_hub.token(who(AURELIA))
    for query, status, code, diagnostics in NOWHERE:
        found, outcome = await sqlite_hub.ask(token, f"Patient/$ihe-pix?{query}")
        (issue,) = outcome["issue"]
        assert (found, issue["severity"], issue["code"]) == (status, "error", code), query
        assert issue.get("diagnostics") == diagnostics


async def test_a_number_that_two_patients_carry_identifies_neither(sqlite_hub: RunningHub):
    hub = sqlite_hub
    ssn = {"system": SSN, "value": "900776655"}
    for number, given, born in (("A1", "Hortensia", "1951-04-12"), ("A2", "Ike", "1980-01-01")):
        one = hortensia(
            AURELIA_MRN, number, name=[{"family": "Quill", "given": [given]}], birthDate=born
        )
        one["identifier"].append(ssn)
        await put(hub, AURELIA, one)
    token = await hub.token(who(AURELIA))
    status, outcome = await hub.ask(token, f"Patient/$ihe-pix?sourceIdentifier={SSN}|900776655")
    assert (status, outcome["issue"][0]["code"]) == (409, "multiple-matches")


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
