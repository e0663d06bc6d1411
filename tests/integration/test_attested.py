"""Whose word that a patient verified a Consent counts: the source's file says so, for now."""

import shutil
from pathlib import Path

import pytest

from hie.flow.rebuild import rebuild_consents
from tests.support.running_hub import RunningHub, running_hub
from tests.support.tree import ROOT

OWN, OTHER = "saint-aurelia", "bayside-general"
ORGANIZATION = "https://hie.example/organization|"
SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"


def consent(patient: str) -> dict[str, object]:
    """A permit for everybody that says the patient verified it."""
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{patient}"},
        "policy": [{"uri": "https://example.org/policy"}],
        "provision": {"type": "permit"},
        "verification": [{"verified": True}],
    }


def attested(folder: Path, told: str) -> str:
    """A configuration in which the source's word counts or does not."""
    config = folder / "config"
    if not config.exists():
        shutil.copytree(ROOT / "config", config)
    path = config / "sources" / f"{OWN}.toml"
    lines = [
        line for line in path.read_text().splitlines() if not line.startswith("attested_verific")
    ]
    path.write_text("\n".join([f"attested_verification = {told}" if told else "", *lines]) + "\n")
    return str(config)


async def seen(hub: RunningHub) -> int:
    token = await hub.token(ORGANIZATION + OTHER)
    _, found = await hub.ask(token, "AllergyIntolerance")
    return len(found.get("entry", []))


async def record(hub: RunningHub) -> None:
    """A patient, an allergy and a Consent, written by the source itself."""
    token = await hub.token(ORGANIZATION + OWN)
    numbers = [{"system": "https://saint-aurelia.example/mrn", "value": "1001"}]
    person = {"identifier": numbers, "name": [{"family": "Doe"}], "birthDate": "1980-01-02"}
    status, patient = await hub.ask(token, "Patient", {"resourceType": "Patient", **person})
    assert status == 201
    about = {"reference": f"Patient/{patient['id']}"}
    allergy = {"resourceType": "AllergyIntolerance", "patient": about, "code": {"text": "Nuts"}}
    assert (await hub.ask(token, "AllergyIntolerance", allergy))[0] == 201
    assert (await hub.ask(token, "Consent", consent(patient["id"])))[0] == 201


@pytest.mark.parametrize("url", ["sqlite", "postgresql"])
async def test_trust_in_a_source_can_be_given_and_taken(
    request: pytest.FixtureRequest, tmp_path: Path, url: str
) -> None:
    address = "" if url == "sqlite" else request.getfixturevalue("postgres_url")
    environment = {"HIE_DATABASE_URL": address}
    home = tmp_path / "home"
    config = attested(tmp_path, "")
    async with running_hub(home, HIE_CONFIG=config, **environment) as hub:
        await record(hub)
        assert await seen(hub) == 0, "nobody is taken at his word who is not listed"
    for told, expected in (("true", 1), ("false", 0)):
        attested(tmp_path, told)
        async with running_hub(home, HIE_CONFIG=config, **environment) as hub:
            services = hub.hub
            assert await rebuild_consents(services.db, services.repository, services.placer) == 1
            assert await seen(hub) == expected
