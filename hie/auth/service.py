"""Opaque access tokens: issued once, checked at every request, revoked at once.

Nothing is cached: a revocation, a changed source file or a removed organisation holds from
the next request.
Spec: RFC 6750, RFC 7009.
"""

import hashlib
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlencode

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import AuditRecord
from hie.audit.repository import AuditLog
from hie.auth.model import (
    AccessToken,
    Grant,
    Issued,
    opens_staff,
    parse_scopes,
    require_terms,
)
from hie.auth.repository import TokenRepository
from hie.db import Database
from hie.emergencies.holding import Holding
from hie.emergencies.model import Emergency
from hie.kernel.clock import SECOND_US, Clock
from hie.kernel.context import Caller, Scope
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.ids import OrganizationId, PersonId, SourceId
from hie.proxies.model import USER_PREFIX

SECRET_BYTES: Final = 32
#: 32 bytes in base64url without padding.
_BEARER: Final = re.compile(r"^[A-Za-z0-9_-]{43}$")
_REFUSED: Final = "the token is unknown, expired or revoked"


class OrganizationDirectory(Protocol):
    """What the source registry says of organisations."""

    def resolve_organization(self, named: str, /) -> OrganizationId | None:
        """The organisation by id, `system|value` or identifier value."""
        ...

    def grantees(self, organization: OrganizationId, /) -> frozenset[OrganizationId]:
        """The organisation and its ancestors."""
        ...

    def sources_of(self, organization: OrganizationId, /) -> frozenset[SourceId]:
        """The feeds that speak for it."""
        ...


class StandIns(Protocol):
    """Holds callers who look at a record in its patient's place to what they may now."""

    async def held(self, conn: AsyncConnection, caller: Caller, now_us: int, /) -> Caller | None:
        """The caller with the rights of now; None where it has none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSettings:
    """Bounds on tokens.

    Attributes:
        longest_seconds: the longest life a token may be given.
        keep_seconds: how long an expired token stays on record.
    """

    longest_seconds: int = 24 * 3600
    keep_seconds: int = 30 * 24 * 3600


class TokenService:
    """Issues, checks and revokes access tokens; a `TokenChecker`."""

    def __init__(  # noqa: PLR0913 - joined once, in services.py
        self,
        db: Database,
        audit: AuditLog,
        directory: OrganizationDirectory,
        clock: Clock,
        stand_ins: StandIns,
        settings: AuthSettings | None = None,
        *,
        emergencies: Holding | None = None,
    ) -> None:
        self._db = db
        self._audit = audit
        self._directory = directory
        self._stand_ins = stand_ins
        self._clock = clock
        self._emergencies = emergencies or Holding((), lambda _organization: False)
        self._settings = settings or AuthSettings()
        self._tokens = TokenRepository()

    async def issue(self, conn: AsyncConnection, grant: Grant) -> Issued:
        """A new token, stored and audited in the open transaction.

        Raises:
            HieError: INVALID, one issue per fault of the grant; NOT_FOUND for an
                organisation that no source file names; FORBIDDEN for a relationship that
                opens nothing now.
        """
        scopes = parse_scopes(grant.scopes)
        emergencies = self._emergencies.purposes
        require_terms(grant, scopes, self._settings.longest_seconds, emergencies)
        organization = self._organization(grant.organization)
        bearer = secrets.token_urlsafe(SECRET_BYTES)
        now_us = self._clock.now_us()
        token = AccessToken(
            pk=self._db.next_pk(),
            token_hash=_hash(bearer),
            created_us=now_us,
            expires_us=now_us + grant.ttl_seconds * SECOND_US,
            revoked_us=None,
            organization=organization,
            user=grant.user or None,
            patient=PersonId(grant.patient) if grant.patient else None,
            purpose=grant.purpose,
            scopes=" ".join(_spelled(scope) for scope in scopes),
            is_steward=grant.is_steward or opens_staff(scopes),
            amr=grant.amr,
            roles=tuple(dict.fromkeys(grant.roles)),
        )
        if await self._stand_ins.held(conn, self._caller(token), now_us) is None:
            raise HieError(Category.FORBIDDEN, "this relationship opens no record now")
        await self._tokens.add(conn, token)
        await self._record(conn, token, "ITI-71", now_us)
        return Issued(bearer=bearer, token_id=_token_id(token.pk), expires_us=token.expires_us)

    async def check(self, bearer: str) -> Caller:
        """The token's caller, as of now.

        Raises:
            HieError: UNAUTHENTICATED when unknown, expired or revoked, or where the relationship
                it was given for opens nothing any more; all look alike.
        """
        token = None
        if _BEARER.match(bearer):
            async with self._db.glancing() as conn:
                token = await self._tokens.find(conn, _hash(bearer))
        if token is None or not token.holds_at(self._clock.now_us()):
            raise HieError(Category.UNAUTHENTICATED, _REFUSED)
        caller = await self._held(token)
        if caller is None:
            raise HieError(Category.UNAUTHENTICATED, _REFUSED)
        return caller

    async def standing(self, token_id: str) -> Caller | None:
        """Whom a token stands for, as of now, expired or not; None once revoked or forgotten.

        For work that a token began and that outlives it: what the work gives goes only to
        whoever brings a token that holds.
        """
        try:
            pk = int(token_id, 16)
        except ValueError:
            return None
        async with self._db.reading() as conn:
            token = await self._tokens.by_pk(conn, pk) if pk < 1 << 63 else None
        return None if token is None or token.revoked_us is not None else await self._held(token)

    async def revoke(self, conn: AsyncConnection, token_id: str) -> bool:
        """Revoke a token by the id that audit events give it; False where none held."""
        try:
            pk = int(token_id, 16)
        except ValueError:
            return False
        now_us = self._clock.now_us()
        token = await self._tokens.revoke(conn, pk, now_us) if pk < 1 << 63 else None
        if token is None:
            return False
        await self._record(conn, token, "110137", now_us)
        return True

    async def factors(self, conn: AsyncConnection, token_id: str) -> tuple[str, ...]:
        """How the holder of a token had signed in (`amr`); () where nobody said."""
        token = await self._tokens.by_pk(conn, int(token_id, 16))
        return token.amr if token else ()

    async def revoke_as(self, conn: AsyncConnection, user: str) -> None:
        """Revoke the tokens that one user holds, in the transaction."""
        now_us = self._clock.now_us()
        for token in await self._tokens.revoke_as(conn, user, now_us):
            await self._record(conn, token, "110137", now_us)

    async def revoke_of(self, conn: AsyncConnection, persons: Collection[PersonId]) -> None:
        """Revoke the tokens of patients whose own record became another, in the transaction.

        Whoever was shown it must prove again whose record is theirs; whoever opened it in an
        emergency must ask again.
        """
        now_us = self._clock.now_us()
        for ended in await self._emergencies.end_about(conn, persons, now_us):
            await self._audit.append(conn, [_stopped(ended, now_us)])
        for token in await self._tokens.revoke_of(conn, persons, now_us):
            await self._record(conn, token, "110137", now_us)

    async def forget_expired(self) -> int:
        """Delete what expired long ago; what the tokens did stays in the audit trail."""
        before_us = self._clock.now_us() - self._settings.keep_seconds * SECOND_US
        async with self._db.transaction() as conn:
            return await self._tokens.forget(conn, before_us)

    async def _held(self, token: AccessToken) -> Caller | None:
        """The token's caller with the rights of now; None where a relationship gives none."""
        caller = self._caller(token)
        is_emergency = caller.purpose in self._emergencies.purposes
        if not is_emergency and not (caller.user or "").startswith(USER_PREFIX):
            return caller
        async with self._db.reading() as conn:
            now_us = self._clock.now_us()
            # An emergency's purpose takes nobody out of another's place.
            held = await self._stand_ins.held(conn, caller, now_us)
            if held is None or not is_emergency:
                return held
            return await self._emergencies.held(conn, held, now_us)

    def _organization(self, named: str) -> OrganizationId | None:
        if not named:
            return None
        organization = self._directory.resolve_organization(named)
        if organization is None:
            text = "no source file names this organization"
            raise HieError(Category.NOT_FOUND, text, [Issue(text=text, code="not-found")])
        return organization

    def _caller(self, token: AccessToken) -> Caller:
        organization = token.organization
        # Who opens the own record asks as a patient, and is no feed.
        sender = organization if token.patient is None else None
        return Caller(
            token_id=_token_id(token.pk),
            organization=organization,
            grantees=self._directory.grantees(organization) if organization else frozenset(),
            sources=self._directory.sources_of(sender) if sender else frozenset(),
            user=token.user,
            roles=frozenset(token.roles),
            patient=token.patient,
            purpose=token.purpose,
            scopes=parse_scopes(token.scopes),
            is_steward=token.is_steward,
        )

    async def _record(
        self, conn: AsyncConnection, token: AccessToken, subtype: str, now_us: int
    ) -> None:
        asked = {"scope": token.scopes, "is_steward": token.is_steward, "exp": token.expires_us}
        asked |= {"roles": " ".join(token.roles)} if token.roles else {}
        record = AuditRecord(
            recorded_us=now_us,
            action="E",
            subtype=subtype,
            person_id=token.patient,
            organization=token.organization,
            user=token.user,
            purpose=token.purpose,
            token_id=_token_id(token.pk),
            detail={"query": urlencode(asked)},
        )
        await self._audit.append(conn, [record])


def _stopped(ended: Emergency, now_us: int) -> AuditRecord:
    return AuditRecord(
        recorded_us=now_us,
        action="E",
        subtype="110128",
        person_id=ended.person_id,
        organization=ended.organization,
        user=ended.user,
        token_id=ended.token_id,
        detail={"reason": "records changed hands", "emergency": str(ended.id)},
    )


def _hash(bearer: str) -> bytes:
    # The secret has 256 random bits: a plain hash cannot be guessed backwards.
    return hashlib.sha256(bearer.encode()).digest()


def _token_id(pk: int) -> str:
    return f"{pk:016x}"


def _spelled(scope: Scope) -> str:
    return f"{scope.level}/{scope.resource}.{scope.actions}"
