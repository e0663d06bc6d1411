"""Answers in parts, over a real socket."""

import gzip
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from fhir_server.exchange import Answer
from fhir_server.streaming import stream

TYPE = "application/fhir+ndjson"


async def _parts(number: int, breaks_at: int = -1) -> AsyncIterator[bytes]:
    for one in range(number):
        if one == breaks_at:
            raise ValueError("what it says is not told")
        yield b"line %d\n" % one


async def _got(
    parts: AsyncIterator[bytes], method: str = "GET", **headers: str
) -> tuple[aiohttp.ClientResponse, bytes]:
    async def handle(request: web.Request) -> web.StreamResponse:
        answer = Answer(content_type=TYPE, stream=parts)
        return await stream(request, answer, {"Cache-Control": "no-store"})

    app = web.Application()
    app.router.add_route("*", "/", handle)
    async with TestServer(app) as server, aiohttp.ClientSession(auto_decompress=False) as client:
        sent = {"Accept-Encoding": "identity", **headers}
        async with client.request(method, server.make_url("/"), headers=sent) as response:
            return response, await response.read()


async def test_parts_arrive_in_order_with_the_headers_of_every_answer() -> None:
    response, body = await _got(_parts(3))
    assert body == b"line 0\nline 1\nline 2\n"
    assert response.headers["Content-Type"] == TYPE
    assert response.headers["Cache-Control"] == "no-store"


async def test_parts_are_compressed_for_who_takes_it() -> None:
    response, body = await _got(_parts(500), **{"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body).count(b"\n") == 500


async def test_no_parts_are_an_empty_body() -> None:
    response, body = await _got(_parts(0))
    assert (response.status, body) == (200, b"")


async def test_nothing_is_made_for_a_head() -> None:
    parts = _parts(1)
    response, body = await _got(parts, "HEAD")
    assert (response.status, body) == (200, b"")
    assert await anext(parts) == b"line 0\n"


async def test_what_fails_before_the_first_part_is_answered_with_a_status() -> None:
    response, _ = await _got(_parts(1, breaks_at=0))
    assert response.status == 500


async def test_a_body_that_failed_half_way_does_not_look_whole() -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await _got(_parts(3, breaks_at=2))
