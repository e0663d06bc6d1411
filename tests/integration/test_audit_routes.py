"""Every address of the hub: each request leaves its audit event, and nothing leaves without one.

The requests come from the tables of routes themselves, so a route that is added is asked, too.
Spec: DESIGN D13, https://profiles.ihe.net/ITI/BALP/
"""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text

from fhir_server.table import ROUTES as FHIR_ROUTES
from hie.audit.event import AuditRecord
from hie.audit.search import Asked, AuditSearch
from hie.staff.api import ROUTES as STAFF_ROUTES
from tests.conftest import IS_LONG
from tests.support.asked_hub import World, patient

CANARY = "Quillfeather"
#: What BALP and FHIR call an interaction: action, and codes of AuditEvent.subtype.
PATTERNS: dict[str, tuple[str, set[str]]] = {
    "read": ("R", {"read"}),
    "vread": ("R", {"vread"}),
    "history-instance": ("R", {"history-instance"}),
    "history-type": ("R", {"history-type"}),
    "search-type": ("E", {"search-type"}),
    "search-system": ("E", {"search-system"}),
    "everything": ("E", {"operation"}),
    "summary": ("E", {"operation"}),
    "lastn": ("E", {"operation"}),
    "docref": ("E", {"operation", "search-type"}),
    "match": ("E", {"operation"}),
    "ihe-pix": ("E", {"operation"}),
    "accounting": ("E", {"operation"}),
    "create": ("C", {"create", "receive"}),
    "update": ("U", {"update", "receive"}),
    "patch": ("U", {"patch", "receive"}),
    "delete": ("D", {"delete"}),
}
#: Interactions on records that must succeed here, or the table proves nothing of them.
READS = {name for name, (action, _) in PATTERNS.items() if action in ("R", "E")}
WRITES = {"create", "update", "patch", "delete", "transaction"}
BREAK = {
    True: "CREATE TRIGGER full_disk BEFORE INSERT ON audit_event "
    "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
    False: "CREATE TRIGGER full_disk BEFORE INSERT ON audit_event "
    "FOR EACH ROW EXECUTE FUNCTION full_disk()",
}
RAISES = (
    "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$"
)


@dataclass(frozen=True)
class Request:
    """One request of a route, answered or not."""

    api: str
    method: str
    template: str
    interaction: str
    path: str
    who: str
    body: Any = None

    @property
    def name(self) -> str:
        """What a failure is called."""
        return f"{self.method} {self.api}{self.template}"


@pytest.fixture(name="world", params=["sqlite", "postgresql"])
async def _world(request: pytest.FixtureRequest, tmp_path) -> AsyncIterator[World]:
    more = {}
    if request.param == "postgresql":
        more["HIE_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    async with World(tmp_path, **more) as world:
        yield world


async def with_a_record(world: World) -> dict[str, str]:
    """One patient with a result, and tokens for everybody; ids by name."""
    record = await world.post("ALPHA", patient("A1", "alpha"))
    person = await world.person_of("ALPHA", record)
    about = {"subject": {"reference": f"Patient/{record}"}}
    code = {"coding": [{"system": "http://loinc.org", "code": "718-7"}], "text": CANARY}
    observation = await world.post(
        "ALPHA",
        {"resourceType": "Observation", "status": "final", "code": code, **about},
    )
    encounter = await world.post(
        "ALPHA",
        {
            "resourceType": "Encounter",
            "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            **about,
        },
    )
    await world.token("me", patient=person, scope="patient/*.cruds")
    staff = {"purpose": "HOPERAT", "user": "kim"}
    await world.token("identity", scope="staff/identity.admin", **staff)
    await world.token("privacy", scope="staff/privacy.officer", **staff)
    return {"person": person, "Observation": observation, "Encounter": encounter}


def requests_of(ids: dict[str, str]) -> list[Request]:
    """One request a route: of the record there is, with a body where one is needed."""
    return [*(_fhir(route, ids) for route in FHIR_ROUTES), *map(_staff(ids), STAFF_ROUTES)]


def _fhir(route: Any, ids: dict[str, str]) -> Request:
    of_type = route.of_type or "Observation"
    own = {"Patient": ids["person"], "Encounter": ids["Encounter"]}
    at_patient = route.path.startswith(("/Patient/{id}", "/{compartment}"))
    names = {
        "type": of_type,
        "compartment": "Patient",
        "id": ids["person"] if at_patient else own.get(of_type, ids["Observation"]),
        "version": "1",
        "all": "*",
    }
    if route.path == "/{compartment}/{id}/{type:[A-Z][A-Za-z]*}":
        names["type"] = "Observation"
    path = re.sub(r"\{(\w+)(?::[^}]*)?\}", lambda found: names[found[1]], route.path)
    queries = {
        "search-system": "?_type=Observation,Encounter",
        "lastn": f"?patient={ids['person']}&code=718-7",
        "docref": f"?patient={ids['person']}",
        "ihe-pix": "?sourceIdentifier=urn:alpha|A1",
    }
    query = queries.get(route.interaction, "")
    who = "me" if route.interaction == "accounting" else "ALPHA"
    body = _body(route.interaction, of_type, names["id"]) if route.method != "GET" else None
    if route.method == "POST" and route.interaction in ("search-type", "search-system"):
        body = query.removeprefix("?").encode()
        query = ""
    if route.method == "POST" and query:
        body = {"resourceType": "Parameters"}
    return Request(
        api="/fhir",
        method=route.method,
        template=route.path,
        interaction=route.interaction,
        path=f"{path}{query}",
        who=who,
        body=body,
    )


def _body(interaction: str, of_type: str, key: str) -> Any:
    if interaction in ("create", "update"):
        return {"resourceType": of_type, "id": key}
    if interaction == "match":
        given = {"name": "resource", "resource": patient("A1", "alpha")}
        return {"resourceType": "Parameters", "parameter": [given]}
    if interaction == "transaction":
        return {"resourceType": "Bundle", "type": "batch"}
    return {"resourceType": "Parameters"}


#: A table is written sooner than a page is set.
_QUICK = {"printAccounting": "?medium=csv"}


def _staff(ids: dict[str, str]) -> Any:
    def made(route: Any) -> Request:
        return Request(
            api="/staff/v1",
            method=route.method,
            template=route.path,
            interaction=route.name,
            path=re.sub(r"\{\w+\}", ids["person"], route.path) + _QUICK.get(route.name, ""),
            who=route.area,
            body=None if route.method == "GET" else {},
        )

    return made


async def asked(world: World, request: Request, request_id: str) -> tuple[int, bytes]:
    """Status and body of a request under an id of its own."""
    is_form = isinstance(request.body, bytes)
    base = world.base.removesuffix("/fhir/")
    headers = {
        "Authorization": f"Bearer {world.tokens[request.who]}",
        "X-Request-Id": request_id,
        "Idempotency-Key": request_id,
        "Prefer": "respond-async" if request.interaction == "export" else "handling=strict",
    }
    if request.body is not None:
        kind = "json" if request.api.startswith("/staff") else "fhir+json"
        form = "application/x-www-form-urlencoded"
        headers["Content-Type"] = form if is_form else f"application/{kind}"
    async with world.http.request(
        request.method,
        f"{base}{request.api}{request.path}",
        data=request.body if is_form else request.body and json.dumps(request.body),
        headers=headers,
    ) as got:
        return got.status, await got.read()


async def rows(world: World) -> dict[str, list[AuditRecord]]:
    """Every record of the trail, by the id its client gave the request it is of."""
    found: dict[str, list[AuditRecord]] = {}
    async with world.hub.db.reading() as conn:
        page = await AuditSearch(world.hub.audit).page(conn, Asked(), 10_000)
    for row in page.rows:
        found.setdefault(row.record.request_id.partition("~")[0], []).append(row.record)
    return found


async def test_every_route_leaves_its_event_and_without_one_shows_nothing(world: World):
    ids = await with_a_record(world)
    wanted = requests_of(ids)
    if not IS_LONG and not world.hub.db.is_sqlite:
        by_fhir = sorted(filter(lambda one: one.api == "/fhir", wanted), key=_is_get)
        wanted = [*{one.interaction: one for one in by_fhir}.values()]  # the most general GET
    reads = {f"route-{n:06d}": one for n, one in enumerate(wanted) if one.interaction not in WRITES}
    statuses = {name: (await asked(world, one, name))[0] for name, one in reads.items()}
    found = await rows(world)
    faults = [
        f"{one.name}: {fault}"
        for name, one in reads.items()
        for fault in faults_of(one, statuses[name], found.get(name, []))
    ]
    assert faults == []
    by_staff = [r for left in found.values() for r in left if r.user == "kim"]
    assert len(by_staff) >= len([one for one in reads.values() if one.api != "/fhir"])
    assert {one.interaction for name, one in reads.items() if statuses[name] == 200} >= READS

    await break_audit(world)
    before = await counts(world)
    for number, one in enumerate(wanted):
        status, told = await asked(world, one, f"broken-{number:06d}")
        assert status >= 500, one.name
        assert CANARY.encode() not in told, one.name
        assert ids["Observation"].encode() not in told, one.name
    assert await counts(world) == before
    await mend(world)
    await world.hub.worker.idle()
    assert await counts(world) == before  # what was refused does not happen later either
    assert await world.status("ALPHA", f"Observation/{ids['Observation']}") == 200
    assert (await world.hub.verifier.verify()).is_whole


async def test_a_disk_that_is_full_refuses_reads_until_there_is_room(tmp_path):
    async with World(tmp_path) as world:
        ids = await with_a_record(world)
        address = f"Observation/{ids['Observation']}"
        await limit_pages(world, 1)  # no more than there are
        for _ in range(500):
            status, _, told = await world.ask("ALPHA", "GET", address)
            if status != 200:
                break
        assert status >= 500
        assert CANARY.encode() not in told
        await limit_pages(world, 2**30)
        assert await world.status("ALPHA", address) == 200
        assert (await world.hub.verifier.verify()).is_whole


async def limit_pages(world: World, most: int) -> None:
    """How large the database file may become; never less than it is."""
    async with world.hub.db.transaction() as conn:
        await conn.execute(text(f"PRAGMA max_page_count = {most}"))


def _is_get(one: Request) -> bool:
    return one.method == "GET"


def faults_of(one: Request, status: int, left: list[AuditRecord]) -> list[str]:
    """What is wrong with the events that a request left."""
    if status >= 500:
        return [str(status)]
    if one.api != "/fhir":
        return []  # the staff API names its requests itself; they are counted
    if not left:
        return [f"{status}, no event"]
    faults = ["nobody is named"] if any(not (r.organization or r.user) for r in left) else []
    if status >= 300 or one.interaction not in READS:
        return faults
    action, subtypes = PATTERNS[one.interaction]
    if any(r.action == action and r.subtype in subtypes for r in left):
        return faults
    return [*faults, str([(r.action, r.subtype) for r in left])]


async def break_audit(world: World) -> None:
    """From now on no audit row can be stored: the disk is full."""
    async with world.hub.db.transaction() as conn:
        if not world.hub.db.is_sqlite:
            await conn.execute(text(RAISES))
        await conn.execute(text(BREAK[world.hub.db.is_sqlite]))


async def mend(world: World) -> None:
    on_table = "" if world.hub.db.is_sqlite else " ON audit_event"
    async with world.hub.db.transaction() as conn:
        await conn.execute(text(f"DROP TRIGGER full_disk{on_table}"))


async def counts(world: World) -> dict[str, int]:
    """What of records, consents, subscriptions and relationships there is."""
    tables = ("resource", "resource_version", "consent_rule", "subscription", "access_token")
    async with world.hub.db.reading() as conn:
        return {
            table: (await conn.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()
            for table in tables
        }
