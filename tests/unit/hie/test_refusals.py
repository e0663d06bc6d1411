"""What aiohttp refuses by itself is told in the form of the API asked, and repeats nothing."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from structlog.testing import capture_logs

from fhir_server.validate import validate
from hie.serving import REFUSALS, Runner
from hie.web import Metrics, setup
from tests.support.subscribers import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANARY = b"Zzcanary"


async def taken(_: web.Request) -> web.Response:
    return web.Response(text="taken")


async def read(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


async def unread(_: web.Request) -> web.Response:
    return web.Response(status=415, text="unread")


async def broken(_: web.Request) -> web.Response:
    raise ValueError(CANARY.decode())


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Runner]:
    """A server with one address of each API."""
    app = web.Application()
    for prefix in ("/fhir", "/staff/v1"):
        app.router.add_get(f"{prefix}/here", taken)
    app.router.add_get("/broken", broken)
    app.router.add_post("/read", read)
    app.router.add_post("/unread", unread)
    setup(app, Metrics(), {}, REFUSALS)
    runner = Runner(app, REFUSALS)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port() -> AsyncIterator[int]:
    async with serving() as runner:
        yield runner.addresses[0][1]


async def asked(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what a server answers to some bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = dict(line.lower().split(": ", 1) for line in head[1:-1])
        body = await reader.readexactly(int(headers["content-length"]))
    finally:
        writer.close()
        await writer.wait_closed()
    assert CANARY not in body
    assert headers["server"] == "hie"
    assert headers["x-content-type-options"] == "nosniff"
    return int(head[0].split()[1]), headers, body


def request(line: str, *headers: str) -> bytes:
    return "\r\n".join([f"{line} HTTP/1.1", "Host: hub", *headers, "", ""]).encode()


@pytest.mark.parametrize(
    ("line", "headers", "status", "kind", "told"),
    [
        ("GET /fhir/Zzcanary", (), 404, "application/fhir+json", "`metadata`"),
        ("POST /fhir/here", (), 405, "application/fhir+json", "`Allow`"),
        ("GET /fhir/here", ("Expect: Zzcanary",), 417, "application/fhir+json", "100-continue"),
        ("GET /staff/v1/Zzcanary", (), 404, "application/problem+json", "/staff/v1"),
        ("PUT /staff/v1/here", (), 405, "application/problem+json", "`Allow`"),
        ("GET /Zzcanary", (), 404, "text/plain", "/fhir/metadata"),
        ("GET /fhirZzcanary", (), 404, "text/plain", "/fhir/metadata"),
        ("POST /broken", (), 405, "text/plain", "`Allow`"),
    ],
)
async def test_a_refusal_has_the_form_of_the_api(port, line, headers, status, kind, told):
    got, answered, body = await asked(port, request(line, *headers))
    assert (got, answered["content-type"]) == (status, f"{kind}; charset=utf-8")
    assert told in body.decode()
    assert ("allow" in answered) == (status == 405)
    if kind == "application/fhir+json":
        assert validate(json.loads(body)) == ()


@pytest.mark.parametrize(
    ("sent", "status", "told"),
    [
        (b"Zzcanary\r\n\r\n", 400, "HTTP"),
        (request("GET /fhir/here", "Zzcanary in name: 1"), 400, "HTTP"),
        (request("GET /fhir/Patient?name=" + "Zzcanary" * 1200), 414, "POST"),
        (request("GET /fhir/here", "X-Long: " + "Zzcanary" * 1200), 431, "header"),
        (request("POST /fhir/here", "Content-Length: Zzcanary"), 400, "HTTP"),
    ],
)
async def test_what_is_no_http_is_told_so_without_being_repeated(port, sent, status, told):
    with capture_logs() as logs:
        got, answered, body = await asked(port, sent)
    assert (got, answered["content-type"]) == (status, "application/fhir+json; charset=utf-8")
    assert validate(json.loads(body)) == ()
    assert told in body.decode()
    assert "http.refused" in {entry["event"] for entry in logs}
    assert CANARY.decode() not in str(logs)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_is_not_compressed_as_it_says_is_the_senders_fault(port, encoding):
    sent = request("POST /read", f"Content-Encoding: {encoding}", "Content-Length: 8")
    got, _, body = await asked(port, sent + CANARY)
    assert (got, b"well-formed" in body) == (400, True)


@pytest.mark.parametrize("encoding", ["br", "gzip", "deflate", "rot13"])
@pytest.mark.parametrize("size", [8, 1_000_000])
async def test_a_packed_body_that_nobody_reads_ends_quietly(caplog, encoding, size):
    """A refusal of the encoding, of the caller or of the address leaves the body where it is."""
    sent = request("POST /unread", f"Content-Encoding: {encoding}", f"Content-Length: {size}")
    with capture_logs() as logs:
        async with serving() as runner:
            reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
            writer.write(sent)
            await asyncio.sleep(0.01)  # the answer may well come before the body
            writer.write((CANARY * size)[:size])
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert await reader.readexactly(6) == b"unread"
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            server = runner.server
            assert server is not None
            await until(lambda: not server.connections)
    assert head.startswith("HTTP/1.1 415")
    assert "Connection: close" in head
    assert {entry["log_level"] for entry in logs} <= {"info", "debug"}
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []


async def test_a_plain_body_that_nobody_reads_leaves_the_connection_as_it_was(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(request("POST /unread", "Content-Length: 8") + CANARY)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert "Connection: close" not in head
        assert await reader.readexactly(6) == b"unread"
    writer.close()
    await writer.wait_closed()


async def test_answers_go_on_as_before(port):
    got, answered, body = await asked(port, request("GET /fhir/here"))
    assert (got, body) == (200, b"taken")
    assert answered["x-request-id"]
    assert (await asked(port, request("GET /broken")))[0] == 500
