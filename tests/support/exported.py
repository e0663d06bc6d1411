"""An export as a client runs it: begun, asked after until it is complete, fetched."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hie.exports.model import SETTLE_SECONDS
from tests.support.asked_hub import Fhir, World

ASYNC: dict[str, Any] = {"Prefer": "respond-async"}
NDJSON = "application/fhir+ndjson"


@dataclass(frozen=True)
class Exported:
    """A manifest and the lines of its files, by type."""

    address: str
    manifest: Fhir
    lines: Mapping[str, list[bytes]]

    @property
    def named(self) -> Counter[str]:
        """`Type/id` of every line, with how often it came."""
        found = (json.loads(line) for lines in self.lines.values() for line in lines)
        return Counter(f"{r['resourceType']}/{r.get('id', '')}" for r in found)

    @property
    def shape(self) -> list[Any]:
        """What of it is the same whenever it is run: types, counts and lines."""
        output = [(o["type"], o.get("count")) for o in self.manifest["output"]]
        gone = [o["type"] for o in self.manifest["deleted"]]
        return [output, gone, self.manifest["error"], self.lines]


async def begin(world: World, who: str, path: str, body: Fhir | None = None, **more: str) -> str:
    """The address to ask after a new export."""
    method = "GET" if body is None else "POST"
    status, headers, told = await world.ask(who, method, path, body, **{**ASYNC, **more})
    assert status == 202, (status, told)
    return headers["Content-Location"]


async def complete(world: World, who: str, address: str) -> Fhir:
    """The manifest, once there is one."""
    await asyncio.sleep(SETTLE_SECONDS)
    for _ in range(600):
        status, headers, body = await world.ask(who, "GET", address)
        if status != 202:
            assert status == 200, (status, body)
            assert headers["Expires"]
            return json.loads(body)  # type: ignore[no-any-return]
        assert int(headers["Retry-After"]) > 0
        assert "X-Progress" in headers
        await asyncio.sleep(0.1)
    raise TimeoutError("the export did not end")


async def fetch(world: World, who: str, url: str) -> list[bytes]:
    """The lines of a file."""
    status, headers, body = await world.ask(who, "GET", url, Accept=NDJSON)
    assert status == 200, (status, body)
    assert headers["Content-Type"] == NDJSON
    return body.splitlines()


async def export(
    world: World, who: str, path: str, body: Fhir | None = None, **more: str
) -> Exported:
    """A whole export."""
    address = await begin(world, who, path, body, **more)
    manifest = await complete(world, who, address)
    lines: dict[str, list[bytes]] = {}
    for entry in [*manifest["output"], *manifest["deleted"]]:
        found = await fetch(world, who, entry["url"])
        assert entry.get("count", len(found)) == len(found), entry
        lines.setdefault(entry["type"], []).extend(found)
    return Exported(address, manifest, lines)
