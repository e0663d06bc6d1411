"""The official R4 examples and definitions, as `make node` installs them."""

import json
import os
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.tree import ROOT

PACKAGE = ROOT / ".venv/node/node_modules/hl7.fhir.r4.examples"
IS_LONG = bool(os.environ.get("HIE_TEST_LONG"))
#: On a build server what is skipped is not tested.
IS_THERE = PACKAGE.is_dir() or os.environ.get("CI") == "true"
needs_examples = pytest.mark.skipif(not IS_THERE, reason="the official examples: `make node`")


@cache
def files_by_type() -> dict[str, tuple[Path, ...]]:
    """The files of the examples by resource type, in the order of their names."""
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.glob("*-*.json")):
        found.setdefault(path.name.partition("-")[0], []).append(path)
    return {kind: tuple(paths) for kind, paths in found.items()}


def examples(per_type: int | None = None, largest: int = 100_000) -> Iterator[dict[str, Any]]:
    """Example resources with numbers as they are written.

    Args:
        per_type: at most so many of each type, small ones first; None = every one there is.
        largest: bytes of a file, where `per_type` is given.
    """
    for paths in files_by_type().values():
        chosen = paths
        if per_type is not None:
            small = sorted((p.stat().st_size, p) for p in paths)
            chosen = tuple(p for size, p in small if size <= largest)[:per_type]
        for path in chosen:
            resource = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
            if "resourceType" in resource:
                yield resource


@cache
def search_parameters() -> tuple[dict[str, Any], ...]:
    """The SearchParameter definitions of the standard."""
    paths = files_by_type()["SearchParameter"]
    return tuple(json.loads(path.read_text(encoding="utf-8")) for path in paths)
