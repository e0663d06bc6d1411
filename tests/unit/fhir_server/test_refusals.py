"""https://hl7.org/fhir/R4/http.html: every refusal has its status and an OperationOutcome."""

import gzip
import logging
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from fhir_server.routes import setup
from fhir_server.settings import FhirSettings
from hie.crypto import KeyRing
from hie.kernel.errors import Category, HieError, Issue
from tests.support.fake_door import FakeDoor, FakeIdentities
from tests.support.fhir_api import (
    CANARY,
    INDEX,
    JUDGE,
    LIMIT_BYTES,
    NARROW,
    FakeWriter,
    Hub,
    StillClock,
    Tokens,
    running_api,
)


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with running_api() as api:
        yield api


@pytest.mark.parametrize(
    ("method", "path", "token", "headers", "data", "status", "code"),
    [
        ("GET", "/fhir/Observation?foo=1", "reader", {}, None, 400, "not-supported"),
        ("GET", "/fhir/Observation?date=x", "reader", {}, None, 400, "invalid"),
        ("GET", "/fhir/Encounter?identifier=urn:x|", "reader", {}, None, 400, "invalid"),
        ("GET", "/fhir/Patient?family:contains=x", "reader", {}, None, 400, "not-supported"),
        ("GET", "/fhir/Patient?_sort=family", "reader", {}, None, 400, "not-supported"),
        ("GET", "/fhir/Observation/o1/_history?_count=0", "reader", {}, None, 400, "invalid"),
        ("GET", "/fhir/Patient/p1/$everything?_count=0", "reader", {}, None, 400, "invalid"),
        ("GET", "/fhir/Observation/o1", None, {}, None, 401, "login"),
        ("GET", "/fhir/Observation/o1", "unknown", {}, None, 401, "login"),
        ("GET", "/fhir/Condition/c1", "narrow", {}, None, 403, "forbidden"),
        ("GET", "/fhir/Patient?name=x", "narrow", {}, None, 403, "forbidden"),
        ("POST", "/fhir/Observation", "reader", {}, b"{}", 403, "forbidden"),
        ("POST", "/fhir", "reader", {}, b"{}", 403, "forbidden"),
        ("PUT", "/fhir/Observation/o1", "reader", {}, b"{}", 403, "forbidden"),
        ("DELETE", "/fhir/Observation/o1", "reader", {}, None, 403, "forbidden"),
        ("POST", "/fhir/Observation", "writeless", {}, b"{}", 403, "forbidden"),
        ("GET", "/fhir/Observation/none", "reader", {}, None, 404, "not-found"),
        ("GET", "/fhir/Observation/o1/_history/7", "reader", {}, None, 404, "not-found"),
        ("GET", "/fhir/Patient/none/$everything", "reader", {}, None, 404, "not-found"),
        ("GET", "/fhir/Foo/1", "reader", {}, None, 404, "not-supported"),
        ("GET", "/fhir/Foo", "reader", {}, None, 404, "not-supported"),
        ("GET", "/fhir/$nothing", "reader", {}, None, 404, "not-supported"),
        ("GET", "/fhir/Patient/$nothing", "reader", {}, None, 404, "not-supported"),
        ("GET", "/fhir/a/b/c/d/e", "reader", {}, None, 404, "not-found"),
        ("PATCH", "/fhir/Observation/o1", "source", {}, b"[]", 415, "not-supported"),
        ("POST", "/fhir/Observation/o1", "source", {}, b"{}", 405, "not-supported"),
        ("POST", "/fhir/AuditEvent", "source", {}, b"{}", 405, "not-supported"),
        ("POST", "/fhir/Parameters", "source", {}, b"{}", 404, "not-supported"),
        ("GET", "/fhir/.well-known/smart-configuration", None, {}, None, 404, "not-found"),
        ("GET", "/fhir/Patient/$match", "reader", {}, None, 405, "not-supported"),
        ("DELETE", "/fhir/ValueSet/$expand", "source", {}, None, 405, "not-supported"),
        ("PUT", "/fhir/$export", "source", {}, b"{}", 405, "not-supported"),
        ("PUT", "/fhir/$nothing", "source", {}, b"{}", 404, "not-supported"),
        *(
            # Taken as it is sent: what is missing is the preference.
            ("GET", "/fhir/$export", "reader", {"Accept": accept}, None, 400, "required")
            for accept in ("application/fhir+ndjson", "application/ndjson", "application/json")
        ),
        ("GET", "/fhir/$export", "reader", {"Accept": "text/csv"}, None, 406, "not-supported"),
        ("GET", "/fhir/Parameters/p1", "reader", {}, None, 404, "not-supported"),
        ("GET", "/fhir/Parameters?_id=p1", "reader", {}, None, 404, "not-supported"),
        (
            "GET",
            "/fhir/Observation",
            "reader",
            {"Accept": "application/fhir+xml"},
            None,
            406,
            "not-supported",
        ),
        ("GET", "/fhir/Observation?_format=xml", "reader", {}, None, 406, "not-supported"),
        (
            "POST",
            "/fhir/Observation",
            "source",
            {"Content-Type": "application/fhir+json"},
            b"x" * (LIMIT_BYTES + 1),
            413,
            "too-costly",
        ),
        (
            "POST",
            "/fhir/Observation",
            "source",
            {"Content-Type": "application/fhir+json", "Content-Encoding": "gzip"},
            gzip.compress(b"x" * 1_000_000),
            413,
            "too-costly",
        ),
        (
            "POST",
            "/fhir/Observation",
            "source",
            {"Content-Type": "application/fhir+xml"},
            b"<Observation/>",
            415,
            "not-supported",
        ),
        (
            "POST",
            "/fhir/Observation/_search",
            "reader",
            {"Content-Type": "application/json"},
            b'{"a":1}',
            415,
            "not-supported",
        ),
        (
            "POST",
            "/fhir/Observation",
            "source",
            {"Content-Type": "application/fhir+json"},
            b" ",
            400,
            "invalid",
        ),
        (
            "POST",
            "/fhir/Observation",
            "source",
            {"Content-Type": "application/fhir+json", "If-None-Exist": " "},
            b"{}",
            400,
            "invalid",
        ),
        (
            "POST",
            "/fhir/Observation/_search",
            "reader",
            {"Content-Type": "application/x-www-form-urlencoded"},
            b"\xff\xfe=1",
            400,
            "invalid",
        ),
    ],
)
async def test_a_refusal_has_its_status_and_an_outcome(  # noqa: PLR0917 - a row of the table
    hub: Hub,
    method: str,
    path: str,
    token: str | None,
    headers: dict[str, str],
    data: bytes | None,
    status: int,
    code: str,
):
    hub.door.put({"resourceType": "Observation", "id": "o1", "status": "final"})
    reply = await hub.send(method, path, token, headers=headers, data=data)
    assert reply.status == status
    assert reply.json["issue"][0]["code"] == code
    assert reply.texts
    assert ("Allow" in reply.headers) == (status == 405)
    assert reply.headers["X-Request-Id"]
    assert hub.writer.taken == []


@pytest.mark.parametrize(
    ("category", "status"),
    [
        (Category.CONFLICT, 409),
        (Category.STALE, 412),
        (Category.BUSINESS_RULE, 422),
        (Category.BUSY, 503),
    ],
)
async def test_what_the_writer_refuses_is_told_fault_by_fault(
    hub: Hub, category: Category, status: int
):
    issues = [Issue(text="`Patient.name`: x", expression=("Patient.name",)), Issue(text="y")]
    hub.writer.fails_with = HieError(category, "two faults", issues)
    headers = {"Content-Type": "application/fhir+json"}
    reply = await hub.send("POST", "/fhir/Patient", "source", headers=headers, data=b"{}")
    assert reply.status == status
    assert reply.json["issue"][0]["expression"] == ["Patient.name"]
    assert len(reply.json["issue"]) == 2


async def test_an_unforeseen_error_tells_only_the_request_id(
    hub: Hub, caplog: pytest.LogCaptureFixture
):
    hub.door.fails_with = ValueError(f"cannot read {CANARY}")
    with caplog.at_level(logging.ERROR):
        reply = await hub.get("/fhir/Patient/p1", **{"X-Request-Id": "r-17"})
    assert reply.status == 500
    told = reply.headers["X-Request-Id"]
    assert told.startswith("r-17~")
    assert reply.json["issue"][0]["diagnostics"] == told
    assert CANARY not in reply.texts
    assert CANARY not in caplog.text
    assert [record.__dict__["request_id"] for record in caplog.records] == [told]


async def test_a_request_has_an_id_that_begins_with_its_own(hub: Hub):
    kept = await hub.get("/fhir/metadata", **{"X-Request-Id": "abc-1.2_3"})
    assert kept.headers["X-Request-Id"].startswith("abc-1.2_3~")
    made = await hub.get("/fhir/metadata", **{"X-Request-Id": "a b<script>"})
    assert len(made.headers["X-Request-Id"]) == 32


async def test_who_may_not_come_in_is_told_how(hub: Hub):
    reply = await hub.get("/fhir/Patient/p1", token=None)
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="fhir"'
    over = await hub.get("/fhir/Patient/p1", token="unknown")
    assert 'error="invalid_token"' in over.headers["WWW-Authenticate"]
    basic = await hub.send("GET", "/fhir/Patient", None, headers={"Authorization": "Basic x"})
    assert basic.status == 401
    assert (
        "insufficient_scope"
        in (await hub.get("/fhir/Condition/c1", token="narrow")).headers["WWW-Authenticate"]
    )


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (
            "/fhir/Observation?code:exact=x",
            "`code`: `:exact` is not supported here; supported: `:not`",
        ),
        ("/fhir/Observation?_include:recurse=x", "supported: `:iterate`"),
        ("/fhir/Observation?patient.foo=x", "`patient.foo`: a part of it is no search parameter"),
        (
            "/fhir/Patient/p1/_history?foo=x",
            "`foo`: not supported here; expected `_count`, `_since`",
        ),
        ("/fhir/ValueSet/$expand?url=urn:x&foo=x", "`foo`: expected each once: count, filter"),
    ],
)
async def test_what_is_not_offered_is_named_with_what_is(hub: Hub, path: str, said: str):
    reply = await hub.get(path)
    assert reply.status == 400
    assert said in reply.json["issue"][0]["details"]["text"]


async def test_refusals_of_access_are_watched(hub: Hub):
    await hub.get("/fhir/Patient/p1", token=None)
    await hub.get("/fhir/Condition/c1", token="narrow")
    await hub.get("/fhir/Observation/none")
    assert hub.refused.told == [(None, "read", 401), (NARROW, "read", 403)]


async def test_a_method_that_is_not_offered_names_those_that_are(hub: Hub):
    reply = await hub.send("POST", "/fhir/Observation/o1", data=b"")
    assert "GET" in reply.headers["Allow"]


async def test_a_form_has_a_bounded_number_of_fields(hub: Hub):
    reply = await hub.send(
        "POST",
        "/fhir/Observation/_search",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        data=b"&".join([b"a=1"] * 600),
    )
    assert reply.status == 400


async def test_a_server_that_nobody_watches_refuses_all_the_same():
    app = web.Application()
    door = FakeDoor(INDEX)
    setup(
        app,
        door=door,
        records=door,
        identities=FakeIdentities(),
        writer=FakeWriter(),
        token_checker=Tokens(),
        index=INDEX,
        settings=FhirSettings(),
        clock=StillClock(),
        sealer=KeyRing.ephemeral().sealing_key("cursor"),
        judge=JUDGE,
    )
    async with TestClient(TestServer(app)) as http, http.get("/fhir/Patient") as response:
        assert response.status == 401
