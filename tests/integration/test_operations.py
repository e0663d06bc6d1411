"""Operations on whole records over a running hub: what they tell, page by page, and to whom.

Spec: https://hl7.org/fhir/R4/operations.html, DESIGN D6, D9, D13.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_server.validate import validate
from hie.feeds import repository as watched
from hie.kernel.clock import SECOND_US
from hie.kernel.ids import SourceId
from tests.support.asked_hub import (
    GLUCOSE,
    HEMOGLOBIN,
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

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with World(tmp_path_factory.mktemp("operations")) as made:
        yield made


class Chart:
    """A patient of ALPHA's with a visit, results, a document and its content."""

    _number = 0

    def __init__(self, world: World) -> None:
        Chart._number += 1
        self.world = world
        self.tag = f"N{Chart._number}"

    async def made(self) -> "Chart":
        world = self.world
        letters = "".join(chr(ord("a") + int(digit)) for digit in self.tag[1:].zfill(3))
        names = [{"family": f"Chartly{letters}", "given": [f"Given{letters}"]}]
        number = [{"system": "urn:alpha", "value": f"OP-{self.tag}"}]
        birth = f"19{40 + Chart._number:02d}-01-{Chart._number:02d}"
        self.record = await world.post(
            "ALPHA", patient("x", "alpha", name=names, identifier=number, birthDate=birth)
        )
        self.person = await world.person_of("ALPHA", self.record)
        self.doctor = await world.post(
            "ALPHA",
            {
                "resourceType": "Practitioner",
                "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": self.tag}],
            },
        )
        self.visit = await world.post(
            "ALPHA",
            {
                "resourceType": "Encounter",
                "status": "finished",
                "class": {"code": "IMP"},
                "subject": {"reference": f"Patient/{self.record}"},
                "period": {"start": "2025-03-01", "end": "2025-03-05"},
            },
        )
        self.early = await self.result("2024-01-01", GLUCOSE)
        self.late = await self.result(
            "2025-03-04T10:00:00Z",
            GLUCOSE,
            encounter={"reference": f"Encounter/{self.visit}"},
            performer=[{"reference": f"Practitioner/{self.doctor}"}],
        )
        return self

    async def result(self, when: str, code: str, **elements: Any) -> str:
        made = observation(self.record, code, effectiveDateTime=when)
        return await self.world.post("ALPHA", {**made, **elements})

    async def coded(self, when: str, concept: Fhir) -> str:
        made = observation(self.record, effectiveDateTime=when)
        return await self.world.post("ALPHA", {**made, "code": concept})

    async def agree(self, provision: Fhir) -> str:
        return await self.world.post("ALPHA", consent(self.record, provision))


@pytest_asyncio.fixture(loop_scope="module")
async def chart(home: World) -> Chart:
    return await Chart(home).made()


def told(bundle: Fhir) -> list[str]:
    """Type and id of what a Bundle holds, in order."""
    return [
        f"{e['resource']['resourceType']}/{e['resource'].get('id', '')}"
        for e in bundle.get("entry", ())
    ]


async def pages(world: World, who: str, path: str) -> list[list[str]]:
    found = []
    at: str | None = path
    while at:
        bundle = await world.get(who, at)
        found.append(told(bundle))
        at = next((x["url"] for x in bundle["link"] if x["relation"] == "next"), None)
    return found


async def test_everything_narrows_by_type_time_of_care_and_change(chart: Chart) -> None:
    world, path = chart.world, f"Patient/{chart.person}/$everything"
    whole = told(await world.get("ALPHA", path))
    mine = [f"Encounter/{chart.visit}", f"Observation/{chart.early}", f"Observation/{chart.late}"]
    assert whole == [f"Patient/{chart.person}", *mine, f"Practitioner/{chart.doctor}"]
    for query, expected in (
        ("_type=Observation", mine[1:]),
        ("_type=Observation,Practitioner", [*mine[1:], whole[-1]]),
        ("_type=Practitioner&_type=Patient", [whole[0], whole[-1]]),
        ("start=2025-01-01", [whole[0], mine[0], mine[2], whole[-1]]),
        ("end=2024-12-31", [whole[0], mine[1]]),
        ("start=2025-03-05&end=2025-03", [whole[0], mine[0]]),
        ("start=2024-01-01&end=2024-01-01", [whole[0], mine[1]]),
        ("_since=2090-01-01", []),
    ):
        bundle = await world.get("ALPHA", f"{path}?{query}")
        assert told(bundle) == expected, query
        assert validate(bundle) == ()
    moved = {**observation(chart.record), "effectiveDateTime": "2023-01-01"}
    before = (await world.get("ALPHA", mine[1]))["meta"]["lastUpdated"]
    await world.put("ALPHA", mine[2], moved)
    since = await world.get("ALPHA", f"{path}?_since={before}&_type=Observation")
    assert set(told(since)) == {mine[1], mine[2]} or told(since) == [mine[2]]
    asked = {"resourceType": "Parameters", "parameter": [{"name": "_type", "valueCode": "Patient"}]}
    _, _, body = await world.ask("ALPHA", "POST", path, asked)
    assert told(json.loads(body)) == whole[:1]


async def test_each_resource_comes_once_over_all_pages_while_writes_arrive(chart: Chart) -> None:
    world = chart.world
    there = [await chart.result(f"2025-04-{n + 1:02d}", GLUCOSE) for n in range(8)]
    path: str | None = f"Patient/{chart.person}/$everything?_count=3"
    found: list[str] = []
    while path:
        bundle = await world.get("ALPHA", path)
        assert len(told(bundle)) <= 3
        found += told(bundle)
        path = next((x["url"] for x in bundle["link"] if x["relation"] == "next"), None)
        await chart.result("2025-05-01", HEMOGLOBIN)
        await world.put("ALPHA", f"Observation/{there[0]}", observation(chart.record, HEMOGLOBIN))
        if len(found) > 60:
            break
    old = {f"Observation/{one}" for one in there} | {f"Practitioner/{chart.doctor}"}
    assert old <= set(found)
    assert len(found) == len(set(found))


async def test_the_record_of_a_merged_patient_is_that_of_who_it_was_merged_into(
    home: World,
) -> None:
    def adt(control: str, event: str, number: str, name: str, *more: str) -> bytes:
        head = f"MSH|^~\\&|REG|ALPHA|HIE|STATE|20260101120000||ADT^{event}|{control}|P|2.5.1"
        pid = f"PID|1||{number}^^^ALPHA^MR||{name}||19320412|F"
        return "\r".join((head, "EVN|A01|20260101120000", pid, *more, "")).encode()

    await home.send(
        adt("OP1", "A28^ADT_A05", "OPM1", "Mergeable^Aurelia"),
        adt("OP2", "A28^ADT_A05", "OPM2", "Mergabel^Aurelie"),
    )
    ids = []
    for name in ("Mergeable", "Mergabel"):
        entries = (await home.get("ALPHA", f"Patient?family:exact={name}"))["entry"]
        ids.append(entries[0]["resource"]["id"])
    gone, kept = ids
    test = await home.post("ALPHA", observation(gone))
    await home.send(adt("OP3", "A40^ADT_A39", "OPM2", "Mergabel^Aurelie", "MRG|OPM1^^^ALPHA^MR"))
    only = "_type=Patient,Observation"
    found = told(await home.get("ALPHA", f"Patient/{gone}/$everything?{only}"))
    assert found == [f"Patient/{kept}", f"Patient/{gone}", f"Observation/{test}"]
    now = told(await home.get("ALPHA", f"Patient/{kept}/$everything?{only}"))
    assert now == [found[0], found[2]]
    summary = await home.get("ALPHA", f"Patient/{gone}/$summary")
    assert f"Patient/{kept}" in told(summary)
    assert f"Patient/{gone}" not in told(summary)


async def test_everything_of_a_visit_is_what_refers_to_it_and_what_that_needs(
    chart: Chart,
) -> None:
    world, path = chart.world, f"Encounter/{chart.visit}/$everything"
    whole = [
        f"Patient/{chart.person}",
        f"Encounter/{chart.visit}",
        f"Observation/{chart.late}",
        f"Practitioner/{chart.doctor}",
    ]
    assert told(await world.get("ALPHA", path)) == whole
    assert told(await world.get("ALPHA", f"{path}?_type=Observation")) == whole[2:3]
    assert await pages(world, "ALPHA", f"{path}?_count=1") in (
        [[one] for one in whole],
        [*([one] for one in whole), []],
    )
    assert await world.status("ALPHA", f"{path}?start=2025-01-01") == 400
    absent = await world.ask("GAMMA", "GET", "Encounter/none/$everything")
    assert await world.ask("GAMMA", "GET", path) == absent


async def test_lastn_takes_the_newest_of_each_kind(chart: Chart) -> None:
    world = chart.world
    local = {"system": "urn:local", "code": "SUGAR"}
    both = {"coding": [{"system": LOINC, "code": GLUCOSE}, local]}
    bridged = await chart.coded("2025-03-06", both)
    only_local = await chart.coded("2025-03-05", {"coding": [local]})
    other = await chart.result("2024-06-01", HEMOGLOBIN)
    worded = await chart.coded("2023-06-01", {"text": "Mood  today"})
    again = await chart.coded("2023-07-01", {"text": "mood today"})
    path = f"Observation/$lastn?patient={chart.person}&category:missing=true"
    bundle = await world.get("ALPHA", path)
    assert told(bundle) == [f"Observation/{one}" for one in (bridged, other, again)]
    assert bundle["total"] == 3
    assert validate(bundle) == ()
    most = told(await world.get("ALPHA", f"{path}&max=3"))
    assert most == [
        f"Observation/{one}" for one in (bridged, only_local, chart.late, other, again, worded)
    ]
    narrow = f"Observation/$lastn?subject=Patient/{chart.person}&code={LOINC}|{HEMOGLOBIN}&max=9"
    assert told(await world.get("ALPHA", narrow)) == [f"Observation/{other}"]
    chained = f"Observation/$lastn?patient={chart.person}&code={GLUCOSE}&encounter.status=finished"
    assert told(await world.get("ALPHA", chained)) == [f"Observation/{chart.late}"]


async def test_docref_gives_the_newest_document_of_each_kind_or_those_of_a_time(
    chart: Chart,
) -> None:
    world = chart.world

    async def document(kind: str, when: str, **elements: Any) -> str:
        made = await world.post(
            "ALPHA",
            {
                "resourceType": "DocumentReference",
                "status": "current",
                "type": {"coding": [{"system": LOINC, "code": kind}]},
                "subject": {"reference": f"Patient/{chart.record}"},
                "date": when,
                "content": [{"attachment": {"url": "https://example.org/x"}}],
                **elements,
            },
        )
        return f"DocumentReference/{made}"

    old = await document("34133-9", "2024-01-01T00:00:00Z")
    new = await document("34133-9", "2025-01-01T00:00:00Z")
    note = await document("11506-3", "2023-01-01T00:00:00Z")
    await document("18842-5", "2023-01-01T00:00:00Z", status="superseded")
    path = f"DocumentReference/$docref?patient={chart.person}"
    bundle = await world.get("ALPHA", path)
    assert told(bundle) == [new, note]
    assert validate(bundle) == ()
    assert told(await world.get("ALPHA", f"{path}&start=2023-06-01&end=2024-06-01")) == [old]
    of_kind = told(await world.get("ALPHA", f"{path}&end=2026&type={LOINC}|34133-9"))
    assert of_kind == [old, new]
    on_demand = await world.get("ALPHA", f"{path}&on-demand=true")
    assert [e["search"]["mode"] for e in on_demand["entry"]] == ["outcome"]
    unknown = await world.get("ALPHA", "DocumentReference/$docref?patient=" + "z" * 26)
    assert "entry" not in unknown
    assert await world.status("ALPHA", "DocumentReference/$docref") == 400


async def test_a_summary_is_a_document_that_says_what_the_caller_may_see(chart: Chart) -> None:
    world = chart.world
    about = {"subject": {"reference": f"Patient/{chart.record}"}}
    evil = '<script>alert("1")</script> & more'
    problem = await world.post(
        "ALPHA",
        {
            "resourceType": "Condition",
            "code": {"text": evil},
            "clinicalStatus": {"coding": [{"code": "active"}]},
            **about,
        },
    )
    resolved = await world.post(
        "ALPHA",
        {
            "resourceType": "Condition",
            "code": {"text": "Measles"},
            "clinicalStatus": {"coding": [{"code": "resolved"}]},
            **about,
        },
    )
    drug = await world.post(
        "ALPHA", {"resourceType": "Medication", "code": {"text": "Metformin 500 mg"}}
    )
    order = await world.post(
        "ALPHA",
        {
            "resourceType": "MedicationRequest",
            "status": "active",
            "intent": "order",
            "medicationReference": {"reference": f"Medication/{drug}"},
            **about,
        },
    )
    value = {"value": 72.50, "unit": "mg/dL"}
    await chart.result("2025-06-01", GLUCOSE, valueQuantity=value)
    bundle = await world.get("ALPHA", f"Patient/{chart.person}/$summary")
    assert validate(bundle) == ()
    assert (bundle["type"], bundle["entry"][0]["resource"]["resourceType"]) == (
        "document",
        "Composition",
    )
    sections = {s["title"]: s for s in bundle["entry"][0]["resource"]["section"]}
    assert {"Problems", "Allergies and intolerances", "Medications", "Immunizations"} <= set(
        sections
    )
    links = {e["fullUrl"] for e in bundle["entry"]}
    for section in sections.values():
        assert ("entry" in section) != ("emptyReason" in section)
        assert all(entry["reference"] in links for entry in section.get("entry", ()))
    assert (
        sections["Allergies and intolerances"]["emptyReason"]["coding"][0]["code"] == "unavailable"
    )
    text = sections["Problems"]["text"]["div"]
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert "Metformin 500 mg" in sections["Medications"]["text"]["div"]
    assert "72.5 mg/dL" in sections["Results"]["text"]["div"]
    assert f"Condition/{problem}" in told(bundle)
    assert [e["reference"].split("/")[-1] for e in sections["Past illness"]["entry"]] == [resolved]
    assert {f"Medication/{drug}", f"MedicationRequest/{order}"} <= set(told(bundle))
    again = await world.get("ALPHA", f"Patient/{chart.person}/$summary")
    assert {**again, "timestamp": ""} == {**bundle, "timestamp": ""}, (
        "the same content, the same ids"
    )
    assert await world.status("ALPHA", f"Patient/{chart.person}/$summary?profile=urn:other") == 400


async def test_meta_tells_the_marks_of_what_the_caller_may_see(chart: Chart) -> None:
    world = chart.world
    tag = {"system": "urn:tags", "code": chart.tag}
    marked = await chart.result("2025-01-01", GLUCOSE, meta={"tag": [tag], "profile": ["urn:p"]})
    instance = (await world.get("ALPHA", f"Observation/{marked}/$meta"))["parameter"][0]
    assert instance["valueMeta"]["tag"] == [tag]
    whole = (await world.get("ALPHA", "Observation/$meta"))["parameter"][0]["valueMeta"]
    assert tag in whole["tag"]
    assert "urn:p" in whole["profile"]
    assert (await world.get("GAMMA", "Observation/$meta")).get("parameter") is None
    assert await world.status("GAMMA", f"Observation/{marked}/$meta") == 404


async def test_content_is_seen_with_its_document_and_never_alone(chart: Chart) -> None:
    world = chart.world
    token = world.tokens["ALPHA"]
    async with world.http.post(
        f"{world.base}Binary",
        data=b"%PDF raw",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/pdf"},
    ) as made:
        assert made.status == 201
        content = (await made.json(content_type=None))["id"]
    await chart.agree(permit("GAMMA"))
    path = f"Binary/{content}"
    assert [await world.status(who, path) for who in ("ALPHA", "GAMMA", "BETA")] == [200, 404, 404]
    document = await world.post(
        "ALPHA",
        {
            "resourceType": "DocumentReference",
            "status": "current",
            "type": {"coding": [{"system": LOINC, "code": "34133-9"}]},
            "subject": {"reference": f"Patient/{chart.record}"},
            "content": [{"attachment": {"contentType": "application/pdf", "url": path}}],
        },
    )
    status, headers, body = await world.ask("GAMMA", "GET", path, Accept="application/pdf")
    assert (status, body, headers["Content-Type"]) == (200, b"%PDF raw", "application/pdf")
    assert (await world.ask("GAMMA", "GET", path, Accept="image/png"))[0] == 406
    assert f"Binary/{content}" in told(
        await world.get("GAMMA", f"Patient/{chart.person}/$everything")
    )
    # Somebody else's document about it neither opens nor closes it.
    stranger = await world.post("BETA", zebulon(f"C{chart.tag}", "beta"))
    claim = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": f"Patient/{stranger}"},
        "content": [{"attachment": {"url": path}}],
    }
    await world.ask("BETA", "POST", "DocumentReference", claim)
    assert [await world.status(who, path) for who in ("ALPHA", "GAMMA", "BETA")] == [200, 200, 404]
    data = [{"meaning": "instance", "reference": {"reference": f"DocumentReference/{document}"}}]
    await chart.agree(deny(actor("GAMMA"), data=data))
    absent = await world.ask("GAMMA", "GET", "Binary/" + "z" * 26)
    assert await world.ask("GAMMA", "GET", path) == absent
    assert await world.status("GAMMA", f"{path}/_history/1") == 404
    assert content not in json.dumps(await world.get("GAMMA", "Binary"))
    assert await world.status("ALPHA", path) == 200


async def test_a_late_source_is_told_of_and_tells_nothing_of_anybody(chart: Chart) -> None:
    world, hub = chart.world, chart.world.hub
    other = await Chart(world).made()
    await other.agree(permit("GAMMA", provision=[deny(actor("GAMMA"), actor("BETA", "SOURCE"))]))
    await chart.agree(permit("GAMMA"))
    await world.token("PATIENT", patient=chart.person)
    late = SourceId("saint-aurelia")
    questions = [
        f"Patient/{chart.person}/$everything",
        f"Observation?patient={chart.person}",
        f"Observation/$lastn?patient={chart.person}&category:missing=true",
        f"DocumentReference/$docref?patient={chart.person}",
        "Patient?family=Nobodyatall",
    ]
    for question in questions:
        assert "outcome" not in json.dumps(await world.get("GAMMA", question))
    now_us = hub.clock.now_us()
    await hub.jobs.stop()  # the watch would see that nobody stated this source's pace
    async with hub.db.transaction() as conn:
        await watched.add(conn, [late], now_us)
        await watched.set_late(conn, late, now_us)
    hub.partial._read_us = -60 * SECOND_US
    try:
        notices = []
        for who in ("GAMMA", "PATIENT"):
            for question in questions:
                bundle = await world.get(who, question)
                assert validate(bundle) == ()
                modes = [e["search"]["mode"] for e in bundle["entry"]]
                assert modes.count("outcome") == 1
                assert modes[-1] == "outcome"
                notices.append(json.dumps(bundle["entry"][-1]))
        about_other = await world.get("GAMMA", f"Patient/{other.person}/$everything")
        notices.append(json.dumps(about_other["entry"][-1]))
        nobody = await world.get("BETA", f"Observation?patient={chart.person}")
        notices.append(json.dumps(nobody["entry"][-1]))
        assert len(set(notices)) == 1, "the same for everybody about everybody"
        issue = json.loads(notices[0])["resource"]["issue"][0]
        assert (issue["severity"], issue["code"]) == ("warning", "incomplete")
        assert "total" not in about_other
    finally:
        async with hub.db.transaction() as conn:
            await watched.set_late(conn, late, None)
        hub.partial._read_us = -60 * SECOND_US
        hub.jobs.start()
    assert "outcome" not in json.dumps(await world.get("GAMMA", questions[0]))


async def test_scopes_hold_for_each_type_and_pages_tell_nothing_of_the_rest(chart: Chart) -> None:
    world = chart.world
    await world.token(
        "SLIM", organization="ALPHA", scope="system/Patient.r system/Encounter.r system/Device.r"
    )
    path = f"Patient/{chart.person}/$everything?_count=1"
    assert await pages(world, "SLIM", path) in (
        [[f"Patient/{chart.person}"], [f"Encounter/{chart.visit}"]],
        [[f"Patient/{chart.person}"], [f"Encounter/{chart.visit}"], []],
    )
    seen = told(await world.get("SLIM", f"Encounter/{chart.visit}/$everything"))
    assert seen == [f"Patient/{chart.person}", f"Encounter/{chart.visit}"]
    assert set(told(await world.get("SLIM", f"Patient/{chart.person}/$summary"))[1:-1]) == {
        f"Patient/{chart.person}"
    }
    refused = [
        await world.status("SLIM", address)
        for address in (
            f"Observation/$lastn?patient={chart.person}&code=1",
            f"DocumentReference/$docref?patient={chart.person}",
            "Observation/$meta",
            "Binary/none",
        )
    ]
    assert refused == [403] * 4


async def test_every_operation_leaves_one_event_for_each_person_with_what_left(
    chart: Chart,
) -> None:
    world = chart.world
    for path in (
        f"Patient/{chart.person}/$everything",
        f"Encounter/{chart.visit}/$everything",
        f"Observation/$lastn?patient={chart.person}&category:missing=true",
        f"Patient/{chart.person}/$summary",
    ):
        status, _, _ = await world.ask("ALPHA", "GET", path, None, **{"X-Request-Id": "audited"})
        assert status == 200
    async with world.hub.db.reading() as conn:
        log = await world.hub.audit.access_log(conn, [chart.person], limit=50)  # type: ignore[list-item]  # ids are texts
    mine = [one.record for one in log if one.record.request_id.startswith("audited~")]
    assert [one.detail["query"] for one in mine] == [
        "$summary",
        "$lastn",
        "$everything",
        "$everything",
    ]
    for one in mine:
        named = {key for _, _, _, ids in one.detail["shown"] for key in ids}
        assert chart.late in named


async def test_postgresql_answers_the_same(tmp_path: Path, postgres_url: str) -> None:
    async with World(tmp_path / "home", HIE_DATABASE_URL=postgres_url) as world:
        chart = await Chart(world).made()
        tag = {"tag": [{"system": "urn:tags", "code": "t"}], "profile": ["urn:p"]}
        marked = await chart.result("2025-02-01", HEMOGLOBIN, meta=tag)
        mine = [f"Observation/{one}" for one in (chart.early, chart.late, marked)]
        patient_visit = [f"Patient/{chart.person}", f"Encounter/{chart.visit}"]
        doctor = f"Practitioner/{chart.doctor}"
        narrow = "_type=Observation,Practitioner&_since=2020-01-01&start=2025-01-01&_count=2"
        assert await pages(world, "ALPHA", f"Patient/{chart.person}/$everything?_count=3") == [
            [*patient_visit, mine[0]],
            [*mine[1:], doctor],
        ]
        assert await pages(world, "ALPHA", f"Patient/{chart.person}/$everything?{narrow}") == [
            mine[1:],
            [doctor],
        ]
        visit = await world.get("ALPHA", f"Encounter/{chart.visit}/$everything")
        assert told(visit) == [*patient_visit, mine[1], doctor]
        last = f"Observation/$lastn?patient={chart.person}&category:missing=true"
        assert told(await world.get("ALPHA", last)) == [mine[1], mine[2]]
        summary = await world.get("ALPHA", f"Patient/{chart.person}/$summary")
        assert {*mine[1:], doctor} <= set(told(summary))
        whole = (await world.get("ALPHA", "Observation/$meta"))["parameter"][0]["valueMeta"]
        assert (whole["tag"], whole["profile"]) == (tag["tag"], tag["profile"])
        assert await world.status("GAMMA", f"Patient/{chart.person}/$everything") == 404
