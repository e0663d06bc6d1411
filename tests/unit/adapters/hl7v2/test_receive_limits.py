"""The MLLP listener under strain: probes, caps, back-pressure, keep-alive, certificates."""

import asyncio
import datetime
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.hl7v2.frame import Quirk, frame
from adapters.hl7v2.receive import MllpReceiver, ReceiverSettings
from adapters.hl7v2.tls import TlsSettings
from adapters.pressure import Backlog, Gate
from tests.support.certificates import Authority, Certificate
from tests.unit.adapters.hl7v2.test_receive import (
    SETTINGS,
    EchoSink,
    answers,
    client_of,
    connected,
    listening,
    refused,
    rest,
    running,
    until,
)


@pytest.fixture
def sink() -> EchoSink:
    return EchoSink()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def hub(authority: Authority) -> Certificate:
    return authority.issue("hub.test")


def events(logged: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    return [line for line in logged if line["event"] == name]


# --- odd frames and probes --------------------------------------------------------------------


async def test_what_was_odd_about_a_frame_goes_with_its_message(sink: EchoSink):
    async with running(sink) as receiver, connected(receiver) as (reader, writer):
        writer.write(b"noise" + frame(b"MSH|one") + frame(b"MSH|two"))
        await answers(reader, 2)
    assert [peer.quirks for peer in sink.peers] == [{Quirk.NOISE}, frozenset()]


async def test_health_probes_are_counted_and_nothing_else(sink: EchoSink):
    with capture_logs() as logged:
        async with running(sink) as receiver:
            async with connected(receiver):
                pass
            async with connected(receiver) as (reader, writer):
                writer.write(frame(b"") + frame(b" \r\n") + frame(b"MSH|real"))
                assert await answers(reader, 1) == [b"re:MSH|real"]
            for _ in range(3):
                async with connected(receiver) as (reader, writer):
                    writer.write(b"GET /health HTTP/1.0\r\n\r\n")
                    assert (await rest(reader)).startswith(b"HTTP/1.1 400")
    assert sink.taken == [b"MSH|real"]
    assert receiver.counts.empty == 2
    assert receiver.counts.strangers.total() == 3
    assert [line for line in logged if line["log_level"] in {"warning", "error"}] == []


async def test_a_host_that_speaks_something_else_is_logged_once_a_minute(sink: EchoSink):
    with capture_logs() as logged:
        async with running(sink) as receiver:
            for _ in range(4):
                async with connected(receiver) as (reader, writer):
                    writer.write(b"\x16\x03\x01hello")
                    await rest(reader)
    assert receiver.counts.strangers.total() == 4
    assert len(events(logged, "not_mllp")) == 1


async def test_a_probe_of_the_tls_port_is_no_refusal(
    sink: EchoSink, authority: Authority, hub: Certificate
):
    with capture_logs() as logged:
        async with running(sink, listening(hub, authority.certificate)) as receiver:
            async with connected(receiver):
                pass
            await until(lambda: receiver.counts.handshakes_lost == 1)
            assert receiver.door.inside == 0
    assert events(logged, "tls.refused") == []


# --- caps and keep-alive ----------------------------------------------------------------------


async def test_one_address_cannot_take_every_place(sink: EchoSink):
    settings = replace(SETTINGS, connections=10, connections_each=2)
    with capture_logs() as logged:
        async with running(sink, settings) as receiver:
            async with connected(receiver), connected(receiver):
                await until(lambda: receiver.open_connections == 2)
                for _ in range(3):
                    async with connected(receiver) as (third, _):
                        assert await rest(third) == b""
            assert receiver.counts.connections_refused == 3
            await until(lambda: receiver.door.inside == 0)
    assert len(events(logged, "connection.refused")) == 1


async def test_places_are_given_back_over_tls_too(
    sink: EchoSink, authority: Authority, hub: Certificate
):
    settings = replace(listening(hub, authority.certificate), connections=4, connections_each=2)
    lab = client_of(authority, authority.issue("lab.test"))
    async with running(sink, settings) as receiver:
        for _ in range(6):
            assert await refused(receiver, client_of(authority))
        async with connected(receiver, lab) as (reader, writer), connected(receiver, lab):
            await until(lambda: receiver.open_connections == 2)
            assert await refused(receiver, lab)
            writer.write(frame(b"in"))
            assert await answers(reader, 1) == [b"re:in"]
        await until(lambda: receiver.door.inside == 0)
        async with connected(receiver, lab) as (reader, writer):
            writer.write(frame(b"again"))
            assert await answers(reader, 1) == [b"re:again"]


async def test_tcp_asks_after_silent_peers(sink: EchoSink):
    settings = replace(SETTINGS, keepalive_seconds=45)
    async with running(sink, settings) as receiver, connected(receiver):
        await until(lambda: receiver.open_connections == 1)
        (connection,) = receiver._open
        assert connection._transport is not None
        sock = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 45


# --- back-pressure ----------------------------------------------------------------------------


async def paused(sink: EchoSink, gate: Gate, settings: ReceiverSettings, context=None) -> None:
    receiver = MllpReceiver(sink, settings, gate)
    await receiver.start()
    try:
        async with connected(receiver, context) as (reader, writer):
            writer.write(frame(b"before"))
            assert await answers(reader, 1) == [b"re:before"]
            gate.turn(is_open=False)
            writer.write(frame(b"meanwhile"))
            await asyncio.sleep(0.7)  # longer than the listener's patience with silence
            assert sink.taken == [b"before"]
            gate.turn(is_open=True)
            assert await answers(reader, 1) == [b"re:meanwhile"]
            assert receiver.counts.connections_idle == 0
    finally:
        await receiver.stop(2)


async def test_nothing_is_read_while_the_gate_is_closed_and_nothing_is_lost(sink: EchoSink):
    await paused(sink, Gate(), replace(SETTINGS, idle_seconds=0.4))


async def test_the_gate_holds_over_tls(sink: EchoSink, authority: Authority, hub: Certificate):
    settings = replace(listening(hub, None), idle_seconds=0.4)
    await paused(sink, Gate(), settings, client_of(authority))


async def test_a_connection_that_comes_while_the_gate_is_closed_waits(sink: EchoSink):
    gate = Gate()
    gate.turn(is_open=False)
    receiver = MllpReceiver(sink, SETTINGS, gate)
    await receiver.start()
    async with connected(receiver) as (reader, writer):
        writer.write(frame(b"early"))
        await asyncio.sleep(0.1)
        assert sink.taken == []
        gate.turn(is_open=True)
        assert await answers(reader, 1) == [b"re:early"]
    await receiver.stop(2)


async def test_messages_held_in_memory_have_one_bound_for_all_connections(sink: EchoSink):
    sink.gate.clear()
    settings = replace(SETTINGS, held_bytes=100_000, pipelined=2)
    async with running(sink, settings) as receiver:
        async with connected(receiver) as one, connected(receiver) as two:
            for _, writer in (one, two):
                writer.write(frame(b"x" * 60_000))
            await until(lambda: not receiver.may_read)
            one[1].write(frame(b"later"))
            await asyncio.sleep(0.05)
            assert b"later" not in sink.taken
            sink.gate.set()
            assert (await answers(one[0], 2))[1] == b"re:later"
            await answers(two[0], 1)
        assert receiver.held_bytes == 0


async def test_a_peer_that_does_not_read_its_answers_stops_nobody_for_ever(sink: EchoSink):
    settings = replace(SETTINGS, held_bytes=2_000_000, idle_seconds=0.3)
    async with running(sink, settings) as receiver:
        small = {"limit": 1024}
        _, deaf = await asyncio.open_connection("127.0.0.1", receiver.port, **small)
        for _ in range(200):
            deaf.write(frame(b"x" * 500_000))
        await until(lambda: not receiver.may_read)
        async with connected(receiver) as (reader, writer):
            writer.write(frame(b"hello"))
            assert await answers(reader, 1) == [b"re:hello"]
        assert receiver.counts.connections_idle >= 1
        deaf.transport.abort()


async def test_the_backlog_turns_the_gate_between_two_marks():
    waiting = 0

    async def counted(limit: int) -> int:
        return min(waiting, limit)

    gate = Gate()
    turns: list[bool] = []
    gate.watch(lambda: turns.append(gate.is_open))
    backlog = Backlog(gate, counted, high=10, low=4)
    for waiting in (9, 10, 7, 5, 4, 9, 12):  # noqa: B007 - `counted` reads it
        await backlog.look()
    assert turns == [False, True, False]
    assert gate.times_closed == 2


async def test_a_burst_closes_the_gate_before_the_next_count():
    async def counted(limit: int) -> int:
        return 0

    gate = Gate()
    backlog = Backlog(gate, counted, high=3, low=1)
    for _ in range(3):
        backlog.written()
    assert not gate.is_open
    await backlog.look()
    assert gate.is_open


async def test_a_count_that_did_not_see_a_burst_does_not_open_the_gate():
    async def counted(limit: int) -> int:
        for _ in range(3):  # journaled after the count's snapshot was taken
            backlog.written()
        return 0

    gate = Gate()
    backlog = Backlog(gate, counted, high=3, low=1)
    await backlog.look()
    assert not gate.is_open


async def test_a_hub_without_a_high_mark_never_closes_the_gate():
    async def counted(limit: int) -> int:
        raise AssertionError

    gate = Gate()
    backlog = Backlog(gate, counted, high=0, low=0)
    backlog.written()
    await backlog.look()
    assert gate.is_open


# --- certificates -----------------------------------------------------------------------------


async def reason_of(receiver: MllpReceiver, context: ssl.SSLContext) -> str:
    with capture_logs() as logged:
        before = receiver.counts.handshakes_refused
        receiver.door._told.clear()
        assert await refused(receiver, context)
        await until(lambda: receiver.counts.handshakes_refused == before + 1)
    (line,) = events(logged, "tls.refused")
    assert line["peer"] == "127.0.0.1"
    return str(line["reason"])


async def test_a_refused_certificate_is_told_with_its_reason(
    sink: EchoSink, authority: Authority, hub: Certificate, tmp_path: Path
):
    stranger = Authority(tmp_path, "Strange authority").issue("lab.test")
    past = datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)
    expired = authority.issue("old.test", not_after=past)
    async with running(sink, listening(hub, authority.certificate)) as receiver:
        assert "showed no certificate" in await reason_of(receiver, client_of(authority))
        told = await reason_of(receiver, client_of(authority, stranger))
        assert told == "the client's certificate is refused: unable to get local issuer certificate"
        told = await reason_of(receiver, client_of(authority, expired))
        assert told == "the client's certificate is refused: certificate has expired"
        assert receiver.door.inside == 0
    assert sink.taken == []


async def test_a_peer_that_does_not_speak_tls_is_told_apart(sink: EchoSink, hub: Certificate):
    with capture_logs() as logged:
        async with running(sink, listening(hub, None)) as receiver:
            async with connected(receiver) as (reader, writer):
                writer.write(frame(b"MSH|plain, and long enough to be looked at"))
                await rest(reader)
            await until(lambda: receiver.counts.handshakes_refused == 1)
    (line,) = events(logged, "tls.refused")
    assert line["reason"] == "the client does not speak TLS"


async def test_certificates_that_end_soon_are_told_of(sink: EchoSink, authority: Authority):
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=12, hours=1)
    own = authority.issue("soon.test", not_after=soon)
    lab = authority.issue("lab-soon.test", not_after=soon)
    with capture_logs() as logged:
        async with running(sink, listening(own, authority.certificate)) as receiver:
            context = client_of(authority, lab)
            context.check_hostname = False
            for _ in range(2):
                async with connected(receiver, context) as (reader, writer):
                    writer.write(frame(b"hello"))
                    await answers(reader, 1)
            assert receiver.counts.certificates == {
                "lab-soon.test": pytest.approx(soon.timestamp(), abs=1)
            }
            assert receiver.certificate_ends == pytest.approx(soon.timestamp(), abs=1)
    told = [(line["certificate"], line["count"]) for line in events(logged, "certificate.expiring")]
    assert told == [("own", 12), ("lab-soon.test", 12)]


async def test_a_renewed_certificate_is_used_without_a_restart(
    sink: EchoSink, authority: Authority, tmp_path: Path
):
    first, second = authority.issue("first.test"), authority.issue("second.test")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"

    def install(issued: Certificate) -> None:
        chain.write_bytes(issued.certificate.read_bytes())
        key.write_bytes(issued.private_key.read_bytes())

    async def subject() -> str:
        context = client_of(authority)
        context.check_hostname = False
        async with connected(receiver, context) as (_, writer):
            certificate = writer.get_extra_info("peercert")
        return str(certificate["subject"][0][0][1])

    install(first)
    settings = replace(
        SETTINGS, idle_seconds=0.4, tls=TlsSettings(certificate=chain, private_key=key)
    )
    async with running(sink, settings) as receiver:
        assert await subject() == "first.test"
        key.write_text("half written")
        os.utime(key, ns=(1, 1))
        await asyncio.sleep(0.25)
        assert await subject() == "first.test"
        install(second)
        async with asyncio.timeout(60):
            while await subject() != "second.test":  # noqa: ASYNC110 - files tell nobody
                await asyncio.sleep(0.05)
