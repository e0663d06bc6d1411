"""How the databases carry out searches through references: by indexes, however deep they go."""

import re
from pathlib import Path
from typing import Any

from sqlalchemy import event

from fhir_server.search.parse import SearchParser
from fhir_server.settings import FhirSettings
from hie.crypto import KeyRing
from hie.db import Database
from hie.store.criteria import Criteria
from hie.store.index import load_index
from hie.store.predicate import Visibility, bound
from hie.store.query import Query
from hie.store.residual import DefaultRule, Residual
from hie.store.searches import SearchStatements

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
    visibility = Visibility({name: INDEX.type_id(name) for name in INDEX.types})
    return SearchStatements(INDEX, visibility, Criteria(INDEX, KeyRing.ephemeral()))


async def steps_of(database: Database, search: str) -> list[str]:
    """The steps of a search's plan."""
    query = query_of(search)
    searches = statements()
    build = searches.persons if query.type == "Patient" else searches.page
    built = build(query, ASKED, is_after=False)
    said: list[tuple[str, Any]] = []
    async with database.transaction() as conn:
        raw = conn.sync_connection
        assert raw is not None

        @event.listens_for(raw, "before_cursor_execute")
        def note(_c: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
            said.append((statement, values))

        await conn.execute(built.statement, {**built.values, **bound(ASKED), "count": 21})
        event.remove(raw, "before_cursor_execute", note)
        ((statement, values),) = said
        if not database.is_sqlite:
            await conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
        prefix = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        rows = await conn.exec_driver_sql(f"{prefix} {statement}", values)
        return [str(row[-1]).strip() for row in rows]


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
