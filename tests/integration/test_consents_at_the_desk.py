"""Consents that staff record, verify, revoke and receipt: papers, roles, standing, the trail.

Spec: docs/adr/0043, docs/howto/consents.md.
"""

import base64
import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from pypdf import PdfReader

from hie.commands.receipts import judged
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from tests.support.running_hub import RunningHub, running_hub
from tests.support.staff_api import Console
from tests.support.wishes import consent, organization, own_token, person, seen, trail

pytestmark = pytest.mark.asyncio(loop_scope="module")
PDF = b"%PDF-1.7 " + b"x" * 100
SIGNED = {"by": "Nora Doe", "on": "2026-01-30", "witness": "Sam Clerk"}
SCAN = {"media_type": "application/pdf", "content": base64.b64encode(PDF).decode()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningHub]:
    home: Path = tmp_path_factory.mktemp("home")
    async with running_hub(home) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


async def staff(hub: RunningHub, session: aiohttp.ClientSession, role: str) -> Console:
    token = await hub.token(scope=f"staff/privacy.{role}", user=f"pat.{role}", purpose="HOPERAT")
    return Console(hub, session, token)


def form(name: str = "share-for-treatment", **values: list[str]) -> dict[str, Any]:
    """A form as a clerk sends it."""
    fields = [{"name": field, "values": told} for field, told in values.items()]
    return {"form": name, "fields": fields, "signature": SIGNED, "scan": SCAN}


async def test_a_clerks_form_that_opens_waits_for_an_officer_and_is_receipted(hub, session) -> None:
    me = await person(hub, "2001")
    desk, office = await staff(hub, session, "clerk"), await staff(hub, session, "officer")
    forms = {one["name"] for one in (await desk.get("/privacy/consent-forms"))["forms"]}
    assert {"share-for-treatment", "opt-out", "release-hiv", "part2-tpo"} <= forms
    reply = await desk.do(f"/privacy/persons/{me}/consents", form(until=["2099-01-31"]))
    assert reply.status == 200, reply.body
    kept = reply.json["id"]
    assert reply.json["standing"] == "awaits-verification"
    assert await seen(hub, me) == 0
    waiting = (await office.get("/privacy/consents/waiting"))["consents"]
    assert [(one["id"], one["standing"]) for one in waiting] == [(kept, "awaits-verification")]
    verdict = {"verdict": "verify", "reason": "signature compared"}
    assert (await desk.do(f"/privacy/consents/{kept}/verify", verdict)).status == 403
    assert (await office.do(f"/privacy/consents/{kept}/verify", verdict)).status == 200
    assert await seen(hub, me) == 1
    assert (await office.get("/privacy/consents/waiting"))["consents"] == []
    (one,) = (await office.get(f"/privacy/persons/{me}/consents"))["consents"]
    assert (one["standing"], one["end"]) == ("effective", "2099-01-31")
    assert [act["act"] for act in one["acts"]] == ["recorded", "awaited", "verified"]
    assert one["acts"][0]["note"]["witness"] == "Sam Clerk"
    assert any("to treat you" in line for line in one["said"])
    await _receipt_is_genuine(hub, office, me, kept)


async def _receipt_is_genuine(hub: RunningHub, office: Console, me: str, kept: str) -> None:
    got = await office.get(f"/privacy/consents/{kept}/receipt")
    file = base64.b64decode(got["content"])
    told = PdfReader(io.BytesIO(file))
    page = " ".join(told.pages[0].extract_text().split())
    for words in ("to treat you", "Nora Doe", "Sam Clerk", "2099-01-31", f"Consent/{kept}"):
        assert words in page
    root: Any = told.trailer["/Root"]
    assert (root["/MarkInfo"]["/Marked"], root["/Lang"]) == (True, "en"), "tagged, its language"
    key = await office.get("/privacy/consents/receipt-key")
    assert judged(file, key["pem"]).is_genuine
    forged = bytes([*file[:500], file[500] ^ 1, *file[501:]])
    assert not judged(forged, key["pem"]).is_genuine
    token = await own_token(hub, me)
    _, found = await hub.ask(token, f"DocumentReference?related=Consent/{kept}")
    (document,) = [entry["resource"] for entry in found["entry"]]
    assert document["masterIdentifier"]["value"] == got["sha256"]
    address = document["content"][0]["attachment"]["url"].removeprefix(f"{hub.base}/")
    async with hub.request("GET", address, None, token, Accept="application/pdf") as answer:
        assert await answer.read() == file, "the patient downloads the same file"


async def test_what_closes_holds_at_once_whoever_types_it_and_opening_it_needs_an_officer(
    hub, session
) -> None:
    me = await person(hub, "2101")
    token = await own_token(hub, me)
    desk, office = await staff(hub, session, "clerk"), await staff(hub, session, "officer")
    assert (await hub.ask(token, "Consent", consent(me)))[0] == 201
    told = form("exclude-organization", recipients=[organization("bayside-general")])
    reply = await desk.do(f"/privacy/persons/{me}/consents", told)
    assert reply.json["standing"] == "effective", reply.body
    assert await seen(hub, me) == 0
    path = f"/privacy/consents/{reply.json['id']}/revoke"
    refused = await desk.do(path, {"reason": "asked at the desk"})
    assert refused.status == 403, "a clerk takes back no denial"
    assert await seen(hub, me) == 0
    late = {"reason": "patient came in", "signature": {**SIGNED, "on": "2999-01-30"}}
    refused = await office.do(path, late)
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (400, "#/body/signature/on")
    taken = await office.do(path, {"reason": "patient came in", "signature": SIGNED})
    assert (taken.status, taken.json["standing"]) == (200, "not-active")
    assert await seen(hub, me) == 1
    restored = await office.do(
        f"/privacy/consents/{reply.json['id']}/restore", {"reason": "wrong patient"}
    )
    assert restored.status == 200, restored.body
    assert await seen(hub, me) == 0
    assert any("widens access" in row for row in await trail(hub, me))


async def test_what_is_said_twice_is_done_once_and_vouched_for_in_its_own_version(
    hub, session
) -> None:
    me = await person(hub, "2102")
    office = await staff(hub, session, "officer")
    reply = await office.do(f"/privacy/persons/{me}/consents", form())
    path = f"/privacy/consents/{reply.json['id']}/revoke"
    for _ in range(2):
        taken = await office.do(path, {"reason": "patient came in", "signature": SIGNED})
        assert (taken.status, taken.json["version"]) == (200, 2), taken.body
    (one,) = (await office.get(f"/privacy/persons/{me}/consents"))["consents"]
    assert [act["version"] for act in one["acts"]] == [1, 1, 2, 2]
    # A version that says nothing new is vouched for as the one before it was.
    mine = await own_token(hub, me)
    _, said = await hub.ask(mine, "Consent", consent(me))
    tag = {"tag": [{"system": "urn:portal", "code": "seen"}]}
    status, told = await hub.ask(mine, f"Consent/{said['id']}", {**said, "meta": tag}, "PUT")
    assert (status, told["meta"]["versionId"]) == (200, "2"), told
    found = (await office.get(f"/privacy/persons/{me}/consents"))["consents"]
    (acts,) = [one["acts"] for one in found if one["id"] == said["id"]]
    assert sorted((act["version"], act["act"]) for act in acts) == [
        *((1, "recorded"), (1, "verified")),
        *((2, "changed"), (2, "verified")),
    ]


async def test_papers_are_what_they_say(hub, session) -> None:
    me = await person(hub, "2201")
    desk = await staff(hub, session, "clerk")
    wrong = [
        ({**SCAN, "content": base64.b64encode(b"MZ" + bytes(100)).decode()}, 400),
        ({**SCAN, "content": "not base64"}, 400),
        ({**SCAN, "media_type": "image/png"}, 400),
        ({**SCAN, "media_type": "text/html"}, 400),
        (None, 400),
    ]
    for scan, status in wrong:
        reply = await desk.do(f"/privacy/persons/{me}/consents", {**form(), "scan": scan})
        assert reply.status == status, reply.body
    reply = await desk.do(f"/privacy/persons/{me}/consents", {"resource": consent(me)})
    assert reply.status == 403, "raw FHIR is an officer's"
    reply = await desk.do(f"/privacy/persons/{me}/consents", form("release-hiv"))
    assert reply.status == 400
    places = {error["pointer"] for error in reply.json["errors"]}
    assert {"#/body/fields/recipients", "#/body/fields/purposes"} <= places
    assert (await desk.get(f"/privacy/persons/{me}/consents"))["consents"] == []


async def test_staff_leave_alone_what_a_source_recorded_and_say_whether_it_may_open(
    hub, session
) -> None:
    me = await person(hub, "2301")
    source = await hub.token(organization("saint-aurelia"))
    office = await staff(hub, session, "officer")
    _, made = await hub.ask(source, "Consent", consent(me))
    path = f"/privacy/consents/{made['id']}"
    assert (await office.do(f"{path}/revoke", {"reason": "no"})).status == 403
    reply = await office.do(f"{path}/verify", {"verdict": "reject", "reason": "not signed"})
    assert reply.status == 200, reply.body
    (one,) = (await office.get(f"/privacy/persons/{me}/consents"))["consents"]
    assert (one["standing"], one["recorded_by"]) == ("rejected", "saint-aurelia")
    assert await seen(hub, me) == 0
    reply = await office.do(f"{path}/verify", {"verdict": "verify", "reason": "it was"})
    assert (reply.status, await seen(hub, me)) == (200, 1)
    shown = await office.get(path)
    assert [one["recorded_by"] for one in shown["versions"]] == ["saint-aurelia"]
    acts = shown["consent"]["acts"]
    assert [one["act"] for one in acts] == ["recorded", "awaited", "rejected", "verified"]
    assert acts[0] == {
        "act": "recorded",
        "version": 1,
        "at": shown["versions"][0]["at"],
        "actor": "source:saint-aurelia",
        "note": {},
    }
    assert shown["resource"]["provision"] == {"type": "permit"}
    again = await office.do(f"{path}/verify", {"verdict": "verify", "reason": "it was"})
    assert again.status == 409
    told = {**consent(me, "deny"), "id": made["id"]}
    assert (await hub.ask(source, f"Consent/{made['id']}", told, "PUT"))[0] == 200
    (one,) = (await office.get(f"/privacy/persons/{me}/consents"))["consents"]
    assert [(act["act"], act["version"], act["actor"]) for act in one["acts"][4:]] == [
        ("changed", 2, "source:saint-aurelia")
    ]


async def test_an_officers_own_restriction_is_not_the_patients_to_take_back(hub, session) -> None:
    me = await person(hub, "2401")
    office, token = await staff(hub, session, "officer"), await own_token(hub, me)
    reply = await office.do(
        f"/privacy/persons/{me}/consents",
        {"resource": consent(me, "deny"), "reason": "court order"},
    )
    assert reply.json["standing"] == "effective", reply.body
    _, made = await hub.ask(token, f"Consent/{reply.json['id']}")
    status, _ = await hub.ask(token, f"Consent/{made['id']}", {**made, "status": "inactive"}, "PUT")
    assert status == 403
    soon = (await office.get("/privacy/consents/ending?days=30"))["consents"]
    assert all(one["end"] for one in soon)
    assert "court order" in json.dumps(await trail(hub, me))


async def test_what_waits_to_take_anothers_place_changes_nothing_until_it_is_verified(
    hub, session
) -> None:
    me = await person(hub, "2801")
    token = await own_token(hub, me)
    desk, office = await staff(hub, session, "clerk"), await staff(hub, session, "officer")
    _, denial = await hub.ask(token, "Consent", consent(me, "deny"))
    _, permit = await hub.ask(token, "Consent", consent(me))
    assert await seen(hub, me) == 0
    told = {**form(), "supersedes": [denial["id"]]}
    reply = await desk.do(f"/privacy/persons/{me}/consents", told)
    assert reply.json["standing"] == "awaits-verification", reply.body
    assert await seen(hub, me) == 0
    _, still = await hub.ask(token, f"Consent/{denial['id']}")
    assert still["status"] == "active"
    verdict = {"verdict": "verify", "reason": "signature compared"}
    assert (await office.do(f"/privacy/consents/{reply.json['id']}/verify", verdict)).status == 200
    _, ended = await hub.ask(token, f"Consent/{denial['id']}")
    assert (ended["status"], await seen(hub, me)) == ("inactive", 1)
    told = {**form(), "supersedes": [permit["id"], reply.json["id"]]}
    waiting = await desk.do(f"/privacy/persons/{me}/consents", told)
    assert waiting.json["standing"] == "awaits-verification"
    assert await seen(hub, me) == 1, "what waits closes nothing either"


def until(days: int) -> str:
    """A day so many days from now."""
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()


async def test_a_consent_ends_by_itself_and_people_are_told_once(hub, session) -> None:
    over, soon = await person(hub, "2501"), await person(hub, "2502")
    office = await staff(hub, session, "officer")
    for whose, days in ((over, -3), (soon, 10)):
        told = form(until=[until(days)])
        assert (await office.do(f"/privacy/persons/{whose}/consents", told)).status == 200
    assert (await seen(hub, over), await seen(hub, soon)) == (0, 1)
    ending = (await office.get("/privacy/consents/ending?days=30"))["consents"]
    assert [one["person"] for one in ending] == [soon]
    expiry = hub.hub.office.expiry
    assert (await expiry.work(), await expiry.work()) == (1, 0)
    (one,) = (await office.get(f"/privacy/persons/{over}/consents"))["consents"]
    assert one["standing"] == "ended"
    assert one["acts"][-1]["act"] == "expired"
    assert any("expired" in row for row in await trail(hub, over))


async def test_a_source_files_and_revokes_by_the_same_rules(hub, session) -> None:
    me = await person(hub, "2601")
    source = await hub.token(organization("saint-aurelia"))
    paper = {
        "resourceType": "DocumentReference",
        "id": "form-7",
        "status": "current",
        "subject": {"reference": f"Patient/{me}"},
        "content": [{"attachment": {"contentType": "text/plain", "data": "SSBhZ3JlZQ=="}}],
    }
    told = {**consent(me, "deny"), "sourceReference": {"reference": "DocumentReference/form-7"}}
    asked = [{"name": "Consent", "resource": told}, {"name": "Document", "resource": paper}]
    body = {"resourceType": "Parameters", "parameter": asked}
    status, made = await hub.ask(source, "Consent/$fileConsent", body)
    assert status == 200, made
    entries = [one["resource"] for one in made["entry"]]
    filed = next(one for one in entries if one["resourceType"] == "Consent")
    document = next(one for one in entries if one["resourceType"] == "DocumentReference")
    assert filed["sourceReference"]["reference"].endswith(f"DocumentReference/{document['id']}")
    other = await hub.token(organization("bayside-general"))
    operation = f"Consent/{filed['id']}/$revokeConsent"
    assert (await hub.ask(other, operation, {"resourceType": "Parameters"}))[0] in (403, 404)
    status, told = await hub.ask(source, operation, {"resourceType": "Parameters"})
    assert status == 422, "what a source denied it takes back with a verification alone"
    status, _ = await hub.ask(source, f"Consent/{filed['id']}", None, "DELETE")
    assert status == 422
    refused = [row for row in await trail(hub, me) if "Consent.verification" in row]
    assert len(refused) >= 2, "each refused attempt is in the patient's own trail"


def adt(trigger: str, control: str, number: str, retired: str = "") -> bytes:
    """A registration at Saint Aurelia, or a merge there."""
    rows = [
        f"MSH|^~\\&|MEDIHOST|STAUR|HIE|MA|20260105120000||ADT^{trigger}|{control}|P|2.5.1",
        "EVN||20260105113000",
        f"PID|1||{number}^^^SAMC^MR||QUINLAN^NORA||19710308|F|||14 ORCHARD ST^^CONCORD^MA^01742",
        *([f"MRG|{retired}^^^SAMC^MR"] if retired else []),
        "",
    ]
    return "\r".join(rows).encode()


async def test_a_patients_word_outlives_the_merge_of_the_record_it_is_filed_under(
    hub, session
) -> None:
    await hub.send(adt("A28", "w1", "7100"), adt("A28", "w2", "7200"))
    source = await hub.token(organization("saint-aurelia"))
    _, found = await hub.ask(source, "Patient?identifier=7200")
    about = {"reference": f"Patient/{found['entry'][0]['resource']['id']}"}
    allergy = {"resourceType": "AllergyIntolerance", "patient": about, "code": {"text": "Nuts"}}
    _, made = await hub.ask(source, "AllergyIntolerance", allergy)
    _, served = await hub.ask(source, f"AllergyIntolerance/{made['id']}")
    before = served["patient"]["reference"].split("/")[1]
    token = await own_token(hub, before)
    _, said = await hub.ask(token, "Consent", consent(before))
    assert await seen(hub, before) == 1
    await hub.send(adt("A40^ADT_A39", "w3", "7100", "7200"))
    _, served = await hub.ask(source, f"AllergyIntolerance/{made['id']}")
    after = served["patient"]["reference"].split("/")[1]
    assert (before != after, await seen(hub, after)) == (True, 1)
    token = await own_token(hub, after)
    empty = {"resourceType": "Parameters"}
    status, ended = await hub.ask(token, f"Consent/{said['id']}/$revokeConsent", empty)
    assert (status, await seen(hub, after)) == (200, 0), ended


async def test_who_is_shown_a_part_of_a_record_does_not_open_all_of_it(hub, session) -> None:
    me = await person(hub, "2701")
    parent = await hub.hub.tokens.check(await own_token(hub, me))
    now_us = hub.hub.clock.now_us()
    limited = replace(parent, withheld_mask=1)
    ctx = RequestContext(caller=limited, request_id="r", now_us=now_us)
    body = json.dumps(consent(me)).encode()
    with pytest.raises(HieError) as refused:
        await hub.hub.office.patients.write(ctx, "create", None, body, {})
    assert refused.value.category is Category.FORBIDDEN
    assert await seen(hub, me) == 0
