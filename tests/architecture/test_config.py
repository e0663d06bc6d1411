"""The tables in config/: readable, rectangular, and free of the same key twice."""

import csv
from pathlib import Path

import pytest

from tests.support.tree import ROOT, name_of, tracked_files

TABLES = [path for path in tracked_files() if path.suffix == ".csv" and "config" in path.parts]


def rows_of(path: Path) -> list[list[str]]:
    """The rows without comments and blank lines; the header first."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return list(csv.reader(line for line in lines if line.strip() and not line.startswith("#")))


@pytest.mark.parametrize("path", TABLES, ids=name_of)
def test_every_row_of_a_table_has_the_columns_of_its_header(path: Path):
    header, *rows = rows_of(path)
    assert [row for row in rows if len(row) != len(header)] == []


@pytest.mark.parametrize("path", TABLES, ids=name_of)
def test_no_table_says_the_same_row_twice(path: Path):
    _, *rows = rows_of(path)
    seen = [tuple(row) for row in rows]
    assert sorted({row for row in seen if seen.count(row) > 1}) == []


def test_config_holds_data_only():
    kinds = {path.suffix for path in tracked_files() if path.relative_to(ROOT).parts[0] == "config"}
    assert kinds <= {".toml", ".csv", ".json", ".ndjson", ".md", ""}
