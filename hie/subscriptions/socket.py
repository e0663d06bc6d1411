"""Websockets: a client binds with a token and hears of its subscriptions until that is over.

A message is `bind-with-token <token>`, or the same as JSON. Each binding is answered with a
handshake for every subscription it opens; a client binds again before its token is over. Before
each notification the hub looks whether the token, the subscription and its consents still hold.
Spec: https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/channels.html#websockets
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from hie.db import Database
from hie.kernel.clock import SECOND_US, Clock
from hie.kernel.errors import HieError
from hie.subscriptions.bindings import Binding, Bindings
from hie.subscriptions.desk import Desk
from hie.subscriptions.model import Kind, Status, Subscription, hears

_MOST_SOCKETS: Final = 500
_MOST_BOUND: Final = 50
_MESSAGE_BYTES: Final = 4096
_BIND_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.25
_PING_SECONDS: Final = 30.0
#: Between two looks at whether a silent socket may still hear.
_CHECK_SECONDS: Final = 2.0
_BIND: Final = "bind-with-token"
_REFUSED: Final = "the binding token is unknown or over"
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Bound:
    """One subscription on one socket.

    Attributes:
        position: the number of the last event this socket was sent.
        spoke_us: when it was sent anything.
        checked_us: when it was last seen that it may hear at all.
    """

    binding: Binding
    position: int
    spoke_us: int
    checked_us: int


@dataclass(slots=True, eq=False)
class _Session:
    """One socket."""

    socket: web.WebSocketResponse
    since_us: int
    bound: dict[str, _Bound] = field(default_factory=dict)
    was_bound: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Sockets:
    """Serves websockets."""

    def __init__(self, db: Database, desk: Desk, bindings: Bindings, clock: Clock) -> None:
        self._db = db
        self._desk = desk
        self._book = desk.book
        self._bindings = bindings
        self._clock = clock
        self._open: set[_Session] = set()

    @property
    def count(self) -> int:
        """Sockets that are open."""
        return len(self._open)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """The aiohttp handler; ends with the socket."""
        if len(self._open) >= _MOST_SOCKETS:
            return web.Response(status=503, text="too many websockets are open\n")
        socket = web.WebSocketResponse(heartbeat=_PING_SECONDS, max_msg_size=_MESSAGE_BYTES)
        if not socket.can_prepare(request):
            asked = {"Upgrade": "websocket", "Connection": "Upgrade"}
            return web.Response(status=426, headers=asked, text="expected a websocket\n")
        await socket.prepare(request)
        session = _Session(socket=socket, since_us=self._clock.now_us())
        self._open.add(session)
        pushing = asyncio.create_task(self._push(session), name="websocket")
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._heard(session, message.data)
        except HieError:
            await _closed(socket, "the hub failed")
        finally:
            pushing.cancel()
            await asyncio.gather(pushing, return_exceptions=True)
            self._open.discard(session)
        return socket

    async def close(self) -> None:
        """Close every socket; their clients come back."""
        for session in list(self._open):
            with suppress(Exception):
                await session.socket.close(code=WSCloseCode.GOING_AWAY)

    async def _heard(self, session: _Session, text: str) -> None:
        token = _token(text)
        if token is None:
            await _told(session, {"error": f"expected `{_BIND} <token>`"})
            return
        async with self._db.reading() as conn:
            binding = await self._bindings.find(conn, token, self._clock.now_us())
        if binding is None or await self._desk.standing.bearer(binding.token_id) is None:
            await _told(session, {"error": _REFUSED})
            return
        async with session.turn:
            for name in binding.subscriptions:
                await self._bind(session, name, binding)

    async def _bind(self, session: _Session, name: str, binding: Binding) -> None:
        one = await self._standing(name, binding)
        known = session.bound.get(name)
        if one is None or (known is None and len(session.bound) >= _MOST_BOUND):
            return
        now_us = self._clock.now_us()
        # What was not delivered while nobody listened comes first.
        position = known.position if known else one.delivered
        session.bound[name] = _Bound(
            binding=binding, position=position, spoke_us=now_us, checked_us=now_us
        )
        session.was_bound = True
        await _sent(session.socket, self._desk.plain(one, Kind.HANDSHAKE))

    async def _standing(self, name: str, binding: Binding) -> Subscription | None:
        """The subscription, while it and the binding hold."""
        if binding.expires_us <= self._clock.now_us():
            return None
        async with self._db.reading() as conn:
            one = await self._book.get(conn, name)
        is_bound = one is not None and one.owner == binding.owner
        if one is None or not is_bound or one.status is Status.OFF:
            return None
        listener = await self._desk.standing.bearer(binding.token_id)
        # Who asks for it may be another by now: somebody else of the owner's may change its terms.
        return one if listener is not None and hears(one, listener) else None

    async def _push(self, session: _Session) -> None:
        """Send what happens until the socket closes, or nothing is bound to it any more."""
        while not session.socket.closed:
            try:
                async with session.turn:
                    for name in await self._stirring(session):
                        await self._tell(session, name)
            except (ConnectionError, RuntimeError):
                return  # the client went away
            except Exception as error:  # noqa: BLE001 - what is not sent now is sent after the next bind
                _log.warning("websocket.failed", error=type(error).__name__)
                await _closed(session.socket, "the hub failed")
                return
            if not session.bound and self._is_over(session):
                await _closed(session.socket, _REFUSED)
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _stirring(self, session: _Session) -> list[str]:
        """The subscriptions with something to send, or to look after."""
        if not session.bound:
            return []
        async with self._db.reading() as conn:
            last = await self._book.stirring(conn, list(session.bound))
        now_us = self._clock.now_us()
        return [
            name
            for name, bound in session.bound.items()
            if last.get(name, bound.position + 1) > bound.position
            or now_us - bound.checked_us >= _CHECK_SECONDS * SECOND_US
        ]

    def _is_over(self, session: _Session) -> bool:
        waited = (self._clock.now_us() - session.since_us) / SECOND_US
        return session.was_bound or waited > _BIND_SECONDS

    async def _tell(self, session: _Session, name: str) -> None:
        """Send the events of one subscription, or a heartbeat when it is time."""
        bound = session.bound[name]
        one = await self._standing(name, bound.binding)
        ctx = await self._desk.context(one) if one is not None else None
        if one is None or ctx is None:
            del session.bound[name]
            return
        bound.checked_us = self._clock.now_us()
        limit = one.terms.channel.max_count
        await self._desk.settle(one, ctx, limit)
        letter = await self._desk.letter(one, ctx, bound.position, limit)
        now_us = self._clock.now_us()
        if letter is not None:
            if letter.body is not None:
                await self._desk.disclose(one, ctx, letter)
                await _sent(session.socket, letter.body)
                bound.spoke_us = now_us
            bound.position = letter.last
            async with self._db.transaction() as conn:
                await self._book.delivered(conn, one, letter.last, now_us)
        seconds = one.terms.channel.heartbeat_seconds
        if seconds and now_us - bound.spoke_us >= seconds * SECOND_US:
            await _sent(session.socket, self._desk.plain(one, Kind.HEARTBEAT))
            bound.spoke_us = now_us


def _token(text: str) -> str | None:
    """The token of a binding message; None for any other message."""
    if text.startswith("{"):
        try:
            found: Any = json.loads(text)
        except ValueError:
            return None
        payload = found.get("payload")
        is_bind = found.get("type") == _BIND and isinstance(payload, dict)
        token = payload.get("token") if is_bind else None
        return token if isinstance(token, str) else None
    word, _, token = text.strip().partition(" ")
    return token.strip() if word.rstrip(":") == _BIND and token.strip() else None


async def _told(session: _Session, what: dict[str, str]) -> None:
    async with session.turn:
        await _sent(session.socket, json.dumps(what).encode())


async def _sent(socket: web.WebSocketResponse, body: bytes) -> None:
    await socket.send_str(body.decode())


async def _closed(socket: web.WebSocketResponse, reason: str) -> None:
    with suppress(Exception):
        await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=reason.encode())
