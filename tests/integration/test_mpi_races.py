"""Many writers at once: a record never belongs to two persons, a human is not made twice."""

import asyncio
import os
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import text

from hie.db import Database
from hie.flow.decisions import Merge, Steward
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId, SourceRecordId
from mpi.model import Identified
from tests.integration.test_moves import JANE, SENDER, Feed, pid, pv1
from tests.support.mpi import Index, patient, steward
from tests.support.running_hub import running_hub

WRITERS = 16
ROUNDS = 25 if os.environ.get("HIE_TEST_LONG") == "1" else 3
AWAY = {"line": "3 Quarry Road", "zip5": "02138", "phone": "781-234-0000"}


async def test_a_human_arriving_everywhere_at_once_is_one_person(database: Database):
    index = Index(database)
    arrivals = [index.see(patient(), "N1", f"s{n}") for n in range(WRITERS)]
    found: list[Identified] = await asyncio.gather(*arrivals)
    assert len({f.person_id for f in found}) == 1
    assert len({f.source_record_id for f in found}) == WRITERS


async def test_a_record_arriving_many_times_at_once_is_one_record(database: Database):
    index = Index(database)
    versions = [patient(email=f"n{n}@b.org") for n in range(WRITERS)]
    found = await asyncio.gather(*(index.see(version, "M1") for version in versions))
    assert len({f.source_record_id for f in found}) == 1
    assert len({f.person_id for f in found}) == 1
    async with database.reading() as conn:
        links = await conn.scalar(text("SELECT count(*) FROM identity_link"))
        version = await conn.scalar(text("SELECT version FROM source_record"))
    assert (links, version) == (1, WRITERS)


async def test_merges_and_arrivals_at_once_leave_every_record_one_person(database: Database):
    index = Index(database)
    for number in range(8):
        await index.see(patient(), f"M{number}")
    merges = [index.merge("M0", f"M{number}") for number in range(1, 8)]
    arrivals = [index.see(patient(email=f"n{n}@b.org", **AWAY), f"M{n}") for n in range(8)]
    await asyncio.gather(*merges, *arrivals)
    async with database.reading() as conn:
        open_links = await conn.execute(
            text(
                "SELECT record_id, count(*) AS n FROM identity_link "
                "WHERE valid_to_us IS NULL GROUP BY record_id"
            )
        )
        persons = await conn.execute(
            text("SELECT DISTINCT person_id FROM identity_link WHERE valid_to_us IS NULL")
        )
    assert [row.n for row in open_links] == [1] * 8
    assert len(list(persons)) == 1


async def test_decisions_of_all_kinds_at_once_leave_every_record_one_living_person(
    database: Database,
):
    """Merges, unmerges, links, splits, merges by the source and arrivals, sixteen at a time.

    Nothing waits for each other in a circle: no writer is turned away by the database.
    """
    index = Index(database)
    seen = [await index.see(patient(**OTHERS[n % 4]), f"M{n}", "mercy") for n in range(8)]
    records = [one.source_record_id for one in seen]
    async with database.transaction() as conn:  # the hub's own key is made once, at its start
        await index.mpi.steward.confirm(conn, records[0], steward())
    rng = Random(11)
    work = [Writer(index, records, rng.randrange(1_000_000)) for _ in range(WRITERS)]
    await asyncio.gather(*(writer.run(ROUNDS) for writer in work))
    assert sum(writer.done for writer in work) > WRITERS
    async with database.reading() as conn:
        open_links = await conn.execute(
            text(
                "SELECT l.record_id, p.status, count(*) AS n FROM identity_link l "
                "JOIN person p ON p.id = l.person_id WHERE l.valid_to_us IS NULL "
                "GROUP BY l.record_id, p.status"
            )
        )
        held = [tuple(row) for row in open_links]
        ended = await conn.scalar(
            text("SELECT count(*) FROM identity_link WHERE valid_to_us < valid_from_us")
        )
        known = await conn.scalar(text("SELECT count(*) FROM source_record WHERE version > 0"))
    assert {record for record, _, _ in held} >= set(records)
    assert {(status, n) for _, status, n in held} == {("active", 1)}
    assert (len(held), ended) == (known, 0)


OTHERS: tuple[dict[str, Any], ...] = (
    {},
    AWAY,
    {"given": ["Otto"], "family": "Wild", "born": "1944-04-04", "gender": "male"},
    {"given": ["Ida"], "family": "Fern", "born": "1990-12-24"},
)


class Writer:
    """Somebody who decides this and that about the same few records."""

    def __init__(self, index: Index, records: list[SourceRecordId], seed: int) -> None:
        self.index = index
        self.records = records
        self.rng = Random(seed)
        self.seed = seed
        self.done = 0

    async def run(self, rounds: int) -> None:
        for turn in range(rounds):
            work = self.rng.choice([self.merge, self.merge, self.part, self.source, self.arrive])
            try:
                await work(turn)
                self.done += 1
            except HieError as error:
                # Another was faster: what was asked for makes no sense any more.
                if error.category not in (Category.CONFLICT, Category.NOT_FOUND):
                    raise

    async def merge(self, _: int) -> None:
        one, other = self.rng.sample(self.records, 2)
        kept, gone = await self.index.persons(one, other)
        stewards = self.index.mpi.steward
        async with self.index.db.transaction() as conn:
            done = await stewards.merge(conn, PersonId(kept), PersonId(gone), steward())
        async with self.index.db.transaction() as conn:
            await stewards.undo(conn, done.decision_id, steward())

    async def part(self, _: int) -> None:
        one, other = self.rng.sample(self.records, 2)
        (person,) = await self.index.persons(other)
        stewards = self.index.mpi.steward
        async with self.index.db.transaction() as conn:
            if self.rng.random() < 0.5:
                await stewards.link(conn, one, PersonId(person), steward())
            else:
                await stewards.split(conn, PersonId(person), {other}, steward())

    async def source(self, _: int) -> None:
        one, other = self.rng.sample(range(8), 2)
        await self.index.merge(f"M{one}", f"M{other}")

    async def arrive(self, turn: int) -> None:
        other = self.rng.choice(OTHERS)
        number = self.rng.choice([f"N{self.seed}-{turn}", f"M{self.rng.randrange(8)}"])
        await self.index.see(patient(email=f"n{turn}@b.org", **other), number)


async def test_what_is_filed_while_persons_change_is_the_records_persons(
    database_url: str, tmp_path: Path
):
    """Messages come in while stewards merge and unmerge: no resource is left behind."""
    async with running_hub(tmp_path, HIE_DATABASE_URL=database_url) as hub:
        feed = Feed(hub)
        for number in ("1", "2", "3"):
            await feed.send("A01", pid(JANE, number), pv1(f"V{number}"))
        persons = [PersonId(await feed.person(number)) for number in ("1", "2", "3")]
        stewards, who = hub.hub.stewards, Steward(name="kim")

        async def decide() -> None:
            for kept, gone in (persons[:2], persons[1:]) * 4:
                try:
                    done = await stewards.decide(who, Merge(kept=kept, gone=gone))
                    await stewards.undo(who, done.decision_id)
                except HieError as error:
                    if error.category is not Category.CONFLICT:
                        raise

        async def fill(number: str) -> None:
            for visit in range(1, 13):
                header = SENDER.format(event="A01", control=f"W{number}-{visit}", day=20)
                segments = (header, "EVN||20260120113000", pid(JANE, number), pv1(f"W{visit}"))
                (answer,) = await hub.send("\r".join((*segments, "")).encode())
                assert b"|AA|" in answer

        await asyncio.gather(decide(), decide(), *(fill(n) for n in ("1", "2", "3")))
        await hub.hub.worker.idle()
        async with hub.hub.db.reading() as conn:
            stray = await conn.scalar(
                text(
                    "SELECT count(*) FROM resource r JOIN identity_link l "
                    "ON l.record_id = r.source_record_id AND l.valid_to_us IS NULL "
                    "WHERE r.person_id <> l.person_id"
                )
            )
            visits = await conn.scalar(
                text("SELECT count(*) FROM resource WHERE source_record_id IS NOT NULL")
            )
        assert stray == 0
        assert visits > 36
