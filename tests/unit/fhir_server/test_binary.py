"""Binary over HTTP: the bytes or the resource, and bytes taken as they come."""

import base64
import json
from collections.abc import AsyncIterator

import pytest

from fhir_server.negotiate import prefers_resource
from hie.kernel.errors import Category, HieError
from tests.support.fhir_api import Hub, Reply, Written, running_api

PDF = b"%PDF-1.7 \x00\xff raw"
FHIR = "application/fhir+json"


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with running_api() as api:
        api.door.put(binary("b1", PDF, "application/pdf"))
        yield api


def binary(key: str, content: bytes, media: str):
    data = base64.b64encode(content).decode()
    return {"resourceType": "Binary", "id": key, "contentType": media, "data": data}


async def got(hub: Hub, key: str = "b1", **headers: str) -> Reply:
    return await hub.send("GET", f"/fhir/Binary/{key}", headers=headers)


@pytest.mark.parametrize(
    "accept",
    [
        "application/pdf",
        "application/*",
        "*/*",
        "text/html,*/*;q=0.8",
        "",
        "application/pdf, text/plain",
    ],
)
async def test_who_takes_the_type_of_the_content_gets_its_bytes(hub: Hub, accept: str):
    reply = await got(hub, Accept=accept)
    assert (reply.status, reply.body) == (200, PDF)
    assert reply.headers["Content-Type"] == "application/pdf"
    assert reply.headers["ETag"] == 'W/"1"'
    assert reply.headers["Content-Disposition"] == "attachment"
    assert "sandbox" in reply.headers["Content-Security-Policy"]
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "accept",
    [
        FHIR,
        "application/json",
        f"{FHIR}, */*;q=0.1",
        "application/json, text/plain, */*",
        "text/json",
    ],
)
async def test_who_asks_for_fhir_json_gets_the_resource(hub: Hub, accept: str):
    reply = await got(hub, Accept=accept)
    assert reply.json == binary("b1", PDF, "application/pdf")
    assert reply.headers["Content-Type"].startswith(FHIR)


async def test_the_format_parameter_comes_before_the_header(hub: Hub):
    reply = await hub.send(
        "GET", "/fhir/Binary/b1?_format=json", headers={"Accept": "application/pdf"}
    )
    assert reply.json["resourceType"] == "Binary"
    refused = await hub.send("GET", "/fhir/Binary/b1?_format=xml")
    assert refused.status == 406


@pytest.mark.parametrize("accept", ["image/png", "application/fhir+xml", "application/pdf;q=0"])
async def test_who_takes_neither_is_told_406_if_they_may_see_it(hub: Hub, accept: str):
    reply = await got(hub, Accept=accept)
    assert reply.status == 406
    assert "Accept" in reply.texts
    hub.door.hidden.add("b1")
    assert (await got(hub, Accept=accept)).status == 404
    assert (await got(hub, "none", Accept=accept)).status == 404


async def test_a_client_that_has_the_version_gets_no_bytes(hub: Hub):
    reply = await got(hub, Accept="application/pdf", **{"If-None-Match": 'W/"1"'})
    assert (reply.status, reply.body) == (304, b"")
    old = await hub.send("GET", "/fhir/Binary/b1/_history/1", headers={"Accept": "application/pdf"})
    assert old.body == PDF


async def test_head_tells_what_get_would(hub: Hub):
    reply = await hub.send("HEAD", "/fhir/Binary/b1", headers={"Accept": "application/pdf"})
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Content-Type"] == "application/pdf"
    assert reply.headers["Content-Length"] == str(len(PDF))


async def test_large_content_is_the_same_bytes(hub: Hub):
    content = bytes(range(256)) * 4096
    hub.door.put(binary("big", content, "application/octet-stream"))
    assert (await got(hub, "big", Accept="*/*")).body == content


@pytest.mark.parametrize(
    "media", ["text/html\r\nSet-Cookie: a=b", "nonsense", 'text/html; a="b"', ""]
)
async def test_a_type_that_is_none_is_never_put_in_a_header(hub: Hub, media: str):
    hub.door.put(binary("odd", b"x", media))
    reply = await got(hub, "odd", Accept="*/*")
    assert reply.headers["Content-Type"] == "application/octet-stream"
    assert "Set-Cookie" not in reply.headers


async def test_broken_data_is_empty(hub: Hub):
    hub.door.put({"resourceType": "Binary", "id": "bad", "contentType": "text/plain", "data": "%"})
    reply = await got(hub, "bad", Accept="text/plain")
    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize(("method", "path", "key"), [("POST", "", None), ("PUT", "/b7", "b7")])
async def test_raw_bytes_become_a_binary(hub: Hub, method: str, path: str, key: str | None):
    hub.writer.answer = Written(201, {"Location": "x"}, b"{}")
    headers = {"Content-Type": "application/pdf", "X-Security-Context": "Patient/p1"}
    reply = await hub.send(method, f"/fhir/Binary{path}", token="source", headers=headers, data=PDF)
    assert reply.status == 201
    ((interaction, kind, named, body, _),) = hub.writer.taken
    assert (interaction, kind, named) == ("create" if key is None else "update", "Binary", key)
    sent = json.loads(body)
    assert base64.b64decode(sent["data"]) == PDF
    assert sent["contentType"] == "application/pdf"
    assert sent["securityContext"] == {"reference": "Patient/p1"}
    assert sent.get("id") == key


async def test_a_binary_in_fhir_json_goes_to_the_writer_as_it_came(hub: Hub):
    body = b'{ "resourceType":"Binary" }'
    await hub.send(
        "POST", "/fhir/Binary", token="source", headers={"Content-Type": FHIR}, data=body
    )
    assert hub.writer.taken[0][3] == body


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "nonsense"},
        {"Content-Type": "text/plain", "X-Security-Context": "somebody"},
    ],
)
async def test_headers_that_cannot_be_read_are_refused(hub: Hub, headers: dict[str, str]):
    reply = await hub.send("POST", "/fhir/Binary", token="source", headers=headers, data=b"x")
    assert reply.status == 400
    assert next(iter(headers)) in reply.texts or "X-Security-Context" in reply.texts
    assert hub.writer.taken == []


async def test_searches_and_deletes_of_binaries_are_as_of_any_type(hub: Hub):
    found = await hub.get("/fhir/Binary")
    assert found.json["entry"][0]["resource"]["id"] == "b1"
    hub.writer.answer = Written(204)
    assert (await hub.send("DELETE", "/fhir/Binary/b1", token="source")).status == 204


def test_the_more_specific_range_says_how_much_a_type_is_wanted():
    assert not prefers_resource(f"{FHIR};q=0.5, text/plain", None, "text/plain")
    assert prefers_resource("image/*;q=0, */*", None, "image/png")
    with pytest.raises(HieError) as refused:
        prefers_resource("application/fhir+json; fhirVersion=3.0", None, "text/plain")
    assert refused.value.category is Category.NOT_ACCEPTABLE
