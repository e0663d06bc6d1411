"""Subscriptions that are asked for wrongly, by others, or while the hub is killed."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.integration.test_subscriptions import LIVES, quick, standing
from tests.support.asked_hub import World, patient
from tests.support.hub_process import HubProcess
from tests.support.subscribers import BACKPORT, Hook, encounter, said, subscription, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One hub for the tests that kill nobody."""
    async with quick(tmp_path_factory.mktemp("trouble") / "home") as made:
        yield made


WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"criteria": "urn:hie:topic:nothing"}, "Subscription.criteria"),
    ({"criteria": "Encounter?status=finished"}, "Subscription.criteria"),
    ({"status": "entered-in-error"}, "Subscription.status"),
    ({"wishes": "many"}, "Subscription.wishes"),
    ({"end": "yesterday"}, "Subscription.end"),
    ({"end": "2020-01-01T00:00:00Z"}, "Subscription.end"),
)
#: Addresses that no notification may go to.
REFUSED = (
    *("http://hooks.example.org/told", "https://10.0.0.8/told", "https://192.168.1.1/x"),
    *(
        "https://169.254.169.254/latest/meta-data",
        "https://[fe80::1]/x",
        "https://[::ffff:10.1.1.1]/",
    ),
    *("ftp://hooks.example.org/", "https://user:secret@hooks.example.org/", "https:///nohost"),
    *("http://10.0.0.8:8080/", "https://hooks.example.org:0/", "https://0.0.0.0/", "//x"),
)


async def test_what_is_asked_for_wrongly_is_told_with_its_place(world: World) -> None:
    for change, place in WRONG:
        asked = {**subscription("encounter-start"), **change}
        status, _, body = await world.ask("BETA", "POST", "Subscription", asked)
        assert status == 422, (change, body)
        assert json.loads(body)["issue"][0]["expression"] == [place]
    for filters in ("Encounter?name=Smith", "Patient?_id=1", "Encounter?_in=Organization/1"):
        asked = subscription("encounter-start", filters)
        assert (await world.ask("BETA", "POST", "Subscription", asked))[0] == 422
    asked = subscription("encounter-start", "Encounter?_in=Group/none")
    assert (await world.ask("BETA", "POST", "Subscription", asked))[0] == 422
    asked = subscription("encounter-start", heartbeat=1)
    assert (await world.ask("BETA", "POST", "Subscription", asked))[0] == 422
    for endpoint in REFUSED:
        asked = subscription("encounter-start", endpoint=endpoint)
        status, _, body = await world.ask("BETA", "POST", "Subscription", asked)
        assert status == 422, endpoint
        assert endpoint.encode() not in body
    for header in ("Host: other", "X-A: b\r\nX-C: d", "Content-Length: 5", "nothing"):
        asked = subscription("encounter-start", endpoint="http://127.0.0.1:9/", header=[header])
        assert (await world.ask("BETA", "POST", "Subscription", asked))[0] == 422
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "resource": subscription("encounter-start"),
                "request": {"method": "POST", "url": "Subscription"},
            }
        ],
    }
    status, _, body = await world.ask("BETA", "POST", "", bundle)
    assert 400 <= status < 500, body
    assert (await world.get("BETA", "Subscription"))["total"] == 0


async def test_a_subscription_is_its_owners_alone(world: World) -> None:
    name = await world.post("BETA", subscription("encounter-start"))
    paths = ("", "/$status", "/$events", "/$get-ws-binding-token")
    for path in paths:
        other = await world.ask("GAMMA", "GET", f"Subscription/{name}{path}")
        nothing = await world.ask("GAMMA", "GET", f"Subscription/{'0' * 32}{path}")
        assert other == nothing
        assert other[0] == 404
    change = subscription("encounter-end")
    assert (await world.ask("GAMMA", "PUT", f"Subscription/{name}", change))[0] == 404
    assert (await world.ask("GAMMA", "DELETE", f"Subscription/{name}"))[0] == 404
    assert (await world.get("GAMMA", "Subscription"))["total"] == 0
    assert "entry" not in await world.get("GAMMA", "Subscription/$status")
    await world.token("NARROW", organization="BETA", scope="system/Subscription.crud")
    assert (await world.ask("NARROW", "POST", "Subscription", change))[0] == 403

    put = await world.put("BETA", f"Subscription/{name}", change)
    assert put["criteria"] == "urn:hie:topic:encounter-end"
    assert put["meta"]["versionId"] == "2"
    stale = await world.ask("BETA", "PUT", f"Subscription/{name}", change, **{"If-Match": 'W/"1"'})
    assert stale[0] == 412
    assert (await world.get("BETA", "Subscription?status=active"))["total"] == 1
    assert (await world.get("BETA", "Subscription?status=off"))["total"] == 0
    assert (await world.ask("BETA", "GET", "Subscription?nonsense=1"))[0] == 400
    assert (await world.ask("BETA", "DELETE", f"Subscription/{name}"))[0] == 204
    assert await world.status("BETA", f"Subscription/{name}") == 410
    assert await world.status("GAMMA", f"Subscription/{name}") == 404


async def test_topics_are_told_where_clients_look(world: World) -> None:
    told = await world.get("BETA", "metadata")
    (kept,) = [r for r in told["rest"][0]["resource"] if r["type"] == "Subscription"]
    canonical = [e["valueCanonical"] for e in kept["extension"]]
    assert f"{BACKPORT}capabilitystatement-subscriptiontopic-canonical" in str(kept["extension"])
    assert "urn:hie:topic:encounter-start" in canonical
    assert {"status", "events", "get-ws-binding-token"} <= {o["name"] for o in kept["operation"]}
    topics = await world.get("BETA", "Subscription/$topics")
    assert len(topics["entry"]) == len(canonical)
    assert topics["entry"][0]["resource"]["resourceType"] == "Basic"


async def test_secrets_are_kept_and_never_told(world: World) -> None:
    async with Hook() as hook:
        asked = subscription(
            "encounter-start", endpoint=hook.url, header=["X-Key: canary-secret"], heartbeat=30
        )
        name = await world.post("BETA", asked)
        told = await standing(world, "BETA", name, "active")
        assert "canary-secret" not in json.dumps(told)
        again = {k: v for k, v in told.items() if k != "meta"} | {"status": "requested"}
        await world.put("BETA", f"Subscription/{name}", again)
        await hook.heard(2, "handshake")
        assert hook.headers[-1]["X-Key"] == "canary-secret"
        await standing(world, "BETA", name, "active")
        # The next heartbeat is brought forward: nobody waits for half a minute here.
        async with world.hub.db.transaction() as conn:
            await conn.execute(
                text("UPDATE subscription SET heartbeat_us = 1 WHERE heartbeat_us > 0")
            )
        (beat,) = await hook.heard(1, "heartbeat")
        assert said(beat)["events-since-subscription-start"] == "0"
    for file in (world.hub.settings.home).rglob("hub.db*"):
        assert b"canary-secret" not in file.read_bytes()


async def test_what_is_asked_for_anew_meanwhile_begins_with_a_handshake(world: World) -> None:
    """What comes of a notification that is on its way says nothing about the new terms."""
    async with Hook() as hook:
        asked = subscription("encounter-start", endpoint=hook.url)
        name = await world.post("BETA", asked)
        await standing(world, "BETA", name, "active")
        record = await world.post("ALPHA", patient("A1", "alpha"))
        hook.answers.clear()
        await world.post("ALPHA", encounter(record))
        await until(lambda: len(hook.headers) == 2)
        await world.put("BETA", f"Subscription/{name}", {**asked, "reason": "to be told more"})
        hook.answers.set()
        await hook.heard(2, "handshake")
        await standing(world, "BETA", name, "active")
        assert len(await hook.heard(1)) == 1


async def test_what_was_queued_outlives_a_killed_hub(tmp_path: Path) -> None:
    """Events that were answered for are told after kill -9, in order, each at least once."""
    hub = HubProcess(tmp_path / "home", HIE_REGIME="hipaa-treatment")
    await asyncio.to_thread(hub.start)
    try:
        async with Hook() as hook, aiohttp.ClientSession() as http:
            alpha, beta = [
                (await asyncio.to_thread(hub.run, *TOKEN, who)).stdout.strip()
                for who in ("ALPHA", "BETA")
            ]

            async def post(token: str, body: dict[str, Any]) -> dict[str, Any]:
                url = f"http://127.0.0.1:{hub.http_port}/fhir/{body['resourceType']}"
                sent = {
                    "Authorization": f"Bearer {token}",
                    "Content-Type": "application/fhir+json",
                }
                async with http.post(url, data=json.dumps(body), headers=sent) as answer:
                    assert answer.status == 201, await answer.text()
                    found: dict[str, Any] = await answer.json(content_type=None)
                    return found

            await post(beta, subscription("encounter-start", endpoint=hook.url, max_count=1))
            await hook.heard(1, "handshake")
            record = (await post(alpha, patient("A1", "alpha")))["id"]
            count = 12 if os.environ.get("HIE_TEST_LONG") else 4
            made = [(await post(alpha, encounter(record)))["id"] for _ in range(count)]
            hub.kill()
            await asyncio.to_thread(hub.start)
            await until(lambda: max(numbers_of(hook), default=0) >= count)
            bundles = hook.of("event-notification")
            numbers = numbers_of(hook)
            told = [f.rpartition("/")[2] for b in bundles for f in said(b)["focus"]]
            assert sorted(set(numbers)) == list(range(1, count + 1))
            assert numbers == sorted(numbers)
            assert list(dict.fromkeys(told)) == made
    finally:
        hub.kill()


def numbers_of(hook: Hook) -> list[int]:
    """The numbers of the events it was told, in order."""
    return [n for b in hook.of("event-notification") for n in said(b)["events"]]


TOKEN = ("token", "--scope", "system/*.cruds", "--organization")


async def test_events_are_told_in_order_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    """The claims, locks and numbers of PostgreSQL: writes of two organisations at once."""
    async with quick(tmp_path / "home", HIE_DATABASE_URL=postgres_url) as made, Hook() as hook:
        name = await made.post(
            "BETA", subscription("encounter-start", endpoint=hook.url, content="id-only")
        )
        await standing(made, "BETA", name, "active")
        one = await made.post("ALPHA", patient("A1", "alpha"))
        other = await made.post("GAMMA", patient("G1", "gamma"))
        await asyncio.gather(
            *(made.post("ALPHA", encounter(one)) for _ in range(5)),
            *(made.post("GAMMA", encounter(other)) for _ in range(5)),
        )
        await until(lambda: len(numbers_of(hook)) >= 10)
        assert numbers_of(hook) == list(range(1, 11))


async def test_a_panel_is_loaded_from_a_file_by_command(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with World(home, HIE_REGIME="hipaa-treatment") as world:
        record = await world.post("ALPHA", patient("A1", "alpha", **LIVES))
        person = await world.person_of("ALPHA", record)
        name = await world.post("BETA", subscription("encounter-start"))
    file, columns, out = tmp_path / "panel.csv", tmp_path / "columns.toml", tmp_path / "out.csv"
    file.write_text(
        "member,last,first,born,street,town,zip,phone,attribution_start\n"
        "m1,Quillfeather,Hortensia,1951-04-12,12 Orchard Lane,Lynn,01901,7815550107,2026-01-01\n"
        "m2,Nobody,Al,1990-01-01,1 Elm St,Salem,01970,9785550100,\n"
    )
    columns.write_text(
        'record_id = "member"\nfamily = "last"\ngiven = "first"\nbirth_date = "born"\n'
        'street = "street"\ncity = "town"\nzip = "zip"\nphone = "phone"\n'
    )
    hub = HubProcess(home, HIE_REGIME="hipaa-treatment")
    asked = ("--map", str(columns), "--out", str(out), "--organization", "BETA", "--name", "Ours")
    done = await asyncio.to_thread(hub.run, "panel", "load", str(file), *asked)
    assert done.returncode == 3, done.stderr
    rows = out.read_text().splitlines()
    assert rows[1] == f"m1,matched,Patient/{person},"
    assert rows[2].startswith("m2,not-found,,")
    group = done.stderr.partition("Group/")[2].partition(" ")[0]
    undone = await asyncio.to_thread(hub.run, "panel", "undo", group, "--organization", "BETA")
    assert undone.returncode == 0, undone.stderr
    listed = await asyncio.to_thread(hub.run, "subscriptions", "list")
    assert f"{name}  " in listed.stdout
    assert "encounter-start  websocket  active  told 0" in listed.stdout
    off = await asyncio.to_thread(hub.run, "subscriptions", "off", name)
    assert off.stdout == f"{name} off\n"
