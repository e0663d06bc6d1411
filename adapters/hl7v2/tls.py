"""TLS for MLLP, both sides: version 1.2 or later, and who the other end is.

Spec: HL7 Transport Specification: MLLP; IHE ITI TF-2 3.19 (ATNA node authentication).
"""

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import cast

Subject = tuple[tuple[tuple[str, str], ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """PEM files of one end.

    Attributes:
        certificate: own certificate, followed by its chain.
        private_key: its key.
        authorities: whose certificates the other end may show; None = a server asks for
            none, a client trusts the machine's store.
        is_client_required: a server with authorities refuses clients without certificate.
    """

    certificate: Path | None = None
    private_key: Path | None = None
    authorities: Path | None = None
    is_client_required: bool = True


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """The context of a listener.

    Raises:
        OSError: a file cannot be read (ssl.SSLError: is not what it should be).
        ValueError: no certificate is given.
    """
    if settings.certificate is None:
        raise ValueError("a TLS listener needs a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.certificate, settings.private_key)
    if settings.authorities:
        context.load_verify_locations(settings.authorities)
        is_required = settings.is_client_required
        context.verify_mode = ssl.CERT_REQUIRED if is_required else ssl.CERT_OPTIONAL
    return context


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """The context of a sender; it always checks the server's certificate and name.

    Raises:
        OSError: a file cannot be read (ssl.SSLError: is not what it should be).
    """
    context = ssl.create_default_context(cafile=settings.authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.certificate:
        context.load_cert_chain(settings.certificate, settings.private_key)
    return context


def identity(connection: ssl.SSLObject | None) -> tuple[str | None, str | None]:
    """(SHA-256 fingerprint in hex, common name) of the certificate a peer has proved to hold."""
    binary = connection.getpeercert(binary_form=True) if connection else None
    if connection is None or not binary:
        return None, None
    # The library types every entry alike; the subject is a tuple of tuples of (name, value).
    subject = cast("Subject", (connection.getpeercert() or {}).get("subject", ()))
    names = [value for part in subject for name, value in part if name == "commonName"]
    return hashlib.sha256(binary).hexdigest(), names[0] if names else None
