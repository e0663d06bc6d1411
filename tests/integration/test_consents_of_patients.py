"""Consents that patients write with their own token: theirs alone, at once, for ever readable.

Spec: DESIGN section 4 "Who may write Consent"; docs/adr/0043.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from hie.kernel.fhir import FhirJson
from tests.support.running_hub import RunningHub, running_hub
from tests.support.wishes import consent, organization, own_token, person, seen, trail

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql"])
async def hub(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningHub]:
    address = ""
    if request.param == "postgresql":
        address = request.getfixturevalue("module_postgres_url")
    home: Path = tmp_path_factory.mktemp("home")
    async with running_hub(home, HIE_DATABASE_URL=address) as running:
        yield running


async def put(hub: RunningHub, token: str, made: FhirJson, **more: object) -> tuple[int, FhirJson]:
    """A new version of a Consent."""
    return await hub.ask(token, f"Consent/{made['id']}", {**made, **more}, "PUT")


async def test_a_patients_word_holds_from_the_next_request_and_is_taken_back_as_soon(hub) -> None:
    me = await person(hub, "1001")
    token = await own_token(hub, me)
    assert await seen(hub, me) == 0
    status, made = await hub.ask(token, "Consent", consent(me))
    assert status == 201, made
    assert made["patient"]["reference"] == f"Patient/{me}"
    assert await seen(hub, me) == 1
    status, ended = await put(hub, token, made, status="inactive")
    assert (status, ended["meta"]["versionId"]) == (200, "2")
    assert await seen(hub, me) == 0
    status, again = await put(hub, token, ended, status="active")
    assert (status, again["meta"]["versionId"]) == (200, "3"), "a mistake is taken back"
    assert await seen(hub, me) == 1
    _, first = await hub.ask(token, f"Consent/{made['id']}/_history/1")
    assert first["status"] == "active"
    assert first == made, "a version never changes"
    _, history = await hub.ask(token, f"Consent/{made['id']}/_history")
    assert len(history["entry"]) == 3


async def test_a_patient_writes_about_nobody_else_and_touches_nobody_elses(hub) -> None:
    me, other = await person(hub, "1101"), await person(hub, "1102")
    token, others = await own_token(hub, me), await own_token(hub, other)
    status, told = await hub.ask(token, "Consent", consent(other))
    assert status == 403, told
    status, theirs = await hub.ask(others, "Consent", consent(other))
    assert status == 201
    for target in (theirs, {**theirs, "patient": {"reference": f"Patient/{me}"}}):
        assert (await put(hub, token, target, status="inactive"))[0] == 404
    assert (await put(hub, token, {**consent(me), "id": "nowhere"}))[0] == 404, "as if absent"
    operation = f"Consent/{theirs['id']}/$revokeConsent"
    assert (await hub.ask(token, operation, {"resourceType": "Parameters"}))[0] == 404
    assert await seen(hub, other) == 1
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    assert (await hub.ask(token, "Observation", observation))[0] == 403
    assert (await hub.ask(token, f"Consent/{theirs['id']}", None, "DELETE"))[0] in (400, 405)


async def test_refused_attempts_are_on_record_with_their_reason(hub) -> None:
    me, other = await person(hub, "1201"), await person(hub, "1202")
    token = await own_token(hub, me)
    assert (await hub.ask(token, "Consent", consent(other)))[0] == 403
    assert any("names no other patient" in row for row in await trail(hub, me))
    source = await hub.token(organization("bayside-general"))
    _, made = await hub.ask(token, "Consent", consent(me))
    status, _ = await put(hub, source, made, status="inactive")
    assert status in (403, 404, 422)
    assert await seen(hub, me) == 1


async def test_what_would_not_be_carried_out_as_written_is_refused(hub) -> None:
    me = await person(hub, "1301")
    token = await own_token(hub, me)
    nobody = {"reference": "Organization/nobody-at-all"}
    status, told = await hub.ask(token, "Consent", consent(me, "deny", nobody))
    assert status == 422, "a denial of nobody would protect nothing"
    unknown = consent(me)
    unknown["provision"]["purpose"] = [{"display": "no code"}]
    status, told = await hub.ask(token, "Consent", unknown)
    assert status == 422, told
    status, told = await hub.ask(token, "Consent", {**consent(me), "status": "unheard-of"})
    assert status == 422
    _, found = await hub.ask(token, "Consent")
    assert not found.get("entry"), "nothing refused is half-stored"


async def test_a_repeated_request_is_one_consent_and_a_stale_version_is_refused(hub) -> None:
    me = await person(hub, "1401")
    token = await own_token(hub, me)
    sent = {"X-Request-Id": "the-portals-own-1"}
    _, first = await hub.ask(token, "Consent", consent(me), headers=sent)
    _, second = await hub.ask(token, "Consent", consent(me), headers=sent)
    assert first["id"] == second["id"]
    other = await person(hub, "1402")
    _, third = await hub.ask(await own_token(hub, other), "Consent", consent(other), headers=sent)
    assert third["id"] != first["id"]
    path, body = f"Consent/{first['id']}", {**first, "status": "inactive"}
    status, _ = await hub.ask(token, path, body, "PUT", headers={"If-Match": 'W/"9"'})
    assert status == 412


async def test_one_consent_takes_the_place_of_another_in_one_step(hub) -> None:
    me = await person(hub, "1501")
    token = await own_token(hub, me)
    _, denial = await hub.ask(token, "Consent", consent(me, "deny"))
    replaced = {"reference": f"Consent/{denial['id']}"}
    said = {"url": "urn:hie:extension:supersedes", "valueReference": replaced}
    status, made = await hub.ask(token, "Consent", {**consent(me), "extension": [said]})
    assert status == 201, made
    assert await seen(hub, me) == 1
    _, old = await hub.ask(token, f"Consent/{denial['id']}")
    assert (old["status"], old["meta"]["versionId"]) == ("inactive", "2")
    assert (await put(hub, token, old, status="active"))[0] == 409, "its place is taken"


async def test_a_paper_and_its_consent_are_filed_in_one_step_and_revoked_by_name(hub) -> None:
    me = await person(hub, "1601")
    token = await own_token(hub, me)
    paper = {
        "resourceType": "DocumentReference",
        "id": "paper-1",
        "status": "current",
        "subject": {"reference": f"Patient/{me}"},
        "content": [{"attachment": {"contentType": "text/plain", "data": "SSBhZ3JlZQ=="}}],
    }
    named = {"sourceReference": {"reference": "DocumentReference/paper-1"}}
    told = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "consent", "resource": {**consent(me), **named}},
            {"name": "document", "resource": paper},
        ],
    }
    status, made = await hub.ask(token, "Consent/$fileConsent", told)
    assert status == 201, made
    status, found = await hub.ask(token, made["sourceReference"]["reference"])
    assert status == 200
    assert found["content"][0]["attachment"]["data"] == "SSBhZ3JlZQ=="
    why = {"name": "reason", "valueString": "I changed my mind"}
    asked = {"resourceType": "Parameters", "parameter": [why]}
    status, ended = await hub.ask(token, f"Consent/{made['id']}/$revokeConsent", asked)
    assert (status, ended["status"]) == (200, "inactive"), ended
    assert await seen(hub, me) == 0
    assert "changed my mind" in json.dumps(await trail(hub, me))


async def test_a_feeds_permit_waits_until_the_patient_says_yes(hub) -> None:
    me = await person(hub, "1701")
    token, source = await own_token(hub, me), await hub.token(organization("saint-aurelia"))
    status, made = await hub.ask(source, "Consent", consent(me))
    assert status == 201, made
    assert await seen(hub, me) == 0
    assert (await put(hub, token, made, status="inactive"))[0] == 403, "another party's"
    no = {"resourceType": "Parameters", "parameter": [{"name": "verified", "valueBoolean": False}]}
    yes = {"resourceType": "Parameters", "parameter": [{"name": "verified", "valueBoolean": True}]}
    operation = f"Consent/{made['id']}/$verifyConsent"
    assert (await hub.ask(source, operation, yes))[0] == 403, "no source verifies its own"
    assert (await hub.ask(token, operation, yes))[0] == 200
    assert await seen(hub, me) == 1
    wider = {**made, "provision": {"type": "permit", "purpose": []}}
    wider["provision"] = {"type": "permit", "period": {"start": "2020-01-01"}}
    assert (await put(hub, source, wider))[0] == 200
    assert await seen(hub, me) == 0, "another content awaits a verification of its own"
    assert (await hub.ask(token, operation, no))[0] == 200
    assert (await hub.ask(token, operation, no))[0] == 409


async def found(hub: RunningHub, token: str, query: str) -> set[str]:
    """Ids of the Consents that a search finds; by GET and by POST alike."""
    status, page = await hub.ask(token, f"Consent?{query}")
    assert status == 200, page
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, posted = await hub.ask(token, "Consent/_search", query.encode(), headers=form)
    ids, again = (
        {e["resource"]["id"] for e in one.get("entry", []) if e["search"]["mode"] == "match"}
        for one in (page, posted)
    )
    assert (status, again) == (200, ids)
    return ids


async def test_consents_are_found_by_whom_they_let_in_and_hidden_as_the_record_is(hub) -> None:
    """IHE PCF ITI-108: search by patient or identifier, status and actor; read and vread."""
    me = await person(hub, "1801")
    token = await own_token(hub, me)
    partner = await hub.token(organization("bayside-general"), scope="system/*.rs")
    outsider = await hub.token(organization("western-hills"), scope="system/*.rs")
    bayside = hub.hub.directory.resolve_organization(organization("bayside-general"))
    named = {"reference": f"Organization/{bayside}"}
    _, made = await hub.ask(token, "Consent", consent(me, "permit", named))
    only = {made["id"]}
    number = "patient.identifier=https://saint-aurelia.example/mrn|1801"
    for query in (f"patient={me}&status=active", f"{number}&status=active"):
        assert await found(hub, token, query) == only
        assert await found(hub, partner, query) == only
        assert await found(hub, outsider, query) == set(), "hidden as the record is"
    assert await found(hub, partner, f"patient={me}&actor=Organization/{bayside}") == only
    assert await found(hub, partner, f"patient={me}&actor=Organization/other") == set()
    assert await found(hub, partner, f"patient={me}&actor:above=Organization/{bayside}") == only
    assert await found(hub, partner, f"patient={me}&status=inactive") == set()
    for path in (f"Consent/{made['id']}", f"Consent/{made['id']}/_history/1"):
        assert (await hub.ask(partner, path))[0] == 200
        assert (await hub.ask(outsider, path))[0] == 404
    xml = {"Accept": "application/fhir+xml"}
    assert (await hub.ask(partner, f"Consent/{made['id']}", headers=xml))[0] == 406
    elsewhere = hub.hub.directory.resolve_organization(organization("western-hills"))
    other = {"reference": f"Organization/{elsewhere}"}
    _, closed = await hub.ask(token, "Consent", _about_hiv(me, other, "TREAT"))
    assert await found(hub, partner, f"patient={me}") == only, "what it names is not for them"
    assert closed["id"] in await found(hub, outsider, f"patient={me}"), "whom it lets in sees it"
    assert await found(hub, token, f"patient={me}") == {made["id"], closed["id"]}


def _about_hiv(patient: str, actor: FhirJson, purpose: str) -> FhirJson:
    """A release of HIV results."""
    told = consent(patient, "permit", actor)
    reasons = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
    labels = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
    told["provision"]["purpose"] = [{"system": reasons, "code": purpose}]
    told["provision"]["securityLabel"] = [{"system": labels, "code": "HIV"}]
    return told


async def test_a_portal_fills_in_a_form_shows_what_it_says_and_then_what_it_comes_to(hub) -> None:
    me, other = await person(hub, "1901"), await person(hub, "1902")
    token = await own_token(hub, me)
    status, forms = await hub.ask(token, "Consent/$consent-forms")
    names = {form["part"][0]["valueCode"] for form in forms["parameter"]}
    assert (status, "share-for-treatment" in names) == (200, True)
    asked = [{"name": "form", "valueCode": "exclude-organization"}]
    told = {"resourceType": "Parameters", "parameter": asked}
    for more, code, place in (
        ([], "required", ".where(name = 'recipients')"),
        ([{"name": "recipients", "valueString": "nobody"}], "not-found", "[1]"),
        ([{"name": "form", "valueCode": "absent"}], "value", "[1]"),
    ):
        wrong = {**told, "parameter": [*asked, *more]}
        status, refused = await hub.ask(token, "Consent/$consent-draft", wrong)
        assert status == 400, refused
        faults = [(one["code"], one["expression"]) for one in refused["issue"]]
        assert (code, [f"Parameters.parameter{place}"]) in faults, faults
    asked.append({"name": "recipients", "valueString": organization("bayside-general")})
    status, draft = await hub.ask(token, "Consent/$consent-draft", told)
    assert status == 200, draft
    said = [one["valueString"] for one in draft["parameter"] if one["name"] == "said"]
    assert "Bayside" in said[0], said
    assert not (await hub.ask(token, "Consent"))[1].get("entry"), "asking records nothing"
    status, made = await hub.ask(token, "Consent", draft["parameter"][0]["resource"])
    assert status == 201, made
    path = f"Consent/{made['id']}/$consent-standing"
    status, shown = await hub.ask(token, path)
    assert (status, shown["parameter"][0]["valueCode"]) == (200, "effective")
    assert [p["valueString"] for p in shown["parameter"] if p["name"] == "said"] == said
    assert (await hub.ask(await own_token(hub, other), path))[0] == 404
    source = await hub.token(organization("saint-aurelia"))
    assert (await hub.ask(source, path))[0] == 403
