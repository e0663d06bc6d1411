"""An organisation that writes FHIR to a running hub, and what it writes."""

from typing import Any

from hie.kernel.fhir import FhirJson
from tests.support.running_hub import RunningHub

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
        """What became of a create; a patient may be known already."""
        status, made = await self.ask(resource["resourceType"], resource)
        assert status == 201 or resource["resourceType"] == "Patient", made
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
