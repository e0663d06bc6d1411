"""Identities at the size of a state: a registry loaded, one record identified, `$match` asked.

Run at a million persons: `make bench BENCH_ARGS="identity --scale 50"`.
"""

import asyncio
import gc
import http
import json
import os
import resource
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import aiohttp

from bench.machine import percentile, print_table
from bench.population import Population, Registered, Somebody
from bench.process import memory_mb, running_hub
from bench.registry import SOURCE, Readings, Registry, survey
from hie.flow.placement import Origin, Placement
from hie.kernel.envelope import SourceIdentifier
from hie.kernel.ids import MessageId, PersonId, SourceId, SourceRecordId
from hie.services import Services
from hie.settings import load_settings
from mpi.blocking import blocking_keys
from mpi.decide import Matcher, decide, judge_person
from mpi.model import Outcome
from mpi.normalize import Normalizer
from mpi.settings import MpiSettings
from tests.support.postgres import running_server

#: Records identified one after the other, and `$match` requests, a database.
ASKED = 1_000
#: The day ages are counted on.
AS_OF = date(2026, 1, 1)
#: Persons whose Patients are stored, to be found by `$match`.
SHOWN = 500
WRITERS = 8
#: Who sends what is identified: another source than the registry.
SENDER = SourceId("adhoc:BENCH|DESK")
ORGANIZATION = "urn:hie:bench|desk"
TARGET = "p50 <= 10, p99 <= 50, >= 500/s"


@dataclass(slots=True, kw_only=True)
class Run:
    """What was measured on one database: title and seconds of each step."""

    title: str
    is_linked: bool = True
    stages: dict[str, float] = field(default_factory=dict)
    rows: list[tuple[str, ...]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a step of the load."""
        started = time.perf_counter()
        yield
        self.stages[name] = time.perf_counter() - started
        print(f"  {self.title}: {name} {self.stages[name]:.0f} s", flush=True)

    def times(self, name: str, seconds: Sequence[float], elapsed: float, target: str = "") -> None:
        """Keep how long one of many took, and how many there were a second."""
        cells = (f"{percentile(seconds, share) * 1000:.2f}" for share in (0.5, 0.99))
        self.rows.append((name, *cells, f"{len(seconds) / elapsed:.0f}", target))


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """Who lives there, what sources have of them, and whom they were linked to.

    Attributes:
        person_of: by record id, the row of `Linked.links` without it.
    """

    population: Population
    count: int
    readings: Readings
    sample: Sequence[Somebody]
    person_of: dict[str, Sequence[str]] = field(default_factory=dict)


def lookup(folder: Path, *, count: int) -> None:
    """Print the same tables without the time of linking: whose each record is, is given."""
    measure(folder, count=count, is_linked=False)


def measure(folder: Path, *, count: int, is_linked: bool = True) -> None:
    """Print the tables of identities.

    Args:
        folder: for the data of this run.
        count: persons.
        is_linked: whether the registry is linked, or whose each record is, is given.
    """
    # One key file: records keep their ids, so they are read and linked once for both.
    settings = {"HIE_KEY_FILE": str(folder / "kek.json"), "HIE_HOME": str(folder / "sqlite")}
    run = Run(title="SQLite", is_linked=is_linked)
    town = asyncio.run(_town(run, settings, count, folder / "readings"))
    # Nothing of it goes away any more: looking for garbage in it would take longer than the work.
    gc.freeze()
    asyncio.run(_measure(run, settings, town))
    with running_server(is_durable=True) as server:
        url = server.url("postgres")
        settings |= {"HIE_HOME": str(folder / "postgresql"), "HIE_DATABASE_URL": url}
        asyncio.run(_measure(Run(title="PostgreSQL"), settings, town))


async def _town(run: Run, settings: dict[str, str], count: int, path: Path) -> Town:
    """Read the records of so many persons, and link them or be told whose they are."""
    population, jobs = Population(), os.cpu_count() or 1
    async with _services(settings) as services:
        registry = _registry(services)
        with run.stage("normalise"):
            readings = registry.read(population.records(count), path, jobs)
        if run.is_linked:
            with run.stage("link"):
                linked = registry.link(readings, jobs)
                person_of: dict[str, Sequence[str]] = {row[0]: row[1:4] for row in linked.links()}
            print(f"  {linked.compared / len(readings.persons):.1f} pairs compared a record")
        else:
            owners = zip(readings.record_ids, readings.persons, strict=True)
            person_of = {record_id: (str(person), "", "") for record_id, person in owners}
    sample = population.sampled(ASKED)
    return Town(
        population=population, count=count, readings=readings, sample=sample, person_of=person_of
    )


def _registry(services: Services) -> Registry:
    return Registry(services.db, services.ring, services.keys, services.config.mpi)


async def _measure(run: Run, settings: dict[str, str], town: Town) -> None:
    async with _services(settings) as services:
        with run.stage("write"):
            await _registry(services).write(town.readings, town.person_of)
        with run.stage("survey"):
            await survey(services.db)
        if services.db.is_sqlite:
            _in_memory(run, services.config.mpi, town)
        await _identify(run, services, town)
        await _show(services, town)
    await _match(run, settings, town)
    header = ("", "p50 ms", "p99 ms", "a second", "target")
    title = f"{run.title}: {town.count} persons, {len(town.readings.persons)} records"
    print_table(title, header, run.rows)
    stages = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in run.stages.items())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"  bulk load {sum(run.stages.values()):.0f} s ({stages}); peak memory {peak} MB")


@asynccontextmanager
async def _services(settings: dict[str, str]) -> AsyncIterator[Services]:
    async with Services(load_settings(settings)) as services:
        yield services


def _in_memory(run: Run, settings: MpiSettings, town: Town) -> None:
    """The same steps over dictionaries: keys, comparison, decision; the floor."""
    model, matcher = settings.model, Matcher(settings)
    normalizer = Normalizer(settings.forms, settings.defaults)
    under: dict[int, list[int]] = defaultdict(list)
    known = town.readings.demographics
    for place, demographics in enumerate(known):
        for key in blocking_keys(demographics, model.keys, _plain, model.keys_per_record):
            if len(under[key.value]) < model.key_cap:
                under[key.value].append(place)
    taken = []
    for one in town.sample:
        asked = normalizer.demographics(town.population.again(one).patient, AS_OF)
        started = time.perf_counter()
        votes: dict[int, int] = defaultdict(int)
        for key in blocking_keys(asked, model.keys, _plain, model.keys_per_record):
            for place in under.get(key.value, ()):
                votes[place] += 1
        best = sorted(votes, key=lambda place: -votes[place])[: model.thresholds.persons]
        decide(
            (
                judge_person(
                    PersonId(str(place)),
                    [matcher.pair(SourceRecordId(""), asked, known[place])],
                    model.thresholds,
                )
                for place in best
            ),
            model.thresholds,
        )
        taken.append(time.perf_counter() - started)
    run.times("in memory: keys, compare, decide (floor)", taken, sum(taken))


def _plain(*parts: str) -> int:
    return hash(parts)


async def _identify(run: Run, services: Services, town: Town) -> None:
    population, sample = town.population, town.sample
    known = [population.again(one) for one in sample]
    fresh = [population.again(population.newcomer()) for _ in sample]
    for name, records in (("known persons", known), ("newcomers", fresh)):
        started = time.perf_counter()
        done = [await _one(services, record) for record in records]
        took = time.perf_counter() - started
        linked = sum(outcome is Outcome.LINK for outcome, _ in done)
        title = f"identify, {name}, committed ({linked / len(done):.0%} linked)"
        run.times(title, [seconds for _, seconds in done], took, TARGET)
    if services.db.is_sqlite:
        return
    more = iter([population.again(population.newcomer()) for _ in range(2 * len(sample))])
    times: list[float] = []

    async def work() -> None:
        for record in more:
            times.append((await _one(services, record))[1])

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(WRITERS)))
    run.times(f"identify, newcomers, {WRITERS} at a time", times, time.perf_counter() - started)


async def _one(services: Services, record: Registered) -> tuple[Outcome, float]:
    started = time.perf_counter()
    async with services.db.transaction() as conn:
        found = await services.mpi.identify(
            conn,
            record.patient,
            source_id=SENDER,
            own=SourceIdentifier(system=record.system, value=record.value, type="MR"),
            message_id=MessageId(0),
            now_us=services.clock.now_us(),
            may_update=True,
        )
    return found.outcome, time.perf_counter() - started


async def _show(services: Services, town: Town) -> None:
    """Store the Patients of some persons, as their messages would have."""
    persons = {one.number for one in town.sample[:SHOWN]}
    origin = Origin(source_id=SOURCE, message_id=MessageId(0), now_us=services.clock.now_us())
    for person, record_id, given in town.readings.shown:
        if person in persons:
            placed = SourceRecordId(record_id)
            patient = {**given, "id": placed}
            async with services.db.transaction() as conn:
                placement = Placement(type="Patient", id=placed, resource=patient, owner=placed)
                await services.placer.place(conn, origin, [placement])


async def _match(run: Run, settings: dict[str, str], town: Town) -> None:
    """`$match` over HTTP of a serving hub."""
    home, sample = Path(settings["HIE_HOME"]), town.sample[:SHOWN]
    with running_hub(home, settings.get("HIE_DATABASE_URL", ""), settings["HIE_KEY_FILE"]) as hub:
        token = hub.command("token", "--scope", "system/*.cruds", "--organization", ORGANIZATION)
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/fhir+json",
            "Accept-Encoding": "identity",
        }
        times, hits = [], 0
        async with aiohttp.ClientSession(headers=headers) as session:
            for one in sample:
                asked = {"name": "resource", "resource": town.population.again(one).patient}
                body = json.dumps({"resourceType": "Parameters", "parameter": [asked]})
                started = time.perf_counter()
                async with session.post(f"{hub.fhir}/Patient/$match", data=body) as response:
                    answer = await response.json(content_type=None)
                    if response.status != http.HTTPStatus.OK:
                        sys.exit(f"$match was refused: {response.status} {answer}")
                times.append(time.perf_counter() - started)
                hits += bool(answer.get("entry"))
        memory = memory_mb(hub.pid)
    name = f"$match over HTTP ({hits / len(sample):.0%} found; hub {memory:.0f} MB)"
    run.times(name, times, sum(times))
