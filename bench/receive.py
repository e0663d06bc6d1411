"""Receive with a durable acknowledgement, beside a bare echo and a bare commit loop."""

import asyncio
import os
import sys
from pathlib import Path

from bench.floors import commits_per_second
from bench.machine import percentile, print_table
from bench.messages import adt
from bench.mllp import Tally, send_all
from bench.process import Hub, free_port, running, running_hub, running_receiver
from bench.work import wait_until_settled

CONNECTIONS = (1, 16)
WARM_UP = 200
TARGETS = {1: 1_000, 16: 5_000}


def measure(folder: Path, *, count: int) -> None:
    """Print the receive table.

    Args:
        folder: for the data of this run.
        count: messages per row.
    """
    rows = [_row("echo, nothing stored (floor)", n, _echo(count, n)) for n in CONNECTIONS]
    payload = adt(0)
    for batch in CONNECTIONS:
        rate = commits_per_second(folder, payload, batch=batch, count=min(count, 4_000))
        rows.append(
            (f"SQLite commit loop, {batch} a commit (floor)", "", f"{rate:,.0f}", "", "", "")
        )
    rows += _alone(folder / "alone", count)
    rows += _whole(folder / "whole", count // 2)
    print_table(
        f"Receive over MLLP, ACK after commit ({count} ADT^A01 of {len(payload)} bytes a row)",
        ("", "connections", "msg/s", "p50 ms", "p99 ms", "target"),
        rows,
    )


def _echo(count: int, connections: int) -> Tally:
    port = free_port()
    with running(["-m", "bench.floors", "echo", str(port)], port, os.environ):
        messages = [adt(n) for n in range(count)]
        return asyncio.run(send_all(port, messages, connections=connections))


def _alone(home: Path, count: int) -> list[tuple[str, ...]]:
    with running_receiver(home) as hub:
        asyncio.run(send_all(hub.mllp_port, [adt(n) for n in range(WARM_UP)], connections=4))
        return [
            _row("hub, journal and ACK", n, _send(hub, count, n, turn), TARGETS[n])
            for turn, n in enumerate(CONNECTIONS)
        ]


def _whole(home: Path, count: int) -> list[tuple[str, ...]]:
    rows = []
    with running_hub(home) as hub:
        asyncio.run(send_all(hub.mllp_port, [adt(n) for n in range(WARM_UP)], connections=4))
        for turn, connections in enumerate(CONNECTIONS):
            wait_until_settled(home)
            tally = _send(hub, count, connections, turn)
            rows.append(_row("hub, working off at the same time", connections, tally))
        wait_until_settled(home)
    return rows


def _send(hub: Hub, count: int, connections: int, turn: int) -> Tally:
    first = WARM_UP + turn * count
    messages = [adt(n) for n in range(first, first + count)]
    tally = asyncio.run(send_all(hub.mllp_port, messages, connections=connections))
    if tally.answers != {"AA": count}:
        sys.exit(f"not every message was accepted: {tally.answers}")
    return tally


def _row(name: str, connections: int, tally: Tally, target: int | None = None) -> tuple[str, ...]:
    return (
        name,
        str(connections),
        f"{tally.per_second:,.0f}",
        f"{percentile(tally.waits, 0.5) * 1000:.2f}",
        f"{percentile(tally.waits, 0.99) * 1000:.2f}",
        f">= {target:,}" if target else "",
    )
