"""Binding tokens: what lets a websocket hear of somebody's subscriptions for a while."""

import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.subscriptions.tables import subscription_binding

_B = subscription_binding.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a binding token opens.

    Attributes:
        owner: whose subscriptions they are.
        token_id: the access token it was asked for with; revoked, it opens nothing.
    """

    owner: str
    subscriptions: tuple[str, ...]
    expires_us: int
    token_id: str


class Bindings:
    """Issues and finds binding tokens; the secret itself is nowhere."""

    async def issue(self, conn: AsyncConnection, binding: Binding, now_us: int) -> str:
        """A token for these subscriptions; those that are over are forgotten."""
        token = secrets.token_urlsafe(32)
        await conn.execute(delete(subscription_binding).where(_B.expires_us < now_us))
        await conn.execute(
            subscription_binding.insert().values(
                hash=_hash(token),
                owner=binding.owner,
                subscriptions=" ".join(binding.subscriptions),
                expires_us=binding.expires_us,
                token_id=binding.token_id,
            )
        )
        return token

    async def find(self, conn: AsyncConnection, token: str, now_us: int) -> Binding | None:
        """What a token opens now; None for one that is unknown or over."""
        query = select(subscription_binding).where(_B.hash == _hash(token), _B.expires_us > now_us)
        row = (await conn.execute(query)).first()
        if row is None:
            return None
        return Binding(
            owner=row.owner,
            subscriptions=tuple(row.subscriptions.split()),
            expires_us=row.expires_us,
            token_id=row.token_id,
        )


def _hash(token: str) -> bytes:
    # The secret has 256 random bits: a plain hash cannot be guessed backwards.
    return hashlib.sha256(token.encode()).digest()
