"""Attacks on the read side of a running hub: what is hidden is answered as what is not there.

Each attack asks over HTTP, as an organisation, a patient or nobody. That what is hidden changes
no byte of any answer is held in `test_non_interference.py`. Spec: DESIGN §4, D6, D9, D10, D13.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hie.kernel.ids import PersonId
from tests.support.asked_hub import (
    ACT_CODE,
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


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path / "home") as made:
        yield made


def without_ids(body: bytes) -> bytes:
    """A body without the ids and times that its own writer was given."""
    return re.sub(rb'(/|"id":"|last(Updated|Modified)":")[\w.:-]{20,}', b"", body)


async def test_writes_tell_nothing_about_what_others_have(world: World) -> None:
    alpha = await world.post("ALPHA", patient("A1", "alpha"))
    known = await world.post("ALPHA", observation(alpha, identifier=[{"value": "X1"}]))
    agreed = await world.post("ALPHA", consent(alpha, permit("ALPHA")))
    person = await world.person_of("ALPHA", alpha)
    mine = await world.post("GAMMA", zebulon("G1", "gamma"))
    etag = (await world.ask("ALPHA", "GET", f"Observation/{known}"))[1]
    pairs: list[tuple[str, str, str, Fhir | None]] = []
    about_reads: list[tuple[str, str]] = []
    for there, absent in ((known, "a" * 26), (agreed, "b" * 26), (alpha, "c" * 26)):
        kind = {known: "Observation", agreed: "Consent", alpha: "Patient"}[there]
        own = {
            "Observation": observation(mine),
            "Consent": consent(mine, deny(actor("BETA"))),
            "Patient": zebulon("G1", "gamma"),
        }[kind]
        if kind != "Patient":
            pairs.append(("PUT", f"{kind}/{there}", f"{kind}/{absent}", own))
        pairs.append(("DELETE", f"{kind}/{there}", f"{kind}/{absent}", None))
        pairs.append(("PATCH", f"{kind}/{there}", f"{kind}/{absent}", _patch(kind)))
        asks = {"request": {"method": "GET", "url": f"{kind}/{there}"}}
        batch = {"resourceType": "Bundle", "type": "batch", "entry": [asks]}
        pairs.append(("POST", "", "", batch))
        about_reads.append((there, absent))
    about = [*about_reads, (alpha, "d" * 26), (person, "e" * 26)]
    pairs += [("POST", "Observation", "Observation", observation(there)) for there, _ in about]
    asked = [*pairs]
    for method, there, absent, body in asked:
        first = await world.ask("GAMMA", method, there, body)
        second = await world.ask("GAMMA", method, absent, _aimed_elsewhere(body, about))
        assert (first[0], without_ids(first[2])) == (second[0], without_ids(second[2])), there
    for text in (f"Patient/{alpha}", f"Patient/{person}", "Patient?identifier=urn:alpha|A1"):
        broad = consent(mine, permit("GAMMA"), patient={"reference": text})
        assert (await world.ask("GAMMA", "POST", "Consent", broad))[0] == 422
    theirs = ("identifier=X1", f"patient={person}", f"patient={alpha}", f"_id={known}")
    for condition in (*theirs, "identifier=none-such"):
        status, _, _ = await world.ask(
            "GAMMA", "POST", "Observation", observation(mine), **{"If-None-Exist": condition}
        )
        assert status == 201, condition
        assert (await world.ask("GAMMA", "DELETE", f"Observation?{condition}"))[0] == 204
    assert (await world.ask("ALPHA", "GET", f"Observation/{known}"))[1] == etag
    assert await world.status("ALPHA", f"Consent/{agreed}") == 200
    assert await world.status("GAMMA", f"Patient/{person}") == 404


def _patch(kind: str) -> Fhir:
    """What nobody but its source can do to a resource."""
    parts = {"type": "delete", "path": f"{kind}.language"}
    made = [{"name": name, "valueString": value} for name, value in parts.items()]
    operation = {"name": "operation", "part": made}
    return {"resourceType": "Parameters", "parameter": [operation]}


def _aimed_elsewhere(body: Fhir | None, about: list[tuple[str, str]]) -> Fhir | None:
    text = json.dumps(body)
    for there, absent in about:
        text = text.replace(there, absent)
    return json.loads(text)  # type: ignore[no-any-return]


async def test_a_consent_holds_while_it_stands_and_not_longer(world: World) -> None:
    record = await world.post("ALPHA", patient("A1", "alpha"))
    other = await world.post("ALPHA", zebulon("A2", "alpha"))
    test = f"Observation/{await world.post('ALPHA', observation(record))}"
    for_hiv = permit("GAMMA", securityLabel=[{"system": ACT_CODE, "code": "HIV"}])
    hiv = f"Observation/{await world.post('ALPHA', observation(record, HIV_RNA))}"

    async def seen() -> tuple[int, int]:
        return await world.status("GAMMA", test), await world.status("GAMMA", hiv)

    await world.post("ALPHA", consent(record, permit(), is_verified=False))
    assert await seen() == (404, 404)
    first = f"Consent/{await world.post('ALPHA', consent(record, permit('GAMMA')))}"
    assert await seen() == (200, 404)
    await world.put("ALPHA", first, consent(other, permit("GAMMA")))
    assert await seen() == (404, 404), "it is about somebody else now"
    await world.put("ALPHA", first, consent(record, permit("GAMMA")))
    second = f"Consent/{await world.post('ALPHA', consent(record, for_hiv))}"
    assert await seen() == (200, 200)
    assert (await world.ask("ALPHA", "DELETE", second))[0] == 204
    assert await seen() == (200, 404), "the lift was taken back"
    third = f"Consent/{await world.post('ALPHA', consent(record, deny(actor('GAMMA'))))}"
    assert await seen() == (404, 404), "a deny needs no verification and wins"
    assert (await world.ask("BETA", "DELETE", third))[0] == 204
    assert await seen() == (404, 404), "it was nobody's of BETA"
    await world.put("ALPHA", third, consent(record, permit("GAMMA"), status="inactive"))
    assert await seen() == (200, 404)
    assert (await world.ask("ALPHA", "DELETE", first))[0] == 204
    assert await seen() == (404, 404), "a permit that was taken back opens nothing"


async def test_versions_are_as_hidden_as_what_they_say(world: World) -> None:
    record = await world.post("ALPHA", patient("A1", "alpha"))
    other = await world.post("ALPHA", zebulon("A2", "alpha"))
    await world.post("ALPHA", consent(record, permit("GAMMA")))
    result = f"Observation/{await world.post('ALPHA', observation(record, HIV_RNA))}"
    assert await world.status("GAMMA", result) == 404
    await world.put("ALPHA", result, observation(record))
    assert [await world.status("GAMMA", f"{result}/_history/{n}") for n in (1, 2)] == [404, 200]
    history = await world.get("GAMMA", f"{result}/_history")
    assert [e["resource"]["meta"]["versionId"] for e in history["entry"]] == ["2"]
    assert len((await world.get("ALPHA", f"{result}/_history"))["entry"]) == 2
    label = {"security": [{"system": ACT_CODE, "code": "HIV"}]}
    await world.put("ALPHA", result, observation(record, meta=label))
    assert await world.status("GAMMA", result) == 404, "a label alone is a change"
    await world.put("ALPHA", result, observation(record))
    await world.put("ALPHA", result, observation(other))
    assert await world.status("GAMMA", result) == 404, "another subject alone is a change"
    await world.put("ALPHA", result, observation(record, HEMOGLOBIN))
    assert (await world.ask("ALPHA", "DELETE", result))[0] == 204
    assert [await world.status(who, result) for who in ("GAMMA", "BETA")] == [410, 404]
    assert await world.status("GAMMA", f"{result}/_history/1") == 404
    assert b'"Patient/"' not in (await world.ask("ALPHA", "GET", f"{result}/_history"))[2]
    without_code = deny(actor("GAMMA"), code=[{"coding": [{"system": LOINC, "code": HEMOGLOBIN}]}])
    await world.post("ALPHA", consent(record, without_code))
    assert await world.status("GAMMA", result) == 404, "a tombstone is denied as it was"


async def test_an_older_version_is_hidden_where_a_rule_would_look_inside(world: World) -> None:
    record = await world.post("ALPHA", patient("A1", "alpha"))
    await world.post("ALPHA", consent(record, permit("GAMMA")))
    result = f"Observation/{await world.post('ALPHA', observation(record, HEMOGLOBIN))}"
    await world.put("ALPHA", result, observation(record))
    person = await world.person_of("ALPHA", record)
    await world.token("PATIENT", patient=person)

    async def seen(who: str) -> list[str]:
        told = []
        for path in (f"{result}/_history", "Observation/_history", f"{result}/_history/1"):
            _, _, body = await world.ask(who, "GET", path)
            told += [str(body.count(code.encode())) for code in (GLUCOSE, HEMOGLOBIN)]
        return told

    whole, newest = ["1", "1", "1", "1", "0", "1"], ["1", "0", "1", "0", "0", "0"]
    assert await seen("GAMMA") == whole
    code = [{"coding": [{"system": LOINC, "code": HEMOGLOBIN}]}]
    await world.post("ALPHA", consent(record, deny(actor("BETA"), code=code)))
    assert await seen("GAMMA") == whole, "the rule is about somebody else"
    await world.post("ALPHA", consent(record, deny(actor("GAMMA"), code=code)))
    assert [await seen(who) for who in ("GAMMA", "ALPHA", "PATIENT")] == [newest, whole, whole]
    dated = await world.post("ALPHA", observation(record, effectiveDateTime="2020-01-01"))
    again = f"Observation/{dated}"
    await world.put("ALPHA", again, observation(record))
    period = {"start": "2019-01-01", "end": "2021-01-01"}
    await world.post("ALPHA", consent(record, deny(actor("GAMMA"), dataPeriod=period)))
    assert [await world.status("GAMMA", f"{again}/_history/{n}") for n in (1, 2)] == [404, 200]


async def test_content_stays_hidden_when_its_hidden_document_lets_it_go(world: World) -> None:
    record = await world.post("ALPHA", patient("A1", "alpha"))
    await world.post("ALPHA", consent(record, permit("GAMMA")))
    code = {"coding": [{"system": LOINC, "code": HEMOGLOBIN}]}
    await world.post("ALPHA", consent(record, deny(actor("GAMMA"), code=[code])))

    def document(attachment: Fhir) -> Fhir:
        return {
            "resourceType": "DocumentReference",
            "status": "current",
            "type": code,
            "subject": {"reference": f"Patient/{record}"},
            "content": [{"attachment": attachment}],
        }

    content: Fhir = {"resourceType": "Binary", "contentType": "text/plain", "data": "c2VjcmV0"}
    old, new = [f"Binary/{await world.post('ALPHA', content)}" for _ in range(2)]
    name = f"DocumentReference/{await world.post('ALPHA', document({'url': old}))}"
    for attachment in ({"url": new}, {"url": old}, {"url": new}, {"title": "gone"}):
        await world.put("ALPHA", name, document(attachment))
        for path in (old, new):
            assert [await world.status(who, path) for who in ("ALPHA", "GAMMA")] == [200, 404]
    await world.hub.rebuild.again()
    await world.hub.rebuild.work(60)
    assert (await world.ask("ALPHA", "DELETE", name))[0] == 204
    assert [await world.status("GAMMA", path) for path in (old, new)] == [404, 404]
    assert "entry" not in await world.get("GAMMA", "Binary")


async def test_what_is_about_two_is_seen_where_both_allow_it(world: World) -> None:
    record = await world.post("ALPHA", patient("A1", "alpha"))
    other = await world.post("ALPHA", zebulon("A2", "alpha"))
    people = [
        {"actor": {"reference": f"Patient/{r}"}, "status": "accepted"} for r in (record, other)
    ]
    visit: Fhir = {"resourceType": "Appointment", "status": "booked", "participant": people}
    both = f"Appointment/{await world.post('ALPHA', visit)}"
    person, second = [await world.person_of("ALPHA", r) for r in (record, other)]
    await world.token("PATIENT", patient=person)
    await world.post("ALPHA", consent(record, permit("GAMMA")))
    assert [await world.status(who, both) for who in ("ALPHA", "GAMMA", "PATIENT")] == [
        200,
        404,
        404,
    ]
    for who, whose in (("GAMMA", person), ("PATIENT", person), ("GAMMA", second)):
        _, _, body = await world.ask(who, "GET", f"Patient/{whose}/$everything")
        assert both.partition("/")[2].encode() not in body
    allowed = await world.post("ALPHA", consent(other, permit("GAMMA")))
    assert await world.status("GAMMA", both) == 200
    for kind, elements in (
        ("Binary", {"contentType": "text/plain", "data": "c2VjcmV0"}),
        (
            "List",
            {"status": "current", "mode": "working", "entry": [{"item": {"reference": both}}]},
        ),
        ("Provenance", _provenance(both)),
    ):
        made = await world.post("ALPHA", {"resourceType": kind, **elements})
        assert await world.status("GAMMA", f"{kind}/{made}") == 404, "it is filed under nobody"
    await world.put("ALPHA", both, {**visit, "participant": people[:1]})
    assert (await world.ask("ALPHA", "DELETE", f"Consent/{allowed}"))[0] == 204
    history = await world.get("GAMMA", f"{both}/_history")
    assert [e["resource"]["meta"]["versionId"] for e in history["entry"]] == ["2"]


def _provenance(target: str) -> Fhir:
    agent = {"who": {"display": "the registry"}}
    return {"target": [{"reference": target}], "recorded": "2026-01-01T10:00:00Z", "agent": [agent]}


async def test_a_patients_token_opens_the_own_record_alone(world: World) -> None:
    record = await world.post("ALPHA", patient("A1", "alpha"))
    other = await world.post("ALPHA", zebulon("A2", "alpha"))
    mine = f"Observation/{await world.post('ALPHA', observation(record, HIV_RNA))}"
    theirs = f"Observation/{await world.post('ALPHA', observation(other))}"
    await world.post("ALPHA", consent(other, permit()))
    person, stranger = [await world.person_of("ALPHA", r) for r in (record, other)]
    await world.token("PATIENT", patient=person)
    await world.token("AT ALPHA", patient=person, organization="ALPHA")
    await world.token("NARROW", patient=person, scope="patient/Patient.r")
    for who in ("PATIENT", "AT ALPHA"):
        assert [await world.status(who, path) for path in (mine, theirs)] == [200, 404]
        assert [await world.status(who, f"Patient/{p}") for p in (person, stranger)] == [200, 404]
        for kind, total in (("Patient", 1), ("Observation", 1), ("Consent", 0)):
            assert (await world.get(who, f"{kind}?_summary=count"))["total"] == total
        assert (await world.ask(who, "POST", "Observation", observation(record)))[0] == 403
        assert (await world.ask(who, "DELETE", mine))[0] == 403
    assert [await world.status("NARROW", p) for p in (mine, theirs, "Observation/none")] == [
        403
    ] * 3
    everything = await world.get("NARROW", f"Patient/{person}/$everything")
    assert [e["resource"]["resourceType"] for e in everything["entry"]] == ["Patient"]


async def test_a_read_of_a_compartment_is_the_same_inside_a_bundle(world: World) -> None:
    record = await world.post("ALPHA", patient("A1", "alpha"))
    for code in (GLUCOSE, HIV_RNA):
        await world.post("ALPHA", observation(record, code))
    await world.post("ALPHA", consent(record, permit("GAMMA")))
    person = await world.person_of("ALPHA", record)
    await world.token("NARROW", organization="GAMMA", scope="system/Encounter.rs")
    for who in ("GAMMA", "NARROW", "BETA"):
        for path in ("Observation", "Observation?_summary=count", "Nothing", "*"):
            url = f"Patient/{person}/{path}"
            status, _, body = await world.ask(who, "GET", url)
            request = {"request": {"method": "GET", "url": url}}
            batch = {"resourceType": "Bundle", "type": "batch", "entry": [request]}
            _, _, told = await world.ask(who, "POST", "", batch)
            inner = json.loads(told)["entry"][0]
            assert inner["response"]["status"].startswith(f"{status} "), (who, url)
            if status == 200:
                assert inner["resource"] == json.loads(body), (who, url)


def damaged(link: str) -> str:
    """A link of which one letter is another: not the last, whose bits may mean nothing."""
    return link[:-3] + ("A" if link[-3] != "A" else "B") + link[-2:]


async def test_page_links_and_tokens_fit_their_bearer_alone(world: World) -> None:
    record = await world.post("ALPHA", patient("A1", "alpha"))
    for _ in range(3):
        await world.post("ALPHA", observation(record))
    agreed = await world.post("ALPHA", consent(record, permit("GAMMA")))
    person = await world.person_of("ALPHA", record)
    await world.token("NURSE", organization="GAMMA", user="nurse")
    await world.token("BILLING", organization="GAMMA", purpose="HPAYMT")
    await world.token("NARROW", organization="GAMMA", scope="system/Encounter.rs")
    following = []
    for address in (
        "Observation?_count=1",
        "Observation?_count=1&_sort=-date&_total=accurate&_include=Observation:patient",
        "Observation?patient.name=Quill&_count=1",
        "?_type=Observation,Condition&_count=1",
        f"Patient/{person}/Observation?_count=1",
        "Observation/_history?_count=1",
        f"Patient/{person}/$everything?_count=1",
    ):
        links = {x["relation"]: x["url"] for x in (await world.get("GAMMA", address))["link"]}
        for who in ("ALPHA", "BETA", "NURSE", "BILLING"):
            assert await world.status(who, links["next"]) == 400, who
        if not address.startswith("?"):
            assert await world.status("NARROW", links["next"]) == 403
        assert await world.status("GAMMA", links["next"]) == 200
        moved = links["next"].replace(urlsplit(links["next"]).path, "/fhir/Condition")
        assert await world.status("GAMMA", moved) == 400
        assert await world.status("GAMMA", damaged(links["next"])) == 400
        following.append(links["next"])
    assert (await world.ask("ALPHA", "DELETE", f"Consent/{agreed}"))[0] == 204
    *pages, record_page = following
    for page in pages:
        told = await world.get("GAMMA", page)
        assert ("entry" in told, told.get("total", 0)) == (False, 0), "taken back between pages"
        assert not [x for x in told["link"] if x["relation"] == "next"]
    assert await world.status("GAMMA", record_page) == 404, "of a record not a word is left"
    await world.token("SHORT", organization="ALPHA", ttl_seconds=1)
    await asyncio.sleep(1.1)
    refused = [await world.ask(who, "GET", "Patient") for who in ("SHORT", "x" * 43, "x", "ä"[:0])]
    assert [status for status, _, _ in refused] == [401] * 4
    assert refused[0][2] == refused[1][2] == refused[2][2]


async def test_a_merge_opens_nothing_and_hides_the_old_address_alike(world: World) -> None:
    def adt(control: str, event: str, number: str, name: str, *more: str) -> bytes:
        head = f"MSH|^~\\&|REG|ALPHA|HIE|STATE|20260101120000||ADT^{event}|{control}|P|2.5.1"
        pid = f"PID|1||{number}^^^ALPHA^MR||{name}||19510412|F"
        return "\r".join((head, "EVN|A01|20260101120000", pid, *more, "")).encode()

    a28 = "A28^ADT_A05"
    await world.send(
        adt("1", a28, "M1", "Quillfeather^Hortensia"), adt("2", a28, "M2", "Quillfether^Hortense")
    )
    await world.token("ALPHA", organization="ALPHA")
    found = {}
    for name in ("Quillfeather", "Quillfether"):
        entries = (await world.get("ALPHA", f"Patient?family:exact={name}"))["entry"]
        found[name] = entries[0]["resource"]["id"]
    gone, kept = found["Quillfeather"], found["Quillfether"]
    assert gone != kept, "the attack needs two persons"
    tests = [f"Observation/{await world.post('ALPHA', observation(p))}" for p in (gone, kept)]
    await world.post("ALPHA", consent(gone, permit("GAMMA")))
    await world.post("ALPHA", consent(kept, permit("BETA")))
    await world.post("ALPHA", consent(kept, deny(actor("GAMMA"))))
    assert [await world.status("GAMMA", t) for t in tests] == [200, 404]
    await world.send(adt("3", "A40^ADT_A39", "M2", "Quillfether^Hortense", "MRG|M1^^^ALPHA^MR"))
    replaced = await world.get("ALPHA", f"Patient/{gone}")
    assert replaced["link"][0]["other"]["reference"] == f"Patient/{kept}"
    assert [await world.status("GAMMA", t) for t in tests] == [404, 404], "the stricter word counts"
    absent = await world.ask("GAMMA", "GET", "Patient/" + "z" * 26)
    for path in (f"Patient/{gone}", f"Patient/{kept}", f"Patient/{gone}/$everything"):
        assert await world.ask("GAMMA", "GET", path) == absent
    assert (await world.get("GAMMA", f"Observation?patient={gone}&_summary=count"))["total"] == 0
    assert (await world.get("ALPHA", f"Observation?patient={gone}&_summary=count"))["total"] == 2
    # Another source naming the same number merges nothing of ALPHA's.
    foreign = adt("4", "A40^ADT_A39", "M9", "Mallory^Eve", "MRG|M2^^^ALPHA^MR")
    await world.send(foreign.replace(b"|REG|ALPHA|", b"|REG|DELTA|"))
    assert await world.status("ALPHA", f"Patient/{kept}") == 200
    assert (await world.get("ALPHA", f"Patient/{kept}"))["id"] == kept


async def test_refusals_repeat_no_value_and_every_person_touched_is_audited(world: World) -> None:
    record = await world.post("ALPHA", patient("A1", "alpha"))
    secrets = ("Xylotomous", "900776655", "1951-04-12")
    broken = [
        patient("A1", "alpha", birthDate="1951-04-12XX"),
        patient("A1", "alpha", name="Xylotomous"),
        observation(record, subject={"reference": "Patient?identifier=Xylotomous|900776655"}),
        observation(record, valueQuantity={"value": "Xylotomous"}),
    ]
    for body in broken:
        status, _, told = await world.ask("ALPHA", "POST", body["resourceType"], body)
        assert status in (400, 422)
        assert not [s for s in secrets if s.encode() in told], told
    for query in (
        "birthdate=1951-04-12XX",
        "birthdate=zz1951-04-12",
        "_sort=Xylotomous%20900776655",
    ):
        status, _, told = await world.ask("ALPHA", "GET", f"Patient?{query}")
        assert status == 400
        assert not [s for s in secrets if s.encode() in told], told
    child = await world.post("ALPHA", zebulon("A2", "alpha"))
    test = await world.post("ALPHA", observation(record))
    derived = observation(child, derivedFrom=[{"reference": f"Observation/{test}"}])
    await world.post("ALPHA", derived)
    person, whole = await world.person_of("ALPHA", record), await world.person_of("ALPHA", child)
    everything = await world.get("ALPHA", f"Patient/{whole}/$everything")
    ids = {entry["resource"]["id"] for entry in everything["entry"]}
    lines = [json.loads(line) async for line in world.hub.audit.export()]
    touched = [line for line in lines if "operation" in json.dumps(line)]
    assert any(whole in json.dumps(line) for line in touched)
    assert (test in ids) == any(person in json.dumps(line) for line in touched)


async def test_what_is_about_two_is_on_record_for_both(world: World) -> None:
    records = [
        await world.post("ALPHA", patient("A1", "alpha")),
        await world.post("ALPHA", zebulon("A2", "alpha")),
    ]
    persons = [await world.person_of("ALPHA", record) for record in records]
    for record in records:
        await world.post("ALPHA", consent(record, permit("GAMMA")))
    people = [{"actor": {"reference": f"Patient/{r}"}, "status": "accepted"} for r in records]
    visit: Fhir = {"resourceType": "Appointment", "status": "booked", "participant": people}
    both = await world.post("ALPHA", visit)
    for n, path in enumerate(
        (
            f"Appointment/{both}",
            f"Appointment/{both}/_history/1",
            f"Appointment/{both}/_history",
            "Appointment/_history",
            "Appointment",
            f"Appointment?actor=Patient/{persons[1]}",
            f"Patient/{persons[1]}/$everything?_type=Appointment",
            f"Patient/{persons[0]}/$everything?_type=Appointment",
        )
    ):
        status, _, body = await world.ask(
            "GAMMA", "GET", path, None, **{"X-Request-Id": f"two-{n}"}
        )
        assert (status, both.encode() in body) == (200, True), path
        async with world.hub.db.reading() as conn:
            for person, record in zip(persons, records, strict=True):
                log = await world.hub.audit.access_log(conn, [PersonId(person)], limit=50)
                mine = [e.record for e in log if e.record.request_id.startswith(f"two-{n}~")]
                (told,) = [one for one in mine if one.subtype != "AuthZ-Consent"]
                shown = told.detail["shown"]
                assert [record, "Appointment", 1, [both]] in shown, (path, shown)
