"""The staff API over real HTTP: from a doubtful message to a decision and back, by one steward.

Spec: DESIGN D6, D8, D13; RFC 9457
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from sqlalchemy import text

from tests.support.running_hub import RunningHub, running_hub
from tests.support.staff_api import Console, registration

DOUBTFUL = (registration("C1", "1"), registration("C2", "2"))


@asynccontextmanager
async def consoles(hub: RunningHub, *terms: dict[str, Any]) -> AsyncIterator[list[Console]]:
    """One console per terms of a token."""
    async with aiohttp.ClientSession() as session:
        tokens = [await hub.hub.issue_token(**{"purpose": "HOPERAT", **each}) for each in terms]
        yield [Console(hub, session, token) for token in tokens]


KIM: dict[str, Any] = {"scope": "staff/identity.steward", "user": "kim"}
LEE = {"scope": "staff/identity.steward", "user": "lee"}
BOSS: dict[str, Any] = {"scope": "staff/identity.admin", "user": "ada"}


@pytest.fixture(name="each", params=["sqlite", "postgresql"])
async def _each(request: pytest.FixtureRequest, tmp_path) -> AsyncIterator[RunningHub]:
    settings = {}
    if request.param == "postgresql":
        settings["HIE_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    async with running_hub(tmp_path, **settings) as hub:
        yield hub


@pytest.fixture
async def hub(tmp_path) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path) as running:
        yield running


async def fhir(hub: RunningHub, token: str, person: str) -> tuple[int, Any]:
    """A golden Patient without what changes with every version."""
    status, patient = await hub.ask(token, f"Patient/{person}")
    patient.pop("meta", None)
    return status, patient


async def audited(hub: RunningHub) -> list[Any]:
    return [json.loads(line) async for line in hub.hub.audit.export()]


def weight(patient: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "valueQuantity": {"value": 70, "unit": "kg"},
    }


def seen_by(events: list[Any], user: str, person: str) -> list[str]:
    """What a user did to a person, by code of the interaction."""
    return [
        event["subtype"][0]["code"]
        for event in events
        if person in json.dumps(event) and f'"{user}"' in json.dumps(event)
    ]


async def test_a_task_lives_from_two_messages_to_a_decision_and_back(each: RunningHub):
    hub = each
    answers = await hub.send(*DOUBTFUL)
    assert all(b"MSA|AA" in answer for answer in answers)
    token = await hub.token("saint-aurelia")
    async with consoles(hub, KIM) as (kim,):
        task = await kim.task()
        subject, other = task["subject"], task["others"][0]
        assert {veto["code"] for veto in other["comparison"]["vetoes"]} == {"same-authority"}
        assert other["comparison"]["waterfall"][-1]["total"] > 10
        assert other["golden"]["name"][0]["family"] == "QUINLAN"
        before = [await fhir(hub, token, side["id"]) for side in (subject, other)]
        claimed = await kim.do(f"/mpi/tasks/{task['id']}/claim", {}, task["version"])
        assert (claimed.json["state"], claimed.json["assignee"]) == ("claimed", "kim")
        version = claimed.headers["ETag"].strip('"')

        choice = {"decision": "link", "person": other["id"]}
        shown = await kim.ask(f"/mpi/tasks/{task['id']}/preview", choice)
        assert shown.status == 200, shown.body
        assert shown.json["after"][subject["id"]] is None
        assert len(shown.json["after"][other["id"]]["identifier"]) == 2
        assert [await fhir(hub, token, side["id"]) for side in (subject, other)] == before

        reason = {"reason": "the passport was shown"}
        done = await kim.do(f"/mpi/tasks/{task['id']}/decide", {**choice, **reason}, version)
        assert done.status == 200, done.body
        assert done.json["moves"][0]["to"] == other["id"]
        status, merged = await fhir(hub, token, other["id"])
        assert (status, len(merged["identifier"])) == (200, 2)
        redirected = (await kim.get(f"/mpi/persons/{subject['id']}"))["redirects_to"]
        assert redirected == other["id"]
        assert (await kim.get("/mpi/tasks"))["tasks"] == []
        # Whoever was given the id that led to the merged person still writes with it.
        status, weighed = await hub.ask(token, "Observation", weight(subject["id"]))
        assert (status, weighed["subject"]["reference"]) == (201, f"Patient/{other['id']}")

        told = await kim.get(f"/mpi/decisions/{done.json['decision']}")
        assert (told["actor"], told["words"]) == ("steward:kim", "the passport was shown")
        path = f"/mpi/decisions/{done.json['decision']}/undo"
        assert (await kim.ask(f"{path}/preview", {})).json["decision"] is None
        undone = await kim.do(path, {"reason": "somebody else's passport"})
        assert undone.status == 200, undone.body
        assert [await fhir(hub, token, side["id"]) for side in (subject, other)] == before
        assert (await kim.task())["state"] == "open"
    events = await audited(hub)
    for side in (subject, other):
        assert {"read", "link"} <= set(seen_by(events, "kim", side["id"]))


async def test_two_stewards_never_decide_one_task(each: RunningHub):
    await each.send(*DOUBTFUL)
    async with consoles(each, KIM, LEE) as (kim, lee):
        task = await kim.task()
        path, version = f"/mpi/tasks/{task['id']}/decide", task["version"]
        replies = await asyncio.gather(
            kim.do(path, {"decision": "link", "reason": "one"}, version),
            lee.do(path, {"decision": "reject", "reason": "two"}, version),
        )
        codes = sorted(reply.status for reply in replies)
        assert codes[0] == 200, [reply.body for reply in replies]
        assert codes[1] in (409, 412)
        assert len((await kim.get("/mpi/decisions"))["decisions"]) == 1


async def test_a_repeat_gets_the_first_answer_and_another_request_none(hub: RunningHub):
    await hub.send(*DOUBTFUL)
    async with consoles(hub, KIM, LEE) as (kim, lee):
        task = await kim.task()
        path, body = f"/mpi/tasks/{task['id']}/decide", {"decision": "reject", "reason": "two"}
        first = await kim.do(path, body, task["version"], key="a-key-of-kim")
        again = await kim.do(path, body, task["version"], key="a-key-of-kim")
        assert (first.status, again.status, again.json) == (200, 200, first.json)
        assert again.headers["Idempotency-Replayed"] == "true"
        other = await kim.do(path, {**body, "reason": "three"}, task["version"], key="a-key-of-kim")
        assert other.status == 422
        # Keys are a user's own: what lee asks by the same key is another request.
        mine = await lee.do(path, body, task["version"], key="a-key-of-kim")
        assert (mine.status, "closed" in mine.json["detail"]) == (409, True)
    # A namesake elsewhere is another user.
    elsewhere = [{**KIM, "organization": name} for name in ("saint-aurelia", "western-hills")]
    async with consoles(hub, *elsewhere) as (here, there):
        for console in (here, there):
            undone = await console.do(
                "/mpi/decisions/1/undo", {"reason": "no"}, key="one-key-of-two"
            )
            assert undone.status == 404
        path = f"/mpi/decisions/{first.json['decision']}/undo"
        assert (await here.do(path, {"reason": "no"}, key="one-key-of-two")).status == 200
        assert (await there.do(path, {"reason": "no"}, key="one-key-of-two")).status == 409


async def test_everybody_whom_a_past_decision_compared_is_on_record(hub: RunningHub):
    await hub.send(*DOUBTFUL)
    async with consoles(hub, KIM, LEE) as (kim, lee):
        task = await kim.task()
        (other,) = task["others"]
        told = await lee.get(f"/mpi/decisions/{task['asked_by']}")
        assert [each["person"] for each in told["explanation"]["persons"]] == [other["id"]]
        assert seen_by(await audited(hub), "lee", other["id"]) == ["read"]


async def test_tasks_are_handed_over_and_put_aside(hub: RunningHub):
    await hub.send(*DOUBTFUL)
    async with consoles(hub, KIM, LEE, BOSS) as (kim, lee, boss):
        task = await kim.task()
        path = f"/mpi/tasks/{task['id']}"
        claimed = (await kim.do(f"{path}/claim", {}, task["version"])).json
        assert (await lee.do(f"{path}/claim", {})).status == 409
        assert (await kim.do(f"{path}/release", {}, task["version"])).status == 412
        assert (await kim.do(f"{path}/release", {})).status == 428
        given = await boss.do(f"{path}/assign", {"assignee": "lee"}, claimed["version"])
        assert given.json["assignee"] == "lee"
        assert [t["id"] for t in (await lee.get("/mpi/tasks?assignee=me"))["tasks"]] == [task["id"]]
        past = {"until": "2020-01-01T00:00:00Z", "note": "waits"}
        assert (await lee.do(f"{path}/defer", past, given.json["version"])).status == 400
        day = (datetime.now(UTC) + timedelta(days=40)).strftime("%Y-%m-%dT00:00:00")
        until = {"until": f"{day}Z", "note": "waits for Nora Quinlan's passport"}
        aside = await lee.do(f"{path}/defer", until, given.json["version"])
        assert aside.status == 200, aside.body
        assert (await lee.get("/mpi/tasks"))["tasks"] == []
        (shown,) = (await lee.get("/mpi/tasks?deferred=true"))["tasks"]
        assert shown["deferred_until"] == f"{day}.000Z"
        history = (await lee.get(path))["history"]
        assert [event["action"] for event in history] == ["claim", "assign", "defer"]
        assert history[-1]["note"] == until["note"]
    async with hub.hub.db.reading() as conn:
        rows = await conn.execute(text("SELECT note FROM review_event WHERE note IS NOT NULL"))
        assert all(b"Quinlan" not in bytes(row.note) for row in rows)


REFUSED = (
    ({"scope": "staff/identity.read", "user": "kim"}, "/mpi/tasks/1/claim"),
    ({"scope": "staff/identity.steward", "user": "kim"}, "/mpi/batches/preview"),
    ({"scope": "staff/identity.read"}, "/mpi/persons/search"),  # names no user
    ({"scope": "system/*.cruds", "organization": "saint-aurelia"}, "/mpi/decisions"),
    ({"scope": "patient/*.rs", "patient": "p-1"}, "/mpi/decisions"),
)


async def test_who_may_not_is_refused_and_recorded(hub: RunningHub):
    async with consoles(hub, *(terms for terms, _ in REFUSED)) as users:
        for user, (_, path) in zip(users, REFUSED, strict=True):
            reply = await user.do(path, {})
            assert (reply.status, reply.headers["Content-Type"]) == (
                403,
                "application/problem+json",
            )
            assert "staff/identity." in reply.json["detail"] or "user" in reply.json["detail"]
        anonymous = await Console(hub, users[0]._session, "").ask("/mpi/decisions", {})
        assert (anonymous.status, anonymous.headers["WWW-Authenticate"][:6]) == (401, "Bearer")
    refused = [event for event in await audited(hub) if event["outcome"] == "8"]
    assert len(refused) == len(REFUSED) + 1


async def test_a_token_of_staff_opens_no_resource(hub: RunningHub):
    await hub.send(*DOUBTFUL)
    async with consoles(hub, BOSS) as (boss,):
        person = (await boss.task())["person"]
        for path in ("Patient", f"Patient/{person}", f"Patient/{person}/$everything"):
            status, _ = await hub.ask(boss._token, path)
            assert status == 403


async def test_a_bad_request_is_told_every_fault_and_no_value(hub: RunningHub):
    async with consoles(hub, KIM, BOSS) as (kim, boss):
        reply = await kim.ask("/mpi/tasks?kind=canary&count=0&nora=1")
        assert reply.status == 400
        pointers = {error["pointer"] for error in reply.json["errors"]}
        assert pointers == {"#/query/kind", "#/query/count", "#/query"}
        assert b"canary" not in reply.body
        for path in ("tasks/canary", f"tasks/{'9' * 19}", "persons/a%00b", "records/a%20b"):
            assert (await kim.ask(f"/mpi/{path}")).status == 400
        assert (await kim.ask("/mpi/tasks?person=a%00b")).status == 400
        assert (await kim.ask("/mpi/tasks/1")).status == 404
        assert (await kim.ask("/mpi/nothing")).status == 404
        unpacked = await kim.ask("/mpi/persons/search", {}, **{"Content-Encoding": "gzip"})
        assert (unpacked.status, "Content-Encoding" in unpacked.json["detail"]) == (400, True)
        assert (await kim.ask("/mpi/tasks?cursor=AAAA")).status == 400
        assert (await kim.ask("/mpi/tasks", Accept="text/csv")).status == 406
        missing = await boss.do("/mpi/batches", {"decision": "link", "reason": " "})
        assert {e["pointer"] for e in missing.json["errors"]} == {"#/body/items", "#/body/reason"}
        direct = await kim.do("/mpi/decisions", {"decision": "merge", "kept": "a", "reason": "x"})
        assert direct.json["errors"][0]["pointer"] == "#/body/gone"
        unknown = await kim.do(
            "/mpi/decisions", {"decision": "merge", "kept": "a", "gone": "b", "reason": "x"}
        )
        assert unknown.status == 404
        for path in ("/mpi/persons/nobody", "/mpi/records/nothing", "/mpi/decisions/1"):
            assert (await kim.ask(path)).status == 404


async def test_persons_are_found_by_number_and_shown_as_they_were(hub: RunningHub):
    await hub.send(*DOUBTFUL)
    async with consoles(hub, KIM) as (kim,):
        task = await kim.task()
        number = task["subject"]["golden"]["identifier"][0]
        asked = {"system": number["system"], "value": number["value"]}
        (found,) = (await kim.ask("/mpi/persons/search", asked)).json["persons"]
        assert found["id"] == task["person"]
        (record,) = found["records"]
        assert found["origins"]["birthDate"] == [record["id"]]
        (same,) = (await kim.ask("/mpi/persons/search", {"id": record["id"]})).json["persons"]
        assert same == found
        choice = {"decision": "link", "reason": "one human"}
        await kim.do(f"/mpi/tasks/{task['id']}/decide", choice, task["version"])
        assert (await kim.get(f"/mpi/persons/{task['person']}"))["records"] == []
        joined = await kim.get(f"/mpi/persons/{task['others'][0]['id']}")
        assert set(joined["origins"]["birthDate"]) == {each["id"] for each in joined["records"]}
        assert len(joined["origins"]["identifier[0]"]) == 1
        then = await kim.get(f"/mpi/persons/{task['person']}?as_of={task['opened_at']}")
        assert [each["id"] for each in then["records"]] == [record["id"]]
        history = (await kim.get(f"/mpi/records/{record['id']}"))["history"]
        assert [link["person"] for link in history] == [task["person"], task["others"][0]["id"]]
        past = await kim.get(f"/mpi/decisions?record={record['id']}&count=1")
        assert past["decisions"][0]["kind"] == "relink"
        assert (await kim.get(past["next"]))["decisions"][0]["kind"] == "new"
        seen = await kim.get(f"/mpi/persons/{task['person']}/disclosures?count=1")
        assert seen["disclosures"][0]["user"] == "kim"
        assert len((await kim.get(seen["next"]))["disclosures"]) == 1


async def test_a_batch_is_shown_carried_out_watched_and_taken_back(hub: RunningHub):
    names = ("QUINLAN^NORA", "OKONKWO^ADA", "LINDQVIST^EVA")
    messages = [
        registration(f"C{n}{half}", f"{n}{half}", name, f"197{n}0308")
        for n, name in enumerate(names)
        for half in (1, 2)
    ]
    await hub.send(*messages)
    async with consoles(hub, BOSS) as (boss,):
        asked = {"kind": "possible", "decision": "link", "min_bits": 1}
        assert (await boss.ask("/mpi/batches/preview", asked)).json["items"] == []
        asked["with_vetoes"] = True
        shown = (await boss.ask("/mpi/batches/preview", asked)).json
        assert (len(shown["items"]), shown["refused"]) == (3, 0)
        items = [{"task": i["task"], "version": i["version"]} for i in shown["items"]]
        items[0]["version"] = "0" * 20  # somebody was faster
        run = await boss.do(
            "/mpi/batches", {"decision": "link", "items": items, "reason": "checked by phone"}
        )
        assert run.status == 202
        async with asyncio.timeout(60):
            while True:
                state = (await boss.ask(run.headers["Location"])).json
                if state["state"] != "running":
                    break
                await asyncio.sleep(0.05)
        assert (state["state"], state["done"], state["refused"]) == ("done", 2, 1)
        assert len((await boss.get("/mpi/tasks"))["tasks"]) == 1
        batch = state["result"]["batch"]
        undone = await boss.do(f"/mpi/batches/{batch}/undo", {"reason": "wrong list"})
        assert (undone.status, undone.json["done"]) == (200, 2)
        assert len((await boss.get("/mpi/tasks"))["tasks"]) == 3


async def test_figures_are_those_of_the_messages_sent(hub: RunningHub):
    await hub.send(*DOUBTFUL, registration("C3", "3", "OKONKWO^ADA", "19610203"))
    async with consoles(hub, {"scope": "staff/identity.read"}) as (monitor,):
        figures = await monitor.get("/mpi/metrics")
        duplicates = figures["duplicates"]
        assert (duplicates["records"], duplicates["records_in_pairs"]) == (3, 2)
        assert duplicates["rate"] == pytest.approx(2 / 3, abs=1e-6)
        assert figures["queue"]["open"] == 1
        # A day may have ended since the messages came.
        (week,) = [window for window in figures["windows"] if window["days"] == 7]
        assert week["new_records"]["number"] == 3
        assert week["new_records"]["by_source"]["saint-aurelia"]["review_rate"] == 0.3333
        assert (await monitor.get("/mpi/model"))["version"]
        assert (await monitor.get("/mpi/tasks/counts"))["open"] == 1
        async with monitor._session.get(f"{monitor.base}/metrics") as got:
            shown = await got.text()
    assert "hie_mpi_duplicate_rate 0.666666666666667" in shown
    assert 'hie_mpi_new_records{source="saint-aurelia",outcome="review",days="7"} 1' in shown


async def test_neither_log_nor_address_nor_metric_names_anybody(hub: RunningHub, capfd):
    await hub.send(*DOUBTFUL)
    async with consoles(hub, KIM) as (kim,):
        task = await kim.task()
        asked = {"system": "https://saint-aurelia.example/mrn", "value": "CANARY77"}
        assert (await kim.ask("/mpi/persons/search", asked)).json["persons"] == []
        reason = {"decision": "link", "reason": "canary words of Nora Quinlan"}
        await kim.do(f"/mpi/tasks/{task['id']}/decide", reason, task["version"])
        async with kim._session.get(f"{kim.base}/metrics") as got:
            metrics = await got.text()
    told = "".join(capfd.readouterr()) + metrics
    assert "listTasks" in told or "/staff/v1/mpi/tasks" in told
    for word in ("QUINLAN", "Quinlan", "CANARY", "canary", "1971-03-08", "19710308"):
        assert word not in told
    async with hub.hub.db.reading() as conn:
        for table in ("staff_request", "identity_decision", "review_event", "identity_day"):
            rows = (await conn.execute(text(f"SELECT * FROM {table}"))).all()
            assert "Quinlan" not in str([tuple(row) for row in rows])


async def test_the_page_and_the_document_need_no_token_and_keep_to_themselves(hub: RunningHub):
    async with aiohttp.ClientSession() as session:
        anybody = Console(hub, session, "")
        page = await anybody.ask("/")
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        document = await anybody.ask("/openapi.json")
        assert document.json["openapi"] == "3.1.0"
        for reply in (page, document):
            assert (reply.status, reply.headers["Cache-Control"]) == (200, "no-store")


async def test_an_overlay_shows_what_is_held_back_and_is_taken_over_and_given_back(
    hub: RunningHub,
):
    await hub.send(registration("C1", "1"))
    await hub.send(registration("C2", "1", "OKONKWO^ADA", "19610203").replace(b"|F|", b"|M|"))
    token = await hub.token("saint-aurelia")
    async with consoles(hub, KIM) as (kim,):
        task = await kim.task()
        assert (task["kind"], task["priority"]) == ("overlay", 1)
        assert task["held"]["name"][0]["family"] == "OKONKWO"
        assert task["subject"]["golden"]["name"][0]["family"] == "QUINLAN"
        assert [c["decision"] for c in task["choices"]] == ["overlay-refuse", "overlay-accept"]
        before = await fhir(hub, token, task["person"])
        choice = {"decision": "overlay-accept", "reason": "the number was given to her"}
        done = await kim.do(f"/mpi/tasks/{task['id']}/decide", choice, task["version"])
        assert done.status == 200, done.body
        _, after = await fhir(hub, token, task["person"])
        assert after["name"][0]["family"] == "OKONKWO"
        undone = await kim.do(f"/mpi/decisions/{done.json['decision']}/undo", {"reason": "no"})
        assert undone.status == 200, undone.body
        assert await fhir(hub, token, task["person"]) == before


async def test_whom_a_wrong_link_misled_is_listed_until_they_are_told(hub: RunningHub):
    await hub.send(*DOUBTFUL)
    token = await hub.token("saint-aurelia", user="dr-ruiz")
    async with consoles(hub, KIM) as (kim,):
        task = await kim.task()
        choice = {"decision": "link", "reason": "one human"}
        linked = await kim.do(f"/mpi/tasks/{task['id']}/decide", choice, task["version"])
        # Nobody had given a consent: the link brought none together, and none waits for a review.
        assert (await kim.get("/mpi/consent-reviews"))["decisions"] == []
        number = linked.json["decision"]
        review = {"decision": "review-consents", "about": number, "reason": "nothing is opened"}
        assert (await kim.do("/mpi/decisions", review)).status in (404, 409)
        status, _ = await hub.ask(token, f"Patient/{task['others'][0]['id']}")
        assert status == 200
        path = f"/mpi/decisions/{linked.json['decision']}"
        undone = (await kim.do(f"{path}/undo", {"reason": "two humans"})).json
        assert undone["corrections"]["number"] >= 1
        (waiting,) = (await kim.get("/mpi/corrections"))["decisions"]
        assert waiting["waiting"] == undone["corrections"]["number"]
        listed = (await kim.get(undone["corrections"]["address"]))["corrections"]
        assert "dr-ruiz" in {row["user"] for row in listed}
        told = await kim.do(
            f"{undone['corrections']['address']}/told",
            {"corrections": [row["id"] for row in listed]},
        )
        assert told.json["told"] == len(listed)
        assert (await kim.get("/mpi/corrections"))["decisions"] == []


async def test_only_a_source_sends_messages_in_production(tmp_path):
    async with running_hub(tmp_path, HIE_PROFILE="production") as hub:
        tokens = [
            await hub.hub.issue_token(purpose="HOPERAT", **BOSS),
            await hub.hub.issue_token(scope="patient/*.rs", patient="p-1"),
            await hub.token("saint-aurelia"),
        ]
        codes = []
        async with aiohttp.ClientSession() as session:
            for token in tokens:
                headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/hl7-v2"}
                url = hub.base.replace("/fhir", "/hl7v2")
                async with session.post(url, data=DOUBTFUL[0], headers=headers) as got:
                    codes.append(got.status)
    assert codes == [401, 401, 200]
