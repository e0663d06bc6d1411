"""Receive with a durable acknowledgement, plain and over mutual TLS, beside its floors."""

import asyncio
import os
import ssl
import sys
from pathlib import Path

from bench.certificates import Certificates
from bench.floors import commits_per_second
from bench.machine import percentile, print_table
from bench.messages import adt
from bench.mllp import Tally, send_all
from bench.process import cpu_seconds, running, running_hub, running_receiver
from bench.work import wait_until_settled
from tests.support.ports import free_port

CONNECTIONS = (1, 16, 64)
WARM_UP = 200
TARGETS = {1: 1_000, 16: 5_000}


def measure(folder: Path, *, count: int) -> None:
    """Print the receive table.

    Args:
        folder: for the data of this run.
        count: messages per row.
    """
    certificates = Certificates(folder / "tls")
    payload = adt(0)
    rows: list[tuple[str, ...]] = []
    for batch in CONNECTIONS:
        rate = commits_per_second(folder, payload, batch=batch, count=min(count, 4_000))
        rows.append(
            (f"SQLite commit loop, {batch} a commit (floor)", "", f"{rate:,.0f}", "", "", "", "")
        )
    rows += _echo(folder, count, None)
    rows += _alone(folder / "plain", count, None)
    rows += _echo(folder, count, certificates)
    rows += _alone(folder / "mutual", count, certificates)
    rows += _whole(folder / "whole", count // 2)
    print_table(
        f"Receive over MLLP, ACK after commit ({count} ADT^A01 of {len(payload)} bytes a row)",
        ("", "connections", "msg/s", "p50 ms", "p99 ms", "CPU us/msg", "target"),
        rows,
    )


def _echo(folder: Path, count: int, certificates: Certificates | None) -> list[tuple[str, ...]]:
    """The wire alone: every frame is answered, nothing is read or stored."""
    port = free_port()
    more = [str(folder / "tls")] if certificates else []
    tls = certificates.sender() if certificates else None
    messages = [adt(n) for n in range(count)]
    rows = []
    with running(["-m", "bench.floors", "echo", str(port), *more], port, os.environ) as pid:
        for connections in CONNECTIONS:
            used = cpu_seconds(pid)
            tally = asyncio.run(send_all(port, messages, connections=connections, tls=tls))
            used = cpu_seconds(pid) - used
            rows.append(_row(f"echo, nothing stored{_over(tls)} (floor)", connections, tally, used))
    return rows


def _alone(home: Path, count: int, certificates: Certificates | None) -> list[tuple[str, ...]]:
    more = certificates.settings() if certificates else {}
    tls = certificates.sender() if certificates else None
    with running_receiver(home, **more) as hub:
        port = hub.mllps_port if tls else hub.mllp_port
        _warm_up(port, tls)
        rows = []
        for turn, n in enumerate(CONNECTIONS):
            used = cpu_seconds(hub.pid)
            tally = _send(port, count, n, turn, tls)
            used = cpu_seconds(hub.pid) - used
            name = f"hub, journal and ACK{_over(tls)}"
            rows.append(_row(name, n, tally, used, TARGETS.get(n)))
        return rows


def _whole(home: Path, count: int) -> list[tuple[str, ...]]:
    rows = []
    with running_hub(home) as hub:
        _warm_up(hub.mllp_port, None)
        for turn, connections in enumerate(CONNECTIONS):
            wait_until_settled(home)
            used = cpu_seconds(hub.pid)
            tally = _send(hub.mllp_port, count, connections, turn, None)
            used = cpu_seconds(hub.pid) - used
            rows.append(_row("hub, working off at the same time", connections, tally, used))
        wait_until_settled(home)
    return rows


def _warm_up(port: int, tls: ssl.SSLContext | None) -> None:
    asyncio.run(send_all(port, [adt(n) for n in range(WARM_UP)], connections=4, tls=tls))


def _send(port: int, count: int, connections: int, turn: int, tls: ssl.SSLContext | None) -> Tally:
    first = WARM_UP + turn * count
    messages = [adt(n) for n in range(first, first + count)]
    tally = asyncio.run(send_all(port, messages, connections=connections, tls=tls))
    if tally.answers != {"AA": count}:
        sys.exit(f"not every message was accepted: {tally.answers}")
    return tally


def _over(tls: ssl.SSLContext | None) -> str:
    return ", mTLS" if tls else ""


def _row(
    name: str, connections: int, tally: Tally, used: float, target: int | None = None
) -> tuple[str, ...]:
    return (
        name,
        str(connections),
        f"{tally.per_second:,.0f}",
        f"{percentile(tally.waits, 0.5) * 1000:.2f}",
        f"{percentile(tally.waits, 0.99) * 1000:.2f}",
        f"{used / sum(tally.answers.values()) * 1_000_000:,.0f}",
        f">= {target:,}" if target else "",
    )
