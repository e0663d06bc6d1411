"""Many writers at once: a record never belongs to two persons, a human is not made twice."""

import asyncio

from sqlalchemy import text

from hie.db import Database
from mpi.model import Identified
from tests.support.mpi import Index, patient

WRITERS = 16
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
