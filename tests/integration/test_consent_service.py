"""The consent service on a database: compiled rows, explanations, the recheck."""

from dataclasses import dataclass

import pytest
from sqlalchemy import func, select

from consent.repository import ConsentRepository
from consent.service import ConsentService, HubDirectory
from consent.tables import consent_code, consent_rule
from hie.kernel.context import Caller, RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import OrganizationId
from hie.store.index import load_index
from tests.support.consents import (
    CONFIG,
    LOINC,
    NOW_US,
    coded,
    consent,
    facts,
    law,
    provision,
    request,
)

INDEX = load_index(CONFIG / "fhir")
CLINIC = RequestContext(
    caller=Caller(token_id="t", organization=OrganizationId("clinic")),
    request_id="x",
    now_us=NOW_US,
)


@dataclass(frozen=True)
class Stored:
    """A Consent as the store gives it back."""

    resource: FhirJson
    id: str = "c1"
    version: int = 1
    source_id: str = "portal"


@pytest.fixture
def service(database):
    repository = ConsentRepository(database, INDEX.type_id, INDEX.type_name)
    directory = HubDirectory(
        lambda kind, system, value: f"{system}-{value}",
        lambda organization: frozenset({f"{organization}-adt"}),
    )
    return ConsentService(law(), repository, directory, trusted_sources=["portal"])


async def record(database, service, *consents, person="p1"):
    async with database.transaction() as conn:
        await service.recompile(conn, person, consents)


async def explained(database, service, about, **asked):
    async with database.reading() as conn:
        return await service.explain(conn, request("clinic", **asked), about)


async def test_a_consent_counts_as_soon_as_it_is_compiled_and_no_longer(database, service):
    assert not (await explained(database, service, facts())).decision.is_permitted
    await record(database, service, Stored(consent(provision("permit"))))
    shown = await explained(database, service, facts())
    assert shown.decision.is_permitted
    assert shown.staff == ("Permitted by Consent/c1 version 1, provision /.",)
    assert shown.patient == ("You agreed to share this.",)
    revoked = consent(provision("permit"), status="inactive")
    await record(database, service, Stored(revoked, version=2))
    assert not (await explained(database, service, facts())).decision.is_permitted


async def test_recompiling_leaves_nothing_behind_and_nobody_else_touched(database, service):
    coded_ = provision(
        "permit",
        provision("deny", code=[{"coding": coded(LOINC, "4548-4", "2345-7")}]),
        actors=["clinic", "lab"],
    )
    await record(database, service, Stored(consent(coded_)))
    await record(database, service, Stored(consent(coded_), id="c2"), person="p2")
    await record(database, service)
    async with database.reading() as conn:
        rules = (await conn.execute(select(consent_rule.c.person_id, consent_rule.c.path))).all()
        codes = (await conn.execute(select(func.count()).select_from(consent_code))).scalar()
        loaded = await service._repository.load(conn, ["p1", "p2"])
    assert sorted(loaded) == ["p2"]
    codes_read = {rule.codes for rule in loaded["p2"][0].rules if rule.path == "/1/"}
    assert codes_read == {frozenset({(LOINC, "4548-4"), (LOINC, "2345-7")})}
    assert sorted(rules) == [("p2", "/"), ("p2", "/"), ("p2", "/1/"), ("p2", "/1/")]
    assert codes == 2  # both rows of the deny share one set


async def test_rows_that_wait_for_verification_are_not_there(database, service):
    await record(database, service, Stored(consent(provision("permit")), source_id="hospital-adt"))
    assert not (await explained(database, service, facts())).decision.is_permitted


async def test_an_explanation_of_what_is_nobodys_needs_no_rows(database, service):
    found = await explained(database, service, facts(person_id=None))
    assert found.patient == ("We do not know who this is about.",)


async def test_the_recheck_passes_what_is_permitted_and_stops_what_is_not(database, service):
    root = provision("permit", provision("deny", labels=["PSY"]), actors=["clinic"])
    await record(database, service, Stored(consent(root)))
    async with database.reading() as conn:
        assert await service.recheck(conn, CLINIC, [facts(), facts(id="r2")]) == ()
        with pytest.raises(HieError) as stopped:
            await service.recheck(conn, CLINIC, [facts(), facts(labels=["PSY"])])
    assert stopped.value.category is Category.FAULT


async def test_a_consent_names_organisations_by_identifier(database, service):
    named = {"type": "Organization", "identifier": {"system": "npi", "value": "7"}}
    root = provision("permit", actor=[{"role": {}, "reference": named}])
    await record(database, service, Stored(consent(root)))
    asked = frozenset({"Organization/npi-7"})
    assert (await explained(database, service, facts(), grantees=asked)).decision.is_permitted
    assert not (await explained(database, service, facts())).decision.is_permitted


async def test_many_persons_are_loaded_together(database, service):
    for number in range(3):
        found = Stored(consent(provision("deny")), id=f"c{number}")
        await record(database, service, found, person=f"p{number}")
    repository = ConsentRepository(database, INDEX.type_id, INDEX.type_name)
    async with database.reading() as conn:
        wanted = [f"p{number}" for number in range(1_200)]
        loaded = await repository.load(conn, wanted)
    assert {person: [d.consent_id for d in found] for person, found in loaded.items()} == {
        "p0": ["c0"],
        "p1": ["c1"],
        "p2": ["c2"],
    }
