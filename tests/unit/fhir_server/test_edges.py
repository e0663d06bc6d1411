"""What HTTP offers besides FHIR: other origins, compression, indentation - and their bounds."""

import gzip
import json
import zlib

import pytest

from fhir_server.responses import pretty
from tests.support.fhir_api import LIMIT_BYTES, fill, running_api

PORTAL, STRANGER = "https://portal.example", "https://portal.example.evil"
JSON = "application/fhir+json"


async def test_a_listed_page_may_call_and_read_what_it_needs():
    async with running_api(frozenset({PORTAL})) as hub:
        fill(hub.door)
        reply = await hub.get("/fhir/Observation/o000", Origin=PORTAL)
        assert reply.headers["Access-Control-Allow-Origin"] == PORTAL
        assert "ETag" in reply.headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Credentials" not in reply.headers
        assert reply.headers["Vary"].endswith(", Origin")
        # What is refused can be read too, or a page could not say why.
        reply = await hub.get("/fhir/Observation/none", Origin=PORTAL)
        assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (404, PORTAL)


async def test_a_browser_asks_before_it_sends_and_needs_no_token():
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "prefer"}
    async with running_api(frozenset({PORTAL})) as hub:
        reply = await hub.send(
            "OPTIONS", "/fhir/Observation/o1", None, headers={"Origin": PORTAL, **asked}
        )
        assert (reply.status, reply.body) == (204, b"")
        assert reply.headers["Access-Control-Allow-Origin"] == PORTAL
        assert "PATCH" in reply.headers["Access-Control-Allow-Methods"]
        assert "Prefer" in reply.headers["Access-Control-Allow-Headers"]
        assert "X-Security-Context" in reply.headers["Access-Control-Allow-Headers"]
        assert hub.refused.told == []


@pytest.mark.parametrize("origins", [frozenset({PORTAL}), frozenset()])
async def test_a_page_that_is_not_listed_is_told_nothing(origins: frozenset[str]):
    async with running_api(origins) as hub:
        fill(hub.door)
        for origin in (STRANGER, "null", f"{PORTAL}/"):
            reply = await hub.get("/fhir/Observation/o000", Origin=origin)
            assert not [name for name in reply.headers if name.startswith("Access-Control")]
            asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
            reply = await hub.send("OPTIONS", "/fhir/Observation/o000", None, headers=asked)
            assert not [name for name in reply.headers if name.startswith("Access-Control")]


def packed(size: int) -> bytes:
    return gzip.compress(b'{"resourceType":"' + b" " * size + b'"}')


@pytest.mark.parametrize(
    ("data", "encoding", "status"),
    [
        # A thousand times smaller than what it holds.
        (packed(100 * LIMIT_BYTES), "gzip", 413),
        (zlib.compress(b" " * 100 * LIMIT_BYTES), "deflate", 413),
        (b"not compressed", "gzip", 400),
        (b"{}", "rot13", 415),
        (b" " * (LIMIT_BYTES + 1), "identity", 413),
    ],
)
async def test_a_compressed_body_is_bounded_by_what_it_holds(
    data: bytes, encoding: str, status: int
):
    async with running_api() as hub:
        headers = {"Content-Type": JSON, "Content-Encoding": encoding}
        reply = await hub.send("POST", "/fhir/Observation", "source", headers=headers, data=data)
        assert reply.status == status, reply.body
        assert reply.texts
        if status == 413:
            assert str(LIMIT_BYTES) in reply.texts
        assert hub.writer.taken == []


async def test_people_may_read_what_is_given_and_what_is_refused():
    async with running_api() as hub:
        fill(hub.door)
        for path in ("/fhir/Observation/o000", "/fhir/Observation", "/fhir/Observation/none"):
            plain = await hub.get(path)
            indented = await hub.get(f"{path}?_pretty=true")
            assert indented.status == plain.status
            assert indented.body.startswith(b'{\n  "resourceType"')
            if "link" not in plain.json:
                assert indented.json == plain.json


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"a":{},"b":[],"c":[{}]}',
        b'{"n":[72.50,1e5,-0,true,null],"s":"} \\" ] , { \\\\"}',
        b'"only text"',
    ],
)
def test_indented_json_says_the_same_to_the_last_digit(body: bytes):
    made = pretty(body)
    assert json.loads(made) == json.loads(body)
    outside = b"".join(part if n % 2 else part.translate(None, b" \n") for n, part in _parts(made))
    assert outside == body


def _parts(made: bytes) -> list[tuple[int, bytes]]:
    """The text outside of strings (even) and in them (odd)."""
    found, start, is_in, at = [], 0, False, 0
    while at < len(made):
        if made[at : at + 1] == b"\\":
            at += 2
            continue
        if made[at : at + 1] == b'"':
            end = at + 1 if is_in else at
            found.append((int(is_in), made[start:end]))
            start, is_in = end, not is_in
        at += 1
    return [*found, (0, made[start:])]
