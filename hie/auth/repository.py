"""Access tokens in the database."""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.auth.model import AccessToken
from hie.auth.tables import access_token
from hie.kernel.ids import OrganizationId, PersonId

# Built once: building a statement takes as long as running it, and every request asks this one.
_WITH_HASH: Final = select(access_token).where(access_token.c.token_hash == bindparam("token_hash"))


class TokenRepository:
    """Stores, finds, revokes and forgets tokens; the caller opens the transaction."""

    async def add(self, conn: AsyncConnection, token: AccessToken) -> None:
        """Store a token."""
        await conn.execute(
            access_token.insert().values(
                pk=token.pk,
                token_hash=token.token_hash,
                created_us=token.created_us,
                expires_us=token.expires_us,
                revoked_us=token.revoked_us,
                organization=token.organization,
                user_name=token.user,
                patient=token.patient,
                purpose=token.purpose,
                scopes=token.scopes,
                is_steward=token.is_steward,
                amr=" ".join(token.amr) or None,
                roles=" ".join(token.roles) or None,
            )
        )

    async def find(self, conn: AsyncConnection, token_hash: bytes) -> AccessToken | None:
        """The token with this hash, revoked or not."""
        row = (await conn.execute(_WITH_HASH, {"token_hash": token_hash})).first()
        return _token(row) if row else None

    async def by_pk(self, conn: AsyncConnection, pk: int) -> AccessToken | None:
        """The token of that number; None once it is forgotten."""
        row = (await conn.execute(select(access_token).where(access_token.c.pk == pk))).first()
        return _token(row) if row else None

    async def revoke(self, conn: AsyncConnection, pk: int, now_us: int) -> AccessToken | None:
        """Revoke a token; the token, or None where it did not hold any more."""
        table = access_token
        is_held = (table.c.pk == pk) & table.c.revoked_us.is_(None)
        changed = await conn.execute(update(table).where(is_held).values(revoked_us=now_us))
        if not changed.rowcount:
            return None
        return _token((await conn.execute(select(table).where(table.c.pk == pk))).one())

    async def revoke_of(
        self, conn: AsyncConnection, persons: Collection[PersonId], now_us: int
    ) -> list[AccessToken]:
        """Revoke the tokens that open these persons' own records; those that still held."""
        return await self._revoke(conn, access_token.c.patient.in_(sorted(persons)), now_us)

    async def revoke_as(self, conn: AsyncConnection, user: str, now_us: int) -> list[AccessToken]:
        """Revoke the tokens of a user; those that still held."""
        return await self._revoke(conn, access_token.c.user_name == user, now_us)

    async def _revoke(
        self, conn: AsyncConnection, whose: ColumnElement[bool], now_us: int
    ) -> list[AccessToken]:
        table = access_token
        is_held = whose & table.c.revoked_us.is_(None) & (table.c.expires_us > now_us)
        found = [_token(row) for row in await conn.execute(select(table).where(is_held))]
        if found:
            held = table.c.pk.in_([token.pk for token in found])
            await conn.execute(update(table).where(held).values(revoked_us=now_us))
        return found

    async def forget(self, conn: AsyncConnection, before_us: int) -> int:
        """Delete tokens that expired before this time; how many."""
        gone = await conn.execute(delete(access_token).where(access_token.c.expires_us < before_us))
        return int(gone.rowcount)


def _token(row: Row[Any]) -> AccessToken:
    return AccessToken(
        pk=row.pk,
        token_hash=row.token_hash,
        created_us=row.created_us,
        expires_us=row.expires_us,
        revoked_us=row.revoked_us,
        organization=None if row.organization is None else OrganizationId(row.organization),
        user=row.user_name,
        patient=None if row.patient is None else PersonId(row.patient),
        purpose=row.purpose,
        scopes=row.scopes,
        is_steward=row.is_steward,
        amr=tuple((row.amr or "").split()),
        roles=tuple((row.roles or "").split()),
    )
