"""Searches against their definition: ids, order, total, pages and includes, under consent.

A case is one search by one caller, followed to its last page; what it must give is found by
judging each resource alone (`tests/support/naive_search.py`). `HIE_TEST_LONG=1` tries more,
with fresh seeds; a seed that fails is printed and becomes a row of `FAILED_ONCE`.
"""

import os
from dataclasses import replace
from random import Random, SystemRandom

import pytest
from sqlalchemy import delete, text

from fhir_server.search.parse import SearchParser
from fhir_server.settings import FhirSettings
from hie.db import metadata
from hie.golden import GoldenPatients
from hie.kernel.context import Caller, Scope
from hie.keystore import KeyStore
from hie.searching import Searches
from hie.store.criteria import Criteria
from hie.store.predicate import Visibility
from hie.store.repository import ResourceRepository
from hie.store.tables import resource
from mpi.settings import load_mpi_settings
from mpi.survivorship import Survivorship
from tests.support.consent_worlds import SOURCES, a_request
from tests.support.consents import CONFIG, NOW_US
from tests.support.search_questions import Seen, a_question
from tests.support.search_worlds import INDEX, World, store

IS_LONG = os.environ.get("HIE_TEST_LONG") == "1"
#: 60 cases on SQLite and 20 on PostgreSQL, or 3,000 on each.
WORLDS, CALLERS, QUESTIONS = (20, 10, 15) if IS_LONG else (2, 6, 5)
IS_FRESH = IS_LONG and os.environ.get("CI") != "true"
BASE = SystemRandom().randrange(2**32) if IS_FRESH else 20260107
FAILED_ONCE: tuple[int, ...] = ()
TYPES = ("Observation", "Encounter", "Condition", "Provenance", "Practitioner", "Patient")
TABLES = [
    table
    for table in metadata.sorted_tables
    if table.name.startswith(("sp_", "consent_"))
    or table.name in ("compartment", "resource_version")
]


def searches(database, keyring, law):
    """The hub's own way from a query to a page, over a database."""
    labels = law.labels
    security = lambda mask: b'{"code":"N"}'  # noqa: E731 - labels are no matter here
    repository = ResourceRepository(
        KeyStore(database, keyring),
        INDEX,
        Visibility({name: INDEX.type_id(name) for name in INDEX.types}),
        Criteria(INDEX, keyring, labels.asked),
        security,
    )
    survivorship = Survivorship(load_mpi_settings(CONFIG / "mpi").survivorship)
    golden = GoldenPatients(repository, INDEX, survivorship, security)

    async def current(_conn, _residual, asked):
        return asked

    return Searches(repository, golden, INDEX, current)


def an_access(rng, world):
    """A request; of half of the callers one who sent much of what there is."""
    asked = a_request(rng, world.persons)
    if rng.random() < 0.5:
        return asked
    return replace(asked, own_sources=frozenset(rng.sample(SOURCES, rng.choice([2, 3, 4]))))


def a_caller(rng):
    """Whose scopes leave out a type or two, now and then."""
    left_out = set(rng.sample(TYPES, rng.choice([0, 0, 1, 2])))
    scopes = [Scope("system", name, "rs") for name in INDEX.types if name not in left_out]
    return Caller(token_id="t", scopes=tuple(scopes))


async def pages(conn, searching, residual, caller, question, count):
    """Every page of a search; the total is on each."""
    parser = SearchParser(INDEX, FhirSettings())
    params = (*question.params, ("_count", str(count)), ("_total", "accurate"))
    parsed = [
        parser.parse(
            kind,
            params,
            now_us=NOW_US,
            may=lambda name: caller.may(name, "s"),
            types=question.types,
        )
        for kind in question.types
    ]
    cursor = None
    while True:
        queries = [replace(one.query, cursor=cursor) for one in parsed]
        page = await searching.page(conn, residual, caller, queries)
        yield page
        cursor = page.next_cursor
        if cursor is None:
            return


def names(found):
    return [(one.type, one.id) for one in found]


async def judge(conn, searching, residual, seen, question, count):
    """Hold one search against its definition."""
    expected = question.expected(seen)
    told = []
    async for page in pages(conn, searching, residual, seen.caller, question, count):
        matches = names(page.matches)
        told += matches
        assert page.total == len(expected)
        assert len(matches) == count or page.next_cursor is None
        included = names(page.included)
        assert len(included) == len(set(included))
        assert set(included) == seen.included(matches, question.follows)
    assert told == expected


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
async def test_a_search_finds_what_each_resource_alone_would_say(database, keyring):
    for seed in [*FAILED_ONCE, *range(BASE, BASE + WORLDS)]:
        world = World(seed)
        async with database.transaction() as conn:
            for table in (resource, *TABLES):
                await conn.execute(delete(table))
        await store(database, world, keyring)
        searching = searches(database, keyring, world.law)
        rng = Random(seed)
        async with database.transaction() as conn:
            await conn.execute(text("ANALYZE"))
        async with database.reading() as conn:
            for _ in range(CALLERS if IS_LONG or database.is_sqlite else CALLERS // 3):
                asked = an_access(rng, world)
                seen = Seen(world, asked, a_caller(rng))
                for _ in range(QUESTIONS):
                    question = a_question(rng, world, seen.caller)
                    residual = world.law.residual(asked)
                    try:
                        await judge(conn, searching, residual, seen, question, rng.randint(1, 9))
                    except Exception as error:
                        error.add_note(f"seed {seed}: {question.types} {question.params}")
                        raise


def test_the_worlds_are_worth_searching():
    world = World(BASE)
    rng = Random(BASE)
    found = []
    for _ in range(CALLERS):
        seen = Seen(world, an_access(rng, world), a_caller(rng))
        asked = [a_question(rng, world, seen.caller) for _ in range(QUESTIONS)]
        found += [len(question.expected(seen)) for question in asked]
    assert sum(count > 3 for count in found) > len(found) / 5
    assert 0 in found
