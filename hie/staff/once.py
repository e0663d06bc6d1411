"""Requests that happen once: a repeat with the same key gets the first answer.

An answer may name people. It is sealed under a key made of the hub's and of the request's own,
which is stored nowhere: for a day it opens for whoever was answered and repeats the request, and
for nobody else.

Spec: the HTTP header field `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header)
"""

import base64
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from sqlalchemy.exc import IntegrityError

from hie.crypto import DataKey, KeyRing
from hie.db import Database
from hie.kernel.clock import SECOND_US, Clock
from hie.kernel.errors import Category, HieError
from hie.staff import render, repository
from hie.staff.model import Answer, Call
from hie.staff.problem import at
from hie.staff.repository import Stored

#: A request not answered for so long died with its process.
LOST_US: Final = 120 * SECOND_US
#: How long an answer is remembered: a day.
KEEP_US: Final = 86_400 * SECOND_US
_UNDER_WAY: Final = "the same request is under way: repeat in some seconds"


class Once:
    """Remembers answers by organisation, user and key."""

    def __init__(self, db: Database, clock: Clock, ring: KeyRing) -> None:
        self._db = db
        self._clock = clock
        self._ring = ring

    async def answer(
        self, call: Call, key: str, content: bytes, do: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """The answer of `do`, or the one the same request got before.

        A request that is refused did nothing: its key may be used again.

        Raises:
            HieError: BUSINESS_RULE where the key was another request's; CONFLICT while that
                is under way; what `do` raises.
        """
        caller = call.ctx.caller
        key_hash = _hash(caller.organization or "", caller.user or "", key)
        wanted = (call.route.name, str(sorted(call.ids.items())))
        content_hash = self._ring.blind("staff-request", *wanted, content.hex())
        earlier = _hash(*wanted, content.hex())  # as releases before wrote it, for a day
        known = await self._begin(key_hash, content_hash, earlier)
        sealer = self._ring.sealing_key(f"staff-answer|{key}")
        if known is not None:
            return _repeated(known, sealer, key_hash)
        try:
            answer = await do()
        except BaseException:
            async with self._db.transaction() as conn:
                await repository.forget(conn, key_hash)
            raise
        told = orjson.dumps([render.dump(answer.content).decode(), dict(answer.headers)])
        sealed = base64.b64encode(sealer.seal(told, **_place(key_hash))).decode()
        async with self._db.transaction() as conn:
            await repository.finish(conn, key_hash, answer.status, sealed)
        return answer

    async def forget_old(self) -> int:
        """Forget answers that nobody asks for any more; how many."""
        async with self._db.transaction() as conn:
            return await repository.forget_old(conn, self._clock.now_us() - KEEP_US)

    async def _begin(self, key_hash: str, content_hash: str, earlier: str) -> Stored | None:
        """The request as known before; None where it begins now."""
        now_us = self._clock.now_us()
        try:
            async with self._db.transaction() as conn:
                known = await repository.find(conn, key_hash)
                if known is not None and known.content_hash not in (content_hash, earlier):
                    text = "the key was used for another request: choose a new one"
                    issue = at("#/header/Idempotency-Key", text)
                    raise HieError(Category.BUSINESS_RULE, text, [issue])
                is_lost = known and known.status is None and now_us - known.at_us > LOST_US
                if known is not None and not is_lost:
                    if known.status is None:
                        raise HieError(Category.CONFLICT, _UNDER_WAY)
                    return known
                await repository.begin(conn, key_hash, content_hash, now_us)
        except IntegrityError as error:  # the same request at the same moment
            raise HieError(Category.CONFLICT, _UNDER_WAY) from error
        return None


def _repeated(known: Stored, sealer: DataKey, key_hash: str) -> Answer:
    told = (known.answer or '["null",{}]').encode()
    if not told.startswith(b"["):  # releases before sealed nothing
        told = sealer.open(base64.b64decode(told), **_place(key_hash))
    body, headers = orjson.loads(told)
    content: Any = orjson.loads(body)
    return Answer(
        content=content,
        status=known.status or 200,
        headers={**headers, "Idempotency-Replayed": "true"},
    )


def _place(key_hash: str) -> dict[str, str]:
    return {"table": "staff_request", "column": "answer", "row": key_hash}


def _hash(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()
