"""Reads of persons with charts over HTTP - token, consent, audit, decryption - beside their floors.

The floor of a row is `bench.read_floor`: the same resources by plain SQL, opened, joined, sent.
Both are asked by one client and by eight at a time, on SQLite and on PostgreSQL.
"""

import asyncio
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench.asking import WARM_UP, Taken, ask
from bench.charts import ChartLoader, Known, Loaded, observation_of
from bench.machine import print_table
from bench.process import Hub, cpu_seconds, memory_mb, running, running_hub
from bench.read_floor import keep
from hie.services import Services
from hie.settings import load_settings
from tests.support.ports import free_port
from tests.support.postgres import running_server

#: Requests a row with one client; with several, twice as many.
REQUESTS = int(os.environ.get("BENCH_REQUESTS", "200"))
CLIENTS = (1, 8)
#: A source that sent nothing: it sees what the regime lets who treats see.
ORGANIZATION = "urn:hie:bench|asking-clinic"
#: Of the first analyte, which every chart has.
CODE = "http://loinc.org|2345-7"
#: Of an analyte that large charts alone have.
RARE = "http://loinc.org|1742-6"
EVERYTHING = "$everything, large chart"
SEARCH = "Observation?patient&code, page of 20"
TARGETS = {EVERYTHING: "5", SEARCH: "3 / 10"}
HEADER = (
    *("", "clients", "p50 ms", "p99 ms", "a second", "hub CPU ms"),
    *("floor p50", "p99", "a second", "of the floor", "target"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one database's data is.

    Attributes:
        settings: of the hub and of who loads it.
        floor: the database of the floor: a file or an address.
    """

    title: str
    settings: Mapping[str, str]
    floor: str


def measure(folder: Path, *, count: int) -> None:
    """Print the tables of reads.

    Args:
        folder: for the data of this run.
        count: persons.
    """
    settings = {"HIE_KEY_FILE": str(folder / "kek.json"), "HIE_HOME": str(folder / "sqlite")}
    _measure(Place(title="SQLite", settings=settings, floor=str(folder / "floor.db")), count)
    with running_server(is_durable=True) as server:
        settings |= {
            "HIE_HOME": str(folder / "postgresql"),
            "HIE_DATABASE_URL": server.url("postgres"),
        }
        _measure(Place(title="PostgreSQL", settings=settings, floor=server.dsn()), count)


def _measure(place: Place, count: int) -> None:
    loaded = asyncio.run(_load(place.settings, count))
    print(f"\n{place.title}: {loaded.line()}; load {os.getloadavg()[0]:.1f}", flush=True)
    home, url = Path(place.settings["HIE_HOME"]), place.settings.get("HIE_DATABASE_URL", "")
    with running_hub(home, url, place.settings["HIE_KEY_FILE"]) as hub:
        before = memory_mb(hub.pid)
        token = hub.command("token", "--scope", "system/*.cruds", "--organization", ORGANIZATION)
        rows = []
        for name, paths in _questions(loaded).items():
            rows += _rows(place, hub, token, name, paths)
        after = memory_mb(hub.pid)
    title = f"{place.title}: reads of {count:,} persons, {loaded.resources:,} resources"
    print_table(f"{title} ({REQUESTS} requests a row)", HEADER, rows)
    print(f"  hub {before:.0f} MB before, {after:.0f} MB after; load {os.getloadavg()[0]:.1f}")


async def _load(settings: Mapping[str, str], count: int) -> Loaded:
    async with Services(load_settings(settings)) as services:
        return await ChartLoader(services, count).run()


def _questions(loaded: Loaded) -> dict[str, list[str]]:
    """What is asked, by the name of its row: one path for each person asked about."""
    small, large = loaded.small, loaded.large
    return {
        "read by id": [f"Observation/{observation_of(k, is_large=False)}" for k in small],
        SEARCH: [f"Observation?patient={k.person}&code={CODE}&_count=20" for k in large],
        EVERYTHING: [f"Patient/{k.person}/$everything" for k in large],
        "$everything, small chart": [f"Patient/{k.person}/$everything" for k in small],
        "_include and _revinclude=Provenance:target": [
            f"Observation?patient={k.person}&code={CODE}"
            "&_include=Observation:encounter&_revinclude=Provenance:target"
            for k in small
        ],
        "chain: Observation?patient.identifier&code": [
            f"Observation?patient.identifier={_number(k)}&code={CODE}" for k in small
        ],
        "Patient?identifier": [f"Patient?identifier={_number(k)}" for k in small],
        "Patient?name&birthdate": [
            f"Patient?name={quote(k.family)}&birthdate={k.birth}" for k in small
        ],
        "Observation?code, nobody's in particular, page of 20": [
            f"Observation?code={CODE}&_count=20"
        ],
        "the same, newest first": [f"Observation?code={CODE}&_sort=-date&_count=20"],
        "Observation?code that few have, page of 20": [f"Observation?code={RARE}&_count=20"],
        "that one, newest first": [f"Observation?code={RARE}&_sort=-date&_count=20"],
    }


def _number(known: Known) -> str:
    return quote(f"{known.system}|{known.value}", safe=":|")


def _rows(
    place: Place, hub: Hub, token: str, name: str, paths: Sequence[str]
) -> list[tuple[str, ...]]:
    """One question by one client and by several, each beside its floor."""
    headers = {"Authorization": f"Bearer {token}"}
    asked: list[tuple[int, Taken, float]] = []
    for clients in CLIENTS:
        used = cpu_seconds(hub.pid)
        count = REQUESTS if clients == 1 else 2 * REQUESTS
        taken = asyncio.run(ask(hub.fhir, headers, paths, clients=clients, count=count))
        asked.append((clients, taken, (cpu_seconds(hub.pid) - used) / (WARM_UP + count)))
    bodies = asked[0][1].bodies
    floors = _floors(place, [_resources(body) for body in bodies.values()])
    told = sum(len(_resources(body)) for body in bodies.values()) / len(bodies)
    return [
        (
            f"{name} ({told:.0f} each)" if clients == 1 else "",
            f"{clients}",
            *_cells(taken),
            f"{cpu * 1000:.1f}",
            *_cells(floor),
            f"{taken.ms(0.5) / floor.ms(0.5):.1f} x",
            TARGETS.get(name, "") if clients == 1 else "",
        )
        for (clients, taken, cpu), floor in zip(asked, floors, strict=True)
    ]


def _cells(taken: Taken) -> tuple[str, str, str]:
    return f"{taken.ms(0.5):.2f}", f"{taken.ms(0.99):.2f}", f"{taken.rate:.0f}"


def _resources(body: bytes) -> list[bytes]:
    answer = json.loads(body)
    if answer["resourceType"] != "Bundle":
        return [body]
    return [json.dumps(entry["resource"]).encode() for entry in answer.get("entry", ())]


def _floors(place: Place, answers: Sequence[Sequence[bytes]]) -> list[Taken]:
    key, port = secrets.token_bytes(32), free_port()
    asyncio.run(keep(place.floor, answers, key))
    base, paths = f"http://127.0.0.1:{port}", [str(number) for number in range(len(answers))]
    arguments = ["-m", "bench.read_floor", str(port), place.floor, key.hex()]
    with running(arguments, port, os.environ):
        return [
            asyncio.run(ask(base, {}, paths, clients=clients, count=REQUESTS))
            for clients in CLIENTS
        ]
