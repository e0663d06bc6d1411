"""Certificates of the demo: an authority, the hub's server, one client per TLS source.

Made at the first start, kept for a year, made anew when one is missing or about to end. The
authority's key is thrown away at once: nobody can sign another certificate with it.
"""

import ipaddress
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE: Final = timedelta(days=365)
_RENEW_BEFORE: Final = timedelta(days=14)
_SKEW: Final = timedelta(hours=1)
_ORGANIZATION: Final = "Synthetic state, demo only"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Two PEM files: a certificate and its private key."""

    certificate: Path
    private_key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoCertificates:
    """Where the files are.

    Attributes:
        authority: PEM file of the certificate that signed all others.
        clients: by source id; the common name is that id.
    """

    authority: Path
    server: KeyPair
    clients: Mapping[str, KeyPair]


def demo_certificates(folder: Path, clients: Iterable[str], now: datetime) -> DemoCertificates:
    """The demo's certificates in `folder`, made where they are missing or nearly over.

    Args:
        folder: usually `$HIE_HOME/tls`; made with mode 0700.
        clients: common names, one certificate each.
        now: the current time, aware.
    """
    names = sorted(clients)
    found = DemoCertificates(
        authority=folder / "demo-authority.pem",
        server=_pair(folder, "demo-server"),
        clients={name: _pair(folder, f"demo-{name}") for name in names},
    )
    if not _is_whole(found, now):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make(found, now)
    return found


def _pair(folder: Path, stem: str) -> KeyPair:
    return KeyPair(folder / f"{stem}.pem", folder / f"{stem}.key")


def _is_whole(made: DemoCertificates, now: datetime) -> bool:
    pairs = [made.server, *made.clients.values()]
    has_keys = all(pair.private_key.is_file() for pair in pairs)
    certificates = [made.authority, *(pair.certificate for pair in pairs)]
    return has_keys and all(_is_good(path, now) for path in certificates)


def _is_good(path: Path, now: datetime) -> bool:
    """Whether the file holds a certificate that lasts some days yet."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return False
    starts, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return starts <= now and now + _RENEW_BEFORE < ends


def _make(wanted: DemoCertificates, now: datetime) -> None:
    """Sign all anew: certificates of two authorities would not trust each other."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Demo authority")
    builder = _builder(name, name, authority_key.public_key(), now)
    authority = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_signs_certificates(), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    _write(wanted.authority, authority.public_bytes(serialization.Encoding.PEM))
    issuer = _Issuer(authority, authority_key, now)
    issuer.issue(wanted.server, "localhost", ExtendedKeyUsageOID.SERVER_AUTH)
    for client, pair in wanted.clients.items():
        issuer.issue(pair, client, ExtendedKeyUsageOID.CLIENT_AUTH)


@dataclass(frozen=True, slots=True)
class _Issuer:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    now: datetime

    def issue(self, pair: KeyPair, common_name: str, usage: x509.ObjectIdentifier) -> None:
        """Write a new key and its certificate for one use."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer_key = self.key.public_key()
        builder = (
            _builder(_name(common_name), self.certificate.subject, key.public_key(), self.now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
            )
        )
        if usage == ExtendedKeyUsageOID.SERVER_AUTH:
            builder = builder.add_extension(_here(), critical=False)
        signed = builder.sign(self.key, hashes.SHA256())
        _write(pair.certificate, signed.public_bytes(serialization.Encoding.PEM))
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _write(pair.private_key, secret)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - _SKEW)
        .not_valid_after(now.astimezone(UTC) + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _signs_certificates() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _here() -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(
        [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.IPAddress(ipaddress.ip_address("::1")),
        ]
    )


def _write(path: Path, content: bytes) -> None:
    """Replace a file by one that only its owner reads."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
