"""`$everything` of one person with 361 resources, beside the bare read, cipher, join and wire."""

import asyncio
import http
import json
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp

from bench.floors import make_chart_file
from bench.machine import percentile, print_table
from bench.messages import chart
from bench.process import Hub, running, running_hub
from tests.support.ports import free_port

WARM_UP = 20
TARGET_MS = 5
TARGET_RATIO = 4
#: The one source of the benchmark; unknown to every file, so an ad-hoc one.
ORGANIZATION = "urn:hie:bench|chart-clinic"
FHIR_JSON = {"Content-Type": "application/fhir+json"}
#: The floor does not compress either; what compression costs is a row of its own.
PLAIN = {"Accept-Encoding": "identity"}
GZIP = {"Accept-Encoding": "gzip"}


def measure(folder: Path, *, count: int) -> None:
    """Print the table of `$everything`.

    Args:
        folder: for the data of this run.
        count: requests a row.
    """
    with running_hub(folder / "everything") as hub:
        token = hub.command("token", "--scope", "system/*.cruds", "--organization", ORGANIZATION)
        headers = {"Authorization": f"Bearer {token}"}
        person = asyncio.run(_load(hub, headers))
        url = f"{hub.fhir}/Patient/{person}/$everything"
        times, body = asyncio.run(_get_many(url, headers | PLAIN, count))
        packed_times, _ = asyncio.run(_get_many(url, headers | GZIP, count // 2))
        search = f"{hub.fhir}/Observation?patient={person}&code=http://loinc.org|2345-7&_count=20"
        search_times, _ = asyncio.run(_get_many(search, headers | PLAIN, count))
    resources = [json.dumps(e["resource"]).encode() for e in json.loads(body)["entry"]]
    floor_times, floor_body = _floor(folder, resources, count)
    print_table(
        f"Patient/$everything over HTTP with a token ({len(resources)} resources, "
        f"{len(body) / 1000:.0f} kB, {count} requests a row, one at a time)",
        ("", "p50 ms", "p99 ms", "of the floor", "target"),
        [
            ("SQLite read + AES-GCM + join + aiohttp (floor)", *_ms(floor_times), "", ""),
            (
                "hub: token, consent, read, audit committed",
                *_ms(times),
                f"{percentile(times, 0.5) / percentile(floor_times, 0.5):.1f} x",
                f"p50 <= {TARGET_MS}, <= {TARGET_RATIO} x",
            ),
            ("hub: the same, compressed by gzip", *_ms(packed_times), "", ""),
            ("hub: Observation?patient&code, 20 a page", *_ms(search_times), "", "3 / 10"),
        ],
    )
    print(f"  floor body {len(floor_body) / 1000:.0f} kB")


def _ms(times: list[float]) -> tuple[str, str]:
    return f"{percentile(times, 0.5) * 1000:.2f}", f"{percentile(times, 0.99) * 1000:.2f}"


async def _load(hub: Hub, headers: dict[str, str]) -> str:
    """Send the chart; the id of the person it is about."""
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(hub.fhir, data=json.dumps(chart()), headers=FHIR_JSON) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
            if response.status != http.HTTPStatus.OK:
                sys.exit(
                    f"the chart was not accepted: {response.status} {json.dumps(answer)[:500]}"
                )
        location = answer["entry"][-1]["response"]["location"].split("/_history")[0]
        async with session.get(f"{hub.fhir}/{location.removeprefix(hub.fhir + '/')}") as response:
            observation = await response.json(content_type=None)
    return str(observation["subject"]["reference"].removeprefix("Patient/"))


async def _get_many(url: str, headers: dict[str, str], count: int) -> tuple[list[float], bytes]:
    times = []
    async with aiohttp.ClientSession(headers=headers) as session:
        for number in range(WARM_UP + count):
            started = time.perf_counter()
            async with session.get(url) as response:
                body = await response.read()
                if response.status != http.HTTPStatus.OK:
                    sys.exit(f"{url}: {response.status} {body[:500]!r}")
            if number >= WARM_UP:
                times.append(time.perf_counter() - started)
    return times, body


def _floor(folder: Path, resources: list[bytes], count: int) -> tuple[list[float], bytes]:
    path, key, port = folder / "chart.db", secrets.token_bytes(32), free_port()
    make_chart_file(path, resources, key)
    arguments = ["-m", "bench.floors", "everything", str(port), str(path), key.hex()]
    with running(arguments, port, os.environ):
        return asyncio.run(_get_many(f"http://127.0.0.1:{port}/everything", PLAIN, count))
