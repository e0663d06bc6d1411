"""Access tokens on both databases: once printed, hashed, checked at every request."""

import pytest
from sqlalchemy import select

from hie.audit.repository import AuditLog
from hie.auth.model import Grant
from hie.auth.service import AuthSettings, TokenService
from hie.auth.standing import Standing
from hie.auth.tables import access_token
from hie.kernel.context import Scope
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import OrganizationId, PersonId, SourceId
from hie.keystore import KeyStore
from hie.proxies.model import is_proxy

GHH, STATE = OrganizationId("ghh"), OrganizationId("state")


class Organizations:
    """One hospital under one state agency, with one feed that tests may take away."""

    def __init__(self):
        self.sources = frozenset({SourceId("ghh-adt")})

    def resolve_organization(self, named):
        return GHH if named in ("ghh", "urn:npi|1") else None

    def grantees(self, organization):
        return frozenset({organization, STATE})

    def sources_of(self, organization):
        return self.sources if organization == GHH else frozenset()


@pytest.fixture
def organizations():
    return Organizations()


@pytest.fixture
def log(database, keyring):
    return AuditLog(database, KeyStore(database, keyring))


class NoStandIns:
    """Nobody stands in another's place: `tests/integration/test_proxies.py` has those who do."""

    async def held(self, _conn, caller, _now_us):
        return None if is_proxy(caller) else caller


@pytest.fixture
def service(database, log, clock, organizations):
    settings = AuthSettings(keep_seconds=60)
    return TokenService(database, log, organizations, clock, NoStandIns(), settings)


async def issue(service, **terms):
    grant = Grant(**{"organization": "ghh", "scopes": "system/*.rs", **terms})
    async with service._db.transaction() as conn:
        return await service.issue(conn, grant)


async def refused(service, bearer):
    with pytest.raises(HieError) as caught:
        await service.check(bearer)
    assert caught.value.category is Category.UNAUTHENTICATED
    return caught.value.text


async def test_a_token_opens_what_was_granted_and_no_more(service):
    issued = await issue(
        service, organization="urn:npi|1", purpose="HPAYMT", user="dr", scopes="system/*.read"
    )
    caller = await service.check(issued.bearer)
    assert (caller.organization, caller.user, caller.purpose) == (GHH, "dr", "HPAYMT")
    assert caller.grantees == {GHH, STATE}
    assert caller.sources == {SourceId("ghh-adt")}
    assert caller.scopes == (Scope("system", "*", "rs"),)
    assert (caller.patient, caller.is_steward, caller.token_id) == (None, False, issued.token_id)


async def test_a_token_says_in_which_roles_its_user_acts(service):
    issued = await issue(service, organization="urn:npi|1", roles=("nurse", "106292003", "nurse"))
    assert (await service.check(issued.bearer)).roles == {"nurse", "106292003"}
    for roles in (("a b",), ("x" * 65,), ("",), ("*",), tuple("abcdefghijk")):
        with pytest.raises(HieError) as caught:
            await issue(service, organization="urn:npi|1", roles=roles)
        assert "roles are at most" in caught.value.text
    with pytest.raises(HieError, match="acts for an organization"):
        await issue(service, organization="", patient="p1", scopes="patient/*.rs", roles=("nurse",))


async def test_a_role_ends_with_the_sign_in_that_knew_it(service, database, organizations, clock):
    standing = Standing(database, organizations, clock, NoStandIns())
    issued = await issue(service, roles=("nurse",), ttl_seconds=10)
    caller = await service.check(issued.bearer)
    for waits, roles in ((0, {"nurse"}), (11, set())):
        clock.step(seconds=waits)
        left = await standing.now(caller)
        assert left is not None, "a system asks for itself also after its token's end"
        assert left.roles == roles


async def test_a_patients_token_has_no_organization_and_no_sources(service):
    issued = await issue(service, organization="", patient="p1", scopes="patient/*.rs")
    caller = await service.check(issued.bearer)
    assert (caller.patient, caller.organization) == (PersonId("p1"), None)
    assert caller.grantees == caller.sources == frozenset()


async def test_a_stewards_token_says_so(service):
    issued = await issue(service, organization="", is_steward=True)
    assert (await service.check(issued.bearer)).is_steward


async def test_every_token_is_another_and_carries_256_bits(service):
    bearers = {(await issue(service)).bearer for _ in range(5)}
    assert len(bearers) == 5
    assert all(len(bearer) == 43 for bearer in bearers)


async def test_the_secret_is_nowhere_in_the_database(service, database):
    issued = await issue(service)
    async with database.reading() as conn:
        row = (await conn.execute(select(access_token))).one()
    assert issued.bearer not in str(tuple(row))
    assert issued.bearer not in issued.token_id


async def test_a_token_holds_until_the_end_of_its_time_and_not_longer(service, clock):
    issued = await issue(service, ttl_seconds=10)
    clock.step(us=10_000_000 - 1)
    await service.check(issued.bearer)
    clock.step(us=1)
    await refused(service, issued.bearer)


async def test_a_revoked_token_is_refused_from_the_next_request(service, database):
    issued = await issue(service)
    await service.check(issued.bearer)
    async with database.transaction() as conn:
        assert await service.revoke(conn, issued.token_id)
        assert not await service.revoke(conn, issued.token_id)  # it held only once
    await refused(service, issued.bearer)


@pytest.mark.parametrize("token_id", ["", "zz", "0", "f" * 40])
async def test_revoking_what_is_no_token_does_nothing(service, database, token_id):
    async with database.transaction() as conn:
        assert not await service.revoke(conn, token_id)


async def test_unknown_expired_and_malformed_tokens_are_refused_alike(service, clock):
    issued = await issue(service, ttl_seconds=1)
    clock.step(seconds=2)
    texts = {
        await refused(service, bearer)
        for bearer in (issued.bearer, "A" * 43, "", "x", issued.bearer + "=", "é" * 43)
    }
    assert len(texts) == 1


async def test_the_organisations_feeds_are_those_of_now(service, organizations):
    issued = await issue(service)
    organizations.sources = frozenset()
    assert (await service.check(issued.bearer)).sources == frozenset()


async def test_an_organisation_nobody_names_gets_no_token(service, database):
    with pytest.raises(HieError) as caught:
        await issue(service, organization="nobody")
    assert caught.value.category is Category.NOT_FOUND
    async with database.reading() as conn:
        assert (await conn.execute(select(access_token))).all() == []


async def test_issue_and_revocation_are_audited_with_the_person_they_touch(service, log, database):
    issued = await issue(service, patient="p1", user="dr", scopes="patient/*.rs")
    async with database.transaction() as conn:
        await service.revoke(conn, issued.token_id)
        revoked, granted = await log.access_log(conn, [PersonId("p1")])
    assert (granted.record.subtype, revoked.record.subtype) == ("ITI-71", "110137")
    assert granted.record.token_id == revoked.record.token_id == issued.token_id
    assert "scope=patient" in granted.record.detail["query"]


async def test_what_expired_long_ago_is_forgotten(service, clock, database):
    issued = await issue(service, ttl_seconds=10)
    clock.step(seconds=69)
    assert await service.forget_expired() == 0
    clock.step(seconds=2)
    assert await service.forget_expired() == 1
    await refused(service, issued.bearer)
