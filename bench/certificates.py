"""Certificates of a run over mutual TLS: one authority, the hub and one sender."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from adapters.hl7v2.tls import TlsSettings, client_context, server_context
from hie.demo.certificates import demo_certificates


class Certificates:
    """The certificates in a folder, made where they are missing."""

    def __init__(self, folder: Path) -> None:
        self._made = demo_certificates(folder, ["bench"], datetime.now(UTC))

    def settings(self) -> dict[str, str]:
        """What tells a hub to listen over TLS and to ask for the sender's certificate."""
        return {
            "HIE_CERTIFICATE": str(self._made.server.certificate),
            "HIE_PRIVATE_KEY": str(self._made.server.private_key),
            "HIE_CLIENT_AUTHORITIES": str(self._made.authority),
        }

    def server(self) -> ssl.SSLContext:
        """The hub's side, for a floor that is no hub."""
        return server_context(
            TlsSettings(
                certificate=self._made.server.certificate,
                private_key=self._made.server.private_key,
                authorities=self._made.authority,
            )
        )

    def sender(self) -> ssl.SSLContext:
        """The sender's side."""
        pair = self._made.clients["bench"]
        return client_context(
            TlsSettings(
                certificate=pair.certificate,
                private_key=pair.private_key,
                authorities=self._made.authority,
            )
        )
