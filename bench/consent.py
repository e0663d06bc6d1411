"""What consent costs: a decision by itself, and reads beside the same reads without it.

Without it means: by a caller who sent all that is read. The statements are the same, and the
first way of seeing in their predicate is met; what leaves is on record in both.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.charts import ChartLoader, Known, Loaded
from bench.machine import percentile, print_table
from bench.registry import SOURCE, survey
from consent.evaluate import Judge, Law
from consent.model import UNNAMED, AccessRequest, Directive, ResourceFacts
from consent.repository import ConsentRepository
from consent.rules import rule_rows
from fhir_server.search.parse import SearchParser
from fhir_server.settings import FhirSettings
from hie.kernel.context import Caller, RequestContext, Scope
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import OrganizationId
from hie.services import Services
from hie.settings import load_settings
from hie.store.portion import Portion
from hie.store.query import Page
from tests.support.postgres import running_server

#: Times each question is put to each caller, about one person after the other.
REQUESTS = int(os.environ.get("BENCH_REQUESTS", "120"))
WARM_UP = 12
CONSENTS = (1, 10, 100)
#: Decisions of a row.
DECISIONS = 20_000
ASKER = OrganizationId("bench-asker")
SCOPES = (Scope("system", "*", "rs"),)
CODE = "http://loinc.org|2345-7"
TERMS = "http://terminology.hl7.org/CodeSystem"

Ask = Callable[[RequestContext, Known], Awaitable[Page]]


@dataclass(frozen=True, slots=True)
class Agreed:
    """A Consent as the store gives it back."""

    id: str
    resource: FhirJson
    version: int = 1
    source_id: str = SOURCE


@dataclass(slots=True)
class Row:
    """One question about persons with so many consents, by two callers."""

    question: str
    consents: int
    told: int = 0
    #: Seconds and processor seconds of each answer, by who asks: without consent, with it.
    taken: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    used: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    def cells(self) -> tuple[str, ...]:
        """The row as printed."""
        bare, ruled = (percentile(times, 0.5) * 1000 for times in self.taken)
        spent = [statistics.mean(times) * 1000 for times in self.used]
        return (
            f"{self.question} ({self.told} each)",
            f"{self.consents}",
            *(f"{bare:.2f}", f"{ruled:.2f}", f"{ruled / bare:.2f} x"),
            *(f"{one:.2f}" for one in spent),
        )


def measure(folder: Path, *, count: int) -> None:
    """Print the tables.

    Args:
        folder: for the data of this run.
        count: persons.
    """
    settings = {
        "HIE_KEY_FILE": str(folder / "kek.json"),
        "HIE_HOME": str(folder / "sqlite"),
        # Nobody sees anything of others unless a consent says so.
        "HIE_REGIME": "massachusetts",
    }
    asyncio.run(_measure("SQLite", settings, count))
    with running_server(is_durable=True) as server:
        settings |= {
            "HIE_HOME": str(folder / "postgresql"),
            "HIE_DATABASE_URL": server.url("postgres"),
        }
        asyncio.run(_measure("PostgreSQL", settings, count))


async def _measure(title: str, settings: Mapping[str, str], count: int) -> None:
    async with Services(load_settings(dict(settings))) as services:
        if services.db.is_sqlite:
            _decide(services)
        loaded = await ChartLoader(services, count).run()
        groups = await _agree(services, loaded)
        rows = []
        for name, ask in _questions(services).items():
            for consents, persons in groups.items():
                rows.append(await _asked(services, Row(name, consents), ask, persons))
    print_table(
        f"{title}: reads without consent and with it, {loaded.resources:,} resources of "
        f"{count:,} persons ({REQUESTS} a row, one at a time; no HTTP)",
        ("", "consents", "p50 ms without", "with", "ratio", "CPU ms without", "with"),
        [row.cells() for row in rows],
    )


def _questions(services: Services) -> dict[str, Ask]:
    parser = SearchParser(services.config.index, FhirSettings())

    async def everything(ctx: RequestContext, known: Known) -> Page:
        return await services.records.everything(ctx, known.person, Portion())

    async def search(ctx: RequestContext, known: Known) -> Page:
        asked = (("patient", known.person), ("code", CODE), ("_count", "20"))
        parsed = parser.parse("Observation", asked, now_us=ctx.now_us, may=lambda _: True)
        return await services.door.search(ctx, parsed.query)

    return {"$everything, large chart": everything, "Observation?patient&code": search}


async def _asked(services: Services, row: Row, ask: Ask, persons: Sequence[Known]) -> Row:
    """Put a question to both callers in turn, so that what slows the machine slows both."""
    own = Caller(token_id="own", sources=frozenset({SOURCE}), scopes=SCOPES)
    asker = Caller(token_id="a", organization=ASKER, grantees=frozenset({ASKER}), scopes=SCOPES)
    for number in range(WARM_UP + REQUESTS):
        known = persons[number % len(persons)]
        for who, caller in enumerate((own, asker)):
            now_us = services.clock.now_us()
            ctx = RequestContext(caller=caller, request_id=f"{number}", now_us=now_us)
            used, started = time.process_time(), time.perf_counter()
            page = await ask(ctx, known)
            if number >= WARM_UP:
                row.taken[who].append(time.perf_counter() - started)
                row.used[who].append(time.process_time() - used)
            told = len(page.matches)
            if row.told not in (0, told):
                raise RuntimeError("the two callers were told different things")
            row.told = told
    return row


async def _agree(services: Services, loaded: Loaded) -> dict[int, list[Known]]:
    """Give the persons with large charts their consents; by their number the persons."""
    index = services.config.index
    repository = ConsentRepository(services.db, index.type_id, index.type_name)
    groups: dict[int, list[Known]] = {number: [] for number in CONSENTS}
    async with services.db.transaction() as conn:
        for place, known in enumerate(loaded.large):
            number = CONSENTS[place % len(CONSENTS)]
            groups[number].append(known)
            found = _directives(services, number)
            rows = [row for directive in found for row in rule_rows(directive)]
            await repository.replace(conn, known.person, rows)
    await survey(services.db)
    return groups


def _decide(services: Services) -> None:
    """Print what a decision costs by itself."""
    law = services.consent.law
    now_us = services.clock.now_us()
    asked = AccessRequest(grantees=frozenset({f"Organization/{ASKER}", UNNAMED}), now_us=now_us)
    about = ResourceFacts(
        type="Observation",
        id="o1",
        source_id=SOURCE,
        person_id="p1",
        clinical_lo_us=now_us,
        clinical_hi_us=now_us + 1,
        codes=frozenset({("http://loinc.org", "2345-7")}),
    )
    rows = []
    for number in CONSENTS:
        rows.append((f"{number}", *_decided(law, asked, about, _directives(services, number))))
    header = ("consents", "rules", "first resource µs", "each further µs")
    print_table(f"A decision with its reasons ({DECISIONS:,} a row)", header, rows)


def _decided(
    law: Law, asked: AccessRequest, about: ResourceFacts, directives: Sequence[Directive]
) -> tuple[str, str, str]:
    count = DECISIONS // len(directives)
    started = time.perf_counter()
    for _ in range(count):
        judge = Judge(asked, law)
        if not judge.decide(about, directives).is_permitted:
            raise RuntimeError("the consents were to permit it")
    whole = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(count):
        judge.decide(about, directives)
    further = time.perf_counter() - started
    rules = sum(len(directive.rules) for directive in directives)
    return f"{rules}", f"{whole / count * 1e6:.1f}", f"{further / count * 1e6:.1f}"


def _directives(services: Services, number: int) -> list[Directive]:
    """So many consents: one for who asks, with exceptions, the others for others."""
    found = []
    for place in range(number):
        resource = _consent(place)
        agreed = Agreed(id=f"bench-{place}", resource=resource)
        found.append(services.consent.directive(agreed, is_verified=True))
    return found


def _consent(place: int) -> FhirJson:
    """A Consent: the first permits `ASKER` all but what nobody has here."""
    name = ASKER if place == 0 else f"bench-other-{place}"
    kind = "permit" if place % 3 == 0 else "deny"
    labels = [{"system": f"{TERMS}/v3-ActCode", "code": "PSY"}]
    code = [{"coding": [{"system": "http://loinc.org", "code": f"{place}-0"}]}]
    exceptions: list[dict[str, Any]] = [
        {"type": "deny", "securityLabel": labels},
        # Of what has no date a denial by date is true, too.
        {
            "type": "deny",
            "class": [{"code": "Observation"}],
            "dataPeriod": {"start": "1999-01-01", "end": "2000-12-31"},
        },
        {"type": "deny", "code": code},
    ]
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "patient": {"reference": "Patient/bench"},
        "provision": {
            "type": kind,
            "purpose": [{"system": f"{TERMS}/v3-ActReason", "code": "TREAT"}],
            "actor": [
                {
                    "role": {"coding": [{"code": "IRCP"}]},
                    "reference": {"reference": f"Organization/{name}"},
                }
            ],
            "provision": exceptions,
        },
    }
