"""`$export`: resources a second listed and read, beside the bare read, cipher and join.

A Group of one patient shows that a small export does not pay for the large one beside it.
"""

import asyncio
import http
import json
import secrets
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.floors import NONCE_BYTES, make_chart_file
from bench.machine import print_table
from bench.messages import chart
from bench.process import Hub, running_hub

#: The one source of the benchmark; unknown to every file, so an ad-hoc one.
ORGANIZATION = "urn:hie:bench|export-clinic"
OBSERVATIONS = 40
FHIR_JSON = {"Content-Type": "application/fhir+json"}
PLAIN = {"Accept-Encoding": "identity"}
ASYNC = {"Prefer": "respond-async"}
#: The hub waits so long before it lists, for what is being written.
SETTLE_SECONDS = 1.0
POLL_SECONDS = 0.02


def measure(folder: Path, *, count: int) -> None:
    """Print the table of `$export`.

    Args:
        folder: for the data of this run.
        count: patients, each with some hundred resources.
    """
    with running_hub(folder / "export") as hub:
        token = hub.command("token", "--scope", "system/*.cruds", "--organization", ORGANIZATION)
        headers = {"Authorization": f"Bearer {token}", **PLAIN}
        found = asyncio.run(_measured(hub, headers, count))
    lines, listed, first, again, small = found
    floor = _floor(folder, lines)
    size = sum(map(len, lines))
    print_table(
        f"$export over HTTP with a token ({count} patients, {len(lines)} resources, "
        f"{size / 1e6:.1f} MB, one client)",
        ("", "seconds", "resources/s", "of the floor"),
        [
            ("SQLite read + AES-GCM + join, in one process (floor)", *_row(floor, lines, floor)),
            ("hub: listed, consent decided", *_row(listed, lines, floor)),
            ("hub: files read, decided, audited, first time", *_row(first, lines, floor)),
            ("hub: files read again", *_row(again, lines, floor)),
            ("hub: a Group of one patient beside them, listed", f"{small:.2f}", "", ""),
        ],
    )
    print(f"  without the {SETTLE_SECONDS:.0f} s that every list waits for open writes")


def _row(seconds: float, lines: list[bytes], floor: float) -> tuple[str, str, str]:
    return f"{seconds:.2f}", f"{len(lines) / seconds:.0f}", f"{seconds / floor:.1f} x"


async def _measured(
    hub: Hub, headers: dict[str, str], count: int
) -> tuple[list[bytes], float, float, float, float]:
    async with aiohttp.ClientSession(headers=headers) as session:
        for number in range(count):
            await _send(session, hub.fhir, _chart(number))
        manifest, listed = await _listed(session, f"{hub.fhir}/Patient/$export")
        lines, first = await _read(session, manifest)
        _, again = await _read(session, manifest)
        patient = json.loads(next(line for line in lines if b'"Patient","id"' in line[:60]))
        group = {
            "resourceType": "Group",
            "type": "person",
            "actual": True,
            "member": [{"entity": {"reference": f"Patient/{patient['id']}"}}],
        }
        made = await _send(session, f"{hub.fhir}/Group", group)
        _, small = await _listed(session, f"{hub.fhir}/Group/{made['id']}/$export")
    return lines, listed, first, again, small


def _chart(number: int) -> dict[str, Any]:
    """A chart of somebody else each time."""
    text = json.dumps(chart(OBSERVATIONS))
    for old, new in (
        ("CHART-1", f"CHART-{number}"),
        ("Chartwell", f"Chartwell{number:05d}"),
        ("1958-04-23", f"19{number % 80 + 10}-{number % 12 + 1:02d}-{number % 28 + 1:02d}"),
    ):
        text = text.replace(old, new)
    content: dict[str, Any] = json.loads(text)
    return content


async def _send(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> dict[str, Any]:
    async with session.post(url, data=json.dumps(body), headers=FHIR_JSON) as got:
        answer: dict[str, Any] = await got.json(content_type=None)
        if got.status not in (http.HTTPStatus.OK, http.HTTPStatus.CREATED):
            sys.exit(f"not accepted: {got.status} {json.dumps(answer)[:500]}")
        return answer


async def _listed(session: aiohttp.ClientSession, url: str) -> tuple[dict[str, Any], float]:
    """The manifest, and how long the list took."""
    started = time.perf_counter()
    async with session.get(url, headers=ASYNC) as got:
        address = got.headers["Content-Location"]
    while True:
        async with session.get(address) as got:
            if got.status == http.HTTPStatus.OK:
                manifest: dict[str, Any] = await got.json(content_type=None)
                return manifest, time.perf_counter() - started - SETTLE_SECONDS
            if got.status != http.HTTPStatus.ACCEPTED:
                sys.exit(f"the export failed: {got.status}")
        await asyncio.sleep(POLL_SECONDS)


async def _read(
    session: aiohttp.ClientSession, manifest: dict[str, Any]
) -> tuple[list[bytes], float]:
    lines: list[bytes] = []
    started = time.perf_counter()
    for entry in manifest["output"]:
        async with session.get(entry["url"]) as got:
            lines += (await got.read()).splitlines()
    return lines, time.perf_counter() - started


def _floor(folder: Path, lines: list[bytes]) -> float:
    """Seconds to read, open and join as many rows of the same size."""
    path, key = folder / "floor.db", secrets.token_bytes(32)
    make_chart_file(path, lines, key)
    connection, cipher = sqlite3.connect(path), AESGCM(key)
    started = time.perf_counter()
    rows = connection.execute("SELECT pk, body FROM body WHERE person = 'p' ORDER BY pk")
    size = 0
    while some := rows.fetchmany(200):
        size += len(
            b"\n".join(
                cipher.decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], str(pk).encode())
                for pk, body in some
            )
        )
    seconds = time.perf_counter() - started
    connection.close()
    if not size:
        sys.exit("the floor read nothing")
    return seconds
