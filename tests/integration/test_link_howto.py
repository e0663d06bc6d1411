"""The worked example of `docs/howto/link-a-file.md`, worked; and its table of attributes."""

import csv
import io
import re

import pytest

from mpi.offline.columns import ATTRIBUTES
from tests.support.files import LinkedFile
from tests.support.tree import ROOT

PAGE = (ROOT / "docs" / "howto" / "link-a-file.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```\w+\n(.*?)```", PAGE, re.DOTALL)


def shown(block: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(block)))


def without_bits(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key != "bits"} for row in rows]


def bits(rows: list[dict[str, str]]) -> list[float]:
    return [float(row["bits"] or 0) for row in rows]


def test_the_worked_example_comes_out_as_the_page_says(tmp_path):
    patients, columns, links, pairs = BLOCKS
    done = LinkedFile(tmp_path, patients, columns)
    assert done.status == 0
    for found, page in ((done.links, shown(links)), (done.pairs, shown(pairs))):
        assert without_bits(found) == without_bits(page)
        # A new model moves the bits a little; the page need not follow at once.
        assert bits(found) == pytest.approx(bits(page), abs=3)


def test_the_page_names_every_attribute():
    table = PAGE.split("## The map")[1].split("## ")[0]
    assert set(ATTRIBUTES) <= set(re.findall(r"`(\w+)`", table))
