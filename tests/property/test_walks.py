"""Searches that name nobody find by walking what the whole search finds, page by page.

The whole search is one statement, which `test_search_oracle.py` holds against its definition.
Here it is asked random questions beside walks so short that each page takes many of their steps
and some are given up half-way; among callers of whom most may see little.
"""

import os
from collections import Counter
from dataclasses import replace
from random import Random

from sqlalchemy import insert, select, text

from hie.store.criteria import Criteria
from hie.store.order import After, Key, bound_after
from hie.store.predicate import bound, visibility_of
from hie.store.searches import SearchStatements
from hie.store.tables import sp_date
from hie.store.walks import Pace, Walks
from tests.integration.test_search_plans import query_of
from tests.property.test_search_oracle import an_access
from tests.support.search_worlds import INDEX, World, store

IS_LONG = os.environ.get("HIE_TEST_LONG") == "1"
#: Questions by whether it is SQLite: PostgreSQL plans each for longer than it runs.
QUESTIONS = {True: 1_000 if IS_LONG else 60, False: 60 if IS_LONG else 8}
SEED = 20260107
#: Larger than any key.
AFTER_ALL = 2**63 - 1
PACES = (
    Pace(few=3, first=2, growth=2, most=8, far=12),
    Pace(few=12, first=1, growth=3, most=9, far=1_000),
    Pace(few=1_000),
)
FILTERS = (
    *("status=final", "status=final,amended", "status=preliminary", "code=8480-6"),
    *("status:not=final", "code=http://loinc.org|8480-6,http://loinc.org|2345-7", "_tag=urgent"),
    *("date=ge2022", "_security=N", "code=0000-0", "subject:missing=false"),
)
SORTS = ("", "_sort=date", "_sort=-date", "_sort=-date", "_sort=status", "_sort=-_lastUpdated")


def a_question(rng: Random):
    """Filters, an order and how many a page."""
    asked = rng.sample(FILTERS, rng.choice([0, 1, 1, 1, 2]))
    written = "&".join([*asked, *filter(None, [rng.choice(SORTS)])]) or "status=final"
    return replace(query_of(f"Observation?{written}"), count=rng.choice([1, 2, 3, 5, 20]))


async def pages(ask, query):
    """All pages: the primary keys with what they are sorted by."""
    told, after = [], None
    while True:
        rows, order = await ask(query, after)
        page = rows[: query.count]
        told += [(row.pk, order.keys(row)) for row in page]
        if len(rows) <= query.count:
            return told
        key = Key(values=order.keys(page[-1]), tie=page[-1].pk)
        after = After(key=key, as_of=AFTER_ALL)


class Counted(Walks):
    """Counts in what ways pages were read."""

    def __init__(self, ways, *parts):
        super().__init__(*parts)
        self.ways = ways

    async def _along_code(self, *asked):
        self.ways["code"] += 1
        return await super()._along_code(*asked)

    async def _along_date(self, *asked):
        self.ways["date"] += 1
        return await super()._along_date(*asked)

    async def _whole(self, asked, after):
        self.ways["given up" if asked.found else "whole"] += 1
        return await super()._whole(asked, after)


async def dated_twice(conn, rng):
    """Give some resources further dates, as parameters have that take several."""
    rows = (await conn.execute(select(sp_date).order_by(sp_date.c.resource_pk))).all()
    for row in rng.sample(rows, len(rows) // 3):
        moved = rng.choice([-40, -3, 5, 60]) * 86_400_000_000
        further = {**row._mapping, "lo_us": row.lo_us + moved, "hi_us": row.hi_us + moved}
        await conn.execute(insert(sp_date), further)


async def test_a_walk_tells_what_the_whole_search_tells(database, keyring):
    rng = Random(SEED)
    world = World(SEED)
    await store(database, world, keyring)
    async with database.transaction() as conn:
        await dated_twice(conn, rng)
        await conn.execute(text("ANALYZE"))
    criteria = Criteria(INDEX, keyring, world.law.labels.asked)
    statements = SearchStatements(INDEX, visibility_of(INDEX), criteria)
    ways: Counter[str] = Counter()
    callers = [an_access(rng, world) for _ in range(6 if database.is_sqlite else 1)]
    found = 0
    async with database.reading() as conn:
        for _ in range(QUESTIONS[database.is_sqlite]):
            query, residual = a_question(rng), world.law.residual(rng.choice(callers))

            async def whole(query, after, residual=residual):
                built = statements.page(query, residual, is_after=after is not None)
                place = {} if after is None else bound_after(after)
                values = {**built.values, **place, **bound(residual), "count": query.count + 1}
                return (await conn.execute(built.statement, values)).all(), built.order

            walks = Counted(ways, statements, criteria, INDEX, rng.choice(PACES))

            async def walked(query, after, residual=residual, walks=walks):
                return await walks.page(conn, residual, query, after)

            expected = await pages(whole, query)
            assert await pages(walked, query) == expected, query
            found += len(expected)
    assert found > QUESTIONS[database.is_sqlite]
    assert min(ways[way] for way in ("code", "date", "given up", "whole")) > 0
