"""Validation at the door of a running hub: what comes of a fault, as each source's file says."""

import json
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.running_hub import RunningHub, running_hub
from tests.support.tree import ROOT

US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
SOURCE = """
name = "The {name} clinic"
time_zone = "America/New_York"
own_authority = "urn:oid:1.2.840.96.{number}"

[match]
application = "{name}"

[organization]
system = "https://hie.example/organization"
value = "{name}"
name = "The {name} clinic"

[validation]
"""
POLICIES = {
    "strict": 'profile = "reject"\nreference = "reject"\nterminology = "reject"\n',
    "telling": "",
    "labelling": 'profile = "label"\nterminology = "label"\n',
    "silent": 'profile = "ignore"\nterminology = "ignore"\nreference = "ignore"\n',
    "asking": f'profile = "reject"\nprofiles = ["{US_CORE}patient"]\n',
}
pytestmark = pytest.mark.asyncio(loop_scope="module")
TELL = {"Prefer": "return=OperationOutcome"}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningHub]:
    folder = tmp_path_factory.mktemp("door")
    shutil.copytree(ROOT / "config", folder / "config")
    for number, (name, policy) in enumerate(POLICIES.items()):
        text = SOURCE.format(name=name, number=number) + policy
        (folder / "config/sources" / f"{name}.toml").write_text(text, encoding="utf-8")
    settings = {"HIE_CONFIG": str(folder / "config"), "HIE_REGIME": "hipaa-treatment"}
    async with running_hub(folder / "hub", **settings) as hub:
        yield hub


def organization(**more: Any) -> dict[str, Any]:
    """An Organization that claims its profile of US Core and lacks `active`."""
    claimed = {"meta": {"profile": [US_CORE + "organization"]}}
    return {"resourceType": "Organization", **claimed, "name": "Synthetic Clinic", **more}


def practitioner(name: str) -> dict[str, Any]:
    """One whose provider number is too short; no two have the same."""
    number = {"system": "http://hl7.org/fhir/sid/us-npi", "value": str(sum(name.encode()))}
    return {
        "resourceType": "Practitioner",
        "meta": {"profile": [US_CORE + "practitioner"]},
        "identifier": [number, {"system": "urn:clinic", "value": name}],
        "name": [{"family": "Synthetic"}],
    }


async def sent(hub: RunningHub, name: str, resource: dict[str, Any]) -> tuple[int, Any]:
    token = await hub.token(name)
    return await hub.ask(token, resource["resourceType"], resource, headers=TELL)


def told(outcome: Any) -> list[tuple[str, str]]:
    return [
        (issue["severity"], *issue.get("expression", ()))
        for issue in outcome["issue"]
        if issue["severity"] in ("error", "warning")
    ]


PLACE = "Practitioner.identifier[0]"


async def test_a_source_may_have_faults_refused(hub: RunningHub) -> None:
    status, outcome = await sent(hub, "strict", practitioner("strict"))
    assert (status, told(outcome)) == (422, [("error", PLACE)])


async def test_a_fault_is_told_unless_the_source_says_otherwise(hub: RunningHub) -> None:
    status, outcome = await sent(hub, "telling", practitioner("telling"))
    assert (status, told(outcome)) == (201, [("warning", PLACE)])


async def test_a_profile_that_is_not_known_here_is_told(hub: RunningHub) -> None:
    claim = {"profile": ["http://example.org/StructureDefinition/ours"]}
    status, outcome = await sent(hub, "telling", {**practitioner("other"), "meta": claim})
    unknown = {"severity": "information", "expression": ["Practitioner.meta.profile[0]"]}
    assert status == 201
    assert any(issue | unknown == issue for issue in outcome["issue"])


async def test_a_source_may_have_faults_passed_over(hub: RunningHub) -> None:
    status, outcome = await sent(hub, "silent", practitioner("silent"))
    assert (status, told(outcome)) == (201, [])


async def stored(hub: RunningHub, name: str) -> Any:
    token = await hub.token(name, scope="system/*.rs")
    _, bundle = await hub.ask(token, f"Practitioner?identifier=urn:clinic|{name}")
    (entry,) = bundle["entry"]
    return entry["resource"]


async def test_a_label_is_stored_beside_what_was_sent(hub: RunningHub) -> None:
    sent_one = practitioner("labelled")
    sent_one["meta"]["tag"] = [{"system": "urn:clinic", "code": "own"}]
    status, outcome = await sent(hub, "labelling", sent_one)
    assert (status, told(outcome)) == (201, [("warning", PLACE)])
    found = await stored(hub, "labelled")
    assert found["meta"]["tag"] == [
        {"system": "urn:clinic", "code": "own"},
        {"system": "urn:hie:validation", "code": "profile"},
    ]
    rest = {name: value for name, value in found.items() if name not in ("id", "meta")}
    assert rest == {name: value for name, value in sent_one.items() if name != "meta"}


async def test_a_sender_cannot_write_the_label_itself(hub: RunningHub) -> None:
    forged = practitioner("forged") | {"name": [{"family": "Synthetic"}]}
    forged["identifier"] = [{"system": "urn:clinic", "value": "forged"}]
    forged["meta"]["tag"] = [{"system": "urn:hie:validation", "code": "profile"}]
    assert (await sent(hub, "labelling", forged))[0] == 201
    assert "tag" not in (await stored(hub, "forged"))["meta"]


async def test_structure_is_refused_whatever_the_policy(hub: RunningHub) -> None:
    status, outcome = await sent(hub, "silent", organization(name=7))
    assert (status, told(outcome)) == (422, [("error", "Organization.name")])


async def test_a_profile_may_be_asked_of_what_does_not_claim_it(hub: RunningHub) -> None:
    patient = {"resourceType": "Patient", "gender": "female"}
    status, outcome = await sent(hub, "asking", patient)
    assert status == 422
    assert set(told(outcome)) == {("error", "Patient.identifier"), ("error", "Patient.name")}


async def test_a_transaction_is_refused_as_a_whole_with_each_fault_at_its_entry(
    hub: RunningHub,
) -> None:
    entries = [
        {"resource": each, "request": {"method": "POST", "url": "Practitioner"}}
        for each in (practitioner("one"), practitioner("two"))
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    status, outcome = await hub.ask(await hub.token("strict"), "", bundle)
    assert status == 422
    assert [place for _, place in told(outcome)] == [
        f"Bundle.entry[{n}].resource.identifier[0]" for n in (0, 1)
    ]


async def test_validate_answers_for_a_stored_instance(hub: RunningHub) -> None:
    assert (await sent(hub, "telling", practitioner("asked")))[0] == 201
    name = (await stored(hub, "asked"))["id"]
    token = await hub.token("telling")
    status, outcome = await hub.ask(token, f"Practitioner/{name}/$validate")
    assert (status, told(outcome)) == (200, [("error", PLACE)])
    body = json.dumps({"resourceType": "Practitioner", "name": "x"}).encode()
    status, outcome = await hub.ask(token, "Practitioner/$validate", body)
    assert (status, told(outcome)) == (200, [("error", "Practitioner.name")])
