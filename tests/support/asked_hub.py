"""A running hub and three organisations that ask it over HTTP, for attacks on what it tells."""

import asyncio
import json
from pathlib import Path
from typing import Any, Self

import aiohttp
import yarl

from hie.app import Hub
from hie.config import Config
from hie.kernel.clock import Clock
from hie.settings import load_settings
from tests.support.hub_process import exchange
from tests.support.made_once import config_of
from tests.support.ports import free_port

Fhir = dict[str, Any]
LOINC, GLUCOSE, HEMOGLOBIN, HIV_RNA = "http://loinc.org", "2345-7", "718-7", "10351-5"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
ROLE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
#: Headers that differ from one answer to the next whatever was asked.
OWN_HEADERS = {"date", "x-request-id"}
#: States of messages that are not worked off.
UNSETTLED = {"accepted", "received", "pending"}


class World:
    """A hub, and what callers get from it."""

    def __init__(
        self,
        home: Path,
        *,
        config: Config | None = None,
        clock: Clock | None = None,
        tag: int | None = None,
        **more: str,
    ) -> None:
        ports = {"HIE_HTTP_PORT": str(free_port()), "HIE_MLLP_PORT": str(free_port())}
        settings = load_settings({"HIE_HOME": str(home), **ports, **more})
        self.hub = Hub(settings, clock, config=config or config_of(settings), tag=tag)
        self.mllp_port = int(ports["HIE_MLLP_PORT"])
        self.base = f"http://127.0.0.1:{ports['HIE_HTTP_PORT']}/fhir/"
        self.tokens: dict[str, str] = {}
        self.http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        await self.hub.__aenter__()
        await self.hub.start()
        self.http = aiohttp.ClientSession()
        for name in ("ALPHA", "BETA", "GAMMA"):
            await self.token(name, organization=name)
        return self

    async def __aexit__(self, *told: object) -> None:
        await self.http.close()
        await self.hub.__aexit__(*told)

    async def token(self, name: str, **terms: Any) -> None:
        """A bearer token that later calls go by `name`."""
        self.tokens[name] = await self.hub.issue_token(**{"scope": "system/*.cruds", **terms})

    async def ask(
        self, who: str, method: str, path: str, body: Fhir | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; `who` is a token's name, or a token."""
        sent = {"Authorization": f"Bearer {self.tokens.get(who, who)}", **headers}
        if body is not None:
            sent["Content-Type"] = "application/fhir+json"
            if method == "PUT" and "?" not in path:
                body = {**body, "id": path.partition("/")[2]}
        url = yarl.URL(path if path.startswith("http") else self.base + path)
        data = None if body is None else json.dumps(body)
        async with self.http.request(method, url, data=data, headers=sent) as got:
            told = {k: v for k, v in got.headers.items() if k.lower() not in OWN_HEADERS}
            return got.status, told, await got.read()

    async def status(self, who: str, path: str) -> int:
        return (await self.ask(who, "GET", path))[0]

    async def get(self, who: str, path: str) -> Fhir:
        status, _, body = await self.ask(who, "GET", path)
        assert status == 200, (status, body)
        return json.loads(body)  # type: ignore[no-any-return]

    async def put(self, who: str, path: str, body: Fhir) -> Fhir:
        status, _, got = await self.ask(who, "PUT", path, body)
        assert status in (200, 201), (status, got)
        return json.loads(got)  # type: ignore[no-any-return]

    async def post(self, who: str, body: Fhir) -> str:
        """The id of what was created."""
        status, _, got = await self.ask(who, "POST", body["resourceType"], body)
        assert status == 201, (status, got)
        return str(json.loads(got)["id"])

    async def person_of(self, who: str, record: str) -> str:
        """The person a source's own record belongs to."""
        patient = await self.get(who, f"Patient/{record}")
        return str(patient["link"][-1]["other"]["reference"]).partition("/")[2]

    async def send(self, *messages: bytes) -> None:
        """HL7 v2 messages, acknowledged and worked off."""
        answers: list[bytes] = []
        await exchange(self.mllp_port, list(messages), answers)
        assert all(b"MSA|AA|" in answer for answer in answers), answers
        async with asyncio.timeout(60):
            while await self._has_work():  # noqa: ASYNC110 - the worker tells nobody of each
                await asyncio.sleep(0.02)

    async def _has_work(self) -> bool:
        return not UNSETTLED.isdisjoint(m.state for m in await self.hub.overview.messages())


def patient(number: str, authority: str, **elements: Any) -> Fhir:
    """Hortensia, unless told otherwise."""
    ssn = {"system": "http://hl7.org/fhir/sid/us-ssn", "value": "900776655"}
    return {
        "resourceType": "Patient",
        "identifier": [{"system": f"urn:{authority}", "value": number}, ssn],
        "name": [{"family": "Quillfeather", "given": ["Hortensia"]}],
        "gender": "female",
        "birthDate": "1951-04-12",
        **elements,
    }


def zebulon(number: str, authority: str) -> Fhir:
    """Somebody else."""
    return patient(
        number,
        authority,
        identifier=[{"system": f"urn:{authority}", "value": number}],
        name=[{"family": "Zebulon", "given": ["Ike"]}],
        gender="male",
        birthDate="1980-01-01",
    )


def observation(record: str, code: str = GLUCOSE, **elements: Any) -> Fhir:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": f"Patient/{record}"},
        "effectiveDateTime": "2025-03-04T10:00:00Z",
        **elements,
    }


def actor(organization: str, role: str = "IRCP") -> Fhir:
    identifier = {"system": "urn:hie:adhoc", "value": organization}
    return {
        "role": {"coding": [{"system": ROLE, "code": role}]},
        "reference": {"type": "Organization", "identifier": identifier},
    }


def permit(*organizations: str, **elements: Any) -> Fhir:
    found = {"type": "permit", "purpose": [{"system": ACT_REASON, "code": "TREAT"}], **elements}
    return {**found, "actor": [actor(o) for o in organizations]} if organizations else found


def deny(*actors: Fhir, **elements: Any) -> Fhir:
    return {"type": "deny", "actor": list(actors), **elements}


def consent(record: str, provision: Fhir, *, is_verified: bool = True, **elements: Any) -> Fhir:
    found = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": LOINC, "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{record}"},
        "dateTime": "2026-01-01T10:00:00Z",
        "policyRule": {"coding": [{"system": ACT_CODE, "code": "OPTIN"}]},
        "provision": provision,
        **elements,
    }
    return {**found, "verification": [{"verified": True}]} if is_verified else found
