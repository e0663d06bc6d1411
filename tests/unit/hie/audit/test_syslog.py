"""Signed heads sent to a syslog over real sockets: TLS, UDP, the machine's own socket.

Spec: RFC 5424, RFC 5425
"""

import asyncio
import re
import socket
import ssl
from contextlib import asynccontextmanager

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hie.audit.chain import ChainState, sign
from hie.audit.heads import HeadsFile
from hie.audit.syslog import Address, HeadsSyslog, Trust, framed, message
from tests.support.certificates import Authority

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
HEADS = [
    sign(ChainState().append([bytes([n]) * 32 for n in range(size)])[0].head(1_000_000), KEY)
    for size in (2, 5)
]
FORM = re.compile(rb'^<109>1 1970-01-01T00:00:01\.000Z \S+ hie \d+ audit-head - \{"size": \d+.*\}$')


def sender(address, **trust):
    return HeadsSyslog(Address.read(address), Trust(**trust), KEY.public_key())


def read_back(folder, *messages):
    """The heads in lines as a syslog daemon writes them down."""
    file = folder / "kept.log"
    file.write_bytes(b"".join(one + b"\n" for one in messages))
    return HeadsFile(file).read()


@asynccontextmanager
async def tls_server(server, authorities=None):
    """A collector that counts octets as RFC 5425 says; what it was sent."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authorities)
    context.load_cert_chain(server.certificate, server.private_key)
    if authorities:
        context.verify_mode = ssl.CERT_REQUIRED
    received = []
    ended = asyncio.Event()

    async def take(reader, writer):
        try:
            while length := (await reader.readuntil(b" "))[:-1]:
                received.append(await reader.readexactly(int(length)))
        except (asyncio.IncompleteReadError, ssl.SSLError, OSError):
            pass
        finally:
            writer.close()
            ended.set()

    listening = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    async with listening:
        yield listening.sockets[0].getsockname()[1], received, ended


async def test_heads_arrive_over_tls_whole_in_order_and_verify_again(tmp_path):
    authority = Authority(tmp_path)
    own = authority.issue("hub")
    async with tls_server(authority.issue("localhost"), authority.certificate) as (
        port,
        got,
        ended,
    ):
        await sender(
            f"tls://localhost:{port}",
            authorities=authority.certificate,
            certificate=own.certificate,
            private_key=own.private_key,
        ).send(HEADS)
        await asyncio.wait_for(ended.wait(), 60)
    assert all(FORM.match(one) for one in got)
    assert read_back(tmp_path, *got) == (HEADS, 0)


@pytest.mark.parametrize("fault", ["another-authority", "another-name"])
async def test_no_head_goes_to_a_server_that_is_not_the_one_named(tmp_path, fault):
    authority = Authority(tmp_path)
    other = Authority(tmp_path, "Other")
    is_name = fault == "another-name"
    server = authority.issue("elsewhere.example" if is_name else "localhost")
    trusted = authority if is_name else other
    async with tls_server(server) as (port, got, _):
        with pytest.raises(OSError):
            await sender(f"tls://localhost:{port}", authorities=trusted.certificate).send(HEADS)
    assert got == []


async def test_a_syslog_that_is_not_there_is_an_os_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError):
            await sender(f"tls://127.0.0.1:{taken.getsockname()[1]}").send(HEADS)


@pytest.mark.parametrize("way", ["udp", "unix"])
async def test_heads_arrive_as_datagrams(tmp_path, way):
    family = socket.AF_UNIX if way == "unix" else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as collector:
        if way == "unix":
            collector.bind(str(tmp_path / "log"))
            address = f"unix:{tmp_path / 'log'}"
        else:
            collector.bind(("127.0.0.1", 0))
            address = f"udp://127.0.0.1:{collector.getsockname()[1]}"
        collector.settimeout(60)
        await sender(address).send(HEADS)
        got = [collector.recv(4096) for _ in HEADS]
    assert read_back(tmp_path, *got) == (HEADS, 0)


def test_a_message_is_ascii_whatever_the_machine_is_called():
    told = message(HEADS[0], KEY.public_key(), "hüb one", 7)
    assert b" h-b-one hie 7 audit-head - {" in told
    assert framed(b"abc") == b"3 abc"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tls://log.example", Address(way="tls", host="log.example", port=6514)),
        ("udp://[::1]:1514", Address(way="udp", host="::1", port=1514)),
        ("unix:/dev/log", Address(way="unix", host="/dev/log")),
        ("tcp://log.example", None),
        ("tls://log.example:0", None),
        ("tls://log.example:70000", None),
        ("log.example", None),
        ("unix:log", None),
    ],
)
def test_an_address_is_one_of_three_kinds(text, address):
    if address is None:
        with pytest.raises(ValueError, match="expected"):
            Address.read(text)
    else:
        assert Address.read(text) == address
