"""The demo's certificates: one authority, kept while good, made anew when not."""

import ssl
import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from hie.demo.certificates import demo_certificates

NOW = datetime(2026, 1, 31, tzinfo=UTC)
CLIENTS = ("bayside-general", "commonwealth-lab")


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_server_and_client_trust_each_other(tmp_path):
    made = demo_certificates(tmp_path / "tls", CLIENTS, datetime.now(UTC))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.server.certificate, made.server.private_key)
    server.load_verify_locations(made.authority)
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cafile=made.authority)
    pair = made.clients["bayside-general"]
    client.load_cert_chain(pair.certificate, pair.private_key)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    shown = _shake_hands(server, client)
    assert (("commonName", "bayside-general"),) in shown["subject"]


def _shake_hands(server, client):
    """The client's certificate as the server sees it, over memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    for _ in range(4):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ours.getpeercert()


def test_the_common_name_is_the_source(tmp_path):
    made = demo_certificates(tmp_path, CLIENTS, NOW)
    for name, pair in made.clients.items():
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        [common_name] = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert common_name.value == name


def test_a_second_start_keeps_what_is_there(tmp_path):
    demo_certificates(tmp_path, CLIENTS, NOW)
    before = _contents(tmp_path)
    demo_certificates(tmp_path, CLIENTS, NOW + timedelta(days=200))
    assert _contents(tmp_path) == before


@pytest.mark.parametrize("days", [352, 400, -10], ids=["soon over", "over", "not yet begun"])
def test_certificates_out_of_their_time_are_made_anew(tmp_path, days):
    made = demo_certificates(tmp_path, CLIENTS, NOW)
    before = made.authority.read_bytes()
    demo_certificates(tmp_path, CLIENTS, NOW + timedelta(days=days))
    assert made.authority.read_bytes() != before


@pytest.mark.parametrize("name", ["demo-authority.pem", "demo-server.key", "demo-server.pem"])
def test_a_missing_file_makes_all_anew(tmp_path, name):
    demo_certificates(tmp_path, CLIENTS, NOW)
    before = _contents(tmp_path)
    (tmp_path / name).unlink()
    demo_certificates(tmp_path, CLIENTS, NOW)
    after = _contents(tmp_path)
    assert set(after) == set(before)
    assert all(after[key] != before[key] for key in before)


def test_only_the_owner_can_read_the_files(tmp_path):
    demo_certificates(tmp_path / "tls", CLIENTS, NOW)
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "tls").iterdir()}
    assert modes == {0o600}


def test_the_key_of_the_authority_is_not_kept(tmp_path):
    demo_certificates(tmp_path, CLIENTS, NOW)
    assert not (tmp_path / "demo-authority.key").exists()
