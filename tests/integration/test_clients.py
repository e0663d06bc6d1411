"""Clients that others wrote, unchanged, against a running hub: what they do works."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from fhirclient import client as smart  # type: ignore[import-untyped]  # it tells no types
from fhirclient.models.bundle import Bundle  # type: ignore[import-untyped]  # it tells no types
from fhirclient.models.observation import Observation  # type: ignore[import-untyped]  # it tells no types
from fhirclient.models.patient import Patient  # type: ignore[import-untyped]  # it tells no types
from fhirpy import AsyncFHIRClient
from fhirpy.base.exceptions import ResourceNotFound

from tests.conformance import judges
from tests.support.running_hub import RunningHub, running_hub
from tests.support.tree import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="module")
PACKAGES = ROOT / ".venv/node/node_modules"
#: On a build server what is skipped is not tested.
needs_node = pytest.mark.skipif(
    not (PACKAGES / "fhirclient").is_dir() and os.environ.get("CI") != "true",
    reason="clients in JavaScript: `make node`",
)
GLUCOSE = {"coding": [{"system": "http://loinc.org", "code": "2345-7"}]}
STORED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A hub with one patient of a source's, and the source's token."""

    hub: RunningHub
    token: str
    patient: str
    observations: frozenset[str]


def observation(patient: str, day: int = 1) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "preliminary",
        "code": GLUCOSE,
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": f"2026-04-{day:02d}T08:30:00Z",
    }


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def given(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Given]:
    home = tmp_path_factory.mktemp("clients")
    async with running_hub(home, HIE_REGIME="hipaa-treatment") as hub:
        token = await hub.token("QUILLBY")
        patient = {"resourceType": "Patient", "name": [{"family": "Sorrel", "given": ["Wynn"]}]}
        patient |= {"birthDate": "1971-02-03", "identifier": [{"system": "urn:q", "value": "7"}]}
        _, record = await hub.ask(token, "Patient", patient)
        _, found = await hub.ask(token, "Patient?identifier=urn:q|7")
        person = found["entry"][0]["resource"]["id"]
        ids = [
            (await hub.ask(token, "Observation", observation(record["id"], day + 1)))[1]["id"]
            for day in range(STORED)
        ]
        yield Given(hub=hub, token=token, patient=person, observations=frozenset(ids))


async def in_node(script: str, given: Given) -> dict[str, Any]:
    """What a script of ours did with a client."""
    process = await asyncio.create_subprocess_exec(
        judges.node() or "node",
        str(ROOT / "tests/clients" / script),
        given.hub.base,
        given.token,
        given.patient,
        env={**os.environ, "NODE_PATH": str(PACKAGES)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=PACKAGES.parent,
    )
    said, complained = await process.communicate()
    assert process.returncode == 0, complained.decode()
    return json.loads(said)  # type: ignore[no-any-return]


@needs_node
async def test_the_smart_client_in_javascript_reads_pages_and_writes(given: Given) -> None:
    told = await in_node("fhirclient.cjs", given)
    assert told["read"] == given.patient
    assert given.observations <= set(told["found"])
    assert len(told["found"]) == len(set(told["found"]))
    assert told["resolved"] == "Patient"
    assert (told["created"], told["patched"]) == ("preliminary", ["final", "2"])
    assert told["updated"] == "seen twice"
    assert told["batch"] == ["201", "200"]
    assert (told["removed"], told["gone"]) == ("deleted", 410)


@needs_node
async def test_the_kit_client_in_javascript_reads_pages_and_writes(given: Given) -> None:
    told = await in_node("fhir-kit-client.cjs", given)
    assert (told["version"], told["read"]) == ("4.0.1", given.patient)
    assert given.observations <= set(told["found"])
    assert len(told["found"]) == len(set(told["found"]))
    assert (told["posted"], told["within"]) == (7, 5)
    assert (told["created"], told["patched"]) == ("preliminary", ["final", "2"])
    assert (told["old"], told["history"]) == ("preliminary", 2)
    assert told["batch"] == ["201", "200"]
    assert told["whole"]
    assert told["gone"] == 410


async def test_fhirpy_reads_pages_and_writes(given: Given) -> None:
    client = AsyncFHIRClient(given.hub.base, authorization=f"Bearer {given.token}")
    person = await client.reference("Patient", given.patient).to_resource()
    assert person["name"][0]["family"] == "Sorrel"
    search = client.resources("Observation").search(patient=given.patient).sort("-date").limit(7)
    found = [one["id"] for one in await search.fetch_all()]
    assert given.observations <= set(found)
    assert len(found) == len(set(found))
    # It counts by a parameter of one vendor's: unknown ones are passed over for who says so.
    lenient = AsyncFHIRClient(
        given.hub.base,
        authorization=f"Bearer {given.token}",
        extra_headers={"Prefer": "handling=lenient"},
    )
    assert await lenient.resources("Observation").search(patient=given.patient).count() >= STORED
    included = client.resources("Observation").search(patient=given.patient)
    bundle = await included.include("Observation", "subject").limit(1).fetch_raw()
    assert {e["resource"]["resourceType"] for e in bundle["entry"]} == {"Observation", "Patient"}
    made = client.resource("Observation", **observation(given.patient))
    await made.create()
    await made.patch(status="final")
    assert (made["status"], made["meta"]["versionId"]) == ("final", "2")
    made["status"] = "amended"
    await made.save()
    answer = await client.execute(
        "/",
        data={
            "resourceType": "Bundle",
            "type": "batch",
            "entry": [{"request": {"method": "GET", "url": f"Observation/{made['id']}"}}],
        },
    )
    assert answer["entry"][0]["resource"]["status"] == "amended"
    await made.delete()
    with pytest.raises(ResourceNotFound):
        await client.reference("Observation", "no-such-id").to_resource()


async def test_the_smart_client_in_python_reads_pages_and_writes(given: Given) -> None:
    told = await asyncio.to_thread(_with_fhirclient, given)
    assert told["family"] == "Sorrel"
    assert given.observations <= set(told["found"])
    assert len(told["found"]) == len(set(told["found"]))
    assert (told["created"], told["updated"]) == (201, "final")
    assert told["batch"] == ["201", "200"]
    assert told["gone"] == "HTTPError"


def _with_fhirclient(given: Given) -> dict[str, Any]:
    """The same in the PyPI client, which waits; signed in as after a launch."""
    server = {
        "base_uri": f"{given.hub.base}/",
        "auth_type": "oauth2",
        "auth": {"access_token": given.token},
    }
    server = smart.FHIRClient(state={"app_id": "clients", "server": server}).server
    person = Patient.read(given.patient, server)
    search = Observation.where({"patient": given.patient, "_count": "7"})
    found = [one.id for one in search.perform_resources_iter(server)]
    made = Observation(observation(given.patient))
    created = made.create(server)
    made.update_with_json({**observation(given.patient), **created})
    made = Observation.read(created["id"], server)
    made.status = "final"
    updated = made.update(server)
    entries = [
        {
            "resource": observation(given.patient),
            "request": {"method": "POST", "url": "Observation"},
        },
        {"request": {"method": "GET", "url": f"Observation/{created['id']}"}},
    ]
    batch = Bundle({"resourceType": "Bundle", "type": "batch", "entry": entries})
    answer = server.post_json("", batch.as_json()).json()
    made.delete(server)
    try:
        Observation.read(created["id"], server)
        gone = "still there"
    except Exception as error:  # noqa: BLE001 - the client's own kind is what is asked
        gone = type(error).__name__
    return {
        "family": person.name[0].family,
        "found": found,
        "created": 201 if created.get("id") else 0,
        "updated": updated["status"],
        "batch": [entry["response"]["status"][:3] for entry in answer["entry"]],
        "gone": gone,
    }
