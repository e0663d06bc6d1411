"""Writes of a source over HTTP, on both databases: https://hl7.org/fhir/R4/http.html."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hie.kernel.fhir import FhirJson
from tests.support.running_hub import RunningHub, running_hub

AURELIA = "https://hie.example/organization|saint-aurelia"
BAYSIDE = "https://hie.example/organization|bayside-general"
MRN = "https://saint-aurelia.example/mrn"
LOINC = "http://loinc.org"
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
ORDER = "https://saint-aurelia.example/order"


def patient(number: str, **more: Any) -> FhirJson:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": MRN, "value": number}],
        "name": [{"family": "Quillfeather", "given": ["Hortensia"]}],
        "birthDate": "1951-04-12",
        **more,
    }


def weight(subject: str, **more: Any) -> FhirJson:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "29463-7"}]},
        "subject": {"reference": subject},
        "valueQuantity": {"value": 72, "unit": "kg"},
        **more,
    }


class Source:
    """One organisation's client."""

    def __init__(self, hub: RunningHub, token: str) -> None:
        self.hub, self.token = hub, token

    async def ask(self, *args: Any, **more: Any) -> tuple[int, FhirJson]:
        return await self.hub.ask(self.token, *args, **more)

    async def make(self, resource: FhirJson) -> FhirJson:
        status, made = await self.ask(resource["resourceType"], resource)
        assert status == 201, made
        return made

    async def patch(self, path: str, operations: object, **headers: str) -> tuple[int, FhirJson]:
        kind = JSON_PATCH if isinstance(operations, list) else {}
        return await self.ask(path, operations, "PATCH", {**kind, **headers})

    async def transact(self, *entries: FhirJson, kind: str = "transaction", **headers: str) -> Any:
        bundle = {"resourceType": "Bundle", "type": kind, "entry": list(entries)}
        status, answer = await self.ask("", bundle, headers=headers)
        return status, answer


def entry(method: str, url: str, resource: FhirJson | None = None, **more: Any) -> FhirJson:
    request = {"method": method, "url": url, **more.pop("request", {})}
    return {"request": request, **({"resource": resource} if resource else {}), **more}


def statuses(answer: FhirJson) -> list[str]:
    return [one["response"]["status"] for one in answer["entry"]]


@pytest.fixture
async def source(tmp_path: Path, database_url: str) -> AsyncIterator[Source]:
    settings = {"HIE_DATABASE_URL": database_url, "HIE_REGIME": "hipaa-treatment"}
    async with running_hub(tmp_path / "home", **settings) as hub:
        yield Source(hub, await hub.token(AURELIA))


@pytest.fixture
async def aurelia(tmp_path: Path) -> AsyncIterator[Source]:
    """On SQLite alone, for what does not depend on the database."""
    async with running_hub(tmp_path / "home", HIE_REGIME="hipaa-treatment") as hub:
        yield Source(hub, await hub.token(AURELIA))


async def test_writes_of_one_resource_from_create_to_delete(source: Source):
    her = await source.make(patient("A1"))
    made = await source.make(weight(f"Patient/{her['id']}"))
    path = f"Observation/{made['id']}"
    # A JSON Patch keeps every number as it was written.
    status, patched = await source.patch(
        path, [{"op": "replace", "path": "/valueQuantity/value", "value": 72.5}]
    )
    assert (status, patched["meta"]["versionId"]) == (200, "2")
    assert patched["subject"] == made["subject"]
    exact = b'[{"op":"replace","path":"/valueQuantity/value","value":72.50}]'
    status, patched = await source.ask(path, exact, "PATCH", JSON_PATCH)
    assert (status, patched["meta"]["versionId"]) == (200, "3")
    # Nothing changed: no new version, by patch and by update.
    status, same = await source.patch(path, [{"op": "test", "path": "/status", "value": "final"}])
    assert (status, same["meta"]["versionId"]) == (200, "3")
    # A FHIRPath Patch of the same resource, with the version it was read in.
    operations = {
        "resourceType": "Parameters",
        "parameter": [
            {
                "name": "operation",
                "part": [
                    {"name": "type", "valueCode": "replace"},
                    {"name": "path", "valueString": "Observation.status"},
                    {"name": "value", "valueCode": "amended"},
                ],
            }
        ],
    }
    status, _ = await source.patch(path, operations, **{"If-Match": 'W/"2"'})
    assert status == 412
    status, patched = await source.patch(path, operations, **{"If-Match": 'W/"3"'})
    assert (status, patched["status"], patched["meta"]["versionId"]) == (200, "amended", "4")
    status, _ = await source.ask(path, None, "DELETE")
    assert status == 204
    status, told = await source.patch(path, [{"op": "remove", "path": "/valueQuantity"}])
    assert status == 410, told
    # An update brings it back to life under its id.
    again = weight(f"Patient/{her['id']}", id=made["id"])
    status, back = await source.ask(path, again, "PUT")
    assert (status, back["id"], back["meta"]["versionId"]) == (201, made["id"], "6")


async def test_eight_conditional_creates_at_once_make_one_resource(source: Source):
    her = await source.make(patient("A1"))
    about = f"Patient/{her['id']}"
    by_identifier = {"If-None-Exist": f"identifier={ORDER}|7"}
    ordered = weight(about, identifier=[{"system": ORDER, "value": "7"}])
    answers = await asyncio.gather(
        *(source.ask("Observation", ordered, headers=by_identifier) for _ in range(8))
    )
    assert sorted(status for status, _ in answers) == [200] * 7 + [201]
    assert len({made["id"] for _, made in answers}) == 1
    # By other search parameters, and with the patient named as the source knows her.
    by_code = {"If-None-Exist": f"code={LOINC}|3141-9&patient={her['id']}"}
    other = weight(about, code={"coding": [{"system": LOINC, "code": "3141-9"}]})
    answers = await asyncio.gather(
        *(source.ask("Observation", other, headers=by_code) for _ in range(8))
    )
    assert sorted(status for status, _ in answers) == [200] * 7 + [201]


async def test_directory_entries_created_at_once_by_two_organisations_are_one(source: Source):
    npi = {"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}
    doctor = {"resourceType": "Practitioner", "identifier": [npi], "name": [{"family": "Marsh"}]}
    condition = {"If-None-Exist": f"identifier={npi['system']}|{npi['value']}"}
    other = await source.hub.token(BAYSIDE)
    answers = await asyncio.gather(
        *(
            source.hub.ask(token, "Practitioner", doctor, headers=condition)
            for token in (source.token, other) * 4
        )
    )
    assert sorted(status for status, _ in answers) == [200] * 7 + [201]
    assert len({made["id"] for _, made in answers}) == 1
