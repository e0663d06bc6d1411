"""The SQL predicate against the definition: what the database shows is what `decide` permits.

A case is one caller against one person's consents and eight resources of theirs, some of which
are about a second person too. `HIE_TEST_LONG=1` tries more, with fresh seeds; a seed that fails
is printed and becomes a row of `FAILED_ONCE`.
"""

import os
from dataclasses import dataclass, replace
from random import Random, SystemRandom

from sqlalchemy import Table, delete, insert, select, text

from consent.confine import confined
from consent.evaluate import decide
from consent.model import ResourceFacts
from consent.repository import ConsentRepository
from consent.rules import rule_rows
from hie.store.index import load_index
from hie.store.predicate import Visibility, bound, shape_of
from hie.store.tables import compartment, resource, sp_ref, sp_token
from tests.support.consent_worlds import (
    ORGANIZATIONS,
    a_consent,
    a_reach,
    a_request,
    a_resource,
)
from tests.support.consents import CONFIG, LAWS, law, read

IS_LONG = os.environ.get("HIE_TEST_LONG") == "1"
PERSONS, CALLERS, RESOURCES = 25, 24, 8
#: 600 cases each, without a search; those with one are in `test_search_oracle.py`.
WORLDS = 40 if IS_LONG else 2
IS_FRESH = IS_LONG and os.environ.get("CI") != "true"
BASE = SystemRandom().randrange(2**32) if IS_FRESH else 20260101
FAILED_ONCE: tuple[int, ...] = ()
INDEX = load_index(CONFIG / "fhir")
VISIBILITY = Visibility({name: INDEX.type_id(name) for name in INDEX.types})


@dataclass(frozen=True)
class Held:
    """A resource with everybody it is about, the first its own."""

    facts: ResourceFacts
    persons: tuple[str, ...]


def records_of(person):
    """The source records of a person."""
    return [f"{person}-{which}" for which in "abc"]


class World:
    """Persons, consents, resources and callers of one seed."""

    def __init__(self, seed):
        rng = Random(seed)
        self.law = law(rng.choice(LAWS))
        self.persons = [f"person{number}" for number in range(PERSONS)]
        self.directives = {}
        self.held = []
        for number, person in enumerate(self.persons):
            first = number * RESOURCES + 1
            mine = range(first, first + RESOURCES)
            consents = [a_consent(rng, mine) for _ in range(rng.choice([0, 1, 1, 2, 3]))]
            self.directives[person] = tuple(
                confined(directive, a_reach(rng, records_of(person)))
                if rng.random() < 0.3
                else directive
                for directive in read(*consents)
            )
            for at in mine:
                others = rng.sample(self.persons, 1) if rng.random() < 0.1 else []
                persons = tuple(dict.fromkeys([person, *others]))
                if rng.random() < 0.04:
                    persons = ()
                about = a_resource(rng, at, persons[0] if persons else None)
                if persons:
                    about = replace(about, source_record_id=rng.choice(records_of(person)))
                if rng.random() < 0.04:
                    kind = rng.choice(["Organization", "Patient"])
                    about = replace(about, type=kind, id=f"y{at}")
                self.held.append(Held(about, persons))
        self.requests = [a_request(rng, self.persons) for _ in range(CALLERS)]

    def shown(self, asked):
        """Ids of what the definition shows a caller."""
        return {held.facts.id for held in self.held if self._is_shown(asked, held)}

    def _is_shown(self, asked, held):
        return all(
            decide(
                asked,
                # About a further person it is filed under a record of theirs.
                held.facts
                if person == held.facts.person_id
                else replace(held.facts, person_id=person, source_record_id=f"{person}-a"),
                self.directives.get(person or "", ()),
                self.law,
            ).is_permitted
            for person in held.persons or (None,)
        )


async def fill(database, world):
    """Put a world into the database, instead of what was there."""
    repository = ConsentRepository(database, INDEX.type_id, INDEX.type_name)
    rows: dict[Table, list[dict[str, object]]] = {
        table: [] for table in (resource, compartment, sp_token, sp_ref)
    }
    for pk, held in enumerate(world.held, start=1):
        about = held.facts
        type_id = INDEX.type_id(about.type)
        rows[resource].append(
            {
                "pk": pk,
                "type_id": type_id,
                "id": about.id,
                "version": 1,
                "body_version": 1,
                "last_updated_us": 0,
                "deleted": False,
                "person_id": about.person_id,
                "source_record_id": about.source_record_id,
                "source_id": about.source_id,
                "message_id": 1,
                "label_mask": about.label_mask,
                "clinical_lo_us": about.clinical_lo_us,
                "clinical_hi_us": about.clinical_hi_us,
                "content_hash": bytes(16),
            }
        )
        rows[compartment] += [
            {
                "resource_pk": pk,
                "ordinal": at,
                "person_id": person,
                "source_record_id": f"{person}-a",
            }
            for at, person in enumerate(held.persons[1:], start=1)
        ]
        rows[sp_token] += [
            {
                "resource_pk": pk,
                "param_id": 1,
                "system": system,
                "code": code,
                "type_id": type_id,
                "person_id": "",
            }
            for system, code in about.codes
        ]
        rows[sp_ref] += [
            {
                "resource_pk": pk,
                "param_id": 1,
                "target_type_id": INDEX.type_id(kind),
                "target_id": target,
                "type_id": type_id,
            }
            for kind, target in (reference.split("/") for reference in about.references)
        ]
    async with database.transaction() as conn:
        for table, values in rows.items():
            await conn.execute(delete(table))
            if values:
                await conn.execute(insert(table), values)
        for person, directives in world.directives.items():
            found = [row for directive in directives for row in rule_rows(directive)]
            await repository.replace(conn, person, found)
        await conn.execute(text("ANALYZE"))


async def shown_by_database(conn, residual):
    """Ids of what the predicate shows."""
    r = resource.alias("r")
    query = select(r.c.id).where(VISIBILITY.visible(shape_of(residual), "r"))
    return set((await conn.execute(query, bound(residual))).scalars())


async def test_the_database_shows_what_the_definition_permits(database):
    for seed in [*FAILED_ONCE, *range(BASE, BASE + WORLDS)]:
        world = World(seed)
        await fill(database, world)
        async with database.reading() as conn:
            if not database.is_sqlite:
                # Compiling the predicate costs PostgreSQL a hundred times what running it does.
                await conn.execute(text("SET LOCAL jit = off"))
            for asked in world.requests:
                found = await shown_by_database(conn, world.law.residual(asked))
                assert found == world.shown(asked), f"seed {seed}"


async def test_what_is_read_back_decides_the_same(database):
    world = World(BASE)
    await fill(database, world)
    repository = ConsentRepository(database, INDEX.type_id, INDEX.type_name)
    async with database.reading() as conn:
        loaded = await repository.load(conn, [*world.persons, "nobody"])
    for asked in world.requests[:8]:
        before = world.shown(asked)
        world.directives, original = loaded, world.directives
        assert world.shown(asked) == before
        world.directives = original


def test_the_worlds_show_something_and_hide_something():
    world = World(BASE)
    everything = {held.facts.id for held in world.held}
    counts = [len(world.shown(asked)) for asked in world.requests if asked.grantees]
    assert any(0 < count < len(everything) for count in counts)
    assert any(directives for directives in world.directives.values())
    assert len(ORGANIZATIONS) > 1


def test_a_seed_is_a_world():
    # No parameter: a fresh seed would name another test in each process that collects it.
    one, other = World(BASE), World(BASE)
    assert one.held == other.held
    assert one.directives == other.directives
