"""The decision on a running hub: previews, notices that leave, groups, one consent for another."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.running_hub import RunningHub, running_hub
from tests.support.wishes import OTHER, OWN, consent, organization, own_token, person, seen, trail

pytestmark = pytest.mark.asyncio(loop_scope="module")
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
TPO = [{"system": ACT_REASON, "code": code} for code in ("TREAT", "HPAYMT", "HOPERAT")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path_factory.mktemp("home"), HIE_REGIME="part2") as running:
        yield running


def recipient(name: str = OTHER) -> dict[str, Any]:
    return {"name": "recipient", "valueString": organization(name)}


def asked(*parameters: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [recipient(), *parameters]}


def totals(told: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Counts of each part of a preview: `before` to what is released and withheld by type."""
    found: dict[str, dict[str, int]] = {}
    for side in told["parameter"]:
        parts = side["part"] if side["name"] in ("before", "after") else [side]
        for lines in parts:
            name = lines["name"] if lines is side else f"{side['name']} {lines['name']}"
            counts: dict[str, int] = {}
            for line in lines["part"]:
                if line["name"] == "resources":
                    values = {part["name"]: part for part in line["part"]}
                    kind = values["type"]["valueCode"]
                    counts[kind] = counts.get(kind, 0) + values["count"]["valueInteger"]
            found[name] = counts
    return found


async def opioid(hub: RunningHub, patient: str) -> None:
    """A diagnosis that shows a substance use disorder."""
    token = await hub.token(organization(OWN))
    _, found = await hub.ask(token, f"AllergyIntolerance?patient={patient}")
    told = {
        "resourceType": "Condition",
        "subject": {"reference": found["entry"][0]["resource"]["patient"]["reference"]},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "F11.20"}]},
        "recordedDate": "2026-01-15",
    }
    status, told = await hub.ask(token, "Condition", told)
    assert status == 201, told


# -- previews


async def test_a_patient_sees_what_a_consent_would_open_before_signing_it(hub) -> None:
    me = await person(hub, "2001")
    await opioid(hub, me)
    token = await own_token(hub, me)
    proposed = {"name": "consent", "resource": consent(me)}
    status, told = await hub.ask(token, f"Patient/{me}/$consent-preview", asked(proposed))
    assert status == 200, told
    found = totals(told)
    assert found["before released"] == {}
    assert found["before withheld"]["AllergyIntolerance"] == 1
    assert found["opened"] == {"AllergyIntolerance": 1, "Patient": 1}
    assert found["after withheld"] == {"Condition": 1}, "what shows an addiction needs its own"
    assert found["closed"] == {}
    written = json.dumps(told)
    assert "F11" not in written
    assert "Nuts" not in written
    assert await seen(hub, me) == 0, "nothing was recorded"
    assert any("$consent-preview" in row for row in await trail(hub, me))


async def test_what_a_preview_says_is_what_happens(hub) -> None:
    me = await person(hub, "2101")
    token = await own_token(hub, me)
    _, told = await hub.ask(
        token,
        f"Patient/{me}/$consent-preview",
        asked({"name": "consent", "resource": consent(me)}),
    )
    promised = totals(told)["after released"].get("AllergyIntolerance", 0)
    status, made = await hub.ask(token, "Consent", consent(me))
    assert status == 201
    assert await seen(hub, me) == promised == 1
    nothing = asked({"name": "withdraw", "valueString": "nothing-of-hers"})
    assert (await hub.ask(token, f"Patient/{me}/$consent-preview", nothing))[0] == 400
    withdrawing = asked({"name": "withdraw", "valueString": made["id"]})
    _, told = await hub.ask(token, f"Patient/{me}/$consent-preview", withdrawing)
    found = totals(told)
    assert found["before released"]["AllergyIntolerance"] == 1
    assert found["closed"]["AllergyIntolerance"] == 1


async def test_a_preview_is_of_the_own_record_only(hub) -> None:
    me, other = await person(hub, "2201"), await person(hub, "2302")
    token = await own_token(hub, me)
    assert (await hub.ask(token, f"Patient/{other}/$consent-preview", asked()))[0] == 404
    source = await hub.token(organization(OTHER))
    assert (await hub.ask(source, f"Patient/{me}/$consent-preview", asked()))[0] == 403
    for body in (
        {"resourceType": "Patient"},
        {"resourceType": "Parameters", "parameter": []},
        asked({"name": "gossip", "valueString": "x"}),
        asked({"name": "consent", "resource": {"resourceType": "Patient"}}),
    ):
        status, told = await hub.ask(token, f"Patient/{me}/$consent-preview", body)
        assert status in (400, 422), told


async def test_officers_see_counts_and_reasons_of_anybodys_record(hub) -> None:
    me = await person(hub, "2403")
    officer = await hub.token(scope="staff/privacy.officer", user="okafor", purpose="HOPERAT")
    body = {"organization": organization(OTHER), "consent": consent(me)}
    path = f"/staff/v1/privacy/persons/{me}/consents/preview"
    status, told = await staff(hub, officer, path, body)
    assert status == 200, told
    assert told["before"]["released_by_type"] == {}
    assert told["after"]["released_by_type"] == {"AllergyIntolerance": 1, "Patient": 1}
    (opened,) = [line for line in told["opened"] if line["type"] == "AllergyIntolerance"]
    assert opened["labels"] == ["N"]
    assert opened["reasons"] == ["Permitted by Consent/proposed version 1, provision /."]
    assert opened["patient"]
    assert "Nuts" not in json.dumps(told)
    clerk = await hub.token(scope="staff/privacy.clerk", user="lee", purpose="HOPERAT")
    assert (await staff(hub, clerk, path, body))[0] == 403
    assert (await staff(hub, officer, path.replace(me, "nobody"), body))[0] == 404


async def staff(hub: RunningHub, token: str, path: str, body: object) -> tuple[int, Any]:
    """One request of the staff API."""
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{hub.base.removesuffix('/fhir')}{path}"
    async with hub._session.post(url, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


# -- the notice of 42 CFR part 2


async def test_a_part_2_record_leaves_with_its_notice_wherever_it_leaves(hub) -> None:
    me = await person(hub, "2504")
    await opioid(hub, me)
    token = await own_token(hub, me)
    labels = [{"system": ACT_CODE, "code": "SUD"}, {"system": ACT_CODE, "code": "OPIOIDUD"}]
    said = consent(me)
    said["provision"] |= {
        "purpose": TPO,
        "provision": [{"type": "permit", "securityLabel": labels}],
    }
    status, made = await hub.ask(token, "Consent", said)
    assert status == 201, made
    reader = await hub.token(organization(OTHER))
    for path in (f"Condition?patient={me}", f"Patient/{me}/$everything"):
        async with hub.request("GET", path, None, reader) as answer:
            assert "part2-notice" in answer.headers["X-Disclosure-Notice"]
            bundle = json.loads(await answer.read())
        outcomes = [e["resource"] for e in bundle["entry"] if e["search"]["mode"] == "outcome"]
        notice = json.dumps(outcomes)
        assert "42 CFR part 2 prohibits" in notice
        assert f"Consent/{made['id']}/_history/1" in notice, "and the consent that was relied on"
        (condition,) = [
            e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Condition"
        ]
        assert "NODSCLCD" in [one["code"] for one in condition["meta"]["security"]]
    async with hub.request("GET", f"Condition/{condition['id']}", None, reader) as answer:
        assert "42 CFR part 2 prohibits" in answer.headers["X-Disclosure-Notice"]
    async with hub.request("GET", f"AllergyIntolerance?patient={me}", None, reader) as answer:
        assert "X-Disclosure-Notice" not in answer.headers
        assert "42 CFR" not in (await answer.read()).decode()


# -- groups and supersession


async def test_a_consent_for_a_care_team_follows_its_members(hub) -> None:
    me = await person(hub, "2605")
    source = await hub.token(organization(OWN))
    _, found = await hub.ask(source, f"AllergyIntolerance?patient={me}")
    team = {
        "resourceType": "CareTeam",
        "status": "active",
        "subject": found["entry"][0]["resource"]["patient"],
        "participant": [_participant(OWN)],
    }
    status, made = await hub.ask(source, "CareTeam", team)
    assert status == 201, made
    token = await own_token(hub, me)
    said = consent(me, "permit", {"reference": f"CareTeam/{made['id']}"})
    status, told = await hub.ask(token, "Consent", said)
    assert status == 201, told
    assert await seen(hub, me) == 0
    for names, expected in (((OWN, OTHER), 1), ((OWN,), 0)):
        changed = {**made, "participant": [_participant(name) for name in names]}
        status, told = await hub.ask(source, f"CareTeam/{made['id']}", changed, "PUT")
        assert status == 200, told
        assert await seen(hub, me) == expected, "who is in the team now is meant"


async def test_a_consent_for_a_role_means_who_acts_in_it(hub) -> None:
    async def sees(me: str, *roles: str) -> int:
        asking = await hub.token(organization(OTHER), roles=roles)
        _, found = await hub.ask(asking, f"AllergyIntolerance?patient={me}&_summary=count")
        return int(found["total"])

    nurses = {
        "role": {"coding": [{"system": "http://snomed.info/sct", "code": "106292003"}]},
        "reference": {"identifier": _identifier(OTHER)},
    }
    for number, kind, expected in (("2606", "permit", (1, 0, 0)), ("2607", "deny", (0, 0, 1))):
        me = await person(hub, number)
        said = consent(me, "deny" if kind == "permit" else "permit")
        said["provision"]["provision"] = [{"type": kind, "actor": [nurses]}]
        status, told = await hub.ask(await own_token(hub, me), "Consent", said)
        assert status == 201, told
        # Of a denial, silence helps nobody: whoever names no role is denied with the nurses.
        acting = (("106292003", "158965000"), (), ("158965000",))
        assert tuple([await sees(me, *roles) for roles in acting]) == expected, kind


def _participant(name: str) -> dict[str, Any]:
    return {"member": {"type": "Organization", "identifier": _identifier(name)}}


def _identifier(name: str) -> dict[str, str]:
    system, _, value = organization(name).partition("|")
    return {"system": system, "value": value}


async def test_one_consent_in_the_place_of_another(hub) -> None:
    me = await person(hub, "2706")
    token = await own_token(hub, me)
    _, old = await hub.ask(token, "Consent", consent(me, "deny"))
    _, beside = await hub.ask(token, "Consent", consent(me))
    assert await seen(hub, me) == 0, "a newer consent alone overrides nothing"
    link = {
        "url": "urn:hie:extension:supersedes",
        "valueReference": {"reference": f"Consent/{old['id']}"},
    }
    status, told = await hub.ask(token, "Consent", {**consent(me), "extension": [link]})
    assert status == 201, told
    assert beside["id"] != told["id"]
    assert await seen(hub, me) == 1
