"""AuditEvents over FHIR, the staff API and the commands: who sees which, in which words.

Spec: https://profiles.ihe.net/ITI/TF/Volume2/ITI-81.html, 45 CFR 164.528, M.G.L. c. 118I s. 11
"""

import base64
import csv
import io
import json
from argparse import Namespace
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from hie.audit.search import Asked
from hie.commands.audits import accounting
from hie.kernel.context import Caller, RequestContext, Scope
from hie.kernel.ids import PersonId
from tests.support.asked_hub import HIV_RNA, World, consent, observation, patient, permit, zebulon

pytestmark = pytest.mark.asyncio(loop_scope="module")
DOCTOR = "Practitioner/d1"


@dataclass(frozen=True)
class Case:
    """A hub where BETA looked at one of ALPHA's patients by consent, and in vain at another."""

    world: World
    person: str
    other: str
    observation: str

    async def events(self, who: str, query: str = "") -> list[dict[str, Any]]:
        bundle = await self.world.get(who, f"AuditEvent{query}")
        return [entry["resource"] for entry in bundle.get("entry", ())]


@pytest_asyncio.fixture(name="case", scope="module", loop_scope="module")
async def _case(tmp_path_factory) -> AsyncIterator[Case]:
    async with World(tmp_path_factory.mktemp("hub")) as world:
        yield await looked_at(world)


async def looked_at(world: World) -> Case:
    record = await world.post("ALPHA", patient("A1", "alpha"))
    kept = await world.post("ALPHA", zebulon("A2", "alpha"))
    person = await world.person_of("ALPHA", record)
    other = await world.person_of("ALPHA", kept)
    shown = await world.post("ALPHA", observation(record))
    await world.post("ALPHA", observation(record, HIV_RNA))
    await world.post("ALPHA", consent(record, permit("BETA")))
    await world.token("BETA", organization="BETA", user=DOCTOR)
    await world.token("me", patient=person, scope="patient/*.rs")
    await world.token("you", patient=other, scope="patient/*.rs")
    staff = {"purpose": "HOPERAT", "user": "kim"}
    await world.token("officer", scope="staff/privacy.officer", **staff)
    await world.token("steward", scope="staff/identity.admin", **staff)
    await world.token("clinical", organization="BETA", scope="system/Observation.rs")
    assert await world.status("BETA", f"Observation/{shown}") == 200
    assert await world.status("BETA", f"Observation?patient={person}") == 200
    assert await world.status("BETA", "Observation/hidden-or-absent") == 404
    return Case(world, person, other, shown)


def subtypes(events: list[dict[str, Any]]) -> set[str]:
    return {event["subtype"][0]["code"] for event in events}


def persons(events: list[dict[str, Any]]) -> set[str]:
    return {
        entity["what"]["reference"].removeprefix("Patient/")
        for event in events
        for entity in event.get("entity", ())
        if entity.get("role", {}).get("code") == "1"
    }


async def test_a_patient_reads_the_own_access_log_in_plain_words(case: Case):
    events = await case.events("me", "?_count=200")
    assert persons(events) == {case.person}
    assert {"read", "search-type", "create", "AuthZ-Consent"} <= subtypes(events)
    words = [event["text"]["div"] for event in events]
    (seen,) = [line for line in words if f"{DOCTOR}, BETA looked at test results" in line]
    assert "for: treatment." in seen
    names = {a["who"].get("display") for e in events for a in e["agent"]}
    assert {"BETA", "ALPHA"} <= names


async def test_a_patient_is_not_told_whom_else_a_question_meant(case: Case):
    """ALPHA looked for two at once, and for somebody else who might have been the one it met."""
    numbers = "urn:alpha|A1,urn:alpha|A2"
    assert await case.world.status("ALPHA", f"Patient?identifier={numbers}") == 200
    asked = {**patient("X9", "alpha"), "address": [{"city": "Secretville"}]}
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "resource", "resource": asked}],
    }
    status, _, met = await case.world.ask("ALPHA", "POST", "Patient/$match", body)
    assert (status, case.person.encode() in met) == (200, True), met

    def questions(events: list[dict[str, Any]]) -> str:
        entities = [e for event in events for e in event.get("entity", ()) if "query" in e]
        return " ".join(base64.b64decode(e["query"]).decode() for e in entities)

    for who, is_told in (("me", False), ("you", False), ("ALPHA", True), ("officer", True)):
        told = questions(await case.events(who, "?_count=200"))
        for word in ("Secretville", "A2"):
            assert (word in told) is is_told, (who, word)
    # What they asked themselves they are told.
    assert await case.world.status("me", f"Observation?_id={case.observation}") == 200
    assert case.observation in questions(await case.events("me", "?_count=200"))


async def test_nobody_else_reads_a_patients_log(case: Case):
    assert case.person not in persons(await case.events("you", "?_count=200"))
    assert await case.events("you", f"?patient={case.person}") == []
    (mine, *_) = await case.events("me")
    for who in ("you", "ALPHA"):
        assert await case.world.status(who, f"AuditEvent/{mine['id']}") == 404
    assert await case.world.status("clinical", "AuditEvent") == 403
    assert await case.world.status("steward", "AuditEvent") == 403
    assert await case.world.status("clinical", f"AuditEvent/{mine['id']}") == 403


async def test_an_organisation_is_told_what_it_asked_and_not_on_whose_consent(case: Case):
    events = await case.events("BETA", "?_count=200")
    assert subtypes(events) <= {"read", "search-type", "operation", "ITI-71", "110126"}
    assert persons(events) == {case.person}
    told = json.dumps(events)
    assert "Consent/" not in told
    assert case.observation in told
    assert "Organization" in told
    assert await case.events("BETA", "?entity=Consent/any") == []
    assert await case.events("BETA", "?subtype=AuthZ-Consent") == []


async def test_a_privacy_officer_sees_all_and_the_decision_names_its_consent(case: Case):
    (decision,) = await case.events("officer", f"?subtype=AuthZ-Consent&patient={case.person}")
    assert decision["type"]["code"] == "110113"
    assert (decision["action"], decision["outcome"]) == ("E", "0")
    references = [e.get("what", {}).get("reference", "") for e in decision["entity"]]
    assert [r.startswith("Consent/") for r in references].count(True) == 1
    assert decision["outcomeDesc"] == "permitted by consent"
    refused = await case.events("officer", "?outcome=4")
    assert "hidden or absent" in {event["outcomeDesc"] for event in refused}


async def test_every_parameter_narrows_the_search(case: Case):
    async def count(query: str) -> int:
        return len(await case.events("officer", f"{query}&_count=200"))

    everything = await count("?date=ge2000-01-01")
    for query in (
        f"?patient={case.person}",
        f"?agent={DOCTOR}",
        "?agent-name=practitioner",
        f"?entity=Observation/{case.observation}",
        "?action=R",
        "?type=http://dicom.nema.org/resources/ontology/DCM|110113",
        "?subtype=search-type",
        "?outcome=4",
    ):
        assert 0 < await count(query) < everything, query
    assert await count("?date=lt2000-01-01") == 0
    assert await count("?address=10.") == 0
    assert await count(f"?agent={DOCTOR}&subtype=read&outcome=0") == 1
    refused = ("?nonsense=1", "?_sort=agent", "?date=ne2026", "?agent=Organization/a,b")
    for wrong in (*refused, "?_count=0", "?patient=", "?action=R,"):
        assert await case.world.status("officer", f"AuditEvent{wrong}") == 400, wrong


async def test_pages_hold_still_while_events_come_in(case: Case):
    whole = [event["id"] for event in await case.events("me", "?_count=200")]
    bundle = await case.world.get("me", "AuditEvent?_count=3")
    seen = [entry["resource"]["id"] for entry in bundle["entry"]]
    while link := next((x["url"] for x in bundle["link"] if x["relation"] == "next"), ""):
        assert await case.world.status("BETA", f"Observation/{case.observation}") == 200
        assert await case.world.status("you", link) == 400
        bundle = await case.world.get("me", link)
        seen += [entry["resource"]["id"] for entry in bundle["entry"]]
    assert seen[1:] == whole  # newest first: what came in meanwhile, the page before, leads
    oldest = await case.events("me", "?_sort=date&_count=200")
    assert [event["id"] for event in oldest][: len(whole)] == whole[::-1]


async def test_the_compartment_and_a_form_find_the_same_and_an_event_reads_back(case: Case):
    of_patient = await case.world.get("me", f"Patient/{case.person}/AuditEvent?subtype=read")
    *_, entry = [e for e in of_patient["entry"] if DOCTOR in json.dumps(e)]
    assert await case.world.get("me", f"AuditEvent/{entry['resource']['id']}") == entry["resource"]
    by_me = await case.events("me", "?patient=me&subtype=create")
    assert by_me
    for absent in ("0" * 16, "nonsense", "f" * 16):
        assert await case.world.status("officer", f"AuditEvent/{absent}") == 404


async def test_who_asks_in_a_patients_place_is_not_told_of_what_is_withheld(case: Case):
    hub = case.world.hub
    labels = hub.consent.law.labels
    assert await case.world.status("ALPHA", f"Observation?code={HIV_RNA}") == 200
    trail = hub.site._auditing.trail
    pages = {}
    for mask in (0, labels.bits(["HIV"])):
        caller = Caller(
            token_id="t",
            patient=PersonId(case.person),
            withheld_mask=mask,
            scopes=(Scope("patient", "AuditEvent", "rs"),),
        )
        ctx = RequestContext(caller=caller, request_id=f"withheld-{mask}", now_us=2**60)
        page = await trail.page(
            ctx, Asked(subtypes=frozenset({"search-type", "create", "read"})), 200
        )
        pages[mask] = json.dumps([row.record.detail for row in page.rows])
    whole, narrow = pages.values()
    assert HIV_RNA in whole
    assert HIV_RNA not in narrow
    assert case.observation in narrow
    hidden = await case.world.get("me", f"Observation?code={HIV_RNA}")
    assert hidden["entry"][0]["resource"]["id"] not in narrow


async def test_an_accounting_tells_who_when_why_and_on_what_it_rested(case: Case):
    path = f"Patient/{case.person}/$accounting"
    told = await case.world.get("me", path)
    lines = [p["part"] for p in told["parameter"] if p["name"] == "disclosure"]
    by_doctor = [line for line in lines if DOCTOR in json.dumps(line)]
    assert len(by_doctor) >= 2
    values = {part["name"]: part for part in by_doctor[-1]}
    assert values["recipient"]["valueString"] == "BETA"
    assert values["purpose"]["valueString"] == "treatment"
    assert values["reliedOn"]["valueString"].startswith("consent; Consent/")
    assert case.observation not in json.dumps(told)
    hipaa = await case.world.get("me", f"{path}?form=hipaa")
    assert "disclosure" not in {p["name"] for p in hipaa["parameter"]}
    whole = await case.world.get("me", f"{path}?form=hipaa&all=true")
    assert "disclosure" in {p["name"] for p in whole["parameter"]}
    for who, status in (("you", 404), ("ALPHA", 403), ("clinical", 403), ("steward", 403)):
        assert await case.world.status(who, path) == status, who
    assert await case.world.status("me", f"{path}?form=nonsense") == 400
    assert await case.world.status("officer", "Patient/nobody/$accounting") == 404


async def test_an_accounting_is_a_file_for_the_patient_and_for_staff(case: Case):
    path = f"Patient/{case.person}/$accounting?form=state"
    status, headers, body = await case.world.ask("me", "GET", path, Accept="text/csv")
    assert (status, headers["Content-Type"]) == (200, "text/csv")
    assert "accounting-state.csv" in headers["Content-Disposition"]
    recipients = [row["Recipient"] for row in csv.DictReader(io.StringIO(body.decode()))]
    assert sorted(recipients) == ["ALPHA", "BETA", "The exchange"]  # one line each
    base = case.world.base.removesuffix("/fhir/") + "/staff/v1/privacy"
    place = f"{base}/persons/{case.person}/accounting/file?form=hipaa&all=true"
    status, _, body = await case.world.ask("officer", "GET", place, Accept="application/json")
    made = json.loads(body)
    assert (status, made["media_type"]) == (200, "application/pdf")
    assert base64.b64decode(made["content"]).startswith(b"%PDF-")
    status, _, body = await case.world.ask(
        "officer", "GET", f"{base}/events?user={DOCTOR}", Accept="application/json"
    )
    assert status == 200
    assert {event["user"] for event in json.loads(body)["events"]} == {DOCTOR}


async def test_a_command_writes_an_accounting_for_its_owner_alone(case: Case, tmp_path, capsys):
    out = tmp_path / "accounting.csv"
    terms = {"form": "hipaa", "since": None, "until": None, "all": True}
    arguments = Namespace(person=case.person, out=out, **terms)
    assert await accounting(case.world.hub.settings, arguments) == 0
    rows = [*csv.DictReader(io.StringIO(out.read_text()))]
    assert {"ALPHA", "BETA"} <= {row["Recipient"] for row in rows}
    assert out.stat().st_mode & 0o777 == 0o600
    # Beside what the hub of this process may log.
    assert f"{len(rows)} lines" in capsys.readouterr().out.splitlines()


async def test_looking_at_the_trail_is_on_record_itself(case: Case):
    await case.events("officer", f"?patient={case.person}&subtype=vread")
    await case.events("officer", f"?patient={case.person}&subtype=read")
    looks = await case.events("me", "?agent=kim&subtype=search-type")
    assert looks
    assert all("this access log" in event["text"]["div"] for event in looks)
