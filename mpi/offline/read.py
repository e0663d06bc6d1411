"""A file's rows as demographics by record id."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

from mpi.demographics import Demographics
from mpi.normalize import Normalizer, unpack
from mpi.offline.columns import ColumnMap
from mpi.offline.file import CsvFile, Faults
from mpi.offline.rows import RowReader
from mpi.offline.workers import in_order

#: Rows brought to comparable form together.
ROWS_PER_PAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """The records of a file.

    Attributes:
        by_id: demographics by record id, in the order of the file.
        unread_dates: rows whose birth date no format could read.
    """

    by_id: dict[str, Demographics]
    unread_dates: int


def read_records(
    file: CsvFile,
    columns: ColumnMap,
    normalizer: Normalizer,
    as_of: date,
    progress: Callable[[str, int, int], None],
    jobs: int = 1,
) -> Records:
    """Read a file to its end.

    Args:
        file: what to read.
        columns: which column holds what.
        normalizer: brings patients to comparable form.
        as_of: today; birth dates too far from it are defaults.
        progress: told how far the work is.
        jobs: processes that bring rows to comparable form.

    Raises:
        HieError: INVALID; names file, line, column and what was expected.
    """
    rows = file.rows()
    header = [name.strip() for name in next(rows)[1]]
    reader = RowReader(header, columns, file.path.name, normalizer, as_of)
    ids = _Ids(file.path.name, columns.columns["record_id"][0])
    by_id: dict[str, Demographics] = {}
    unread = 0
    for packed, unread_here in in_order(reader.pages, _pages(rows, reader, ids), jobs):
        unread += unread_here
        for record_id, demographics in packed:
            by_id[record_id] = unpack(demographics)
        progress("read", min(file.bytes_read, file.size - 1), file.size)
    progress("read", file.size, file.size)
    ids.check()
    return Records(by_id=by_id, unread_dates=unread)


def _pages(
    rows: Iterator[tuple[int, list[str]]], reader: RowReader, ids: "_Ids"
) -> Iterator[list[list[str]]]:
    """Rows with ids of their own, so many at a time."""
    page: list[list[str]] = []
    for line, cells in rows:
        if ids.is_new(line, reader.record_id(cells)):
            page.append(cells)
        if len(page) == ROWS_PER_PAGE:
            yield page
            page = []
    yield page


class _Ids:
    """The ids of a file, each of which is needed and stands once."""

    def __init__(self, file: str, column: str) -> None:
        self._faults = Faults(file)
        self._column = column
        self._lines: dict[str, int] = {}

    def is_new(self, line: int, record_id: str) -> bool:
        """Whether the row can be read under its id; else its fault is noted."""
        if not record_id:
            self._faults.add(line, self._column, "an id")
        elif first := self._lines.get(record_id):
            expected = f"an id of its own; line {first} has the same"
            self._faults.add(line, self._column, expected)
        else:
            self._lines[record_id] = line
            return True
        return False

    def check(self) -> None:
        """Raise what was noted."""
        self._faults.check()
