"""How the databases carry out searches through references: by indexes, however deep they go."""

import re
from pathlib import Path
from typing import Any

from fhir_server.search.parse import SearchParser
from fhir_server.settings import FhirSettings
from hie.crypto import KeyRing
from hie.db import Database
from hie.store.criteria import Criteria
from hie.store.index import load_index
from hie.store.predicate import bound, visibility_of
from hie.store.query import Query
from hie.store.residual import DefaultRule, Residual
from hie.store.searches import SearchStatements
from tests.support.said import noted

INDEX = load_index(Path(__file__).resolve().parents[2] / "config/fhir")
EVERYTHING = DefaultRule(effect="permit")
ASKED = Residual(
    own_sources=frozenset({"clinic-adt"}),
    grantees=frozenset({"Organization/clinic", "*"}),
    purposes=frozenset({"TREAT"}),
    defaults=(EVERYTHING, DefaultRule(effect="deny", label_mask=6)),
    hard_bits=(1, 2, 4),
)
#: Searches of anybody's resources and of one person's.
SEARCHES = (
    "Observation?encounter.status=finished",
    "Observation?encounter.service-provider.name=saint",
    "Observation?patient=p1&encounter.service-provider.name=saint",
    "Patient?_has:Observation:patient:code=8480-6",
    "Patient?_has:Observation:patient:encounter.status=finished",
    "Patient?_id=p1&_has:Observation:patient:encounter.status=finished",
    "Patient?organization.partof.name=saint",
    "Encounter?_has:Observation:encounter:_has:List:item:status=current",
    "Encounter?patient=p1&_has:Observation:encounter:code=8480-6",
    "Organization?_has:Encounter:service-provider:status=finished",
    "Observation?code-value-quantity=8480-6$gt140",
    "Observation?_list=l1",
    "Observation?identifier=urn:results|O9",
)


def query_of(search: str) -> Query:
    type_name, _, text = search.partition("?")
    params = tuple((name, value) for name, _, value in (p.partition("=") for p in text.split("&")))
    parser = SearchParser(INDEX, FhirSettings())
    return parser.parse(type_name, params, may=lambda _: True).query


def statements() -> SearchStatements:
    visibility = visibility_of(INDEX)
    return SearchStatements(INDEX, visibility, Criteria(INDEX, KeyRing.ephemeral()))


async def steps_of(
    database: Database, search: str, *, is_for_all_values: bool = False
) -> list[str]:
    """The steps of a search's plan."""
    query = query_of(search)
    searches = statements()
    build = searches.persons if query.type == "Patient" else searches.page
    built = build(query, ASKED, is_after=False)
    async with database.transaction() as conn:
        with noted(conn) as said:
            await conn.execute(built.statement, {**built.values, **bound(ASKED), "count": 21})
        ((statement, values),) = said
        if not database.is_sqlite:
            await conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
        if is_for_all_values:
            return await _steps_for_all_values(conn, statement, values)
        prefix = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        rows = await conn.exec_driver_sql(f"{prefix} {statement}", values)
        return [str(row[-1]).strip() for row in rows]


async def _steps_for_all_values(conn: Any, statement: str, values: Any) -> list[str]:
    await conn.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
    await conn.exec_driver_sql(f"PREPARE asked AS {statement}")
    given = ", ".join("NULL" if v is None else f"'{v}'" for v in values)
    rows = await conn.exec_driver_sql(f"EXPLAIN EXECUTE asked({given})")
    steps = [str(row[-1]).strip() for row in rows]
    await conn.exec_driver_sql("DEALLOCATE asked")
    return steps


async def test_no_search_looks_at_every_row(database: Database) -> None:
    for search in SEARCHES:
        steps = await steps_of(database, search)
        if database.is_sqlite:
            # `r`, its references and what they lead to are searched, never scanned.
            walked = [step for step in steps if re.match(r"(SCAN|SEARCH) (r\w*|sp_\w+)\b", step)]
            assert walked, search
            assert not [step for step in walked if step.startswith("SCAN")], search
        else:
            assert any("Index" in step for step in steps), search
            assert not [s for s in steps if re.search(r"Seq Scan on (resource|sp_)", s)], search
        if "code-value-quantity" in search:
            assert any("ix_sp_composite_value" in step for step in steps)


async def test_what_is_asked_of_a_person_is_looked_up_once_and_not_for_each_resource(
    database: Database,
) -> None:
    for search in (
        "Observation?patient=p1&code=http://loinc.org|2345-7",
        "Observation?patient=p1&date=ge2020",
    ):
        steps = await steps_of(database, search)
        if database.is_sqlite:
            assert any("LIST SUBQUERY" in step for step in steps), search
        repeated = re.compile(r"CORRELATED LIST SUBQUERY|param_id.*type_id = r\.type_id")
        assert not [step for step in steps if repeated.search(step)], search


async def test_a_plan_made_for_all_values_begins_at_the_few_resources_of_a_person(
    postgres_url: str,
) -> None:
    """Prepared statements are planned without their values: codes all look rare then."""
    database = Database(postgres_url)
    await _fill(database)
    for search in (
        "Observation?patient=p1",
        "Observation?patient=p1&code=http://loinc.org|2345-7",
        "Observation?patient=p1&value-string=positive",
        "Observation?subject=Patient/p1&code=http://loinc.org|2345-7",
    ):
        steps = await steps_of(database, search, is_for_all_values=True)
        whole = [s for n, s in enumerate(steps) if _reads_whole_index(s, steps[n + 1 :])]
        assert not whole, search
        assert not [step for step in steps if "ix_sp_token_value" in step], search
        assert not [s for s in steps if "Seq Scan on resource_version" in s], search
    await database.close()


async def test_what_is_asked_for_by_id_is_looked_up_however_much_the_person_has(
    postgres_url: str,
) -> None:
    database = Database(postgres_url)
    await _fill(database)
    for search in ("Observation?_id=x1&patient=p1", "Observation?_id=x1&patient=p1&code=2345-7"):
        steps = await steps_of(database, search, is_for_all_values=True)
        assert any(re.search(r"Index Cond: .*\(id\)::text = \(\$", step) for step in steps), search
    await database.close()


def test_bodies_are_looked_up_for_what_is_found_and_never_joined() -> None:
    """Joined, PostgreSQL read every body of a small hub for one page (ADR 0048)."""
    for search in SEARCHES:
        query = query_of(search)
        if query.type != "Patient":
            said = str(statements().page(query, ASKED, is_after=False).statement)
            assert "SELECT r_body.body" in said, search
            assert "JOIN resource_version" not in said, search


async def _fill(database: Database) -> None:
    """Ten Observations with a status and a body each of 500 persons, and what is learnt of them."""
    observation, status = INDEX.type_id("Observation"), 24
    async with database.transaction() as conn:
        await conn.exec_driver_sql(
            "INSERT INTO resource (pk, type_id, id, version, body_version, last_updated_us,"
            " deleted, person_id, source_id, message_id, label_mask, content_hash)"
            f" SELECT n, {observation}, 'x' || n, 1, 1, n, false, 'p' || n / 10, 's', 1, 0, ''"
            " FROM generate_series(1, 5000) n"
        )
        await conn.exec_driver_sql(
            "INSERT INTO sp_token (resource_pk, param_id, system, code, type_id, person_id)"
            f" SELECT pk, {status} + k % 3, 's', CASE k WHEN 0 THEN 'final' ELSE 'c' || pk || k"
            " END, type_id, person_id FROM resource, generate_series(0, 5) k"
        )
        await conn.exec_driver_sql(
            "INSERT INTO resource_version (resource_pk, version, body_version, last_updated_us,"
            " deleted, source_id, message_id, label_mask, body, type_id)"
            " SELECT pk, 1, 1, pk, false, 's', 1, 0, decode(repeat('00', 400), 'hex'), type_id"
            " FROM resource"
        )
        await conn.exec_driver_sql("ANALYZE resource, resource_version, sp_token")


def _reads_whole_index(step: str, following: list[str]) -> bool:
    is_scan = re.search(r"Index (Only )?Scan using \S+ on (resource|sp_)", step)
    return bool(is_scan) and not (following and "Index Cond" in following[0])


#: Most aliases, and most subqueries around them.
DEEPEST = (
    "Observation?patient=p1&encounter.service-provider.name=saint",
    "Patient?_has:Observation:patient:encounter.status=finished",
    "Patient?organization.partof.name=saint",
    "Encounter?_has:Observation:encounter:_has:List:item:status=current",
)
SHAPES = {
    "nobody": Residual(),
    "self": Residual(self_person="p1", defaults=(EVERYTHING,), hard_bits=(1, 2, 4)),
    "all": Residual(
        own_sources=frozenset({"a", "b"}),
        self_person="p1",
        sees_source_records=True,
        grantees=frozenset({"a", "b", "c"}),
        defaults=(EVERYTHING, DefaultRule(effect="deny", label_mask=6)),
        hard_bits=(1, 2, 4, 8),
    ),
}


async def test_the_deepest_searches_can_be_parsed_for_every_caller(
    sqlite_database: Database,
) -> None:
    searches = statements()
    async with sqlite_database.reading() as conn:
        for shape in SHAPES.values():
            for search in DEEPEST:
                query = query_of(search)
                is_patient = query.type == "Patient"
                build = searches.persons if is_patient else searches.page
                built = build(query, shape, is_after=False)
                values = {**built.values, **bound(shape), "count": 21}
                assert (await conn.execute(built.statement, values)).all() == []
