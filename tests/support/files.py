"""A file to link, its map, and the command run on it in this process."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from hie.cli import main

MAP = """
date_formats = ["YYYY-MM-DD"]
[columns]
record_id = "id"
given = "given"
middle = "middle"
family = "family"
birth_date = "born"
sex = "sex"
phone = "phone"
street = "street"
zip = "zip"
ssn = "ssn"
"""
HEADER = ("id", "given", "middle", "family", "born", "sex", "phone", "street", "zip", "ssn")
NORA = {
    "given": "Nora",
    "family": "Quinlan",
    "born": "1971-03-08",
    "sex": "f",
    "phone": "617-234-8871",
    "street": "14 Orchard Street",
    "zip": "01742",
}

Row = Mapping[str, str]


def row(record_id: str, **changes: str) -> dict[str, str]:
    """Nora Quinlan as one row, but for what is changed."""
    return {"id": record_id} | NORA | changes


def as_csv(rows: Sequence[Row], header: Sequence[str] = HEADER) -> str:
    """Rows as a CSV text with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class LinkedFile:
    """What the command made of a text.

    Attributes:
        status: its exit code.
        links, pairs: rows of the outputs; empty where there are none.
    """

    def __init__(self, folder: Path, text: str | bytes, columns: str = MAP, *more: str) -> None:
        self.folder = folder
        data = text if isinstance(text, bytes) else text.encode()
        (folder / "file.csv").write_bytes(data)
        (folder / "columns.toml").write_text(columns, encoding="utf-8")
        inputs = [str(folder / "file.csv"), "--map", str(folder / "columns.toml")]
        outputs = ["--out", str(folder / "links.csv"), "--pairs", str(folder / "pairs.csv")]
        fixed = ["--jobs", "1", "--as-of", "2026-01-31"]
        self.status = main(["mpi", "link", *inputs, *outputs, *fixed, *more])
        self.links = _rows(folder / "links.csv")
        self.pairs = _rows(folder / "pairs.csv")

    @property
    def persons(self) -> set[frozenset[str]]:
        """The records of each person."""
        found: dict[str, set[str]] = {}
        for link in self.links:
            found.setdefault(link["person_id"], set()).add(link["record_id"])
        return {frozenset(members) for members in found.values()}

    def decided(self, one: str, other: str) -> tuple[str, str] | None:
        """Decision and reason of a pair; None where it is not listed."""
        for pair in self.pairs:
            if {pair["record_id_1"], pair["record_id_2"]} == {one, other}:
                return pair["decision"], pair["reason"]
        return None


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
