"""What labels cost: finding those of a resource, and labelling a hub again when lists change.

The floor of finding them is a walk over the same resources that looks at nothing.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.charts import ChartLoader
from bench.machine import print_table
from bench.messages import chart
from consent.labels import Labeller
from consent.regime import Sensitivity, WordLine
from hie.flow.relabel import Relabel
from hie.kernel.fhir import FhirJson, objects
from hie.services import Services
from hie.settings import load_settings
from hie.store.marks import Marks
from tests.support.postgres import running_server

#: Times the resources of one chart are labelled.
ROUNDS = 20
#: A code that one in some of the loaded results has, and a word that none has.
CODE, WORD = "2345-7", "grumble"


def measure(folder: Path, *, count: int) -> None:
    """Print the table of labels.

    Args:
        folder: for the data of this run.
        count: persons of the hub that is labelled again.
    """
    settings = {"HIE_KEY_FILE": str(folder / "kek.json"), "HIE_HOME": str(folder / "sqlite")}
    _found(Services(load_settings(settings)).labeller)
    asyncio.run(_again("SQLite", settings, count))
    with running_server(is_durable=True) as server:
        settings |= {
            "HIE_HOME": str(folder / "postgresql"),
            "HIE_DATABASE_URL": server.url("postgres"),
        }
        asyncio.run(_again("PostgreSQL", settings, count))


def _found(labeller: Labeller) -> None:
    """Labels found in resources at hand."""
    resources = [entry["resource"] for entry in chart()["entry"]]
    floor = _rate(resources, lambda one: sum(1 for _ in objects(one)))
    found = _rate(resources, lambda one: labeller.labels(one).mask)
    codes = sum(len(one.lines) for one in labeller.sensitivity.lists)
    print_table(
        f"labels of a resource ({len(resources)} resources of a chart, {codes} listed codes, "
        f"{len(labeller.sensitivity.words)} words, one process)",
        ("", "resources/s", "of the floor"),
        [
            ("a walk over every element (floor)", f"{floor:.0f}", "1.0 x"),
            ("labels of codes, words, content", f"{found:.0f}", f"{floor / found:.1f} x"),
        ],
    )


def _rate(resources: list[FhirJson], look: Callable[[FhirJson], int]) -> float:
    for one in resources:
        look(one)
    began = time.perf_counter()
    for _ in range(ROUNDS):
        for one in resources:
            look(one)
    return ROUNDS * len(resources) / (time.perf_counter() - began)


async def _again(title: str, settings: Mapping[str, str], count: int) -> None:
    """A hub of charts whose lists change: a code at its start, a word by the job."""
    async with Services(load_settings(dict(settings))) as services:
        await ChartLoader(services, count).run()
        lists = services.labeller.sensitivity
        start = await _begun(services, with_code(lists))
        seconds, total = await _worked(services, with_word(with_code(lists)))
    print_table(
        f"a change of the lists ({title}, {count} persons, {total} resources, one process)",
        ("", "seconds", "resources/s"),
        [
            ("a new code, before anything is served", f"{start:.2f}", ""),
            ("a new word: everything looked at again", f"{seconds:.1f}", f"{total / seconds:.0f}"),
        ],
    )


async def _begun(services: Services, lists: Sensitivity) -> float:
    job = _job(services, lists)
    began = time.perf_counter()
    async with services.db.transaction() as conn:
        await job.start(conn)
    taken = time.perf_counter() - began
    await job.work(3600)
    return taken


async def _worked(services: Services, lists: Sensitivity) -> tuple[float, int]:
    """Seconds and resources of the first pass; the second looks at what was just loaded."""
    job = _job(services, lists)
    async with services.db.transaction() as conn:
        await job.start(conn)
    total = job.last.total
    began = time.perf_counter()
    stop: list[float] = []

    def tell(done: int, _: int) -> None:
        if done >= total and not stop:
            stop.append(time.perf_counter())

    await job.work(3600, tell)
    return stop[0] - began, total


def _job(services: Services, lists: Sensitivity) -> Relabel:
    marks = Marks(services.keys, services.config.index)
    labelling = type(services.labelling)(Labeller(lists), marks, services.config.index)
    now_us, heed = services.clock.now_us, services.consent.heed
    job = Relabel(services.db, labelling, marks, services.config.index, now_us, heed)
    job.begins = True
    return job


def with_code(lists: Sensitivity) -> Sensitivity:
    """The lists with one more code."""
    more: list[Any] = [
        replace(one, lines=(*one.lines, (CODE, ("PSY",)))) if one.name == "loinc" else one
        for one in lists.lists
    ]
    return replace(lists, lists=tuple(more))


def with_word(lists: Sensitivity) -> Sensitivity:
    """The lists with one more word."""
    line = WordLine(phrase=(WORD,), labels=("PSY",), unless=frozenset())
    return replace(lists, words=(*lists.words, line))
