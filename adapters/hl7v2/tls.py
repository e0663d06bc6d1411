"""TLS for MLLP, both sides: version 1.2 or later, and who the other end is.

Spec: HL7 Transport Specification: MLLP; IHE ITI TF-2 3.19 (ATNA node authentication).
"""

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, cast

from cryptography import x509

#: What OpenSSL calls a refusal, in words for an operator.
_REFUSALS: Final = MappingProxyType(
    {
        "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client showed no certificate",
        "HTTP_REQUEST": "the client speaks plain HTTP",
        "WRONG_VERSION_NUMBER": "the client does not speak TLS",
        "UNSUPPORTED_PROTOCOL": "the client's TLS is older than 1.2",
        "VERSION_TOO_LOW": "the client's TLS is older than 1.2",
        "NO_SHARED_CIPHER": "the client knows no cipher allowed here",
        "TLSV1_ALERT_UNKNOWN_CA": "the client does not trust the hub's certificate",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the client does not trust the hub's certificate",
        "SSLV3_ALERT_BAD_CERTIFICATE": "the client does not trust the hub's certificate",
    }
)

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

    def files(self) -> tuple[Path, ...]:
        """Those that are given."""
        given = (self.certificate, self.private_key, self.authorities)
        return tuple(path for path in given if path)


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


def expires_at(connection: ssl.SSLObject | None) -> float | None:
    """When the certificate a peer has shown ends, in seconds since 1970; None without one."""
    until = (connection.getpeercert() or {}).get("notAfter") if connection else None
    return float(ssl.cert_time_to_seconds(until)) if isinstance(until, str) else None


def ends_at(certificate: Path) -> float:
    """When the first certificate of a PEM file ends, in seconds since 1970.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc.timestamp()


def refusal_of(error: ssl.SSLError) -> str:
    """Why a handshake failed, in words that name no one."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate is refused: {error.verify_message}"
    reason = error.reason or type(error).__name__
    return _REFUSALS.get(reason, reason.lower().replace("_", " "))
