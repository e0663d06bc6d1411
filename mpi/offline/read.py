"""A file's rows as demographics by record id."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from hie.kernel.errors import Category, HieError
from mpi.demographics import Demographics
from mpi.normalize import Normalizer
from mpi.offline.columns import ColumnMap
from mpi.offline.file import CsvFile, Faults
from mpi.offline.rows import RowReader

#: Rows read before the progress is told again.
ROWS_PER_REPORT = 1_000


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
) -> Records:
    """Read a file to its end.

    Raises:
        HieError: INVALID; names file, line, column and what was expected.
    """
    rows = file.rows()
    header = next(rows, None)
    if header is None:
        text = f"`{file.path.name}` line 1: expected a header line with the names of the columns"
        raise HieError(Category.INVALID, text)
    reader = RowReader(
        [name.strip() for name in header[1]], columns, file.path.name, normalizer, as_of
    )
    faults = Faults(file.path.name)
    id_column = columns.columns["record_id"][0]
    lines: dict[str, int] = {}
    by_id: dict[str, Demographics] = {}
    for line, cells in rows:
        record_id = reader.record_id(cells)
        if not record_id:
            faults.add(line, id_column, "an id")
        elif first := lines.get(record_id):
            faults.add(line, id_column, f"an id of its own; line {first} has the same")
        else:
            lines[record_id] = line
            by_id[record_id] = reader.demographics(cells)
        if line % ROWS_PER_REPORT == 0:
            progress("read", min(file.bytes_read, file.size - 1), file.size)
    progress("read", file.size, file.size)
    faults.check()
    return Records(by_id=by_id, unread_dates=reader.unread_dates)
