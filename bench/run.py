"""`make bench`: every number of the design beside its floor, measured here and now."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import (
    audit,
    consent,
    everything,
    export,
    identity,
    ingest,
    labels,
    match,
    parse,
    reads,
    receive,
    reports,
)
from bench.machine import machine_line

#: Name, measure, messages, requests or persons a row.
PARTS: dict[str, tuple[Callable[..., None], int]] = {
    "parse": (parse.measure, 2_000),
    "receive": (receive.measure, 4_000),
    "reports": (reports.measure, 1_000),
    "everything": (everything.measure, 300),
    "ingest": (ingest.measure, 200),
    "reads": (reads.measure, 10_000),
    "export": (export.measure, 100),
    "match": (match.measure, 300),
    "audit": (audit.measure, 5_000),
    "consent": (consent.measure, 400),
    "labels": (labels.measure, 400),
    "identity": (identity.measure, 20_000),
    "lookup": (identity.lookup, 20_000),
}


def main() -> None:
    """Measure the parts named, or all."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="default: all")
    parser.add_argument("--scale", type=float, default=1.0, help="of the usual counts")
    options = parser.parse_args()
    print(machine_line())
    for name in options.parts or PARTS:
        measure, count = PARTS[name]
        with tempfile.TemporaryDirectory(prefix="hie-bench-") as folder:
            measure(Path(folder), count=max(50, int(count * options.scale)))


if __name__ == "__main__":
    main()
