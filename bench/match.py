"""`$match`, `$ihe-pix` and a PDQm search over HTTP, with token, consent and audit.

The hospital that asks sees what it sent itself and, of a treatment regime, everybody else's.
"""

import asyncio
import http
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from bench.machine import percentile, print_table
from bench.population import Population, Registered
from bench.process import Hub, running_hub

RECORDS = 10_000
#: Records of one transaction.
BATCH = 250
WARM_UP = 20
ORGANIZATION = "urn:hie:bench|asking-clinic"
FHIR_JSON = {"Content-Type": "application/fhir+json"}
#: Identifiers of other desks' records are unknown to who asks with these.
Ask = tuple[str, str, Any]


def measure(folder: Path, *, count: int, records: int = 0) -> None:
    """Print the table of identity questions.

    Args:
        folder: for the data of this run.
        count: requests a row.
        records: loaded before; 0 = so many as `BENCH_RECORDS` says, else 10,000.
    """
    wanted = records or int(os.environ.get("BENCH_RECORDS", RECORDS))
    population = Population(seed=11)
    people = list(population.records(max(1, int(wanted / 1.15))))
    os.environ["HIE_REGIME"] = "hipaa-treatment"
    with running_hub(folder / "match") as hub:
        token = hub.command("token", "--scope", "system/*.cruds", "--organization", ORGANIZATION)
        headers = {"Authorization": f"Bearer {token}"} | FHIR_JSON
        started = time.perf_counter()
        asyncio.run(_load(hub, headers, people))
        loading = time.perf_counter() - started
        rows = asyncio.run(_rows(hub, headers, people, count))
    print_table(
        f"Identity questions over HTTP with a token, {len(people):,} records loaded at "
        f"{len(people) / loading:.0f}/s ({count} requests a row, one at a time)",
        ("", "p50 ms", "p99 ms", "told of"),
        rows,
    )


async def _load(hub: Hub, headers: dict[str, str], people: Sequence[Registered]) -> None:
    async with aiohttp.ClientSession(headers=headers) as session:
        for start in range(0, len(people), BATCH):
            entries = [
                {
                    "resource": one.patient,
                    "request": {
                        "method": "PUT",
                        "url": f"Patient?identifier={one.system}|{one.value}",
                    },
                }
                for one in people[start : start + BATCH]
            ]
            bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
            async with session.post(hub.fhir, data=json.dumps(bundle)) as response:
                if response.status != http.HTTPStatus.OK:
                    sys.exit(f"{response.status} {(await response.text())[:500]}")


async def _rows(
    hub: Hub, headers: dict[str, str], people: Sequence[Registered], count: int
) -> list[tuple[str, ...]]:
    step = max(1, len(people) // (count + WARM_UP))
    chosen = people[::step][: count + WARM_UP]
    newcomers = [one.patient for one in Population(seed=99).records(2 * len(chosen))]
    kinds: list[tuple[str, list[Ask]]] = [
        ("$match of a person known here", [_match(_described(one.patient)) for one in chosen]),
        (
            "$match by name, birth date and sex alone",
            [_match(_described(one.patient, ("name", "birthDate", "gender"))) for one in chosen],
        ),
        ("$match of a person nobody knows", [_match(_described(p)) for p in newcomers]),
        ("$ihe-pix by number", [_pix(one) for one in chosen]),
        ("Patient?family&birthdate", [_search(one.patient) for one in chosen]),
    ]
    return [await _row(hub, headers, name, asks[: len(chosen)]) for name, asks in kinds]


async def _row(
    hub: Hub, headers: dict[str, str], name: str, asks: Sequence[Ask]
) -> tuple[str, ...]:
    times, told = [], 0
    async with aiohttp.ClientSession(headers=headers) as session:
        for number, (method, path, body) in enumerate(asks):
            data = None if body is None else json.dumps(body)
            started = time.perf_counter()
            async with session.request(method, f"{hub.fhir}/{path}", data=data) as response:
                answer = json.loads(await response.read())
            if number >= WARM_UP:
                times.append(time.perf_counter() - started)
                told += len(answer.get("entry", answer.get("parameter", ())))
    p50, p99 = (percentile(times, share) * 1000 for share in (0.5, 0.99))
    return name, f"{p50:.1f}", f"{p99:.1f}", f"{told / len(times):.2f}"


def _described(patient: Any, elements: Sequence[str] = ()) -> Any:
    wanted = elements or ("name", "birthDate", "gender", "telecom", "address")
    return {"resourceType": "Patient", **{name: patient[name] for name in wanted}}


def _match(patient: Any) -> Ask:
    return "POST", "Patient/$match", patient


def _pix(one: Registered) -> Ask:
    return "GET", f"Patient/$ihe-pix?sourceIdentifier={one.system}|{one.value}", None


def _search(patient: Any) -> Ask:
    name = patient["name"][0]["family"]
    return "GET", f"Patient?family={name}&birthdate={patient['birthDate']}", None
