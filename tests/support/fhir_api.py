"""The FHIR API over real HTTP with an in-memory door and writer."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from adapters.sources import SourceRegistry
from adapters.terminology import Terminology
from fhir_server.judge import Judge
from fhir_server.profiles.load import load_profiles
from fhir_server.routes import setup
from fhir_server.settings import FhirSettings
from fhir_server.terminology.load import load_vocabulary
from fhir_server.validate import validate
from hie.crypto import KeyRing
from hie.kernel.context import Caller, RequestContext, Scope
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import OrganizationId, PersonId, SourceId
from hie.store.index import load_index
from tests.support.fake_door import FakeDoor, FakeIdentities

INDEX = load_index(Path(__file__).resolve().parents[2] / "config/fhir")
VOCABULARY = load_vocabulary(
    Path(__file__).resolve().parents[2] / "config/fhir/terminology", Terminology({})
)
JUDGE = Judge(
    load_profiles(Path(__file__).resolve().parents[2] / "config/fhir/profiles"),
    VOCABULARY,
    SourceRegistry((), allow_adhoc=False),
)
BASE = "https://hub.test/fhir"
NOW_US = 1_769_851_800_000_000
LIMIT_BYTES = 4096
#: A value of the canary; nothing but the body that was asked for may hold it.
CANARY = "Zyxwvutsson"

READER = Caller(
    token_id="t-read",
    organization=OrganizationId("org1"),
    scopes=(Scope("system", "*", "rs"),),
)
SOURCE = Caller(
    token_id="t-write",
    organization=OrganizationId("org1"),
    sources=frozenset({SourceId("ghh")}),
    scopes=(Scope("system", "*", "cruds"),),
)
NARROW = Caller(
    token_id="t-narrow",
    patient=PersonId("p1"),
    scopes=(Scope("patient", "Observation", "rs"), Scope("patient", "Patient", "r")),
)
CALLERS = {
    "reader": READER,
    "source": SOURCE,
    "narrow": NARROW,
    "other": Caller(
        token_id="t-other",
        organization=OrganizationId("org2"),
        scopes=(Scope("system", "*", "rs"),),
    ),
    "sender": Caller(token_id="t-s", scopes=(Scope("system", "*", "cud"),)),
    "writeless": Caller(token_id="t-w", scopes=(Scope("system", "*", "cruds"),)),
}


class Tokens:
    """Knows the callers above by name."""

    async def check(self, bearer: str) -> Caller:
        if bearer not in CALLERS:
            raise HieError(Category.UNAUTHENTICATED, "the token is not known")
        return CALLERS[bearer]


@dataclass
class Written:
    """What a writer answers."""

    status: int = 201
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class FakeWriter:
    """Remembers what it was given, answers what it was told."""

    answer: Written = field(default_factory=Written)
    fails_with: Exception | None = None
    taken: list[tuple[Any, ...]] = field(default_factory=list)
    conditions: list[tuple[tuple[str, str], ...]] = field(default_factory=list)
    returns: str = ""

    async def write(  # noqa: PLR0917 - as the port has it
        self,
        ctx: RequestContext,
        interaction: str,
        type_name: str | None,
        resource_id: str | None,
        body: bytes,
        headers: Mapping[str, str],
        query: tuple[tuple[str, str], ...],
        returns: str,
        /,
    ) -> Written:
        if self.fails_with is not None:
            raise self.fails_with
        self.taken.append((interaction, type_name, resource_id, body, headers.get("If-Match")))
        self.conditions.append(query)
        self.returns = returns
        return self.answer


class StillClock:
    """Always the same time."""

    def now_us(self) -> int:
        return NOW_US


@dataclass
class Refused:
    """Remembers the refusals it is told of."""

    told: list[tuple[Caller | None, str, int]] = field(default_factory=list)
    ended: list[tuple[str, int]] = field(default_factory=list)

    async def refused(
        self, *, request_id: str, caller: Caller | None, interaction: str, status: int
    ) -> None:
        assert request_id
        self.told.append((caller, interaction, status))

    async def settled(
        self,
        *,
        request_id: str,
        caller: Caller | None,
        interaction: str,
        type_name: str,
        resource_id: str,
        status: int,
    ) -> None:
        assert request_id
        self.ended.append((interaction, status))


@dataclass
class Reply:
    """A response, read."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def texts(self) -> str:
        assert validate(self.json) == ()
        assert CANARY not in self.body.decode()
        return " ".join(issue["details"]["text"] for issue in self.json["issue"])


@dataclass
class Hub:
    """The API under test."""

    http: TestClient[web.Request, web.Application]
    door: FakeDoor
    writer: FakeWriter
    refused: Refused

    async def get(self, path: str, token: str | None = "reader", **headers: str) -> Reply:
        return await self.send("GET", path, token, headers=headers)

    async def send(
        self,
        method: str,
        path: str,
        token: str | None = "reader",
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Reply:
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        async with self.http.request(method, path, headers=sent, data=data) as response:
            return Reply(response.status, response.headers, await response.read())


@asynccontextmanager
async def running_api(origins: frozenset[str] = frozenset(), **offers: Any) -> AsyncIterator[Hub]:
    """A running API, its door empty; `offers` as `fhir_server.routes.setup` takes them."""
    door, writer, refused = FakeDoor(INDEX), FakeWriter(), Refused()
    app = web.Application()
    setup(
        app,
        door=door,
        records=door,
        identities=FakeIdentities(),
        writer=writer,
        token_checker=Tokens(),
        index=INDEX,
        settings=FhirSettings(base_url=BASE, max_body_bytes=LIMIT_BYTES, cors_origins=origins),
        clock=StillClock(),
        sealer=KeyRing.ephemeral().sealing_key("cursor"),
        watcher=refused,
        vocabulary=VOCABULARY,
        judge=JUDGE,
        **offers,
    )
    async with TestClient(TestServer(app), auto_decompress=False) as http:
        yield Hub(http, door, writer, refused)


def fill(door: FakeDoor, count: int = 3) -> None:
    """One patient with some observations."""
    patient = {"resourceType": "Patient", "id": "p1", "name": [{"family": CANARY}]}
    door.put(patient, person="p1", at_us=NOW_US)
    for n in range(count):
        door.put(
            {
                "resourceType": "Observation",
                "id": f"o{n:03d}",
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
                "subject": {"reference": "Patient/p1"},
                "effectiveDateTime": f"2020-01-{n % 28 + 1:02d}",
            },
            person="p1",
            at_us=NOW_US + n,
        )


def ids(bundle: Any) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", [])]


def next_url(bundle: Any) -> str | None:
    links = {link["relation"]: link["url"] for link in bundle["link"]}
    return links.get("next", "").removeprefix("https://hub.test") or None
