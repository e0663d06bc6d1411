"""https://hl7.org/fhir/R4/http.html: the API over real HTTP, the door an in-memory twin."""

import gzip
from collections.abc import AsyncIterator

import pytest

from fhir_server.validate import validate
from tests.support.fhir_api import BASE, CANARY, Hub, Written, fill, ids, next_url, running_api


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with running_api() as api:
        yield api


async def test_the_capability_statement_needs_no_token(hub: Hub):
    reply = await hub.get("/fhir/metadata", token=None)
    assert reply.status == 200
    assert reply.json["resourceType"] == "CapabilityStatement"
    assert (await hub.get("/fhir/metadata?_format=xml", token=None)).status == 406


async def test_a_resource_is_read_with_its_version(hub: Hub):
    fill(hub.door)
    reply = await hub.get("/fhir/Observation/o000")
    assert reply.status == 200
    assert reply.json["id"] == "o000"
    assert reply.headers["ETag"] == 'W/"1"'
    assert reply.headers["Last-Modified"] == "Sat, 31 Jan 2026 09:30:00 GMT"
    assert reply.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
    assert reply.headers["Cache-Control"] == "no-store"


async def test_a_version_the_client_has_is_not_sent_again(hub: Hub):
    fill(hub.door)
    reply = await hub.get("/fhir/Observation/o000", **{"If-None-Match": 'W/"1"'})
    assert (reply.status, reply.body) == (304, b"")
    assert reply.headers["ETag"] == 'W/"1"'


async def test_what_is_hidden_is_not_confirmed_by_its_version(hub: Hub):
    fill(hub.door)
    hub.door.hidden.add("o000")
    reply = await hub.get("/fhir/Observation/o000", **{"If-None-Match": 'W/"1"'})
    assert reply.status == 404


async def test_head_is_get_without_a_body(hub: Hub):
    fill(hub.door)
    reply = await hub.send("HEAD", "/fhir/Observation/o000")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["ETag"] == 'W/"1"'


async def test_versions_are_read_and_listed(hub: Hub):
    for status in ("preliminary", "final"):
        hub.door.put({"resourceType": "Observation", "id": "o1", "status": status})
    assert (await hub.get("/fhir/Observation/o1/_history/1")).json["status"] == "preliminary"
    reply = await hub.get("/fhir/Observation/o1/_history?_count=1")
    assert reply.json["type"] == "history"
    assert [e["resource"]["status"] for e in reply.json["entry"]] == ["final"]
    rest = await hub.get(next_url(reply.json) or "")
    assert [e["resource"]["status"] for e in rest.json["entry"]] == ["preliminary"]
    assert next_url(rest.json) is None


@pytest.mark.parametrize("kind", ["Observation", "ValueSet", "CodeSystem", "Binary"])
async def test_a_type_has_a_history_also_where_it_is_read_by_its_own_rules(hub: Hub, kind: str):
    hub.door.put({"resourceType": kind, "id": "v1", "status": "active"})
    reply = await hub.get(f"/fhir/{kind}/_history")
    assert (reply.status, reply.json["type"]) == (200, "history")


async def test_a_deleted_resource_is_gone_and_its_history_says_so(hub: Hub):
    fill(hub.door, 1)
    hub.door.delete("Observation", "o000")
    gone = await hub.get("/fhir/Observation/o000")
    assert gone.status == 410
    assert gone.json["issue"][0]["code"] == "deleted"
    assert (await hub.get("/fhir/Observation/o000/_history/2")).status == 410
    entries = (await hub.get("/fhir/Observation/o000/_history")).json["entry"]
    assert [e["request"]["method"] for e in entries] == ["DELETE", "POST"]


async def test_a_search_finds_by_its_criteria(hub: Hub):
    fill(hub.door, 5)
    path = "/fhir/Observation?patient=p1&code=http://loinc.org|8480-6&date=ge2020-01-04"
    reply = await hub.get(path)
    assert validate(reply.json) == ()
    assert ids(reply.json) == ["o003", "o004"]
    assert reply.json["link"][0]["url"] == (
        f"{BASE}/Observation?patient=p1&code=http://loinc.org|8480-6&date=ge2020-01-04"
    )
    assert ids((await hub.get("/fhir/Observation?patient=p2")).json) == []


async def test_a_search_by_post_finds_the_same(hub: Hub):
    fill(hub.door)
    reply = await hub.send(
        "POST",
        "/fhir/Observation/_search?code=8480-6",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        data=b"patient=Patient/p1&_count=2",
    )
    assert ids(reply.json) == ["o000", "o001"]
    assert hub.door.queries[0].persons == ("p1",)
    assert len(hub.door.queries[0].criteria) == 1


async def test_an_empty_form_searches_by_the_url(hub: Hub):
    fill(hub.door)
    reply = await hub.send("POST", "/fhir/Observation/_search?_id=o001")
    assert ids(reply.json) == ["o001"]


async def test_pages_follow_each_other_to_the_end(hub: Hub):
    fill(hub.door, 45)
    found: list[str] = []
    url: str | None = "/fhir/Observation?patient=p1&_count=20"
    while url:
        page = (await hub.get(url)).json
        found += ids(page)
        url = next_url(page)
    assert found == [f"o{n:03d}" for n in range(45)]
    assert {query.persons for query in hub.door.queries} == {("p1",)}


async def test_a_page_link_tells_nothing_and_is_bound_to_its_caller(hub: Hub):
    for n in range(3):
        hub.door.put({"resourceType": "Patient", "id": f"p{n}", "name": [{"family": CANARY}]})
    page = (await hub.get(f"/fhir/Patient?family={CANARY}&_count=1")).json
    url = next_url(page) or ""
    assert CANARY not in url
    assert (await hub.get(url)).status == 200
    stolen = await hub.get(url, token="other")
    assert stolen.status == 400
    assert "_cursor" in stolen.texts
    assert (await hub.get(url + "AA")).status == 400


async def test_a_page_link_keeps_what_was_passed_over_out(hub: Hub):
    fill(hub.door)
    page = await hub.get("/fhir/Observation?foo=1&_count=1", Prefer="handling=lenient")
    assert page.json["entry"][-1]["search"]["mode"] == "outcome"
    assert (await hub.get(next_url(page.json) or "")).status == 200


async def test_a_count_alone_has_no_entries_and_no_next(hub: Hub):
    fill(hub.door, 30)
    reply = await hub.get("/fhir/Observation?_summary=count")
    assert reply.json["total"] == 30
    assert "entry" not in reply.json
    assert next_url(reply.json) is None


async def test_everything_is_the_record_in_one_bundle_or_in_pages(hub: Hub):
    fill(hub.door, 9)
    whole = (await hub.get("/fhir/Patient/p1/$everything")).json
    assert validate(whole) == ()
    assert ids(whole) == ["p1", *(f"o{n:03d}" for n in range(9))]
    found: list[str] = []
    url: str | None = "/fhir/Patient/p1/$everything?_count=4"
    while url:
        page = (await hub.get(url)).json
        found += ids(page)
        url = next_url(page)
    assert found == ids(whole)


async def test_everything_stays_within_the_scopes(hub: Hub):
    fill(hub.door, 1)
    condition = {"resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}}
    hub.door.put(condition, person="p1")
    reply = await hub.get("/fhir/Patient/p1/$everything", token="narrow")
    assert ids(reply.json) == ["p1", "o000"]
    refused = await hub.get("/fhir/Patient/p1/$everything?_type=Condition,Nothing")
    assert refused.status == 400
    assert "_type" in refused.texts


async def test_a_body_goes_to_the_writer_as_it_came(hub: Hub):
    body = b'{ "resourceType":"Observation","status":"final" }'
    hub.writer.answer = Written(201, {"Location": f"{BASE}/Observation/1", "ETag": 'W/"1"'}, body)
    reply = await hub.send(
        "POST",
        "/fhir/Observation",
        "source",
        headers={"Content-Type": "application/fhir+json"},
        data=body,
    )
    assert reply.status == 201
    assert reply.headers["Location"] == f"{BASE}/Observation/1"
    assert reply.body == body
    assert hub.writer.taken == [("create", "Observation", None, body, None)]


@pytest.mark.parametrize("path", ["/fhir", "/fhir/"])
async def test_a_bundle_goes_to_the_base(hub: Hub, path: str):
    hub.writer.answer = Written(200, {}, b"{}")
    headers = {"Content-Type": "application/json"}
    reply = await hub.send("POST", path, "source", headers=headers, data=b'{"a":1}')
    assert reply.status == 200
    assert hub.writer.taken == [("transaction", None, None, b'{"a":1}', None)]


async def test_an_update_names_its_resource_and_condition(hub: Hub):
    hub.writer.answer = Written(200, {}, b"{}")
    headers = {"Content-Type": "application/fhir+json", "If-Match": 'W/"1"'}
    await hub.send("PUT", "/fhir/Observation/o1", "source", headers=headers, data=b"{}")
    assert hub.writer.taken == [("update", "Observation", "o1", b"{}", 'W/"1"')]


async def test_a_delete_needs_no_body(hub: Hub):
    hub.writer.answer = Written(204)
    reply = await hub.send("DELETE", "/fhir/Observation/o1", "source")
    assert (reply.status, reply.body) == (204, b"")
    assert hub.writer.taken == [("delete", "Observation", "o1", b"", None)]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_condition_takes_the_place_of_an_id(hub: Hub, method: str):
    hub.writer.answer = Written(200, {}, b"{}")
    headers = {"Content-Type": "application/fhir+json"}
    path = "/fhir/Observation?identifier=urn:x|7&_format=json"
    await hub.send(method, path, "source", headers=headers, data=b"{}")
    assert hub.writer.taken[0][1:3] == ("Observation", None)
    assert hub.writer.conditions == [(("identifier", "urn:x|7"),)]


@pytest.mark.parametrize(
    ("prefer", "expected", "asked"),
    [
        ("return=minimal", b"", ""),
        ("return=representation", b'{"x":1}', "representation"),
        ("respond-async; return=OperationOutcome", b'{"x":1}', "operationoutcome"),
        ("return=everything", b'{"x":1}', ""),
    ],
)
async def test_a_client_gets_back_what_it_prefers(
    hub: Hub, prefer: str, expected: bytes, asked: str
):
    hub.writer.answer = Written(201, {}, b'{"x":1}')
    headers = {"Content-Type": "application/fhir+json", "Prefer": prefer}
    reply = await hub.send("POST", "/fhir/Observation", "source", headers=headers, data=b"{}")
    assert (reply.body, hub.writer.returns) == (expected, asked)


async def test_a_compressed_body_is_opened(hub: Hub):
    hub.writer.answer = Written(201)
    headers = {"Content-Type": "application/fhir+json", "Content-Encoding": "gzip"}
    data = gzip.compress(b'{"a":1}')
    reply = await hub.send("POST", "/fhir/Observation", "source", headers=headers, data=data)
    assert reply.status == 201
    assert hub.writer.taken[0][3] == b'{"a":1}'


@pytest.mark.parametrize("count", [3, 900])
async def test_answers_are_compressed_for_those_who_take_it(hub: Hub, count: int):
    fill(hub.door, count)
    path = "/fhir/Patient/p1/$everything"
    plain = await hub.get(path, **{"Accept-Encoding": "identity"})
    packed = await hub.get(path, **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    is_packed = len(plain.body) >= 1024
    assert (packed.headers.get("Content-Encoding") == "gzip") is is_packed
    if is_packed:
        assert gzip.decompress(packed.body) == plain.body
