"""Records and pairs as files that somebody named: normalised, as training sees them.

Such a file holds patient data in clear. It is made for its owner alone (mode 0600), takes its
name only when it is whole, and whoever writes it puts that on record first.
"""

import csv
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from hie.kernel.errors import Category, HieError
from mpi.compare import Comparison
from mpi.demographics import Demographics
from mpi.levels import COMPARISONS
from mpi.normalize import pack, unpack
from mpi.offline.blocks import Keys, distinct
from mpi.score import Scorer
from mpi.settings import LinkageModel
from mpi.training.engine import imported
from mpi.training.fields import COLUMNS, Knowledge, columns, comparer

#: Rows handed to the file at a time.
BATCH = 10_000
RECORD_COLUMNS = ("unique_id", "person_id", *COLUMNS)
PAIR_COLUMNS = (
    "unique_id_l",
    "unique_id_r",
    *COMPARISONS,
    "agreed_first",
    "agreed_last",
    "bits",
)
Cell = str | float | None


class Unpacked(Sequence[Demographics]):
    """Demographics kept packed, a few hundred bytes each, and opened when asked for."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []

    def append(self, demographics: Demographics) -> None:
        """One more."""
        self._packed.append(pack(demographics))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._packed)

    @overload
    def __getitem__(self, place: int) -> Demographics: ...

    @overload
    def __getitem__(self, place: slice) -> list[Demographics]: ...

    def __getitem__(self, place: int | slice) -> Demographics | list[Demographics]:
        """Those at a place, or of a slice."""
        if isinstance(place, slice):
            return [unpack(packed) for packed in self._packed[place]]
        return unpack(self._packed[place])


@dataclass(slots=True)
class Exported:
    """Records on their way into files.

    Attributes:
        persons: whose record each is by today's links; empty where nobody has said.
    """

    ids: list[str] = field(default_factory=list)
    persons: list[str] = field(default_factory=list)
    records: Unpacked = field(default_factory=Unpacked)

    def add(self, record_id: str, demographics: Demographics, person: str = "") -> None:
        """One more record."""
        self.ids.append(record_id)
        self.persons.append(person)
        self.records.append(demographics)


def record_rows(exported: Exported) -> Iterator[list[Cell]]:
    """A row per record: its columns as the comparisons read them."""
    for place, record_id in enumerate(exported.ids):
        row = columns(exported.records[place])
        yield [record_id, exported.persons[place] or None, *(row[name] for name in COLUMNS)]


def pair_rows(
    exported: Exported, model: LinkageModel, knowledge: Knowledge
) -> Iterator[list[Cell]]:
    """A row per pair that shares a blocking key: the level of each comparison, and the score."""
    records = exported.records
    keys = Keys(records, model)
    keys.add(keys.of(range(len(records))))
    compare, scorer = comparer(knowledge).compare, Scorer(model)
    for batch in keys.blocks().batches:
        for one, other in distinct(batch):
            found = compare(records[one], records[other])
            ids = [exported.ids[one], exported.ids[other]]
            yield [*ids, *_levels(found), scorer.score(found).bits]


def _levels(found: Comparison) -> list[Cell]:
    levels: list[Cell] = [
        level.value if (level := found.level(name)) is not None else None for name in COMPARISONS
    ]
    return [*levels, found.agreed_first or None, found.agreed_last or None]


class PrivateFile:
    """An output for its owner alone that takes its name once it is complete.

    Args:
        path: ends in `.csv`, `.parquet` or `.json`; never overwritten.

    Raises:
        HieError: INVALID for another ending; CONFLICT where there is such a file.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix not in (".csv", ".parquet", ".json"):
            text = f"`{path.name}`: expected a name that ends in .csv, .parquet or .json"
            raise HieError(Category.INVALID, text)
        if path.exists():
            text = f"`{path.name}` is there already: patient data is not written over other files"
            raise HieError(Category.CONFLICT, text)
        if path.suffix == ".parquet":
            imported("pyarrow.parquet")
        self._path = path

    def __enter__(self) -> "PrivateFile":
        # mkstemp makes the file with mode 0600.
        handle, name = tempfile.mkstemp(
            prefix=f".{self._path.name}.", suffix=".part", dir=self._path.parent
        )
        os.close(handle)
        self._part = Path(name)
        self._is_whole = False
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_whole:
            self._part.replace(self._path)
        else:
            with suppress(FileNotFoundError):
                self._part.unlink()

    def write(self, header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> int:
        """Write a table; how many rows it has."""
        write = self._write_csv if self._path.suffix == ".csv" else self._write_parquet
        count = write(header, rows)
        self._is_whole = True
        return count

    def write_json(self, value: Mapping[str, Any]) -> None:
        """Write a JSON object."""
        self._part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
        self._is_whole = True

    def _write_csv(self, header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> int:
        count = 0
        with self._part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            for row in rows:
                writer.writerow(["" if cell is None else cell for cell in row])
                count += 1
        return count

    def _write_parquet(self, header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> int:
        arrow, parquet = imported("pyarrow"), imported("pyarrow.parquet")
        kinds = [(name, arrow.float64() if name == "bits" else arrow.string()) for name in header]
        schema = arrow.schema(kinds)
        count = 0
        with parquet.ParquetWriter(str(self._part), schema) as writer:
            for batch in _batches(rows):
                cells = list(zip(*batch, strict=True))
                made = [
                    arrow.array(values, kind)
                    for values, (_, kind) in zip(cells, kinds, strict=True)
                ]
                writer.write_batch(arrow.record_batch(made, schema=schema))
                count += len(batch)
        return count


def _batches(rows: Iterable[Sequence[Cell]]) -> Iterator[list[Sequence[Cell]]]:
    batch: list[Sequence[Cell]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
