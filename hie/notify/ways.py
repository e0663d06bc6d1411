"""The ways a notice leaves by: an MLLP connection, or an HTTPS request."""

import asyncio
import hashlib
import hmac
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

import aiohttp
import orjson

from adapters.domains import Domains
from adapters.hl7v2 import notices
from adapters.hl7v2.notices import Stamp
from adapters.hl7v2.pid import Value
from adapters.hl7v2.send import MllpClient, destination_of
from adapters.hl7v2.tls import TlsSettings
from adapters.notify_policy import SECRET_BYTES, AdtNotices, WebhookNotices
from adapters.sources import Source
from hie.kernel.clock import SECOND_US, instant
from hie.kernel.errors import Category, HieError
from hie.notify.news import IDENTIFIERS, News, numbers_for

_ANSWER_SECONDS: Final = 30.0
_POSITIVE: Final = frozenset({"AA", "CA"})
_FINAL: Final = frozenset({"AE", "CE"})
#: Answers of a web server that may be others later.
_PASSING: Final = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a receiver made of a notice.

    Attributes:
        is_final: it says that this very notice is wrong: sending it again changes nothing.
        reason: why it is not taken; our own words, for a log.
    """

    is_taken: bool
    is_final: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A notice as it leaves; `retired` = the id it may know redirects to the one it is told."""

    news: News
    stamp: Stamp
    is_retired: bool


class Way(Protocol):
    """How one receiver is told."""

    async def reach(self) -> None:
        """Make sure that somebody is there, before anything is disclosed.

        Raises:
            HieError: BUSY; try again later.
        """
        ...

    async def send(self, letter: Letter) -> Verdict:
        """Send, and hear what the receiver says.

        Raises:
            HieError: BUSY; no answer came, it may have it or not.
        """
        ...

    async def close(self) -> None:
        """Let go of what is open."""
        ...


class MllpWay:
    """HL7 v2 messages to a receiver's listener.

    Args:
        base: identifier system of the hub's own ids, its FHIR base.
    """

    def __init__(
        self,
        source: Source,
        policy: AdtNotices,
        channel: str,
        domains: Domains,
        base: str,
        own: TlsSettings,
    ) -> None:
        self._source = source
        self._channel = channel
        self._numbers = numbers_for(source, domains)
        self._base = base
        self._client = MllpClient(destination_of(policy.listener, own, _ANSWER_SECONDS))

    async def reach(self) -> None:
        """Connect, unless the connection is open."""
        await self._client.connect()

    async def send(self, letter: Letter) -> Verdict:
        """Send the message of the channel's kind."""
        reply = await self._client.send(self.message(letter))
        if reply.code in _POSITIVE:
            return Verdict(is_taken=True)
        said = f"the listener answered {reply.code}" if reply.code else "its answer has no code"
        return Verdict(is_taken=False, is_final=reply.code in _FINAL, reason=said)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    def message(self, letter: Letter) -> bytes:
        """ADT^A31 of its numbers; ADT^A40 or A37 of the hub's ids."""
        sight = letter.news.sight
        own = list(self._numbers.written(sight.own))
        if self._channel == IDENTIFIERS:
            others = list(self._numbers.written(sight.others))
            return notices.cross_referenced(self._source, letter.stamp, own + others)
        now, was = self._id(sight.person_id), self._id(letter.news.was)
        if letter.is_retired:
            return notices.merged(self._source, letter.stamp, [now, *own], was)
        return notices.separated(self._source, letter.stamp, [now, *own], was)

    def _id(self, person: str) -> Value:
        return (person, "", "", ("HIE", self._base, "URI"), "PI")


class WebhookWay:
    """Signed JSON to a receiver's web server: the hub's ids and nothing else.

    The signature is HMAC-SHA-256 over the time in `X-HIE-Timestamp`, a full stop, and the body.
    """

    def __init__(self, policy: WebhookNotices) -> None:
        self._policy = policy
        self._session: aiohttp.ClientSession | None = None

    async def reach(self) -> None:
        """See whether somebody listens there."""
        parts = urlsplit(self._policy.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                _, writer = await asyncio.open_connection(parts.hostname, port)
        except (OSError, TimeoutError) as error:
            text = f"no connection to {parts.hostname}:{port} ({type(error).__name__})"
            raise HieError(Category.BUSY, text) from error
        writer.close()

    async def send(self, letter: Letter) -> Verdict:
        """Post the notice."""
        stamp = letter.stamp
        return await self.post(stamp.control_id, stamp.now_us, orjson.dumps(_told(letter)))

    async def post(self, event: str, now_us: int, body: bytes) -> Verdict:
        """Post a signed body; `event` names it, the same each time it is sent.

        Raises:
            HieError: BUSY; no answer came, it may have it or not; or nothing signs it now.
        """
        secret = await asyncio.to_thread(_secret_of, self._policy)
        at = str(now_us // SECOND_US)
        signature = hmac.new(secret, at.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-HIE-Event": event,
            "X-HIE-Timestamp": at,
            "X-HIE-Signature": f"sha256={signature}",
        }
        try:
            session = await self._opened()
            async with session.post(
                self._policy.url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            text = f"no answer ({type(error).__name__})"
            raise HieError(Category.BUSY, text) from error
        is_final = 400 <= status < 500 and status not in _PASSING
        reason = f"the server answered {status}"
        return Verdict(is_taken=200 <= status < 300, is_final=is_final, reason=reason)

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = await asyncio.to_thread(_trusted, self._policy)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context),
                timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS),
            )
        return self._session


#: Makes the way to a receiver; None where its file names none any more.
WayTo = Callable[[Source, str], Way | None]


def ways(domains: Domains, base: str, own: TlsSettings) -> WayTo:
    """The maker of ways.

    Args:
        domains: how identifiers are written.
        base: identifier system of the hub's own ids.
        own: the hub's certificate, shown to listeners that speak TLS.
    """

    def way_to(source: Source, channel: str) -> Way | None:
        policy = source.notify
        if channel not in policy.channels():
            return None
        if policy.adt and channel != "webhook":
            return MllpWay(source, policy.adt, channel, domains, base, own)
        return WebhookWay(policy.webhook) if policy.webhook else None

    return way_to


def _told(letter: Letter) -> dict[str, object]:
    news = letter.news
    kind = "identifiers-changed"
    if news.is_moved:
        kind = "merged" if letter.is_retired else "separated"
    return {
        "id": letter.stamp.control_id,
        "kind": kind,
        "at": instant(letter.stamp.happened_us),
        "person": f"Patient/{news.sight.person_id}",
        **({"before": f"Patient/{news.was}"} if news.is_moved else {}),
    }


def _secret_of(policy: WebhookNotices) -> bytes:
    """What signs: as it is now, for it may be half renewed."""
    try:
        secret = policy.secret_file.read_bytes()
    except OSError as error:
        text = f"`secret_file` cannot be read ({type(error).__name__})"
        raise HieError(Category.BUSY, text) from error
    if len(secret) < SECRET_BYTES:
        raise HieError(Category.BUSY, f"`secret_file`: expected {SECRET_BYTES} bytes or more")
    return secret


def _trusted(policy: WebhookNotices) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=policy.authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
