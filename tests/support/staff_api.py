"""The staff API asked as a console asks it, on a hub in the test's own process."""

import json
import re
from collections.abc import Mapping
from typing import Any

import aiohttp

from hie.staff.api import ROUTES
from hie.staff.schemas import SCHEMAS
from tests.support.json_schema import faults
from tests.support.running_hub import RunningHub

ADT = (
    "MSH|^~\\&|MEDIHOST|STAUR|HIE|MA|20260105120000||ADT^A28|{control}|P|2.5.1\r"
    "EVN||20260105113000\r"
    "PID|1||{number}^^^SAMC^MR||{name}||{born}|F|||14 ORCHARD ST^^CONCORD^MA^01742||(617)234-8871\r"
)
KEYS = iter(f"test-key-{number:08d}" for number in range(10_000))


def registration(control: str, number: str, name: str = "QUINLAN^NORA", born: str = "19710308"):
    """A registration at Saint Aurelia; two numbers of one human there are a steward's question."""
    return ADT.format(control=control, number=number, name=name, born=born).encode()


class Reply:
    """Status, headers and parsed body."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        is_json = "json" in headers.get("Content-Type", "")
        self.json: Any = json.loads(body) if is_json and body else None


class Console:
    """One user of the staff API."""

    def __init__(self, hub: RunningHub, session: aiohttp.ClientSession, token: str) -> None:
        self.hub = hub
        self._session = session
        self._token = token
        self.base = hub.base.removesuffix("/fhir")

    async def ask(self, path: str, body: object = None, **headers: str) -> Reply:
        """GET, or POST where there is a body; `path` after `/staff/v1`, or a `next` address."""
        address = path if path.startswith("/staff") else f"/staff/v1{path}"
        sent = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        async with self._session.request(
            "GET" if body is None else "POST",
            self.base + address,
            json=body,
            headers={**sent, **headers},
        ) as got:
            reply = Reply(got.status, got.headers, await got.read())
        _hold_to_document(got.method, address, reply)
        return reply

    async def get(self, path: str) -> Any:
        """The JSON of a GET that must succeed."""
        reply = await self.ask(path)
        assert reply.status == 200, reply.body
        return reply.json

    async def do(self, path: str, body: object, version: str = "", key: str = "") -> Reply:
        """A change, with the version seen and a key of its own."""
        headers = {"Idempotency-Key": key or next(KEYS)}
        if version:
            headers["If-Match"] = f'"{version}"'
        return await self.ask(path, body, **headers)

    async def task(self) -> Any:
        """The only task of the queue, as read."""
        (line,) = (await self.get("/mpi/tasks"))["tasks"]
        return await self.get(f"/mpi/tasks/{line['id']}")


def _hold_to_document(method: str, address: str, reply: Reply) -> None:
    """Every answer is what the OpenAPI document says of it."""
    path = address.removeprefix("/staff/v1").partition("?")[0]
    if reply.json is None or path == "/openapi.json":
        return
    if reply.status >= 400:
        assert faults(reply.json, SCHEMAS["Problem"], SCHEMAS) == []
        return
    (route,) = [r for r in ROUTES if r.method == method and _is_of(r.path, path)][:1]
    assert faults(reply.json, SCHEMAS[route.answer], SCHEMAS) == [], address


def _is_of(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) is not None
