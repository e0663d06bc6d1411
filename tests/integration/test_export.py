"""Bulk exports over HTTP: what they hold, who gets them, what is on record of them.

Spec: FHIR Bulk Data Access 2.0; DESIGN §4, D6, D9, D11, D12, D13.
"""

import asyncio
import gzip
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import pytest
import pytest_asyncio

from hie.audit.repository import Recorded
from hie.exports.files import PART_RESOURCES
from hie.exports.model import Level
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId
from hie.store.query import Served
from tests.support.asked_hub import (
    GLUCOSE,
    HEMOGLOBIN,
    HIV_RNA,
    LOINC,
    Fhir,
    World,
    actor,
    consent,
    deny,
    observation,
    patient,
    permit,
    zebulon,
)
from tests.support.exported import ASYNC, NDJSON, begin, complete, export, fetch

pytestmark = pytest.mark.asyncio(loop_scope="module")
NUMBERS = itertools.count(1)
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"


@pytest_asyncio.fixture(loop_scope="module")
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path / "home") as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def on_postgres(tmp_path: Path, postgres_url: str) -> AsyncIterator[World]:
    async with World(tmp_path / "home", HIE_DATABASE_URL=postgres_url) as made:
        yield made


class Shared(World):
    """A hub for several tests, each with organisations and people of its own."""

    own = ""

    async def begin(self) -> Self:
        number = next(NUMBERS)
        self.own = f"ALPHA{number}"
        for name in ("ALPHA", "BETA"):
            await self.token(name, organization=f"{name}{number}")
        return self


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shared]:
    async with Shared(tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def shared(running: Shared) -> Shared:
    return await running.begin()


def somebody() -> Fhir:
    """Nobody like anybody before."""
    number = next(NUMBERS)
    return patient(
        f"P{number}",
        "alpha",
        identifier=[{"system": "urn:alpha", "value": f"P{number}"}],
        name=[{"family": f"Family{number}x", "given": [f"Given{number}x"]}],
        birthDate=f"19{number % 80 + 10}-{number % 12 + 1:02d}-{number % 28 + 1:02d}",
    )


def group(*records: str, **elements: Any) -> Fhir:
    members = [{"entity": {"reference": f"Patient/{record}"}} for record in records]
    return {
        "resourceType": "Group",
        "type": "person",
        "actual": True,
        "member": members,
        **elements,
    }


async def events(world: World, *persons: str) -> list[Recorded]:
    """Audit events of exports of these persons."""
    async with world.hub.db.reading() as conn:
        found = await world.hub.audit.access_log(conn, [PersonId(p) for p in persons], limit=1000)
    return [event for event in found if event.record.subtype == "disclose"]


async def test_every_level_gives_each_resource_once_and_what_it_refers_to(world: World) -> None:
    doctor = await world.post(
        "ALPHA", {"resourceType": "Practitioner", "name": [{"family": "Rowntree"}]}
    )
    unasked = await world.post(
        "ALPHA", {"resourceType": "Practitioner", "name": [{"family": "Elsewhere"}]}
    )
    first = await world.post("ALPHA", patient("A1", "alpha"))
    second = await world.post("ALPHA", zebulon("A2", "alpha"))
    people = [await world.person_of("ALPHA", record) for record in (first, second)]
    by = {"performer": [{"reference": f"Practitioner/{doctor}"}]}
    seen = [await world.post("ALPHA", observation(first, code, **by)) for code in (GLUCOSE, LOINC)]
    far = await world.post("ALPHA", observation(second))
    panel = await world.post("ALPHA", group(first))
    of_first = {f"Patient/{people[0]}", *(f"Observation/{o}" for o in seen)}
    of_first |= {f"Practitioner/{doctor}"}
    of_second = {f"Patient/{people[1]}", f"Observation/{far}", f"Group/{panel}"}

    found = await export(world, "ALPHA", f"Group/{panel}/$export")
    assert found.manifest["request"] == f"{world.base}Group/{panel}/$export"
    assert found.manifest["requiresAccessToken"] is True
    assert found.manifest["error"] == found.manifest["deleted"] == []
    assert set(found.named) == of_first | {f"Group/{panel}"}
    for path in ("Patient/$export", "$export"):
        found = await export(world, "ALPHA", path)
        assert set(found.named.values()) == {1}
        expected = of_first | of_second
        if path == "$export":
            expected.add(f"Practitioner/{unasked}")
            expected |= {name for name in found.named if name.startswith("Organization/")}
        assert set(found.named) == expected, path
    golden = next(r for r in map(json.loads, found.lines["Patient"]) if r["id"] == people[0])
    assert golden == {**(await world.get("ALPHA", f"Patient/{people[0]}"))}
    [line] = (li for li in found.lines["Observation"] if json.loads(li)["id"] == far)
    assert line == (await world.ask("ALPHA", "GET", f"Observation/{far}"))[2]


async def test_what_is_hidden_changes_nothing_of_an_export(on_postgres: World) -> None:
    world = on_postgres
    alpha = await world.post("ALPHA", patient("A1", "alpha"))
    person = await world.person_of("ALPHA", alpha)
    for code in (GLUCOSE, HEMOGLOBIN):
        await world.post("ALPHA", observation(alpha, code))
    silence = deny(actor("GAMMA"), actor("BETA", "SOURCE"))
    await world.post("ALPHA", consent(alpha, permit("GAMMA", provision=[silence])))
    mine = await world.post("GAMMA", patient("G1", "gamma"))
    assert await world.person_of("GAMMA", mine) == person, "the attack needs one human"
    panel = await world.post("GAMMA", group(mine))
    paths = (f"Group/{panel}/$export", "$export?_since=2020-01-01")
    before = [(await export(world, "GAMMA", path)).shape for path in paths]
    assert len(before[0][3]["Observation"]) == 2

    beta = await world.post("BETA", patient("B1", "beta", telecom=[{"value": "4135550100"}]))
    assert await world.person_of("BETA", beta) == person
    stranger = await world.post("BETA", zebulon("B2", "beta"))
    for record in (beta, stranger):
        await world.post("BETA", observation(record))
    await world.post("ALPHA", observation(alpha, HIV_RNA))
    gone = await world.post("BETA", observation(beta))
    assert (await world.ask("BETA", "DELETE", f"Observation/{gone}"))[0] == 204
    for path, told in zip(paths, before, strict=True):
        assert (await export(world, "GAMMA", path)).shape == told, path
    hidden = [await world.person_of("BETA", stranger), "n0such"]
    answers = []
    for name in hidden:
        asked = {"name": "patient", "valueReference": {"reference": f"Patient/{name}"}}
        body = {"resourceType": "Parameters", "parameter": [asked]}
        answers.append(await world.ask("GAMMA", "POST", "Patient/$export", body, **ASYNC))
    assert answers[0] == answers[1]
    assert answers[0][0] == 400


async def test_a_consent_that_was_revoked_meanwhile_holds_from_the_next_request(
    world: World,
) -> None:
    alpha = await world.post("ALPHA", patient("A1", "alpha"))
    person = await world.person_of("ALPHA", alpha)
    kept = await world.post("GAMMA", zebulon("G2", "gamma"))
    await world.post("GAMMA", observation(kept))
    for _ in range(3):
        await world.post("ALPHA", observation(alpha))
    wish = await world.post("ALPHA", consent(alpha, permit("GAMMA")))
    first = await export(world, "GAMMA", "Patient/$export")
    assert len(first.lines["Observation"]) == 4
    second = await begin(world, "GAMMA", "Patient/$export")
    manifest = await complete(world, "GAMMA", second)
    assert {o["type"]: o["count"] for o in manifest["output"]}["Observation"] == 4

    await world.put("ALPHA", f"Consent/{wish}", consent(alpha, deny(actor("GAMMA"))))
    for address, had in ((first.address, first.manifest), (second, manifest)):
        now = await complete(world, "GAMMA", address)
        assert {o["type"]: o["count"] for o in now["output"]} == {"Observation": 1, "Patient": 1}
        for entry in had["output"]:
            lines = await fetch(world, "GAMMA", entry["url"])
            assert not any(person.encode() in line or alpha.encode() in line for line in lines)
            assert len(lines) == (entry["type"] in ("Observation", "Patient"))
    told = [event.record for event in await events(world, person)]
    assert len(told) == 1, "nothing of the second export left, so nothing of it is on record"

    of_observations = {"class": [{"system": RESOURCE_TYPES, "code": "Observation"}]}
    partly = permit("GAMMA", provision=[deny(actor("GAMMA"), **of_observations)])
    files = {entry["type"]: entry["url"] for entry in manifest["output"]}
    await world.put("ALPHA", f"Consent/{wish}", consent(alpha, partly))
    assert len(await fetch(world, "GAMMA", files["Patient"])) == 2
    [latest, _] = await events(world, person)
    assert {line[1] for line in latest.record.detail["shown"]} == {"Consent", "Patient"}
    await world.put("ALPHA", f"Consent/{wish}", consent(alpha, permit("GAMMA")))
    assert len(await fetch(world, "GAMMA", files["Observation"])) == 1, "the event named none"
    assert len(await events(world, person)) == 2


async def test_a_revocation_holds_in_the_middle_of_a_file(world: World) -> None:
    record = await world.post("ALPHA", patient("A1", "alpha"))
    wish = await world.post("ALPHA", consent(record, permit("GAMMA")))
    entries = [
        {"resource": observation(record), "request": {"method": "POST", "url": "Observation"}}
        for _ in range(PART_RESOURCES + 1)
    ]
    status, _, _ = await world.ask(
        "ALPHA", "POST", "", {"resourceType": "Bundle", "type": "batch", "entry": entries}
    )
    assert status == 200
    address = await begin(world, "GAMMA", "Patient/$export?_type=Observation")
    manifest = await complete(world, "GAMMA", address)
    assert manifest["output"][0]["count"] == PART_RESOURCES + 1
    desk, job = world.hub.exporting.desk, address.rpartition("/")[2]
    caller = await world.hub.tokens.check(world.tokens["GAMMA"])
    now_us = world.hub.clock.now_us()
    ctx = RequestContext(caller=caller, request_id="r", now_us=now_us)

    left: list[list[Served]] = [[], []]
    files = [(await desk.open(ctx, job, "Observation-1")).portions for _ in left]
    for file, portion in zip(files, left, strict=True):
        portion.extend((await anext(file)).served)
    assert [len(portion) for portion in left] == [PART_RESOURCES] * 2
    await world.put("ALPHA", f"Consent/{wish}", consent(record, deny(actor("GAMMA"))))
    assert (await anext(files[0])).served == ()
    async with world.hub.db.transaction() as conn:
        await world.hub.tokens.revoke(conn, caller.token_id)
    with pytest.raises(HieError) as refused:
        await anext(files[1])
    assert refused.value.category is Category.UNAUTHENTICATED


async def test_a_revoked_token_ends_its_export_and_every_other_has_none_of_it(
    shared: Shared,
) -> None:
    world = shared
    record = await world.post("ALPHA", somebody())
    await world.post("ALPHA", observation(record))
    address = await begin(world, "ALPHA", "Patient/$export")
    manifest = await complete(world, "ALPHA", address)
    file = manifest["output"][0]["url"]
    absent = f"{world.base}$export/{'0' * 32}"
    await world.token("FOR_PAY", organization=world.own, purpose="HPAYMT")
    await world.token("NURSE", organization=world.own, roles=("106292003",))
    await world.token(
        "PATIENT", patient=await world.person_of("ALPHA", record), scope="patient/*.rs"
    )
    for who in ("BETA", "FOR_PAY", "NURSE", "PATIENT"):
        for method, place in (("GET", ""), ("DELETE", ""), ("GET", "/Patient-1.ndjson")):
            found = await world.ask(who, method, address + place)
            assert found == await world.ask(who, method, absent + place)
            assert found[0] == 404
    await world.token("NARROW", organization=world.own, scope="system/Patient.rs")
    assert await world.status("NARROW", address) == 403
    assert await world.status("NARROW", file) == 403
    assert await world.status("nobody", file) == 401
    await world.token("AGAIN", organization=world.own)
    assert await world.status("AGAIN", file) == 200
    caller = await world.hub.tokens.check(world.tokens["ALPHA"])
    async with world.hub.db.transaction() as conn:
        assert await world.hub.tokens.revoke(conn, caller.token_id)
    assert await world.status("ALPHA", file) == 401
    assert await world.status("AGAIN", file) == 404, "the job went with its token"
    assert await world.status("AGAIN", address) == 404


async def test_one_event_for_each_patient_and_job_is_there_before_a_byte_left(
    shared: Shared,
) -> None:
    world = shared
    made = (somebody(), somebody())
    records = [await world.post("ALPHA", one) for one in made]
    people = [await world.person_of("ALPHA", record) for record in records]
    for record in records:
        for _ in range(2):
            await world.post("ALPHA", observation(record))
    address = await begin(world, "ALPHA", "Patient/$export")
    manifest = await complete(world, "ALPHA", address)
    assert not await events(world, *people), "what is listed has not left"
    urls = [entry["url"] for entry in manifest["output"]]
    await asyncio.gather(*(fetch(world, "ALPHA", url) for url in (*urls, *urls)))
    caller = await world.hub.tokens.check(world.tokens["ALPHA"])
    for person, record in zip(people, records, strict=True):
        [event] = await events(world, person)
        assert event.record.organization == caller.organization
        shown = {(line[0], line[1]): line[2] for line in event.record.detail["shown"]}
        assert shown == {(record, "Observation"): 2, (record, "Patient"): 1}
        assert address.rpartition("/")[2] in event.record.detail["query"]


async def test_what_an_export_tells_of_two_patients_is_on_record_for_both(shared: Shared) -> None:
    world = shared
    records = [await world.post("ALPHA", somebody()) for _ in range(2)]
    people = [await world.person_of("ALPHA", record) for record in records]
    actors = [{"actor": {"reference": f"Patient/{r}"}, "status": "accepted"} for r in records]
    visit: Fhir = {"resourceType": "Appointment", "status": "booked", "participant": actors}
    both = await world.post("ALPHA", visit)
    found = await export(world, "ALPHA", "$export?_type=Appointment")
    assert found.named[f"Appointment/{both}"] == 1
    for person, record in zip(people, records, strict=True):
        shown = [line for e in await events(world, person) for line in e.record.detail["shown"]]
        assert [record, "Appointment", 1, [both]] in shown


async def test_since_until_filters_and_elements_narrow_an_export(shared: Shared) -> None:
    world, person_as_sent = shared, somebody()
    record = await world.post("ALPHA", person_as_sent)
    person = await world.person_of("ALPHA", record)
    old = await world.post("ALPHA", observation(record, GLUCOSE))
    gone = await world.post("ALPHA", observation(record, GLUCOSE))
    never = await world.post("ALPHA", observation(record, HEMOGLOBIN))
    first = await export(world, "ALPHA", "Patient/$export?_type=Observation,Patient")
    assert set(first.lines) == {"Observation", "Patient"}
    since = quote(first.manifest["transactionTime"])
    assert (await world.ask("ALPHA", "DELETE", f"Observation/{gone}"))[0] == 204
    new = await world.post("ALPHA", observation(record, HEMOGLOBIN))
    short = await world.post("ALPHA", observation(record))
    assert (await world.ask("ALPHA", "DELETE", f"Observation/{short}"))[0] == 204

    later = await export(world, "ALPHA", f"Patient/$export?_since={since}")
    assert set(later.named) == {f"Observation/{new}", "Bundle/"}
    [bundle] = (json.loads(line) for line in later.lines["Bundle"])
    assert bundle["type"] == "transaction"
    assert bundle["entry"] == [{"request": {"method": "DELETE", "url": f"Observation/{gone}"}}]
    before = await export(world, "ALPHA", f"Patient/$export?_until={since}&_type=Observation")
    assert set(before.named) == {f"Observation/{old}", f"Observation/{never}"}

    name = person_as_sent["name"][0]["family"]
    only = quote(f"Observation?code={HEMOGLOBIN}&date=ge2025,Patient?name={name}")
    narrow = await export(world, "ALPHA", f"Patient/$export?_typeFilter={only}")
    assert set(narrow.named) == {f"Patient/{person}", f"Observation/{new}", f"Observation/{never}"}
    nobody = await export(world, "ALPHA", f"Patient/$export?_typeFilter={quote('Patient?name=x')}")
    assert "Patient" not in nobody.lines
    cut = await export(world, "ALPHA", "Patient/$export?_type=Patient&_elements=birthDate")
    [told] = map(json.loads, cut.lines["Patient"])
    assert set(told) == {"resourceType", "id", "meta", "birthDate"}
    assert told["meta"]["tag"][0]["code"] == "SUBSETTED"


async def test_a_kick_off_is_refused_with_a_reason(shared: Shared) -> None:
    world = shared
    record = await world.post("ALPHA", somebody())
    await world.token("NARROW", organization=world.own, scope="system/Patient.rs user/*.rs")
    await world.token("USER", organization=world.own, scope="user/*.rs")
    lenient: dict[str, Any] = {"Prefer": "respond-async, handling=lenient"}
    cases: list[tuple[str, str, dict[str, Any], int, str]] = [
        ("ALPHA", "$export", {}, 400, "Prefer"),
        ("ALPHA", "$export?_outputFormat=csv", ASYNC, 400, "_outputFormat"),
        ("ALPHA", "$export?_type=Nothing", ASYNC, 400, "_type"),
        ("ALPHA", "$export?_since=yesterday", ASYNC, 400, "_since"),
        ("ALPHA", "$export?includeAssociatedData=x", ASYNC, 400, "includeAssociatedData"),
        ("ALPHA", "$export?patient=1", ASYNC, 400, "patient"),
        ("ALPHA", "$export?_typeFilter=Observation%3Fnope=1", ASYNC, 400, "_typeFilter"),
        ("ALPHA", "$export?_typeFilter=Observation%3F_sort=date", ASYNC, 400, "_typeFilter"),
        ("ALPHA", "$export?_type=Patient&_typeFilter=Condition%3Fcode=1", ASYNC, 400, "_typeFil"),
        ("ALPHA", "Group/n0such/$export", ASYNC, 404, ""),
        ("NARROW", "$export?_type=Patient,Observation", ASYNC, 403, "system/Observation.rs"),
        ("NARROW", f"Group/{record}/$export", ASYNC, 404, ""),
        ("USER", "$export", ASYNC, 403, "system/"),
        ("nobody", "$export", ASYNC, 401, ""),
    ]
    for who, path, headers, status, text in cases:
        got, _, body = await world.ask(who, "GET", path, **headers)
        outcome = json.loads(body)
        assert (got, outcome["resourceType"]) == (status, "OperationOutcome"), (path, body)
        assert text in outcome["issue"][0]["details"]["text"], path
    path = "$export?_type=Patient,Observation&includeAssociatedData=x"
    await world.hub.exporting.stop()  # or it could be complete before it is asked for again
    address = await begin(world, "NARROW", path, **lenient)
    status, headers, body = await world.ask("NARROW", "GET", "$export", **ASYNC)
    assert status == 429, body
    assert int(headers["Retry-After"]) > 0
    assert json.loads(body)["issue"][0]["code"] == "throttled"
    assert (await world.ask("NARROW", "DELETE", address))[0] == 202
    assert await world.status("NARROW", address) == 404
    world.hub.exporting.start()
    found = await export(world, "NARROW", "$export")
    assert set(found.lines) == {"Patient"}


async def test_a_group_counts_who_is_in_it_now_and_a_patient_may_be_named(shared: Shared) -> None:
    world = shared
    record = await world.post("ALPHA", somebody())
    other = await world.post("ALPHA", somebody())
    third = await world.post("ALPHA", somebody())
    people = {r: await world.person_of("ALPHA", r) for r in (record, other, third)}
    members = [
        {"entity": {"reference": f"Patient/{record}"}},
        {"entity": {"reference": f"Patient/{other}"}, "inactive": True},
        {"entity": {"reference": f"Patient/{third}"}, "period": {"end": "2020-01-01"}},
    ]
    panel = await world.post("ALPHA", group(member=members))
    found = await export(world, "ALPHA", f"Group/{panel}/$export?_type=Patient")
    assert set(found.named) == {f"Patient/{people[record]}"}
    asked = [{"name": "patient", "valueReference": {"reference": f"Patient/{people[other]}"}}]
    body: Fhir = {"resourceType": "Parameters", "parameter": asked}
    one = await export(world, "ALPHA", "Patient/$export", body)
    assert set(one.named) == {f"Patient/{people[other]}", f"Group/{panel}"}
    status, _, _ = await world.ask("ALPHA", "POST", f"Group/{panel}/$export", body, **ASYNC)
    assert status == 400, "no member"
    assert (await world.ask("ALPHA", "DELETE", f"Group/{panel}"))[0] == 204
    assert await world.status("ALPHA", found.address) == 404, "the Group is not there any more"


async def test_a_file_is_compressed_on_wish_and_its_head_discloses_nothing(shared: Shared) -> None:
    world = shared
    record = await world.post("ALPHA", somebody())
    person = await world.person_of("ALPHA", record)
    manifest = await complete(
        world,
        "ALPHA",
        await begin(world, "ALPHA", "Patient/$export?_type=Patient", Accept=NDJSON),
    )
    url = manifest["output"][0]["url"]
    headers = {"Authorization": f"Bearer {world.tokens['ALPHA']}"}
    for accept in (NDJSON, "application/ndjson", "ndjson", "*/*", "application/json"):
        async with world.http.head(url, headers={**headers, "Accept": accept}) as head:
            assert head.status == 200, accept
            assert head.headers["Content-Type"] == NDJSON
    assert not await events(world, person)
    async with world.http.get(
        url, headers={**headers, "Accept-Encoding": "gzip"}, auto_decompress=False
    ) as got:
        assert got.headers["Content-Encoding"] == "gzip"
        assert got.headers["Cache-Control"] == "no-store"
        assert json.loads(gzip.decompress(await got.read()))["id"] == person
    assert await world.status("ALPHA", url.replace(".ndjson", "")) == 404
    assert await world.status("ALPHA", url.replace("Patient-1", "Patient-2")) == 404
    statement = await world.get("ALPHA", "metadata")
    offered = {
        (r.get("type", ""), o["definition"].rpartition("/")[2])
        for r in (statement["rest"][0], *statement["rest"][0]["resource"])
        for o in r.get("operation", ())
        if o["name"] == "export"
    }
    levels = {Level.SYSTEM: "export", Level.PATIENT: "patient-export", Level.GROUP: "group-export"}
    assert {name for _, name in offered} == set(levels.values())
    assert "bulk-data" in statement["instantiates"][0]


async def test_an_expired_export_and_its_list_are_deleted(shared: Shared) -> None:
    world = shared
    await world.post("ALPHA", somebody())
    done = await export(world, "ALPHA", "Patient/$export")
    book = world.hub.exporting.book
    await book.forget(world.hub.clock.now_us())
    assert await world.status("ALPHA", done.address) == 200, "it was not deleted early"
    assert (await world.ask("ALPHA", "DELETE", done.address))[0] == 202
    await world.hub.exporting.tidy()
    job = done.address.rpartition("/")[2]
    assert job not in {one.job_id for one in await book.listed(100)}
    assert await world.status("ALPHA", done.address) == 404
