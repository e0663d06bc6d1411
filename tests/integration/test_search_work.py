"""How much the databases look at for one question: no more in a large hub than in a small one.

A hub with the charts of 25 people is asked, and asked again with all of it there 48 times more.
PostgreSQL counts the rows it looked at, in each state that its statistics can be in (none, of
the first day, of some tables, of all); SQLite counts its steps.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, String, case, func, insert, literal, select, text

from hie.crypto import KeyRing
from hie.db import Database
from hie.keystore import KeyStore
from hie.store.charts import Around, Charts
from hie.store.criteria import Criteria
from hie.store.masking import load_masking
from hie.store.order import After, Key
from hie.store.portion import Portion
from hie.store.predicate import bound, visibility_of
from hie.store.query import Include
from hie.store.repository import ResourceRepository
from hie.store.residual import DefaultRule, Residual
from hie.store.searches import SearchStatements
from hie.store.tables import compartment, resource, sp_date, sp_ref, sp_token
from hie.store.walks import Pace, Walks
from tests.integration.test_search_plans import query_of
from tests.support.consents import NOW_US
from tests.support.said import noted
from tests.support.search_worlds import INDEX, World, store

CONFIG = Path(__file__).resolve().parents[2] / "config/fhir"
ASKED = Residual(
    grantees=frozenset({"Organization/clinic", "*"}),
    purposes=frozenset({"TREAT"}),
    defaults=(DefaultRule(effect="permit"),),
    hard_bits=(1, 2, 4),
)
#: Times that everything is there once more.
COPIES = 48
#: A person's chart of some ten resources, looked at by a few conditions.
FEW = 900
#: A page, and what is walked for it.
SOME = 4_000
CODE = "8480-6"
AFTER_ALL = 2**63 - 1
PACE = Pace(few=64)
#: What is done to the statistics before all is asked, by whether it is SQLite.
STATES = {
    True: ("", "ANALYZE"),
    False: ("", "DELETE FROM pg_statistic", "ANALYZE resource, sp_date", "ANALYZE"),
}
OF_ONE = (
    "Observation?patient=person3",
    f"Observation?patient=person3&code={CODE}",
    f"Observation?patient=person3&code={CODE}&status=final",
    f"Observation?patient=person3&code={CODE}&_sort=-date",
    "Observation?patient=person3&date=ge2020",
    "Observation?patient=person3&encounter.status=finished",
    "Observation?patient=person3&encounter=Encounter/x25&status=final",
    "Observation?patient=person3&_lastUpdated=ge2020",
    "Observation?subject=Patient/person3&value-string=positive",
)
OF_NOBODY = (
    "Observation?status=final,amended",
    "Observation?status=final&_sort=-date",
    "Observation?_sort=date",
    "Observation?code=0000-0",
    "Observation?code=0000-0&_sort=-date",
    f"Observation?status=final&code={CODE}",
)
#: Of five pages even here: read from end to end as soon as by an index.
SMALL = "compartment"
#: Resources of one large chart, ten a visit: a tenth Conditions, a twentieth of today.
LARGE = 600
#: What may be looked at for a few of them, beside the chart's own rows in an index.
OF_FEW = 400
NARROW = {
    "Observation?patient=large&encounter=Encounter/v7": OF_FEW,
    "Observation?patient=large&encounter=Encounter/v7&status=final": OF_FEW,
    "Condition?patient=large": OF_FEW,
    "Observation?patient=large&_lastUpdated=ge2026": LARGE + OF_FEW,
}
Ask = Callable[[Any], Awaitable[Any]]


class Questions:
    """What is asked: a page and, where there is one, the next."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        visibility, criteria = visibility_of(INDEX), Criteria(INDEX, ring)
        keys, masking = KeyStore(database, ring), load_masking(CONFIG)
        self._repository = ResourceRepository(
            keys, INDEX, visibility, criteria, lambda _: b"", masking
        )
        statements = SearchStatements(INDEX, visibility, criteria)
        self._walks = Walks(statements, criteria, INDEX, PACE)
        self._charts = Charts(INDEX, visibility, self._repository)

    def all(self) -> dict[str, tuple[int, Ask]]:
        """By name, the most rows that may be looked at, and how it is asked."""
        return {
            "chart": (FEW, self._everything),
            "include": (FEW, self._included),
            **{written: (FEW, partial(self._search, written)) for written in OF_ONE},
            **{written: (SOME, partial(self._walk, written)) for written in OF_NOBODY},
        }

    async def _everything(self, conn: Any) -> None:
        for half in (self._charts.members, self._charts.beyond):
            await half(conn, ASKED, Around.PERSON, "person3", Portion())

    async def _included(self, conn: Any) -> None:
        query = query_of("Observation?patient=person3")
        found = await self._repository.search(conn, ASKED, query)
        target = INDEX.param("Provenance", "target")
        assert target is not None
        reverse = Include(source="Provenance", param_ids=target.param_ids, is_reverse=True)
        await self._repository.linked.referring(
            conn,
            ASKED,
            reverse,
            target="Observation",
            ids=[one.id for one in found.served],
            persons=["person3"],
            limit=100,
        )

    async def _search(self, written: str, conn: Any) -> None:
        query = replace(query_of(written), count=2)
        first = await self._repository.search(conn, ASKED, query)
        if first.end:
            behind = After(key=first.end, as_of=AFTER_ALL)
            await self._repository.search(conn, ASKED, query, behind)

    async def _walk(self, written: str, conn: Any) -> None:
        """Rows alone: the copies have no bodies."""
        query = query_of(written)
        found, order = await self._walks.page(conn, ASKED, query, None)
        if found:
            key = Key(values=order.keys(found[-1]), tie=found[-1].pk)
            await self._walks.page(conn, ASKED, query, After(key=key, as_of=AFTER_ALL))


async def test_no_question_looks_at_more_in_a_larger_hub(
    database: Database, keyring: KeyRing
) -> None:
    await store(database, World(20260107), keyring)
    await survey(database, "ANALYZE")
    asked = Questions(database, keyring).all()
    before = {name: await work(database, ask) for name, (_, ask) in asked.items()}
    await copy(database)
    for state in STATES[database.is_sqlite]:
        await survey(database, state)
        for name, (most, ask) in asked.items():
            limit = 3 * before[name] + FEW if database.is_sqlite else most
            assert await work(database, ask) <= limit, (state, name)
    # The same page by the statement that looks at all: else nothing is shown above.
    first, whole = pages(keyring)
    assert await work(database, whole) > 3 * await work(database, first)


async def test_of_a_large_chart_the_narrowest_list_is_looked_at(
    database: Database, keyring: KeyRing
) -> None:
    await store(database, World(20260107), keyring)
    await survey(database, "ANALYZE")
    await large_chart(database)
    statements = SearchStatements(INDEX, visibility_of(INDEX), Criteria(INDEX, keyring))
    whole = "Observation?patient=large&performer=Practitioner/d1"
    for state in STATES[database.is_sqlite]:
        await survey(database, state)
        of_all = await work(database, partial(asked_whole, statements, whole))
        for search, most in NARROW.items():
            looked = await work(database, partial(asked_whole, statements, search))
            assert looked <= (of_all / 2 if database.is_sqlite else most), (state, search, of_all)


async def asked_whole(statements: SearchStatements, written: str, conn: Any) -> None:
    """Rows alone, as of a page: the chart has no bodies."""
    query = query_of(written)
    built = statements.page(query, ASKED, is_after=False)
    await conn.execute(built.statement, {**built.values, **bound(ASKED), "count": query.count + 1})


async def large_chart(database: Database) -> None:
    observation, condition = INDEX.type_id("Observation"), INDEX.type_id("Condition")
    encounter = INDEX.type_id("Encounter")
    referring, status = (INDEX.param("Observation", name) for name in ("encounter", "status"))
    assert referring is not None
    assert status is not None
    kept: list[dict[str, Any]] = [held(9_999, encounter, "v7")]
    refs, tokens = [], []
    for n in range(LARGE):
        one = held(
            10_000 + n, observation if n % 10 else condition, f"large{n}", is_new=n % 20 == 1
        )
        kept.append(one)
        of = {"resource_pk": one["pk"], "type_id": one["type_id"]}
        visit = {"target_type_id": encounter, "target_id": f"v{n // 10}"}
        refs.append({**of, **visit, "param_id": referring.param_ids[0]})
        final = {"system": "s", "code": "final", "person_id": "large"}
        tokens.append({**of, **final, "param_id": status.param_ids[0]})
    async with database.transaction() as conn:
        for table, rows_of in ((resource, kept), (sp_ref, refs), (sp_token, tokens)):
            await conn.execute(insert(table), rows_of)


def held(pk: int, type_id: int, key: str, *, is_new: bool = False) -> dict[str, Any]:
    return {
        "pk": pk,
        "type_id": type_id,
        "id": key,
        "person_id": "large",
        "source_id": "s",
        "version": 1,
        "body_version": 1,
        "deleted": False,
        "message_id": 1,
        "label_mask": 0,
        "content_hash": b"",
        "last_updated_us": NOW_US if is_new else 0,
    }


def pages(ring: KeyRing) -> tuple[Ask, Ask]:
    """A page of what is latest: as it is walked, and by the whole search."""
    query = query_of("Observation?_sort=-date")
    criteria = Criteria(INDEX, ring)
    statements = SearchStatements(INDEX, visibility_of(INDEX), criteria)
    walks = Walks(statements, criteria, INDEX, PACE)
    built = statements.page(query, ASKED, is_after=False)
    values = {**built.values, **bound(ASKED), "count": query.count + 1}
    return (
        lambda conn: walks.page(conn, ASKED, query, None),
        lambda conn: conn.execute(built.statement, values),
    )


async def survey(database: Database, statement: str) -> None:
    if statement:
        async with database.transaction() as conn:
            await conn.execute(text(statement))


async def copy(database: Database) -> None:
    """Everything once more, and again, under other names: no body, as nobody is to be told it."""
    async with database.transaction() as conn:
        greatest = (await conn.execute(select(func.max(resource.c.pk)))).scalar_one()
        smallest = (await conn.execute(select(func.min(resource.c.pk)))).scalar_one()
        for n in range(1, COPIES + 1):
            behind = n * (greatest - smallest + 1)
            for table in (resource, compartment, sp_token, sp_date, sp_ref):
                pk = table.c.pk if table is resource else table.c.resource_pk
                columns = [copied(column, behind, f"~{n}") for column in table.c]
                rows = select(*columns).where(pk <= greatest)
                await conn.execute(insert(table).from_select([c.name for c in table.c], rows))


def copied(column: Any, behind: int, name: str) -> Any:
    if column.name in ("pk", "resource_pk"):
        return column + literal(behind, BigInteger)
    if column.name in ("id", "person_id", "source_record_id", "target_id"):
        return case((column == "", column), else_=column + literal(name, String))
    return column


async def work(database: Database, ask: Ask) -> int:
    """Rows that PostgreSQL looks at for a question, or hundreds of steps of SQLite."""
    async with database.transaction() as conn:
        with noted(conn) as said:
            await ask(conn)
        if database.is_sqlite:
            return steps(database, said)
        return sum([await rows(conn, statement, values) for statement, values in said])


def steps(database: Database, said: list[tuple[str, Any]]) -> int:
    taken = 0

    def note() -> None:
        nonlocal taken
        taken += 1

    with closing(sqlite3.connect(database.url.database or "")) as bare:
        bare.set_progress_handler(note, 100)
        for statement, values in said:
            bare.execute(statement, values).fetchall()
    return taken


async def rows(conn: Any, statement: str, values: Any) -> int:
    await conn.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
    await conn.exec_driver_sql(f"PREPARE asked AS {statement}")
    given = ", ".join(map(written, values))
    asked = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE asked({given})"
    (plan,) = (await conn.exec_driver_sql(asked)).scalar_one()
    await conn.exec_driver_sql("DEALLOCATE asked")
    return looked_at(plan["Plan"])


def looked_at(node: Mapping[str, Any]) -> int:
    """Rows of tables, those found and those thrown away, in all rounds."""
    kinds = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    is_counted = node.get("Relation Name", SMALL) != SMALL
    own = sum(node.get(kind, 0) for kind in kinds) if is_counted else 0
    loops = float(node["Actual Loops"])
    return round(own * loops) + sum(map(looked_at, node.get("Plans", ())))


def written(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return "'{" + ",".join(map(str, value)) + "}'"
    return "'" + str(value).replace("'", "''") + "'"
