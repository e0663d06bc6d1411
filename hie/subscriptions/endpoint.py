"""A rest-hook's endpoint: whether notifications may go there, and sending them.

An address is looked up when it is asked for and again for each connection, and what is connected
to is one of the addresses that were looked at: a name that means another machine by then reaches
nobody. Redirects are not followed.
"""

import asyncio
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from hie.kernel.errors import Category, HieError
from hie.subscriptions.model import Channel
from hie.subscriptions.policy import EndpointRules

_REFUSED: Final = "the endpoint is not one notifications may go to"
_EXPECTED: Final = "expected an https address of a public host, without user or fragment"
_LONGEST: Final = 2_000
#: RFC 6052: the last 32 bits are an IPv4 address.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an endpoint made of a notification; `reason` in our own words."""

    is_taken: bool
    reason: str = ""


class Guard:
    """Says where notifications may go."""

    def __init__(self, rules: EndpointRules) -> None:
        self._rules = rules
        self._networks = [net for one in rules.allowed if (net := _network(one))]
        self._hosts = frozenset(one.lower() for one in rules.allowed)

    def check_url(self, url: str) -> str | None:
        """What is wrong with an address as written; None when nothing is."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return _EXPECTED
        is_plain = parts.scheme == "http" and self._rules.is_development and _is_local(host)
        is_sound = bool(host) and port != 0 and not parts.username and not parts.fragment
        is_written = is_sound and len(url) <= _LONGEST and url.isascii() and url.isprintable()
        if not is_written or (parts.scheme != "https" and not is_plain):
            return _EXPECTED
        literal = _address(host)
        if literal is not None and not self.allows(host, literal):
            return _EXPECTED
        return None

    def allows(self, host: str, address: Address) -> bool:
        """Whether an address of a host is one to connect to."""
        found = _meant(address)
        if found.is_loopback and self._rules.is_development:
            return True
        if host.lower() in self._hosts or any(found in network for network in self._networks):
            return True
        return bool(found.is_global) and not found.is_multicast

    async def addresses(self, host: str, port: int) -> list[ResolveResult]:
        """The addresses of a host that may be connected to.

        Raises:
            OSError: it has none.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        kept = [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family, _, proto, _, address in found
            if (read := _address(str(address[0]))) and self.allows(host, read)
        ]
        if not kept:
            raise OSError(_REFUSED)
        return kept


class _Resolver(AbstractResolver):
    """Gives aiohttp the addresses that the guard allows."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._guard.addresses(host, port)
        return [one for one in found if family in (socket.AF_UNSPEC, one["family"])]

    async def close(self) -> None:
        """Nothing is kept."""


class Endpoints:
    """Sends notifications; one pool of connections for all endpoints."""

    def __init__(self, rules: EndpointRules) -> None:
        self.guard = Guard(rules)
        self._rules = rules
        self._session: aiohttp.ClientSession | None = None

    async def reach(self, channel: Channel) -> None:
        """See that somebody listens there, before anything is numbered or disclosed.

        Raises:
            HieError: BUSY; nobody does, or the address is not one to connect to.
        """
        if self.guard.check_url(channel.endpoint):
            raise HieError(Category.BUSY, _REFUSED)
        parts = urlsplit(channel.endpoint)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname or ""
        try:
            async with asyncio.timeout(channel.timeout_seconds):
                found = await self.guard.addresses(host, port)
                _, writer = await asyncio.open_connection(found[0]["host"], port)
        except (OSError, TimeoutError) as error:
            text = f"no connection to the endpoint ({type(error).__name__})"
            raise HieError(Category.BUSY, text) from error
        writer.close()

    async def post(self, channel: Channel, body: bytes) -> Verdict:
        """Post a notification, and hear whether it is taken; never raises for the endpoint."""
        headers: dict[str, str] = {}
        for text in channel.headers:
            name, _, value = text.partition(":")
            headers[name] = value.strip()
        headers["Content-Type"] = "application/fhir+json"
        try:
            session = await self._opened()
            async with session.post(
                channel.endpoint,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=channel.timeout_seconds),
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return Verdict(is_taken=False, reason=f"no answer ({type(error).__name__})")
        if 200 <= status < 300:
            return Verdict(is_taken=True)
        return Verdict(is_taken=False, reason=f"the endpoint answered {status}")

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = await asyncio.to_thread(_trusted, self._rules)
            connector = aiohttp.TCPConnector(
                ssl=context, resolver=_Resolver(self.guard), use_dns_cache=False
            )
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._session


def _trusted(rules: EndpointRules) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if rules.authorities is not None:
        context.load_verify_locations(cafile=rules.authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _network(text: str) -> Any:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None  # a host's name


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _meant(address: Address) -> Address:
    """The IPv4 address that is written inside an IPv6 one, by which a translator goes on."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


def _is_local(host: str) -> bool:
    literal = _address(host)
    return host == "localhost" or (literal is not None and literal.is_loopback)
