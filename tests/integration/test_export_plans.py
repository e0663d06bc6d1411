"""How the databases list an export: by indexes, so that a small group costs its members."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import KeyRing
from hie.db import Database
from hie.keystore import KeyStore
from hie.store.criteria import Criteria
from hie.store.index import load_index
from hie.store.listing import Listing, Span
from hie.store.masking import load_masking
from hie.store.predicate import visibility_of
from hie.store.residual import DefaultRule, Residual
from hie.store.serving import ResourceServer
from hie.store.veil import Veil
from tests.support.said import noted

INDEX = load_index(Path(__file__).resolve().parents[2] / "config/fhir")
MASKING = load_masking(Path(__file__).resolve().parents[2] / "config/fhir")
ALL = tuple(sorted(INDEX.type_id(name) for name in INDEX.types))
SUPPORTING = tuple(sorted(INDEX.supporting_type_ids))
ASKED = Residual(
    own_sources=frozenset({"clinic-adt"}),
    grantees=frozenset({"Organization/clinic", "*"}),
    purposes=frozenset({"TREAT"}),
    defaults=(DefaultRule(effect="permit"), DefaultRule(effect="deny", label_mask=6)),
    hard_bits=(1, 2, 4),
)
SPAN = Span(as_of_us=2_000_000, since_us=1_000_000)
PERSONS = [f"p{number}" for number in range(32)]
KEYS = list(range(200))

Ask = Callable[[AsyncConnection, Listing], Awaitable[Any]]
QUESTIONS: dict[str, Ask] = {
    "one person": lambda conn, found: found.of_persons(conn, ASKED, SPAN, ALL, PERSONS[:1]),
    "many persons": lambda conn, found: found.of_persons(conn, ASKED, SPAN, ALL, PERSONS),
    "gone": lambda conn, found: found.tombstones(conn, ASKED, SPAN, ALL, PERSONS),
    "nobody's": lambda conn, found: found.nobodys(conn, ASKED, SPAN, ALL, after=(3, 7), limit=1000),
    "referred to": lambda conn, found: found.referred(conn, ASKED, SPAN, SUPPORTING, KEYS),
    "named": lambda conn, found: found.names(conn, ASKED, SPAN, KEYS),
    "read": lambda conn, found: found.read(conn, ASKED, SPAN, KEYS),
}


def listing(database: Database) -> Listing:
    ring = KeyRing.ephemeral()
    visibility = visibility_of(INDEX)
    server = ResourceServer(
        KeyStore(database, ring), INDEX, lambda _: b"", Veil(INDEX, visibility, MASKING)
    )
    return Listing(server, INDEX, visibility, Criteria(INDEX, ring))


async def steps_of(database: Database, ask: Ask) -> list[str]:
    """The steps of a question's plan."""
    async with database.transaction() as conn:
        with noted(conn) as said:
            await ask(conn, listing(database))
        statement, values = said[0]
        if not database.is_sqlite:
            await conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
        prefix = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        rows = await conn.exec_driver_sql(f"{prefix} {statement}", values)
        return [str(row[-1]).strip() for row in rows]


@pytest.mark.parametrize("question", QUESTIONS)
async def test_no_list_looks_at_every_row(database: Database, question: str) -> None:
    steps = await steps_of(database, QUESTIONS[question])
    if not database.is_sqlite:
        assert not [step for step in steps if re.search(r"Seq Scan on (resource|sp_ref)", step)]
        return
    walked = [step for step in steps if re.match(r"(SCAN|SEARCH) [rvb]\b", step)]
    assert walked
    assert not [step for step in walked if step.startswith("SCAN")], walked
    broad = [step for step in walked if re.search(r"USING .*\(type_id=\?\)$", step)]
    assert not broad, "all resources of a type are too many"
