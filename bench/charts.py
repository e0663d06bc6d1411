"""Persons with charts loaded into a fresh hub: a page at a time, in memory of one page's size.

Identities are written as `bench.registry` does. Resources are placed by the hub's own code -
labels, compartments, sealed bodies, index rows - and inserted in bulk: by COPY on PostgreSQL.
What each record is of is given; nothing is linked.
"""

import json
import resource as usage
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import Row, Table
from sqlalchemy.ext.asyncio import AsyncConnection

from bench.messages import chart
from bench.population import Population, Registered
from bench.registry import SOURCE, Registry, Tally, survey
from hie.flow.memory import Memory
from hie.flow.place import Placer
from hie.flow.placement import Origin, Placement
from hie.inserts import Values, insert
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId, PersonId, SourceRecordId
from hie.services import Services
from hie.store.changes import Changes
from hie.store.writer import NewVersion, ResourceWriter

#: Records of one transaction.
PAGE = 500
#: Persons with a chart of 361 resources; all others have a small one.
LARGE = 20
#: Persons that questions are asked about, spread over all.
ASKED = 1_000
#: Observations and encounters of a chart; with all else, 361 and 9 resources.
SHAPES = {True: (299, 30), False: (4, 2)}
#: Observations that the Provenance of a chart speaks of.
TOLD_OF = 4
_OWNER = "@@"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A person that questions may be asked about: what is stored and how to ask for it.

    Attributes:
        record: the source record the chart is filed under.
        system, value: an identifier of it.
    """

    person: str
    record: str
    system: str
    value: str
    family: str
    birth: str


@dataclass(slots=True, kw_only=True)
class Loaded:
    """What a load did.

    Attributes:
        small, large: persons to ask about, by the size of their charts.
        peak_mb: memory of the loading process, at most.
    """

    persons: int
    records: int = 0
    resources: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    small: list[Known] = field(default_factory=list)
    large: list[Known] = field(default_factory=list)

    def line(self) -> str:
        """What it did and how fast, for people."""
        return (
            f"{self.persons:,} persons, {self.records:,} records, {self.resources:,} resources "
            f"in {self.seconds:.0f} s: {self.persons / self.seconds:.0f} persons/s, "
            f"{self.resources / self.seconds:.0f} resources/s ({self.cpu_seconds:.0f} s of "
            f"processor time here, {self.peak_mb:.0f} MB at most)"
        )


class ChartLoader:
    """Loads persons into an empty hub, page by page."""

    def __init__(self, services: Services, count: int) -> None:
        self._services = services
        self._registry = Registry(
            services.db, services.ring, services.keys, services.config.mpi, under=Tally()
        )
        self._placer = _placer(services)
        self._loaded = Loaded(persons=count)
        #: The last person whose chart is written; persons come in order of their numbers.
        self._last = 0

    async def run(self) -> Loaded:
        """Load them; what was done."""
        loaded = self._loaded
        started, cpu = time.perf_counter(), time.process_time()
        records = Population().records(loaded.persons)
        while page := list(islice(records, PAGE)):
            await self._page(page)
            self._registry.remember_only([str(page[-1].person)])
        await survey(self._services.db)
        loaded.seconds = time.perf_counter() - started
        loaded.cpu_seconds = time.process_time() - cpu
        loaded.peak_mb = usage.getrusage(usage.RUSAGE_SELF).ru_maxrss / 1024
        return loaded

    async def _page(self, page: Sequence[Registered]) -> None:
        now_us = self._services.clock.now_us()
        reads = [self._registry.read_one(record, now_us) for record in page]
        owners: dict[str, Sequence[str]] = {
            read.arrival.record_id: (str(record.person), "", "")
            for record, read in zip(page, reads, strict=True)
        }
        placements: list[Placement] = []
        async with self._services.db.transaction() as conn:
            persons = await self._registry.write_page(conn, reads, owners)
            for record, read, person in zip(page, reads, persons, strict=True):
                placements += self._chart(record, read.arrival.record_id, person)
            origin = Origin(source_id=SOURCE, message_id=MessageId(0), now_us=now_us)
            await self._placer.place(conn, origin, placements)
        self._loaded.records += len(page)
        self._loaded.resources += len(placements)

    def _chart(
        self, record: Registered, record_id: SourceRecordId, person: PersonId
    ) -> list[Placement]:
        """The Patient of a record and, with the first record of a person, the chart."""
        patient = {**record.patient, "id": record_id}
        placements = [Placement(type="Patient", id=record_id, resource=patient, owner=record_id)]
        if record.person <= self._last:
            return placements
        self._last = record.person
        is_large = self._is_one_of(record, LARGE)
        if is_large or self._is_one_of(record, ASKED):
            known = self._loaded.large if is_large else self._loaded.small
            known.append(_known(record, record_id, person))
        written = _template(is_large).replace(_OWNER, record_id)
        for made in json.loads(written, parse_float=Decimal):
            placements.append(
                Placement(type=made["resourceType"], id=made["id"], resource=made, owner=record_id)
            )
        return placements

    def _is_one_of(self, record: Registered, wanted: int) -> bool:
        """Whether a person is one of so many spread over all."""
        return record.person % max(1, self._loaded.persons // wanted) == 0


def _placer(services: Services) -> Placer:
    """The hub's placer, with a writer for resources that are new."""

    async def nobody_moved(_: AsyncConnection, __: object) -> None:
        """Nobody's identity changes in a load."""

    config, index = services.config, services.config.index
    writer = BulkWriter(
        services.db,
        services.keys,
        services.ring,
        index,
        lambda coding: services.labeller.table.knows([coding]),
    )
    return Placer(
        services.mpi,
        services.labelling,
        index,
        services.repository,
        writer,
        services.consent,
        Memory(services.repository, Changes(services.keys, index), config.lifecycles),
        nobody_moved,
    )


class BulkWriter(ResourceWriter):
    """Inserts resources that nobody has stored before."""

    async def _stored(
        self, conn: AsyncConnection, items: Sequence[NewVersion]
    ) -> dict[tuple[int, str], Row[Any]]:
        return {}

    async def _insert(
        self, conn: AsyncConnection, rows: Mapping[Table, Collection[Values]]
    ) -> None:
        if conn.dialect.name != "postgresql":
            await insert(conn, rows)
            return
        driver: Any = (await conn.get_raw_connection()).driver_connection
        for table, found in rows.items():
            names = [column.name for column in table.columns]
            await driver.copy_records_to_table(table.name, records=[*found], columns=names)


def _known(record: Registered, record_id: SourceRecordId, person: PersonId) -> Known:
    return Known(
        person=person,
        record=record_id,
        system=record.system,
        value=record.value,
        family=record.patient["name"][0]["family"],
        birth=record.patient["birthDate"],
    )


@cache
def _template(is_large: bool) -> str:
    """A chart as JSON, with `@@` where the id of the Patient's record belongs."""
    entries = chart(*SHAPES[is_large])["entry"]
    names: dict[str, str] = {}
    made = []
    for number, entry in enumerate(entries):
        resource: FhirJson = entry["resource"]
        is_patient = resource["resourceType"] == "Patient"
        key = _OWNER if is_patient else f"{_OWNER}-{number}"
        names[entry["fullUrl"]] = f"{resource['resourceType']}/{key}"
        if not is_patient:
            made.append({**resource, "id": key})
    made.append(
        _provenance(
            [names[entry["fullUrl"]] for entry in entries[-SHAPES[is_large][0] :][:TOLD_OF]]
        )
    )
    written = json.dumps(made)
    for url, reference in names.items():
        written = written.replace(url, reference)
    return written


def _provenance(targets: Sequence[str]) -> FhirJson:
    return {
        "resourceType": "Provenance",
        "id": f"{_OWNER}-p",
        "target": [{"reference": target} for target in targets],
        "recorded": "2026-01-31T09:30:00Z",
        "agent": [{"who": {"display": "Sample laboratory"}}],
    }


def observation_of(known: Known, *, is_large: bool) -> str:
    """The id of the first observation of a person's chart."""
    entries = chart(*SHAPES[is_large])["entry"]
    kinds = [entry["resource"]["resourceType"] for entry in entries]
    return f"{known.record}-{kinds.index('Observation')}"
