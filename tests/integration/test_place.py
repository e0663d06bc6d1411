"""From message to stored versions: what is overlaid, labelled, guarded.

Spec: DESIGN D5, D6, D10.
"""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.running_hub import RunningHub, running_hub


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path / "home") as running:
        yield running


def adt(trigger: str, number: int, pv1: str, given: str = "Peregrine") -> bytes:
    return "\r".join(
        (
            f"MSH|^~\\&|REG|PLACE|HIE|ST|20260101120000||ADT^{trigger}|{trigger}{number}|P|2.5.1",
            f"EVN|{trigger}|20260101120000",
            f"PID|1||PL1^^^PLACE^MR||Placeling^{given}||19620714|M",
            pv1,
            "",
        )
    ).encode()


async def test_a_discharge_keeps_the_beginning_that_it_does_not_repeat(hub) -> None:
    admitted = "PV1|1|I|||||||||||||||||V1^^^PLACE^VN" + "|" * 25 + "20260101110000-0500"
    discharged = "PV1|1|I|||||||||||||||||V1^^^PLACE^VN" + "|" * 26 + "20260103110000-0500"
    await hub.send(adt("A01", 1, admitted), adt("A03", 2, discharged))
    token = await hub.token("PLACE")
    _, found = await hub.ask(token, "Encounter")
    encounter = found["entry"][0]["resource"]
    assert encounter["status"] == "finished"
    assert encounter["period"]["start"].startswith("2026-01-01")
    assert encounter["period"]["end"].startswith("2026-01-03")
    assert encounter["meta"]["versionId"] == "2"


async def test_two_messages_in_one_transaction_leave_each_its_version(hub) -> None:
    visit = "PV1|1|I|||||||||||||||||V1^^^PLACE^VN"
    await hub.send(*(adt("A08", n, visit, given=f"Name{n}") for n in range(6)))
    token = await hub.token("PLACE")
    _, found = await hub.ask(token, "Patient?family=Placeling")
    patient = found["entry"][0]["resource"]
    assert patient["name"][0]["given"] == ["Name5"]


async def test_the_content_of_a_sensitive_document_is_as_hidden_as_the_document(hub) -> None:
    writer, reader = await hub.token("CLINIC"), await hub.token("OTHER")
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000001",
                "resource": {
                    "resourceType": "Patient",
                    "identifier": [{"system": "urn:clinic", "value": "D1"}],
                    "name": [{"family": "Docile", "given": ["Dorothea"]}],
                    "birthDate": "1955-05-05",
                },
                "request": {"method": "POST", "url": "Patient"},
            },
            {
                "fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000002",
                "resource": {
                    "resourceType": "Binary",
                    "contentType": "text/plain",
                    "data": base64.b64encode(b"see title").decode(),
                },
                "request": {"method": "POST", "url": "Binary"},
            },
            {
                "fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000003",
                "resource": {
                    "resourceType": "DocumentReference",
                    "status": "current",
                    "type": {
                        "coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "B20"}]
                    },
                    "subject": {"reference": "urn:uuid:00000000-0000-4000-8000-000000000001"},
                    "content": [
                        {"attachment": {"url": "urn:uuid:00000000-0000-4000-8000-000000000002"}}
                    ],
                },
                "request": {"method": "POST", "url": "DocumentReference"},
            },
        ],
    }
    status, answer = await hub.ask(writer, "", bundle)
    assert status == 200, answer
    patient, binary, document = (
        e["response"]["location"].split("/_history")[0] for e in answer["entry"]
    )
    status, _ = await hub.ask(writer, "Consent", consent(patient, "permit"))
    assert status == 201
    _, shown = await hub.ask(writer, document)
    assert shown["content"][0]["attachment"]["url"] == binary
    as_resource = {"Accept": "application/fhir+json"}
    for hidden in (document, binary):
        assert (await hub.ask(writer, hidden, headers=as_resource))[0] == 200
        assert (await hub.ask(reader, hidden, headers=as_resource))[0] == 404


def consent(patient: str, effect: str, *, is_verified: bool = True) -> dict[str, object]:
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/consentscope",
                    "code": "patient-privacy",
                }
            ]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": patient},
        "dateTime": "2026-01-01",
        "policy": [{"uri": "https://example.org/policy"}],
        "provision": {"type": effect},
        **({"verification": [{"verified": True}]} if is_verified else {}),
    }


async def test_a_source_takes_back_no_denial_without_the_patients_word(hub) -> None:
    token = await hub.token("CLINIC")
    status, patient = await hub.ask(
        token,
        "Patient",
        {
            "resourceType": "Patient",
            "identifier": [{"system": "urn:clinic", "value": "N1"}],
            "name": [{"family": "Naysay", "given": ["Norbert"]}],
            "birthDate": "1944-04-04",
        },
    )
    assert status == 201
    about = f"Patient/{patient['id']}"
    status, denial = await hub.ask(token, "Consent", consent(about, "deny", is_verified=False))
    assert status == 201
    path = f"Consent/{denial['id']}"
    assert (await hub.ask(token, path, method="DELETE"))[0] == 422
    unverified = {**consent(about, "permit", is_verified=False), "id": denial["id"]}
    assert (await hub.ask(token, path, unverified, "PUT"))[0] == 422
    verified = {**consent(about, "permit"), "id": denial["id"]}
    assert (await hub.ask(token, path, verified, "PUT"))[0] == 200
    stranger = await hub.token("STRANGER")
    # What a stranger cannot see is deleted already, as far as that stranger can tell.
    assert (await hub.ask(stranger, path, method="DELETE"))[0] == 204
    assert (await hub.ask(token, path))[0] == 200
