"""Signed tree heads to a syslog, where whoever rules this machine cannot reach them.

One message a head: RFC 5424, its text the head as one JSON object, over TLS (RFC 5425), UDP
(RFC 5426) or the socket of this machine's own syslog. A head covers all before it, so after a
time without a syslog the latest is enough; it is sent again at every start.
Spec: https://www.rfc-editor.org/rfc/rfc5424, https://www.rfc-editor.org/rfc/rfc5425
"""

import asyncio
import os
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hie.audit.chain import SignedHead
from hie.audit.heads import written
from hie.kernel.clock import instant

#: Facility log audit (13), severity notice (5).
PRIORITY: Final = 13 * 8 + 5
PORTS: Final = {"tls": 6514, "udp": 514}
#: How long a connection may take, and a message.
SECONDS: Final = 5.0
_ADDRESS: Final = re.compile(
    r"^(?:unix:(?P<path>/\S+)|(?P<way>tls|udp)://(?P<host>\[[0-9a-f:]+\]|[A-Za-z0-9.\-]+)"
    r"(?::(?P<port>[0-9]{1,5}))?)$"
)
_PRINTABLE: Final = re.compile(r"[^\x21-\x7e]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a syslog listens.

    Attributes:
        way: `tls`, `udp` or `unix`.
        host: or the path of the socket.
    """

    way: str
    host: str
    port: int = 0

    @classmethod
    def read(cls, text: str) -> "Address":
        """`tls://host:6514`, `udp://host:514` or `unix:/dev/log`; ports may be left out.

        Raises:
            ValueError: it is none of them.
        """
        found = _ADDRESS.match(text)
        if found is None:
            raise ValueError("expected tls://host:port, udp://host:port or unix:/path")
        if found["path"]:
            return cls(way="unix", host=found["path"])
        port = int(found["port"] or PORTS[found["way"]])
        if not 0 < port < 65_536:
            raise ValueError("expected a port from 1 to 65535")
        return cls(way=found["way"], host=found["host"].strip("[]"), port=port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """PEM files of a TLS connection; None = the system's authorities, no certificate of our own."""

    authorities: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later, the server's name and chain checked."""
        made = ssl.create_default_context(
            cafile=str(self.authorities) if self.authorities else None
        )
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate:
            made.load_cert_chain(self.certificate, self.private_key)
        return made


def message(signed: SignedHead, key: Ed25519PublicKey, host: str, process: int) -> bytes:
    """A head as an RFC 5424 message."""
    name = _PRINTABLE.sub("-", host)[:255] or "-"
    stamp = instant(signed.head.at_us)
    head = f"<{PRIORITY}>1 {stamp} {name} hie {process} audit-head - {written(signed, key)}"
    return head.encode("ascii")


def framed(content: bytes) -> bytes:
    """A message counted by octets (RFC 5425, section 4.3)."""
    return b"%d %b" % (len(content), content)


class HeadsSyslog:
    """Sends heads to one syslog.

    Args:
        address: where it listens.
        trust: whom a TLS connection believes.
        key: names itself in every message.
    """

    def __init__(self, address: Address, trust: Trust, key: Ed25519PublicKey) -> None:
        self._address = address
        self._trust = trust
        self._key = key
        self._host = socket.gethostname()

    async def send(self, heads: list[SignedHead]) -> None:
        """Send heads, in order.

        Raises:
            OSError: it cannot be reached, or TLS refuses it; nothing is known to have arrived.
        """
        messages = [message(head, self._key, self._host, os.getpid()) for head in heads]
        try:
            async with asyncio.timeout(SECONDS):
                if self._address.way == "tls":
                    await self._stream(messages)
                else:
                    await asyncio.to_thread(self._datagrams, messages)
        except TimeoutError as error:
            raise OSError("the syslog did not answer in time") from error

    async def _stream(self, messages: list[bytes]) -> None:
        address = self._address
        _, writer = await asyncio.open_connection(
            address.host, address.port, ssl=self._trust.context(), server_hostname=address.host
        )
        try:
            writer.write(b"".join(map(framed, messages)))
            await writer.drain()
        finally:
            writer.close()
            await writer.wait_closed()  # the close_notify tells that all of it was sent

    def _datagrams(self, messages: list[bytes]) -> None:
        address = self._address
        if address.way == "unix":
            family, target = socket.AF_UNIX, address.host
            with socket.socket(family, socket.SOCK_DGRAM) as out:
                out.connect(target)
                for one in messages:
                    out.send(one)
            return
        family, kind, protocol, _, found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind, protocol) as out:
            out.connect(found)
            for one in messages:
                out.send(one)
