"""Patients, their Consents and who sees them, for tests that manage Consents on a hub."""

import json
from typing import Any

from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId
from tests.support.running_hub import RunningHub

OWN, OTHER = "saint-aurelia", "bayside-general"
SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
ROLE = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_SAID: FhirJson = {
    "resourceType": "Consent",
    "status": "active",
    "scope": {"coding": [{"system": SCOPE, "code": "patient-privacy"}]},
    "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
    "policy": [{"uri": "https://example.org/policy"}],
}


def organization(name: str) -> str:
    """How a token names an organisation of `config/sources`."""
    return f"https://hie.example/organization|{name}"


def consent(patient: str, kind: str = "permit", *actors: FhirJson) -> FhirJson:
    """A privacy consent about a patient, for everybody or for these."""
    provision: FhirJson = {"type": kind}
    if actors:
        role = {"coding": [{"system": ROLE, "code": "IRCP"}]}
        provision["actor"] = [{"role": role, "reference": one} for one in actors]
    return {**_SAID, "patient": {"reference": f"Patient/{patient}"}, "provision": provision}


async def person(hub: RunningHub, number: str) -> str:
    """The golden id of a patient with an allergy, sent by one source."""
    token = await hub.token(organization(OWN))
    told = {
        "resourceType": "Patient",
        "identifier": [{"system": "https://saint-aurelia.example/mrn", "value": number}],
        "name": [{"family": f"Doe{number}", "given": ["Nora"]}],
        "birthDate": f"19{int(number[:2]) + 40}-0{int(number[-1]) + 1}-02",
    }
    status, patient = await hub.ask(token, "Patient", told)
    assert status == 201, patient
    about = {"reference": f"Patient/{patient['id']}"}
    allergy = {"resourceType": "AllergyIntolerance", "patient": about, "code": {"text": "Nuts"}}
    assert (await hub.ask(token, "AllergyIntolerance", allergy))[0] == 201
    _, found = await hub.ask(token, f"AllergyIntolerance?patient={patient['id']}")
    return str(found["entry"][0]["resource"]["patient"]["reference"].split("/")[1])


async def own_token(hub: RunningHub, patient: str) -> str:
    """The patient's token, as a portal has it."""
    return await hub.token(patient=patient, scope="patient/*.rs patient/Consent.cruds")


async def seen(hub: RunningHub, patient: str) -> int:
    """How many allergies of a patient another hospital sees."""
    token = await hub.token(organization(OTHER))
    _, found = await hub.ask(token, f"AllergyIntolerance?patient={patient}")
    return len(found.get("entry", []))


async def trail(hub: RunningHub, patient: str) -> list[str]:
    """What is on record about a person, opened."""
    services: Any = hub.hub
    async with services.db.reading() as conn:
        found = await services.audit.access_log(conn, [PersonId(patient)], before_pk=None, limit=99)
    return [json.dumps(row.record.detail, default=str) for row in found]
