"""Subscribers are told of what happens, over real sockets, as far as they may see it."""

import asyncio
import json
import re
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from hie.flow.decisions import Merge, Steward
from hie.kernel.ids import PersonId
from hie.subscribing import Subscribing
from hie.subscriptions.policy import Delivery
from hie.web import Metrics
from tests.support.asked_hub import World, actor, consent, deny, observation, patient, zebulon
from tests.support.subscribers import (
    PATIENCE_SECONDS,
    Hook,
    encounter,
    said,
    subscription,
    until,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAST = Delivery(
    first_retry_seconds=0.1,
    longest_retry_seconds=0.3,
    give_up_seconds=600,
    keep_seconds=600,
    binding_seconds=600,
)


FOREIGN = [{"system": "urn:elsewhere", "value": "E-1"}]
LIVES = {
    "address": [
        {"line": ["12 Orchard Lane"], "city": "Lynn", "state": "MA", "postalCode": "01901"}
    ],
    "telecom": [{"system": "phone", "value": "7815550107"}],
}
NAME = [{"family": "Secret", "given": ["Alma"]}]


def quick(home: Path, **settings: Any) -> World:
    """A hub that tries again soon."""
    made = World(home, HIE_REGIME="hipaa-treatment", **settings)
    made.hub.subscribing = made.hub.site._subscribing = Subscribing(made.hub, Metrics(), FAST)
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One hub for all tests of the file."""
    async with quick(tmp_path_factory.mktemp("subscriptions") / "home") as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def world(hub: World, request: pytest.FixtureRequest) -> World:
    """The hub, asked by a subscriber of the test's own, `BETA`, who subscribed to nothing."""
    hub.tokens.pop("BETA", None)
    await hub.token("BETA", organization=plan(request))
    return hub


@pytest.fixture
def beta(request: pytest.FixtureRequest) -> dict[str, Any]:
    """That subscriber, as a Consent names it."""
    return actor(plan(request))


def plan(request: pytest.FixtureRequest) -> str:
    """The name of a test's subscriber."""
    return f"PLAN{zlib.crc32(request.node.name.encode()) % 10_000}"


@pytest_asyncio.fixture(loop_scope="module")
async def hook() -> AsyncIterator[Hook]:
    async with Hook() as made:
        yield made


async def sent(world: World, body: dict[str, Any]) -> str:
    """The id of a Patient of ALPHA's, whether it was known or not."""
    status, _, got = await world.ask("ALPHA", "POST", "Patient", body)
    assert status in (200, 201), got
    return str(json.loads(got)["id"])


async def standing(world: World, who: str, name: str, wanted: str) -> dict[str, Any]:
    """The subscription, once it has a status."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            one = await world.get(who, f"Subscription/{name}")
            if one["status"] == wanted:
                return one
            await asyncio.sleep(0.05)


async def test_a_subscriber_is_told_of_an_admission_it_may_see(world: World, hook: Hook) -> None:
    asked = subscription(
        *("encounter-start", "Encounter?class=IMP"),
        endpoint=hook.url,
        header=["Authorization: Bearer hush-hush"],
    )
    name = await world.post("BETA", asked)
    (handshake,) = await hook.heard(1, "handshake")
    assert said(handshake)["status"] == "requested"
    assert hook.headers[0]["Authorization"] == "Bearer hush-hush"
    told = await standing(world, "BETA", name, "active")
    assert told["channel"]["header"] == ["Authorization: ***"]

    record = await sent(world, patient("A1", "alpha"))
    await world.post("ALPHA", encounter(record, code="AMB"))  # another class
    stay = await world.post("ALPHA", encounter(record, status="planned"))
    assert hook.of("event-notification") == []
    await world.put("ALPHA", f"Encounter/{stay}", encounter(record))
    (event,) = await hook.heard(1)
    assert event["type"] == "history"
    assert said(event)["events"] == [1]
    assert said(event)["events-since-subscription-start"] == "1"
    assert event["entry"][1]["resource"]["id"] == stay
    assert event["entry"][1]["fullUrl"] == said(event)["focus"][0]
    assert hook.bodies[-1].count(b'"resourceType":"Encounter"') == 1
    stands = await world.get("BETA", f"Subscription/{name}/$status")
    assert said(stands)["type"] == "query-status"
    assert said(stands)["events-since-subscription-start"] == "1"


async def settled(world: World, name: str = "") -> None:
    """Wait until no event waits for a subscription any more, or for any."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            async with world.hub.db.reading() as conn:
                left = await world.hub.subscriptions.counts(conn)
            if not any(name in (one, "") for one, _ in left):
                return
            await asyncio.sleep(0.02)


def shape(bundles: list[dict[str, Any]]) -> bytes:
    """Notifications with ids and times replaced by the order they appear in."""
    names: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        return names.setdefault(found[0], f"#{len(names)}")

    text = json.dumps(bundles)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "now", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "hub", text)
    return re.sub(r"[A-Za-z0-9-]{26,40}", named, text).encode()


async def _day(world: World, hook: Hook, *, has_hidden: bool) -> list[dict[str, Any]]:
    """What a subscriber hears of two admissions, with another that it may not see or without."""
    name = await world.post("BETA", subscription("encounter-start", endpoint=hook.url))
    await standing(world, "BETA", name, "active")
    seen = await world.post("ALPHA", patient("A1", "alpha"))
    hidden = await world.post("ALPHA", zebulon("A2", "alpha"))
    await world.post("ALPHA", consent(hidden, deny(actor("BETA"))))
    await world.post("ALPHA", encounter(seen))
    await hook.heard(1)
    connections = hook.connections
    if has_hidden:
        for _ in range(12):
            await world.post("ALPHA", encounter(hidden))
        await asyncio.sleep(1.0)
    assert hook.connections == connections, "a hidden event made a connection"
    await world.post("ALPHA", encounter(seen, code="EMER"))
    await hook.heard(2)
    status = await world.get("BETA", f"Subscription/{name}/$status")
    events = await world.get("BETA", f"Subscription/{name}/$events")
    resource = await world.get("BETA", f"Subscription/{name}")
    return [*hook.bundles, status, events, resource]


async def test_a_hidden_event_leaves_no_trace(tmp_path: Path) -> None:
    """Every byte is the same with and without events the subscriber may not see."""
    told = []
    for has_hidden in (False, True):
        async with quick(tmp_path / str(has_hidden)) as made, Hook() as hook:
            told.append(shape(await _day(made, hook, has_hidden=has_hidden)))
            await settled(made)
    assert told[0] == told[1]


async def test_what_cannot_be_delivered_is_tried_again_in_order(world: World, hook: Hook) -> None:
    asked = subscription("result-available", endpoint=hook.url, content="id-only", max_count=2)
    name = await world.post("BETA", asked)
    await standing(world, "BETA", name, "active")
    record = await sent(world, patient("A1", "alpha"))
    hook.answer = 503
    made = []
    for number in range(5):
        report = {
            "resourceType": "DiagnosticReport",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": f"{number}-1"}]},
            "subject": {"reference": f"Patient/{record}"},
        }
        made.append(await world.post("ALPHA", report))
    failed = await standing(world, "BETA", name, "error")
    assert failed["error"] == "the endpoint answered 503"
    hook.answer = 200
    await standing(world, "BETA", name, "active")
    await until(lambda: sum(len(said(b)["events"]) for b in hook.of("event-notification")) >= 5)
    bundles = hook.of("event-notification")
    assert [n for b in bundles for n in said(b)["events"]] == [1, 2, 3, 4, 5]
    assert [f.rpartition("/")[2] for b in bundles for f in said(b)["focus"]] == made
    assert all(len(said(b)["events"]) <= 2 for b in bundles)
    assert all("resource" not in entry for b in bundles for entry in b["entry"][1:])


async def test_a_withdrawn_consent_and_token_hold_from_the_next_delivery(
    world: World, beta: dict[str, Any], hook: Hook
) -> None:
    record = await sent(world, patient("A1", "alpha"))
    name = await world.post("BETA", subscription("encounter-start", endpoint=hook.url))
    await standing(world, "BETA", name, "active")
    hook.answer = 503
    await world.post("ALPHA", encounter(record))
    await standing(world, "BETA", name, "error")
    await world.post("ALPHA", consent(record, deny(beta)))
    # A try that was under way is answered as those before it; there is no other.
    await settled(world, name)
    hook.answer = 200
    other = await sent(world, zebulon("A2", "alpha"))
    await world.post("ALPHA", encounter(other))
    (event,) = await hook.heard(1)
    # The one that left before keeps its number; it is told no more, nor by `$events`.
    assert said(event)["events"] == [2]
    await standing(world, "BETA", name, "active")
    events = await world.get("BETA", f"Subscription/{name}/$events")
    assert said(events)["events"] == [2]
    # A revoked token ends what it asked for.
    await world.ask("BETA", "DELETE", f"Subscription/{name}")
    await world.token("GONE", organization=beta["reference"]["identifier"]["value"])
    name = await world.post("GONE", subscription("encounter-start", endpoint=hook.url))
    await standing(world, "BETA", name, "active")
    caller = await world.hub.tokens.check(world.tokens["GONE"])
    async with world.hub.db.transaction() as conn:
        assert await world.hub.tokens.revoke(conn, caller.token_id)
    await world.post("ALPHA", encounter(other))
    told = await standing(world, "BETA", name, "off")
    assert "may ask no more" in told["error"]
    assert len(hook.of("event-notification")) == 1


async def test_a_websocket_hears_of_what_happens_while_it_may(
    world: World, beta: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    record = await sent(world, patient("A1", "alpha"))
    asked = subscription("observation-available", content="empty")
    name = await world.post("BETA", asked)
    lab = [{"coding": [{"code": "laboratory"}]}]
    await world.post("ALPHA", observation(record, category=lab))  # before anybody listens
    bound = await world.get("BETA", f"Subscription/{name}/$get-ws-binding-token")
    found = {p["name"]: next(v for k, v in p.items() if k != "name") for p in bound["parameter"]}
    assert found["subscription"] == name
    # What is decided for who asked for it is told to nobody else of the organisation.
    for terms in ({"user": "Practitioner/d9"}, {"purpose": "HPAYMT"}):
        await world.token("ELSE", organization=plan(request), **terms)
        path = f"Subscription/{name}/$get-ws-binding-token"
        assert await world.status("ELSE", path) == 404, terms
    before = await disclosures(world)
    async with world.http.ws_connect(found["websocket-url"]) as socket:
        await socket.send_str("bind-with-token nonsense")
        assert "unknown" in (await socket.receive(PATIENCE_SECONDS)).data
        await socket.send_str(f"bind-with-token {found['token']}")
        handshake = json.loads((await socket.receive(PATIENCE_SECONDS)).data)
        assert said(handshake)["type"] == "handshake"
        first = json.loads((await socket.receive(PATIENCE_SECONDS)).data)
        assert said(first)["events"] == [1]
        assert "topic" not in said(first)
        assert len(first["entry"]) == 1
        await world.post("ALPHA", consent(record, deny(beta)))
        await world.post("ALPHA", observation(record, category=lab))
        other = await sent(world, zebulon("A2", "alpha"))
        await world.post("ALPHA", observation(other, category=lab))
        second = json.loads((await socket.receive(PATIENCE_SECONDS)).data)
        assert said(second)["events"] == [2]
        # A colleague makes it theirs: from then on it tells what is decided for them.
        await world.token("ELSE", organization=plan(request), roles=("106292003",))
        await world.put("ELSE", f"Subscription/{name}", {**asked, "status": "requested"})
        closed = await socket.receive(PATIENCE_SECONDS)
        assert closed.data == 1008
    bound = await world.get("ELSE", f"Subscription/{name}/$get-ws-binding-token")
    found = {p["name"]: next(v for k, v in p.items() if k != "name") for p in bound["parameter"]}
    async with world.http.ws_connect(found["websocket-url"]) as socket:
        await socket.send_str(f"bind-with-token {found['token']}")
        assert (
            said(json.loads((await socket.receive(PATIENCE_SECONDS)).data))["type"] == "handshake"
        )
        caller = await world.hub.tokens.check(world.tokens["ELSE"])
        async with world.hub.db.transaction() as conn:
            await world.hub.tokens.revoke(conn, caller.token_id)
        closed = await socket.receive(PATIENCE_SECONDS)
        assert closed.data == 1008  # the binding's token was revoked
    assert await disclosures(world) == before + 2
    # One that is posted has nothing to bind; its owner is told so.
    posted = subscription("encounter-start", endpoint="http://127.0.0.1:9/")
    other = await world.post("BETA", posted)
    assert await world.status("BETA", f"Subscription/{other}/$get-ws-binding-token") == 422


async def disclosures(world: World) -> int:
    """Disclosures on record."""
    return len([line async for line in world.hub.audit.export() if b'"disclose"' in line])


def parameters(rows: list[tuple[str, dict[str, Any]]], name: str = "panel") -> dict[str, Any]:
    """The body of `$load-panel`."""
    told = [
        {
            "name": "row",
            "part": [{"name": "id", "valueString": row}, {"name": "patient", "resource": p}],
        }
        for row, p in rows
    ]
    body = [{"name": "name", "valueString": name}, *told]
    return {"resourceType": "Parameters", "parameter": body}


def outcomes(body: bytes) -> dict[str, Any]:
    """By row its outcome; `group` its id."""
    found: dict[str, Any] = {}
    for one in json.loads(body)["parameter"]:
        if one["name"] == "group":
            found["group"] = one["valueReference"]["reference"].partition("/")[2]
        elif one["name"] == "row":
            parts = {p["name"]: next(v for k, v in p.items() if k != "name") for p in one["part"]}
            found[parts["id"]] = parts["outcome"]
            found.setdefault("bodies", {})[parts["id"]] = {
                k: v for k, v in parts.items() if k != "id"
            }
    return found


async def test_a_panel_names_whose_events_are_told(
    world: World, beta: dict[str, Any], hook: Hook
) -> None:
    seen = await sent(world, patient("A1", "alpha", **LIVES))
    hidden = await sent(world, {**zebulon("A2", "alpha"), **LIVES})
    await world.post("ALPHA", consent(hidden, deny(beta)))
    rows = [
        ("1", patient("M-1", "beta", **LIVES)),
        ("2", {**zebulon("A2", "alpha"), **LIVES}),
        (
            "3",
            patient(
                "M-3",
                "beta",
                identifier=FOREIGN,
                name=[{"family": "Nobody"}],
                birthDate="1990-01-01",
            ),
        ),
        ("4", patient("M-4", "beta", **LIVES)),
        ("5", {"resourceType": "Patient", "identifier": [{"system": "urn:alpha", "value": "A1"}]}),
        ("6", {"resourceType": "Patient", "identifier": [{"system": "urn:alpha", "value": "A2"}]}),
        ("7", {"resourceType": "Patient", "name": [{"given": ["Al"]}]}),
        ("8", patient("M-8", "beta")),
    ]
    status, _, body = await world.ask("BETA", "POST", "Group/$load-panel", parameters(rows))
    assert status == 200, body
    told = outcomes(body)
    wanted = {"1": "matched", "2": "not-found", "3": "not-found", "4": "repeated"}
    wanted |= {"5": "repeated", "6": "not-found", "7": "too-little"}
    wanted |= {"8": "not-certain"}
    assert {row: told[row] for row in wanted} == wanted
    # Hidden and absent are answered alike, to the byte.
    assert told["bodies"]["2"] == told["bodies"]["3"] == told["bodies"]["6"]
    group = await world.get("BETA", f"Group/{told['group']}")
    person = await world.person_of("ALPHA", seen)
    assert [m["entity"]["reference"] for m in group["member"]] == [f"Patient/{person}"]
    assert await world.status("GAMMA", f"Group/{told['group']}") in (200, 404)

    asked = subscription(
        "encounter-start", f"Encounter?_in=Group/{told['group']}", endpoint=hook.url
    )
    name = await world.post("BETA", asked)
    await standing(world, "BETA", name, "active")
    other = await sent(world, patient("A9", "alpha", identifier=FOREIGN, name=NAME))
    await world.post("ALPHA", encounter(other))
    await world.post("ALPHA", encounter(seen))
    (event,) = await hook.heard(1)
    assert event["entry"][1]["resource"]["subject"]["reference"] == f"Patient/{person}"

    # A Group of its own, by FHIR, with a number alone: the person who carries it is meant.
    member = {"entity": {"identifier": {"system": "urn:alpha", "value": "A1"}}}
    by_fhir = {"resourceType": "Group", "type": "person", "actual": True, "member": [member]}
    mine = await world.post("BETA", by_fhir)
    change = subscription("encounter-end", f"_in=Group/{mine}", endpoint=hook.url)
    name = await world.post("BETA", change)
    await standing(world, "BETA", name, "active")
    await world.post("ALPHA", encounter(other, "finished"))
    await world.post("ALPHA", encounter(seen, "finished"))
    _, ended = await hook.heard(2)
    assert ended["entry"][1]["resource"]["subject"]["reference"] == f"Patient/{person}"

    # Another load takes the place of the first; taken back, the first is there again.
    path = f"Group/{told['group']}/$load-panel"
    status, _, body = await world.ask("BETA", "POST", path, parameters([("3", rows[2][1])]))
    assert status == 200, body
    assert "member" not in await world.get("BETA", f"Group/{told['group']}")
    status, _, _ = await world.ask("GAMMA", "POST", path, parameters([("1", rows[0][1])]))
    assert status == 404
    undo = f"Group/{told['group']}/$undo-load"
    status, _, body = await world.ask("BETA", "POST", undo, {"resourceType": "Parameters"})
    assert (status, json.loads(body)["parameter"][0]["valueUnsignedInt"]) == (200, 1)
    group = await world.get("BETA", f"Group/{told['group']}")
    assert [m["entity"]["reference"] for m in group["member"]] == [f"Patient/{person}"]
    status, _, _ = await world.ask("BETA", "POST", undo, {"resourceType": "Parameters"})
    assert status == 200
    assert await world.status("BETA", f"Group/{told['group']}") == 410


async def test_a_merge_is_told_to_those_who_see_a_record_that_moved(
    world: World, beta: dict[str, Any], hook: Hook
) -> None:
    name = await world.post("BETA", subscription("identity-change", endpoint=hook.url))
    await standing(world, "BETA", name, "active")
    kept, gone = [
        await sent(world, {**zebulon(number, "alpha"), "birthDate": born, "name": name_})
        for number, born, name_ in (
            ("A5", "1944-02-03", [{"family": "Keel", "given": ["Ida"]}]),
            ("A6", "1988-07-08", [{"family": "Moss", "given": ["Theo"]}]),
        )
    ]
    unseen = [
        await sent(world, {**zebulon(number, "alpha"), "birthDate": born, "name": NAME})
        for number, born in (("A3", "1961-05-06"), ("A4", "1930-10-11"))
    ]
    for record in unseen:
        await world.post("ALPHA", consent(record, deny(beta)))
    for one, other in (unseen, (kept, gone)):
        first, second = await world.person_of("ALPHA", one), await world.person_of("ALPHA", other)
        merge = Merge(kept=PersonId(first), gone=PersonId(second))
        await world.hub.stewards.decide(Steward(name="steward:test", reason="both charts"), merge)
    (event,) = await hook.heard(1)
    assert said(event)["events"] == [1]
    assert event["entry"][1]["resource"]["id"] == await world.person_of("ALPHA", kept)
    assert b"Secret" not in b"".join(hook.bodies)
